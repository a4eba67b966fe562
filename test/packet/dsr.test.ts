// Direct server return, frame by frame: what leaves for the server by MAC, byte for byte, what does not, and what becomes
// of a flow of which only the client is heard. What is about tunnels alone is in tunnels.test.ts.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertFrame, CHAIN, ENDS, FAMILIES, open, PROTOCOLS, request, tunnelOf, worn } from './dsr.ts';
import { engines } from './engines.ts';
import { buildFrame, type FrameSpec, join, macs, payloadOf, put16, withoutTail, wordsOf } from './frame.ts';
import { INSIDE, INSIDE_MAC, serverMac, type Stage } from './stage.ts';
import { buildTunnel } from './tunnel.ts';

for (const engine of engines) {
  describe(`${engine.name}: by MAC`, () => {
    for (const inner of FAMILIES) {
      for (const protocol of PROTOCOLS) {
        for (const { name, frame, options } of worn(engine, inner, protocol)) {
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

  describe(`${engine.name}: what a router says to the VIP`, () => {
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
