// The core alone, in user space and in the kernel: the lines of bench-core and bench-kernel as rows.

import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { forgetLab, rememberLab } from '../../netns-lab/lib/interrupt.ts';
import { coreTool, kernelTool, nativeDirectory } from './network.ts';
import { coresToUse } from './placement.ts';
import type { Row } from './row.ts';

export function measureCore(isQuick: boolean): Promise<Row[]> {
  return run(coreTool, isQuick ? ['--quick'] : []);
}

/** Ten million flows. */
export function measureScale(): Promise<Row[]> {
  return run(coreTool, ['--scale']);
}

/** Root only. `katran` is the object of Katran's program, or null. */
export function measureKernel(isQuick: boolean, katran: string | null): Promise<Row[]> {
  return run(kernelTool, [...(isQuick ? ['--quick'] : []), ...(katran === null ? [] : ['--katran', katran])]);
}

async function run(tool: string, options: readonly string[]): Promise<Row[]> {
  const [, core] = coresToUse();
  const child = spawn('taskset', ['-c', core, tool, ...options], {
    cwd: nativeDirectory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 128));
  });
  const interruptible = {
    close: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
  rememberLab(interruptible);
  const rows: Row[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    rows.push({ against: null, ratio: null, ...(JSON.parse(line) as Omit<Row, 'against' | 'ratio'>) });
  }
  const code = await ended;
  forgetLab(interruptible);
  if (code !== 0) throw new Error(`${basename(tool)} ended with ${code}`);
  return rows;
}
