// Direct server return, frame by frame: what leaves for the server by MAC or in a tunnel, byte for byte, and what does not.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layout } from '../../src/native/layout.ts';
import { engines, type Engine } from './engines.ts';
import { buildFrame, type FrameSpec, join, l4OffsetOf, macs, payloadOf, put16, withoutTail, wordsOf } from './frame.ts';
import { CLIENT_MAC, INSIDE, INSIDE_MAC, openStage, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';
import { buildTunnel, type TunnelSpec } from './tunnel.ts';

type Family = 4 | 6;

const ENDS = {
  4: { client: '198.51.100.7', vip: '203.0.113.10', server: '10.0.1.11', source: '10.0.1.1' },
  6: { client: '2001:db8:c::7', vip: '2001:db8::10', server: 'fd00::a00:10b', source: 'fd00::1' },
} as const;

interface Service {
  readonly inner: Family;
  readonly outer?: Family;
  readonly protocol?: 'tcp' | 'udp';
  readonly tunnel?: string;
  readonly scheduler?: string;
}

function serviceOf({ inner, outer = inner, protocol = 'tcp', tunnel, scheduler = 'rr' }: Service): string {
  const quote = (address: string): string => (address.includes(':') ? `[${address}]` : address);
  return [
    '  web:',
    `    listen: "${quote(ENDS[inner].vip)}:80/${protocol}"`,
    `    method: ${tunnel === undefined ? 'l2-dsr' : 'l3-dsr'}`,
    ...(tunnel === undefined ? [] : [`    tunnel: { ${tunnel}, source: "${ENDS[outer].source}" }`]),
    `    scheduler: ${scheduler}`,
    '    check: none',
    `    servers: { one: "${ENDS[outer].server}" }`,
    '',
  ].join('\n');
}

function request(inner: Family, content: Partial<FrameSpec> = {}): FrameSpec {
  const { client, vip } = ENDS[inner];
  const ends = { from: client, to: vip, fromPort: 40_000, toPort: 80 };
  return { toMac: OUTSIDE_MAC, fromMac: CLIENT_MAC, ...ends, protocol: 'tcp', flags: 'S', ...content };
}

/** Of the only flow there is. */
function tagOf({ plane }: Stage): number {
  const { octets, control, tag } = layout.fl_flow;
  const flows = new DataView(plane.section('flows'));
  for (let at = 0; at < flows.byteLength; at += octets) {
    if ((flows.getUint32(at + control, true) & 0xff) > 1) return flows.getUint16(at + tag, true);
  }
  throw new Error('there is no flow');
}

function tunnelOf(stage: Stage, outer: Family, type: TunnelSpec['type'], more: Partial<TunnelSpec> = {}): TunnelSpec {
  const { server, source } = ENDS[outer];
  const ends = { toMac: serverMac(server), fromMac: INSIDE_MAC, from: source, to: server };
  return { type, ...ends, ttl: 64, trafficClass: 0, tag: tagOf(stage), ...more };
}

function assertFrame(actual: Uint8Array | null, expected: Uint8Array): void {
  assert.equal(Buffer.from(actual ?? []).toString('hex'), Buffer.from(expected).toString('hex'));
}

function open(t: Parameters<typeof openStage>[0], engine: Engine, service: Service | string): Stage {
  const stage = openStage(t, engine);
  stage.configure(typeof service === 'string' ? service : serviceOf(service));
  return stage;
}

/** 24 octets: destination options, and an atomic fragment. */
const CHAIN = [
  { number: 60, octets: [0, 1, 1, 12, ...Array<number>(12).fill(0)] },
  { number: 44, octets: [0, 0, 0, 0, 1, 2, 3, 4] },
] as const;

interface Dress {
  readonly name: string;
  readonly content: Partial<FrameSpec>;
  readonly gsoSize?: number;
  readonly family?: Family;
}

const dresses: readonly Dress[] = [
  { name: 'empty', content: {} },
  { name: 'with an odd number of octets', content: { payload: payloadOf(333) } },
  { name: 'padded to Ethernet’s shortest', content: { padding: 6 } },
  { name: 'with a trailer', content: { payload: payloadOf(30), padding: 40 } },
  { name: 'with one VLAN tag', content: { tags: [100], payload: payloadOf(20) } },
  { name: 'with two VLAN tags', content: { tags: [100, 7], payload: payloadOf(20) } },
  { name: 'with its last TTL', content: { ttl: 1 } },
  { name: 'with marks for quality and congestion', content: { trafficClass: 0xb9, payload: payloadOf(5) } },
  { name: 'with IPv4 options', content: { options: [0x1e, 4, 0, 7], payload: payloadOf(9) }, family: 4 },
  {
    name: 'with an IPv6 extension header',
    content: { extensions: [{ number: 60, octets: [0, 0, 1, 4, 0, 0, 0, 0] }], payload: payloadOf(9) },
    family: 6,
  },
  { name: 'with the checksum left to the card', content: { checksum: 'partial', payload: payloadOf(500) } },
  { name: 'as a super-frame', content: { checksum: 'partial', payload: payloadOf(60_000) }, gsoSize: 1380 },
  { name: 'as a super-frame with its checksum', content: { payload: payloadOf(3000) }, gsoSize: 1380 },
];

const tunnels = [
  { type: 'gre', text: 'type: gre' },
  { type: 'gre', text: 'type: gre, key: 3735928559', key: 0xdead_beef },
  { type: 'ipip', text: 'type: ipip' },
  { type: 'gue', text: 'type: gue' },
] as const;

const FAMILIES: readonly Family[] = [4, 6];
const PROTOCOLS = ['tcp', 'udp'] as const;

for (const engine of engines) {
  const worn = (inner: Family, protocol: 'tcp' | 'udp') =>
    dresses
      .filter(({ family, content, gsoSize = 0 }) => {
        if (family !== undefined && family !== inner) return false;
        return engine.takes({ gsoSize, csumStart: content.checksum === 'partial' ? 1 : 0 });
      })
      .map(({ name, content, gsoSize = 0 }) => {
        const frame = (flags: string): FrameSpec => request(inner, { ...content, protocol, flags });
        const csumStart = content.checksum === 'partial' ? l4OffsetOf(frame('S')) : 0;
        return { name, frame, options: { gsoSize, csumStart } };
      });

  describe(`${engine.name}: by MAC`, () => {
    for (const inner of FAMILIES) {
      for (const protocol of PROTOCOLS) {
        for (const { name, frame, options } of worn(inner, protocol)) {
          test(`an IPv${inner} ${protocol} frame ${name} gets other MACs, and nothing else`, (t) => {
            const stage = open(t, engine, { inner, protocol });
            for (const [flags, reason] of [
              ['S', 'new-flow'],
              ['A', 'client-hit'],
            ] as const) {
              const { said, frame: out, via } = stage.send(frame(flags), options);
              assert.equal(said, `forwarded: ${reason}`);
              assert.equal(via, INSIDE);
              const macsOut = { toMac: serverMac(ENDS[inner].server), fromMac: INSIDE_MAC };
              assertFrame(out, buildFrame(withoutTail({ ...frame(flags), ...macsOut })));
            }
          });
        }
      }
    }
  });

  // A test run makes super-frames without a type, to which the kernel adds no headers.
  const isRun = ({ options }: { options: { gsoSize: number } }): boolean => !engine.isKernel || options.gsoSize === 0;

  for (const { type, text, ...key } of tunnels) {
    describe(`${engine.name}: ${text}`, () => {
      for (const inner of FAMILIES) {
        for (const outer of FAMILIES) {
          for (const protocol of PROTOCOLS) {
            for (const { name, frame, options } of worn(inner, protocol).filter(isRun)) {
              test(`an IPv${inner} ${protocol} frame ${name} goes in IPv${outer}, as it came`, (t) => {
                const stage = open(t, engine, { inner, outer, protocol, tunnel: text });
                for (const [flags, reason] of [
                  ['S', 'new-flow'],
                  ['A', 'client-hit'],
                ] as const) {
                  const spec = frame(flags);
                  const { said, frame: out, via } = stage.send(spec, options);
                  // A test run leaves tags in the frame, where tc cannot put a tunnel behind them: it hands the frame up when the
                  // flow stands. On a card the outer tag lies beside it.
                  const isHandedUp = engine.name === 'tc' && spec.tags !== undefined;
                  assert.equal(said, `forwarded: ${isHandedUp ? 'client-hit' : reason}`);
                  assert.equal(via, INSIDE);
                  const own = { ttl: spec.ttl ?? 64, trafficClass: spec.trafficClass ?? 0, ...key };
                  assertFrame(out, buildTunnel(tunnelOf(stage, outer, type, own), spec));
                }
              });
            }
          }
        }
      }
    });
  }

  describe(`${engine.name}: what a tunnel may be told`, () => {
    test('its own TTL and DSCP, with the packet’s congestion marks', (t) => {
      const stage = open(t, engine, { inner: 4, tunnel: 'type: gre, ttl: 9, dscp: 46' });
      const spec = request(4, { trafficClass: 0x2b });
      const { frame } = stage.send(spec);
      assertFrame(frame, buildTunnel(tunnelOf(stage, 4, 'gre', { ttl: 9, trafficClass: (46 << 2) | 3 }), spec));
    });

    test('a prefix, of which each flow has one address', (t) => {
      const stage = open(t, engine, serviceOf({ inner: 4, tunnel: 'type: ipip' }).replace('10.0.1.1"', '10.0.2.0/28"'));
      const spec = request(4);
      const { frame } = stage.send(spec);
      const from = `10.0.2.${tagOf(stage) & 15}`;
      assertFrame(frame, buildTunnel(tunnelOf(stage, 4, 'ipip', { from }), spec));
    });
  });

  describe(`${engine.name}: segments that a SYN announces`, () => {
    const mss = (value: number, before: readonly number[] = []): Partial<FrameSpec> => {
      const options = [...before, 2, 4, value >> 8, value & 0xff];
      return { tcpOptions: [...options, ...Array<number>((4 - (options.length % 4)) % 4).fill(0)] };
    };
    const rows: readonly [string, Family, string, Partial<FrameSpec>, Partial<FrameSpec>][] = [
      ['larger than the tunnel takes become what it takes', 4, 'type: gre', mss(1460), mss(1436)],
      ['of IPv6 have a larger header', 6, 'type: gre', mss(1440), mss(1396)],
      ['that fit stay', 4, 'type: gre', mss(1436), mss(1436)],
      ['are found behind other options', 4, 'type: gre', mss(1460, [1, 3, 3, 7, 4, 2]), mss(1436, [1, 3, 3, 7, 4, 2])],
      ['are found at an odd place', 4, 'type: ipip', mss(1460, [1]), mss(1440, [1])],
      ['stay when the service says so', 4, 'type: gre, clamp-mss: false', mss(1460), mss(1460)],
      ['are not looked for behind the end', 4, 'type: gre', mss(1460, [0, 0, 0, 0]), mss(1460, [0, 0, 0, 0])],
      [
        'are not looked for behind an option without a length',
        4,
        'type: gre',
        mss(1460, [8, 0, 1, 1]),
        mss(1460, [8, 0, 1, 1]),
      ],
    ];
    for (const [name, family, tunnel, came, left] of rows) {
      test(`segments ${name}`, (t) => {
        const stage = open(t, engine, { inner: family, tunnel });
        const { frame } = stage.send(request(family, came));
        const type = tunnel.includes('ipip') ? 'ipip' : 'gre';
        assertFrame(frame, buildTunnel(tunnelOf(stage, family, type), request(family, left)));
      });
    }

    test('by MAC nothing takes room, so nothing changes', (t) => {
      const stage = open(t, engine, { inner: 4 });
      const { frame } = stage.send(request(4, mss(9000)));
      const macsOut = { toMac: serverMac(ENDS[4].server), fromMac: INSIDE_MAC };
      assertFrame(frame, buildFrame(request(4, { ...mss(9000), ...macsOut })));
    });
  });

  describe(`${engine.name}: what does not fit`, () => {
    const big = (inner: Family, size: number, more: Partial<FrameSpec> = {}): FrameSpec =>
      request(inner, { flags: 'A', payload: payloadOf(size - (inner === 4 ? 40 : 60)), ...more });

    for (const [inner, outer, tunnel, room] of [
      [4, 4, 'type: gre', 1476],
      [4, 4, 'type: gre, key: 1', 1472],
      [4, 4, 'type: ipip', 1480],
      [4, 4, 'type: gue', 1468],
      [4, 6, 'type: gre', 1456],
      [6, 4, 'type: gre', 1476],
      [6, 6, 'type: gue', 1448],
    ] as const) {
      test(`IPv${inner} in IPv${outer} by ${tunnel}: ${room} octets go, one more is answered with that number`, (t) => {
        const stage = open(t, engine, { inner, outer, tunnel });
        stage.send(request(inner));
        assert.equal(stage.send(big(inner, room)).said, 'forwarded: client-hit');
        const { said, frame } = stage.send(big(inner, room + 1));
        assert.equal(said, 'answered: too-big');
        const view = new DataView(frame!.buffer, frame!.byteOffset);
        if (inner === 4) assert.deepEqual([frame![34], frame![35], view.getUint16(40)], [3, 4, room]);
        else assert.deepEqual([frame![54], frame![55], view.getUint32(58)], [2, 0, room]);
      });
    }

    test('IPv6 is never told of less than 1280', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf({ inner: 6, outer: 6, tunnel: 'type: gre' }), { mtu: 1300 });
      stage.send(request(6));
      assert.equal(stage.send(big(6, 1280)).said, 'forwarded: client-hit');
      const { said, frame } = stage.send(big(6, 1281));
      assert.equal(said, 'answered: too-big');
      assert.equal(new DataView(frame!.buffer, frame!.byteOffset).getUint32(58), 1280);
    });

    test('what may be fragmented is, unless the service refuses it', (t) => {
      const spec = big(4, 1490, { dontFragment: false });
      const stage = open(t, engine, { inner: 4, tunnel: 'type: gre' });
      stage.send(request(4));
      const { said, frame } = stage.send(spec);
      assert.equal(said, 'forwarded: client-hit');
      assertFrame(frame, buildTunnel(tunnelOf(stage, 4, 'gre'), spec)); // whoever sends it cuts it: native/engine/split.c
      stage.configure(serviceOf({ inner: 4, tunnel: 'type: gre, fragment: false' }));
      assert.equal(stage.send(spec).said, 'dropped: oversize');
    });

    test('a super-frame whose segments do not fit is answered as each of them would be', (t) => {
      if (!engine.takes({ gsoSize: 1460 })) return;
      const stage = open(t, engine, { inner: 4, tunnel: 'type: gre' });
      stage.send(request(4));
      const frame = request(4, { flags: 'A', payload: payloadOf(3000) });
      assert.equal(stage.send(frame, { gsoSize: 1460 }).said, 'answered: too-big');
      assert.equal(stage.send(frame, { gsoSize: 1436 }).said, 'forwarded: client-hit');
    });
  });

  describe(`${engine.name}: what a router says`, () => {
    /** "Too big" from a router on the way to the server, about the tunnel's packet, to the tunnel's source. */
    const tooBig = (outer: Family, quoted: Uint8Array, mtu: number, to: string = ENDS[outer].source): FrameSpec => ({
      toMac: INSIDE_MAC,
      fromMac: serverMac(ENDS[outer].server),
      from: outer === 4 ? '10.0.9.9' : 'fd00:9::9',
      to,
      protocol: outer === 4 ? 'icmp' : 'icmp6',
      payload: join(
        outer === 4 ? wordsOf([0x0304, 0, 0, mtu]) : wordsOf([0x0200, 0, mtu >>> 16, mtu & 0xffff]),
        quoted.subarray(14, 14 + 128),
      ),
    });
    const full = (inner: Family, size: number): FrameSpec =>
      request(inner, { flags: 'A', payload: payloadOf(size - (inner === 4 ? 40 : 60)) });

    for (const { type, text, ...key } of tunnels) {
      for (const inner of FAMILIES) {
        for (const outer of FAMILIES) {
          test(`${text}, IPv${inner} in IPv${outer}: a narrower way is noted, and the client told`, (t) => {
            const stage = open(t, engine, { inner, outer, tunnel: text });
            stage.send(request(inner));
            const spec = full(inner, 1400);
            const sent = stage.send(spec);
            assert.equal(sent.said, 'forwarded: client-hit');
            const own = { ttl: 64, ...key };
            assertFrame(sent.frame, buildTunnel(tunnelOf(stage, outer, type, own), spec));
            assert.equal(stage.send(tooBig(outer, sent.frame!, 1400), { via: INSIDE }).said, 'passed: path-mtu');
            const { said, frame } = stage.send(spec);
            assert.equal(said, 'answered: too-big');
            const overhead = sent.frame!.length - buildFrame(spec).length;
            const view = new DataView(frame!.buffer, frame!.byteOffset);
            assert.equal(inner === 4 ? view.getUint16(40) : view.getUint32(58), 1400 - overhead);
            stage.wait(700);
            stage.send(request(inner));
            assert.equal(stage.send(spec).said, 'forwarded: client-hit');
          });
        }
      }
    }

    test('about a packet with IPv6 extension headers in a tunnel it is noted, too, if its ports are quoted', (t) => {
      const stage = open(t, engine, { inner: 6, tunnel: 'type: gre' });
      stage.send(request(6));
      const sent = stage.send({ ...full(6, 1376), extensions: CHAIN }).frame!;
      const quoted = 14 + 40 + 4 + 40 + 24;
      for (const size of [quoted + 7, quoted, quoted - 1, quoted - 20]) {
        assert.equal(stage.send(tooBig(6, sent.subarray(0, size), 1400), { via: INSIDE }).said, 'passed: not-ours');
      }
      assert.equal(stage.send(tooBig(6, sent.subarray(0, quoted + 8), 1400), { via: INSIDE }).said, 'passed: path-mtu');
      assert.equal(stage.send(full(6, 1400)).said, 'answered: too-big');
    });

    test('nobody narrows a way without knowing a flow and its tunnel', (t) => {
      const stage = open(t, engine, { inner: 4, tunnel: 'type: gre' });
      stage.send(request(4));
      const spec = full(4, 1400);
      const sent = stage.send(spec).frame!;
      const port = Uint8Array.from(sent);
      put16(port, 14 + 20 + 4 + 20, 40_001);
      const server = Uint8Array.from(sent);
      server[14 + 19] = 12;
      const source = Uint8Array.from(sent);
      source[14 + 15] = 2;
      const key = Uint8Array.from(sent);
      put16(key, 14 + 20, 0x8000);
      const short = Uint8Array.from(sent);
      put16(short, 14 + 2, 700);
      for (const quoted of [port, server, source, key, short, sent.subarray(0, 14 + 20 + 4 + 22)]) {
        assert.equal(stage.send(tooBig(4, quoted, 700), { via: INSIDE }).said, 'passed: not-ours');
      }
      assert.equal(stage.send(tooBig(4, sent, 700, '10.0.1.7'), { via: INSIDE }).said, 'passed: not-ours');
      assert.equal(stage.send(spec).said, 'forwarded: client-hit');
    });

    test('a way is not believed to carry less than its family must', (t) => {
      const stage = open(t, engine, { inner: 4, tunnel: 'type: gre' });
      stage.send(request(4));
      const sent = stage.send(full(4, 1400)).frame!;
      assert.equal(stage.send(tooBig(4, sent, 68), { via: INSIDE }).said, 'passed: path-mtu');
      assert.equal(stage.send(full(4, 552)).said, 'forwarded: client-hit');
      assert.equal(stage.send(full(4, 553)).said, 'answered: too-big');
    });

    const quotes = [
      { inner: 4, what: 'IPv4', extensions: [] },
      { inner: 6, what: 'IPv6', extensions: [] },
      { inner: 6, what: 'IPv6, extension headers quoted,', extensions: CHAIN },
    ] as const;
    for (const { inner, what, extensions } of quotes) {
      for (const tunnel of [undefined, 'type: gre']) {
        test(`an ${what} error to the VIP goes to the flow’s server, ${tunnel ?? 'by MAC'}, as it came`, (t) => {
          const stage = open(t, engine, { inner, ...(tunnel === undefined ? {} : { tunnel }) });
          stage.send(request(inner));
          const { client, vip, server } = ENDS[inner];
          const answer = buildFrame({
            ...request(inner, { flags: 'A' }),
            from: vip,
            to: client,
            fromPort: 80,
            toPort: 40_000,
            payload: payloadOf(40),
            extensions,
          });
          const header = (inner === 4 ? 20 : 40) + (extensions.length > 0 ? 24 : 0);
          const error: FrameSpec = {
            ...request(inner),
            from: inner === 4 ? '198.51.100.1' : '2001:db8:c::1',
            protocol: inner === 4 ? 'icmp' : 'icmp6',
            payload: join(
              inner === 4 ? wordsOf([0x0304, 0, 0, 1400]) : wordsOf([0x0200, 0, 0, 1400]),
              answer.subarray(14, 14 + header + 8),
            ),
          };
          const { said, frame, via } = stage.send(error);
          assert.equal(said, 'forwarded: icmp-error');
          assert.equal(via, INSIDE);
          const macsOut = { toMac: serverMac(server), fromMac: INSIDE_MAC };
          assertFrame(
            frame,
            tunnel === undefined
              ? buildFrame({ ...error, ...macsOut })
              : buildTunnel(tunnelOf(stage, inner, 'gre'), error),
          );
          const other = { ...error, payload: Uint8Array.from(error.payload!) };
          put16(other.payload, 8 + header + 2, 40_001);
          assert.equal(stage.send(other).said, 'dropped: unsupported');
          const short = { ...error, payload: error.payload!.subarray(0, 8 + header + 7) };
          assert.equal(stage.send(short).said, 'dropped: short-quote');
        });
      }
    }
  });

  describe(`${engine.name}: frames that come back`, () => {
    test('from the MAC of a server that does not own the VIP', (t) => {
      const stage = open(t, engine, { inner: 4 });
      const { frame } = stage.send(request(4));
      const back = join(macs({ toMac: INSIDE_MAC, fromMac: serverMac(ENDS[4].server) }), frame!.subarray(12));
      assert.equal(stage.send(back, { via: INSIDE }).said, 'dropped: came-back');
      assert.equal(stage.send(request(4)).said, 'forwarded: client-hit');
    });

    for (const protocol of PROTOCOLS) {
      test(`of this host's own checks, which leave by no way that leads here, over ${protocol}`, (t) => {
        const stage = open(t, engine, { inner: 4, protocol });
        const check = request(4, { protocol, from: '203.0.113.1' });
        assert.equal(stage.send(check).said, 'dropped: came-back');
        assert.deepEqual(stage.flows(), []);
      });
    }

    for (const protocol of PROTOCOLS) {
      test(`out of a tunnel, by the client’s own router, over ${protocol}`, (t) => {
        const stage = open(t, engine, { inner: 4, protocol, tunnel: 'type: gre' });
        assert.equal(stage.send(request(4, { protocol })).said, 'forwarded: new-flow');
        assert.equal(stage.send(request(4, { protocol, ttl: 62 })).said, 'dropped: came-back');
        assert.equal(stage.send(request(4, { protocol, id: 0x77, ttl: 62 })).said, 'forwarded: client-hit');
      });
    }
  });

  describe(`${engine.name}: half of a connection`, () => {
    const state = (stage: Stage): string | undefined => stage.flows()[0]?.state;

    test('its states follow the client alone', (t) => {
      const stage = open(t, engine, { inner: 4 });
      const steps = [
        ['S', 'syn-sent'],
        ['S', 'syn-sent'],
        ['A', 'established'],
        ['PA', 'established'],
        ['FA', 'closing'],
        ['A', 'closing'],
        ['RA', 'closed'],
        ['A', 'closing'],
      ] as const;
      for (const [flags, expected] of steps) {
        stage.send(request(4, { flags, further: flags === 'RA' ? 1 : 0 }));
        assert.equal(state(stage), expected, flags);
        stage.assertCountsExact([ENDS[4].server]);
      }
    });

    test('while closing, a SYN beyond the FIN is a new connection, an old one is not', (t) => {
      const stage = open(t, engine, { inner: 4 });
      for (const flags of ['S', 'A', 'FA']) stage.send(request(4, { flags, further: 100 }));
      assert.equal(stage.send(request(4, { flags: 'S', further: 99 })).said, 'forwarded: client-hit');
      assert.equal(state(stage), 'closing');
      assert.equal(stage.send(request(4, { flags: 'S', further: 101 })).said, 'forwarded: new-flow');
      assert.equal(state(stage), 'syn-sent');
    });

    test('UDP that goes on for two seconds has settled', (t) => {
      const stage = open(t, engine, { inner: 4, protocol: 'udp' });
      stage.send(request(4, { protocol: 'udp' }));
      stage.send(request(4, { protocol: 'udp' }));
      assert.equal(state(stage), 'udp-one-way');
      stage.wait(3);
      stage.send(request(4, { protocol: 'udp' }));
      assert.equal(state(stage), 'udp-two-way');
      stage.assertCountsExact([ENDS[4].server]);
    });

    test('what a server sends to its client is the host’s to forward', (t) => {
      const stage = open(t, engine, { inner: 4 });
      stage.send(request(4));
      const { client, vip, server } = ENDS[4];
      const answer = { ...request(4, { flags: 'SA' }), toMac: INSIDE_MAC, fromMac: serverMac(server) };
      const ends = { from: vip, to: client, fromPort: 80, toPort: 40_000 };
      assert.equal(stage.send({ ...answer, ...ends }, { via: INSIDE }).said, 'passed: not-ours');
      assert.equal(stage.send({ ...answer, ...ends, from: server }, { via: INSIDE }).said, 'passed: not-ours');
    });
  });

  describe(`${engine.name}: without a flow`, () => {
    for (const tunnel of [undefined, 'type: gre']) {
      test(`maglev knows the server of a connection all the same, ${tunnel ?? 'by MAC'}`, (t) => {
        const stage = open(t, engine, { inner: 4, scheduler: 'maglev', ...(tunnel === undefined ? {} : { tunnel }) });
        const { said, frame, via } = stage.send(request(4, { flags: 'A' }));
        assert.equal(said, 'forwarded: untracked');
        assert.equal(via, INSIDE);
        assert.deepEqual(stage.flows(), []);
        const expected = stage.send(request(4, { flags: 'S' }));
        assert.equal(expected.said, 'forwarded: new-flow');
        const tracked = stage.send(request(4, { flags: 'A' }));
        assertFrame(frame, tracked.frame!);
        assert.equal(stage.send(request(4, { flags: 'R', fromPort: 7 })).said, 'dropped: no-flow');
      });
    }

    test('a scheduler that keeps no table of clients cannot', (t) => {
      const stage = open(t, engine, { inner: 4, scheduler: 'wlc' });
      assert.equal(stage.send(request(4, { flags: 'A' })).said, 'answered: refused-no-flow');
    });
  });
}
