// What becomes of the flows of a server that goes: they stay, are reset, or go to another, as its service has it; and of
// one that is removed. Neither side is left to guess.

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
  nameOf,
  reply,
  request,
} from './exchange.ts';
import { buildFrame, type FrameSpec, hex, payloadOf, SEQUENCE } from './frame.ts';
import { type ConfigureOptions, INSIDE, INSIDE_MAC, openStage, OUTSIDE, OUTSIDE_MAC, type Stage } from './stage.ts';

const OTHER = { 4: '10.0.1.12', 6: 'fd00::a00:10c' } as const;
const exchanges: readonly Exchange[] = (['nat', 'full-nat'] as const).flatMap((method) =>
  ([4, 6] as const).map((family) => ({ method, protocol: 'tcp', family })),
);

function service(exchange: Exchange, more = '', servers = ['one', 'two']): string {
  const { vip, server } = addressesOf(exchange);
  const quote = (address: string): string => (exchange.family === 6 ? `[${address}]` : address);
  const ends = { one: server, two: OTHER[exchange.family] } as Record<string, string>;
  const list = servers.map((name) => `${name}: "${quote(ends[name]!)}:8080"`).join(', ');
  return `
  web:
    listen: "${quote(vip)}:80/${exchange.protocol}"
    method: ${exchange.method}
    scheduler: rr
    ${more === '' ? 'check: none' : more}
    servers: { ${list} }
`;
}

const ONE = { weights: { 'web/two': 0 } } satisfies ConfigureOptions;
const resets = { weights: { 'web/one': 0 }, ends: { 'web/one': 'reset' } } satisfies ConfigureOptions;
const moves = { weights: { 'web/one': 0 }, ends: { 'web/one': 'rehash' } } satisfies ConfigureOptions;

/** A connection, or an answered question. Its end towards the server. */
function establish(stage: Stage, exchange: Exchange): Local {
  assert.equal(stage.send(request(exchange)).said, 'forwarded: new-flow');
  const local = localOf(stage);
  const answer = { ...reply(exchange, local), from: stage.flows()[0]!.server.text };
  assert.equal(stage.send(answer, { via: INSIDE }).said, 'forwarded: server-hit');
  const content: Content = exchange.protocol === 'tcp' ? { flags: 'A' } : {};
  assert.equal(stage.send(request(exchange, content)).said, 'forwarded: client-hit');
  return local;
}

/** The RST to who sent a frame that acknowledges SEQUENCE + 1. */
function rst(frame: FrameSpec, mac: string): FrameSpec {
  return {
    toMac: frame.fromMac,
    fromMac: mac,
    from: frame.to,
    to: frame.from,
    fromPort: frame.toPort!,
    toPort: frame.fromPort!,
    id: 0,
    protocol: 'tcp',
    flags: 'R',
    further: 1,
    acknowledges: -SEQUENCE,
    window: 0,
  };
}

