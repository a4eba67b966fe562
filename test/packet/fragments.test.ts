// Datagrams in fragments: all go to the one server, or none does.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants } from '../../src/native/layout.ts';
import { engines } from './engines.ts';
import {
  addressesOf,
  type Content,
  type Exchange,
  exchanges,
  localOf,
  nameOf,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { buildFrame, type FrameSpec, hex, payloadOf } from './frame.ts';
import { type Cut, cutFrame, idOf } from './fragments.ts';
import { INSIDE, openStage, OUTSIDE, type Outcome, serverMac, type Stage, TICK_NS } from './stage.ts';

const ID = 0x4321;
const CUT: Cut = { at: [48, 96], id: ID };
const BODY: Content = { payload: payloadOf(100), dontFragment: false };
const udp4: Exchange = { method: 'nat', protocol: 'udp', family: 4 };

/** Sends them in this order. */
function sendAll(stage: Stage, frames: readonly Uint8Array[], via = OUTSIDE): Outcome[] {
  return frames.map((frame) => stage.send(frame, { via }));
}

/** What left is the expected frame, cut alike, under one id. */
function assertPieces(outcomes: readonly Outcome[], expected: FrameSpec, cut: Cut = CUT): void {
  const first = outcomes[0]?.frame;
  assert.ok(first, outcomes[0]?.said);
  const pieces = cutFrame(buildFrame(expected), { ...cut, id: idOf(first, cut.l3) });
  assert.deepEqual(
    outcomes.map(({ frame }) => hex(frame)),
    pieces.map(hex),
  );
}

for (const engine of engines) {
  describe(`${engine.name}: fragments`, () => {
    for (const exchange of exchanges) {
      test(`request and answer in three fragments each: ${nameOf(exchange)}`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const there = sendAll(stage, cutFrame(buildFrame(request(exchange, BODY)), CUT));
        assert.deepEqual(
          there.map(({ said }) => said),
          ['forwarded: new-flow', 'forwarded: client-hit', 'forwarded: client-hit'],
        );
        assertPieces(there, requestOut(exchange, localOf(stage), BODY));
        const back = sendAll(stage, cutFrame(buildFrame(reply(exchange, localOf(stage), BODY)), CUT), INSIDE);
        assert.deepEqual(new Set(back.map(({ said }) => said)), new Set(['forwarded: server-hit']));
        assertPieces(back, replyOut(exchange, BODY));
        assert.ok(back.every(({ via }) => via === OUTSIDE));
        const { inFrames, outFrames } = stage.traffic(addressesOf(exchange).server);
        assert.deepEqual(
          [inFrames, outFrames],
          [3n, 3n].map((it) => (typeof inFrames === 'bigint' ? it : Number(it))),
        );
      });
    }

    test('fragments behind a VLAN tag', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const body = { ...BODY, tags: [5] };
      const cut = { ...CUT, l3: 18 };
      const out = sendAll(stage, cutFrame(buildFrame(request(udp4, body)), cut));
      assertPieces(out, requestOut(udp4, localOf(stage), body), cut);
    });

    test('a datagram without a checksum keeps none', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const body: Content = { ...BODY, checksum: 'none' };
      assertPieces(
        sendAll(stage, cutFrame(buildFrame(request(udp4, body)), CUT)),
        requestOut(udp4, localOf(stage), body),
      );
    });

    test('fragments that meet a processor whose clock lags by a tick follow their first one', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const [first, ...more] = cutFrame(buildFrame(request(udp4, BODY)), CUT);
      const out = sendAll(stage, [first!]);
      stage.wait(-TICK_NS / 1e9);
      assertPieces([...out, ...sendAll(stage, more)], requestOut(udp4, localOf(stage), BODY));
    });

    for (const method of ['l2-dsr', 'l3-dsr'] as const) {
      test(`${method}: fragments go to the flow’s server as they came`, (t) => {
        const stage = openStage(t, engine);
        const tunnel = method === 'l3-dsr' ? ['tunnel: { type: ipip, source: "10.0.1.1" }'] : [];
        stage.configure(serviceOf(udp4, tunnel).replace('method: nat', `method: ${method}`).replace(':8080', ''));
        const pieces = cutFrame(buildFrame(request(udp4, BODY)), CUT);
        const out = sendAll(stage, pieces);
        const { server } = addressesOf(udp4);
        for (const [index, { frame, said }] of out.entries()) {
          assert.match(said, /^forwarded: (new-flow|client-hit)$/);
          assert.equal(hex(frame!.subarray(0, 6)), serverMac(server).replaceAll(':', ''));
          const inner = frame!.subarray(method === 'l3-dsr' ? 34 : 14);
          assert.equal(hex(inner), hex(pieces[index]!.subarray(14)));
        }
      });
    }

    for (const family of [4, 6] as const) {
      const exchange: Exchange = { ...udp4, family };

      test(`those that come before their first one are kept, and go on once it has come (IPv${family})`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const [first, second, third] = cutFrame(buildFrame(request(exchange, BODY)), CUT);
        assert.equal(stage.send(third!).said, 'kept: early-fragment');
        assert.equal(stage.send(second!).said, 'kept: early-fragment');
        const out = sendAll(stage, [first!, third!, second!]);
        assertPieces([out[0]!, out[2]!, out[1]!], requestOut(exchange, localOf(stage), BODY));
      });

      test(`a fragment that repeats or overlaps what has passed is dropped: the first one wins (IPv${family})`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const frame = buildFrame(request(exchange, BODY));
        const [first, second, third] = cutFrame(frame, CUT);
        const late = cutFrame(frame, { at: [8, 40], id: ID })[2];
        stage.send(first!);
        assert.equal(stage.send(first!).said, 'dropped: bad-fragment', 'a second first one may have other ports');
        stage.send(second!);
        assert.equal(stage.send(second!).said, 'dropped: bad-fragment');
        assert.equal(stage.send(third!).said, 'forwarded: client-hit');
        assert.equal(stage.send(third!).said, 'dropped: bad-fragment');
        // Another datagram under the same id, once all of the first has come.
        assert.equal(stage.send(first!).said, 'forwarded: client-hit');
        assert.equal(stage.send(late!).said, 'dropped: bad-fragment', 'from inside the first one beyond it');
        assert.equal(stage.send(second!).said, 'dropped: bad-fragment', 'and that ends the datagram');
      });

      test(`a first fragment that does not hold the whole header is dropped (IPv${family})`, (t) => {
        const stage = openStage(t, engine);
        const tcp: Exchange = { ...exchange, protocol: 'tcp' };
        stage.configure(serviceOf(tcp));
        const frame = buildFrame(request(tcp, { ...BODY, tcpOptions: [1, 1, 1, 1, 1, 1, 1, 1] }));
        for (const end of [8, 16, 24]) {
          const [first, second] = cutFrame(frame, { at: [end], id: ID + end });
          assert.equal(stage.send(first!).said, 'dropped: bad-fragment', `${end} octets`);
          assert.equal(stage.send(second!).said, 'kept: early-fragment');
        }
        assert.equal(stage.send(cutFrame(frame, { at: [32], id: ID })[0]!).said, 'forwarded: new-flow');
      });

      test(`two clients' datagrams of the same id go on under different ones (IPv${family})`, (t) => {
        const stage = openStage(t, engine);
        const full: Exchange = { ...exchange, method: 'full-nat' };
        stage.configure(serviceOf(full));
        const ids = [7, 8].map((last) => {
          const from = addressesOf(full).client.replace(/7$/, String(last));
          return idOf(stage.send(cutFrame(buildFrame({ ...request(full, BODY), from }), CUT)[0]!).frame!);
        });
        assert.notEqual(ids[0], ids[1]);
      });

      test(`later fragments of others pass by (IPv${family})`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const { client, server } = addressesOf(exchange);
        const frame = buildFrame(reply(exchange, { address: client, port: 9 }, BODY));
        for (const piece of cutFrame(frame, CUT)) {
          assert.equal(stage.send(piece, { via: INSIDE }).said, 'passed: not-ours', server);
        }
      });
    }

    test('a length that no fragment has is dropped', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const spec = (more: Content) => ({ ...request(udp4, { dontFragment: false, ...more }), protocol: 17 });
      const odd = stage.send({ ...spec({ moreFragments: true }), payload: payloadOf(13) });
      assert.equal(odd.said, 'dropped: bad-fragment', 'all but the last are multiples of 8');
      const long = stage.send({ ...spec({ fragmentOffset: 0x1fff }), payload: payloadOf(64) });
      assert.equal(long.said, 'dropped: bad-fragment', 'no datagram is longer than 65,535');
      const empty = stage.send({ ...spec({ fragmentOffset: 2 }), payload: payloadOf(0) });
      assert.equal(empty.said, 'dropped: bad-fragment');
    });

    test('fragments of what is not balanced are dropped', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const echo = { ...request(udp4, { dontFragment: false, payload: payloadOf(64) }), protocol: 'icmp' as const };
      for (const piece of cutFrame(buildFrame(echo), { at: [32], id: ID })) {
        assert.equal(stage.send(piece).said, 'dropped: fragment');
      }
    });

    test('when the flow has ended, the rest of a datagram is dropped', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const [first, second] = cutFrame(buildFrame(request(udp4, BODY)), CUT);
      stage.send(first!);
      stage.configure(serviceOf(udp4).replace('10.0.1.11', '10.0.1.12'));
      assert.equal(stage.send(second!).said, 'dropped: fragment');
    });

    test('a note is kept for ten seconds', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4), { head: 'timeouts: { udp: 60s }' });
      const [first, second, third] = cutFrame(buildFrame(request(udp4, BODY)), CUT);
      stage.send(first!);
      stage.wait(9);
      assert.equal(stage.send(second!).said, 'forwarded: client-hit');
      stage.wait(2);
      assert.equal(stage.send(third!).said, 'kept: early-fragment');
    });

    test('a flood of first fragments takes what is old and no more: honest datagrams go through meanwhile', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const flood = (count: number, start: number) => {
        for (let id = start; id < start + count; id++) {
          stage.flood(
            cutFrame(buildFrame({ ...request(udp4, BODY), from: '198.51.100.66' }), { ...CUT, id: id & 0xffff })[0]!,
          );
        }
      };
      flood(2 * constants.datagrams, 0);
      const honest = () => sendAll(stage, cutFrame(buildFrame(request(udp4, BODY)), CUT)).map(({ said }) => said);
      assert.equal(stage.flood(buildFrame({ ...request(udp4), from: '198.51.100.67' })).said, 'forwarded: new-flow');
      stage.wait(0.5);
      for (let round = 0; round < 4; round++) {
        flood(200, 20_000 + 200 * round);
        assert.ok(
          honest().every((said) => said.startsWith('forwarded')),
          `round ${round}`,
        );
      }
    });

    test('no more are kept at once than there is a budget for', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp4));
      const said = Array.from({ length: 200 }, (_, id) => {
        const [, second] = cutFrame(buildFrame(request(udp4, BODY)), { ...CUT, id });
        return stage.send(second!).said;
      });
      const kept = said.filter((it) => it === 'kept: early-fragment').length;
      assert.equal(kept, 64);
      assert.ok(said.every((it) => it === 'kept: early-fragment' || it === 'dropped: fragment'));
      stage.wait(1);
      assert.equal(
        stage.send(cutFrame(buildFrame(request(udp4, BODY)), { ...CUT, id: 999 })[1]!).said,
        'kept: early-fragment',
      );
    });
  });
}
