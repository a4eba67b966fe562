// A client whom its server would answer around the balancer, because it is the server itself or its neighbour: with nat
// neither would know the other. It is given the VIP as its source, or refused.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import {
  addressesOf,
  CLIENT_PORT,
  type Content,
  type Exchange,
  type Local,
  localOf,
  reply,
  request,
  serviceOf,
  VIP_PORT,
} from './exchange.ts';
import { buildFrame, type FrameSpec, hex, payloadOf } from './frame.ts';
import { INSIDE, INSIDE_MAC, openStage, OUTSIDE, OUTSIDE_MAC, serverMac, type Stage } from './stage.ts';

const NEIGHBOUR = { 4: '10.0.1.99', 6: 'fd00::99' } as const;
const STRANGER = { 4: '10.0.2.99', 6: 'fd00:0:0:1::99' } as const;

const exchanges: readonly Exchange[] = (['tcp', 'udp'] as const).flatMap((protocol) =>
  ([4, 6] as const).map((family) => ({ method: 'nat', protocol, family })),
);

function from(exchange: Exchange, client: string, content: Content = {}): FrameSpec {
  return { ...request(exchange, content), from: client, fromMac: serverMac(client), toMac: INSIDE_MAC };
}

/** What the server sees: the VIP, and a port of it. */
function seen(stage: Stage, exchange: Exchange): Local {
  const local = localOf(stage);
  assert.equal(local.address, addressesOf(exchange).vip);
  return local;
}

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { vip, server } = addressesOf(exchange);
    const { protocol, family } = exchange;

    describe(`${engine.name}: hairpin, ${protocol}, IPv${family}`, () => {
      for (const [who, client] of [
        ['a server', server],
        ['a neighbour of its server', NEIGHBOUR[family]],
      ] as const) {
        test(`${who} that is a client reaches the server through the VIP, and gets its answer from there`, (t) => {
          const stage = openStage(t, engine);
          stage.configure(serviceOf(exchange));
          const frame = from(exchange, client, { payload: payloadOf(protocol === 'udp' ? 33 : 0) });
          const there = stage.send(frame, { via: INSIDE });
          const local = seen(stage, exchange);
          assert.equal(there.said, 'forwarded: new-flow');
          assert.equal(there.via, INSIDE);
          const atServer = { toMac: serverMac(server), fromMac: INSIDE_MAC, from: vip, fromPort: local.port };
          assert.equal(hex(there.frame), hex(buildFrame({ ...frame, ...atServer, to: server, toPort: 8080, ttl: 63 })));

          const answer = reply(exchange, local, { payload: payloadOf(40) });
          const back = stage.send(answer, { via: INSIDE });
          assert.equal(back.said, 'forwarded: server-hit');
          assert.equal(back.via, INSIDE);
          const atClient = { toMac: serverMac(client), fromMac: INSIDE_MAC, from: vip, fromPort: VIP_PORT };
          assert.equal(
            hex(back.frame),
            hex(buildFrame({ ...answer, ...atClient, to: client, toPort: CLIENT_PORT, ttl: 63 })),
          );

          const more = from(exchange, client, protocol === 'tcp' ? { flags: 'A' } : {});
          assert.equal(stage.send(more, { via: INSIDE }).said, 'forwarded: client-hit');
          assert.equal(stage.send(answer, { via: INSIDE }).said, 'forwarded: server-hit');
          assert.deepEqual(stage.counts(server), { active: 1, inactive: 0, total: 1 });
          stage.assertCountsExact([server]);
          stage.wait(10_000);
          assert.equal(stage.age(), 1);
        });
      }

      test('with one interface it is the same', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange), {
          serversVia: OUTSIDE,
          network: family === 4 ? '10.0.1.1/24' : 'fd00::1/64',
        });
        const frame = { ...from(exchange, NEIGHBOUR[family]), toMac: OUTSIDE_MAC };
        assert.equal(stage.send(frame).said, 'forwarded: new-flow');
        const answer = { ...reply(exchange, seen(stage, exchange)), toMac: OUTSIDE_MAC };
        assert.equal(stage.send(answer).said, 'forwarded: server-hit');
        assert.equal(stage.send(answer).said, 'forwarded: server-hit');
      });

      for (const [who, frame, via] of [
        ['a client beyond the network', { ...from(exchange, STRANGER[family]) }, INSIDE],
        ['a client on the other side', request(exchange), OUTSIDE],
      ] as const) {
        test(`${who} is seen as itself`, (t) => {
          const stage = openStage(t, engine);
          stage.configure(serviceOf(exchange));
          assert.equal(stage.send(frame, { via }).said, 'forwarded: new-flow');
          assert.equal(stage.flows()[0]?.local, null);
        });
      }

      test('a server’s words to the VIP that are no answer are a client’s', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const stray = { ...from(exchange, server), fromPort: 8080, toPort: 40_123 };
        assert.equal(stage.send(stray, { via: INSIDE }).said, 'answered: refused-no-service');
      });

      test('with "hairpin: refuse" such clients are told at once, and others are served', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange, ['hairpin: refuse']));
        const outcome = stage.send(from(exchange, NEIGHBOUR[family]), { via: INSIDE });
        assert.equal(outcome.said, 'answered: refused-hairpin');
        assert.equal(outcome.via, INSIDE);
        assert.equal(stage.flows().length, 0);
        assert.equal(stage.send(request(exchange)).said, 'forwarded: new-flow');
      });
    });
  }
}
