// The life of a flow, step by step, with a clock moved by hand: what state it is in, what its server's counts say, when
// it ends.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { addressesOf, type Exchange, localOf, reply, request, serviceOf } from './exchange.ts';
import { payloadOf } from './frame.ts';
import { INSIDE, openStage, type Stage } from './stage.ts';

const tcp: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };
const udp: Exchange = { ...tcp, protocol: 'udp' };

/** Whose frame, its TCP flags, the state then, and the server's counts: active, inactive. */
type Step = readonly [from: 'client' | 'server', flags: string, state: string, active: number, inactive: number];

const OPEN: readonly Step[] = [
  ['client', 'S', 'syn-sent', 0, 1],
  ['server', 'SA', 'syn-received', 0, 1],
  ['client', 'A', 'established', 1, 0],
];

const scripts: Record<string, readonly Step[]> = {
  'a connection is opened, used, closed by its client, and waits': [
    ...OPEN,
    ['client', 'PA', 'established', 1, 0],
    ['server', 'PA', 'established', 1, 0],
    ['client', 'FA', 'closing', 0, 1],
    ['server', 'A', 'closing', 0, 1],
    ['server', 'PA', 'closing', 0, 1],
    ['server', 'FA', 'time-wait', 0, 1],
    ['client', 'A', 'time-wait', 0, 1],
  ],
  'a connection is closed by its server': [
    ...OPEN,
    ['server', 'FA', 'closing', 0, 1],
    ['server', 'FA', 'closing', 0, 1],
    ['client', 'A', 'closing', 0, 1],
    ['client', 'FA', 'time-wait', 0, 1],
  ],
  'an established connection is reset by its client': [...OPEN, ['client', 'RA', 'closed', 0, 1]],
  'an established connection is reset by its server': [...OPEN, ['server', 'R', 'closed', 0, 1]],
  'a refused connection is closed at once': [OPEN[0]!, ['server', 'RA', 'closed', 0, 1]],
  'a connection that its client reset stays closed, whatever comes late': [
    ...OPEN,
    ['client', 'R', 'closed', 0, 1],
    ['client', 'A', 'closed', 0, 1],
    ['client', 'FA', 'closed', 0, 1],
    ['server', 'FA', 'closed', 0, 1],
  ],
  'a connection that its server reset stays closed for its client, and opens when the server goes on': [
    ...OPEN,
    ['server', 'R', 'closed', 0, 1],
    ['client', 'A', 'closed', 0, 1],
    ['client', 'FA', 'closed', 0, 1],
    ['server', 'A', 'established', 1, 0],
  ],
  'both close at once': [
    ...OPEN,
    ['client', 'FA', 'closing', 0, 1],
    ['server', 'FA', 'time-wait', 0, 1],
    ['client', 'A', 'time-wait', 0, 1],
    ['server', 'A', 'time-wait', 0, 1],
  ],
  'a FIN and the last acknowledgement are lost and repeated': [
    ...OPEN,
    ['client', 'FA', 'closing', 0, 1],
    ['client', 'FA', 'closing', 0, 1],
    ['server', 'FA', 'time-wait', 0, 1],
    ['server', 'FA', 'time-wait', 0, 1],
    ['client', 'A', 'time-wait', 0, 1],
    ['server', 'FA', 'time-wait', 0, 1],
    ['client', 'A', 'time-wait', 0, 1],
  ],
  'lost and repeated SYNs open one flow': [
    ['client', 'S', 'syn-sent', 0, 1],
    ['client', 'S', 'syn-sent', 0, 1],
    ['server', 'SA', 'syn-received', 0, 1],
    ['client', 'S', 'syn-received', 0, 1],
    ['server', 'SA', 'syn-received', 0, 1],
    ['client', 'PA', 'established', 1, 0],
    ['server', 'SA', 'established', 1, 0],
  ],
  'a connection given up as soon as it was established': [OPEN[0]!, OPEN[1]!, ['client', 'FA', 'closing', 0, 1]],
};

const { server: SERVER } = addressesOf(tcp);

