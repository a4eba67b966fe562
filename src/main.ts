// The command's beginning and its end.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeProgram, runProgram } from './cli/program.ts';

const manifest = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };

// Whoever closes the pipe has read enough: `fairlead flows | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await runProgram(makeProgram(version), process.argv.slice(2));
