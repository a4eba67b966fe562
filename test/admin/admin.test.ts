import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { CheckView } from '../../src/admin/check-views.ts';
import { makeRateMeter } from '../../src/admin/rate-meter.ts';
import { type AdminServer, openAdmin } from '../../src/admin/server.ts';
import type { FlowView } from '../../src/admin/flow-stream.ts';
import type { DropsView, ServerView, ServiceView, StatusView } from '../../src/admin/views.ts';
import { FairleadError } from '../../src/base/errors.ts';
import { makeClient } from '../../src/cli/client.ts';
import type { Engine } from '../../src/control/engine.ts';
import type { HappenedEvent } from '../../src/control/events.ts';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { placeOfRegion } from '../../src/plane/region-place.ts';
import { makeControlled } from '../control/controlled.ts';
import { loading } from '../control/fakes.ts';
import { writeFlow } from '../plane/flow-writer.ts';
import { configOf, WEB } from '../plane/targets.ts';

async function open(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-admin-'));
  const socket = join(folder, 'control.sock');
  const { plane, clock, checks, events, controller, start } = makeControlled(configOf(WEB), {
    plane: makeMemoryPlane(smallCounts(1 << 15, 1), 1),
  });
  checks.down.add('10.0.1.12:8080');
  await start();
  const load = { sockets: 1, programs: 0, waiting: 0 };
  const meter = makeRateMeter(plane, clock);
  const calls: string[] = [];
  const engine: Engine = {
    plane,
    state: () => ({
      attached: ['xdp', 'tc'],
      why: 'a test',
      place: placeOfRegion('fairlead', 'maps', '/sys/fs/bpf'),
      isInherited: false,
    }),
    follow: () => {},
    restart: () => {},
    end: () => {},
  };
  let next = (): ReturnType<typeof configOf> => configOf(WEB);
  const openIt = (): Promise<AdminServer> =>
    openAdmin(
      { socket },
      {
        engine,
        controller,
        meter,
        events,
        gauges: () => ({ results: controller.checkResults(), load, lateTimers: 2, lostMs: 500, hooks: [] }),
        clock,
        tryPath: () => Promise.resolve({ handshake: null, fullSize: 'unknown' }),
        reload: () => controller.reload(loading(next)),
        down: () => calls.push('down'),
        handOver: () => Promise.reject(new FairleadError('refused', 'nobody takes over in this test')),
      },
    );
  const server = await openIt();
  t.after(async () => {
    await server.close();
    controller.stop();
    meter.stop();
    rmSync(folder, { recursive: true });
  });
  const loads = (load: typeof next): void => void (next = load);
  return { client: makeClient(socket), socket, plane, server, openIt, calls, clock, controller, loads };
}

async function collect(lines: AsyncIterable<string>): Promise<FlowView[]> {
  const flows: FlowView[] = [];
  for await (const line of lines) flows.push(JSON.parse(line) as FlowView);
  return flows;
}

test('status, services, servers and drops tell how it is', async (t) => {
  const { client } = await open(t);
  const status = await client.get<StatusView>('/v1/status');
  assert.equal(status.instance, 'fairlead');
  assert.deepEqual(status.servers, { up: 1, down: 1, drained: 0 });
  assert.deepEqual(
    status.interfaces.map(({ name, side, state, by }) => `${name} ${side} ${state} ${by}`),
    ['eth0 outside up xdp', 'eth1 inside up tc'],
  );
  const path = '/sys/fs/bpf/fairlead-fairlead';
  assert.deepEqual(status.engine, { kind: 'xdp/tc', why: 'a test', region: 'created', path });
  const [service] = await client.get<ServiceView[]>('/v1/services');
  assert.deepEqual(service?.listen, ['203.0.113.10:80/tcp']);
  assert.equal(`${service.usable}/${service.servers} ${service.state}`, '1/2 up');
  const servers = await client.get<ServerView[]>('/v1/servers', { service: 'web' });
  assert.deepEqual(
    servers.map(({ server, state, weight, configuredWeight, reason }) => ({
      server,
      state,
      weight,
      configuredWeight,
      reason,
    })),
    [
      { server: 'web-1', state: 'up', weight: 1, configuredWeight: 1, reason: 'connected in 0.4 ms' },
      { server: 'web-2', state: 'down', weight: 0, configuredWeight: 3, reason: 'connection refused' },
    ],
  );
  const drops = await client.get<DropsView>('/v1/drops');
  assert.ok(drops.reasons.some(({ reason, count }) => reason === 'no-server' && count === 0));
});