function assertReset(stage: Stage, frame: FrameSpec, via: number): void {
  const outcome = stage.send(frame, { via });
  assert.equal(outcome.said, 'answered: refused-server-gone');
  const expected = buildFrame(rst(frame, via === INSIDE ? INSIDE_MAC : OUTSIDE_MAC));
  assert.equal(hex(outcome.frame), hex(expected));
  assert.equal(outcome.via, via);
}

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { server } = addressesOf(exchange);
    const said = (stage: Stage, flags: string): string => stage.send(request(exchange, { flags })).said;

    describe(`${engine.name}: a server of ${nameOf(exchange)} goes`, () => {
      for (const [what, text, options] of [
        ['is taken down', service(exchange), resets],
        ['is removed', service(exchange, '', ['two']), {}],
      ] as const) {
        test(`a server ${what}: whoever speaks is reset, again and again, until the flow is forgotten`, (t) => {
          const stage = openStage(t, engine);
          stage.configure(service(exchange), ONE);
          const local = establish(stage, exchange);
          stage.configure(text, options);
          const fromServer = reply(exchange, local, { flags: 'PA', payload: payloadOf(9) });
          const fromClient = request(exchange, { flags: 'PA', payload: payloadOf(200) });
          for (let round = 0; round < 2; round++) {
            assertReset(stage, fromServer, INSIDE);
            assertReset(stage, fromClient, OUTSIDE);
          }
          assert.equal(stage.age(), 0);
          stage.wait(119);
          assertReset(stage, fromServer, INSIDE);
          assert.equal(said(stage, 'R'), 'dropped: no-flow');
          stage.wait(1.5);
          assert.equal(stage.age(), 1);
          assert.equal(said(stage, 'A'), 'answered: refused-no-flow');
          stage.assertCountsExact([OTHER[exchange.family]]);
        });
      }

      test('the sweep keeps a flow that nobody spoke on, and it no longer counts as open', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), ONE);
        const local = establish(stage, exchange);
        stage.wait(600);
        stage.configure(service(exchange), resets);
        assert.equal(stage.age(), 0);
        assert.deepEqual(stage.counts(server), { active: 0, inactive: 1, total: 1 });
        assert.equal(stage.open(server), 0);
        stage.wait(100);
        assertReset(stage, reply(exchange, local, { flags: 'A' }), INSIDE);
      });

      test('a SYN of the same client begins anew, and goes to a server that is there', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), ONE);
        establish(stage, exchange);
        stage.configure(service(exchange), resets);
        assert.equal(said(stage, 'A'), 'answered: refused-server-gone');
        assert.equal(said(stage, 'S'), 'forwarded: new-flow');
        assert.equal(stage.flows()[0]?.server.text, OTHER[exchange.family]);
        stage.assertCountsExact([server, OTHER[exchange.family]]);
      });

      test('a SYN that the server has not answered goes to another when it is repeated', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), ONE);
        stage.send(request(exchange));
        stage.configure(service(exchange), resets);
        assert.equal(said(stage, 'S'), 'forwarded: new-flow');
        assert.equal(stage.flows()[0]?.server.text, OTHER[exchange.family]);
        stage.assertCountsExact([server, OTHER[exchange.family]]);
      });

      test('a server that comes back gets new flows, not those that ended; and those of its second life end as well', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), ONE);
        establish(stage, exchange);
        stage.configure(service(exchange), resets);
        stage.configure(service(exchange), ONE);
        assert.equal(said(stage, 'A'), 'answered: refused-server-gone');
        assert.equal(said(stage, 'S'), 'forwarded: new-flow');
        stage.configure(service(exchange), ONE);
        assert.equal(said(stage, 'S'), 'forwarded: client-hit');
        stage.assertCountsExact([server]);
        const local = localOf(stage);
        stage.send(reply(exchange, local), { via: INSIDE });
        assert.equal(said(stage, 'A'), 'forwarded: client-hit');
        stage.configure(service(exchange), resets);
        assert.equal(said(stage, 'A'), 'answered: refused-server-gone');
        stage.assertCountsExact([server]);
      });

      test('a further commit ends nothing twice, and flows of other servers go on', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), { weights: { 'web/one': 0 } });
        establish(stage, exchange);
        for (let round = 0; round < 2; round++) {
          stage.configure(service(exchange), resets);
          assert.equal(said(stage, 'A'), 'forwarded: client-hit');
        }
        stage.assertCountsExact([server, OTHER[exchange.family]]);
      });

      test('a drained server keeps its flows', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(exchange), ONE);
        establish(stage, exchange);
        stage.configure(service(exchange), { weights: { 'web/one': 0 } });
        assert.equal(said(stage, 'A'), 'forwarded: client-hit');
      });

      test('with rehash a connection goes to another server, which judges it; the former one is reset', (t) => {
        const stage = openStage(t, engine);
        const text = service(exchange, 'on-server-down: rehash');
        stage.configure(text, ONE);
        const local = establish(stage, exchange);
        stage.configure(text, moves);
        assertReset(stage, reply(exchange, local, { flags: 'A' }), INSIDE);
        assert.equal(said(stage, 'A'), 'forwarded: new-flow');
        assert.deepEqual(
          stage.flows().map(({ server: at, state }) => [at.text, state]),
          [[OTHER[exchange.family], 'established']],
        );
        const other = { ...reply(exchange, localOf(stage), { flags: 'R' }), from: OTHER[exchange.family] };
        assert.equal(stage.send(other, { via: INSIDE }).said, 'forwarded: server-hit');
        stage.assertCountsExact([server, OTHER[exchange.family]]);
        assert.deepEqual(stage.handshakes(OTHER[exchange.family]).refused, 0);
      });

      test('a connection that cannot go to the other server, because its client’s port is in use there, is refused', (t) => {
        const stage = openStage(t, engine);
        const text = service(exchange, 'on-server-down: rehash');
        const second = service(exchange).replace('  web:', '  shop:').replace(':80/tcp', ':81/tcp');
        stage.configure(text + second, { weights: { 'web/two': 0, 'shop/one': 0 } });
        establish(stage, exchange);
        assert.equal(stage.send({ ...request(exchange), toPort: 81 }).said, 'forwarded: new-flow');
        stage.configure(text + second, { ...moves, weights: { 'web/one': 0, 'shop/one': 0 } });
        const first = exchange.method === 'nat' ? 'answered: refused-server-gone' : 'forwarded: new-flow';
        assert.equal(said(stage, 'A'), first);
        assert.match(said(stage, 'A'), /refused-no-flow|client-hit/);
        stage.assertCountsExact([server, OTHER[exchange.family]]);
      });

      test('with rehash and no server left a connection is refused', (t) => {
        const stage = openStage(t, engine);
        const text = service(exchange, 'on-server-down: rehash');
        stage.configure(text, ONE);
        establish(stage, exchange);
        stage.configure(text, { ...moves, weights: { 'web/one': 0, 'web/two': 0 } });
        assert.equal(said(stage, 'A'), 'answered: refused-no-server');
      });

      test('UDP goes to another server with its next datagram', (t) => {
        const stage = openStage(t, engine);
        const udp: Exchange = { ...exchange, protocol: 'udp' };
        stage.configure(service(udp), ONE);
        establish(stage, udp);
        stage.configure(service(udp), resets);
        assert.equal(stage.send(request(udp)).said, 'forwarded: new-flow');
        assert.equal(stage.flows()[0]?.server.text, OTHER[exchange.family]);
        stage.assertCountsExact([server, OTHER[exchange.family]]);
      });

      test('another service may have the client’s port to the same server at once', (t) => {
        const stage = openStage(t, engine);
        const { vip } = addressesOf(exchange);
        const second = service(exchange).replace('  web:', '  shop:').replace(':80/tcp', ':81/tcp');
        stage.configure(service(exchange) + second, { weights: { 'web/two': 0, 'shop/two': 0 } });
        establish(stage, exchange);
        stage.configure(service(exchange) + second, {
          weights: { 'web/one': 0, 'shop/two': 0 },
          ends: { 'web/one': 'reset' },
        });
        const toShop = { ...request(exchange), to: vip, toPort: 81, fromPort: CLIENT_PORT };
        assert.equal(stage.send(toShop).said, 'forwarded: new-flow');
        const { local, client, localPort } = stage.flows().find(({ vipPort }) => vipPort === 81)!;
        const answer = reply(exchange, { address: (local ?? client).text, port: localPort });
        assert.equal(stage.send(answer, { via: INSIDE }).said, 'forwarded: server-hit');
      });
    });
  }
}
