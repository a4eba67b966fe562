// Misuse of the native boundary: every wrong call is an error in words, and what was open goes on working.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '../../src/base/errors.ts';
import { type Addon, loadAddon } from '../../src/native/addon.ts';
import { constants, sections } from '../../src/native/layout.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import { makeReplayPlane, openPlane, openReadPlane } from '../../src/plane/native-plane.ts';
import type { Plane, SectionCounts, SectionName } from '../../src/plane/plane.ts';
import { readHeader } from '../../src/plane/sections.ts';

const addon = loadAddon();
const counts = smallCounts(4096, 1);
const NAMES = Object.keys(sections) as SectionName[];

function sizes(): Float64Array {
  return Float64Array.from(NAMES, (name) => counts[name]);
}

function openMemory(t: TestContext): unknown {
  const [handle] = addon.open(constants.openMemory, '', sizes(), 1);
  t.after(() => {
    try {
      addon.close(handle);
    } catch {
      // The test closed it.
    }
  });
  return handle;
}

function openFile(path: string, sizesOf: SectionCounts = counts): Plane {
  return openPlane(addon, { backing: 'file', path }, sizesOf, 1);
}

/** The addon as a caller without types has it. */
const untyped = addon as unknown as Record<keyof Addon, (...given: unknown[]) => unknown>;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'fairlead-addon-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

