// The core alone: bench-core's lines as rows.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { forgetLab, rememberLab } from '../../netns-lab/lib/interrupt.ts';
import { coreTool } from './network.ts';
import { coresToUse } from './placement.ts';
import type { Row } from './row.ts';

export async function measureCore(isQuick: boolean): Promise<Row[]> {
  const [, core] = coresToUse();
  const child = spawn('taskset', ['-c', core, coreTool, ...(isQuick ? ['--quick'] : [])], {
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
    rows.push({ ...(JSON.parse(line) as Omit<Row, 'against' | 'ratio'>), against: null, ratio: null });
  }
  const code = await ended;
  forgetLab(interruptible);
  if (code !== 0) throw new Error(`bench-core ended with ${code}`);
  return rows;
}
