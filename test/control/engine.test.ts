// The engine's life over the fake platform: what is opened, moved and removed, in which order. The calls tell.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FairleadError } from '../../src/base/errors.ts';
import type { Config } from '../../src/config/config.ts';
import { type Engine, openEngine } from '../../src/control/engine.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { countFlows } from '../../src/plane/counters.ts';
import { planImage } from '../../src/plane/image.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import type { Plane } from '../../src/plane/plane.ts';
import { placeOfRegion } from '../../src/plane/region-place.ts';
import { readHeader } from '../../src/plane/sections.ts';
import { makeFakePlatform } from '../cli/fake-platform.ts';
import { writeFlow } from '../plane/flow-writer.ts';
import { configOf, targetOf, WEB } from '../plane/targets.ts';
import { makeFakeLog } from './fakes.ts';

const FILE = placeOfRegion('fairlead', 'file', '/sys/fs/bpf');
const MAPS = placeOfRegion('fairlead', 'maps', '/sys/fs/bpf');

function configFor(engine: Config['engine'], head = 'flows: 4096'): Config {
  return configOf(WEB, `engine: ${engine}\nworkers: 1\n${head}`);
}

function setUp() {
  const platform = makeFakePlatform();
  const { log, lines } = makeFakeLog();
  return {
    platform,
    open: (config: Config): Engine =>
      openEngine(config, { platform, log, workersOf: ({ workers }) => Number(workers) }),
    said: (): string => lines.map(({ msg }) => msg).join('\n'),
    /** What has happened since last asked. */
    calls: (): string[] => platform.calls.splice(0),
  };
}

/** As the controller does at the start: the services are in, and one client is being served. */
function serve(plane: Plane): void {
  const moment = { generation: 0, nowMs: 0 };
  plane.commit(planImage(targetOf(configOf(WEB)), readPlacement(plane), plane.counts, moment).image);
  writeFlow(plane, { index: 3, client: '198.51.100.7', clientPort: 40_000 });
  new Uint32Array(plane.section('server_state'))[0] = 1;
}

const attached = (engine: Engine): string => engine.state().attached.join('/');

