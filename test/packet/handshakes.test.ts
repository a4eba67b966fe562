// What the data plane learns of a server by its handshakes: how each SYN ended and how long its answer took; and what lrt
// and p2c make of it.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type Connections, connectionsOf, range, shares } from './connections.ts';
import { engines } from './engines.ts';
import { openStage } from './stage.ts';

const SERVER = '10.0.1.11';

function service(scheduler: string, weights: readonly number[], protocol = 'tcp'): string {
  const servers = weights.map(
    (weight, index) => `      s1${index + 1}: { address: "10.0.1.${11 + index}:8080", weight: ${weight} }\n`,
  );
  return `
  web:
    listen: 203.0.113.10:80/${protocol}
    method: nat
    scheduler: ${scheduler}
    check: none
    servers:
${servers.join('')}`;
}

const NONE = { waiting: 0, answered: 0, refused: 0, abandoned: 0, unanswered: 0 };

for (const engine of engines) {
  describe(`${engine.name}: handshakes`, () => {
    const open = (t: TestContext, weights: readonly number[], by = 'wlc') => {
      const stage = openStage(t, engine);
      stage.configure(service(by, weights), { head: 'timeouts: { syn-sent: 3s }' });
      return { stage, ...connectionsOf(stage) };
    };

    test('each SYN waits until it is answered, refused or given up, and is counted once', (t) => {
      const { stage, begin, say, answer } = open(t, [1]);
      const tally = () => {
        const { timed: _, totalUs: __, smoothUs: ___, ...counts } = stage.handshakes(SERVER);
        return counts;
      };
      assert.deepEqual(tally(), NONE);
      for (const port of range(1, 4)) begin(port);
      assert.deepEqual(tally(), { ...NONE, waiting: 4 });
      answer(1, SERVER, 'SA');
      answer(1, SERVER, 'SA');
      answer(2, SERVER, 'RA');
      say(3, 'R');
      assert.deepEqual(tally(), { ...NONE, waiting: 1, answered: 1, refused: 1, abandoned: 1 });
      say(1, 'A');
      answer(1, SERVER, 'R');
      assert.deepEqual(tally(), { ...NONE, waiting: 1, answered: 1, refused: 1, abandoned: 1 }, 'a later RST is none');
      stage.wait(5);
      stage.age();
      assert.deepEqual(tally(), { waiting: 0, answered: 1, refused: 1, abandoned: 2, unanswered: 1 });
    });

    test('a SYN that is repeated after a second is unanswered, once, whatever comes of it', (t) => {
      const { stage, begin, say, answer } = open(t, [1]);
      begin(1);
      say(1, 'S');
      assert.equal(stage.handshakes(SERVER).unanswered, 0, 'twice at the same moment is one sent double');
      for (const _ of range(0, 3)) {
        stage.wait(1);
        assert.equal(say(1, 'S'), 'forwarded: client-hit');
      }
      assert.equal(stage.handshakes(SERVER).unanswered, 1);
      answer(1, SERVER, 'SA');
      say(1, 'A');
      assert.equal(stage.flows()[0]?.state, 'established');
      const { answered, unanswered, timed } = stage.handshakes(SERVER);
      assert.deepEqual([answered, unanswered, timed], [1, 1, 0], 'nobody knows which of them was answered');
    });

    test('one that made room early says nothing of its server', (t) => {
      const stage = openStage(t, engine, { flows: 8 });
      stage.configure(service('wlc', [1]), { head: 'defaults: { half-open: off }' });
      const { begin } = connectionsOf(stage);
      for (const port of range(1, 9)) begin(port);
      const { waiting, abandoned, unanswered } = stage.handshakes(SERVER);
      assert.deepEqual([waiting, abandoned, unanswered], [8, 1, 0]);
    });

    test('the time from SYN to SYN-ACK is known in microseconds, and smoothed by eighths', (t) => {
      const { stage, establish } = open(t, [1]);
      establish(1, 800);
      assert.deepEqual(
        { ...stage.handshakes(SERVER) },
        { ...NONE, answered: 1, timed: 1, totalUs: 800, smoothUs: 800 },
      );
      establish(2, 1600);
      const { totalUs, smoothUs } = stage.handshakes(SERVER);
      assert.deepEqual([totalUs, smoothUs], [2400, 900]);
    });

    test('a SYN repeated to a server that is out by now goes to another', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service('wlc', [1000, 1]));
      const { begin, say, establish } = connectionsOf(stage);
      const first = establish(1);
      assert.equal(begin(2), '10.0.1.11');
      stage.configure(service('wlc', [1000, 1]), { weights: { 'web/s11': 0 } });
      stage.wait(1);
      assert.equal(begin(2), '10.0.1.12');
      assert.equal(stage.flows().length, 2);
      assert.equal(say(1, 'A'), 'forwarded: client-hit', `a connection to ${first} goes on`);
      stage.assertCountsExact([SERVER, '10.0.1.12']);
    });
  });

  describe(`${engine.name}: lrt and p2c`, () => {
    const open = (t: TestContext, by: string, weights: readonly number[]) => {
      const stage = openStage(t, engine);
      stage.configure(service(by, weights));
      return { stage, ...connectionsOf(stage) };
    };

    /** So many connections, each server taking its own time to answer. */
    function serve({ begin, answer, say }: Connections, wait: (us: number) => void, us: Record<string, number>) {
      return (ports: readonly number[]): string[] =>
        ports.map((port) => {
          const server = begin(port);
          wait(us[server] ?? 0);
          answer(port, server, 'SA');
          say(port, 'A');
          return server;
        });
    }

    test('lrt shares connections out by how fast servers answer', (t) => {
      const { stage, ...connections } = open(t, 'lrt', [1, 1]);
      const run = serve(connections, (us) => stage.wait(us / 1e6), { '10.0.1.11': 1000, '10.0.1.12': 10_000 });
      const { '10.0.1.11': fast = 0, '10.0.1.12': slow = 0 } = shares(run(range(1, 200)));
      // By 62 + 4 to 625 + 4 steps of 16 us, 9.5 to 1.
      assert.ok(slow >= 16 && slow <= 22, `${fast} to ${slow}`);
    });

    test('lrt obeys weights among servers that are equally fast', (t) => {
      const { stage, ...connections } = open(t, 'lrt', [1, 3]);
      const run = serve(connections, (us) => stage.wait(us / 1e6), { '10.0.1.11': 500, '10.0.1.12': 500 });
      const { '10.0.1.11': one = 0, '10.0.1.12': three = 0 } = shares(run(range(1, 100)));
      assert.ok(Math.abs(one - 25) <= 2, `${one} to ${three}`);
    });

    test('lrt gives a server that was slow another chance after a time', (t) => {
      const { stage, ...connections } = open(t, 'lrt', [1, 1]);
      const us: Record<string, number> = { '10.0.1.11': 200, '10.0.1.12': 500_000 };
      const run = serve(connections, (each) => stage.wait(each / 1e6), us);
      run(range(1, 40));
      us['10.0.1.12'] = 200;
      assert.deepEqual(shares(run(range(101, 20))), { '10.0.1.11': 20 });
      stage.wait(120);
      assert.ok((shares(run(range(201, 40)))['10.0.1.12'] ?? 0) >= 20);
    });

    for (const scheduler of ['lc', 'wlc', 'lrt', 'p2c']) {
      test(`${scheduler} takes a server that does not answer for a busy one, not for an idle one`, (t) => {
        const { stage, begin, answer, say } = open(t, scheduler, [1, 1]);
        const got = range(1, 40).map((port) => {
          const server = begin(port);
          stage.wait(0.000_1);
          if (server !== SERVER) answer(port, server, 'SA');
          if (server !== SERVER) say(port, 'A');
          return server;
        });
        assert.ok((shares(got)[SERVER] ?? 0) <= 20, JSON.stringify(shares(got)));
      });
    }

    test('p2c keeps two servers even, and any number of them nearly so', (t) => {
      const { establish } = open(t, 'p2c', [1, 1]);
      assert.deepEqual(shares(range(1, 40).map((port) => establish(port))), { '10.0.1.11': 20, '10.0.1.12': 20 });
      const many = open(
        t,
        'p2c',
        Array.from({ length: 20 }, () => 1),
      );
      const got = Object.values(shares(range(1, 400).map((port) => many.establish(port))));
      // Chance alone would leave the fullest with some 30 of 20.
      assert.ok(got.length === 20 && Math.max(...got) <= 23, String(got));
    });

    test('p2c keeps connections in the proportion of the weights', (t) => {
      const { establish } = open(t, 'p2c', [1, 2, 4]);
      const {
        '10.0.1.11': one = 0,
        '10.0.1.12': two = 0,
        '10.0.1.13': four = 0,
      } = shares(range(1, 280).map((port) => establish(port)));
      assert.ok(
        Math.abs(one - 40) <= 12 && Math.abs(two - 80) <= 16 && Math.abs(four - 160) <= 16,
        `${one} ${two} ${four}`,
      );
    });
  });
}
