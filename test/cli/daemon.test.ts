import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { makeSystemClock } from '../../src/base/clock.ts';
import { ConfigError } from '../../src/base/errors.ts';
import type { Config } from '../../src/config/config.ts';
import type { ServerView, StatusView } from '../../src/admin/views.ts';
import { makeClient } from '../../src/cli/client.ts';
import { type DaemonOptions, startDaemon } from '../../src/cli/daemon.ts';
import { startAgain } from '../../src/cli/start-again.ts';
import { takeOverFromRunning } from '../../src/cli/takeover.ts';
import { removeLeftovers } from '../../src/cli/leftovers.ts';
import { waitUntil } from '../../src/cli/wait-until.ts';
import { placeOfRegion } from '../../src/plane/region-place.ts';
import { makeReplacement } from '../../src/control/configuration.ts';
import { makeFakeLog, makeFakeProbe } from '../control/fakes.ts';
import { configOf, WEB } from '../plane/targets.ts';
import { writeFlow } from '../plane/flow-writer.ts';
import { makeFakePlatform } from './fake-platform.ts';

const START = 'file start eth0:packet eth1:packet';

function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-daemon-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, 'run', 'control.sock');
  const region = placeOfRegion('fairlead', 'file', '/sys/fs/bpf');
  const head = `engine: packet\nflows: 4096\nworkers: 1\ncontrol: { socket: ${socket} }`;
  const made = {
    config: configOf(WEB, head),
    withServices: (services: string, more = ''): Config => configOf(services, `${head}\n${more}`),
    withEngine: (engine: string): Config => configOf(WEB, head.replace('packet', engine)),
    platform: makeFakePlatform(),
    checks: makeFakeProbe(),
    client: makeClient(socket),
    log: makeFakeLog(),
    socket,
    region,
  };
  const start = async (more: Partial<DaemonOptions> = {}) => {
    const daemon = await startDaemon({
      loadConfig: () => made.config,
      loadReplacement: (before, host) => makeReplacement(before, made.config, host),
      platform: made.platform,
      clock: makeSystemClock(),
      probe: made.checks.probe,
      path: made.platform.probePath('fairlead'),
      tryPath: () => Promise.resolve({ handshake: null, fullSize: 'unknown' as const }),
      checkLoad: () => ({ load: { sockets: 0, programs: 0, waiting: 0 }, lateTimers: 0, lostMs: 0 }),
      makeLog: () => made.log.log,
      ...more,
    });
    t.after(() => daemon.end(false));
    return daemon;
  };
  const said = (): string => made.log.lines.map(({ msg }) => msg).join('\n');
  return { ...made, made, start, said };
}

test('a daemon that is ready has its engine started, an image committed, and answers on its socket', async (t) => {
  const { start, platform, client, socket, said } = setUp(t);
  await start();
  assert.deepEqual(platform.calls, ['file created', START]);
  const status = await client.get<StatusView>('/v1/status');
  assert.equal(status.generation, 1);
  assert.deepEqual(status.services, { up: 1, down: 0 });
  assert.equal(statSync(socket).mode & 0o777, 0o660);
  assert.match(platform.notified.join('\n'), /^READY=1/);
  assert.match(
    said(),
    /made the region .*4,096 flows: 407 KiB and 44 KiB of the guard, IPv6 another 352 KiB and remembered clients 64 KiB when used; /,
  );
  assert.match(said(), /ready: 1 service, 2 of 2 servers usable/);
});

test('a signal ends it and leaves region and guard, and its successor carries the flows on', async (t) => {
  const { start, platform, region, socket, said } = setUp(t);
  const first = await start();
  writeFlow(platform.planes[0]!, { index: 3, client: '198.51.100.7', clientPort: 40_000 });
  new Uint32Array(platform.planes[0]!.section('server_state'))[0] = 1;
  await first.end(true);
  await first.ended;
  assert.deepEqual(platform.calls.slice(2), ['file stop and keep', 'file close']);
  assert.equal(platform.notified.at(-1), 'STOPPING=1');
  assert.equal(platform.hasRegion(region), true);
  assert.equal(existsSync(socket), false);
  assert.match(said(), /with 1 flow and the guard on the interfaces stay for a successor/);

  await start();
  const { client } = { client: makeClient(socket) };
  assert.match(said(), /adopted the region .*: 1 flow live on/);
  const flows: string[] = [];
  for await (const line of client.lines('/v1/flows')) flows.push((JSON.parse(line) as { server: string }).server);
  assert.deepEqual(flows, ['web-1']);
});

