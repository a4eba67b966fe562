import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, FairleadError } from '../../src/base/errors.ts';
import type { Config } from '../../src/config/config.ts';
import type { HostView } from '../../src/config/host-view.ts';
import type { Controller } from '../../src/control/controller.ts';
import { constants, layout } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import type { Plane } from '../../src/plane/plane.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { configOf, WEB } from '../plane/targets.ts';
import { makeControlled } from './controlled.ts';
import { type FakeClock, fakeHost, loading } from './fakes.ts';

const DNS = `
  dns: { listen: 203.0.113.53:53/udp, method: full-nat, servers: { ns-1: 10.0.1.21, ns-2: 10.0.1.22 } }
`;

function setUp(config: Config = configOf(WEB)) {
  const host: { view: HostView } = { view: fakeHost };
  const engine: { prepare: (config: Config) => void } = { prepare: () => {} };
  const around = { inspect: () => host.view, prepare: (next: Config) => engine.prepare(next) };
  return { ...makeControlled(config, around), host, engine };
}

async function start(...options: Parameters<typeof setUp>) {
  const made = setUp(...options);
  await made.start();
  return made;
}

/** "web/web-1=1 web/web-2=3" */
function weights(controller: Controller): string {
  return controller
    .state()
    .services.flatMap(({ config, servers }) =>
      servers.map((server) => `${config.name}/${server.config.name}=${server.weight}`),
    )
    .join(' ');
}

const isRefused = (error: unknown): boolean => error instanceof FairleadError && error.code === 'refused';

test('the first commit waits for the first round of checks, and leaves out who is down', async () => {
  const { controller, checks, clock, plane } = setUp();
  checks.down.add('10.0.1.12:8080');
  const started = controller.start();
  assert.equal(readHeader(plane).generation, 0);
  await clock.advance(0);
  await started;
  assert.equal(readHeader(plane).generation, 1);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=0');
  controller.stop();
});

test('a server that never answers holds the start up for a bounded time only', async () => {
  const { controller, checks, clock, plane } = setUp();
  checks.silent.add('10.0.1.12:8080');
  const started = controller.start();
  await clock.advance(5000);
  await started;
  assert.equal(readHeader(plane).generation, 1);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=0');
  controller.stop();
});

test('servers that go down together make one commit, and the log says why each did', async () => {
  const { controller, checks, clock, plane, lines } = await start();
  checks.down.add('10.0.1.11:8080').add('10.0.1.12:8080');
  await clock.advance(10_000);
  assert.equal(weights(controller), 'web/web-1=0 web/web-2=0');
  assert.equal(readHeader(plane).generation, 2);
  const said = lines.map(({ msg }) => msg);
  assert.ok(said.includes('server web/web-1 is down: connection refused'), said.join('\n'));
  controller.stop();
});

test('a drained server keeps its slot and gets no new flows, until it is enabled', async () => {
  const { controller } = await start();
  const slot = controller.state().services[0]!.servers[1]!.slot;
  controller.override('web', 'web-2', { admin: 'drained' });
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=0');
  assert.equal(controller.state().services[0]!.servers[1]!.slot, slot);
  controller.override('web', 'web-2', { admin: 'enabled' });
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=3');
  controller.stop();
});

test('a drain and a weight survive a reload as long as their server exists', async () => {
  const { controller, clock } = await start();
  controller.override('web', 'web-1', { admin: 'drained' });
  controller.override('web', 'web-2', { weight: 9 });
  await reload(controller, clock, configOf(WEB + DNS));
  assert.match(weights(controller), /web\/web-1=0 web\/web-2=9/);
  await reload(controller, clock, configOf(WEB.replace(/ +web-2.*\n/, '')));
  await reload(controller, clock, configOf(WEB));
  assert.equal(weights(controller), 'web/web-1=0 web/web-2=3');
  controller.stop();
});

test('a server that nobody configured is not found, and the error names those there are', async () => {
  const { controller } = await start();
  const expected = {
    code: 'not-found',
    message: 'there is no server "web-9" in service "web"',
    mend: 'there are: web-1, web-2',
  };
  assert.throws(() => controller.override('web', 'web-9', { admin: 'drained' }), expected);
  assert.throws(() => controller.override('wob', 'web-1', { admin: 'drained' }), { code: 'not-found' });
  controller.stop();
});

test('a reload that fails anywhere leaves everything as it was', async () => {
  const { controller, clock, plane } = await start();
  const before = weights(controller);
  const tooMany = Array.from({ length: 257 }, (_, i) => `s${i}: 10.7.${i >> 8}.${i & 255}`).slice(1);
  const tries: (() => Config)[] = [
    () => {
      throw new ConfigError([]);
    },
    () => configOf(WEB, 'flows: 8192'),
    () => configOf(WEB.replaceAll('203.0.113.10', '203.0.113.1')),
    () =>
      configOf(`${WEB}\n  big: { listen: 203.0.113.11:80/tcp, method: full-nat, servers: { ${tooMany.join(', ')} } }`),
  ];
  for (const load of tries) {
    const answer = controller.reload(loading(load));
    const failed = assert.rejects(answer, FairleadError);
    await clock.advance(0);
    await failed;
    assert.equal(weights(controller), before);
    assert.equal(readHeader(plane).generation, 1);
  }
  await reload(controller, clock, configOf(WEB + DNS));
  controller.stop();
});