describe('an engine that starts', () => {
  test('is the configured one, over a region of its kind', () => {
    const { platform, open, calls } = setUp();
    const packet = open(configFor('packet'));
    assert.deepEqual(calls(), ['file created', 'file start eth0:packet eth1:packet']);
    assert.deepEqual([packet.state().why, packet.plane.workers], ['configured', 1]);
    packet.end(false);
    assert.deepEqual(calls(), ['file stop', 'file close', 'file removed']);
    const tc = open(configFor('tc'));
    assert.deepEqual(calls(), ['maps created', 'maps start eth0:tc eth1:tc']);
    assert.deepEqual(tc.state().place, MAPS);
    // Programs count by processor, and the slow path has one more.
    assert.equal(tc.plane.workers, platform.processors + 1);
    assert.equal(tc.state().isInherited, false);
  });

  test('goes from xdp to tc to packet, and a warning says why each was not to be had', () => {
    const { platform, open, said, calls } = setUp();
    platform.drivers = { eth0: 'mlx5_core', eth1: 'mlx5_core' };
    platform.refused.set('xdp', new Error('no room for more queues'));
    platform.refused.set('tc', new Error('the verifier refused fairlead_tc'));
    const engine = open(configFor('auto'));
    assert.equal(attached(engine), 'packet/packet');
    assert.deepEqual(calls(), [
      ...['maps created', 'maps stop', 'maps close', 'maps removed'],
      ...['maps created', 'maps stop', 'maps close', 'maps removed'],
      ...['file created', 'file start eth0:packet eth1:packet'],
    ]);
    assert.match(said(), /^xdp cannot be had here: no room for more queues; trying tc$/m);
    assert.match(said(), /^tc cannot be had here: the verifier refused fairlead_tc; trying packet$/m);
    assert.match(engine.state().why, /\(tc was refused: the verifier refused fairlead_tc\)$/);
    assert.deepEqual(platform.regions(), [FILE.path]);
  });

  test('is tc when xdp by choice would not be in the driver', () => {
    const { platform, open, said } = setUp();
    platform.drivers = { eth0: 'ice', eth1: 'ice' };
    platform.withoutXdp.add('eth1');
    const engine = open(configFor('auto'));
    assert.equal(attached(engine), 'tc/tc');
    assert.match(said(), /the interfaces take xdp on eth0 and xdp-generic on eth1 only; trying tc$/m);
    assert.match(engine.state().why, /^auto: the driver does not take XDP as it is set up \(xdp was refused: /);
  });

  test('is generic when xdp was asked for and the driver has none, with a warning', () => {
    const { platform, open, said } = setUp();
    platform.withoutXdp.add('eth0');
    assert.equal(attached(open(configFor('xdp'))), 'xdp-generic/xdp');
    assert.match(said(), /the driver has no XDP: it runs in the generic mode/);
  });

  test('is packet where no bpffs can be mounted', () => {
    const { platform, open, said } = setUp();
    platform.mountFails = new FairleadError('failed', 'no bpffs can be mounted on /sys/fs/bpf');
    assert.equal(attached(open(configFor('auto'))), 'packet/packet');
    assert.match(said(), /^tc cannot be had here: no bpffs can be mounted on/m);
  });

  test('leaves nothing behind when what is configured cannot be had', () => {
    const { platform, open, calls } = setUp();
    platform.refused.set('xdp-generic', new Error('the verifier refused fairlead_xdp'));
    assert.throws(() => open(configFor('xdp-generic')), /the verifier refused fairlead_xdp/);
    assert.deepEqual(calls(), ['maps created', 'maps stop', 'maps close', 'maps removed']);
    assert.deepEqual(platform.regions(), []);
  });

  test('starts again after a failure on what it was on', () => {
    const { open, calls } = setUp();
    const engine = open(configFor('tc'));
    calls();
    engine.restart();
    assert.deepEqual(calls(), ['maps stop and keep', 'maps start eth0:tc eth1:tc']);
  });
});

describe('what a predecessor left', () => {
  function leave(made: ReturnType<typeof setUp>, config: Config): void {
    const former = made.open(config);
    serve(former.plane);
    former.end(true);
    made.calls();
  }

  test('of the same kind is adopted, and goes on if it was frozen', () => {
    const made = setUp();
    leave(made, configFor('xdp'));
    const engine = made.open(configFor('tc'));
    assert.deepEqual(made.calls(), ['maps adopted', 'maps goes on', 'maps start eth0:tc eth1:tc']);
    assert.equal(countFlows(engine.plane), 1);
    assert.equal(engine.state().isInherited, true);
  });

  for (const { from, to, kinds } of [
    { from: 'packet', to: 'tc', kinds: ['file', 'maps'] },
    { from: 'tc', to: 'packet', kinds: ['maps', 'file'] },
  ] as const) {
    test(`of ${from} is taken over by ${to}, and then taken off the interfaces and removed`, () => {
      const made = setUp();
      leave(made, configFor(from));
      const engine = made.open(configFor(to));
      const [old, now] = kinds;
      assert.deepEqual(made.calls(), [
        `${now} created`,
        `${old} adopted`,
        `${now} takes from ${old}`,
        `${now} start eth0:${to} eth1:${to}`,
        `${old} detach eth0 eth1`,
        `${old} close`,
        `${old} removed`,
      ]);
      assert.equal(countFlows(engine.plane), 1);
      assert.equal(readHeader(engine.plane).generation, 1);
      assert.deepEqual(made.platform.regions(), [now === 'file' ? FILE.path : MAPS.path]);
      assert.equal(engine.state().isInherited, true);
      assert.match(made.said(), new RegExp(`took over what the region ${old === 'file' ? FILE.path : MAPS.path} held`));
    });
  }

  test('is taken over whatever number of workers it had', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    const engine = made.open({ ...configFor('tc'), workers: 7 });
    assert.equal(countFlows(engine.plane), 1);
  });

  test('is taken off the interfaces it was on, not off those that are configured now', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    const links = made.platform.host.links.map((link) => ({ ...link, name: `${link.name}-old` }));
    made.platform.host = { ...made.platform.host, links };
    made.open(configFor('tc'));
    assert.ok(made.calls().includes('file detach eth0-old eth1-old'));
  });

  test('with a table of another size is taken over too', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    const engine = made.open(configFor('tc', 'flows: 8192'));
    assert.deepEqual(made.calls(), [
      ...['maps created', 'file adopted', 'maps takes from file', 'maps start eth0:tc eth1:tc'],
      ...['file detach eth0 eth1', 'file close', 'file removed'],
    ]);
    assert.equal(engine.state().isInherited, true);
    assert.match(made.said(), /took over what the region \/dev\/shm\/fairlead\.fairlead held: 1 flow/);
  });

  test('of the same kind in other sizes is set aside, carried over and removed', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    const engine = made.open(configFor('packet', 'flows: 8192'));
    assert.deepEqual(made.calls(), [
      ...['file set-aside', 'file adopted', 'file takes from file', 'file start eth0:packet eth1:packet'],
      ...['file detach eth0 eth1', 'file close', 'file removed'],
    ]);
    assert.deepEqual(made.platform.regions(), ['/dev/shm/fairlead.fairlead']);
    assert.equal(countFlows(engine.plane), 1);
  });

  test('in other sizes is put back when the engine does not start', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    made.platform.refused.set('packet', new Error('no room for a ring'));
    assert.throws(() => made.open(configFor('packet', 'flows: 8192')), /no room for a ring/);
    made.platform.refused.clear();
    assert.equal(countFlows(made.open(configFor('packet')).plane), 1);
    assert.deepEqual(made.platform.regions(), ['/dev/shm/fairlead.fairlead']);
  });

  test('and does not fit stays set aside, with a warning that says what is lost', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    made.platform.doesNotFit = new Error('the new region has room for fewer vips');
    const engine = made.open(configFor('packet', 'flows: 8192'));
    assert.equal(engine.state().isInherited, false);
    assert.deepEqual(made.platform.regions().toSorted(), [
      '/dev/shm/fairlead.fairlead',
      '/dev/shm/fairlead.fairlead.old',
    ]);
    assert.match(
      made.said(),
      /fairlead\.old: the new region has room for fewer vips; its connections \(1 flow\) are lost/,
    );
  });

  test('by another version whose flows are laid out otherwise stays set aside, and it is said what is lost', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    made.platform.isUnlike = true;
    const engine = made.open(configFor('packet', 'flows: 8192'));
    assert.equal(engine.state().isInherited, false);
    assert.ok(made.platform.regions().includes('/dev/shm/fairlead.fairlead.old'));
    assert.match(made.said(), /fairlead\.old is of another version, with another layout of its flows/);
  });

  test('by another version for another kind of engine is removed once the wanted one is at work', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    made.platform.isUnlike = true;
    made.open(configFor('tc'));
    assert.deepEqual(made.calls(), ['maps created', 'maps start eth0:tc eth1:tc', 'file removed']);
    assert.match(made.said(), /fairlead is of another version, with another layout of its flows/);
  });

  test('stays and goes on when the engine does not start', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    made.platform.refused.set('tc', new Error('no tc'));
    assert.throws(() => made.open(configFor('tc')), /no tc/);
    assert.deepEqual(made.calls(), [
      ...['maps created', 'file adopted', 'maps takes from file'],
      ...['file goes on', 'file close', 'maps stop', 'maps close', 'maps removed'],
    ]);
    assert.equal(countFlows(made.open(configFor('packet')).plane), 1);
  });

  test('in both kinds by a death in the middle of a switch is the wanted one’s, and the other goes', () => {
    const made = setUp();
    leave(made, configFor('packet'));
    const maps = made.platform.openPlane(MAPS, smallCounts(4096, 3), 3);
    serve(maps);
    maps.close();
    made.calls();
    made.open(configFor('packet'));
    assert.deepEqual(made.calls(), [
      ...['file adopted', 'maps adopted', 'file goes on', 'file start eth0:packet eth1:packet'],
      ...['maps detach eth0 eth1', 'maps close', 'maps removed'],
    ]);
  });

  test('and is still in use refuses the start, of either kind, and nothing is made', () => {
    for (const engine of ['tc', 'packet', 'auto'] as const) {
      const made = setUp();
      const first = made.open(configFor('packet'));
      made.calls();
      assert.throws(() => made.open(configFor(engine)), { code: 'refused', message: /another fairlead works on/ });
      assert.deepEqual(made.platform.regions(), [FILE.path]);
      assert.doesNotMatch(made.said(), /cannot be had/);
      assert.equal(readHeader(first.plane).generation, 0);
    }
  });
});