test('down ends it and removes region, guard and socket', async (t) => {
  const { start, platform, client, region, socket } = setUp(t);
  const daemon = await start();
  await client.post('/v1/down');
  await daemon.ended;
  assert.deepEqual(platform.calls.slice(2), ['file stop', 'file close', 'file removed']);
  assert.deepEqual([platform.hasRegion(region), existsSync(socket)], [false, false]);
});

test('down with the name of another instance ends nothing', async (t) => {
  const { start, client, socket } = setUp(t);
  await start();
  const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
  const down = promisify(execFile)(process.execPath, [main, 'down', '--name', 'other', '-s', socket]);
  await assert.rejects(down, { code: 7, stderr: /answers "fairlead", not "other"; nothing was ended/ });
  assert.equal((await client.get<StatusView>('/v1/status')).generation, 1);
});

test('what a killed daemon left is removed by adopting it once more', async (t) => {
  const { start, platform, region, socket } = setUp(t);
  const daemon = await start();
  await daemon.end(true);
  platform.calls.length = 0;
  assert.deepEqual(removeLeftovers(platform, [region], socket), ['the guard', region.path]);
  assert.deepEqual(platform.calls, ['file adopted', 'file detach eth0 eth1', 'file close', 'file removed']);
  assert.equal(platform.hasRegion(region), false);
});

test('an engine that does not start leaves nothing behind', async (t) => {
  const { start, platform, region, socket } = setUp(t);
  platform.refused.set('packet', new Error('eth0 has no room for a ring'));
  await assert.rejects(start(), /no room for a ring/);
  assert.deepEqual(platform.calls, ['file created', 'file stop', 'file close', 'file removed']);
  assert.deepEqual([platform.hasRegion(region), existsSync(socket)], [false, false]);
});

test('a second daemon on the same region is refused and the first is not disturbed', async (t) => {
  const { start, client, region, platform } = setUp(t);
  await start();
  await assert.rejects(start(), { code: 'refused' });
  assert.equal((await client.get<StatusView>('/v1/status')).generation, 1);
  assert.equal(platform.hasRegion(region), true);
});

test('a configuration that this host cannot run is refused before anything is made', async (t) => {
  const { start, platform, made } = setUp(t);
  made.config = made.withServices(WEB.replaceAll('203.0.113.10', '203.0.113.1'));
  await assert.rejects(start(), ConfigError);
  assert.deepEqual(platform.calls, []);
});

test('a reload that fails is logged once, whoever asked for it, and the daemon goes on', async (t) => {
  const { start, client, made, said } = setUp(t);
  const daemon = await start();
  made.config = made.withServices(WEB.replaceAll('203.0.113.10', '203.0.113.1'));
  await daemon.reload();
  assert.match(said(), /reload failed, nothing was applied: .*203\.0\.113\.1 is an address of this host/s);
  await assert.rejects(client.post('/v1/reload'), { code: 'config' });
  assert.equal(said().split('reload failed').length, 3, 'one line for each, whoever asked');
  made.config = made.withServices(WEB.replace('weight: 3', 'weight: 5'));
  await daemon.reload();
  assert.equal((await client.get<ServerView[]>('/v1/servers'))[1]?.weight, 5);
});

test('a reload with another engine switches to it, and status tells what works where and why', async (t) => {
  const { start, platform, client, made } = setUp(t);
  const daemon = await start();
  const flows = new Uint32Array(platform.planes[0]!.section('server_state'));
  flows[0] = 1;
  platform.withoutXdp.add('eth1');
  made.config = made.withEngine('xdp');
  await daemon.reload();
  const status = await client.get<StatusView>('/v1/status');
  const path = '/sys/fs/bpf/fairlead-fairlead';
  assert.deepEqual(status.engine, { kind: 'xdp/xdp-generic', why: 'configured', region: 'created', path });
  assert.deepEqual(
    status.interfaces.map(({ name, by }) => `${name} ${by}`),
    ['eth0 xdp', 'eth1 xdp-generic'],
  );
  assert.deepEqual([status.generation, status.flows.inUse], [2, 1]);
  assert.deepEqual(platform.regions(), [path]);
  await client.post('/v1/down');
  await daemon.ended;
  assert.deepEqual(platform.regions(), []);
});

test('a reload whose engine cannot be had is refused whole, and the engine before goes on', async (t) => {
  const { start, platform, client, made, region } = setUp(t);
  await start();
  platform.refused.set('tc', new Error('the verifier refused fairlead_tc'));
  const heavier = made.withServices(WEB.replace('weight: 3', 'weight: 5'));
  made.config = { ...heavier, engine: 'tc' };
  await assert.rejects(client.post('/v1/reload'), /the verifier refused fairlead_tc/);
  const status = await client.get<StatusView>('/v1/status');
  assert.deepEqual([status.generation, status.engine.kind, status.engine.path], [1, 'packet', region.path]);
  assert.equal((await client.get<ServerView[]>('/v1/servers'))[1]?.weight, 3);
  assert.deepEqual(platform.regions(), [region.path]);
});

