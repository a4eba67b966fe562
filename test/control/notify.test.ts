import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NotifyConfig } from '../../src/config/config.ts';
import { deliverEvent } from '../../src/control/deliver.ts';
import { type HappenedEvent, makeEvents } from '../../src/control/events.ts';
import { makeNotifier, QUEUE_LIMIT } from '../../src/control/notify.ts';
import { makeFakeClock, makeFakeLog, settle } from './fakes.ts';

const hook: NotifyConfig = { type: 'webhook', url: 'http://192.0.2.1/' };

function makeEvent(n: number): HappenedEvent {
  return {
    id: `e-${n}`,
    at: '2026-01-01T00:00:00.000Z',
    kind: 'server-down',
    service: 'web',
    server: 'web-1',
    reason: '',
  };
}

function setUp() {
  const clock = makeFakeClock();
  const { log, lines } = makeFakeLog();
  const taken: string[] = [];
  const bench = { refuses: 0, tries: 0, open: 0, clock, lines, taken };
  const notifier = makeNotifier({
    clock,
    log,
    onQueue: () => undefined,
    deliver: async (_hook, event) => {
      assert.equal(++bench.open, 1, 'one at a time');
      bench.tries++;
      await settle();
      bench.open--;
      if (bench.refuses > 0) {
        bench.refuses--;
        throw new Error('status 500');
      }
      taken.push(event.id);
    },
  });
  notifier.setHooks([hook]);
  return { ...bench, bench, notifier };
}

test('events are told one after the other, in order', async () => {
  const { notifier, taken, clock } = setUp();
  for (let n = 1; n <= 3; n++) notifier.tell(makeEvent(n));
  await clock.advance(10);
  for (let i = 0; i < 10; i++) await settle();
  assert.deepEqual(taken, ['e-1', 'e-2', 'e-3']);
  assert.deepEqual(notifier.undelivered(), {});
});

test('what is not taken is tried again, later and later, and nothing overtakes it', async () => {
  const { notifier, taken, clock, bench } = setUp();
  bench.refuses = 3;
  notifier.tell(makeEvent(1));
  notifier.tell(makeEvent(2));
  const triesAt: number[] = [];
  for (let ms = 0; ms < 8000; ms += 500) {
    await clock.advance(500);
    await settle();
    triesAt.push(bench.tries);
  }
  assert.deepEqual(taken, ['e-1', 'e-2']);
  assert.deepEqual([triesAt[0], triesAt[3], triesAt[4], triesAt[13]], [1, 2, 2, 5], triesAt.join(' '));
  assert.equal(notifier.states()[0]?.failures, 3);
});

test('a queue is bounded: the oldest are dropped and counted, and it is said once', async () => {
  const { notifier, bench, lines, clock } = setUp();
  bench.refuses = Number.POSITIVE_INFINITY;
  for (let n = 1; n <= QUEUE_LIMIT + 50; n++) notifier.tell(makeEvent(n));
  await clock.advance(1);
  const [waiting] = Object.values(notifier.undelivered());
  assert.deepEqual([waiting?.length, waiting?.[0]?.id], [QUEUE_LIMIT, 'e-51']);
  assert.equal(notifier.states()[0]?.dropped, 50);
  assert.equal(lines.filter(({ msg }) => msg.includes('are dropped')).length, 1);
  notifier.stop();
});

test('what a predecessor could not tell is told first', async () => {
  const first = setUp();
  first.bench.refuses = 1;
  first.notifier.tell(makeEvent(1));
  await first.clock.advance(1);
  const left = first.notifier.undelivered();
  first.notifier.stop();

  const second = setUp();
  second.notifier.setHooks([]);
  second.notifier.setHooks([hook], left);
  second.notifier.tell(makeEvent(2));
  for (let i = 0; i < 10; i++) await settle();
  assert.deepEqual(second.taken, ['e-1', 'e-2']);
});

test('hooks that stay in the file keep their queues, and those that go are told nothing more', async () => {
  const { notifier, bench, clock, taken } = setUp();
  bench.refuses = 1;
  notifier.tell(makeEvent(1));
  await clock.advance(1);
  notifier.setHooks([{ ...hook }]);
  assert.equal(notifier.states()[0]?.waiting, 1);
  notifier.setHooks([]);
  await clock.advance(100_000);
  assert.deepEqual(taken, []);
});

const never = new AbortController().signal;

test('a program gets the event on its input and in its environment, and its exit code is the answer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-hook-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, 'tell');
  writeFileSync(
    program,
    `#!/bin/sh\n{ echo "$1 $FAIRLEAD_EVENT $FAIRLEAD_SERVER"; cat; } >'${folder}/heard'\nexit $2\n`,
  );
  chmodSync(program, 0o755);
  await deliverEvent({ type: 'exec', command: [program, 'x', '0'] }, makeEvent(7), never);
  assert.equal(readFileSync(`${folder}/heard`, 'utf8'), `x server-down web-1\n${JSON.stringify(makeEvent(7))}\n`);
  await assert.rejects(
    deliverEvent({ type: 'exec', command: [program, 'x', '3'] }, makeEvent(7), never),
    /exit code 3/,
  );
  await assert.rejects(deliverEvent({ type: 'exec', command: ['/nowhere'] }, makeEvent(7), never), /ENOENT/);
});

test('a program that shall end is ended with all that it has started', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-hook-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const pipe = `${folder}/pipe`;
  execFileSync('mkfifo', [pipe]);
  const asked = new AbortController();
  const command = ['sh', '-c', 'sleep 600 >"$0" & wait', pipe];
  const told = deliverEvent({ type: 'exec', command }, makeEvent(7), asked.signal);
  // The sleeper holds the pipe's other end.
  const held = createReadStream(pipe);
  await once(held, 'open');
  held.resume();
  const ended = once(held, 'end', { signal: AbortSignal.timeout(20_000) });
  asked.abort();
  await assert.rejects(told, /it was ended by SIGKILL/);
  await ended;
});

test('a web server gets the event as JSON with its id, and only 2xx is an answer', async (t) => {
  const heard: string[] = [];
  let status = 204;
  const server = createServer((question, answer) => {
    let body = '';
    question.on('data', (chunk: Buffer) => (body += chunk.toString()));
    question.on('end', () => {
      heard.push(`${question.method} ${String(question.headers['idempotency-key'])} ${body}`);
      answer.writeHead(status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/hook`;
  await deliverEvent({ type: 'webhook', url }, makeEvent(7), never);
  assert.deepEqual(heard, [`POST e-7 ${JSON.stringify(makeEvent(7))}`]);
  status = 500;
  await assert.rejects(deliverEvent({ type: 'webhook', url }, makeEvent(7), never), /status 500/);
  await assert.rejects(
    deliverEvent({ type: 'webhook', url: 'http://127.0.0.1:1/' }, makeEvent(7), never),
    /ECONNREFUSED/,
  );
});

test('events keep the last thousand, and whoever follows hears each until it ends', () => {
  const events = makeEvents();
  const heard: string[] = [];
  const end = events.follow(({ id }) => heard.push(id));
  for (let n = 0; n < 2500; n++) {
    if (n === 3) end();
    events.add({ kind: 'reloaded', service: null, server: null, reason: String(n) });
  }
  assert.equal(heard.length, 3);
  assert.equal(new Set(heard).size, 3);
  assert.deepEqual(
    [events.recent().length, events.recent(2).map(({ reason }) => reason), events.recent(0)],
    [1000, ['2498', '2499'], []],
  );
});