describe('a configuration with another engine', () => {
  test('moves what the region holds from a file to maps and back, and flows go on', () => {
    const { platform, open, calls, said } = setUp();
    const engine = open(configFor('packet'));
    serve(engine.plane);
    calls();
    engine.follow(configFor('tc'));
    assert.deepEqual(calls(), [
      ...['maps created', 'maps takes from file', 'maps start eth0:tc eth1:tc'],
      ...['file stop', 'file detach ', 'file close', 'file removed'],
    ]);
    assert.match(said(), /^the engine is tc now, it was packet; flows go on$/m);
    assert.deepEqual([engine.plane.kind, countFlows(engine.plane)], ['kernel', 1]);
    assert.deepEqual(engine.state().place, MAPS);
    engine.follow(configFor('packet'));
    assert.deepEqual([engine.plane.kind, countFlows(engine.plane)], ['packet', 1]);
    assert.deepEqual(platform.regions(), [FILE.path]);
  });

  test('keeps the region between tc and xdp', () => {
    const { platform, open, calls } = setUp();
    const engine = open(configFor('tc'));
    serve(engine.plane);
    calls();
    engine.follow(configFor('xdp'));
    assert.deepEqual(calls(), ['maps stop and keep', 'maps start eth0:xdp eth1:xdp']);
    assert.deepEqual([attached(engine), countFlows(engine.plane)], ['xdp/xdp', 1]);
    assert.deepEqual(platform.regions(), [MAPS.path]);
  });

  test('that is the same again disturbs nobody, also where xdp turned out to be generic', () => {
    const { platform, open, calls } = setUp();
    platform.withoutXdp.add('eth0').add('eth1');
    const engine = open(configFor('xdp'));
    calls();
    engine.follow(configFor('xdp'));
    assert.deepEqual(calls(), []);
  });

  test('that is at work already only changes the why', () => {
    const { open, calls, said } = setUp();
    const engine = open(configFor('auto'));
    calls();
    engine.follow(configFor('tc'));
    assert.deepEqual(calls(), []);
    assert.equal(engine.state().why, 'configured');
    assert.doesNotMatch(said(), /the engine is/);
  });

  test('that leaves the choice gets what is best here, and not what is at work', () => {
    const { open } = setUp();
    const engine = open(configFor('packet'));
    serve(engine.plane);
    engine.follow(configFor('auto'));
    assert.equal(attached(engine), 'tc/tc');
  });

  test('is refused when the new engine does not start, and the one before goes on in its region', () => {
    const { platform, open, calls } = setUp();
    const engine = open(configFor('packet'));
    serve(engine.plane);
    calls();
    platform.refused.set('tc', new Error('the verifier refused fairlead_tc'));
    assert.throws(() => engine.follow(configFor('tc')), /the verifier refused fairlead_tc/);
    assert.deepEqual(calls(), [
      ...['maps created', 'maps takes from file'],
      ...['file goes on', 'maps stop', 'maps close', 'maps removed'],
    ]);
    assert.deepEqual([attached(engine), engine.plane.kind, countFlows(engine.plane)], ['packet/packet', 'packet', 1]);
    assert.deepEqual(platform.regions(), [FILE.path]);
  });

  test('is refused when the programs cannot change places, and those before are back', () => {
    const { platform, open, calls } = setUp();
    const engine = open(configFor('tc'));
    serve(engine.plane);
    calls();
    platform.refused.set('xdp', new Error('eth0 carries another’s XDP program'));
    assert.throws(() => engine.follow(configFor('xdp')), /carries another’s XDP program/);
    assert.deepEqual(calls(), ['maps stop and keep', 'maps start eth0:tc eth1:tc']);
    assert.deepEqual([attached(engine), engine.state().why], ['tc/tc', 'configured']);
  });

  test('moves into a region of the sizes there are, whatever the configuration would make today', () => {
    const { open, platform } = setUp();
    const many = Array.from({ length: 5000 }, (_, i) => `s${i}: 10.7.${i >> 8}.${i & 255}`);
    const big = configOf(
      Array.from(
        { length: 4 },
        (_, i) => `  s${i}: { listen: 203.0.113.1${i}:80/tcp, method: nat, servers: { ${many.join(', ')} } }\n`,
      ).join(''),
      'engine: packet\nworkers: 1\nflows: 4096',
    );
    const engine = open(big);
    const { servers } = engine.plane.counts;
    engine.follow(configFor('tc'));
    assert.ok(servers > 16_384);
    assert.equal(engine.plane.counts.servers, servers);
    assert.equal(engine.plane.counts.traffic, servers * (platform.processors + 1));
  });

  test('finds who listens still listening', () => {
    const { open, platform } = setUp();
    const engine = open(configFor('packet'));
    serve(engine.plane);
    let links = 0;
    engine.plane.watch(({ link }) => void (links += link ? 1 : 0));
    platform.planes[0]!.emit({ link: true });
    engine.follow(configFor('tc'));
    platform.planes[1]!.emit({ link: true });
    assert.equal(links, 2);
  });
});
