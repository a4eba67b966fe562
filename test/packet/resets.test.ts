// Resets, forged and honest, and SYNs to connections that live: what the sequence numbers say decides, and where they do
// not, the server does. Two-sided scripts over every engine.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { engines, type Engine } from './engines.ts';
import { addressesOf, type Content, type Exchange, localOf, reply, request, serviceOf } from './exchange.ts';
import { payloadOf } from './frame.ts';
import { INSIDE, openStage } from './stage.ts';

const HIT = 'forwarded: client-hit';
const FORGED = 'dropped: bad-reset';
const MIB = 0x10_0000;

/** An established connection, whose client has sent its SYN and nothing else. */
function open(t: TestContext, engine: Engine, exchange: Exchange) {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(exchange));
  const say = (content: Content): string => stage.send(request(exchange, content)).said;
  const answer = (content: Content): void => {
    assert.equal(stage.send(reply(exchange, localOf(stage), content), { via: INSIDE }).said, 'forwarded: server-hit');
  };
  const state = (): string | undefined => stage.flows()[0]?.state;
  const begin = (): void => {
    say({ flags: 'S' });
    answer({ flags: 'SA' });
  };
  const establish = (): void => {
    begin();
    say({ flags: 'A', further: 1 });
    assert.equal(state(), 'established');
  };
  return { stage, say, answer, state, begin, establish };
}

