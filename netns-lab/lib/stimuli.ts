// What a NAT box is given in a differential test: connections whose two ends say what a script has them say, in the order
// in which it does, and frames of nobody's. Each stimulus knows what it is on the other side when it is sent on.
import { twins } from './twins.ts';
import type { Family } from '../topologies/topology.ts';
import { datagramFrame, errorFrame, type Ends, quote, routed, segmentFrame } from './packets.ts';

/** Where a frame goes in or comes out: the clients' side is west. */
export type Side = 'w' | 'e';

export interface Stimulus {
  /** In words: the connection and what is said on it. */
  what: string;
  side: Side;
  frame: Buffer;
  /** As it comes out on the other side. */
  translated: Buffer;
  /** What is special about it, by which a difference may be one that was chosen. */
  tags: readonly string[];
  /** The box itself has a word to say about it. */
  isAnswered: boolean;
}

export interface Said {
  /** Sequence number, and the other side's next; by default those that are due. */
  at?: number;
  ack?: number;
  payload?: string;
  ttl?: number;
  tags?: readonly string[];
}

/** The ends of what a client says: as it goes in, and as it comes out. */
function clientEnds(family: Family, ttl = 64): [Ends, Ends] {
  const { client, vip, server, macs } = twins;
  return [
    { from: client[family], to: vip[family], fromMac: macs.client, toMac: macs.out, ttl },
    { from: client[family], to: server[family], fromMac: macs.in, toMac: macs.server, ttl: ttl - 1 },
  ];
}

function serverEnds(family: Family, ttl = 64): [Ends, Ends] {
  const { client, vip, server, macs } = twins;
  return [
    { from: server[family], to: client[family], fromMac: macs.server, toMac: macs.in, ttl },
    { from: vip[family], to: client[family], fromMac: macs.out, toMac: macs.client, ttl: ttl - 1 },
  ];
}

/** Who says an ICMP error: a router on the way, or the end of it. */
export type Speaker = 'router' | 'end';

/** The same of an error: a router keeps its address, and a server is the VIP. */
function errorEnds(family: Family, from: Side, by: Speaker): [Ends, Ends] {
  const { client, vip, server, westRouter, eastRouter, macs } = twins;
  if (from === 'e') {
    const [source, fromMac] = by === 'end' ? [server, macs.server] : [eastRouter, macs.eastRouter];
    const shown = by === 'end' ? vip : eastRouter;
    return [
      { from: source[family], to: client[family], fromMac, toMac: macs.in },
      { from: shown[family], to: client[family], fromMac: macs.out, toMac: macs.client, ttl: 63 },
    ];
  }
  const [source, fromMac] = by === 'end' ? [client, macs.client] : [westRouter, macs.westRouter];
  return [
    { from: source[family], to: vip[family], fromMac, toMac: macs.out },
    { from: source[family], to: server[family], fromMac: macs.in, toMac: macs.server, ttl: 63 },
  ];
}

export type Quoted = 'all' | 'a TCP header' | '8 octets' | 'no octets';
const quotedOctets: Record<Quoted, number> = { all: 1000, 'a TCP header': 20, '8 octets': 8, 'no octets': 0 };

/** ICMP errors by name: type, code, and the octets behind the checksum. */
export const errors = {
  4: {
    'host unreachable': [3, 1, 0],
    'port unreachable': [3, 3, 0],
    'fragmentation needed': [3, 4, 1280],
    'source quench': [4, 0, 0],
    'time exceeded': [11, 0, 0],
    'parameter problem': [12, 0, 0x14000000],
  },
  6: {
    'no route': [1, 0, 0],
    'port unreachable': [1, 4, 0],
    'packet too big': [2, 0, 1280],
    'time exceeded': [3, 0, 0],
    'parameter problem': [4, 0, 40],
  },
} as const satisfies Record<Family, Record<string, readonly [number, number, number]>>;

export class Flow {
  readonly family: Family;
  readonly name: string;
  private readonly into: Stimulus[];
  private readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  clientNext: number;
  serverNext: number;
  private hasBegun = false;

  constructor(into: Stimulus[], name: string, family: Family, protocol: 'tcp' | 'udp', port: number) {
    this.into = into;
    this.name = `${name} over IPv${family}`;
    this.family = family;
    this.protocol = protocol;
    this.port = port;
    this.clientNext = port * 1_000_003;
    this.serverNext = port * 2_000_003 + 77;
  }

