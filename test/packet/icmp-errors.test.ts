// ICMP errors about nat and full-nat flows, both ways. What is quoted, and what it becomes, are built by the same words
// with other ends, so that every checksum expected here was computed anew.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { engines, type Engine } from './engines.ts';
import {
  addressesOf,
  CLIENT_PORT,
  type Content,
  type Exchange,
  exchanges,
  type Local,
  nameOf,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { buildFrame, type FrameSpec, join, payloadOf, put16, wordsOf } from './frame.ts';
import { CLIENT_MAC, INSIDE, INSIDE_MAC, openStage, OUTSIDE, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';

const ROUTERS = { 4: '192.0.2.77', 6: '2001:db8:77::1' } as const;

type Kind = readonly [number, number, number];

/** Type, code and the four octets behind the checksum. */
const KINDS: Record<4 | 6, Record<string, Kind>> = {
  4: {
    'port unreachable': [0x0303, 0, 0],
    'fragmentation needed': [0x0304, 0, 1280],
    'time exceeded': [0x0b00, 0, 0],
    'parameter problem': [0x0c00, 0x1400, 0],
  },
  6: {
    'port unreachable': [0x0104, 0, 0],
    'packet too big': [0x0200, 0, 1280],
    'time exceeded': [0x0300, 0, 0],
    'parameter problem': [0x0400, 0, 40],
  },
};

const TOO_BIG: Record<4 | 6, Kind> = { 4: [0x0304, 0, 1280], 6: [0x0200, 0, 1280] };

interface Error {
  readonly kind?: Kind;
  /** Octets of the quoted packet; all of it by default. */
  readonly quoted?: number;
}

function errorOf(
  { family }: Exchange,
  ends: Pick<FrameSpec, 'toMac' | 'fromMac' | 'from' | 'to'>,
  about: Uint8Array,
  { kind = TOO_BIG[family], quoted }: Error,
  more: Content = {},
): FrameSpec {
  const tags = more.tags?.length ?? 0;
  const packet = about.subarray(14 + 4 * tags);
  return {
    ...ends,
    protocol: family === 4 ? 'icmp' : 'icmp6',
    payload: join(wordsOf([kind[0], 0, kind[1], kind[2]]), packet.subarray(0, quoted ?? packet.length)),
    ...more,
  };
}

function open(t: TestContext, engine: Engine, exchange: Exchange) {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange));
  stage.send(request(exchange));
  return { stage, local: localOf(stage, exchange), ...addressesOf(exchange) };
}

function localOf(stage: Stage, exchange: Exchange): Local {
  const [flow] = stage.flows();
  return { address: flow?.local?.text ?? addressesOf(exchange).client, port: flow?.localPort ?? CLIENT_PORT };
}

/** From the servers' side, about what went to the server, as it comes and as it goes to the client. */
function toClient(
  exchange: Exchange,
  local: Local,
  from: string,
  error: Error,
  content: Content = {},
  more: Content = {},
) {
  const { client, vip, server } = addressesOf(exchange);
  const sent = { ...requestOut(exchange, local, content), ...more };
  const seen = { ...request(exchange, content), ttl: sent.ttl ?? 63, ...more };
  const came = { toMac: INSIDE_MAC, fromMac: serverMac(server), from, to: local.address };
  const outer = exchange.method === 'full-nat' || from === server ? vip : from;
  const left = { toMac: CLIENT_MAC, fromMac: OUTSIDE_MAC, from: outer, to: client };
  return {
    came: errorOf(exchange, came, buildFrame(sent), error, more),
    left: errorOf(exchange, left, buildFrame(seen), error, { ...more, ttl: 63 }),
  };
}

/** From the clients' side, about what went to the client. */
function toServer(
  exchange: Exchange,
  local: Local,
  from: string,
  error: Error,
  content: Content = {},
  more: Content = {},
) {
  const { vip, server } = addressesOf(exchange);
  const sent = { ...replyOut(exchange, content), ...more };
  const seen = { ...reply(exchange, local, content), ttl: sent.ttl ?? 63, ...more };
  const came = { toMac: OUTSIDE_MAC, fromMac: CLIENT_MAC, from, to: vip };
  const outer = exchange.method === 'full-nat' ? local.address : from;
  const left = { toMac: serverMac(server), fromMac: INSIDE_MAC, from: outer, to: server };
  return {
    came: errorOf(exchange, came, buildFrame(sent), error, more),
    left: errorOf(exchange, left, buildFrame(seen), error, { ...more, ttl: 63 }),
  };
}

