// Running a program to its end with its output kept. A program that outlives its time is ended with its whole process
// group, so that nothing of it stays behind.
import { spawn } from 'node:child_process';

export interface CommandOptions {
  timeoutMs?: number;
  input?: string;
  env?: Record<string, string>;
}

export interface CommandResult {
  command: string;
  code: number;
  stdout: string;
  stderr: string;
  ms: number;
}

/** Thrown when a command that must succeed does not; carries all that it said. */
export class CommandError extends Error {
  readonly result: CommandResult;

  constructor(result: CommandResult, where: string) {
    const said = [result.stdout, result.stderr].map((text) => text.trim().slice(-2000)).filter(Boolean);
    super([`${where}: "${result.command}" ended with ${result.code}`, ...said].join('\n'));
    this.name = 'CommandError';
    this.result = result;
  }
}

export function endGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Already gone, which is what was wanted.
  }
}

/** Runs `argv` and resolves with what came of it; 124 stands for "ran out of time", as with timeout(1). */
export function execute(argv: readonly string[], label: string, options: CommandOptions = {}): Promise<CommandResult> {
  const { timeoutMs = 30_000, input, env } = options;
  const [program, ...rest] = argv;
  const start = performance.now();
  return new Promise((resolve) => {
    const child = spawn(program ?? '', rest, { detached: true, env: { ...process.env, ...env }, stdio: 'pipe' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      endGroup(child.pid ?? 0, 'SIGKILL');
    }, timeoutMs);
    const finish = (code: number, trouble = '') => {
      clearTimeout(timer);
      const stderr = Buffer.concat(err).toString() + trouble;
      resolve({ command: label, code, stdout: Buffer.concat(out).toString(), stderr, ms: performance.now() - start });
    };
    child.stdout.on('data', (piece: Buffer) => out.push(piece));
    child.stderr.on('data', (piece: Buffer) => err.push(piece));
    child.stdin.on('error', () => {}); // a program may end without reading what it is given
    child.stdin.end(input ?? '');
    child.on('error', (error) => finish(127, error.message));
    child.on('close', (code, signal) => {
      finish(
        isLate ? 124 : (code ?? 128),
        isLate ? `still running after ${timeoutMs} ms` : signal ? `ended by ${signal}` : '',
      );
    });
  });
}
