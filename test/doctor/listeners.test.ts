// The kernel's tables of sockets, as /proc shows them.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Listening, listeningOn, parseListeners } from '../../src/doctor/listeners.ts';
import { parseAddress } from '../../src/net/address.ts';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const line = (local: string, state: string): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00\n`;

const TCP = parseListeners(
  'tcp',
  HEAD +
    line('0A01000A:0050', '0A') + // 10.0.1.10:80 listens
    line('00000000:1F90', '0A') + // every IPv4 address, 8080
    line('0A01000A:0051', '01'), // a connection
);
const TCP6 = parseListeners(
  'tcp',
  HEAD +
    line('B80D0120000000000000000010000000:01BB', '0A') + // [2001:db8::10]:443
    line('00000000000000000000000000000000:0016', '0A'), // every address, 22
);
const UDP = parseListeners('udp', HEAD + line('0A01000A:0035', '07') + line('0A01000A:0036', '01'));

describe('who listens', () => {
  it('is read with address and port', () => {
    const texts = [...TCP, ...TCP6, ...UDP].map(({ protocol, address, port }) => `${protocol} ${address.text} ${port}`);
    assert.deepEqual(texts, [
      'tcp 10.0.1.10 80',
      'tcp 0.0.0.0 8080',
      'tcp 2001:db8::10 443',
      'tcp :: 22',
      'udp 10.0.1.10 53',
    ]);
  });

  it('is asked for one address and port, and a wildcard counts', () => {
    const all = [...TCP, ...TCP6, ...UDP];
    const cases: ['tcp' | 'udp', string, number, Listening][] = [
      ['tcp', '10.0.1.10', 80, 'own'],
      ['tcp', '10.0.1.11', 80, 'nobody'],
      ['udp', '10.0.1.10', 80, 'nobody'],
      ['tcp', '10.0.1.11', 8080, 'wildcard'],
      ['tcp', '2001:db8::10', 8080, 'nobody'],
      ['tcp', '10.0.1.11', 22, 'wildcard'],
      ['tcp', '2001:db8::11', 22, 'wildcard'],
      ['tcp', '2001:db8::10', 443, 'own'],
    ];
    for (const [protocol, address, port, expected] of cases) {
      assert.equal(listeningOn(all, protocol, parseAddress(address)!, port), expected, `${address} ${port}`);
    }
  });

  it('is nobody in what is no table', () => {
    assert.deepEqual(parseListeners('tcp', ''), []);
    assert.deepEqual(parseListeners('tcp', '0: zz:00 0A\n   1: 0A01000A:0050\n'), []);
  });
});
