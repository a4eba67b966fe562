// Direct server return in tunnels: what leaves for the server, byte for byte, what does not fit, and what routers on the
// way say.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  assertFrame,
  CHAIN,
  ENDS,
  FAMILIES,
  type Family,
  open,
  PROTOCOLS,
  request,
  serviceOf,
  tagOf,
  tunnelOf,
  tunnels,
  worn,
} from './dsr.ts';
import { engines } from './engines.ts';
import { buildFrame, type FrameSpec, join, payloadOf, put16, wordsOf } from './frame.ts';
import { INSIDE, INSIDE_MAC, openStage, serverMac } from './stage.ts';
import { buildTunnel } from './tunnel.ts';

for (const engine of engines) {
  // A test run makes super-frames without a type, to which the kernel adds no headers.
  const isRun = ({ options }: { options: { gsoSize: number } }): boolean => !engine.isKernel || options.gsoSize === 0;

  for (const { type, text, ...key } of tunnels) {
    describe(`${engine.name}: ${text}`, () => {
      for (const inner of FAMILIES) {
        for (const outer of FAMILIES) {
          for (const protocol of PROTOCOLS) {
            for (const { name, frame, options } of worn(engine, inner, protocol).filter(isRun)) {
              test(`an IPv${inner} ${protocol} frame ${name} goes in IPv${outer}, as it came`, (t) => {
                const stage = open(t, engine, { inner, outer, protocol, tunnel: text });
                for (const [flags, reason] of [
                  ['S', 'new-flow'],
                  ['A', 'client-hit'],
                ] as const) {
                  const spec = frame(flags);
                  const { said, frame: out, via } = stage.send(spec, options);
                  // A test run leaves tags in the frame, where tc cannot put a tunnel behind them: it hands the frame up
                  // when the flow stands. On a card the outer tag lies beside it.
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
  });
}
