// Decisions as whoever forwards reports them (native/core/record.h), put together again: a frame as it came in and as it
// left. The two records of a frame follow each other within their worker, but workers come mixed.

import { constants, layout, reasons, verdictNames } from '../native/layout.ts';

export interface Sample {
  /** CLOCK_MONOTONIC. */
  readonly atNs: bigint;
  readonly interfaceId: number;
  readonly outInterfaceId: number;
  readonly verdict: (typeof verdictNames)[number];
  readonly reason: string;
  /** Index in the flow table, or null when the decision was about none. */
  readonly flow: number | null;
  readonly before: SampledFrame;
  /** Null when nothing left. */
  readonly after: SampledFrame | null;
}

export interface SampledFrame {
  /** Octets of the frame. */
  readonly length: number;
  /** As many of them as were kept. */
  readonly data: Uint8Array;
}

export interface SampleReader {
  /** The samples that are whole with these records; what is half stays for the next. */
  read(records: ArrayBuffer): Sample[];
}

const RECORD = layout.fl_record;
const VLAN_TAG = 4;

export function makeSampleReader(): SampleReader {
  const begun = new Map<number, SampledFrame>();
  return {
    read: (records) => {
      const view = new DataView(records);
      const samples: Sample[] = [];
      for (let at = 0; at + RECORD.octets <= records.byteLength; at += RECORD.octets) {
        const worker = view.getUint16(at + RECORD.worker, true);
        const frame = frameAt(view, at);
        if (view.getUint8(at + RECORD.kind) === constants.recordBefore) {
          begun.set(worker, frame);
          continue;
        }
        const before = begun.get(worker);
        begun.delete(worker);
        if (before !== undefined) samples.push(sampleAt(view, at, before, frame));
      }
      return samples;
    },
  };
}

function sampleAt(view: DataView, at: number, before: SampledFrame, after: SampledFrame): Sample {
  const verdict = verdictNames[view.getUint8(at + RECORD.verdict)] ?? 'dropped';
  const flow = view.getUint32(at + RECORD.flow, true);
  return {
    atNs: view.getBigUint64(at + RECORD.now_ns, true),
    interfaceId: view.getUint8(at + RECORD.interface),
    outInterfaceId: view.getUint8(at + RECORD.out_interface),
    verdict,
    reason: reasons[view.getUint8(at + RECORD.reason)]?.name ?? 'none',
    flow: flow === constants.none ? null : flow,
    before,
    after: verdict === 'forwarded' || verdict === 'answered' ? after : null,
  };
}

/** A tag that the kernel keeps beside a frame is put back where it was on the wire. */
function frameAt(view: DataView, at: number): SampledFrame {
  const size = Math.min(view.getUint32(at + RECORD.size, true), RECORD.octets - RECORD.data);
  const data = new Uint8Array(view.buffer, view.byteOffset + at + RECORD.data, size);
  const length = view.getUint32(at + RECORD.len, true);
  const protocol = view.getUint16(at + RECORD.vlan_protocol, true);
  if (protocol === 0 || size < 12) return { length, data: Uint8Array.from(data) };
  const tagged = new Uint8Array(size + VLAN_TAG);
  tagged.set(data.subarray(0, 12));
  const tag = new DataView(tagged.buffer, 12, VLAN_TAG);
  tag.setUint16(0, protocol);
  tag.setUint16(2, view.getUint16(at + RECORD.vlan_tci, true));
  tagged.set(data.subarray(12), 12 + VLAN_TAG);
  return { length: length + VLAN_TAG, data: tagged };
}
