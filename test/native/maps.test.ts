// Regions of BPF maps: they live and are adopted as files do, and what is in one moves to the other.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { loadAddon } from '../../src/native/addon.ts';
import { layout, reasons, sections } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { readFlowCounts, readReasons, readTraffic } from '../../src/plane/counters.ts';
import { readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import { openLeftPlane, openPlane, openReadPlane } from '../../src/plane/native-plane.ts';
import type { Plane, SectionName } from '../../src/plane/plane.ts';
import type { RegionPlace } from '../../src/plane/region-place.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { writeFlow } from '../plane/flow-writer.ts';
import { configOf, targetOf, WEB } from '../plane/targets.ts';
import { makeFolder, mountBpffs, whyNoMaps } from './bpffs.ts';

const addon = loadAddon();
const counts = smallCounts(4096, 1);
const skip = whyNoMaps();

const mapsIn = (folder: string): RegionPlace => ({ backing: 'maps', path: join(folder, 'region') });

function open(t: TestContext, place: RegionPlace, workers = 1, flows = 4096): Plane {
  const plane = openPlane(addon, place, smallCounts(flows, workers), workers);
  t.after(() => plane.close());
  return plane;
}

function commitWeb(plane: Plane): number {
  const moment = { generation: readHeader(plane).generation, nowMs: 0 };
  return plane.commit(planImage(targetOf(configOf(WEB)), readPlacement(plane), plane.counts, moment).image);
}

/** As if another version had made it, which has laid out these otherwise. */
function makeForeign(plane: Plane, unlike: readonly SectionName[]): void {
  const header = new DataView(plane.section('header'));
  header.setBigUint64(layout.fl_header.layout_hash, 1n, true);
  for (const name of unlike) {
    const at = layout.fl_header.place + sections[name].index * layout.fl_place.octets + layout.fl_place.shape;
    header.setBigUint64(at, 1n, true);
  }
}

describe('a region of maps', { skip }, () => {
  test('is a directory with a map for each section, in the sizes that were asked for', (t) => {
    const place = mapsIn(mountBpffs(t));
    const plane = open(t, place);
    assert.equal(plane.outcome, 'created');
    assert.deepEqual(readdirSync(place.path).toSorted(), Object.keys(sections).toSorted());
    assert.deepEqual(plane.counts, counts);
    assert.equal(readHeader(plane).workers, 1);
  });

  test('is adopted by the next with everything in it', (t) => {
    const place = mapsIn(mountBpffs(t));
    const first = open(t, place);
    commitWeb(first);
    writeFlow(first, { index: 3, client: '198.51.100.7', clientPort: 40_000 });
    first.close();
    const second = open(t, place);
    assert.deepEqual([second.outcome, readHeader(second).generation], ['adopted', 1]);
    assert.deepEqual(
      [...readFlows(second, {})].flat().map(({ client }) => client.text),
      ['198.51.100.7'],
    );
    assert.equal(readPlacement(second).servers.length, 2);
  });

  test('is not opened by two at once, and the second is told what to do', (t) => {
    const place = mapsIn(mountBpffs(t));
    const first = open(t, place);
    assert.throws(
      () => open(t, place),
      /another fairlead works on the region .*: end it, or give this one another name/,
    );
    assert.equal(commitWeb(first), 1);
  });

  test('of other sizes is set aside beside the new one, once', (t) => {
    const place = mapsIn(mountBpffs(t));
    open(t, place).close();
    for (const flows of [8192, 16_384]) {
      const next = open(t, place, 1, flows);
      assert.equal(next.outcome, 'set-aside');
      assert.equal(next.counts.flows, flows);
      next.close();
    }
    assert.equal(openReadPlane(addon, { backing: 'maps', path: `${place.path}_old` }).counts.flows, 8192);
  });

  test('of another version is carried over as far as it is alike: flows live on, counts begin anew', (t) => {
    const place = mapsIn(mountBpffs(t));
    const first = open(t, place);
    commitWeb(first);
    writeFlow(first, { index: 3, client: '198.51.100.7', clientPort: 40_000 });
    makeForeign(first, ['workers', 'hops']);
    first.close();
    const second = open(t, place);
    assert.equal(second.outcome, 'set-aside');
    const left = openLeftPlane(addon, { backing: 'maps', path: `${place.path}_old` });
    assert.deepEqual([left.counts.workers, left.counts.hops, left.counts.flows], [0, 0, 4096]);
    second.takeFrom(left);
    left.close();
    assert.deepEqual(
      [...readFlows(second, {})].flat().map(({ client }) => client.text),
      ['198.51.100.7'],
    );
    assert.equal(readPlacement(second).servers.length, 2);
    assert.equal(commitWeb(second), 2);
  });

  test('whose flows another version has laid out otherwise is not taken over', (t) => {
    const place = mapsIn(mountBpffs(t));
    const first = open(t, place);
    makeForeign(first, ['flows']);
    first.close();
    assert.throws(() => openLeftPlane(addon, place), /region is of another version, with another layout of its flows/);
  });

  test('is read while the first works on it, and only read', (t) => {
    const place = mapsIn(mountBpffs(t));
    const first = open(t, place);
    const reader = openReadPlane(addon, place);
    t.after(() => reader.close());
    commitWeb(first);
    assert.deepEqual([readHeader(reader).generation, reader.counts, reader.kind], [1, counts, 'kernel']);
    assert.throws(() => reader.commit(new ArrayBuffer(0)), /opened for reading/);
    assert.throws(() => reader.start([{ name: 'lo', by: 'tc' }]), /opened for reading/);
  });

  test('that is no region is not read as one, and not overwritten', (t) => {
    const folder = mountBpffs(t);
    const place = mapsIn(folder);
    assert.throws(() => openReadPlane(addon, place), /region: No such file or directory/);
    const plane = open(t, place);
    plane.close();
    spawnSync('rm', [join(place.path, 'flows')]);
    assert.throws(() => openReadPlane(addon, place), /is not a region of this version's layout/);
    assert.equal(open(t, place).outcome, 'set-aside');
  });

  test('is removed with all that is pinned in it; nothing there is no failure', (t) => {
    const place = mapsIn(mountBpffs(t));
    open(t, place).close();
    addon.remove(place.path);
    assert.equal(existsSync(place.path), false);
    addon.remove(place.path);
    assert.equal(open(t, place).outcome, 'created');
  });

  test('is not made outside a bpffs, and nothing is left of the try', (t) => {
    const folder = makeFolder(t);
    assert.throws(() => open(t, mapsIn(folder)), /cannot pin a map/);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('that the machine has no memory for is refused, and nothing is left of the try', (t) => {
    const folder = mountBpffs(t);
    const huge = { ...counts, flows: 0x7ffffff8, flows6: 8 };
    assert.throws(() => openPlane(addon, mapsIn(folder), huge, 1), /lower flows/);
    assert.equal(existsSync(mapsIn(folder).path), false);
  });

  test('flips its halves with each commit', (t) => {
    const plane = open(t, mapsIn(mountBpffs(t)));
    const halves = [1, 2, 3].map((generation) => {
      assert.equal(commitWeb(plane), generation);
      assert.equal(activeHalfOf(plane, 'settings').getUint32(layout.fl_settings.is_active, true), 1);
      return readHeader(plane).activeHalf;
    });
    assert.deepEqual(halves, [1, 0, 1]);
  });

  test('waits with a commit for who still decides by the half it wants, and gives up in words', (t) => {
    const plane = open(t, mapsIn(mountBpffs(t)));
    commitWeb(plane);
    // half_in_use, behind the reasons: 1 + the half.
    const worker = new DataView(plane.section('workers'));
    const before = Buffer.from(plane.section('settings')).toString('hex');
    worker.setUint32(8 * reasons.length, 1, true);
    const startedMs = performance.now();
    assert.throws(() => commitWeb(plane), /worker 0 has not left the old configuration for 2 s/);
    assert.ok(performance.now() - startedMs > 1900);
    assert.deepEqual([readHeader(plane).generation, readHeader(plane).activeHalf], [1, 1]);
    assert.equal(Buffer.from(plane.section('settings')).toString('hex'), before);
    worker.setUint32(8 * reasons.length, 2, true);
    assert.equal(commitWeb(plane), 2);
  });
});

describe('a bpffs', { skip }, () => {
  test('is told from another file system, and mounted only by who says so', (t) => {
    const folder = join(makeFolder(t), 'run', 'bpf');
    assert.throws(() => addon.bpffs(folder, false), new RegExp(`${folder} is no bpffs`));
    assert.equal(existsSync(folder), false);
    addon.bpffs(folder, true);
    addon.bpffs(folder, false);
    addon.bpffs(folder, true);
    assert.equal(spawnSync('umount', [folder]).status, 0);
    assert.throws(() => addon.bpffs(folder, false), /is no bpffs/, 'it was mounted twice');
  });

  test('that cannot be mounted is an error that names the place', (t) => {
    const file = join(makeFolder(t), 'file');
    writeFileSync(file, '');
    assert.throws(() => addon.bpffs(file, true), new RegExp(`no bpffs can be mounted on ${file}: Not a directory`));
  });
});

describe('what a region holds', { skip }, () => {
  /** As two workers would have left it: a flow of each family, and counts of both. */
  function fill(plane: Plane): void {
    commitWeb(plane);
    writeFlow(plane, { index: 3, client: '198.51.100.7', clientPort: 40_000, serverSlot: 1 });
    writeFlow(plane, {
      index: 4000,
      client: '2001:db8::7',
      clientPort: 40_001,
      vip: '2001:db8::1',
      server: 'fd00::11',
    });
    new BigUint64Array(plane.section('hops'))[1] = 0x0101_1100_0000_0002n;
    for (let worker = 0; worker < plane.workers; worker++) {
      const reason = worker * layout.fl_worker.octets + layout.fl_worker.reasons + 8;
      new DataView(plane.section('workers')).setBigUint64(reason, 100n + BigInt(worker), true);
      const traffic = (worker * plane.counts.servers + 1) * layout.fl_traffic.octets;
      new DataView(plane.section('traffic')).setBigUint64(traffic + layout.fl_traffic.in_frames, 10n, true);
    }
  }

  /** Not the settings: where the active half of each section begins is another half's matter after a move. */
  const WHOLE: readonly SectionName[] = ['services', 'servers', 'tables', 'vips', 'listens', 'hops', 'flows'];

  function contents(plane: Plane) {
    const octets = (name: SectionName): string => {
      const view = activeHalfOf(plane, name);
      return createHash('sha256').update(view).digest('hex');
    };
    return {
      flows: [...readFlows(plane, {})]
        .flat()
        .map(({ client, server, serverSlot }) => [client.text, server.text, serverSlot]),
      counts: [readFlowCounts(plane, 1).active, readReasons(plane)[1]?.count, readTraffic(plane, 1).inFrames],
      generation: readHeader(plane).generation,
      placement: readPlacement(plane),
      octets: WHOLE.map(octets),
      seed: Buffer.from(plane.section('header'), layout.fl_header.seed, 24).toString('hex'),
    };
  }

  test('moves from a file to maps and back, to another number of workers, with nothing lost', (t) => {
    const folder = mountBpffs(t);
    const files = makeFolder(t);
    const first = open(t, { backing: 'file', path: join(files, 'first') }, 2);
    fill(first);
    const before = contents(first);
    assert.deepEqual(before.counts, [0, 201, 20]);
    const maps = open(t, mapsIn(folder), 5);
    maps.takeFrom(first);
    // Flows are counted anew, from the table.
    assert.deepEqual(contents(maps), { ...before, counts: [1, 201, 20] });
    assert.equal(commitWeb(maps), 2);
    const last = open(t, { backing: 'file', path: join(files, 'last') }, 1);
    last.takeFrom(maps);
    assert.deepEqual(contents(last).flows, before.flows);
    assert.deepEqual([contents(last).generation, contents(last).counts], [2, [1, 201, 20]]);
    assert.equal(commitWeb(last), 3);
  });

  test('is frozen where it was, until it goes on there after all', (t) => {
    const first = open(t, { backing: 'file', path: join(makeFolder(t), 'first') });
    fill(first);
    const activity = (plane: Plane): number =>
      activeHalfOf(plane, 'settings').getUint32(layout.fl_settings.is_active, true);
    const maps = open(t, mapsIn(mountBpffs(t)));
    maps.takeFrom(first);
    assert.deepEqual([activity(first), activity(maps)], [2, 1]);
    first.resume();
    assert.equal(activity(first), 1);
    assert.equal(commitWeb(first), 2);
  });

  test('moves into a table of another size, each flow to its place there', (t) => {
    const first = open(t, { backing: 'file', path: join(makeFolder(t), 'first') });
    fill(first);
    const { flows, placement } = contents(first);
    const maps = open(t, mapsIn(mountBpffs(t)), 1, 8192);
    maps.takeFrom(first);
    // In a table of another size they lie in another order.
    const inOrder = (list: readonly unknown[]): string[] => list.map((flow) => JSON.stringify(flow)).toSorted();
    assert.deepEqual(inOrder(contents(maps).flows), inOrder(flows));
    assert.deepEqual(contents(maps).placement, placement);
    assert.equal(commitWeb(maps), 2);
  });
});
