// Frames of nat and full-nat that go on without a flow: amid a flood of SYNs, and of a connection whose flow is lost. They
// leave as with one, octet for octet, and so do the answers, by the trail that they have left.

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
import { addressOf, buildFrame, type FrameSpec, hex, payloadOf } from './frame.ts';
import { CLIENT_MAC, INSIDE, openStage, OUTSIDE, type Stage } from './stage.ts';

const MOST = 20;
const ESTABLISHED = 124 * 60; // s, that a flow lives without a frame
const exchanges = (['nat', 'full-nat'] as const).flatMap((method) =>
  ([4, 6] as const).map((family) => ({ method, protocol: 'tcp', family }) satisfies Exchange),
);

const OUT = 'forwarded: untracked';
const BACK = 'forwarded: untracked-answer';

/** A service that takes no SYN into its table any more. */
function openFlooded(t: TestContext, engine: Engine, exchange: Exchange, more: readonly string[] = []): Talk {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange, [`half-open: ${MOST}`, ...more]));
  for (let port = 1; port <= MOST; port++) {
    assert.equal(stage.send({ ...request(exchange), fromPort: port }).said, 'forwarded: new-flow');
  }
  return new Talk(stage, exchange);
}

/** A service that knows its clients' servers, and no flow. */
function openHashed(t: TestContext, engine: Engine, exchange: Exchange, scheduler = 'maglev'): Talk {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange).replace('scheduler: rr', `scheduler: ${scheduler}`));
  // The first frame that this region has seen was so long ago that flows may have been lost by their time.
  stage.send({ ...request(exchange), fromPort: 1 });
  stage.wait(ESTABLISHED + 1);
  stage.age();
  return new Talk(stage, exchange);
}

/** One connection, each of whose frames leaves as it must, to the last octet. */
class Talk {
  readonly stage: Stage;
  readonly #exchange: Exchange;
  #local: Local | null = null;

  constructor(stage: Stage, exchange: Exchange) {
    this.stage = stage;
    this.#exchange = exchange;
  }

