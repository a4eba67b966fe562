// PostgreSQL and Redis as a lab runs them: on the hosts of its servers, with files of their own, gone with the lab.
import { appendFileSync, chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Background } from './background.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';

export const postgresPort = 5432;
export const redisPort = 6379;

/** Debian keeps one folder for each version. */
function postgresPrograms(): string {
  const root = '/usr/lib/postgresql';
  const version = readdirSync(root).toSorted((a, b) => Number(b) - Number(a))[0] ?? '';
  return join(root, version, 'bin');
}

export class Postgres {
  readonly host: Host;
  private readonly folder: string;
  private readonly programs = postgresPrograms();
  private process: Background | null = null;

  constructor(lab: Lab, host: Host) {
    this.host = host;
    // PostgreSQL refuses to run as root, and its user must reach its folder.
    this.folder = mkdtempSync('/tmp/fairlead-postgres-');
    const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    chownSync(this.folder, id('-u'), id('-g'));
    lab.defer(`remove ${this.folder}`, () => rmSync(this.folder, { recursive: true, force: true }));
  }

  private as(line: string): string {
    return `setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=${this.folder} ${this.programs}/${line}`;
  }

  /** Makes an empty cluster, from which others may copy. */
  async init(): Promise<void> {
    await this.host.run(`cd / && ${this.as(`initdb --no-sync -A trust -D ${this.folder}/data`)}`, {
      timeoutMs: 30_000,
    });
    appendFileSync(`${this.folder}/data/pg_hba.conf`, 'host all all all trust\nhost replication all all trust\n');
  }

  /** Copies a running one, and follows it once started. */
  async follow(address: string): Promise<void> {
    const line = `pg_basebackup -h ${address} -U postgres -D ${this.folder}/data -R --no-sync --checkpoint=fast`;
    await this.host.run(`cd / && ${this.as(line)}`, { timeoutMs: 30_000 });
  }

  async start(): Promise<void> {
    const options = `-c listen_addresses='*' -c unix_socket_directories=${this.folder} -c fsync=off -c shared_buffers=16MB -c wal_keep_size=64MB`;
    this.process = await this.host.start('postgres', this.as(`postgres -D ${this.folder}/data ${options}`), {
      ready: async () => (await this.host.attempt(`pg_isready -q -h ${this.folder}`)).code === 0,
      readyWithinMs: 20_000,
    });
  }

  /** At once, as when the machine dies: nobody is told. */
  async die(): Promise<void> {
    await this.process?.stop('SIGKILL');
  }

  ask(sql: string): Promise<string> {
    return this.host.run(`psql -h ${this.folder} -U postgres -Atc "${sql}"`);
  }
}

/** Starts Redis on a host. */
export function startRedis(host: Host): Promise<Background> {
  const options = "--save '' --appendonly no --protected-mode no --repl-diskless-sync-delay 0 --daemonize no";
  return host.start('redis', `redis-server --port ${redisPort} --dir /tmp ${options}`, {
    ready: async () => (await host.attempt(`redis-cli -p ${redisPort} ping`)).stdout.includes('PONG'),
  });
}
