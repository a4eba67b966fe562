import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, layout, reasons, verdictNames } from '../../src/native/layout.ts';
import { makeSampleReader } from '../../src/plane/samples.ts';

const RECORD = layout.fl_record;

interface Written {
  readonly kind: number;
  readonly worker: number;
  readonly reason?: string;
  readonly data: readonly number[];
  readonly vlan?: number;
}

function write(records: readonly Written[]): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(records.length * RECORD.octets));
  for (const [index, { kind, worker, reason = 'none', data, vlan }] of records.entries()) {
    const at = index * RECORD.octets;
    const reasonIndex = reasons.findIndex(({ name }) => name === reason);
    const verdict = reasons[reasonIndex]!.verdict;
    view.setBigUint64(at + RECORD.now_ns, BigInt(1000 + index), true);
    view.setUint32(at + RECORD.len, 1500, true);
    view.setUint32(at + RECORD.size, data.length, true);
    view.setUint32(at + RECORD.flow, reason === 'client-hit' ? 7 : constants.none, true);
    view.setUint16(at + RECORD.worker, worker, true);
    view.setUint8(at + RECORD.kind, kind);
    view.setUint8(at + RECORD.verdict, verdictNames.indexOf(verdict));
    view.setUint8(at + RECORD.reason, reasonIndex);
    view.setUint8(at + RECORD.out_interface, 1);
    if (vlan !== undefined) {
      view.setUint16(at + RECORD.vlan_protocol, 0x8100, true);
      view.setUint16(at + RECORD.vlan_tci, vlan, true);
    }
    for (const [i, octet] of data.entries()) view.setUint8(at + RECORD.data + i, octet);
  }
  return view.buffer;
}

const { recordBefore: before, recordAfter: after } = constants;

test('a frame’s two records become one sample, though workers come mixed', () => {
  const samples = makeSampleReader().read(
    write([
      { kind: before, worker: 0, data: [1] },
      { kind: before, worker: 1, data: [2] },
      { kind: after, worker: 0, reason: 'client-hit', data: [3] },
      { kind: after, worker: 1, reason: 'no-service', data: [2] },
    ]),
  );
  assert.deepEqual(
    samples.map(({ verdict, reason, flow }) => [verdict, reason, flow]),
    [
      ['forwarded', 'client-hit', 7],
      ['dropped', 'no-service', null],
    ],
  );
  assert.deepEqual([...samples[0]!.before.data], [1]);
  assert.deepEqual([...samples[0]!.after!.data], [3]);
  assert.equal(samples[1]!.after, null);
});

test('a frame whose records come apart is put together by the next reading', () => {
  const reader = makeSampleReader();
  assert.deepEqual(reader.read(write([{ kind: before, worker: 3, data: [1] }])), []);
  assert.equal(reader.read(write([{ kind: after, worker: 3, reason: 'new-flow', data: [2] }])).length, 1);
});

test('an after whose before was lost is no sample', () => {
  assert.deepEqual(makeSampleReader().read(write([{ kind: after, worker: 0, reason: 'new-flow', data: [2] }])), []);
});

test('a tag that lay beside the frame is back behind the MAC addresses', () => {
  const macs = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
  const data = [...macs, 8, 0, 69];
  const [sample] = makeSampleReader().read(
    write([
      { kind: before, worker: 0, data, vlan: 100 },
      { kind: after, worker: 0, reason: 'new-flow', data, vlan: 100 },
    ]),
  );
  assert.deepEqual([...sample!.before.data], [...macs, 0x81, 0, 0, 100, 8, 0, 69]);
  assert.equal(sample!.before.length, 1504);
});
