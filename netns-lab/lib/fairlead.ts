// The product as a lab sees it: a configuration file, a daemon and the command, all the real ones.
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Background } from './background.ts';
import { CommandError, type CommandOptions, type CommandResult } from './command.ts';
import type { Engine } from './engine.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { regionsOf } from './leftovers.ts';
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
  method: 'nat' | 'full-nat' | 'l2-dsr' | 'l3-dsr';
  scheduler?: string;
  hash?: string;
  sticky?: { by?: string; for?: string };
  source?: string | string[];
  tunnel?: Record<string, string | number>;
  check?: 'none' | CheckDocument | CheckDocument[];
  servers: Record<string, string | ServerDocument>;
  backup?: Record<string, string | ServerDocument>;
  'min-up'?: number;
  panic?: boolean;
  passive?: string | Record<string, unknown>;
  'max-flows'?: number;
  'half-open'?: number;
  'slow-start'?: string;
  'on-no-server'?: string;
  hairpin?: string;
  'on-server-down'?: string;
  'drain-deadline'?: string;
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
  /** The instance, and thereby its region's name. */
  readonly name: string;
  daemon: Background | null = null;
  /** What was written last. */
  config: ConfigDocument | null = null;
  private readonly engine: Engine | 'auto';
  private readonly processName: string;

  constructor(lab: Lab, host: Host, suffix = '') {
    this.host = host;
    this.engine = lab.engine;
    this.name = `${lab.name}${suffix}`;
    this.processName = `fairlead${suffix}`;
    this.configFile = host.file(`fairlead${suffix}.yaml`);
    this.socket = host.file(`fairlead${suffix}.sock`);
    const file = this.regionOf('packet');
    lab.defer(`remove ${file}`, () => rmSync(file, { force: true }));
    for (const question of ['status', 'servers', 'checks', 'drops']) {
      lab.evidence.set(`${this.name}.${question}.json`, async () => (await this.attempt(`${question} -o json`)).stdout);
    }
  }

  /** Where an engine keeps its region: a file, or a directory of pinned maps. */
  regionOf(engine: Engine): string {
    return engine === 'packet' ? `/dev/shm/fairlead.${this.name}` : join(this.host.bpffs, `fairlead-${this.name}`);
  }

  /** The regions that are there, those set aside among them. */
  regions(): string[] {
    const pinned = readdirSync(this.host.bpffs).filter((it) => it.startsWith('fairlead-'));
    const files = regionsOf(this.name).map((it) => join('/dev/shm', it));
    return [...files, ...pinned.map((it) => join(this.host.bpffs, it))].toSorted();
  }

  writeConfig(config: ConfigDocument): void {
    this.config = config;
    // Small table, one worker: labs are small, and several of them may stand on one machine.
    const { interfaces, services, ...rest } = config;
    const head = { version: 1, name: this.name, interfaces, bpffs: this.host.bpffs, workers: 1, flows: 65536 };
    writeFileSync(
      this.configFile,
      stringify(
        { ...head, engine: this.engine, control: { socket: this.socket }, ...rest, services },
        { aliasDuplicateObjects: false },
      ),
    );
  }

  /**
   * Starts `fairlead up` and waits until it says that it is ready; `through` is what runs it ("setpriv ... "), `options`
   * are more of its own.
   */
  async up(config?: ConfigDocument, through = '', options = ''): Promise<Background> {
    if (config !== undefined) {
      this.writeConfig(config);
    }
    this.daemon = await this.host.start(this.processName, `${through}${command} up -c ${this.configFile} ${options}`, {
      ready: (process) => process.output().includes('"msg":"ready: '),
      readyWithinMs: 30_000, // on a busy machine
    });
    return this.daemon;
  }

  /** A successor takes over from the daemon that runs; gives the exit code of that one. */
  async takeOver(config?: ConfigDocument): Promise<number | undefined> {
    const before = this.daemon;
    await this.up(config, '', '--takeover');
    return before?.ended;
  }

  /** Runs a subcommand against this instance. */
  attempt(line: string, options: CommandOptions = {}): Promise<CommandResult> {
    return this.host.attempt(`${command} ${line}`, {
      ...options,
      env: { FAIRLEAD_SOCKET: this.socket, FAIRLEAD_BPFFS: this.host.bpffs, ...options.env },
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

  /** What the command of this name prints as JSON, asked on the control socket itself, without starting a program for it. */
  async view<T>(name: 'services' | 'servers' | 'checks' | 'drops' | 'status'): Promise<T> {
    return JSON.parse(await this.host.run(`curl -sS --fail --unix-socket ${this.socket} http://x/v1/${name}`)) as T;
  }

  /** Changes the file and has it applied. */
  async reload(config: ConfigDocument): Promise<void> {
    this.writeConfig(config);
    await this.run('reload');
  }

  /** What the daemon that runs now, or ran last, has logged. */
  log(): string {
    return this.daemon?.output() ?? '';
  }

  /** Waits until the daemon has logged a line with these words. */
  async logged(words: string | RegExp, deadline?: Deadline): Promise<void> {
    const has = (text: string) => (typeof words === 'string' ? text.includes(words) : words.test(text));
    await waitFor(`the log to say ${words}`, () => this.log(), has, deadline);
  }
}
