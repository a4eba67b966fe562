// fairlead lab …: hands over to the labs, which know nothing of this program but its command line.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Command } from 'commander';

const LAB = join(import.meta.dirname, '..', '..', 'netns-lab', 'main.ts');

export function labCommand(): Command {
  return new Command('lab')
    .description('labs in network namespaces: up NAME, down LAB, list')
    .argument('[words...]', 'what the lab is told')
    .helpOption(false)
    .allowUnknownOption()
    .action(async (words: string[]) => {
      const lab = spawn(process.execPath, [LAB, ...words], { stdio: 'inherit' });
      // The terminal sends its signals to both; the lab cleans up, and this waits for it.
      const ignore = (): void => {};
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, ignore);
      const [code] = (await once(lab, 'exit')) as [number | null];
      process.exitCode = code ?? 1;
    });
}