test('flows stream by the thousand, and filters and a limit hold', async (t) => {
  const { client, plane } = await open(t);
  for (let i = 0; i < 20_000; i++) {
    writeFlow(plane, { index: i, client: `198.51.100.${i % 200}`, clientPort: 1024 + i, serverSlot: i % 2 });
  }
  const all = await collect(client.lines('/v1/flows'));
  assert.equal(all.length, 20_000);
  assert.deepEqual(
    new Set(all.map(({ service, server }) => `${service}/${server}`)),
    new Set(['web/web-1', 'web/web-2']),
  );
  assert.equal((await collect(client.lines('/v1/flows', { client: '198.51.100.7' }))).length, 100);
  assert.deepEqual(
    (await collect(client.lines('/v1/flows', { client: '198.51.100.7:1031' }))).map((flow) => flow.client),
    ['198.51.100.7:1031'],
  );
  assert.equal((await collect(client.lines('/v1/flows', { service: 'web', limit: 5 }))).length, 5);
  assert.equal((await collect(client.lines('/v1/flows', { server: '10.0.1.99' }))).length, 0);
});

test('a reader that goes away in the middle of the flows leaves the daemon answering', async (t) => {
  const { client, plane } = await open(t);
  for (let i = 0; i < 20_000; i++) writeFlow(plane, { index: i, client: '198.51.100.7', clientPort: 1024 + i });
  for await (const line of client.lines('/v1/flows')) if (line !== '') break;
  assert.equal((await client.get<StatusView>('/v1/status')).generation, 1);
});

test('drain, enable and weight are applied when they are answered', async (t) => {
  const { client } = await open(t);
  const at = '/v1/services/web/servers/web-1';
  assert.equal((await client.post<ServerView>(`${at}/drain`)).state, 'drained');
  assert.equal((await client.post<ServerView>(`${at}/weight`, { weight: 7 })).weight, 0);
  const enabled = await client.post<ServerView>(`${at}/enable`);
  assert.equal(`${enabled.state} ${enabled.weight} ${enabled.overriddenWeight}`, 'up 7 7');
});

test('a reload answers with what changed, or with why nothing did', async (t) => {
  const { client, loads } = await open(t);
  loads(() => configOf(WEB.replace('wrr', 'rr').replace('weight: 3', 'weight: 1')));
  const { changes } = await client.post<{ changes: { what: string; words: string }[] }>('/v1/reload');
  assert.deepEqual(
    changes.map(({ what, words }) => `${what}: ${words}`),
    ['service web: scheduler wrr → rr', 'server web/web-2: weight 3 → 1'],
  );
  loads(() => configOf(WEB.replace('wrr', 'roulette')));
  await assert.rejects(client.post('/v1/reload'), (error) => {
    assert.ok(error instanceof FairleadError);
    assert.equal(error.code, 'config');
    assert.match(error.message, /test\.yaml:\d+:\d+: unknown scheduler "roulette"/);
    return true;
  });
});

test('whatever is wrong with a request is said in words, with the code that decides the exit status', async (t) => {
  const { client } = await open(t);
  const cases: [Promise<unknown>, string, RegExp][] = [
    [client.post('/v1/services/web/servers/web-9/drain'), 'not-found', /no server "web-9" in service "web"/],
    [client.post('/v1/services/wob/servers/web-1/drain'), 'not-found', /no service "wob"/],
    [client.get('/v1/servers', { service: 'wob' }), 'not-found', /no service "wob"/],
    [client.post('/v1/services/web/servers/web-1/weight', { weight: 70_000 }), 'usage', /weight/],
    [client.post('/v1/services/web/servers/web-1/weight', {}), 'usage', /weight/],
    [client.get('/v1/flows', { client: 'nobody' }), 'usage', /"nobody" is no IP address/],
    [client.get('/v1/flows', { limit: 0 }), 'usage', /limit/],
    [client.get('/v1/flows', { colour: 'red' }), 'usage', /colour/],
    [client.get('/v1/flows', { service: 'wob' }), 'not-found', /no service "wob"/],
    [client.get('/v2/status'), 'usage', /knows no GET/],
  ];
  for (const [answer, code, words] of cases) {
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof FairleadError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, words);
      return true;
    });
  }
});

test('the daemon is told to end only once the answer is out', async (t) => {
  const { client, calls } = await open(t);
  assert.deepEqual(await client.post('/v1/down'), { ending: true });
  assert.deepEqual(calls, ['down']);
});

test('a socket that somebody answers on is refused, a stale one replaced, a file left alone', async (t) => {
  const { openIt, server, socket, client } = await open(t);
  await assert.rejects(openIt(), { code: 'refused' });
  await server.close();
  // What a killed process leaves: a socket file that nobody listens on.
  await leaveStaleSocket(socket);
  const again = await openIt();
  assert.equal((await client.get<StatusView>('/v1/status')).generation, 1);
  await again.close();
  writeFileSync(socket, 'precious');
  await assert.rejects(openIt(), /is no socket/);
});