test('a start that fails after it has taken over what another engine left keeps it for the next', async (t) => {
  const { start, platform, made, socket } = setUp(t);
  const daemon = await start();
  new Uint32Array(platform.planes[0]!.section('server_state'))[0] = 1;
  await daemon.end(true);
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(socket, resolve));
  made.config = made.withEngine('tc');
  await assert.rejects(start(), { code: 'refused' });
  await new Promise((resolve) => other.close(resolve));
  assert.deepEqual(platform.calls.slice(-2), ['maps stop and keep', 'maps close']);
  await start();
  assert.match(made.log.lines.map(({ msg }) => msg).join('\n'), /adopted the region .*fairlead-fairlead: 1 flow live/);
});

test('what a killed daemon left in maps is removed with its programs, but not while a process has it', async (t) => {
  const { start, platform, region, socket, made } = setUp(t);
  made.config = made.withEngine('tc');
  const daemon = await start();
  const places = [region, placeOfRegion('fairlead', 'maps', '/sys/fs/bpf')];
  assert.throws(() => removeLeftovers(platform, places, socket), { code: 'refused' });
  await daemon.end(true);
  platform.calls.length = 0;
  assert.deepEqual(removeLeftovers(platform, places, socket), ["the kernel's programs", places[1]!.path]);
  assert.deepEqual(platform.calls, ['maps adopted', 'maps detach eth0 eth1', 'maps close', 'maps removed']);
});

test('a link that is lost and comes back, and a full table, are said aloud once', async (t) => {
  const { start, platform, client, said } = setUp(t);
  await start();
  const up = platform.host;
  platform.host = { ...up, links: up.links.filter(({ name }) => name !== 'eth1') };
  platform.planes[0]!.emit({ link: true, tableFull: true });
  platform.planes[0]!.emit({ tableFull: true });
  assert.match(said(), /interface eth1 is gone; it was up/);
  assert.equal(said().match(/the flow table is full/g)?.length, 1);
  assert.match(said(), /raise "flows" above 4096/);
  assert.equal((await client.get<StatusView>('/v1/status')).interfaces[1]?.state, 'gone');
  platform.host = up;
  platform.planes[0]!.emit({ link: true });
  assert.match(said(), /interface eth1 is up .*; it was gone/);
});

test('a next hop that changes, is lost and comes back is told by server', async (t) => {
  const { start, platform, said } = setUp(t);
  await start();
  const [plane] = platform.planes;
  const hops = new Uint8Array(plane!.section('hops'));
  hops[5] = 0x99;
  plane!.emit({ neighbour: true });
  assert.match(said(), /next hop of server web\/web-1 is 02:00:00:00:00:99, it was 02:00:00:00:00:11$/m);
  hops[7] = 0;
  plane!.emit({ neighbour: true });
  assert.match(said(), /next hop of server web\/web-1 does not answer any more/);
  hops[7] = 1;
  plane!.emit({ neighbour: true });
  assert.equal(said().match(/next hop of server web\/web-1/g)?.length, 3);
  assert.doesNotMatch(said(), /next hop of server web\/web-2/);
});

test('an engine whose worker died is started again with the guard kept', async (t) => {
  const { start, platform, said } = setUp(t);
  await start();
  platform.planes[0]!.emit({ workerDied: true });
  platform.planes[0]!.emit({ workerDied: true });
  const isBack = await waitUntil(() => said().includes('forwards again'), 5000);
  assert.ok(isBack, said());
  assert.deepEqual(platform.calls.slice(2), ['file stop and keep', START]);
});

test('what an operator said outlives a restart, and a hook is told of what happens', async (t) => {
  const { start, made, client, socket, said } = setUp(t);
  const heard = join(socket, '..', '..', 'heard');
  const hook = `notify: [{ exec: [/bin/sh, -c, 'echo "$FAIRLEAD_EVENT $FAIRLEAD_SERVER" >>${heard}'] }]\n`;
  made.config = made.withServices(WEB, hook);
  const first = await start();
  await client.post('/v1/services/web/servers/web-1/drain', { deadlineMs: 3_600_000 });
  const untold = (): number => {
    const state = JSON.parse(readFileSync(made.config.control.state, 'utf8')) as { undelivered: object };
    return Object.keys(state.undelivered).length;
  };
  // Taken only once the program has ended: an end before that would have it told twice.
  assert.ok(await waitUntil(() => existsSync(heard) && untold() === 0, 5000));
  await first.end(true);

  await start();
  const [drained] = await client.get<ServerView[]>('/v1/servers');
  assert.equal(drained?.state, 'drained');
  assert.ok(drained.drainEndsInMs! > 3_500_000 && drained.drainEndsInMs! <= 3_600_000, `${drained.drainEndsInMs}`);
  assert.doesNotMatch(said(), /the state cannot be saved/);
  assert.equal(readFileSync(heard, 'utf8'), 'server-drained web-1\n');
});

