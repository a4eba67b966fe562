// A program that runs beside the scenario: its output goes to a file, it is ready when a condition holds, and it ends
// with its whole process group.
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, writeSync } from 'node:fs';
import { endGroup } from './command.ts';
import { waitFor } from './wait-for.ts';

export interface BackgroundOptions {
  env?: Record<string, string>;
  /** Holds as soon as the program can be used; asked until then. */
  ready?: (process: Background) => boolean | Promise<boolean>;
  readyWithinMs?: number;
}

export class Background {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves with the exit code; 128 when a signal ended it. */
  readonly ended: Promise<number>;
  private readonly input: NodeJS.WritableStream | null;
  private code: number | null = null;
  /** Where in the file its own output begins: one of the same name may have run before. */
  private readonly outputStart: number;

  constructor(name: string, argv: readonly string[], command: string, logFile: string, env: Record<string, string>) {
    this.name = name;
    this.logFile = logFile;
    const log = openSync(logFile, 'a');
    writeSync(log, `$ ${command}\n`);
    this.outputStart = fstatSync(log).size;
    const [program, ...rest] = argv;
    const child = spawn(program ?? '', rest, {
      detached: true,
      env: { ...process.env, ...env },
      stdio: ['pipe', log, log],
    });
    closeSync(log);
    child.stdin?.on('error', () => {});
    this.input = child.stdin;
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      const settle = (code: number) => {
        this.code = code;
        resolve(code);
      };
      child.on('error', () => settle(127));
      child.on('exit', (code) => settle(code ?? 128));
    });
  }

  get isRunning(): boolean {
    return this.code === null;
  }

  get exitCode(): number | null {
    return this.code;
  }

  /** All that it has written so far, both streams. */
  output(): string {
    return readFileSync(this.logFile).subarray(this.outputStart).toString();
  }

  write(text: string): void {
    this.input?.write(text);
  }

  endInput(): void {
    this.input?.end();
  }

  signal(signal: NodeJS.Signals): void {
    endGroup(this.pid, signal);
  }

  async ready(options: BackgroundOptions): Promise<void> {
    const { ready, readyWithinMs = 30_000 } = options;
    if (ready === undefined) {
      return;
    }
    const probe = async () => (await ready(this)) || !this.isRunning;
    await waitFor(`${this.name} to be ready`, probe, Boolean, { withinMs: readyWithinMs, everyMs: 30 });
    if (!this.isRunning) {
      throw new Error(`${this.name} ended with ${this.code} before it was ready:\n${this.output().slice(-3000)}`);
    }
  }

  /** Asks it to end, insists after `withinMs`, and gives the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', withinMs = 5000): Promise<number> {
    if (this.isRunning) {
      this.signal(signal);
      const timer = setTimeout(() => this.signal('SIGKILL'), withinMs);
      await this.ended;
      clearTimeout(timer);
    }
    endGroup(this.pid, 'SIGKILL');
    return this.ended;
  }
}
