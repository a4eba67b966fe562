// Decapsulation by the kernel's own devices, which not every kernel has, so no lab can be sure to have them.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../../src/config/parse.ts';
import { formatFindings } from '../../src/cli/doctor.ts';
import { checkServer } from '../../src/doctor/server-checks.ts';
import type { KernelTunnel, LinkFact, ServerFacts } from '../../src/doctor/server-facts.ts';
import { parsePrefix } from '../../src/net/prefix.ts';

const ETHERNET: LinkFact = {
  name: 'eth0',
  isUp: true,
  hasCarrier: true,
  isEthernet: true,
  kind: null,
  tunnel: null,
};

describe('decapsulation by the kernel', () => {
  it('is fine when the device is there, is up and has the key', () => {
    assert.deepEqual(biting(device('gre', { remote: '192.0.2.1', local: '10.0.1.11', key: 7 })), []);
    assert.deepEqual(biting(device('gre', { remote: null, local: null, key: 7 })), []);
  });

  it('bites when the device is down, has another key or another peer, or is none', () => {
    const tunnel = { remote: '192.0.2.1', local: '10.0.1.11', key: 7 };
    assert.deepEqual(biting({ ...device('gre', tunnel), isUp: false }), ['tunnel device fl-1 is down']);
    assert.deepEqual(biting(device('gre', { ...tunnel, key: 8 })), [
      'tunnel device fl-1 takes key 8, but the balancer sends key 7',
    ]);
    assert.deepEqual(biting(device('gre', { ...tunnel, key: null })), [
      'tunnel device fl-1 takes no key, but the balancer sends key 7',
    ]);
    const nothing = ['nothing here unwraps gre from 192.0.2.1'];
    assert.deepEqual(biting(device('gre', { ...tunnel, remote: '192.0.2.9' })), nothing);
    assert.deepEqual(biting(device('ipip', tunnel)), nothing);
  });

  it('bites when neither device nor program can be seen', () => {
    const words = biting(null, { unwrapping: null });
    assert.deepEqual(words, [
      'the kernel has no device that unwraps gre from 192.0.2.1, and fairlead-decap is not here or may not be asked',
    ]);
  });

  it('bites when the strict reverse path filter watches over the device', () => {
    const settings = new Map([
      ['all', { arp_ignore: 1, arp_announce: 2, rp_filter: 0 }],
      ['fl-1', { arp_ignore: 0, arp_announce: 0, rp_filter: 1 }],
    ]);
    assert.deepEqual(biting(device('gre', { remote: '192.0.2.1', local: null, key: 7 }), { settings }), [
      'the strict reverse path filter of fl-1 drops packets of clients that are answered by another way (eth0)',
    ]);
  });
});

describe('findings', () => {
  it('are printed with what bites first, and each mend below', () => {
    const text = formatFindings([
      { severity: 'fine', check: 'vip', words: 'it is there' },
      { severity: 'bites', check: 'arp', words: 'it answers', mend: 'sysctl' },
    ]);
    assert.equal(
      text,
      'BITES     arp: it answers\n          mend: sysctl\nfine      vip: it is there\n\n1 thing will bite',
    );
  });
});

function device(kind: string, tunnel: KernelTunnel): LinkFact {
  return { name: 'fl-1', isUp: true, hasCarrier: true, isEthernet: false, kind, tunnel };
}

function biting(link: LinkFact | null, more: Partial<ServerFacts> = {}): string[] {
  const config = parseConfig(
    'version: 1\ninterfaces: { outside: eth0 }\nservices: { web: { listen: 203.0.113.10:80/tcp, method: l3-dsr, tunnel: { type: gre, source: 192.0.2.1, key: 7 }, servers: { a: 10.0.1.11 } } }',
    'fairlead.yaml',
  );
  const own = (name: string, text: string) => ({ link: name, prefix: parsePrefix(text)!, isTentative: false });
  const facts: ServerFacts = {
    links: [{ ...ETHERNET, name: 'lo', isEthernet: false }, ETHERNET, ...(link === null ? [] : [link])],
    addresses: [own('lo', '203.0.113.10/32'), own('eth0', '10.0.1.11/24')],
    settings: new Map([['all', { arp_ignore: 1, arp_announce: 2, rp_filter: 0 }]]),
    defaultLinks: { 4: ['eth0'], 6: [] },
    listeners: [{ protocol: 'tcp', address: parsePrefix('0.0.0.0/0')!.address, port: 80 }],
    unwrapping: [],
    ...more,
  };
  return checkServer(config.services[0]!, facts)
    .filter(({ severity }) => severity === 'bites')
    .map(({ words }) => words);
}