for (const engine of engines) {
  for (const method of ['nat', 'full-nat'] as const) {
    for (const family of [4, 6] as const) {
      const ends = { method, family } as const;
      const { server } = addressesOf(ends);
      describe(`${engine.name}: TCP by ${method} over IPv${family}`, () => {
        for (const [title, steps] of Object.entries(scripts)) {
          test(title, (t) => {
            const stage = openStage(t, engine);
            const exchange: Exchange = { ...ends, protocol: 'tcp' };
            stage.configure(serviceOf(exchange));
            for (const [index, [from, flags, state, active, inactive]] of steps.entries()) {
              send(stage, exchange, from, flags);
              const where = `after step ${index + 1}, ${flags} from the ${from}`;
              assert.deepEqual(states(stage), [state], where);
              assert.deepEqual(stage.counts(server), { active, inactive, total: 1 }, where);
            }
          });
        }

        for (const last of ['time-wait', 'closed'] as const) {
          test(`a client uses its port again while the old flow is ${last}: a new flow takes its place`, (t) => {
            const stage = openStage(t, engine);
            const exchange: Exchange = { ...ends, protocol: 'tcp' };
            stage.configure(serviceOf(exchange));
            for (const [from, flags] of OPEN) send(stage, exchange, from, flags);
            send(stage, exchange, 'client', last === 'closed' ? 'R' : 'FA');
            if (last === 'time-wait') send(stage, exchange, 'server', 'FA');
            assert.deepEqual(states(stage), [last]);
            assert.equal(stage.send(request(exchange)).said, 'forwarded: client-hit', 'an old duplicate');
            assert.deepEqual(states(stage), [last]);
            assert.equal(stage.send(request(exchange, { further: 1000 })).said, 'forwarded: new-flow');
            assert.deepEqual(states(stage), ['syn-sent']);
            assert.deepEqual(stage.counts(server), { active: 0, inactive: 1, total: 2 });
          });
        }

        test('a SYN in a half-closed connection is the server’s to judge: the flow stays', (t) => {
          const stage = openStage(t, engine);
          const exchange: Exchange = { ...ends, protocol: 'tcp' };
          stage.configure(serviceOf(exchange));
          for (const [from, flags] of OPEN) send(stage, exchange, from, flags);
          send(stage, exchange, 'client', 'FA');
          assert.equal(stage.send(request(exchange)).said, 'forwarded: client-hit');
          assert.deepEqual(states(stage), ['closing']);
        });

        test('who never saw the server’s sequence number makes no established flow', (t) => {
          const stage = openStage(t, engine);
          const exchange: Exchange = { ...ends, protocol: 'tcp' };
          stage.configure(serviceOf(exchange));
          for (const [from, flags] of OPEN.slice(0, 2)) send(stage, exchange, from, flags);
          for (const acknowledges of [0, -1, 0x1_0001, 0x8000_0000]) {
            stage.send(request(exchange, { flags: 'A', acknowledges }));
            assert.deepEqual(states(stage), ['syn-received'], `acknowledges ${acknowledges}`);
          }
          stage.send(request(exchange, { flags: 'A', acknowledges: 0x1_0000 }));
          assert.deepEqual(states(stage), ['established']);
        });

        test('UDP is one-way until the server answers, and two-way from then on', (t) => {
          const stage = openStage(t, engine);
          const exchange: Exchange = { ...ends, protocol: 'udp' };
          stage.configure(serviceOf(exchange));
          stage.send(request(exchange));
          stage.send(request(exchange));
          assert.deepEqual(states(stage), ['udp-one-way']);
          assert.deepEqual(stage.counts(server), { active: 0, inactive: 1, total: 1 });
          send(stage, exchange, 'server', '');
          stage.send(request(exchange));
          assert.deepEqual(states(stage), ['udp-two-way']);
          assert.deepEqual(stage.counts(server), { active: 1, inactive: 0, total: 1 });
        });

        test('traffic is counted by direction, in frames and octets as they came in, without what follows a packet', (t) => {
          const stage = openStage(t, engine);
          const exchange: Exchange = { ...ends, protocol: 'udp' };
          stage.configure(serviceOf(exchange));
          const octets = (size: number): number => 14 + (family === 4 ? 20 : 40) + 8 + size;
          stage.send(request(exchange, { payload: payloadOf(10), padding: 8 }));
          stage.send(request(exchange, { payload: payloadOf(1), padding: 17 }));
          stage.send(request(exchange, { payload: payloadOf(100), padding: 30 }));
          stage.send(reply(exchange, localOf(stage), { payload: payloadOf(1000), padding: 400 }), { via: INSIDE });
          const inOctets = octets(10) + octets(1) + octets(100);
          const expected = { inFrames: 3, inOctets, outFrames: 1, outOctets: octets(1000) };
          assert.deepEqual(stage.traffic(server), expected);
        });
      });
    }
  }

  describe(`${engine.name}: time-outs`, () => {
    const head = `
timeouts:
  { syn-sent: 60s, syn-received: 50s, established: 900s, closing: 110s, time-wait: 120s, closed: 10s, udp-one-way: 70s, udp: 300s }`;
    const reached: Record<
      string,
      { exchange: Exchange; steps: readonly ['client' | 'server', string][]; seconds: number }
    > = {
      'syn-sent': { exchange: tcp, steps: [['client', 'S']], seconds: 60 },
      'syn-received': { exchange: tcp, steps: steps(2), seconds: 50 },
      established: { exchange: tcp, steps: steps(3), seconds: 900 },
      closing: { exchange: tcp, steps: [...steps(3), ['server', 'FA']], seconds: 110 },
      'time-wait': { exchange: tcp, steps: [...steps(3), ['server', 'FA'], ['client', 'FA']], seconds: 120 },
      closed: { exchange: tcp, steps: [...steps(3), ['server', 'R']], seconds: 10 },
      'udp-one-way': { exchange: udp, steps: [['client', '']], seconds: 70 },
      'udp-two-way': {
        exchange: udp,
        steps: [
          ['client', ''],
          ['server', ''],
        ],
        seconds: 300,
      },
    };

    function steps(count: number): ['client' | 'server', string][] {
      return OPEN.slice(0, count).map(([from, flags]) => [from, flags]);
    }

    const reach = (stage: Stage, state: string): number => {
      const { exchange, steps: path, seconds } = reached[state]!;
      stage.configure(serviceOf(exchange), { head });
      for (const [from, flags] of path) send(stage, exchange, from, flags);
      assert.deepEqual(states(stage), [state]);
      return seconds;
    };

    for (const state of Object.keys(reached)) {
      test(`an idle flow that is ${state} lives as long as it was promised, and is swept then`, (t) => {
        const stage = openStage(t, engine);
        const seconds = reach(stage, state);
        stage.wait(seconds);
        assert.equal(stage.age(), 0);
        assert.deepEqual(states(stage), [state]);
        stage.assertCountsExact([SERVER]);
        // Two ticks: the time-out is rounded up to one, and the first may have begun before the frame.
        stage.wait(0.27);
        assert.equal(stage.age(), 1);
        assert.deepEqual(states(stage), []);
        assert.deepEqual(stage.counts(SERVER), { active: 0, inactive: 0, total: 1 });
        assert.equal(stage.age(), 0);
      });

      test(`a flow that is ${state} and timed out is no flow, though nobody swept it yet`, (t) => {
        const stage = openStage(t, engine);
        const { exchange } = reached[state]!;
        stage.wait(reach(stage, state) + 0.27);
        const late = exchange.protocol === 'tcp' ? 'answered: refused-no-flow' : 'forwarded: new-flow';
        assert.equal(stage.send(request(exchange, exchange.protocol === 'tcp' ? { flags: 'A' } : {})).said, late);
        stage.assertCountsExact([SERVER]);
      });
    }

    test('every frame, from either side, puts the time-out off', (t) => {
      const stage = openStage(t, engine);
      reach(stage, 'established');
      for (const from of ['client', 'server', 'client'] as const) {
        stage.wait(899);
        send(stage, tcp, from, 'A');
      }
      assert.equal(stage.age(), 0);
    });

    test('a commit with other time-outs holds for the flows that are there', (t) => {
      const stage = openStage(t, engine);
      reach(stage, 'established');
      stage.configure(serviceOf(tcp), { head: 'timeouts: { established: 5s }' });
      stage.wait(5.5);
      assert.equal(stage.age(), 1);
    });

    test('a flow seen a tick ahead, by a worker whose clock was read later, has not expired', (t) => {
      const stage = openStage(t, engine);
      reach(stage, 'closed');
      stage.wait(-0.2);
      assert.equal(stage.age(), 0);
      assert.deepEqual(states(stage), ['closed']);
    });
  });
}

function send(stage: Stage, exchange: Exchange, from: 'client' | 'server', flags: string): void {
  // A client that resets says what its server waits for: what follows its SYN.
  const content =
    exchange.protocol === 'tcp' ? { flags, further: from === 'client' && flags.includes('R') ? 1 : 0 } : {};
  const outcome =
    from === 'client'
      ? stage.send(request(exchange, content))
      : stage.send(reply(exchange, localOf(stage), content), { via: INSIDE });
  assert.match(outcome.said, /^forwarded: (new-flow|client-hit|server-hit)$/);
}

function states(stage: Stage): string[] {
  return stage.flows().map(({ state }) => state);
}
