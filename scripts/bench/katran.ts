// Katran's own program, built from a checkout of it as its makefile does. Nothing of it is kept.

import { mkdtempSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execute } from '../../netns-lab/lib/command.ts';

export interface KatranBuild {
  /** The BPF object; null: see `problem`. */
  readonly object: string | null;
  readonly problem: string;
  readonly close: () => void;
}

const machines: Partial<Record<NodeJS.Architecture, string>> = { x64: 'x86_64', arm64: 'aarch64' };

export async function buildKatran(checkout: string): Promise<KatranBuild> {
  const machine = machines[arch()] ?? arch();
  const folder = mkdtempSync(join(tmpdir(), 'bench-katran-'));
  const object = join(folder, 'balancer.bpf.o');
  const close = () => rmSync(folder, { recursive: true, force: true });
  // Its C library headers ask which machine they are on; clang for bpf does not say.
  const flags = ['-O2', '-g', '-target', 'bpf', '-D__KERNEL__', `-D__${machine}__`, '-w'];
  const includes = ['-I', checkout, '-I', `/usr/include/${machine}-linux-gnu`];
  const source = join(checkout, 'katran', 'lib', 'bpf', 'balancer.bpf.c');
  const built = await execute(['clang', ...flags, ...includes, '-c', source, '-o', object], 'clang', {
    timeoutMs: 120_000,
  }).catch((error: unknown) => ({ code: 1, stderr: String(error) }));
  if (built.code === 0) return { object, problem: '', close };
  close();
  const first = built.stderr.split('\n').find((line) => line.includes('error')) ?? built.stderr.split('\n')[0] ?? '';
  return { object: null, problem: `${source} does not build: ${first}`, close: () => undefined };
}
