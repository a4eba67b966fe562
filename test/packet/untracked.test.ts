// Frames of nat that go on without a flow: amid a flood of SYNs, and of a connection whose flow is lost. They leave as with
// one, octet for octet, and so do the answers, by the trail that they have left.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { engines, type Engine } from './engines.ts';
import {
  addressesOf,
  CLIENT_PORT,
  type Content,
  type Exchange,
  type Local,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { addressOf, buildFrame, payloadOf } from './frame.ts';
import { CLIENT_MAC, INSIDE, openStage, OUTSIDE, type Stage } from './stage.ts';

const MOST = 20;
const exchanges = ([4, 6] as const).map((family) => ({ method: 'nat', protocol: 'tcp', family }) satisfies Exchange);

const hex = (octets: Uint8Array | null): string => Buffer.from(octets ?? []).toString('hex');
const localOf = (exchange: Exchange): Local => ({ address: addressesOf(exchange).client, port: CLIENT_PORT });

/** A service that takes no SYN into its table any more. */
function openFlooded(t: TestContext, engine: Engine, exchange: Exchange, more: readonly string[] = []): Stage {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange, [`half-open: ${MOST}`, ...more]));
  for (let port = 1; port <= MOST; port++) {
    assert.equal(stage.send({ ...request(exchange), fromPort: port }).said, 'forwarded: new-flow');
  }
  return stage;
}

/** A service that knows its clients' servers, and no flow. */
function openHashed(t: TestContext, engine: Engine, exchange: Exchange, scheduler = 'maglev'): Stage {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange).replace('scheduler: rr', `scheduler: ${scheduler}`));
  return stage;
}

function assertThrough(stage: Stage, exchange: Exchange, content: Content, said: string): void {
  const outcome = stage.send(request(exchange, content));
  assert.deepEqual([outcome.said, outcome.via], [said, INSIDE]);
  assert.equal(hex(outcome.frame), hex(buildFrame(requestOut(exchange, localOf(exchange), content))));
}

function assertBack(stage: Stage, exchange: Exchange, content: Content, said: string): void {
  const outcome = stage.send(reply(exchange, localOf(exchange), content), { via: INSIDE });
  assert.deepEqual([outcome.said, outcome.via], [said, OUTSIDE]);
  assert.equal(hex(outcome.frame), hex(buildFrame(replyOut(exchange, content))));
}

