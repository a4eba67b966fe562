// A program as a check: exit code 0 is good. It runs in a process group of its own, which ends with its time, and what it
// says is read to a bound. With `reports`, the first line of its output speaks as an agent's does.

import { spawn } from 'node:child_process';
import type { Timer } from '../base/clock.ts';
import { endGroup } from '../base/end-group.ts';
import type { ExecKind } from '../config/check.ts';
import { parseAgentWords } from './agent-words.ts';
import { attempt, type Attempt } from './attempt.ts';
import type { ProbeResult, ProbeTarget } from './probe.ts';
import type { Timers } from './timers.ts';
import { formatMs, quote } from './words.ts';

const OUTPUT_LIMIT = 4096;
const READ_AFTER_EXIT_MS = 50;

export function makeExecProbe(timers: Timers) {
  return (target: ProbeTarget, { command, reports }: ExecKind, signal: AbortSignal): Promise<ProbeResult> =>
    attempt(timers, target, signal, (own) => {
      const [program = '', ...rest] = command;
      own.waitingFor('the program did not end');
      const child = spawn(program, rest, {
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          FAIRLEAD_ADDRESS: target.address,
          FAIRLEAD_PORT: String(target.port ?? ''),
          FAIRLEAD_TIMEOUT_MS: String(target.timeoutMs),
        },
      });
      const said = { out: '', err: '' };
      let afterExit: Timer | null = null;
      child.stdout.on('data', (chunk: Buffer) => (said.out = (said.out + chunk.toString()).slice(0, OUTPUT_LIMIT)));
      child.stderr.on('data', (chunk: Buffer) => (said.err = (said.err + chunk.toString()).slice(0, OUTPUT_LIMIT)));
      child.once('error', (error: NodeJS.ErrnoException) =>
        own.untried(`${program} cannot be started: ${startTrouble(error)}`),
      );
      // Its exit is what counts, once what it wrote has been read; its pipes may stay open in children of its own.
      child.once('close', (code, ending) => judge(own, { code, ending, reports, said }));
      child.once('exit', (code, ending) => {
        afterExit = timers.setTimer(READ_AFTER_EXIT_MS, () => judge(own, { code, ending, reports, said }));
      });
      return () => {
        afterExit?.cancel();
        child.stdout.destroy();
        child.stderr.destroy();
        endGroup(child.pid);
      };
    });
}

function startTrouble({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such file';
  return code === 'EACCES' ? 'it may not be run' : message;
}

interface End {
  readonly code: number | null;
  readonly ending: NodeJS.Signals | null;
  readonly reports: boolean;
  readonly said: { readonly out: string; readonly err: string };
}

function judge(own: Attempt, { code, ending, reports, said }: End): void {
  const line = firstLine(said.out) || firstLine(said.err);
  const quoted = line === '' ? '' : `: ${quote(line)}`;
  if (code !== 0) {
    own.fail(`${code === null ? `ended by ${ending ?? 'a signal'}` : `exit code ${code}`}${quoted}`);
    return;
  }
  const words = reports ? parseAgentWords(firstLine(said.out)) : null;
  if (words !== null && !words.isUp) own.fail(`the program says ${quote(words.said)}`);
  else own.ok(`exit code 0 in ${formatMs(own.elapsedMs())}${quoted}`, words === null ? {} : { advice: words.advice });
}

function firstLine(text: string): string {
  return text.trimStart().split('\n')[0]?.trimEnd() ?? '';
}
