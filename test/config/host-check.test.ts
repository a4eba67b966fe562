// One host: eth0 in the clients' network 203.0.113.0/24, eth1 in the servers' network 10.0.1.0/24, eth2 down.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatConfigProblem } from '../../src/base/errors.ts';
import { checkAgainstHost } from '../../src/config/host-check.ts';
import type { HostView } from '../../src/config/host-view.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { address, link } from './host.ts';

const HOST: HostView = {
  links: [link('lo', 1), link('eth0', 2), link('eth1', 3), { ...link('eth2', 4), isUp: false }],
  addresses: [
    address('lo', '127.0.0.1/8'),
    address('eth0', '203.0.113.1/24'),
    address('eth0', '2001:db8::1/64'),
    address('eth1', '10.0.1.1/24'),
    // Part of the clients' network lies behind the inner interface.
    address('eth1', '203.0.113.129/25'),
  ],
};

describe('a configuration against its host', () => {
  it('has nothing to say about one that fits', () => {
    assert.equal(check('{ outside: eth0, inside: eth1 }', 'nat', '10.0.1.11'), '');
    assert.equal(check('{ outside: eth0 }', 'full-nat', '203.0.113.21'), '');
  });

  it('an interface that is not there gets a suggestion', () => {
    assert.equal(
      check('{ outside: etho }', 'full-nat', '10.0.1.11'),
      `fairlead.yaml:2:24: there is no interface "etho" on this host; did you mean "eth0"?
    2 | interfaces: { outside: etho }
      |                        ^`,
    );
  });

  it('an interface that is not there and like no other gets the list', () => {
    assert.equal(
      headOf(check('{ outside: eth0, inside: bond7 }', 'nat', '10.0.1.11')),
      'fairlead.yaml:2:38: there is no interface "bond7" on this host; this host has eth0, eth1, eth2',
    );
  });

  it('an interface that is down gets the command', () => {
    assert.equal(
      headOf(check('{ outside: eth0, inside: eth2 }', 'nat', '10.0.1.11')),
      'fairlead.yaml:2:38: interface eth2 is down; bring it up: ip link set eth2 up',
    );
  });

  it('the loopback interface has no clients', () => {
    assert.equal(
      headOf(check('{ outside: lo }', 'full-nat', '10.0.1.11')),
      'fairlead.yaml:2:24: lo is the loopback interface, no client comes through it',
    );
  });

  it('a VIP is not an address of the host', () => {
    assert.equal(
      check('{ outside: eth0 }', 'full-nat', '10.0.1.11', '[203.0.113.10:80/tcp, 203.0.113.1:80/tcp]'),
      `fairlead.yaml:5:35: VIP 203.0.113.1 is an address of this host, on eth0; fairlead answers for it alone: ip addr del 203.0.113.1/24 dev eth0
    5 |     listen: [203.0.113.10:80/tcp, 203.0.113.1:80/tcp]
      |                                   ^`,
    );
  });

  it('a server is not an address of the host', () => {
    assert.equal(
      headOf(check('{ outside: eth0, inside: eth1 }', 'nat', '10.0.1.1')),
      'fairlead.yaml:7:19: server "a" at 10.0.1.1 is an address of this host, on eth1; a server must be another host',
    );
  });

  it('a full-nat source is not an address of the host', () => {
    assert.equal(
      headOf(check('{ outside: eth0 }', 'full-nat\n    source: 203.0.113.1', '10.0.1.11')),
      'fairlead.yaml:7:13: source 203.0.113.1 is an address of this host, on eth0; fairlead answers for it alone: ip addr del 203.0.113.1/24 dev eth0',
    );
  });

  it('a nat server on the outside of two interfaces is an error', () => {
    assert.equal(
      headOf(check('{ outside: eth0, inside: eth1 }', 'nat', '203.0.113.21')),
      'fairlead.yaml:7:19: server "a" at 203.0.113.21 is in 203.0.113.0/24, the clients\' side (eth0): with nat its answers would not pass here; move it behind eth1, or use method full-nat',
    );
  });

  it('a nat server in a more specific network on the inside is none', () => {
    assert.equal(check('{ outside: eth0, inside: eth1 }', 'nat', '203.0.113.200'), '');
  });

  it('a nat server beside its VIP on one interface is a warning where its neighbours are refused', () => {
    assert.equal(check('{ outside: eth0 }', 'nat', '203.0.113.21'), '');
    assert.equal(
      headOf(check('{ outside: eth0 }', 'nat\n    hairpin: refuse', '203.0.113.21')),
      'fairlead.yaml:8:19: warning: server "a" at 203.0.113.21 is in 203.0.113.0/24 like its VIP: clients of that network are refused, and only clients behind a router work; leave "hairpin" out, or use method full-nat',
    );
    assert.equal(
      headOf(check('{ outside: eth0 }', 'nat\n    hairpin: refuse', '2001:db8::21', '"[2001:db8::10]:80/tcp"')).slice(
        0,
        35,
      ),
      'fairlead.yaml:8:19: warning: server',
    );
  });

  it('a nat server beside the interface, but not beside its VIP, is none', () => {
    assert.equal(check('{ outside: eth0 }', 'nat', '203.0.113.21', '198.51.100.10:80/tcp'), '');
  });

  it('a configuration that no file holds gets its problems without lines', () => {
    const config = structuredClone(parseConfig(fileOf('{ outside: eth9 }', 'nat', '10.0.1.11'), 'fairlead.yaml'));
    const [problem] = checkAgainstHost(config, HOST);
    assert.equal(problem?.line, 0);
    assert.equal(problem.message, 'there is no interface "eth9" on this host');
  });
});

function check(...parts: [interfaces: string, method: string, server: string, listen?: string]): string {
  const config = parseConfig(fileOf(...parts), 'fairlead.yaml');
  return checkAgainstHost(config, HOST).map(formatConfigProblem).join('\n');
}

function fileOf(interfaces: string, method: string, server: string, listen = '203.0.113.10:80/tcp'): string {
  const web = `    listen: ${listen}\n    method: ${method}\n    servers: { a: ${server} }\n`;
  return `version: 1\ninterfaces: ${interfaces}\nservices:\n  web:\n${web}`;
}

function headOf(output: string): string {
  return output.split('\n')[0] ?? '';
}