describe('the native boundary', () => {
  const frame = new Uint8Array(60);
  const tc = constants.attachTc;
  const wrong: Record<string, (handle: unknown) => unknown> = {
    'open without arguments': () => untyped.open(),
    'open in no mode': () => untyped.open(9, '', sizes(), 1),
    'open with counts that are no Float64Array': () => untyped.open(0, '', [...sizes()], 1),
    'open with one count too few': () => untyped.open(0, '', sizes().subarray(1), 1),
    'open with a negative count': () => untyped.open(0, '', sizes().fill(-1), 1),
    'open with NaN for a count': () => untyped.open(0, '', sizes().fill(Number.NaN), 1),
    'open with an endless path': () => untyped.open(1, 'x'.repeat(5000), sizes(), 1),
    'memory of no section': (handle) => untyped.memory(handle, NAMES.length),
    'memory of a section by name': (handle) => untyped.memory(handle, 'flows'),
    'memory of no handle': () => untyped.memory({}, 0),
    'memory of null': () => untyped.memory(null, 0),
    'commit of a typed array': (handle) => untyped.commit(handle, new Uint8Array(16)),
    'commit of nothing': (handle) => untyped.commit(handle),
    'start without interfaces': (handle) => untyped.start(handle, [], [], 1, -1),
    'start with a number for an interface': (handle) => untyped.start(handle, [3], [tc], 1, -1),
    'start with nine interfaces': (handle) =>
      untyped.start(handle, Array<string>(9).fill('lo'), Array<number>(9).fill(tc), 1, -1),
    'start without attachments': (handle) => untyped.start(handle, ['lo'], null, 1, -1),
    'start with an attachment too few': (handle) => untyped.start(handle, ['lo', 'lo'], [tc], 1, -1),
    'start with an attachment by name': (handle) => untyped.start(handle, ['lo'], ['tc'], 1, -1),
    'start with no attachment there is': (handle) => untyped.start(handle, ['lo'], [5], 1, -1),
    'start with an interface that is not worked on': (handle) => untyped.start(handle, ['lo'], [0], 1, -1),
    'start with rings on one interface and a program on another': (handle) =>
      untyped.start(handle, ['lo', 'lo'], [constants.attachPacket, tc], 1, -1),
    'start of programs over plain memory': (handle) => untyped.start(handle, ['lo'], [tc], 1, -1),
    'stop without saying what of the guard': (handle) => untyped.stop(handle, 'yes', ''),
    'watch without a function': (handle) => untyped.watch(handle, 'me'),
    'replay of a string': (handle) => untyped.replay(handle, 'frame', 0, 0, 0, 0),
    'replay of a frame too long': (handle) => untyped.replay(handle, new Uint8Array(70_001), 0, 0, 0, 0),
    'replay of wide numbers': (handle) => untyped.replay(handle, new Uint16Array(60), 0, 0, 0, 0),
    'replay at no time': (handle) => untyped.replay(handle, frame, 0, 0, 0, Number.NaN),
    'replay before time began': (handle) => untyped.replay(handle, frame, 0, 0, 0, -1),
    'age at a time that is text': (handle) => untyped.age(handle, 'now'),
    'replayer by name': (handle) => untyped.replayer(handle, 'tc'),
    'replayer over plain memory': (handle) => untyped.replayer(handle, true),
    'replayer of no plane': () => untyped.replayer({}, true),
    'move from nothing': (handle) => untyped.move(handle),
    'move from no plane': (handle) => untyped.move(handle, {}),
    'move to null': (handle) => untyped.move(null, handle),
    'thaw of nothing': () => untyped.thaw(),
    'thaw of no plane': () => untyped.thaw({}),
    'detach of no interface': (handle) => untyped.detach(handle, []),
    'detach of an interface alone': (handle) => untyped.detach(handle, 'lo'),
    'detach of a number': (handle) => untyped.detach(handle, [3]),
    'detach of nine interfaces': (handle) => untyped.detach(handle, Array<string>(9).fill('lo')),
    'remove of nothing': () => untyped.remove(),
    'remove of a number': () => untyped.remove(3),
    'remove of an endless path': () => untyped.remove('x'.repeat(5000)),
    'remove of a file': () => untyped.remove(import.meta.filename),
    'bpffs without saying whether to mount': () => untyped.bpffs('/'),
    'bpffs that may be mounted by text': () => untyped.bpffs('/', 'yes'),
    'bpffs at a number': () => untyped.bpffs(3, false),
    'bpffs at an endless path': () => untyped.bpffs('x'.repeat(5000), false),
    'bpffs where there is none': () => untyped.bpffs('/', false),
    'sample without saying whether': (handle) => untyped.sample(handle),
    'sample by number': (handle) => untyped.sample(handle, 1),
    'sample of no plane': () => untyped.sample({}, true),
    'samples of nothing': () => untyped.samples(),
    'samples of no plane': () => untyped.samples({}),
    'driver of nothing': () => untyped.driver(),
    'driver of a number': () => untyped.driver(3),
    'driver of an endless name': () => untyped.driver('x'.repeat(5000)),
    'inspect by name': () => untyped.inspect('links', 0),
    'notify of a number': () => untyped.notify(1),
    'close of nothing': () => untyped.close(undefined),
  };
  for (const [title, call] of Object.entries(wrong)) {
    test(`${title} is an error, and the plane goes on`, (t) => {
      const handle = openMemory(t);
      assert.throws(() => call(handle), Error);
      assert.equal(addon.commit(handle, new ArrayBuffer(0)), 1);
      assert.equal(addon.memory(handle, sections.header.index).byteLength, sections.header.element);
    });
  }

  test('a closed handle does nothing any more, and closing it twice is an error', (t) => {
    const handle = openMemory(t);
    addon.close(handle);
    const other = openMemory(t);
    const calls: (() => unknown)[] = [
      () => addon.memory(handle, 0),
      () => addon.commit(handle, new ArrayBuffer(0)),
      () => addon.start(handle, ['lo'], [tc], 1, -1),
      () => addon.stop(handle, false, ''),
      () => addon.watch(handle, () => {}),
      () => addon.replay(handle, frame, 0, 0, 0, 0),
      () => addon.age(handle, 0),
      () => addon.replayer(handle, true),
      () => addon.move(handle, other),
      () => addon.move(other, handle),
      () => addon.thaw(handle),
      () => addon.detach(handle, ['lo']),
      () => addon.sample(handle, true),
      () => addon.samples(handle),
      () => addon.close(handle),
    ];
    for (const call of calls) assert.throws(call, /an open plane is wanted here/);
  });

  test('what nobody knows is no error: an interface’s driver, samples where no program runs', (t) => {
    const handle = openMemory(t);
    assert.equal(addon.driver('nowhere'), '');
    assert.equal(addon.driver('lo'), '');
    assert.equal(addon.samples(handle).byteLength, 0);
    addon.sample(handle, true);
    assert.equal(addon.samples(handle).byteLength, 0);
    addon.detach(handle, ['nowhere']);
  });

  test('there are as many processors as Node sees, or more', () => {
    assert.ok(addon.processors() >= cpus().length, `${addon.processors()}`);
  });

  test('another external is no plane', () => {
    assert.throws(() => untyped.commit(addon, new ArrayBuffer(0)), /an open plane is wanted here/);
  });

  test('closing detaches every view that somebody still holds', (t) => {
    const handle = openMemory(t);
    const views = NAMES.map((_, section) => new Uint8Array(addon.memory(handle, section)));
    assert.ok(views.every((view) => view.byteLength > 0));
    addon.close(handle);
    assert.ok(views.every((view) => view.byteLength === 0 && view.buffer.detached));
  });

  test('a section is one buffer, however often it is asked for', (t) => {
    const handle = openMemory(t);
    assert.equal(addon.memory(handle, 3), addon.memory(handle, 3));
  });

  test('a second listener takes the first one’s place, and is listened for', async (t) => {
    const handle = openMemory(t);
    for (let i = 0; i < 3; i++) addon.watch(handle, () => {});
    const watchers = (): number =>
      readdirSync('/proc/self/task').filter((task) => readComm(task) === 'fl-watch').length;
    // A watcher that was deaf would be gone in a moment: as many turns of the event loop as that takes many times over.
    for (let turn = 0; turn < 200; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(watchers(), 1);
    }
    addon.close(handle);
    assert.equal(watchers(), 0);
  });

  test('an empty frame is a frame, and dropped as too short', (t) => {
    const plane = makeReplayPlane(counts, 1);
    t.after(() => plane.close());
    plane.commit(new ArrayBuffer(0));
    assert.equal(plane.replay(new Uint8Array(0), { interfaceId: 0, nowNs: 0 }).frame.length, 0);
  });

  test('planes that nobody closed are collected without harm', () => {
    const script = `
      const { loadAddon } = await import('${new URL('../../src/native/addon.ts', import.meta.url).href}');
      const addon = loadAddon();
      for (let i = 0; i < 50; i++) {
        const [handle] = addon.open(0, '', Float64Array.from(${JSON.stringify([...sizes()])}), 1);
        addon.memory(handle, 17);
        addon.watch(handle, () => {});
        if (i % 10 === 0) globalThis.gc();
      }
    `;
    const { status, stderr, signal } = spawnSync(process.execPath, [
      '--expose-gc',
      '--input-type=module',
      '-e',
      script,
    ]);
    assert.deepEqual({ status, signal, stderr: stderr.toString() }, { status: 0, signal: null, stderr: '' });
  });
});

