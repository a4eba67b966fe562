// What workers count, read while they count: each counter has one writer, so readers add up.

import { constants, layout, reasons } from '../native/layout.ts';
import { addressFromBytes, type Address } from '../net/address.ts';
import { formatMac } from '../net/mac.ts';
import type { Plane } from './plane.ts';
import { viewOf } from './sections.ts';

export interface ReasonCount {
  readonly reason: string;
  readonly verdict: string;
  readonly meaning: string;
  readonly count: number;
}

/** Frames by reason over all workers, in the order of the list. */
export function readReasons(plane: Plane): ReasonCount[] {
  const view = viewOf(plane, 'workers');
  const { octets, reasons: first } = layout.fl_worker;
  return reasons.map(({ name, verdict, meaning }, index) => {
    let count = 0;
    for (let worker = 0; worker < plane.workers; worker++) {
      count += readCount(view, worker * octets + first + 8 * index);
    }
    return { reason: name, verdict, meaning, count };
  });
}

export interface WorkerReading {
  readonly frames: number;
  readonly threadId: number;
  /** When it last looked for work, CLOCK_MONOTONIC; 0: never. */
  readonly aliveNs: number;
  readonly ringDrops: number;
  readonly sendErrors: number;
  readonly wakeups: number;
}

export function readWorkers(plane: Plane): WorkerReading[] {
  const view = viewOf(plane, 'workers');
  const fields = layout.fl_worker;
  return Array.from({ length: plane.workers }, (_, worker) => {
    const base = worker * fields.octets;
    const frames = reasons.reduce((sum, _reason, index) => sum + readCount(view, base + fields.reasons + 8 * index), 0);
    return {
      frames,
      threadId: view.getUint32(base + fields.thread_id, true),
      aliveNs: readCount(view, base + fields.alive_ns),
      ringDrops: readCount(view, base + fields.ring_drops),
      sendErrors: readCount(view, base + fields.send_errors),
      wakeups: readCount(view, base + fields.wakeups),
    };
  });
}

/** Frames and octets as they came in, without what follows a packet: `in` from clients, `out` from the server. */
export interface Traffic {
  readonly inFrames: number;
  readonly inOctets: number;
  readonly outFrames: number;
  readonly outOctets: number;
}

const NO_TRAFFIC: Traffic = { inFrames: 0, inOctets: 0, outFrames: 0, outOctets: 0 };

/** Of a server, since it got its slot: a commit that gives a slot to another server zeroes what the slot has counted. */
export function readTraffic(plane: Plane, slot: number): Traffic {
  const view = viewOf(plane, 'traffic');
  const { octets, in_frames, in_octets, out_frames, out_octets } = layout.fl_traffic;
  let sum = NO_TRAFFIC;
  for (let worker = 0; worker < plane.workers; worker++) {
    const base = (worker * plane.counts.servers + slot) * octets;
    sum = addTraffic(sum, {
      inFrames: readCount(view, base + in_frames),
      inOctets: readCount(view, base + in_octets),
      outFrames: readCount(view, base + out_frames),
      outOctets: readCount(view, base + out_octets),
    });
  }
  return sum;
}

export function addTraffic(a: Traffic, b: Traffic): Traffic {
  return {
    inFrames: a.inFrames + b.inFrames,
    inOctets: a.inOctets + b.inOctets,
    outFrames: a.outFrames + b.outFrames,
    outOctets: a.outOctets + b.outOctets,
  };
}

export interface FlowCounts {
  readonly active: number;
  readonly inactive: number;
  /** Ever, since the server got its slot. */
  readonly total: number;
}

export function readFlowCounts(plane: Plane, slot: number): FlowCounts {
  const { octets, active, inactive, flows_total } = layout.fl_server_state;
  const view = viewOf(plane, 'server_state');
  const at = slot * octets;
  return {
    // Two adders may pass each other for a moment: below zero is zero.
    active: Math.max(0, view.getInt32(at + active, true)),
    inactive: Math.max(0, view.getInt32(at + inactive, true)),
    total: readCount(view, at + flows_total),
  };
}