const OUT = 'forwarded: untracked';
const BACK = 'forwarded: untracked-answer';

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { server } = addressesOf(exchange);
    const states = (stage: Stage): string[] => stage.flows({ client: localClient(exchange) }).map(({ state }) => state);

    describe(`${engine.name}: nat amid a flood, IPv${exchange.family}`, () => {
      test('a SYN enters no flow, its answer finds back, and the ACK of that enters one that stands', (t) => {
        const stage = openFlooded(t, engine, exchange);
        const { inFrames, outFrames } = stage.traffic(server);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        assert.deepEqual(states(stage), []);
        assertBack(stage, exchange, { flags: 'SA' }, BACK);
        assertBack(stage, exchange, { flags: 'SA' }, BACK);
        assert.deepEqual(
          [stage.traffic(server).inFrames, stage.traffic(server).outFrames],
          [inFrames + 2, outFrames + 2],
        );
        assertThrough(stage, exchange, { flags: 'A', further: 1 }, 'forwarded: new-flow');
        assert.deepEqual(states(stage), ['established']);
        assertBack(stage, exchange, { flags: 'AP', further: 1, payload: payloadOf(10) }, 'forwarded: server-hit');
        assertThrough(stage, exchange, { flags: 'AP', further: 1 }, 'forwarded: client-hit');
        stage.assertCountsExact([server]);
      });

      test('the ACK that knows nothing of the answer enters one that stands when the server speaks for it', (t) => {
        const stage = openFlooded(t, engine, exchange);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        assertThrough(stage, exchange, { flags: 'A', further: 1, acknowledges: 90_000 }, 'forwarded: new-flow');
        assert.deepEqual(states(stage), ['syn-received']);
        assertThrough(stage, exchange, { flags: 'A', further: 1 }, 'forwarded: client-hit');
        assert.deepEqual(states(stage), ['syn-received'], 'the client’s word is not enough');
        assertBack(stage, exchange, { flags: 'A', further: 1 }, 'forwarded: server-hit');
        assert.deepEqual(states(stage), ['established']);
        stage.assertCountsExact([server]);
      });

      test('a refusal finds back as well', (t) => {
        const stage = openFlooded(t, engine, exchange);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        assertBack(stage, exchange, { flags: 'RA' }, BACK);
      });

      test('the trail ends when it is four minutes old, and when the service is gone', (t) => {
        const stage = openFlooded(t, engine, exchange);
        const answer = reply(exchange, localOf(exchange));
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        stage.wait(239);
        assertBack(stage, exchange, {}, BACK);
        stage.wait(2);
        assert.equal(stage.send(answer, { via: INSIDE }).said, 'passed: not-ours');
        for (let port = 101; port <= 100 + MOST; port++) stage.send({ ...request(exchange), fromPort: port });
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        assertBack(stage, exchange, {}, BACK);
        stage.configure(
          serviceOf(exchange)
            .replace('web:', 'other:')
            .replace(/\.10\b|::10\b/, (end) => `${end}9`),
        );
        assert.equal(stage.send(answer, { via: INSIDE }).said, 'passed: not-ours');
      });

      test('what only resembles the answer is the host’s', (t) => {
        const stage = openFlooded(t, engine, exchange);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        const answer = reply(exchange, localOf(exchange));
        for (const other of [{ toPort: 700 }, { fromPort: 7 }, { protocol: 'udp' as const }, { toMac: CLIENT_MAC }]) {
          assert.equal(stage.send({ ...answer, ...other }, { via: INSIDE }).said, 'passed: not-ours');
        }
        assertBack(stage, exchange, {}, BACK);
      });

      test('too many hops and too large a packet are told to who sent it', (t) => {
        const stage = openFlooded(t, engine, exchange);
        assertThrough(stage, exchange, { flags: 'S' }, OUT);
        const answer = reply(exchange, localOf(exchange), { flags: 'A', ttl: 1 });
        assert.equal(stage.send(answer, { via: INSIDE }).said, 'answered: time-exceeded');
        const large = { flags: 'A', payload: payloadOf(1600), dontFragment: true };
        const outcome = stage.send(reply(exchange, localOf(exchange), large), { via: INSIDE });
        assert.equal(outcome.said, 'answered: too-big');
        assert.equal(outcome.via, INSIDE);
      });

      test('a client beside the server has its flow, since the answer would go around us', (t) => {
        const stage = openFlooded(t, engine, exchange);
        const from = exchange.family === 4 ? '10.0.1.200' : 'fd00::200';
        assert.equal(stage.send({ ...request(exchange), from }).said, 'forwarded: new-flow');
        const flow = stage.flows().find(({ client }) => client.text === from);
        assert.notEqual(flow?.local, null, 'it leaves from the VIP');
        assert.equal(flow?.state, 'syn-sent');
        assert.equal(
          stage.send({ ...request(exchange, { flags: 'A' }), from, fromPort: 7 }).said,
          'answered: refused-no-flow',
        );
      });

      test('a SYN in pieces is entered as ever', (t) => {
        const stage = openFlooded(t, engine, exchange);
        const piece = { ...request(exchange, { payload: payloadOf(20) }), moreFragments: true };
        const octets = exchange.family === 4 ? buildFrame(piece) : buildFrame({ ...piece, extensions: [FIRST_PIECE] });
        assert.equal(stage.send(octets).said, 'forwarded: new-flow');
      });
    });

    describe(`${engine.name}: a nat connection that has lost its flow, IPv${exchange.family}`, () => {
      for (const scheduler of ['maglev', 'sh']) {
        test(`goes on with ${scheduler}, and has one again when its server has spoken`, (t) => {
          const stage = openHashed(t, engine, exchange, scheduler);
          for (const flags of ['A', 'AP', 'FA']) assertThrough(stage, exchange, { flags, further: 1 }, OUT);
          assert.deepEqual(stage.flows(), [], 'a lone ACK makes none');
          assertBack(stage, exchange, { flags: 'AP', further: 700, payload: payloadOf(50) }, BACK);
          assert.deepEqual(stage.flows(), []);
          assertThrough(stage, exchange, { flags: 'A', further: 1, acknowledges: 600 }, OUT);
          assert.deepEqual(stage.flows(), [], 'nor one that acknowledges something else');
          assertThrough(stage, exchange, { flags: 'A', further: 1, acknowledges: 750 }, 'forwarded: new-flow');
          assert.deepEqual(states(stage), ['established']);
          assertBack(stage, exchange, { flags: 'A', further: 750 }, 'forwarded: server-hit');
          stage.assertCountsExact([server]);
        });
      }

      test('and that the server has lost too is reset by the server', (t) => {
        const stage = openHashed(t, engine, exchange);
        assertThrough(stage, exchange, { flags: 'A', further: 1 }, OUT);
        assertBack(stage, exchange, { flags: 'R', further: 1 }, BACK);
        assertThrough(stage, exchange, { flags: 'A', further: 1 }, OUT);
        assert.deepEqual(stage.flows(), []);
      });

      test('is none when it begins with RST, SYN+ACK, or no flag that makes sense, or is in pieces', (t) => {
        const stage = openHashed(t, engine, exchange);
        assert.equal(stage.send(request(exchange, { flags: 'R' })).said, 'dropped: no-flow');
        assert.equal(stage.send(request(exchange, { flags: 'RA' })).said, 'dropped: no-flow');
        assert.equal(stage.send(request(exchange, { flags: 'SA' })).said, 'answered: refused-no-flow');
        for (const flags of ['', 'FPU', 'SF']) {
          assert.equal(stage.send(request(exchange, { flags })).said, 'dropped: bad-flags');
        }
        const piece = { ...request(exchange, { flags: 'A', payload: payloadOf(20) }), moreFragments: true };
        const octets = exchange.family === 4 ? buildFrame(piece) : buildFrame({ ...piece, extensions: [FIRST_PIECE] });
        assert.equal(stage.send(octets).said, 'dropped: no-flow');
      });

      test('is none where the scheduler keeps no table of clients', (t) => {
        const stage = openHashed(t, engine, exchange, 'wlc');
        assert.equal(stage.send(request(exchange, { flags: 'A' })).said, 'answered: refused-no-flow');
      });

      test('the way back follows the client’s router', (t) => {
        const stage = openHashed(t, engine, exchange);
        const moved = { ...request(exchange, { flags: 'A' }), fromMac: '02:00:00:00:00:c2' };
        assertThrough(stage, exchange, { flags: 'A' }, OUT);
        assert.equal(stage.send(moved).said, OUT);
        const { frame } = stage.send(reply(exchange, localOf(exchange), { flags: 'A' }), { via: INSIDE });
        assert.equal(hex(frame).slice(0, 12), '0200000000c2');
      });
    });
  }
}

/** IPv6's fragment header of a first piece. */
const FIRST_PIECE = { number: 44, octets: [0, 0, 0, 1, 0, 0, 0, 9] };

function localClient(exchange: Exchange): { address: ReturnType<typeof addressOf>; port: number } {
  return { address: addressOf(addressesOf(exchange).client), port: CLIENT_PORT };
}
