import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { watchReturnPath } from '../../src/control/return-path.ts';
import { layout } from '../../src/native/layout.ts';
import { writeFlow } from '../plane/flow-writer.ts';
import { configOf, WEB } from '../plane/targets.ts';
import { makeControlled } from './controlled.ts';

/** Ten seconds in ticks. */
const NOW = 75;

async function setUp(t: TestContext, services = WEB) {
  const { plane, clock, checks, log, lines, controller, start } = makeControlled(configOf(services));
  await start();
  const watch = watchReturnPath({ plane, state: () => controller.state(), clock, log, tick: () => NOW });
  t.after(() => {
    watch.stop();
    controller.stop();
  });
  return {
    plane,
    clock,
    checks,
    said: () => lines.filter(({ msg }) => msg.includes('full-nat')).map(({ msg }) => msg),
    answer: () => new DataView(plane.section('traffic')).setBigUint64(layout.fl_traffic.out_frames, 1n, true),
    send: (client: string, index = 1, state: 'syn-sent' | 'syn-received' = 'syn-sent', created = 1) =>
      writeFlow(plane, { index, client, clientPort: 40_000, state, created, seen: NOW }),
  };
}

test('a client in the network of a nat server, whose answer passed by, is told of once', async (t) => {
  const { clock, send, said } = await setUp(t);
  send('10.0.1.77');
  await clock.advance(10_000);
  assert.equal(said().length, 1);
  assert.match(
    said()[0]!,
    /^client 10\.0\.1\.77 is in 10\.0\.1\.0\/24 like server web\/web-1, which answers it directly/,
  );
  await clock.advance(600_000);
  assert.equal(said().length, 2, 'and now and then again, as long as it goes on');
});

test('a connection that is young, answered, or of full-nat is none to tell of', async (t) => {
  const nat = await setUp(t);
  nat.send('10.0.1.77', 1, 'syn-sent', NOW - 10);
  nat.send('10.0.1.78', 2, 'syn-received');
  nat.send('198.51.100.7', 3);
  await nat.clock.advance(10_000);
  assert.deepEqual(nat.said(), []);
  const fullNat = await setUp(t, WEB.replace('method: nat', 'method: full-nat'));
  fullNat.send('10.0.1.77');
  await fullNat.clock.advance(10_000);
  assert.deepEqual(fullNat.said(), []);
});

test('a nat server that is well and answers no client through here is told of, whatever else was', async (t) => {
  const { clock, send, said } = await setUp(t);
  send('10.0.1.77', 9);
  for (let index = 0; index < 5; index++) send(`198.51.100.${index + 1}`, index);
  await clock.advance(3000);
  assert.match(
    said().join('\n'),
    /server web\/web-1 is up, but no answer of it passes here \(5 connections wait for one\)/,
  );
});

test('a server that answers others, or is down, is not', async (t) => {
  const { clock, checks, send, answer, said } = await setUp(t);
  for (let index = 0; index < 5; index++) send(`198.51.100.${index + 1}`, index);
  await clock.advance(1000);
  answer();
  await clock.advance(1000);
  assert.deepEqual(said(), []);
  checks.down.add('10.0.1.11:8080');
  await clock.advance(60_000);
  const before = said().length;
  send('10.0.1.77', 9);
  await clock.advance(60_000);
  assert.equal(said().length, before);
});
