// What the controller does for servers that go, come back, rest and step in, and what a successor gets to know.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import type { Controller } from '../../src/control/controller.ts';
import { type Keeper, NO_KEEPER } from '../../src/control/keeper.ts';
import { NO_STATE, type SavedState } from '../../src/control/state-file.ts';
import { configOf } from '../plane/targets.ts';
import { makeControlled } from './controlled.ts';

const WEB = `
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    check: { every: 1s, rise: 2, fall: 2 }
    OPTIONS
    servers: { web-1: 10.0.1.11:8080, web-2: 10.0.1.12:8080 }
`;

function webConfig(options = ''): Config {
  return configOf(WEB.replace('OPTIONS', options));
}

async function start(config: Config, { left = NO_STATE, down = [] as string[] } = {}) {
  let saves = 0;
  const keeper: Keeper = { ...NO_KEEPER, left, saveNow: () => void saves++ };
  const { clock, checks, controller, lines, events, start: begin } = makeControlled(config, { keeper });
  for (const endpoint of down) checks.down.add(endpoint);
  await begin();
  const told = (): string[] => events.recent().map(({ kind, service, server }) => `${kind} ${service}/${server ?? ''}`);
  return { clock, checks, controller, lines, events, told, saves: () => saves };
}

/** "web-1=1 web-2=0" */
function weights(controller: Controller): string {
  const servers = controller.state().services.flatMap((service) => service.servers);
  return servers.map((server) => `${server.config.name}=${server.weight}`).join(' ');
}

test('a server that comes back gets its share in steps, and one that was always there is not touched by it', async () => {
  const { clock, checks, controller } = await start(webConfig('slow-start: 10s'));
  assert.equal(weights(controller), 'web-1=1 web-2=1', 'a start is no return');
  checks.down.add('10.0.1.11:8080');
  await clock.advance(3000);
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  checks.down.delete('10.0.1.11:8080');
  const seen = new Set<string>();
  for (let ms = 0; ms < 15_000; ms += 100) {
    await clock.advance(100);
    seen.add(weights(controller));
  }
  const steps = ['0', ...Array.from({ length: 10 }, (_, i) => String((i + 1) / 10))];
  assert.deepEqual(
    [...seen],
    steps.map((share) => `web-1=${share} web-2=1`),
  );
  controller.stop();
});

test('a server that fails while it grows begins anew', async () => {
  const { clock, checks, controller } = await start(webConfig('slow-start: 10s'));
  const fail = async (): Promise<void> => {
    checks.down.add('10.0.1.11:8080');
    await clock.advance(3000);
    checks.down.delete('10.0.1.11:8080');
  };
  await fail();
  await clock.advance(8000);
  assert.match(weights(controller), /web-1=0\.[67] /);
  await fail();
  await clock.advance(3000);
  assert.match(weights(controller), /web-1=0\.[12] /);
  controller.stop();
});

test('a backup joins when the last server is gone and rests when one is back, and both are told', async () => {
  const { clock, checks, controller, told } = await start(webConfig('backup: { sorry: 10.0.1.99:8080 }'));
  assert.equal(weights(controller), 'web-1=1 web-2=1 sorry=0');
  checks.down.add('10.0.1.11:8080').add('10.0.1.12:8080');
  await clock.advance(3000);
  assert.equal(weights(controller), 'web-1=0 web-2=0 sorry=1');
  checks.down.delete('10.0.1.12:8080');
  await clock.advance(3000);
  assert.equal(weights(controller), 'web-1=0 web-2=1 sorry=0');
  assert.deepEqual(told(), [
    'server-down web/web-1',
    'server-down web/web-2',
    'backup-used web/',
    'server-up web/web-2',
    'backup-rests web/',
  ]);
  controller.stop();
});

test('maintenance ends the checks of a server with its flows, and the first check after it decides', async () => {
  const { clock, checks, controller, told, saves } = await start(webConfig());
  controller.override('web', 'web-1', { admin: 'maintenance' });
  assert.equal(saves(), 1, 'an operator is remembered before the answer');
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  checks.down.add('10.0.1.11:8080');
  await clock.advance(10_000);
  assert.deepEqual(told(), ['server-maintenance web/web-1'], 'nobody is told of what nobody asks');
  controller.override('web', 'web-1', { admin: 'enabled' });
  await clock.advance(100);
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  controller.override('web', 'web-1', { admin: 'maintenance' });
  checks.down.delete('10.0.1.11:8080');
  controller.override('web', 'web-1', { admin: 'enabled' });
  await clock.advance(100);
  assert.equal(weights(controller), 'web-1=1 web-2=1');
  controller.stop();
});

