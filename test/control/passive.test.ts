// Passive checks in the controller: a plane whose counters the test moves, a clock moved by hand.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type Keeper, NO_KEEPER } from '../../src/control/keeper.ts';
import { layout } from '../../src/native/layout.ts';
import { configOf } from '../plane/targets.ts';
import { makeControlled } from './controlled.ts';
import { loading } from './fakes.ts';

type Counter = 'waiting' | 'answered' | 'refused' | 'abandoned' | 'unanswered' | 'timed';

function service(passive: string, servers = 4, more = ''): string {
  const list = Array.from({ length: servers }, (_, i) => `s${i + 1}: 10.0.1.1${i + 1}:8080`).join(', ');
  return `
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    check: none
    passive: ${passive}
    ${more}
    servers: { ${list} }
`;
}

async function start(t: TestContext, services: string, keeper: Keeper = NO_KEEPER) {
  const { plane, clock, controller, events, start: begin } = makeControlled(configOf(services), { keeper });
  t.after(() => controller.stop());
  await begin();
  const serverOf = (name: string) =>
    controller
      .state()
      .services.flatMap((one) => one.servers)
      .find(({ config }) => config.name === name)!;
  return {
    controller,
    clock,
    /** More of what a server's flows show. */
    show: (name: string, counter: Counter, more: number) => {
      const { octets, ...fields } = layout.fl_server_state;
      const view = new DataView(plane.section('server_state'), serverOf(name).slot * octets, octets);
      view.setUint32(fields[counter], view.getUint32(fields[counter], true) + more, true);
    },
    weights: () =>
      controller
        .state()
        .services.flatMap((one) => one.servers.map(({ weight }) => weight))
        .join(' '),
    wordOf: (name: string) => serverOf(name).passive?.word,
    told: () => events.recent().map(({ kind, server, reason }) => `${kind} ${server}: ${reason}`),
  };
}

test('a server that refuses is out within two tenths of a second, and comes back when its time is up', async (t) => {
  const { show, clock, weights, told, wordOf } = await start(t, service('eject'));
  await clock.advance(200);
  assert.equal(weights(), '1 1 1 1');
  show('s2', 'refused', 5);
  await clock.advance(200);
  assert.equal(weights(), '1 0 1 1');
  assert.equal(wordOf('s2'), 'ejected');
  await clock.advance(9700);
  assert.equal(weights(), '1 0 1 1');
  await clock.advance(300);
  assert.equal(weights(), '1 1 1 1');
  assert.deepEqual(told(), [
    'server-ejected s2: refused 5 connections in a row; out for 10s',
    'server-returned s2: its time is up; it gets new flows again',
  ]);
});

test('who fails again is out twice as long each time, up to the longest; who does well is forgiven', async (t) => {
  const { show, clock, weights, told } = await start(t, service('{ for: 1s, longest: 3s }'));
  const failAgain = async (outMs: number): Promise<string> => {
    show('s1', 'refused', 9);
    await clock.advance(200);
    assert.equal(weights(), '0 1 1 1');
    await clock.advance(outMs);
    assert.equal(weights(), '1 1 1 1');
    return /out for (?<time>\S+)/.exec(told().findLast((line) => line.includes('ejected')) ?? '')?.groups?.time ?? '';
  };
  assert.deepEqual([await failAgain(1200), await failAgain(2200), await failAgain(3200)], ['1s', '2s', '3s']);
  await clock.advance(60_000);
  assert.equal(await failAgain(1200), '1s');
});

test('no more than the share is ever out, and the others are suspects', async (t) => {
  const { show, clock, weights, wordOf, told } = await start(t, service('eject'));
  for (const name of ['s1', 's2', 's3', 's4']) show(name, 'refused', 5);
  await clock.advance(200);
  assert.equal(weights(), '0 0 1 1');
  assert.equal(wordOf('s3'), 'suspect');
  assert.equal(
    told()[2],
    'server-suspect s3: refused 5 connections in a row; 2 of 4 servers are ejected, 50 % are the most',
  );
  assert.equal(told().length, 4, 'each is told once');
});

test('the last server is never taken out', async (t) => {
  const { show, clock, weights, told } = await start(t, service('{ most: 100 }', 2));
  show('s1', 'refused', 5);
  show('s2', 'refused', 5);
  await clock.advance(200);
  assert.equal(weights(), '0 1');
  assert.equal(told()[1], 'server-suspect s2: refused 5 connections in a row; no other server is left');
});

test('observe says it and does nothing; a suspect that does well is one no more', async (t) => {
  const { show, clock, weights, told, wordOf } = await start(t, service('observe'));
  show('s1', 'unanswered', 5);
  await clock.advance(200);
  assert.equal(weights(), '1 1 1 1');
  assert.deepEqual(told(), ['server-suspect s1: no answer to 5 connections in a row; only observed']);
  show('s1', 'answered', 500);
  await clock.advance(12_000);
  assert.equal(wordOf('s1'), 'up');
});

test('silence is enough: connections that wait while none is answered', async (t) => {
  const { show, clock, weights } = await start(t, service('{ answer-within: 500ms }'));
  await clock.advance(100);
  show('s3', 'waiting', 8);
  await clock.advance(500);
  assert.equal(weights(), '1 1 1 1');
  await clock.advance(300);
  assert.equal(weights(), '1 1 0 1');
});

test('who is drained or gets no flows for another reason is not judged', async (t) => {
  const { controller, show, clock, told } = await start(t, service('eject'));
  controller.override('web', 's1', { admin: 'drained' });
  await clock.advance(200);
  show('s1', 'refused', 50);
  await clock.advance(1000);
  assert.deepEqual(
    told().filter((line) => line.startsWith('server-e')),
    [],
  );
});

test('a backup joins when passive checks leave too few', async (t) => {
  const more = 'min-up: 4\n    backup: { b1: 10.0.1.21:8080 }';
  const { show, clock, weights } = await start(t, service('eject', 4, more));
  assert.equal(weights(), '1 1 1 1 0');
  show('s1', 'refused', 5);
  await clock.advance(200);
  assert.equal(weights(), '0 1 1 1 1');
});

test('off is off, and a reload turns it on and off', async (t) => {
  const { controller, show, clock, weights } = await start(t, service('off'));
  show('s1', 'refused', 50);
  await clock.advance(1000);
  assert.equal(weights(), '1 1 1 1');
  const reload = async (passive: string): Promise<void> => {
    const done = controller.reload(loading(() => configOf(service(passive))));
    await clock.advance(100);
    await done;
  };
  await reload('eject');
  await clock.advance(200);
  assert.equal(weights(), '1 1 1 1', 'what was before does not count');
  show('s1', 'refused', 50);
  await clock.advance(200);
  assert.equal(weights(), '0 1 1 1');
  await reload('off');
  assert.equal(weights(), '1 1 1 1');
});

test('a successor keeps out who was out, for the rest of its time', async (t) => {
  const ejections = { 'web/s2': { until: Date.now() + 4000, times: 2, reason: 'refused 5 connections in a row' } };
  const keeper = { ...NO_KEEPER, left: { ...NO_KEEPER.left, ejections } };
  const { controller, clock, weights } = await start(t, service('eject'), keeper);
  assert.equal(weights(), '1 0 1 1');
  assert.equal(controller.memory().ejections?.['web/s2']?.times, 2);
  await clock.advance(4300);
  assert.equal(weights(), '1 1 1 1');
});
