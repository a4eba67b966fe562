import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { reachSuccessor, takeOver } from '../../src/admin/handover.ts';

function setUp(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-handover-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'control.sock.next');
}

test('each side learns that the other has done its part', async (t) => {
  const path = setUp(t);
  const reached = Promise.withResolvers<Awaited<ReturnType<typeof reachSuccessor>>>();
  const taking = takeOver(path, async () => {
    assert.equal(statSync(path).mode & 0o777, 0o600, 'nobody else may speak there');
    reached.resolve(await reachSuccessor(path));
  });
  const successor = await reached.promise;
  successor.letGo();
  const predecessor = await taking;
  predecessor.requireWaiting();
  const ready = predecessor.ready();
  assert.equal(await successor.outcome, null);
  successor.close();
  await ready;
});

test('a successor that ends before it is ready has failed', async (t) => {
  const path = setUp(t);
  const reached = Promise.withResolvers<Awaited<ReturnType<typeof reachSuccessor>>>();
  const taking = takeOver(path, async () => reached.resolve(await reachSuccessor(path)));
  const successor = await reached.promise;
  successor.letGo();
  (await taking).close();
  assert.equal(await successor.outcome, 'it ended');
});

test('a predecessor that waits no more is noticed, and one that ends before it let go', async (t) => {
  const path = setUp(t);
  const reached = Promise.withResolvers<Awaited<ReturnType<typeof reachSuccessor>>>();
  const taking = takeOver(path, async () => reached.resolve(await reachSuccessor(path, 50)));
  const successor = await reached.promise;
  // The successor is silent until it has heard that the region is its own.
  assert.match(String(await successor.outcome), /it was silent for 0.05 s/);
  await assert.rejects(taking, /ended before it handed over/);
  const again = takeOver(path, async () => {
    const other = await reachSuccessor(path);
    other.letGo();
    t.after(() => other.close());
    reached.promise = Promise.resolve(other);
  });
  const predecessor = await again;
  predecessor.requireWaiting();
  (await reached.promise).close();
  await predecessor.ready();
  assert.throws(() => predecessor.requireWaiting(), /waits no more/);
});

test('what the daemon that runs answers instead of handing over is passed on, and leaves no socket', async (t) => {
  const path = setUp(t);
  await assert.rejects(
    takeOver(path, () => Promise.reject(new Error('it is ending already'))),
    /it is ending already/,
  );
  assert.throws(() => statSync(path), { code: 'ENOENT' });
  await assert.rejects(reachSuccessor(path), { code: 'refused' });
});