const remembered = (...states: ('up' | 'down')[]): SavedState => ({
  ...NO_STATE,
  health: Object.fromEntries(
    states.map((state, i) => [`web/web-${i + 1} 10.0.1.1${i + 1}:8080 0 tcp`, { state, since: Date.now() - 60_000 }]),
  ),
});

test('a successor begins with what its predecessor knew of servers and operators', async () => {
  const first = await start(webConfig());
  first.controller.override('web', 'web-2', { admin: 'drained', weight: 4 });
  first.checks.down.add('10.0.1.11:8080');
  await first.clock.advance(3000);
  const left: SavedState = { ...NO_STATE, ...first.controller.memory() };
  first.controller.stop();
  assert.deepEqual(
    Object.values(left.health).map(({ state }) => state),
    ['down', 'up'],
  );

  // It answers again by chance: one good check is not enough for a server that was down.
  const second = await start(webConfig(), { left });
  assert.equal(weights(second.controller), 'web-1=0 web-2=0');
  await second.clock.advance(1500);
  assert.equal(weights(second.controller), 'web-1=1 web-2=0');
  second.controller.override('web', 'web-2', { admin: 'enabled' });
  assert.equal(weights(second.controller), 'web-1=1 web-2=4');
  second.controller.stop();
});

test('a restart does not open with a dead server that was up', async () => {
  const { controller, clock } = await start(webConfig(), { left: remembered('up', 'up'), down: ['10.0.1.11:8080'] });
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  await clock.advance(3000);
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  controller.stop();
});

test('nor with every server down when the first round of checks fails for all of them', async () => {
  const dead = ['10.0.1.11:8080', '10.0.1.12:8080'];
  const { controller, clock, checks } = await start(webConfig(), { left: remembered('up', 'up'), down: dead });
  assert.equal(weights(controller), 'web-1=1 web-2=1');
  checks.down.delete('10.0.1.11:8080');
  await clock.advance(1100);
  assert.equal(weights(controller), 'web-1=1 web-2=0', 'one is surely up, the other has failed twice by now');
  await clock.advance(2000);
  assert.equal(weights(controller), 'web-1=1 web-2=0');
  controller.stop();

  const alone = await start(webConfig(), { left: remembered('up', 'up'), down: dead });
  await alone.clock.advance(3000);
  assert.equal(weights(alone.controller), 'web-1=0 web-2=0', 'what is dead is found out all the same');
  alone.controller.stop();
});

test('an override of a server that is not in the file any more is forgotten', async () => {
  const left: SavedState = { ...NO_STATE, overrides: { 'web/gone': { admin: 'drained', weight: null } } };
  const { controller } = await start(webConfig(), { left });
  assert.deepEqual(controller.memory().overrides, {});
  controller.stop();
});

test("a server's checks are joined by all or by any, and its own replace the service's", async () => {
  const config = configOf(`
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    check: [{ port: 8080 }, { port: 8081 }]
    servers:
      web-1: 10.0.1.11:8080
      web-2: { address: 10.0.1.12:8080, check: { any: [{ port: 8080 }, { port: 8081 }] } }
      web-3: { address: 10.0.1.13:8080, check: none }
`);
  const { clock, checks, controller, lines } = await start(config);
  checks.down.add('10.0.1.11:8081').add('10.0.1.12:8081').add('10.0.1.13:8081');
  await clock.advance(8000);
  assert.equal(weights(controller), 'web-1=0 web-2=1 web-3=1');
  assert.deepEqual(
    controller.state().services[0]?.servers.map(({ health }) => health.reason),
    ['connection refused', 'connected in 0.4 ms', 'no check'],
  );
  assert.ok(!lines.some(({ msg }) => msg.includes('web-2 is down')), 'a check that does not decide is no news');
  controller.stop();
});

test('what was left is believed at the start only: a server that comes back later is asked first', async () => {
  const { clock, checks, controller } = await start(webConfig(), { left: remembered('up', 'up') });
  controller.override('web', 'web-1', { admin: 'maintenance' });
  checks.silent.add('10.0.1.11:8080');
  await clock.advance(1000);
  controller.override('web', 'web-1', { admin: 'enabled' });
  await clock.advance(500);
  assert.equal(controller.state().services[0]?.servers[0]?.health.state, 'unknown');
  assert.equal(weights(controller), 'web-1=0 web-2=1');
  controller.stop();
});