function readComm(task: string): string {
  try {
    return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim();
  } catch {
    return ''; // it ended meanwhile
  }
}

describe('a region file', () => {
  test('opened for reading takes no frame, no sweep, no engine', (t) => {
    const path = join(folder(t), 'region');
    openFile(path).close();
    const [handle] = addon.open(constants.openRead, path, new Float64Array(NAMES.length), 0);
    t.after(() => addon.close(handle));
    assert.throws(() => addon.replay(handle, new Uint8Array(60), 0, 0, 0, 0), /opened for reading/);
    assert.throws(() => addon.sample(handle, true), /opened for reading/);
    const whole = openMemory(t);
    assert.throws(() => addon.move(handle, whole), /opened for reading/);
    assert.throws(() => addon.move(whole, handle), /opened for reading/);
    assert.throws(() => addon.move(whole, whole), /into itself/);
    assert.throws(() => addon.age(handle, 0), /opened for reading/);
    assert.throws(() => addon.start(handle, ['lo'], [constants.attachPacket], 1, -1), /opened for reading/);
    assert.throws(() => addon.commit(handle, new ArrayBuffer(0)), /opened for reading/);
  });

  test('is not opened by two at once, and the second is told what to do', (t) => {
    const path = join(folder(t), 'region');
    const first = openFile(path);
    t.after(() => first.close());
    assert.throws(() => openFile(path), /another fairlead works on the region/);
    first.commit(new ArrayBuffer(0));
    assert.equal(readHeader(first).generation, 1);
  });

  test('is adopted by the next with everything in it', (t) => {
    const path = join(folder(t), 'region');
    const first = openFile(path);
    assert.equal(first.outcome, 'created');
    first.commit(new ArrayBuffer(0));
    first.close();
    const second = openFile(path);
    t.after(() => second.close());
    assert.equal(second.outcome, 'adopted');
    assert.equal(readHeader(second).generation, 1);
  });

  test('of other sizes is set aside, not lost', (t) => {
    const path = join(folder(t), 'region');
    openFile(path).close();
    const second = openFile(path, smallCounts(8192, 1));
    t.after(() => second.close());
    assert.equal(second.outcome, 'set-aside');
    assert.ok(statSync(`${path}.old`).size > 0);
  });

  test('is read by another process while the first works on it', (t) => {
    const path = join(folder(t), 'region');
    const first = openFile(path);
    t.after(() => first.close());
    first.commit(new ArrayBuffer(0));
    const base = new URL('../../src/', import.meta.url).href;
    const script = `
      const { loadAddon } = await import('${base}native/addon.ts');
      const { openReadPlane } = await import('${base}plane/native-plane.ts');
      const { readHeader } = await import('${base}plane/sections.ts');
      const plane = openReadPlane(loadAddon(), { backing: 'file', path: process.argv[1] });
      console.log(JSON.stringify([readHeader(plane).generation, plane.counts.flows]));
      try { plane.commit(new ArrayBuffer(0)); } catch (error) { console.log(error.message); }
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script, path]);
    assert.equal(stderr.toString(), '');
    assert.deepEqual(stdout.toString().trim().split('\n'), ['[1,4096]', 'this region was opened for reading']);
    first.commit(new ArrayBuffer(0));
    const reader = openReadPlane(addon, { backing: 'file', path });
    t.after(() => reader.close());
    first.commit(new ArrayBuffer(0));
    assert.equal(readHeader(reader).generation, 3);
  });

  for (const [what, octets] of [
    ['garbage', 5000],
    ['empty', 0],
    ['three octets', 3],
  ] as const) {
    test(`that is ${what} is not read as one`, (t) => {
      const path = join(folder(t), 'region');
      writeFileSync(path, Buffer.alloc(octets, 7));
      assert.throws(() => openReadPlane(addon, { backing: 'file', path }), /is not a region of this version's layout/);
    });
  }

  test('that does not exist is named in the error', (t) => {
    assert.throws(
      () => openReadPlane(addon, { backing: 'file', path: join(folder(t), 'nowhere') }),
      /nowhere: No such file or directory/,
    );
  });

  test('that cannot be made leaves nothing behind', (t) => {
    const path = folder(t);
    const huge = { ...counts, flows: 0x7ffffff8, flows6: 8 };
    assert.throws(() => openFile(join(path, 'region'), huge), /lower flows/);
    assert.deepEqual(readdirSync(path), []);
  });
});

describe('loading the addon', () => {
  test('a missing addon is an error that says how to build it', () => {
    assert.throws(
      () => loadAddon('/nowhere/fairlead.node'),
      (error) =>
        error instanceof FairleadError &&
        error.message.includes('does not load') &&
        (error.mend ?? '').includes('npm run build'),
    );
  });

  test('an addon of another layout is an error that names both layouts', (t) => {
    const path = join(folder(t), 'other.cjs');
    writeFileSync(path, "exports.layoutHash = () => '0123456789abcdef';\n");
    assert.throws(
      () => loadAddon(path),
      (error) =>
        error instanceof FairleadError &&
        error.message.includes('has layout 0123456789abcdef, this version of fairlead has'),
    );
  });

  test('a file that is no addon is an error', () => {
    assert.throws(
      () => loadAddon(fileURLToPath(import.meta.url.replace('addon.test.ts', 'nothing.node'))),
      FairleadError,
    );
  });
});
