// The product as a lab sees it: a configuration file, a daemon and the command, all the real ones.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Background } from './background.ts';
import { CommandError, type CommandOptions, type CommandResult } from './command.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { type Deadline, waitFor } from './wait-for.ts';

// Another build can be put through the same labs: FAIRLEAD=/usr/bin/fairlead npm run lab.
export const command = process.env.FAIRLEAD ?? join(import.meta.dirname, '..', '..', 'scripts', 'fairlead');

export type CheckDocument = Record<string, unknown>;

export interface ServerDocument {
  address: string;
  weight?: number;
  check?: 'none' | CheckDocument | CheckDocument[];
}

export interface ServiceDocument {
  listen: string | string[];
  method: 'nat' | 'full-nat';
  scheduler?: string;
  hash?: string;
  source?: string | string[];
  check?: 'none' | CheckDocument | CheckDocument[];
  servers: Record<string, string | ServerDocument>;
  backup?: Record<string, string | ServerDocument>;
  panic?: boolean;
  'slow-start'?: string;
}

export interface ConfigDocument {
  interfaces: { outside: string; inside?: string };
  services: Record<string, ServiceDocument>;
  [key: string]: unknown;
}

export class Fairlead {
  readonly host: Host;
  readonly configFile: string;
  readonly socket: string;
  /** The instance, and thereby the region's file name. */
  readonly name: string;
  readonly regionFile: string;
  daemon: Background | null = null;
  private readonly processName: string;

  constructor(lab: Lab, host: Host, suffix = '') {
    this.host = host;
    this.name = `${lab.name}${suffix}`;
    this.processName = `fairlead${suffix}`;
    this.configFile = host.file(`fairlead${suffix}.yaml`);
    this.socket = host.file(`fairlead${suffix}.sock`);
    this.regionFile = `/dev/shm/fairlead.${this.name}`;
    lab.defer(`remove ${this.regionFile}`, () => rmSync(this.regionFile, { force: true }));
    for (const question of ['status', 'servers', 'checks', 'drops']) {
      lab.evidence.set(`${this.name}.${question}.json`, async () => (await this.attempt(`${question} -o json`)).stdout);
    }
  }

  writeConfig(config: ConfigDocument): void {
    // Small table, one worker: labs are small, and several of them may stand on one machine.
    const { interfaces, services, ...rest } = config;
    const head = { version: 1, name: this.name, interfaces, engine: 'packet', workers: 1, flows: 65536 };
    writeFileSync(
      this.configFile,
      stringify({ ...head, control: { socket: this.socket }, ...rest, services }, { aliasDuplicateObjects: false }),
    );
  }

  /** Starts `fairlead up` and waits until it answers. */
  async up(config?: ConfigDocument): Promise<Background> {
    if (config !== undefined) {
      this.writeConfig(config);
    }
    this.daemon = await this.host.start(this.processName, `${command} up -c ${this.configFile}`, {
      ready: async () => (await this.attempt('status')).code === 0,
      readyWithinMs: 10_000,
    });
    return this.daemon;
  }

  /** Runs a subcommand against this instance. */
  attempt(line: string, options: CommandOptions = {}): Promise<CommandResult> {
    return this.host.attempt(`${command} ${line}`, {
      ...options,
      env: { FAIRLEAD_SOCKET: this.socket, ...options.env },
    });
  }

  async run(line: string): Promise<string> {
    const result = await this.attempt(line);
    if (result.code !== 0) {
      throw new CommandError(result, 'fairlead');
    }
    return result.stdout;
  }

  async json<T>(line: string): Promise<T> {
    return JSON.parse(await this.run(`${line} -o json`)) as T;
  }

  /** Changes the file and has it applied. */
  async reload(config: ConfigDocument): Promise<void> {
    this.writeConfig(config);
    await this.run('reload');
  }

  log(): string {
    return this.daemon?.output() ?? '';
  }

  /** Waits until the daemon has logged a line with these words. */
  async logged(words: string | RegExp, deadline?: Deadline): Promise<void> {
    const has = (text: string) => (typeof words === 'string' ? text.includes(words) : words.test(text));
    await waitFor(`the log to say ${words}`, () => this.log(), has, deadline);
  }
}