test('what a hook was not told before the end it is told by the successor', async (t) => {
  const { start, made, client, socket } = setUp(t);
  const folder = join(socket, '..', '..');
  const command = `test -e ${folder}/open && cat >>${folder}/heard`;
  made.config = made.withServices(WEB, `notify: [{ exec: [/bin/sh, -c, '${command}'] }]\n`);
  const first = await start();
  await client.post('/v1/services/web/servers/web-2/maintenance');
  await first.end(true);
  writeFileSync(join(folder, 'open'), '');
  await start();
  const heard = (): string => (existsSync(`${folder}/heard`) ? readFileSync(`${folder}/heard`, 'utf8') : '');
  assert.ok(await waitUntil(() => heard().includes('server-maintenance'), 5000), heard());
});

test('a successor takes the region over from a daemon that runs, which ends once that one is ready', async (t) => {
  const { start, platform, client, made, said } = setUp(t);
  const first = await start();
  writeFlow(platform.planes[0]!, { index: 3, client: '198.51.100.7', clientPort: 40_000 });
  new Uint32Array(platform.planes[0]!.section('server_state'))[0] = 1;
  await client.post('/v1/services/web/servers/web-1/drain');
  platform.calls.length = 0;
  platform.notified.length = 0;
  made.config = made.withServices(WEB.replace('weight: 3', 'weight: 5'));
  await start({ takeOver: takeOverFromRunning });
  assert.equal(await first.ended, null);
  assert.deepEqual(platform.calls, ['file stop and keep', 'file close', 'file adopted', 'file goes on', START]);
  assert.deepEqual(
    platform.notified.map((state) => state.split('\n').slice(0, 2).join(' ')),
    [`MAINPID=${process.pid} READY=1`],
    'a service manager hears of the new process, and of no end',
  );
  assert.match(said(), /adopted the region .*: 1 flow live on/);
  assert.match(said(), /the successor is ready: ended/);
  const servers = await client.get<ServerView[]>('/v1/servers');
  assert.deepEqual(
    servers.map(({ state, weight }) => `${state} ${weight}`),
    ['drained 0', 'up 5'],
  );
});

test('where no daemon runs, a takeover is an ordinary start and says so', async (t) => {
  const { start, platform, said } = setUp(t);
  await start({ takeOver: takeOverFromRunning });
  assert.match(said(), /no fairlead answers on .*: there is nothing to take over/);
  assert.deepEqual(platform.calls, ['file created', START]);
  assert.match(platform.notified.join('\n'), /^READY=1/);
});

test('a successor whose configuration is wrong, or another instance, does not touch the one that runs', async (t) => {
  const { start, platform, client, made } = setUp(t);
  await start();
  made.config = made.withServices(WEB.replaceAll('203.0.113.10', '203.0.113.1'));
  await assert.rejects(start({ takeOver: takeOverFromRunning }), ConfigError);
  made.config = { ...made.withServices(WEB), name: 'other' };
  await assert.rejects(start({ takeOver: takeOverFromRunning }), /answers "fairlead", not "other"; it goes on/);
  assert.deepEqual(platform.calls, ['file created', START]);
  assert.equal((await client.get<StatusView>('/v1/status')).generation, 1);
});

test('a successor that fails half-way gives the region back, and the one before goes on as it was', async (t) => {
  const { start, platform, client, made, said } = setUp(t);
  const first = await start();
  new Uint32Array(platform.planes[0]!.section('server_state'))[0] = 1;
  const { config } = made;
  platform.refused.set('packet', new Error('eth0 has no room for a ring'));
  made.config = made.withServices(WEB.replace('weight: 3', 'weight: 5'));
  await assert.rejects(start({ takeOver: takeOverFromRunning }), /no room for a ring/);
  platform.refused.clear();
  const last = await first.ended;
  assert.equal(last, config, 'with the configuration that it had');
  await startAgain(() => start({ loadConfig: () => last }));
  assert.match(said(), /the successor has failed: it ended; this process takes the region up again/);
  assert.match(said(), /adopted the region .*: 1 flow live on/);
  assert.equal((await client.get<ServerView[]>('/v1/servers'))[1]?.weight, 3);
  await client.post('/v1/reload');
  assert.equal((await client.get<ServerView[]>('/v1/servers'))[1]?.weight, 5, 'a reload reads the file again');
});
