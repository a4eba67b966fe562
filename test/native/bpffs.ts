// A bpffs of the test's own, and why there is none where there is none.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadAddon } from '../../src/native/addon.ts';
import { makeKernelReplayPlane } from '../../src/plane/native-plane.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';

/** A folder with a bpffs mounted on it until the test is over. */
export function mountBpffs(t: TestContext): string {
  const folder = makeFolder(t);
  const failure = mount(folder);
  if (failure !== null) throw new Error(failure);
  return folder;
}

/** A folder in which the test may mount a bpffs; it is unmounted if there is one. */
export function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-bpffs-'));
  t.after(() => removeFolder(folder));
  return folder;
}

/** Tried, not guessed: false, or the reason for which tests of maps and programs are skipped. */
export function whyNoMaps(): string | false {
  if (process.getuid?.() !== 0) return 'BPF maps and a mount need root';
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-bpffs-'));
  try {
    const failure = mount(folder);
    if (failure !== null) return failure;
    makeKernelReplayPlane(smallCounts(4096, 1), 'tc', loadAddon()).close();
    return false;
  } catch (error) {
    return (error as Error).message;
  } finally {
    removeFolder(folder);
  }
}

function mount(folder: string): string | null {
  const { status, error, stderr } = spawnSync('mount', ['-t', 'bpf', 'bpf', folder], { encoding: 'utf8' });
  return status === 0 ? null : `no bpffs can be mounted here: ${error?.message ?? stderr.trim()}`;
}

/** Lazily: the test's planes, which hold its directories, are closed by hooks that run after this one. */
function removeFolder(folder: string): void {
  spawnSync('umount', ['--lazy', folder]);
  rmSync(folder, { recursive: true });
}
