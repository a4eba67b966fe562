import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pcapngHead, pcapngPacket } from '../../src/base/pcapng.ts';

const frame = Uint8Array.from([
  ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00],
  ...[0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 7, 203, 0, 113, 10],
  ...[0x9c, 0x40, 0, 53, 0, 9, 0, 0, 0x61],
]);

const packet = (more: Partial<Parameters<typeof pcapngPacket>[0]> = {}) =>
  pcapngPacket({
    interfaceId: 1,
    atNs: 1_700_000_000_123_456_789n,
    direction: 'out',
    length: frame.length,
    data: frame,
    comment: 'forwarded: new-flow, dns/ns-1',
    ...more,
  });

test('tcpdump reads what is written, with its time and its addresses', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-pcapng-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'capture.pcapng');
  writeFileSync(file, Buffer.concat([pcapngHead(['eth0', 'eth1']), packet(), packet({ length: 1500 })]));
  const { stdout, status } = spawnSync('tcpdump', ['-nttr', file, '--nano'], { encoding: 'utf8' });
  assert.equal(status, 0);
  const lines = stdout.trim().split('\n');
  assert.equal(lines.length, 2);
  assert.match(lines[0]!, /^1700000000\.123456789 IP 198\.51\.100\.7\.40000 > 203\.0\.113\.10\.53/);
});

test('blocks are multiples of four octets and say their length at both ends', () => {
  for (const octets of [pcapngHead([]), packet(), packet({ comment: '' }), packet({ data: frame.subarray(0, 41) })]) {
    const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
    assert.equal(octets.length % 4, 0);
    assert.equal(view.getUint32(4, true), octets.length);
    assert.equal(view.getUint32(octets.length - 4, true), octets.length);
  }
});

test('a comment and the direction are options of the packet', () => {
  const octets = Buffer.from(packet());
  assert.ok(octets.includes('forwarded: new-flow, dns/ns-1'));
  // flags: outbound
  assert.ok(octets.includes(Buffer.from([2, 0, 4, 0, 2, 0, 0, 0])));
});
