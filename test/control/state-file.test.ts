import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { makeKeeper } from '../../src/control/keeper.ts';
import { HEALTH_AGES_MS, makeStateFile, NO_STATE, type SavedState } from '../../src/control/state-file.ts';
import { makeFakeClock, makeFakeLog } from './fakes.ts';

const STATE: SavedState = {
  version: 1,
  overrides: {
    'web/web-1': { admin: 'drained', weight: null, until: 1_800_000_000_000 },
    'web/web-2': { admin: 'enabled', weight: 5 },
  },
  health: { 'web/web-1 10.0.1.11:80 0 tcp': { state: 'up', since: 1_700_000_000_000 } },
  undelivered: {},
};

function place(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-state-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'made', 'state.json');
}

test('what is saved is loaded, and nobody else may read it', (t) => {
  const path = place(t);
  const file = makeStateFile(path);
  assert.deepEqual(file.load(), { state: NO_STATE, trouble: null });
  file.save(STATE);
  assert.deepEqual(makeStateFile(path).load(), { state: STATE, trouble: null });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(path, '..')), ['state.json'], 'nothing half-written is left');
});

test('what checks found ages with the file, what operators said does not, and a touch keeps it young', (t) => {
  const path = place(t);
  const file = makeStateFile(path);
  file.save(STATE);
  const old = new Date(Date.now() - HEALTH_AGES_MS - 60_000);
  utimesSync(path, old, old);
  assert.deepEqual(file.load().state, { ...STATE, health: {} });
  file.touch();
  assert.deepEqual(file.load().state, STATE);
});

test('a file that holds something else is ignored, with a word about it', (t) => {
  const path = place(t);
  const file = makeStateFile(path);
  file.save(STATE);
  for (const text of ['', '{', '{"version":2}', JSON.stringify({ ...STATE, overrides: { a: { admin: 'gone' } } })]) {
    writeFileSync(path, text);
    const { state, trouble } = file.load();
    assert.deepEqual(state, NO_STATE);
    assert.match(trouble ?? '', /holds no state of this version/);
  }
});

test('changes that come together are one write, an operator waits for none, and the end writes what is left', async (t) => {
  const path = place(t);
  const clock = makeFakeClock();
  const { log } = makeFakeLog();
  const keeper = makeKeeper(makeStateFile(path), clock, log);
  let reads = 0;
  keeper.saveNow();
  assert.equal(existsSync(path), false, 'nothing is written before there is a source');
  keeper.from(() => {
    reads++;
    return { ...STATE, undelivered: { hook: [reads] } };
  });
  for (let i = 0; i < 100; i++) keeper.saveSoon();
  assert.equal(reads, 0);
  await clock.advance(1000);
  assert.equal(reads, 1);
  keeper.saveNow();
  assert.equal(reads, 2);
  keeper.saveSoon();
  keeper.stop();
  assert.deepEqual((JSON.parse(readFileSync(path, 'utf8')) as SavedState).undelivered, { hook: [3] });
  keeper.saveNow();
  assert.equal(reads, 3, 'nothing after the end');
});

test('a file system that refuses is said aloud once, and stops nobody', async () => {
  const { log, lines } = makeFakeLog();
  const keeper = makeKeeper(makeStateFile('/etc/hostname/nowhere/state.json'), makeFakeClock(), log);
  keeper.from(() => STATE);
  keeper.saveNow();
  keeper.saveNow();
  assert.equal(lines.filter(({ msg }) => msg.startsWith('the state cannot be saved')).length, 1);
});
