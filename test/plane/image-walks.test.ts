// An image goes on from the last one; made from scratch it has the same octets. Walks at random over what can change:
// weights and ends of servers, services that come, go, change and change places, the host, changes that are refused, and
// a region that is read back.
//
// Another walk: SEED=12345 node --test test/plane/image-walks.test.ts

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import type { ServiceConfig } from '../../src/config/config.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { planImage } from '../../src/plane/image.ts';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { emptyPlacement, type Placement } from '../../src/plane/placement.ts';
import type { End, TargetService } from '../../src/plane/target.ts';
import { configOf, inside, outside } from './targets.ts';

const STEPS = 150;
const SEEDS = process.env.SEED === undefined ? [randomInt(1 << 30), 1, 2] : [Number(process.env.SEED)];

const KINDS = [
  'method: nat, scheduler: wrr',
  'method: nat, scheduler: rr, hairpin: refuse, sticky: { by: client, for: 10m }',
  'method: nat, scheduler: maglev, deny: [192.0.2.0/24], limits: { flows: 100 }',
  'method: full-nat, scheduler: lc, source: 203.0.113.200-203.0.113.203, on-server-down: rehash',
  'method: full-nat, scheduler: p2c, on-server-down: reset, limits: { new-flows: 10/s }',
  'method: l2-dsr, scheduler: sh, half-open: 100',
  'method: l3-dsr, scheduler: wlc, tunnel: { type: gre, source: 192.0.2.1, key: 7 }',
  'method: l3-dsr, scheduler: wrr, tunnel: { type: ipip, source: 192.0.2.2, ttl: 9 }',
];

/** What a placement is once it has gone through a region, but for which tables rest. */
function withoutMemory(placement: Placement): Placement {
  const tables = [...placement.tables].map(([slot, table]) => [slot, { ...table, madeFrom: null }] as const);
  return { ...placement, made: null, tables: new Map(tables) };
}

function openWalk(seed: number) {
  const { below } = randomOf(seed);
  const plane = makeMemoryPlane(smallCounts(4096, 1), 1);
  let placement = emptyPlacement(plane.counts.tables);
  let interfaces = [outside, inside];
  let generation = 0;
  let nowMs = 0;
  let named = 0;
  let services: TargetService[] = [];
  let goneOn = 0;

  /** `port` and the servers' addresses tell services of one name apart. */
  function makeConfig(name: string): ServiceConfig {
    const servers = Array.from({ length: 1 + below(5) }, (_, i) => `s${i}: 10.0.${1 + below(3)}.${10 + i}`);
    const port = below(4) === 0 ? '8000-8099' : String(80 + below(3));
    const text = `listen: 203.0.113.${10 + (Number(name.slice(1)) % 100)}:${port}/tcp, ${KINDS[below(KINDS.length)]}`;
    return configOf(`\n  ${name}: { ${text}, check: { type: icmp }, servers: { ${servers.join(', ')} } }\n`)
      .services[0]!;
  }

  function decide(config: ServiceConfig): TargetService {
    const choose = <T>(values: readonly T[]): T[] => config.servers.map(() => values[below(values.length)]!);
    const ends: readonly End[] = below(2) === 0 ? ['no'] : ['no', 'no', 'reset', 'rehash'];
    return { config, weights: choose([0, 1, 1, 1, 3]), reserves: choose([0, 0, 0, 2]), ends: choose(ends) };
  }

  const replace = (change: (service: TargetService) => TargetService): void => {
    const at = below(services.length);
    services = services.map((service, index) => (index === at ? change(service) : service));
  };

  const changes: (() => void)[] = [
    () => services.push(decide(makeConfig(`w${named++}`))),
    () => services.splice(below(services.length), 1),
    () => replace(({ config }) => decide(makeConfig(config.name))),
    () => {
      services = services.toReversed();
    },
    // A reload: nothing is the same object, even where all is the same.
    () => {
      services = structuredClone(services);
    },
    () => {
      interfaces = below(2) === 0 ? [outside, inside] : [{ ...outside, mtu: 1400 + below(100) }, inside];
    },
    () => {
      placement = readPlacement(plane);
    },
    () => {
      nowMs += 2000;
    },
  ];

  function step(): void {
    // Most changes are of weights.
    if (services.length < 2) changes[0]!();
    else if (below(2) === 0) replace(({ config }) => decide(config));
    else changes[below(changes.length)]!();
    const { timeouts, onNoService } = configOf(
      '  x: { listen: 203.0.113.9:1/tcp, method: nat, servers: { a: 10.0.1.1 } }',
    );
    const target = { timeouts, onNoService, interfaces, services: [...services] };
    const moment = { generation, nowMs };
    const planned = planImage(target, placement, plane.counts, moment);
    const fresh = planImage(target, withoutMemory(placement), plane.counts, moment);
    assert.ok(Buffer.from(planned.image).equals(Buffer.from(fresh.image)), 'the image is that from scratch');
    assert.deepEqual(withoutMemory(planned.placement), withoutMemory(fresh.placement));
    if (planned.placement.made?.roster === placement.made?.roster) goneOn++;
    // Some changes a data plane does not take: then nothing has happened.
    if (below(8) === 0) return;
    nowMs += 300;
    generation = plane.commit(planned.image);
    placement = planned.placement;
  }

  return { step, goneOn: () => goneOn };
}

for (const seed of SEEDS) {
  test(`an image that goes on from the last one has the octets of one from scratch (seed ${seed})`, () => {
    const walk = openWalk(seed);
    for (let step = 0; step < STEPS; step++) {
      try {
        walk.step();
      } catch (error) {
        throw new Error(`seed ${seed}, step ${step}`, { cause: error });
      }
    }
    assert.ok(walk.goneOn() > STEPS / 10, `${walk.goneOn()} images went on from the last one`);
  });
}
