// What every plane owes its users, whatever it is made of.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layout, sections } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import {
  countFlows,
  readFlowCounts,
  readHop,
  readReasons,
  readTraffic,
  readWorkers,
} from '../../src/plane/counters.ts';
import { readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { ImageWriter } from '../../src/plane/image-writer.ts';
import { emptyPlacement } from '../../src/plane/placement.ts';
import type { Plane, SectionName } from '../../src/plane/plane.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { configOf, targetOf, WEB } from './targets.ts';
import { counts, planeMakers, workers } from './planes.ts';

for (const maker of planeMakers) {
  const make = (): Plane => maker.make();
  describe(`the ${maker.name} plane`, () => {
    const open = (t: { after(run: () => void): void }): Plane => {
      const plane = make();
      t.after(() => plane.close());
      return plane;
    };

    test('has every section in the size that was asked for', (t) => {
      const plane = open(t);
      for (const [section, { element, halves }] of Object.entries(sections)) {
        const octets = counts[section as SectionName] * element * halves;
        assert.equal(plane.section(section as SectionName).byteLength, octets, section);
      }
      const header = readHeader(plane);
      assert.equal(header.generation, 0);
      assert.equal(header.buckets, counts.tags);
      assert.equal(header.workers, workers);
      assert.ok(Math.abs(header.createdMs - Date.now()) < 60_000);
    });

    test('shows what was committed, and counts the commits', (t) => {
      const plane = open(t);
      const first = commitWeb(plane);
      assert.equal(first, 1);
      assert.equal(readHeader(plane).generation, 1);
      const half = readHeader(plane).activeHalf;
      assert.equal(commitWeb(plane), 2);
      assert.equal(readHeader(plane).activeHalf, 1 - half);
      assert.equal(activeHalfOf(plane, 'settings').getUint32(layout.fl_settings.is_active, true), 1);
    });

    test('says in the settings where the active half of each section begins', (t) => {
      const plane = open(t);
      for (let i = 0; i < 3; i++) {
        commitWeb(plane);
        const half = readHeader(plane).activeHalf;
        const settings = activeHalfOf(plane, 'settings');
        for (const section of ['vips', 'listens', 'services', 'servers', 'interfaces'] as const) {
          const at = layout.fl_settings.first + 4 * sections[section].index;
          assert.equal(settings.getUint32(at, true), half * counts[section], section);
        }
      }
    });

    test('changes nothing when one block of an image does not fit', (t) => {
      const plane = open(t);
      commitWeb(plane);
      const before = snapshot(plane);
      const writer = new ImageWriter();
      writer.block('settings', 1);
      writer.block('tables', 4, 0).setUint32(0, 77, true);
      writer.block('servers', 1, counts.servers);
      assert.throws(() => plane.commit(writer.finish()), Error);
      assert.deepEqual(snapshot(plane), before);
    });

    test('takes no image that writes live state or names no section', (t) => {
      const plane = open(t);
      for (const section of ['flows', 'header', 'workers'] as const) {
        const writer = new ImageWriter();
        writer.block(section, 1);
        assert.throws(() => plane.commit(writer.finish()), Error, section);
      }
      const unknown = new Uint32Array([99, 0, 0, 0]);
      assert.throws(() => plane.commit(unknown.buffer), Error);
      assert.throws(() => plane.commit(new Uint8Array(12).buffer), Error);
      assert.equal(readHeader(plane).generation, 0);
    });

    test('gives its placement back to a successor', (t) => {
      const plane = open(t);
      assert.deepEqual(readPlacement(plane), emptyPlacement(counts.tables));
      commitWeb(plane);
      assert.equal(readPlacement(plane).servers.length, 2);
      assert.equal(readPlacement(plane).tables.size, 1);
    });

    test('forgets what a slot counted and where it sent when it goes to another server', (t) => {
      const plane = open(t);
      commitWeb(plane);
      const other = WEB.replace('10.0.1.12', '10.0.1.13');
      const count = (): void => {
        new Uint8Array(plane.section('server_state')).fill(1);
        new Uint8Array(plane.section('traffic')).fill(1);
        new Uint8Array(plane.section('hops')).fill(1);
      };
      commitServices(plane, WEB.replace(/^.*10\.0\.1\.12.*\n/m, ''));
      // What a worker that is still in the former half counts for the former server.
      count();
      commitServices(plane, other);
      assert.equal(readFlowCounts(plane, 0).active, 0x01010101);
      assert.notEqual(readHop(plane, 0), null);
      assert.deepEqual(readFlowCounts(plane, 1), { active: 0, inactive: 0, total: 0 });
      assert.deepEqual(readTraffic(plane, 1), { inFrames: 0, inOctets: 0, outFrames: 0, outOctets: 0 });
      assert.equal(readHop(plane, 1), null);
    });

    test('starts with every counter at zero and no flow', (t) => {
      const plane = open(t);
      commitWeb(plane);
      assert.ok(readReasons(plane).every(({ count }) => count === 0));
      assert.equal(readWorkers(plane).length, workers);
      assert.deepEqual(readTraffic(plane, 0), { inFrames: 0, inOctets: 0, outFrames: 0, outOctets: 0 });
      assert.deepEqual(readFlowCounts(plane, 0), { active: 0, inactive: 0, total: 0 });
      assert.equal(readHop(plane, 0), null);
      assert.equal(countFlows(plane), 0);
      assert.deepEqual([...readFlows(plane, {})].flat(), []);
    });

    test('gives nobody its memory once it is closed', () => {
      const plane = make();
      const flows = readFlows(plane, {});
      plane.close();
      assert.throws(() => plane.section('header'), TypeError);
      assert.throws(() => flows.next(), TypeError);
    });
  });
}

function commitWeb(plane: Plane): number {
  return commitServices(plane, WEB);
}

function commitServices(plane: Plane, services: string): number {
  const moment = { generation: readHeader(plane).generation, nowMs: 0 };
  return plane.commit(planImage(targetOf(configOf(services)), readPlacement(plane), plane.counts, moment).image);
}

function snapshot(plane: Plane): Record<string, string> {
  const names: readonly SectionName[] = ['header', 'settings', 'servers', 'services', 'tables', 'vips', 'listens'];
  return Object.fromEntries(names.map((name) => [name, Buffer.from(plane.section(name)).toString('base64')]));
}
