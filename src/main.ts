// The command's beginning and its end.

import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

// What Node makes of the sources is kept beside what make made, or not at all where that may not be written: the next
// command starts in half the time.
enableCompileCache(join(root, 'native', 'build', 'compile-cache'));
const { makeProgram, runProgram } = await import('./cli/program.ts');

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

// Whoever closes the pipe has read enough: `fairlead flows | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await runProgram(makeProgram(version), process.argv.slice(2));
