// Who gets a new flow, seen from outside: shares over one cycle, stickiness, load.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { type Exchange, reply, request } from './exchange.ts';
import { INSIDE, openStage, type Stage } from './stage.ts';

const tcp: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };
const WEIGHTS = { '10.0.1.11': 1, '10.0.1.12': 2, '10.0.1.13': 4 };

function service(scheduler: string, given: Readonly<Record<string, number>> = WEIGHTS, more = ''): string {
  // rr and lc take no weights: the configuration says so.
  const even = Object.fromEntries(Object.keys(given).map((server) => [server, 1]));
  const weights = scheduler === 'rr' || scheduler === 'lc' ? even : given;
  const servers = Object.entries(weights).map(
    ([server, weight]) => `      s${server.slice(-2)}: { address: "${server}:8080", weight: ${weight} }\n`,
  );
  return `
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    scheduler: ${scheduler}
    check: none
    half-open: off
    ${more}
    servers:
${servers.join('')}`;
}

/** The server that a new flow goes to. */
function place(stage: Stage, port: number, from = '198.51.100.7'): string {
  assert.equal(stage.send({ ...request(tcp), from, fromPort: port }).said, 'forwarded: new-flow');
  const [flow] = stage.flows({ client: { address: parse(from), port } });
  return flow!.server.text;
}

function parse(text: string): { family: 4; text: string; bytes: Uint8Array } {
  return { family: 4, text, bytes: Uint8Array.from(text.split('.'), Number) };
}

function shares(servers: readonly string[]): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const server of servers.toSorted()) counted[server] = (counted[server] ?? 0) + 1;
  return counted;
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

for (const engine of engines) {
  describe(`${engine.name}: schedulers`, () => {
    test('rr gives every server one flow in each cycle', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('rr'));
      for (let cycle = 0; cycle < 5; cycle++) {
        const got = range(1 + 3 * cycle, 3).map((port) => place(stage, port));
        assert.deepEqual(shares(got), { '10.0.1.11': 1, '10.0.1.12': 1, '10.0.1.13': 1 });
      }
    });

    test('wrr is exact over one cycle, and nobody’s turns come in one lump', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('wrr'));
      for (let cycle = 0; cycle < 5; cycle++) {
        const got = range(1 + 7 * cycle, 7).map((port) => place(stage, port));
        assert.deepEqual(shares(got), WEIGHTS);
        assert.ok(!got.join(' ').includes('10.0.1.13 10.0.1.13 10.0.1.13'), got.join(' '));
      }
    });

    for (const scheduler of ['sh', 'maglev']) {
      test(`${scheduler} sends all flows of one client to one server, and clients to all servers by weight`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(scheduler));
        const got: string[] = [];
        for (let client = 1; client <= 250; client++) {
          const from = `198.51.100.${client}`;
          const first = place(stage, 1, from);
          assert.equal(place(stage, 2, from), first);
          got.push(first);
        }
        const { '10.0.1.11': one = 0, '10.0.1.12': two = 0, '10.0.1.13': four = 0 } = shares(got);
        // The seed is random: five standard deviations of 250 clients on shares of 1/7, 2/7 and 4/7.
        assert.ok(
          Math.abs(one - 250 / 7) < 28 && Math.abs(two - 500 / 7) < 36 && Math.abs(four - 1000 / 7) < 40,
          `${one} ${two} ${four}`,
        );
      });

      test(`${scheduler} by client and port spreads the flows of one client`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(scheduler, WEIGHTS, 'hash: client-port'));
        const got = shares(range(1, 100).map((port) => place(stage, port)));
        assert.equal(Object.keys(got).length, 3);
      });
    }

    test('maglev: a drained server’s clients move, nearly all others stay', (t) => {
      const stage = openStage(t, engine);
      const equal = Object.fromEntries(range(11, 10).map((last) => [`10.0.1.${last}`, 1]));
      stage.configure(service('maglev', equal));
      const clients = range(1, 250).map((last) => `198.51.100.${last}`);
      const before = clients.map((from) => place(stage, 1, from));
      stage.configure(service('maglev', equal), { weights: { 'web/s12': 0 } });
      const after = clients.map((from) => place(stage, 2, from));
      const moved = before.filter((server, index) => server !== '10.0.1.12' && server !== after[index]);
      assert.ok(!after.includes('10.0.1.12'));
      assert.ok(moved.length <= 10, `${moved.length} of 250 moved without need`);
    });

    test('lc chooses the server with the fewest connections', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('lc'));
      const busy = range(1, 9).map((port) => establish(stage, port));
      assert.deepEqual(shares(busy), { '10.0.1.11': 3, '10.0.1.12': 3, '10.0.1.13': 3 });
      for (const [index, server] of busy.entries()) if (server === '10.0.1.12') reset(stage, 1 + index, server);
      assert.deepEqual(shares(range(101, 3).map((port) => establish(stage, port))), { '10.0.1.12': 3 });
    });

    test('wlc keeps connections in the proportion of the weights', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('wlc'));
      for (let cycle = 1; cycle <= 4; cycle++) for (let i = 1; i <= 7; i++) establish(stage, cycle * 100 + i);
      for (const [server, weight] of Object.entries(WEIGHTS))
        assert.equal(stage.counts(server).active, 4 * weight, server);
    });

    test('wlc fills up a server that comes late until it has its share', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('wlc', { '10.0.1.11': 1 }));
      for (let port = 1; port <= 10; port++) establish(stage, port);
      stage.configure(service('wlc', { '10.0.1.11': 1, '10.0.1.12': 2 }));
      const got = range(101, 20).map((port) => establish(stage, port));
      assert.deepEqual(shares(got), { '10.0.1.12': 20 });
    });

    for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev']) {
      test(`${scheduler} passes over a server whose next hop is unknown`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(scheduler, WEIGHTS, byPort(scheduler)));
        stage.setHop('10.0.1.13', null);
        const got = range(1, 40).map((port) => establish(stage, port));
        assert.deepEqual(Object.keys(shares(got)), ['10.0.1.11', '10.0.1.12']);
      });

      test(`${scheduler} gives nothing to a server of weight 0`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(scheduler, WEIGHTS, byPort(scheduler)), { weights: { 'web/s13': 0 } });
        const got = range(1, 40).map((port) => establish(stage, port));
        assert.deepEqual(Object.keys(shares(got)), ['10.0.1.11', '10.0.1.12']);
      });
    }
  });
}

function byPort(scheduler: string): string {
  return scheduler === 'sh' || scheduler === 'maglev' ? 'hash: client-port' : '';
}

function establish(stage: Stage, port: number): string {
  const server = place(stage, port);
  answer(stage, port, server, 'SA');
  stage.send({ ...request(tcp, { flags: 'A' }), fromPort: port });
  return server;
}

function reset(stage: Stage, port: number, server: string): void {
  answer(stage, port, server, 'R');
}

function answer(stage: Stage, port: number, server: string, flags: string): void {
  const frame = { ...reply(tcp, { address: '198.51.100.7', port }, { flags }), from: server };
  assert.equal(stage.send(frame, { via: INSIDE }).said, 'forwarded: server-hit');
}
