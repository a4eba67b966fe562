// One machine of a lab: a network namespace. Whatever runs in it leaves its command and output in the host's transcript.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Background, type BackgroundOptions } from './background.ts';
import { CommandError, type CommandOptions, type CommandResult, execute } from './command.ts';

/** What a host needs of the lab it stands in. */
export interface HostSurroundings {
  readonly name: string;
  readonly directory: string;
  readonly startedAtMs: number;
  /** A bpffs of this lab's own. A command in a namespace has a fresh /sys, and what it mounts goes with it. */
  readonly bpffs: string;
  defer(what: string, action: () => unknown): void;
}

const shownOutput = 4000; // characters of each output that a transcript keeps

export class Host {
  readonly name: string;
  readonly namespace: string;
  readonly transcript: string;
  private readonly lab: HostSurroundings;

  constructor(lab: HostSurroundings, name: string) {
    this.lab = lab;
    this.name = name;
    this.namespace = `${lab.name}-${name}`;
    this.transcript = join(lab.directory, `${name}.transcript`);
  }

  get bpffs(): string {
    return this.lab.bpffs;
  }

  get directory(): string {
    return this.lab.directory;
  }

  /** A file of this host in the lab's folder. */
  file(name: string): string {
    return join(this.lab.directory, `${this.name}.${name}`);
  }

  private inside(command: string): string[] {
    return ['ip', 'netns', 'exec', this.namespace, 'sh', '-c', command];
  }

  note(text: string): void {
    const seconds = ((performance.now() - this.lab.startedAtMs) / 1000).toFixed(3);
    appendFileSync(this.transcript, `[${seconds}] ${text.trimEnd()}\n`);
  }

  /** Runs a shell command and gives what came of it, whatever that is. */
  async attempt(command: string, options?: CommandOptions): Promise<CommandResult> {
    const result = await execute(this.inside(command), command, options);
    const output = [result.stdout, result.stderr].map((text) => text.slice(0, shownOutput).trimEnd()).filter(Boolean);
    const end = `-> ${result.code} after ${result.ms.toFixed(0)} ms`;
    this.note([`$ ${command}`, ...output, end].join('\n'));
    return result;
  }

  /** Runs a shell command that must succeed and gives its standard output. */
  async run(command: string, options?: CommandOptions): Promise<string> {
    const result = await this.attempt(command, options);
    if (result.code !== 0) {
      throw new CommandError(result, this.name);
    }
    return result.stdout;
  }

  /** Starts a program beside the scenario; it ends with the lab at the latest. */
  async start(name: string, command: string, options: BackgroundOptions = {}): Promise<Background> {
    this.note(`& ${command}`);
    const process = new Background(
      `${this.name}/${name}`,
      this.inside(`exec ${command}`),
      command,
      this.file(`${name}.log`),
      options.env ?? {},
    );
    this.lab.defer(`stop ${process.name}`, () => process.stop());
    await process.ready(options);
    return process;
  }

  async sysctl(key: string, value: string | number): Promise<void> {
    await this.run(`sysctl -q -w ${key}=${value}`);
  }

  /** Gives an interface its addresses (ADDRESS/LENGTH, either family), usable at once, and brings it up. */
  async address(device: string, ...addresses: string[]): Promise<void> {
    const lines = addresses.map((it) => `address add ${it} dev ${device}${it.includes(':') ? ' nodad' : ''}`);
    await this.ip(`link set ${device} up`, ...lines);
  }

  /** Routes what is for anybody else via these gateways, at most one of each family. */
  async defaultRoutes(...gateways: string[]): Promise<void> {
    await this.ip(...gateways.map((it) => `route replace ${it.includes(':') ? '::/0' : '0.0.0.0/0'} via ${it}`));
  }

  /** Routes PREFIX via GATEWAY. */
  async route(prefix: string, gateway: string): Promise<void> {
    await this.ip(`route replace ${prefix} via ${gateway}`);
  }

  /** Lines of ip(8), by one program and without entering the namespace, which costs as much as all of them. */
  private async ip(...lines: string[]): Promise<void> {
    const command = `ip -n ${this.namespace} -batch -`;
    const result = await execute(command.split(' '), lines.join('; '), { input: lines.join('\n') });
    this.note(lines.map((line) => `$ ip ${line}`).join('\n'));
    if (result.code !== 0) throw new CommandError(result, this.name);
  }

  async mac(device: string): Promise<string> {
    const [link] = JSON.parse(await this.run(`ip -j link show dev ${device}`)) as { address: string }[];
    return link?.address ?? '';
  }
}
