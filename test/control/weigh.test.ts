// Decisions are kept where nothing has changed: a walk at random over what operators say, what checks and flows show and
// the passing of time, beside decisions that are all made anew.
//
// Another walk: SEED=12345 node --test test/control/weigh.test.ts

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import type { Config, ServerConfig, ServiceConfig } from '../../src/config/config.ts';
import type { ServerHealth, Standing } from '../../src/control/health.ts';
import { NO_OVERRIDES, type OverrideChange, serverKey, withOverride } from '../../src/control/overrides.ts';
import { makeSlowStart } from '../../src/control/slow-start.ts';
import { decideAll, type DecidedService, decisionEvents } from '../../src/control/weigh.ts';
import { serverId } from '../../src/plane/identity.ts';
import { configOf } from '../plane/targets.ts';
import { makeFakeClock } from './fakes.ts';

const STEPS = 300;
const SEEDS = process.env.SEED === undefined ? [randomInt(1 << 30), 1, 2] : [Number(process.env.SEED)];
const STATES: readonly ServerHealth[] = ['up', 'up', 'up', 'down', 'doubted', 'unknown', 'unchecked'];
const WISHES: readonly Standing['advice'][] = [
  null,
  { weight: 50, admin: null },
  { weight: 20, admin: null },
  { weight: 20, admin: 'drain' },
];
const WORDS: readonly OverrideChange[] = [
  { admin: 'drained' },
  { admin: 'drained', deadlineMs: 5000 },
  { admin: 'maintenance' },
  { admin: 'enabled' },
  { weight: 7 },
];

function configWith(servers: string): Config {
  const service = (name: string, more: string) =>
    `  ${name}: { listen: 203.0.113.1${name.slice(1)}:80/tcp, method: nat, ${more}, servers: { ${servers} } }`;
  return configOf(
    [
      service('w0', 'on-server-down: reset, check: { type: tcp }, slow-start: 10s'),
      service('w1', 'min-up: 2, backup: { b0: 10.0.2.1, b1: 10.0.2.2 }, max-flows: 9'),
      service('w2', 'panic: true, min-up: 2'),
      service('w3', 'passive: eject'),
    ].join('\n'),
  );
}

function openWalk(seed: number) {
  const { below, pick } = randomOf(seed);
  const configs = ['a: 10.0.1.1, b: 10.0.1.2, c: 10.0.1.3', 'a: 10.0.1.1, c: { address: 10.0.1.4, weight: 5 }'].map(
    configWith,
  );
  const clock = makeFakeClock();
  const slowStart = makeSlowStart(clock);
  const standings = new Map<string, Standing>();
  const standingOf = (key: string): Standing => ({ ...(standings.get(key) ?? { state: 'up', advice: null }) });
  const ejected = new Set<bigint>();
  let overrides = NO_OVERRIDES;
  let config = configs[0]!;
  let before: DecidedService[] = [];
  let kept = 0;

  const changes: ((service: ServiceConfig, server: ServerConfig) => unknown)[] = [
    (service, server) => {
      const key = serverKey(service, server);
      standings.set(key, { ...standingOf(key), ...pick([{ state: pick(STATES) }, { advice: pick(WISHES) }]) });
    },
    ({ name }, server) => (overrides = withOverride(overrides, name, server, pick(WORDS), clock.nowMs())),
    (service, server) => slowStart.begin(serverKey(service, server)),
    (service, server) => slowStart.forget(serverKey(service, server)),
    (service, server) => {
      const id = serverId(service, server);
      if (!ejected.delete(id)) ejected.add(id);
    },
    () => clock.advance(pick([0, 400, 3000])),
    () => (below(5) === 0 ? (config = pick(configs)) : null),
  ];

  return {
    step: async (): Promise<void> => {
      const service = pick(config.services);
      await pick(changes)(service, pick(service.servers));
      const known = {
        nowMs: clock.nowMs(),
        overrides,
        health: {
          standingsOf: (one: ServiceConfig) => one.servers.map((server) => standingOf(serverKey(one, server))),
        },
        slowStart,
        isEjected: (_: string, id: bigint) => ejected.has(id),
      };
      const decided = decideAll(config, known, before);
      const fresh = decideAll(config, known);
      assert.deepEqual(decided, fresh);
      assert.deepEqual(decisionEvents(before, decided), decisionEvents(before, fresh));
      kept += decided.filter((one) => before.includes(one)).length;
      before = decided;
    },
    kept: () => kept,
  };
}

for (const seed of SEEDS) {
  test(`decisions that are kept are those that would be made anew (seed ${seed})`, async () => {
    const walk = openWalk(seed);
    for (let step = 0; step < STEPS; step++) {
      await walk.step().catch((error: unknown) => {
        throw new Error(`seed ${seed}, step ${step}`, { cause: error });
      });
    }
    assert.ok(walk.kept() > STEPS, `${walk.kept()} decisions were kept`);
  });
}