/** Flows that keep a server busy, active and inactive: neither closed nor in TIME_WAIT. */
export function readOpenFlows(plane: Plane, slot: number): number {
  const { octets, open } = layout.fl_server_state;
  return Math.max(0, viewOf(plane, 'server_state').getInt32(slot * octets + open, true));
}

/** SYNs of a server's flows and what became of them, since it got its slot; 32 bits each, which go round. */
export interface Handshakes {
  /** Flows that have had no answer yet. */
  readonly waiting: number;
  readonly answered: number;
  readonly refused: number;
  /** Ended without either. */
  readonly abandoned: number;
  /** Flows without an answer after a second; some may have been answered later. */
  readonly unanswered: number;
  /** Answers whose time is known. */
  readonly timed: number;
  /** Microseconds of all of those. */
  readonly totalUs: number;
  /** Smoothed, in microseconds; null before the first. */
  readonly smoothUs: number | null;
}

export function readHandshakes(plane: Plane, slot: number): Handshakes {
  const fields = layout.fl_server_state;
  const view = viewOf(plane, 'server_state');
  const at = slot * fields.octets;
  const smooth = view.getUint32(at + fields.smooth_us8, true);
  return {
    waiting: Math.max(0, view.getInt32(at + fields.waiting, true)),
    answered: view.getUint32(at + fields.answered, true),
    refused: view.getUint32(at + fields.refused, true),
    abandoned: view.getUint32(at + fields.abandoned, true),
    unanswered: view.getUint32(at + fields.unanswered, true),
    timed: view.getUint32(at + fields.timed, true),
    totalUs: readCount(view, at + fields.handshake_us),
    smoothUs: smooth === 0 ? null : smooth / 8,
  };
}

/** SYNs of a service that no ACK has followed, as if each were forgotten in ten seconds, and since when that has made it
 * compute-only, in milliseconds before now; null: it is not. */
export interface HalfOpen {
  readonly unanswered: number;
  readonly computeOnlyForMs: number | null;
}

export function readHalfOpen(plane: Plane, slot: number, tick: number): HalfOpen {
  const at = layout.fl_service_state;
  const view = new DataView(plane.section('service_state'), slot * at.octets, at.octets);
  const level = view.getUint32(at.half_open, true) / constants.halfOpenOne;
  const left = 1 - age(tick, view.getUint32(at.half_open + 4, true)) / constants.halfOpenTicks;
  const since = view.getUint32(at.computing_since, true);
  return {
    unanswered: Math.round(Math.max(0, level * left)),
    computeOnlyForMs: since === 0 ? null : (age(tick, since) * 2 ** constants.tickShift) / 1e6,
  };
}

/** Ticks go round at 32 bits; a clock that was read a moment too soon is not behind. */
function age(tick: number, since: number): number {
  return Math.max(0, (tick - since) | 0);
}

/** Flows of all servers: what the table holds, but for those that only wait to be swept. */
export function countFlows(plane: Plane): number {
  const words = new Int32Array(plane.section('server_state'));
  const { octets, active, inactive } = layout.fl_server_state;
  let sum = 0;
  for (let at = 0; at < words.length; at += octets / 4) {
    sum += Math.max(0, words[at + active / 4]!) + Math.max(0, words[at + inactive / 4]!);
  }
  return sum;
}

export interface Hop {
  readonly mac: string;
  readonly interfaceId: number;
}

/** A server's next hop, or null while it is unknown. Read as one word, so never half of one and half of another. */
export function readHop(plane: Plane, slot: number): Hop | null {
  const word = viewOf(plane, 'hops').getBigUint64(slot * 8, true);
  const bytes = new Uint8Array(BigUint64Array.of(word).buffer);
  if (bytes[7] !== constants.hopKnown) return null;
  return { mac: formatMac(bytes.subarray(0, 6)), interfaceId: bytes[6] ?? 0 };
}

/** An address at an offset of a section, where IPv4 lies in the first word. */
export function readAddress(view: DataView, offset: number, isV6: boolean): Address {
  return addressFromBytes(new Uint8Array(view.buffer, view.byteOffset + offset, isV6 ? 16 : 4));
}

/** 64-bit counters as numbers: exact up to 2^53, which at 100 million a second takes three years. */
function readCount(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
}