const ways = { 'to the client': toClient, 'to the server': toServer } as const;
const DATA: Content = { payload: payloadOf(64) };
const about = ({ protocol }: Exchange): Content => ({ ...DATA, ...(protocol === 'tcp' ? { flags: 'A' } : {}) });

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { family, protocol } = exchange;
    const header = family === 4 ? 20 : 40;
    describe(`${engine.name}: ICMP errors by ${nameOf(exchange)}`, () => {
      for (const [way, make] of Object.entries(ways)) {
        const via = way === 'to the client' ? INSIDE : OUTSIDE;
        const goes = (stage: Stage, came: FrameSpec | Uint8Array, left: FrameSpec | Uint8Array): void => {
          const before = stage.flows();
          const outcome = stage.send(came, { via });
          assert.equal(outcome.said, 'forwarded: icmp-error');
          assert.equal(hex(outcome.frame), hex(left instanceof Uint8Array ? left : buildFrame(left)));
          assert.equal(outcome.via, 1 - via);
          assert.deepEqual(stage.flows(), before, 'an error changes nothing of its flow');
        };

        for (const [name, kind] of Object.entries(KINDS[family])) {
          test(`${name}, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const { came, left } = make(exchange, local, ROUTERS[family], { kind }, about(exchange));
            goes(stage, came, left);
          });
        }

        test(`of which 8 octets are quoted, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], { quoted: header + 8 }, about(exchange));
          goes(stage, came, left);
        });

        test(`of which all before TCP’s checksum is quoted, or one octet of UDP’s data, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const quoted = header + (protocol === 'tcp' ? 16 : 9);
          const { came, left } = make(exchange, local, ROUTERS[family], { quoted }, about(exchange));
          goes(stage, came, left);
        });

        test(`in a VLAN, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange), { tags: [7] });
          goes(stage, came, left);
        });

        test(`with too little quoted, ${way}: it is nobody’s`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          for (const quoted of [header + 7, header + 4, header, header - 1, 0]) {
            const { came } = make(exchange, local, ROUTERS[family], { quoted }, about(exchange));
            // What is sent to a client is the host's to forward, unless it can be read.
            const isOurs = way === 'to the server' || exchange.method === 'full-nat';
            const said = isOurs ? 'dropped: short-quote' : 'passed: not-ours';
            assert.equal(stage.send(came, { via }).said, said, String(quoted));
          }
        });

        test(`padding is no quote, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came } = make(exchange, local, ROUTERS[family], { quoted: header + 4 }, about(exchange), {
            padding: 20,
          });
          assert.notEqual(stage.send(came, { via }).said, 'forwarded: icmp-error');
        });

        test(`wrong checksums in the quoted packet stay wrong, by as much, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          const field = 8 + header + (protocol === 'tcp' ? 16 : 6);
          for (const spec of [came, left]) bend(spec.payload!, field, 0x1234);
          if (family === 4) for (const spec of [came, left]) bend(spec.payload!, 8 + 10, 0x0101);
          goes(stage, came, left);
        });

        test(`a wrong ICMP checksum is not repaired, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          const [bad, still] = [buildFrame(came), buildFrame(left)];
          for (const octets of [bad, still]) bend(octets, 14 + header + 2, 0x2222);
          goes(stage, bad, still);
        });

        test(`with no hop left, or about nobody’s packet, ${way}: it goes no further`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          assert.equal(stage.send({ ...came, ttl: 1 }, { via }).said, 'dropped: expired');
          const isClients = way === 'to the client' && exchange.method === 'nat';
          const nobodys = isClients ? 'passed: not-ours' : 'dropped: unsupported';
          for (const at of [header, header + 2]) {
            const other = { ...came, payload: Uint8Array.from(came.payload!) };
            put16(other.payload, 8 + at, 9);
            assert.equal(stage.send(other, { via }).said, nobodys);
          }
        });
      }

      test('from the server itself, to the client: it comes from the VIP', (t) => {
        const { stage, local, server } = open(t, engine, exchange);
        const { came, left } = toClient(exchange, local, server, {}, about(exchange));
        assert.equal(hex(stage.send(came, { via: INSIDE }).frame), hex(buildFrame(left)));
      });

      test('from the client itself, to the server', (t) => {
        const { stage, local, client } = open(t, engine, exchange);
        const { came, left } = toServer(exchange, local, client, {}, about(exchange));
        assert.equal(hex(stage.send(came).frame), hex(buildFrame(left)));
      });

      test('that was sent to another than sent the packet is nobody’s', (t) => {
        const { stage, local } = open(t, engine, exchange);
        const { came } = toServer(exchange, local, ROUTERS[family], {}, about(exchange));
        const elsewhere = { ...came, to: family === 4 ? '203.0.113.99' : '2001:db8::99' };
        assert.equal(stage.send(elsewhere).said, 'passed: not-ours');
        const { came: other } = toClient(exchange, local, ROUTERS[family], {}, about(exchange));
        assert.equal(stage.send({ ...other, to: elsewhere.to }, { via: INSIDE }).said, 'passed: not-ours');
      });
    });
  }

  describe(`${engine.name}: ICMP errors that quote options`, () => {
    for (const [way, make] of Object.entries(ways)) {
      test(`in the quoted IPv4 header, ${way}`, (t) => {
        const exchange: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
        const { stage, local } = open(t, engine, exchange);
        const content = { ...DATA, options: [1, 1, 1, 0] };
        const { came, left } = make(exchange, local, ROUTERS[4], {}, content);
        const { frame } = stage.send(came, { via: way === 'to the client' ? INSIDE : OUTSIDE });
        assert.equal(hex(frame), hex(buildFrame(left)));
      });

      test(`a quoted UDP packet without a checksum stays without, ${way}`, (t) => {
        const exchange: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
        const { stage, local } = open(t, engine, exchange);
        const { came, left } = make(exchange, local, ROUTERS[4], {}, { ...DATA, checksum: 'none' });
        const { frame } = stage.send(came, { via: way === 'to the client' ? INSIDE : OUTSIDE });
        assert.equal(hex(frame), hex(buildFrame(left)));
      });
    }
  });
}

/** Adds to a checksum as ones' complement does. */
function bend(octets: Uint8Array, at: number, by: number): void {
  const sum = ((octets[at]! << 8) | octets[at + 1]!) + by;
  put16(octets, at, (sum & 0xffff) + (sum >>> 16));
}

function hex(octets: Uint8Array | null): string | undefined {
  return octets === null ? undefined : Buffer.from(octets).toString('hex');
}