  private push(words: string, side: Side, frames: readonly [Buffer, Buffer], said: Said): this {
    const [frame, translated] = frames;
    const isAnswered = said.tags?.includes('answered') ?? false;
    this.into.push({
      what: `${this.name}: ${words}`,
      side,
      frame,
      translated,
      tags: said.tags ?? [],
      isAnswered,
    });
    return this;
  }

  private frames(side: Side, flags: string, said: Said): [Buffer, Buffer] {
    const { vip, server } = twins.ports[this.protocol];
    const isClient = side === 'w';
    const [came, goes] = isClient ? clientEnds(this.family, said.ttl) : serverEnds(this.family, said.ttl);
    const cameEnds = { ...came, fromPort: isClient ? this.port : server, toPort: isClient ? vip : this.port };
    const goesEnds = { ...goes, fromPort: isClient ? this.port : vip, toPort: isClient ? server : this.port };
    if (this.protocol === 'udp') {
      const payload = said.payload ?? 'a datagram';
      return [datagramFrame({ ...cameEnds, payload }), datagramFrame({ ...goesEnds, payload })];
    }
    const content = {
      flags,
      sequence: said.at ?? (isClient ? this.clientNext : this.serverNext),
      acknowledged: flags.includes('A') ? (said.ack ?? (isClient ? this.serverNext : this.clientNext)) : 0,
      payload: said.payload ?? '',
    };
    return [segmentFrame({ ...cameEnds, ...content }), segmentFrame({ ...goesEnds, ...content })];
  }

  /** A segment, or a datagram, of one of its ends; what it uses of the sequence is used unless it says where it is. */
  private say(side: Side, flags: string, said: Said): this {
    const frames = this.frames(side, flags, said);
    const who = side === 'w' ? 'client' : 'server';
    const base = side === 'w' ? this.clientNext : this.serverNext;
    this.hasBegun = true;
    if (said.at === undefined && this.protocol === 'tcp' && !flags.includes('R')) {
      const used = (said.payload?.length ?? 0) + (flags.includes('S') ? 1 : 0) + (flags.includes('F') ? 1 : 0);
      if (side === 'w') this.clientNext += used;
      else this.serverNext += used;
    }
    const far = said.at === undefined ? '' : ` at ${said.at - base}`;
    const octets = said.payload === undefined ? '' : ` ${said.payload.length} octets`;
    const words = this.protocol === 'udp' ? `${who}${octets}` : `${who} ${flags || 'no flags'}${far}${octets}`;
    return this.push(words + (said.ttl === undefined ? '' : ` ttl ${said.ttl}`), side, frames, said);
  }

  client(flags = '', said: Said = {}): this {
    return this.say('w', flags, said);
  }

  server(flags = '', said: Said = {}): this {
    return this.say('e', flags, said);
  }

  open(): this {
    return this.client('S').server('SA').client('A');
  }

  talk(): this {
    return this.client('PA', { payload: 'a question' }).server('A').server('PA', { payload: 'an answer' }).client('A');
  }

  /** The client's port is used again, with a number well beyond what was used. */
  again(further = 1_000_000): this {
    this.clientNext += further;
    this.serverNext += 500_000;
    return this;
  }

  /**
   * From the servers' side ('e') somebody on the way to the server, or the server itself, tells the client of what it said;
   * from the clients' side somebody tells the server.
   */
  error(from: Side, by: Speaker, name: string, quoted: Quoted): this {
    const kinds: Record<string, readonly [number, number, number]> = errors[this.family];
    const [type, code, rest] = kinds[name] ?? [0, 0, 0];
    const { macs } = twins;
    const [came, goes] = errorEnds(this.family, from, by);
    // What it is about: as its receiver said it, and as it was seen where it went.
    const [asSaid, asSeen] = this.frames(from === 'e' ? 'w' : 'e', 'A', { payload: 'a long payload to be quoted' });
    const octets = quotedOctets[quoted];
    const about = { type, code, rest };
    const frames = [
      errorFrame({ ...came, ...about, quoted: quote(asSeen, octets) }),
      // A hop further on, as it would be quoted if nothing were translated.
      errorFrame({ ...goes, ...about, quoted: quote(routed(asSaid, macs.out, macs.client), octets) }),
    ] as const;
    const tags = [
      ...(by === 'router' ? ['by-router'] : []),
      ...(this.hasBegun ? [] : ['of-no-flow']),
      ...(name === 'source quench' ? ['source-quench'] : []),
    ];
    const who = by === 'router' ? 'a router' : from === 'e' ? 'the server' : 'the client';
    return this.push(`${who} says ${name}, quoting ${quoted}`, from, frames, { tags });
  }
}