test('a key that is settled at the start is refused on reload by name', async () => {
  const { controller, clock } = await start();
  const answer = controller.reload(loading(() => configOf(WEB, 'bpffs: /run/bpf\nflows: 8192\nworkers: 3')));
  const failed = assert.rejects(
    answer,
    (error: Error) => isRefused(error) && error.message.startsWith('bpffs, workers, flows cannot change'),
  );
  await clock.advance(0);
  await failed;
  controller.stop();
});

test('a configuration is applied only once the engine has followed it', async () => {
  const { controller, clock, plane, engine } = await start();
  const seen: [string, number][] = [];
  engine.prepare = (config) => seen.push([config.engine, readHeader(plane).generation]);
  await reload(controller, clock, configOf(WEB, 'engine: tc'));
  assert.deepEqual(seen, [['tc', 1]]);
  assert.equal(readHeader(plane).generation, 2);
  engine.prepare = () => {
    throw new FairleadError('failed', 'eth0 carries another’s XDP program');
  };
  const failed = assert.rejects(
    controller.reload(loading(() => configOf(WEB.replace('weight: 3', 'weight: 5'), 'engine: xdp'))),
    /carries another’s XDP program/,
  );
  await clock.advance(0);
  await failed;
  assert.equal(readHeader(plane).generation, 2);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=3');
  assert.equal(controller.state().config.engine, 'tc');
  controller.stop();
});

test('a data plane that takes no image leaves the old state, and what happened by itself is tried again', async () => {
  const { controller, clock, plane, checks, lines } = await start();
  const commit = plane.commit.bind(plane);
  Object.assign(plane, {
    commit: () => {
      throw new Error('a worker is stuck in the old half');
    },
  });
  assert.throws(() => controller.override('web', 'web-1', { admin: 'drained' }), /a worker is stuck in the old half/);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=3');
  checks.down.add('10.0.1.11:8080');
  await clock.advance(10_000);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=3');
  assert.ok(lines.some(({ msg }) => /could not be applied and will be tried again: .*stuck/.test(msg)));
  Object.assign(plane, { commit });
  await clock.advance(1500);
  assert.equal(weights(controller), 'web/web-1=0 web/web-2=3');
  controller.stop();
});

test('an engine that fails after the halves have flipped gets the old state back', async () => {
  const { controller, clock, plane } = await start();
  const commit = plane.commit.bind(plane);
  const failLate = (image: ArrayBuffer): number => {
    commit(image);
    throw new Error('the guard does not load');
  };
  Object.assign(plane, { commit: failLate });
  assert.throws(() => controller.override('web', 'web-1', { weight: 9 }), /the guard does not load/);
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=3');
  assert.equal(weightInRegion(plane, 0), 9);
  Object.assign(plane, { commit });
  await clock.advance(1000);
  assert.equal(weightInRegion(plane, 0), 1);
  assert.deepEqual(
    controller.state().services[0]?.servers.map(({ slot }) => slot),
    [0, 1],
  );
  controller.stop();
});

test('a reload tells what changed, and a server that stays is not touched', async () => {
  const { controller, clock } = await start();
  const slot = controller.state().services[0]!.servers[0]!.slot;
  const answer = await reload(controller, clock, configOf(WEB.replace('wrr', 'maglev') + DNS));
  assert.deepEqual(
    answer.changes.map(({ what, words }) => `${what}: ${words}`),
    [
      'service web: scheduler wrr → maglev',
      'service dns: new on 203.0.113.53:53/udp, full-nat',
      'server dns/ns-1: new at 10.0.1.21, weight 1',
      'server dns/ns-2: new at 10.0.1.22, weight 1',
    ],
  );
  assert.equal(controller.state().services[0]!.servers[0]!.slot, slot);
  controller.stop();
});

test('servers that are all new are checked before the reload puts them in', async () => {
  const { controller, clock, checks } = await start();
  checks.down.add('10.0.1.32:8080');
  await reload(controller, clock, configOf(WEB.replace('10.0.1.11', '10.0.1.31').replace('10.0.1.12', '10.0.1.32')));
  assert.equal(weights(controller), 'web/web-1=1 web/web-2=0');
  controller.stop();
});

test('an interface that vanishes and comes back is followed into the region', async () => {
  const { controller, clock, host, plane } = await start();
  const ifindex = (): number => activeHalfOf(plane, 'interfaces').getUint32(layout.fl_interface.octets, true);
  assert.equal(ifindex(), 3);
  host.view = { ...fakeHost, links: fakeHost.links.filter(({ name }) => name !== 'eth1') };
  controller.lookAtHost();
  await clock.advance(20);
  assert.equal(ifindex(), 0);
  host.view = { ...fakeHost, links: fakeHost.links.map((link) => ({ ...link, index: link.index + 10 })) };
  controller.lookAtHost();
  await clock.advance(20);
  assert.equal(ifindex(), 13);
  controller.stop();
});

