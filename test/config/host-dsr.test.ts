// Direct server return against one host: eth0 in the clients' network 203.0.113.0/24, eth1 in the servers' 10.0.1.0/24,
// and what a tunnel leaves of eth1's packets.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatConfigProblem } from '../../src/base/errors.ts';
import { checkAgainstHost } from '../../src/config/host-check.ts';
import type { HostView } from '../../src/config/host-view.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { tunnelOverhead } from '../../src/config/tunnel.ts';
import { address, link } from './host.ts';

const INLINE = '{ outside: eth0, inside: eth1 }';

describe('l2-dsr against its host', () => {
  it('reaches servers of any network that is connected', () => {
    assert.deepEqual(check('method: l2-dsr', '10.0.1.11'), []);
    assert.deepEqual(check('method: l2-dsr', '203.0.113.21', { interfaces: '{ outside: eth0 }' }), []);
  });

  it('reaches no server behind a router', () => {
    assert.deepEqual(check('method: l2-dsr', '10.0.2.11'), [
      'fairlead.yaml:7:19: server "a" at 10.0.2.11 is in no network that eth0 or eth1 is connected to: l2-dsr reaches servers by their MAC only; use method l3-dsr for servers behind routers',
    ]);
    assert.equal(check('method: l2-dsr', '10.0.1.11', { interfaces: '{ outside: eth0 }' }).length, 1);
  });

  it('says nothing of servers while an interface is gone', () => {
    const host = { ...HOST, links: HOST.links.map((link) => (link.name === 'eth1' ? { ...link, index: 0 } : link)) };
    assert.deepEqual(check('method: l2-dsr', '10.0.2.11', { host }), []);
  });
});

describe('l3-dsr against its host', () => {
  it('reaches servers anywhere, from an address of this host or a prefix that holds one', () => {
    for (const source of ['10.0.1.1', '203.0.113.1', '203.0.113.0/29']) {
      assert.deepEqual(check(tunnel(`type: gre, source: ${source}`), '10.0.2.11'), [], source);
    }
  });

  it('needs a source that is ours', () => {
    assert.deepEqual(check(tunnel('type: gre, source: 192.0.2.1'), '10.0.1.11'), [
      'fairlead.yaml:6:34: tunnel source 192.0.2.1 is no address of this host; this host has 203.0.113.1 (eth0), 10.0.1.1 (eth1)',
    ]);
    assert.deepEqual(check(tunnel('type: gre, source: 2001:db8::/64'), '2001:db8:5::1'), [
      'fairlead.yaml:6:34: tunnel source 2001:db8::/64 holds no address of this host; this host has no IPv6 address',
    ]);
  });

  it('needs room for the least packet that the family may have', () => {
    const small = (mtu: number) => ({ ...HOST, links: HOST.links.map((link) => ({ ...link, mtu })) });
    const gre = tunnel('type: gre, source: 10.0.1.1');
    assert.deepEqual(check(gre, '10.0.1.11', { host: small(600) }), []);
    assert.deepEqual(check(gre, '10.0.1.11', { host: small(599) }), [
      'fairlead.yaml:6:5: interface eth1 has MTU 599, of which gre over IPv4 leaves 575 octets: IPv4 needs 576; raise it: ip link set eth1 mtu 600, or more',
    ]);
    const v6 = { listen: '"[2001:db8:f::1]:80/tcp"' };
    assert.deepEqual(check(gre, '10.0.1.11', { host: small(1304), ...v6 }), []);
    assert.deepEqual(check(gre, '10.0.1.11', { host: small(1303), ...v6 }), [
      'fairlead.yaml:6:5: interface eth1 has MTU 1303, of which gre over IPv4 leaves 1279 octets: IPv6 needs 1280; raise it: ip link set eth1 mtu 1304, or more',
    ]);
  });

  it('a tunnel takes what its headers take', () => {
    const overhead = (text: string, server: string) => {
      const [service] = parse(tunnel(text), server).services;
      assert.ok(service?.tunnel);
      return tunnelOverhead(service.tunnel);
    };
    assert.equal(overhead('type: gre, source: 10.0.1.1', '10.0.1.11'), 24);
    assert.equal(overhead('type: gre, source: 10.0.1.1, key: 0', '10.0.1.11'), 28);
    assert.equal(overhead('type: gre, source: fd00::1', 'fd00::11'), 44);
    assert.equal(overhead('type: ipip, source: 10.0.1.1', '10.0.1.11'), 20);
    assert.equal(overhead('type: ipip, source: fd00::1', 'fd00::11'), 40);
    assert.equal(overhead('type: gue, source: 10.0.1.1', '10.0.1.11'), 32);
    assert.equal(overhead('type: gue, source: fd00::1', 'fd00::11'), 52);
  });
});

const HOST: HostView = {
  links: [link('lo', 1), link('eth0', 2), link('eth1', 3)],
  addresses: [address('lo', '127.0.0.1/8'), address('eth0', '203.0.113.1/24'), address('eth1', '10.0.1.1/24')],
};

interface More {
  readonly interfaces?: string;
  readonly listen?: string;
  readonly host?: HostView;
}

function check(method: string, server: string, more: More = {}): string[] {
  const problems = checkAgainstHost(parse(method, server, more), more.host ?? HOST);
  return problems.map((problem) => formatConfigProblem(problem).split('\n')[0] ?? '');
}

function parse(method: string, server: string, { interfaces = INLINE, listen = '203.0.113.10:80/tcp' }: More = {}) {
  const web = `    listen: ${listen}\n    ${method}\n    servers: { a: ${server} }\n`;
  return parseConfig(`version: 1\ninterfaces: ${interfaces}\nservices:\n  web:\n${web}`, 'fairlead.yaml');
}

/** On the line of the method, so that one line number serves all. */
function tunnel(words: string): string {
  return `tunnel: { ${words} }\n    method: l3-dsr`;
}
