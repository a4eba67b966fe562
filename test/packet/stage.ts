// An engine with services, known next hops and a clock moved by hand. Every frame sent here also proves the rules that
// hold for all frames: one counter goes up by one, it is the reason's, its verdict is the frame's, and all counters
// together are the frames that came in.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { constants, layout, reasons, type stateNames, verdictNames } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import {
  type FlowCounts,
  type Handshakes,
  readAddress,
  readFlowCounts,
  readHandshakes,
  readOpenFlows,
  readReasons,
  readTraffic,
  type Traffic,
} from '../../src/plane/counters.ts';
import { type FlowFilter, type FlowRecord, readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import type { ReplayPlane, SectionCounts } from '../../src/plane/plane.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { readStickies, type StickyFilter, type StickyRecord } from '../../src/plane/sticky-reader.ts';
import type { TargetInterface } from '../../src/plane/target.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { configOf, type Ends, targetOf } from '../plane/targets.ts';
import type { Engine } from './engines.ts';
import { addressOf, buildFrame, type FrameSpec, macOf } from './frame.ts';

export const OUTSIDE = 0;
export const INSIDE = 1;
/** fairlead's own, on either interface; apart, so that a swap shows. */
export const OUTSIDE_MAC = '02:00:00:00:00:01';
export const INSIDE_MAC = '02:00:00:00:00:02';
export const CLIENT_MAC = '02:00:00:00:00:c1';
export const TICK_NS = 2 ** constants.tickShift;

const links: readonly TargetInterface[] = [
  link('eth0', 2, OUTSIDE_MAC, '203.0.113.1', '2001:db8::1'),
  link('eth1', 3, INSIDE_MAC, '10.0.1.1', 'fd00::1'),
];

function linksOf(mtu: number, network: string | undefined): TargetInterface[] {
  const all = links.map((one) => ({ ...one, mtu }));
  return network === undefined ? all : [{ ...all[0]!, networks: [parsePrefix(network)!] }];
}

function link(name: string, ifindex: number, mac: string, address4: string, address6: string): TargetInterface {
  return {
    name,
    ifindex,
    mtu: 1500,
    mac: macOf(mac),
    address4: addressOf(address4),
    address6: addressOf(address6),
    networks: [`${address4}/24`, `${address6}/64`].map((text) => parsePrefix(text)!),
  };
}

export interface SendOptions {
  readonly via?: number;
  readonly csumStart?: number;
  readonly gsoSize?: number;
}

export interface Outcome {
  /** "forwarded: new-flow" */
  readonly said: string;
  /** The one frame that leaves, or null. */
  readonly frame: Uint8Array | null;
  readonly via: number;
}

export interface ConfigureOptions {
  /** By "service/server". */
  readonly weights?: Readonly<Record<string, number>>;
  /** Likewise: those that take what the others have no room for. */
  readonly reserves?: Readonly<Record<string, number>>;
  /** Likewise: those whose flows end. */
  readonly ends?: Ends;
  /** Lines of the configuration's head, such as timeouts. */
  readonly head?: string;
  readonly mtu?: number;
  /** The interface behind which servers are: inside. */
  readonly serversVia?: number;
  /** One interface only, connected to this network. */
  readonly network?: string;
}

export type Stage = ReturnType<typeof makeStage>;

export function openStage(t: TestContext, engine: Engine, options: { flows?: number; workers?: number } = {}): Stage {
  const workers = options.workers ?? 1;
  const plane = engine.open(smallCounts(options.flows ?? 4096, workers), workers);
  t.after(() => plane.close());
  return makeStage(plane, engine);
}

/** Where a server's frames go: a MAC made of its address, so that a case can name it. */
export function serverMac(address: string): string {
  const tail = addressOf(address).bytes.slice(-4);
  return ['02', '5e', ...[...tail].map((octet) => octet.toString(16).padStart(2, '0'))].join(':');
}

function makeStage(plane: ReplayPlane, engine: Engine) {
  let nowNs = 1e12;
  let frames = 0;
  let handedUp = 0;

  /** A server of two services has two slots. */
  const slotsOf = (server: string): number[] => {
    const servers = activeHalfOf(plane, 'servers');
    const { octets, addr, flags } = layout.fl_server;
    const slots = Array.from({ length: plane.counts.servers }, (_, slot) => slot).filter((slot) => {
      const bits = servers.getUint16(slot * octets + flags, true);
      if ((bits & constants.serverUsed) === 0) return false;
      return readAddress(servers, slot * octets + addr, (bits & constants.serverV6) !== 0).text === server;
    });
    if (slots.length === 0) throw new Error(`no server ${server} in the region`);
    return slots;
  };
  const slotOf = (server: string): number => slotsOf(server)[0]!;

  const setHop = (server: string, mac: string | null, via: number = INSIDE): void => {
    for (const slot of slotsOf(server)) {
      const hop = new Uint8Array(plane.section('hops'), 8 * slot, 8);
      hop.set(mac === null ? new Uint8Array(8) : [...macOf(mac), via, constants.hopKnown]);
    }
  };

  return {
    plane,

    get nowNs(): number {
      return nowNs;
    },

    /** Commits, and makes every server's next hop known, as the neighbour thread would. */
    configure(
      services: string,
      {
        weights = {},
        reserves = {},
        ends = {},
        head = '',
        mtu = 1500,
        serversVia = INSIDE,
        network,
      }: ConfigureOptions = {},
    ): void {
      const config = configOf(services, head);
      const target = {
        ...targetOf(config, weights, reserves, ends),
        interfaces: linksOf(mtu, network),
      };
      const moment = { generation: readHeader(plane).generation, nowMs: nowNs / 1e6 };
      plane.commit(planImage(target, readPlacement(plane), plane.counts, moment).image);
      for (const { servers } of config.services) {
        for (const { address } of servers) setHop(address.text, serverMac(address.text), serversVia);
      }
    },

    setHop,

    /** Changes a word of the settings in force, as no configuration can. */
    setSetting(name: 'is_active' | 'icmp_per_tick' | 'rst_per_tick', value: number): void {
      activeHalfOf(plane, 'settings').setUint32(layout.fl_settings[name], value, true);
    },

    /** Places flows by the keyed hash of this key, and not by a random one; before there are flows. */
    setKey(key: bigint): void {
      const multipliers = [1n, 0x9e3779b97f4a7c15n, 0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn];
      const seeds = new DataView(plane.section('header'), layout.fl_header.seed, 32);
      for (const [index, multiplier] of multipliers.entries()) {
        const odd = index === 1 || index === 2 ? 1n : 0n;
        seeds.setBigUint64(8 * index, BigInt.asUintN(64, key * multiplier) | odd, true);
      }
    },

    send(frame: FrameSpec | Uint8Array, options: SendOptions = {}): Outcome {
      const octets = frame instanceof Uint8Array ? frame : buildFrame(frame);
      const before = readReasons(plane);
      const outcome = replay(octets, options);
      frames++;
      const after = readReasons(plane);
      const changed = after.filter(({ count }, index) => count !== before[index]?.count);
      // What a program hands up is counted as that, and again by whoever decides it.
      const moved = engine.isKernel ? changed.filter(({ verdict }) => verdict !== 'handed-up') : changed;
      handedUp += changed.length - moved.length;
      assert.deepEqual(
        moved.map(({ verdict, reason, count }) => [`${verdict}: ${reason}`, count]),
        [[outcome.said, (before.find(({ reason }) => reason === moved[0]?.reason)?.count ?? 0) + 1]],
      );
      assert.equal(
        after.reduce((sum, { count }) => sum + count, 0),
        frames + handedUp,
      );
      return outcome;
    },

    /** Many frames: only what became of each, for loops of tens of thousands. */
    flood(octets: Uint8Array, options: SendOptions = {}): Outcome {
      frames++;
      return replay(octets, options);
    },

    /** Moves the clock on. */
    wait(seconds: number): void {
      nowNs += seconds * 1e9;
    },

    age(): number {
      return plane.age(nowNs);
    },

    flows(filter: FlowFilter = {}): FlowRecord[] {
      return [...readFlows(plane, filter, () => Math.floor(nowNs / TICK_NS))].flat();
    },

    stickies(filter: StickyFilter = {}): StickyRecord[] {
      return [...readStickies(plane, filter, () => Math.floor(nowNs / TICK_NS))].flat();
    },

    counts(server: string): FlowCounts {
      return readFlowCounts(plane, slotOf(server));
    },

    handshakes(server: string): Handshakes {
      return readHandshakes(plane, slotOf(server));
    },

    open(server: string): number {
      return readOpenFlows(plane, slotOf(server));
    },

    traffic(server: string): Traffic {
      return readTraffic(plane, slotOf(server));
    },

    /** Counts of every server equal what the table holds. */
    assertCountsExact(servers: readonly string[]): void {
      const flows = this.flows();
      for (const slot of servers.flatMap(slotsOf)) {
        const states = flows.filter(({ serverSlot }) => serverSlot === slot).map(({ state }) => state);
        const active = states.filter((state) => ACTIVE.has(state)).length;
        const { active: a, inactive: i } = readFlowCounts(plane, slot);
        assert.deepEqual({ active: a, inactive: i }, { active, inactive: states.length - active }, `slot ${slot}`);
        const open = states.filter((state) => state !== 'time-wait' && state !== 'closed').length;
        assert.equal(readOpenFlows(plane, slot), open, `slot ${slot}`);
        const waiting = states.filter((state) => state === 'syn-sent').length;
        assert.equal(readHandshakes(plane, slot).waiting, waiting, `slot ${slot}`);
      }
    },
  };

  function replay(octets: Uint8Array, { via = OUTSIDE, csumStart = 0, gsoSize = 0 }: SendOptions): Outcome {
    const result = plane.replay(octets, { interfaceId: via, nowNs, csumStart, gsoSize });
    const verdict = verdictNames[result.verdict];
    const leaves = verdict === 'forwarded' || verdict === 'answered';
    assert.equal(verdict, reasons[result.reason]?.verdict);
    return {
      said: `${verdict}: ${reasons[result.reason]?.name}`,
      frame: leaves ? result.frame : null,
      via: result.outInterface,
    };
  }
}

const ACTIVE = new Set<string>(['established', 'udp-two-way'] satisfies (typeof stateNames)[number][]);

/** Sections for more flows than smallCounts() is meant for. */
export function countsOf(flows: number, workers: number): SectionCounts {
  return smallCounts(flows, workers);
}