test('no daemon at all is unreachable, with the mend', async () => {
  const client = makeClient('/nowhere/control.sock');
  await assert.rejects(client.get('/v1/status'), { code: 'unreachable', message: /no fairlead answers on \/nowhere/ });
});

async function leaveStaleSocket(path: string): Promise<void> {
  const { renameSync } = await import('node:fs');
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(`${path}.stale`, resolve));
  // Closing unlinks the path it was made at, so it is moved first.
  renameSync(`${path}.stale`, path);
  await new Promise((resolve) => listener.close(resolve));
}

test('checks tell their state, how long, the last ten results and the last one in words', async (t) => {
  const { client, clock } = await open(t);
  await clock.advance(4500);
  const checks = await client.get<CheckView[]>('/v1/checks', { service: 'web' });
  assert.deepEqual(
    checks.map(({ server, check, target, address, state, forMs, history, lastResult, lastOutcome, latencyMs }) => [
      `${server} ${check} ${target} ${address} ${state} ${forMs} ${history}`,
      lastResult,
      lastOutcome,
      latencyMs,
    ]),
    [
      ['web-1 tcp server 10.0.1.11:8080 up 4500 +++', 'connected in 0.4 ms', 'ok', 0.4],
      ['web-2 tcp server 10.0.1.12:8080 down 4500 ---', 'connection refused', 'failed', null],
    ],
  );
  await assert.rejects(client.get('/v1/checks', { service: 'wob' }), { code: 'not-found' });
});

test('a server goes into maintenance and out of it', async (t) => {
  const { client } = await open(t);
  const path = '/v1/services/web/servers/web-1';
  const view = await client.post<ServerView>(`${path}/maintenance`);
  assert.deepEqual([view.state, view.weight, view.reason], ['maintenance', 0, 'its checks rest']);
  assert.deepEqual((await client.get<StatusView>('/v1/status')).servers, { up: 0, down: 1, drained: 1 });
  assert.equal((await client.get<CheckView[]>('/v1/checks')).length, 1);
  assert.equal((await client.post<ServerView>(`${path}/enable`)).state, 'unknown');
});

test('events are listed, and followed as they happen without those that were', async (t) => {
  const { client } = await open(t);
  const lines = async (query: Record<string, string | number>): Promise<string[]> => {
    const kinds: string[] = [];
    for await (const line of client.lines('/v1/events', query)) kinds.push((JSON.parse(line) as HappenedEvent).kind);
    return kinds;
  };
  await client.post('/v1/services/web/servers/web-1/drain');
  assert.deepEqual(await lines({}), ['server-down', 'service-down', 'server-drained']);
  assert.equal((await lines({ limit: 1 })).length, 1);

  const following = client.lines('/v1/events', { follow: 'true' }, true);
  const next = following.next();
  const heard = { isDone: false };
  void next.then(() => (heard.isDone = true));
  // Asked again and again, since nobody says when the follower has come.
  while (!heard.isDone) await client.post('/v1/services/web/servers/web-1/weight', { weight: 2 });
  const result: IteratorResult<string, unknown> = await next;
  const event = JSON.parse(String(result.value)) as HappenedEvent;
  assert.deepEqual([event.kind, event.server], ['server-weight', 'web-1']);
  await following.return(undefined);
});

test('metrics are in the format that Prometheus reads', async (t) => {
  const { socket } = await open(t);
  const question = ['-sS', '--unix-socket', socket, 'http://x/v1/metrics'];
  const { stdout: text } = await promisify(execFile)('curl', question, { timeout: 10_000 });
  assert.match(
    text,
    /^# HELP fairlead_server_up .+\n# TYPE fairlead_server_up gauge\nfairlead_server_up\{service="web",server="web-1"\} 1$/m,
  );
  for (const line of [
    'fairlead_server_up{service="web",server="web-2"} 0',
    'fairlead_server_weight{service="web",server="web-1"} 1',
    'fairlead_server_open_flows{service="web",server="web-1"} 0',
    'fairlead_server_handshakes_total{service="web",server="web-1",outcome="refused"} 0',
    'fairlead_check_up{service="web",server="web-1",check="tcp",index="0"} 1',
    'fairlead_check_latency_seconds{service="web",server="web-1",check="tcp",index="0"} 0.0004',
    'fairlead_check_results_total{outcome="failed"} 1',
    'fairlead_check_late_timers_total 2',
    'fairlead_check_lost_seconds_total 0.5',
    'fairlead_check_sockets 1',
    'fairlead_frames_total{verdict="dropped",reason="no-server"} 0',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} is not in\n${text}`);
  }
  for (const line of text.trimEnd().split('\n')) {
    assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? [\d.e+-]+)$/);
  }
});