  /** What its server takes for the client: with full-nat the VIP, and a port that stays the same. */
  get local(): Local {
    assert.ok(this.#local, 'no frame has gone to the server');
    return this.#local;
  }

  assertThrough(content: Content, said: string): void {
    const { client, vip } = addressesOf(this.#exchange);
    const isNat = this.#exchange.method === 'nat';
    const outcome = this.stage.send(request(this.#exchange, content));
    assert.deepEqual([outcome.said, outcome.via], [said, INSIDE]);
    this.#local ??= {
      address: isNat ? client : vip,
      port: isNat ? CLIENT_PORT : sourcePortOf(outcome.frame, this.#exchange.family),
    };
    assert.equal(hex(outcome.frame), hex(buildFrame(requestOut(this.#exchange, this.local, content))));
  }

  assertBack(content: Content, said: string): void {
    const outcome = this.stage.send(this.reply(content), { via: INSIDE });
    assert.deepEqual([outcome.said, outcome.via], [said, OUTSIDE]);
    assert.equal(hex(outcome.frame), hex(buildFrame(replyOut(this.#exchange, content))));
  }

  reply(content: Content = {}): FrameSpec {
    return reply(this.#exchange, this.local, content);
  }

  get states(): readonly string[] {
    const client = { address: addressOf(addressesOf(this.#exchange).client), port: CLIENT_PORT };
    return this.stage.flows({ client }).map(({ state }) => state);
  }
}

function sourcePortOf(frame: Uint8Array | null, family: 4 | 6): number {
  return Buffer.from(frame ?? []).readUInt16BE(family === 4 ? 34 : 54);
}

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { server } = addressesOf(exchange);
    /** Of what comes from a server and is no answer. */
    const nobodys = exchange.method === 'nat' ? 'passed: not-ours' : 'answered: refused-no-service';

    describe(`${engine.name}: ${exchange.method} amid a flood, IPv${exchange.family}`, () => {
      test('a SYN enters no flow, its answer finds back, and the ACK of that enters one that stands', (t) => {
        const talk = openFlooded(t, engine, exchange);
        const { inFrames, outFrames } = talk.stage.traffic(server);
        talk.assertThrough({ flags: 'S' }, OUT);
        talk.assertThrough({ flags: 'S' }, OUT);
        assert.deepEqual(talk.states, []);
        talk.assertBack({ flags: 'SA' }, BACK);
        talk.assertBack({ flags: 'SA' }, BACK);
        assert.deepEqual(
          [talk.stage.traffic(server).inFrames, talk.stage.traffic(server).outFrames],
          [inFrames + 2, outFrames + 2],
        );
        talk.assertThrough({ flags: 'A', further: 1 }, 'forwarded: new-flow');
        assert.deepEqual(talk.states, ['established']);
        talk.assertBack({ flags: 'AP', further: 1, payload: payloadOf(10) }, 'forwarded: server-hit');
        talk.assertThrough({ flags: 'AP', further: 1 }, 'forwarded: client-hit');
        talk.stage.assertCountsExact([server]);
      });

      test('the ACK that knows nothing of the answer enters one that stands when the server speaks for it', (t) => {
        const talk = openFlooded(t, engine, exchange);
        talk.assertThrough({ flags: 'S' }, OUT);
        talk.assertThrough({ flags: 'A', further: 1, acknowledges: 90_000 }, 'forwarded: new-flow');
        assert.deepEqual(talk.states, ['syn-received']);
        talk.assertThrough({ flags: 'A', further: 1 }, 'forwarded: client-hit');
        assert.deepEqual(talk.states, ['syn-received'], 'the client’s word is not enough');
        talk.assertBack({ flags: 'A', further: 1 }, 'forwarded: server-hit');
        assert.deepEqual(talk.states, ['established']);
        talk.stage.assertCountsExact([server]);
      });

      test('a refusal finds back as well', (t) => {
        const talk = openFlooded(t, engine, exchange);
        talk.assertThrough({ flags: 'S' }, OUT);
        talk.assertBack({ flags: 'RA' }, BACK);
      });

      test('the trail ends when it is four minutes old, and when the service is gone', (t) => {
        const talk = openFlooded(t, engine, exchange);
        talk.assertThrough({ flags: 'S' }, OUT);
        const answer = talk.reply();
        talk.stage.wait(239);
        talk.assertBack({}, BACK);
        talk.stage.wait(2);
        assert.equal(talk.stage.send(answer, { via: INSIDE }).said, nobodys);
        for (let port = 101; port <= 100 + MOST; port++) talk.stage.send({ ...request(exchange), fromPort: port });
        talk.assertThrough({ flags: 'S' }, OUT);
        talk.assertBack({}, BACK);
        talk.stage.configure(
          serviceOf(exchange)
            .replace('web:', 'other:')
            .replace(/\.10\b|::10\b/, (end) => `${end}9`),
        );
        assert.equal(talk.stage.send(answer, { via: INSIDE }).said, 'passed: not-ours');
      });

      test('what only resembles the answer is nobody’s', (t) => {
        const talk = openFlooded(t, engine, exchange);
        talk.assertThrough({ flags: 'S' }, OUT);
        const answer = talk.reply();
        for (const other of [{ toPort: 700 }, { fromPort: 7 }, { protocol: 'udp' as const }]) {
          assert.equal(talk.stage.send({ ...answer, ...other }, { via: INSIDE }).said, nobodys);
        }
        assert.equal(talk.stage.send({ ...answer, toMac: CLIENT_MAC }, { via: INSIDE }).said, 'passed: not-ours');
        talk.assertBack({}, BACK);
      });

      test('too many hops and too large a packet are told to who sent it', (t) => {
        const talk = openFlooded(t, engine, exchange);
        talk.assertThrough({ flags: 'S' }, OUT);
        const answer = talk.reply({ flags: 'A', ttl: 1 });
        assert.equal(talk.stage.send(answer, { via: INSIDE }).said, 'answered: time-exceeded');
        const large = { flags: 'A', payload: payloadOf(1600), dontFragment: true };
        const outcome = talk.stage.send(talk.reply(large), { via: INSIDE });
        assert.equal(outcome.said, 'answered: too-big');
        assert.equal(outcome.via, INSIDE);
      });

      test('a RST goes on where its SYN has left a trail, and nowhere else', (t) => {
        const talk = openFlooded(t, engine, exchange);
        assert.equal(talk.stage.send(request(exchange, { flags: 'R' })).said, 'dropped: no-flow');
        talk.assertThrough({ flags: 'S' }, OUT);
        talk.assertThrough({ flags: 'R', further: 1 }, OUT);
        talk.assertThrough({ flags: 'RA', further: 1 }, OUT);
        const { said } = talk.stage.send({ ...request(exchange, { flags: 'R' }), fromPort: 700 });
        assert.equal(said, 'dropped: no-flow');
        assert.deepEqual(talk.states, []);
      });

      test('a client beside the server leaves from the VIP, so the answer does not go around us', (t) => {
        const { stage } = openFlooded(t, engine, exchange);
        const { vip } = addressesOf(exchange);
        const from = exchange.family === 4 ? '10.0.1.200' : 'fd00::200';
        const outcome = stage.send({ ...request(exchange), from });
        const local = { address: vip, port: sourcePortOf(outcome.frame, exchange.family) };
        assert.equal(outcome.said, OUT);
        assert.equal(hex(outcome.frame), hex(buildFrame(requestOut(exchange, local))));
        const back = stage.send(reply(exchange, local), { via: INSIDE });
        assert.deepEqual([back.said, back.via], [BACK, OUTSIDE]);
        assert.equal(hex(back.frame), hex(buildFrame({ ...replyOut(exchange), to: from })));
      });

      test('a SYN in pieces is entered as ever', (t) => {
        const talk = openFlooded(t, engine, exchange);
        const piece = { ...request(exchange, { payload: payloadOf(20) }), moreFragments: true };
        const octets = exchange.family === 4 ? buildFrame(piece) : buildFrame({ ...piece, extensions: [FIRST_PIECE] });
        assert.equal(talk.stage.send(octets).said, 'forwarded: new-flow');
      });
    });

    describe(`${engine.name}: a connection by ${exchange.method} that has lost its flow, IPv${exchange.family}`, () => {
      for (const scheduler of ['maglev', 'sh']) {
        test(`goes on with ${scheduler}, and has one again when its server has spoken`, (t) => {
          const talk = openHashed(t, engine, exchange, scheduler);
          for (const flags of ['A', 'AP', 'FA']) talk.assertThrough({ flags, further: 1 }, OUT);
          assert.deepEqual(talk.stage.flows(), [], 'a lone ACK makes none');
          talk.assertBack({ flags: 'AP', further: 700, payload: payloadOf(50) }, BACK);
          assert.deepEqual(talk.stage.flows(), []);
          talk.assertThrough({ flags: 'A', further: 1, acknowledges: 600 }, OUT);
          assert.deepEqual(talk.stage.flows(), [], 'nor one that acknowledges something else');
          talk.assertThrough({ flags: 'A', further: 1, acknowledges: 750 }, 'forwarded: new-flow');
          assert.deepEqual(talk.states, ['established']);
          talk.assertBack({ flags: 'A', further: 750 }, 'forwarded: server-hit');
          talk.stage.assertCountsExact([server]);
        });
      }

      test('and that the server has lost too is reset by the server', (t) => {
        const talk = openHashed(t, engine, exchange);
        talk.assertThrough({ flags: 'A', further: 1 }, OUT);
        talk.assertBack({ flags: 'R', further: 1 }, BACK);
        talk.assertThrough({ flags: 'A', further: 1 }, OUT);
        assert.deepEqual(talk.stage.flows(), []);
      });

      test('is reset by its client', (t) => {
        const talk = openHashed(t, engine, exchange);
        talk.assertThrough({ flags: 'A', further: 1 }, OUT);
        talk.assertThrough({ flags: 'R', further: 1 }, OUT);
        talk.assertBack({ flags: 'R', further: 1 }, BACK);
      });

      test('is none when it begins with RST, SYN+ACK, or no flag that makes sense, or is in pieces', (t) => {
        const talk = openHashed(t, engine, exchange);
        assert.equal(talk.stage.send(request(exchange, { flags: 'R' })).said, 'dropped: no-flow');
        assert.equal(talk.stage.send(request(exchange, { flags: 'RA' })).said, 'dropped: no-flow');
        assert.equal(talk.stage.send(request(exchange, { flags: 'SA' })).said, 'answered: refused-no-flow');
        for (const flags of ['', 'FPU', 'SF']) {
          assert.equal(talk.stage.send(request(exchange, { flags })).said, 'dropped: bad-flags');
        }
        const piece = { ...request(exchange, { flags: 'A', payload: payloadOf(20) }), moreFragments: true };
        const octets = exchange.family === 4 ? buildFrame(piece) : buildFrame({ ...piece, extensions: [FIRST_PIECE] });
        assert.equal(talk.stage.send(octets).said, 'dropped: no-flow');
      });

      test('is none where the scheduler keeps no table of clients', (t) => {
        const talk = openHashed(t, engine, exchange, 'wlc');
        assert.equal(talk.stage.send(request(exchange, { flags: 'A' })).said, 'answered: refused-no-flow');
      });

      test('the way back follows the client’s router', (t) => {
        const talk = openHashed(t, engine, exchange);
        const moved = { ...request(exchange, { flags: 'A' }), fromMac: '02:00:00:00:00:c2' };
        talk.assertThrough({ flags: 'A' }, OUT);
        assert.equal(talk.stage.send(moved).said, OUT);
        const { frame } = talk.stage.send(talk.reply({ flags: 'A' }), { via: INSIDE });
        assert.equal(hex(frame).slice(0, 12), '0200000000c2');
      });
    });
  }
}

/** IPv6's fragment header of a first piece. */
const FIRST_PIECE = { number: 44, octets: [0, 0, 0, 1, 0, 0, 0, 9] };
