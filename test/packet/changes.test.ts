// What a commit does to the flows that are there: nothing, unless it takes their server away.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { type Exchange, reply, request } from './exchange.ts';
import { INSIDE, openStage, type Stage } from './stage.ts';

const udp: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
const SERVERS = ['10.0.1.11', '10.0.1.12', '10.0.1.13'];

interface Options {
  readonly method?: string;
  readonly scheduler?: string;
  readonly servers?: readonly string[];
}

function service({ method = 'nat', scheduler = 'rr', servers = SERVERS }: Options = {}): string {
  const list = servers.map((server) => `s${server.slice(-2)}: ${server}:8080`).join(', ');
  return `
  web:
    listen: 203.0.113.10:80/udp
    method: ${method}
    scheduler: ${scheduler}
    check: none
    servers: { ${list} }
`;
}

function enter(stage: Stage, from: number, count: number): void {
  for (let port = from; port < from + count; port++) {
    assert.equal(stage.send({ ...request(udp), fromPort: port }).said, 'forwarded: new-flow');
  }
}

/** Client port -> server, of every flow. */
function placesOf(stage: Stage): Map<number, string> {
  return new Map(stage.flows().map(({ clientPort, server }) => [clientPort, server.text]));
}

for (const engine of engines) {
  for (const method of ['nat', 'full-nat']) {
    describe(`${engine.name}: commits and ${method} flows`, () => {
      test('a removed server’s flows are gone with the commit, the others’ stay, and counts are exact', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 300);
        const before = placesOf(stage);
        stage.configure(service({ method, servers: ['10.0.1.11', '10.0.1.13'] }));
        const after = placesOf(stage);
        assert.equal(after.size, 200);
        for (const [port, server] of before) assert.equal(after.get(port), server === '10.0.1.12' ? undefined : server);
        stage.assertCountsExact(['10.0.1.11', '10.0.1.13']);
        assert.equal(stage.age(), 100);
        stage.assertCountsExact(['10.0.1.11', '10.0.1.13']);
      });

      test('a VIP that a service gives up takes its flows along with the next sweep, and no others', (t) => {
        const stage = openStage(t, engine);
        const both = service({ method }).replace('203.0.113.10:80/udp', '[203.0.113.10:80/udp, 203.0.113.11:80/udp]');
        stage.configure(both);
        enter(stage, 1, 30);
        for (let port = 1; port <= 20; port++) {
          const other = { ...request(udp), to: '203.0.113.11', fromPort: 1000 + port };
          assert.equal(stage.send(other).said, 'forwarded: new-flow');
        }
        stage.configure(service({ method }));
        assert.equal(stage.age(), 20);
        assert.equal(placesOf(stage).size, 30);
        stage.assertCountsExact(SERVERS);
        assert.equal(stage.age(), 0);
      });

      test('a removed server’s answers no longer reach clients', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 30);
        const flow = stage.flows().find(({ server }) => server.text === '10.0.1.12')!;
        stage.configure(service({ method, servers: ['10.0.1.11'] }));
        const local = { address: (flow.local ?? flow.client).text, port: flow.localPort };
        const answer = { ...reply(udp, local), from: '10.0.1.12' };
        assert.match(stage.send(answer, { via: INSIDE }).said, /^(passed: not-ours|answered: refused-no-service)$/);
      });

      test('a client of a removed server begins anew with another', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 30);
        const [port] = [...placesOf(stage)].find(([, server]) => server === '10.0.1.12')!;
        stage.configure(service({ method, servers: ['10.0.1.11', '10.0.1.13'] }));
        assert.equal(stage.send({ ...request(udp), fromPort: port }).said, 'forwarded: new-flow');
        assert.match(placesOf(stage).get(port) ?? '', /^10\.0\.1\.1[13]$/);
        stage.assertCountsExact(['10.0.1.11', '10.0.1.13']);
      });

      test('a server that takes the removed one’s slot gets none of its flows and starts from zero', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 300);
        stage.configure(service({ method, servers: ['10.0.1.11', '10.0.1.14', '10.0.1.13'] }));
        assert.deepEqual(stage.counts('10.0.1.14'), { active: 0, inactive: 0, total: 0 });
        assert.equal(stage.age(), 100);
        assert.deepEqual(stage.counts('10.0.1.14'), { active: 0, inactive: 0, total: 0 });
        stage.assertCountsExact(['10.0.1.11', '10.0.1.13', '10.0.1.14']);
      });

      test('a server that comes back gets new flows, not its old ones', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 300);
        stage.configure(service({ method, servers: ['10.0.1.11', '10.0.1.13'] }));
        stage.configure(service({ method }));
        assert.equal(placesOf(stage).size, 200);
        enter(stage, 1001, 30);
        stage.assertCountsExact(SERVERS);
        assert.equal(stage.counts('10.0.1.12').inactive, 10);
      });

      test('a drained server keeps its flows and gets no new ones', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 30);
        const before = placesOf(stage);
        stage.configure(service({ method }), { weights: { 'web/s12': 0 } });
        for (const port of before.keys()) {
          assert.equal(stage.send({ ...request(udp), fromPort: port }).said, 'forwarded: client-hit');
        }
        enter(stage, 1001, 30);
        const after = placesOf(stage);
        assert.deepEqual(
          [...before].filter(([port, server]) => after.get(port) !== server),
          [],
        );
        assert.equal([...after.values()].filter((server) => server === '10.0.1.12').length, 10);
        stage.configure(service({ method }));
        enter(stage, 2001, 30);
        assert.equal(stage.counts('10.0.1.12').inactive, 20);
      });

      test('another scheduler, and another order of the servers, leaves every flow where it is', (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ method }));
        enter(stage, 1, 100);
        const before = placesOf(stage);
        for (const scheduler of ['maglev', 'wlc', 'sh', 'lc', 'wrr', 'rr']) {
          stage.configure(service({ method, scheduler, servers: SERVERS.toReversed() }));
          for (const port of before.keys()) {
            assert.equal(stage.send({ ...request(udp), fromPort: port }).said, 'forwarded: client-hit', scheduler);
          }
          assert.deepEqual(placesOf(stage), before);
          stage.assertCountsExact(SERVERS);
        }
      });

      test('a service taken away takes its flows along; one that is added takes nothing', (t) => {
        const stage = openStage(t, engine);
        const other = service({ method, servers: ['10.0.1.21'] })
          .replace('web:', 'other:')
          .replace(':80/', ':90/');
        stage.configure(service({ method }));
        enter(stage, 1, 30);
        stage.configure(service({ method }) + other);
        assert.equal(stage.flows().length, 30);
        assert.equal(stage.send({ ...request(udp), toPort: 90, fromPort: 99 }).said, 'forwarded: new-flow');
        stage.configure(other);
        assert.deepEqual([...placesOf(stage)], [[99, '10.0.1.21']]);
        assert.equal(stage.send({ ...request(udp), fromPort: 1 }).said, 'answered: refused-no-service');
      });
    });
  }

  test(`${engine.name}: a service that goes from nat to full-nat begins anew: no flow keeps the old method`, (t) => {
    const stage = openStage(t, engine);
    stage.configure(service());
    enter(stage, 1, 30);
    stage.configure(service({ method: 'full-nat' }));
    assert.deepEqual(stage.flows(), []);
    enter(stage, 1, 30);
    assert.ok(stage.flows().every(({ local }) => local?.text === '203.0.113.10'));
    stage.assertCountsExact(SERVERS);
    assert.equal(stage.age(), 0);
  });
}