for (const engine of engines) {
  for (const method of ['nat', 'full-nat'] as const) {
    for (const family of [4, 6] as const) {
      const exchange: Exchange = { method, family, protocol: 'tcp' };
      describe(`${engine.name}: resets by ${method} over IPv${family}`, () => {
        test('a reset from far off is dropped, and nothing has changed', (t) => {
          const { say, state, establish } = open(t, engine, exchange);
          establish();
          for (const further of [2 ** 31, 8 * MIB, -8 * MIB]) {
            assert.equal(say({ flags: 'R', further }), FORGED, String(further));
            assert.equal(state(), 'established');
          }
        });

        test('one in the window, but far from what is expected, is left to the server to judge', (t) => {
          const { say, state, establish } = open(t, engine, exchange);
          establish();
          for (const further of [MIB, -MIB, 0]) {
            assert.equal(say({ flags: 'R', further }), HIT);
            assert.equal(state(), 'established');
          }
        });

        test('one a little ahead closes, and the server’s challenge opens again', (t) => {
          const { stage, say, answer, state, establish } = open(t, engine, exchange);
          establish();
          assert.equal(say({ flags: 'R', further: 1001 }), HIT);
          assert.equal(state(), 'closed');
          stage.wait(5);
          answer({ flags: 'A' });
          assert.equal(state(), 'established');
          stage.assertCountsExact([addressesOf(exchange).server]);
          say({ flags: 'R', further: 1001 });
          say({ flags: 'A', further: 1 });
          assert.equal(state(), 'established', 'and so does its client');
        });

        test('the number follows what the server acknowledged, on the short way too, and never back', (t) => {
          const { say, answer, state, establish } = open(t, engine, exchange);
          establish();
          for (const acknowledges of [2001, 1001, 3 * MIB, 6 * MIB, 5 * MIB]) {
            say({ flags: 'A', further: acknowledges, payload: payloadOf(10) });
            answer({ flags: 'A', acknowledges });
          }
          assert.equal(say({ flags: 'R', further: 1 }), FORGED);
          assert.equal(state(), 'established');
          assert.equal(say({ flags: 'R', further: 6 * MIB }), HIT);
          assert.equal(state(), 'closed');
          answer({ flags: 'A' });
          assert.equal(state(), 'closed', 'with just the right number it is over');
        });

        test('a reset amid a handshake does not keep it from completing', (t) => {
          const { say, answer, state } = open(t, engine, exchange);
          say({ flags: 'S' });
          assert.equal(say({ flags: 'R', further: 1 }), HIT);
          assert.equal(state(), 'closed');
          answer({ flags: 'SA' });
          assert.equal(state(), 'syn-received');
          say({ flags: 'R', further: 50 });
          assert.equal(state(), 'closed');
          say({ flags: 'A', further: 1 });
          assert.equal(state(), 'established');
          assert.equal(say({ flags: 'R', further: 2 ** 31 }), FORGED);
        });

        test('a SYN to a live connection goes to its server and changes nothing', (t) => {
          const { say, answer, state, establish } = open(t, engine, exchange);
          establish();
          assert.equal(say({ flags: 'S', further: 100 * MIB }), HIT);
          assert.equal(state(), 'established');
          answer({ flags: 'A' });
          assert.equal(say({ flags: 'R', further: 1 }), HIT, 'the client that sent it answers the challenge');
          assert.equal(state(), 'closed');
          assert.equal(say({ flags: 'S', further: 100 * MIB }), 'forwarded: new-flow', 'and its SYN again begins anew');
        });

        test('a server that has forgotten the connection accepts a SYN anew', (t) => {
          const { stage, say, answer, state, establish } = open(t, engine, exchange);
          establish();
          say({ flags: 'S', further: 100 * MIB });
          answer({ flags: 'SA', further: 7 * MIB, acknowledges: 100 * MIB + 1 });
          assert.equal(state(), 'syn-received');
          say({ flags: 'A', further: 100 * MIB + 1, acknowledges: 7 * MIB + 1 });
          assert.equal(state(), 'established');
          stage.assertCountsExact([addressesOf(exchange).server]);
          assert.equal(say({ flags: 'R', further: 100 * MIB + 1 }), HIT);
          assert.equal(state(), 'closed');
        });

        test('an old duplicate of a SYN begins nothing in a connection that is over, but its server may accept it', (t) => {
          const { say, answer, state, establish } = open(t, engine, exchange);
          establish();
          say({ flags: 'FA', further: 1 });
          answer({ flags: 'FA', acknowledges: 2 });
          assert.equal(say({ flags: 'S', further: -100 * MIB }), HIT);
          assert.equal(state(), 'time-wait');
          answer({ flags: 'SA', further: 7 * MIB, acknowledges: -100 * MIB + 1 });
          assert.equal(state(), 'syn-received');
        });

        test('a half of a connection lives as long as the other half speaks', (t) => {
          const { stage, say, answer, state, establish } = open(t, engine, exchange);
          establish();
          say({ flags: 'FA', further: 1 });
          for (let minute = 0; minute < 20; minute++) {
            stage.wait(60);
            stage.age();
            answer({ flags: 'A', acknowledges: 2, payload: payloadOf(100) });
            assert.equal(say({ flags: 'A', further: 2 }), HIT);
          }
          assert.equal(state(), 'closing');
        });

        test('a forged FIN closes nothing', (t) => {
          const { say, state, establish } = open(t, engine, exchange);
          establish();
          assert.equal(say({ flags: 'FA', further: 2 ** 30 }), HIT);
          assert.equal(state(), 'established');
        });

        test('a connection that was refused is tried anew by the same SYN', (t) => {
          const { say, answer } = open(t, engine, exchange);
          say({ flags: 'S' });
          answer({ flags: 'RA' });
          assert.equal(say({ flags: 'S' }), 'forwarded: new-flow');
        });
      });
    }
  }

  for (const family of [4, 6] as const) {
    describe(`${engine.name}: resets by l2-dsr over IPv${family}`, () => {
      const exchange: Exchange = { method: 'nat', family, protocol: 'tcp' };
      const dsr = serviceOf(exchange).replace('nat', 'l2-dsr').replace('8080', '80');
      const openDsr = (t: TestContext) => {
        const stage = openStage(t, engine);
        stage.configure(dsr);
        const say = (content: Content): string => stage.send(request(exchange, content)).said;
        say({ flags: 'S' });
        say({ flags: 'A', further: 1 });
        return { stage, say, state: () => stage.flows()[0]?.state };
      };

      test('the number follows what the client sends, on the short way too, but not what is sent in its name', (t) => {
        const { say, state } = openDsr(t);
        for (const further of [2 * MIB, 5 * MIB, 3 * MIB]) say({ flags: 'A', further, payload: payloadOf(100) });
        say({ flags: 'A', further: 2 ** 30 });
        assert.equal(say({ flags: 'R', further: 2 ** 30 }), FORGED);
        assert.equal(say({ flags: 'R', further: 6 * MIB }), HIT, 'where it might be, the server judges');
        assert.equal(state(), 'established');
        assert.equal(say({ flags: 'R', further: 5 * MIB + 100 }), HIT);
        assert.equal(state(), 'closed');
        say({ flags: 'A', further: 5 * MIB + 100 });
        assert.equal(state(), 'established', 'a client that goes on has not reset');
      });

      test('a SYN after a reset begins anew, an old one stays with its server', (t) => {
        const { stage, say, state } = openDsr(t);
        say({ flags: 'R', further: 1 });
        assert.equal(say({ flags: 'S', further: -MIB }), HIT);
        assert.equal(state(), 'syn-sent');
        say({ flags: 'A', further: 1 - MIB });
        say({ flags: 'R', further: 1 - MIB });
        assert.equal(say({ flags: 'S', further: MIB }), 'forwarded: new-flow');
        stage.assertCountsExact([addressesOf(exchange).server]);
        assert.equal(stage.flows()[0]?.server.text, addressesOf(exchange).server);
      });
    });
  }
}
