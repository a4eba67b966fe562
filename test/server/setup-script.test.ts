// The head of the shell text: what each kind of service asks of its servers. What the text does is for the labs.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { parseConfig } from '../../src/config/parse.ts';
import { makeSetupScript, makeUndoScript, tunnelDevice } from '../../src/server/setup-script.ts';

describe('the set-up text', () => {
  it('of l2-dsr has addresses and nothing of tunnels', () => {
    const words = variables('l2-dsr', '', '10.0.1.11, b: 10.0.1.12', '203.0.113.10:80/tcp, 203.0.113.10:443/tcp');
    assert.equal(words.vips, '203.0.113.10');
    assert.equal(words.servers, '10.0.1.11 10.0.1.12');
    assert.equal(words.decap, 'none');
    assert.equal(words.kernel_type, '');
    assert.deepEqual([words.family, words.bits, words.nodad], ['4', '32', '']);
  });

  it('names the device of the kernel that unwraps each tunnel and family', () => {
    const cases = [
      ['type: gre, source: 192.0.2.1', '10.0.1.11', 4, 'gre', 'remote 192.0.2.1'],
      ['type: gre, source: 192.0.2.1, key: 7', '10.0.1.11', 6, 'gre', 'remote 192.0.2.1 key 7'],
      ['type: gre, source: 2001:db8::1', '2001:db8::11', 4, 'ip6gre', 'remote 2001:db8::1'],
      ['type: ipip, source: 192.0.2.1', '10.0.1.11', 4, 'ipip', 'remote 192.0.2.1 mode ipip'],
      ['type: ipip, source: 192.0.2.1', '10.0.1.11', 6, 'sit', 'remote 192.0.2.1 mode ip6ip'],
      ['type: ipip, source: 2001:db8::1', '2001:db8::11', 4, 'ip6tnl', 'remote 2001:db8::1 mode any'],
    ] as const;
    for (const [tunnel, server, inner, type, more] of cases) {
      const words = variables('l3-dsr', tunnel, server, inner === 4 ? undefined : '"[2001:db8:f::10]:80/tcp"');
      assert.deepEqual([words.kernel_type, words.kernel_words], [type, more], tunnel);
      assert.equal(words.fou, '');
    }
  });

  it('has GUE unwrapped by a port of the kernel and the device of what is inside', () => {
    const words = variables('l3-dsr', 'type: gue, source: 2001:db8::1, port: 7000', '2001:db8::11');
    assert.deepEqual([words.kernel_type, words.fou], ['ip6tnl', 'inet6 port 7000']);
    assert.equal(words.decap_words, '--from 2001:db8::1 --vip 203.0.113.10 --port 7000');
  });

  it('leaves a prefix of sources to our program, which alone can tell them', () => {
    const words = variables('l3-dsr', 'type: gre, source: 192.0.2.0/28, key: 7', '10.0.1.11');
    assert.equal(words.kernel_type, '');
    assert.equal(words.decap_words, '--from 192.0.2.0/28 --vip 203.0.113.10 --key 7');
  });

  it('is shell that a plain shell reads, as the undo text is', () => {
    for (const text of [script('l2-dsr', '', '10.0.1.11'), makeUndoScript('web')]) {
      assert.equal(spawnSync('sh', ['-n'], { input: text }).status, 0);
    }
  });
});

describe('the name of a tunnel device', () => {
  it('is one for all services of one tunnel', () => {
    const device = (tunnel: string) => variables('l3-dsr', tunnel, '10.0.1.11').device;
    assert.equal(device('type: gre, source: 192.0.2.1'), device('type: gre, source: 192.0.2.1, ttl: 9'));
    assert.notEqual(device('type: gre, source: 192.0.2.1'), device('type: gre, source: 192.0.2.1, key: 9'));
  });

  it('fits the kernel and tells tunnels apart', () => {
    const names = ['a', 'b', 'x'.repeat(63), `${'x'.repeat(62)}y`].map(tunnelDevice);
    assert.equal(new Set(names).size, 4);
    for (const name of names) assert.match(name, /^fl-[0-9a-f]{8}$/);
  });
});

function script(method: string, tunnel: string, servers: string, listen = '203.0.113.10:80/tcp'): string {
  const words = tunnel === '' ? '' : `tunnel: { ${tunnel} }, `;
  const service = `{ listen: [${listen}], method: ${method}, ${words}servers: { a: ${servers} } }`;
  const text = `version: 1\ninterfaces: { outside: eth0 }\nservices: { web: ${service} }`;
  return makeSetupScript(parseConfig(text, 'fairlead.yaml').services[0]!, 'auto');
}

/** As the shell reads them: the lines of the head. */
function variables(...words: Parameters<typeof script>): Record<string, string> {
  const lines = script(...words).matchAll(/^([a-z_]+)='([^']*)'$/gm);
  return Object.fromEntries(Array.from(lines, ([, name = '', value = '']) => [name, value]));
}