test('a link event that changes nothing of ours is no commit', async () => {
  const { controller, clock, host, plane } = await start();
  host.view = { ...fakeHost, links: [...fakeHost.links, { name: 'lo', index: 1, mac: '', mtu: 65_536, isUp: true }] };
  controller.lookAtHost();
  await clock.advance(1000);
  assert.equal(readHeader(plane).generation, 1);
  controller.stop();
});

test('nothing is committed any more once it is stopped', async () => {
  const { controller, clock, checks, host, plane } = await start();
  checks.down.add('10.0.1.11:8080');
  host.view = { ...fakeHost, links: [] };
  controller.lookAtHost();
  controller.stop();
  await clock.advance(60_000);
  assert.equal(readHeader(plane).generation, 1);
});

function weightInRegion(plane: Plane, slot: number): number {
  return activeHalfOf(plane, 'servers').getUint32(slot * layout.fl_server.octets + layout.fl_server.weight, true);
}

async function reload(controller: Controller, clock: FakeClock, config: Config) {
  const answer = controller.reload(loading(() => config));
  await clock.advance(0);
  return answer;
}

test('flows of a server that goes down end once, with the commit that takes it out, and not again by a restart', async () => {
  const config = configOf(WEB.replace('scheduler: wrr', 'scheduler: wrr\n    on-server-down: reset'));
  const { controller, checks, clock, plane } = await start(config);
  const generationOf = (): number => {
    const { slot } = controller.state().services[0]!.servers[0]!;
    return activeHalfOf(plane, 'servers').getUint32(slot * layout.fl_server.octets + layout.fl_server.generation, true);
  };
  assert.equal(generationOf(), 1);
  checks.down.add('10.0.1.11:8080');
  await clock.advance(10_000);
  assert.equal(generationOf(), constants.generationEpochOne + 1);
  controller.override('web', 'web-2', { weight: 7 });
  assert.equal(generationOf(), constants.generationEpochOne + 1);
  assert.equal(readPlacement(plane).servers[0]?.hasEnded, true);
  checks.down.clear();
  await clock.advance(10_000);
  assert.equal(generationOf(), constants.generationEpochOne + 1);
  assert.equal(readPlacement(plane).servers[0]?.hasEnded, undefined);
  controller.stop();
});

test('the end of a drain is told also when the timer was early', async () => {
  const { controller, clock, plane, lines } = await start();
  clock.offMs = 1;
  controller.override('web', 'web-1', { admin: 'drained', deadlineMs: 5000 });
  await clock.advance(5100);
  assert.equal(readPlacement(plane).servers[0]?.hasEnded, true);
  assert.equal(lines.filter(({ msg }) => msg.startsWith('server web/web-1: the time to drain is over')).length, 1);
  controller.stop();
});

test('and when the timer is late, and something else is applied at that moment', async () => {
  const { controller, clock, lines } = await start();
  clock.offMs = 6000;
  controller.override('web', 'web-1', { admin: 'drained', deadlineMs: 5000 });
  await clock.advance(5500);
  const said = () => lines.filter(({ msg }) => msg.startsWith('server web/web-1: the time to drain is over'));
  assert.deepEqual(said(), []);
  controller.override('web', 'web-2', { weight: 7 });
  assert.equal(said().length, 1);
  await clock.advance(20_000);
  assert.equal(said().length, 1);
  controller.stop();
});

test('flows of a drained server end at its deadline: the operator’s, else the service’s, else none', async () => {
  const config = configOf(WEB.replace('scheduler: wrr', 'scheduler: wrr\n    drain-deadline: 10m'));
  const { controller, clock, plane } = await start(config);
  const hasEnded = (): boolean => readPlacement(plane).servers[0]?.hasEnded === true;
  const drain = (deadlineMs?: number): void =>
    controller.override('web', 'web-1', { admin: 'drained', ...(deadlineMs === undefined ? {} : { deadlineMs }) });
  drain(60_000);
  await clock.advance(50_000);
  drain();
  assert.equal(hasEnded(), false, 'it has ten seconds left');
  await clock.advance(10_000);
  assert.equal(hasEnded(), true);
  controller.override('web', 'web-1', { admin: 'enabled' });
  assert.equal(hasEnded(), false);
  drain();
  await clock.advance(599_000);
  assert.equal(hasEnded(), false);
  assert.ok((controller.memory().overrides['web/web-1']?.until ?? 0) > Date.now());
  await clock.advance(2000);
  assert.equal(hasEnded(), true);
  controller.override('web', 'web-1', { admin: 'maintenance' });
  assert.equal(hasEnded(), false);
  controller.override('web', 'web-1', { admin: 'enabled' });
  drain(0);
  assert.equal(hasEnded(), true, 'at once');
  controller.stop();
});
