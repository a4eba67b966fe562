// fairlead doctor [SERVICE]: what on this host will bite, in words, with the command that mends it. Exit code 1 when
// something does.

import { Command, Option } from 'commander';
import type { Config } from '../config/config.ts';
import type { DropsView, StatusView } from '../admin/views.ts';
import type { PathTrial } from '../health/path-trial.ts';
import type { DaemonFact } from '../doctor/balancer-facts.ts';
import type { Finding, Severity } from '../doctor/finding.ts';
import type { Client } from './client.ts';
import { DEFAULT_CONFIG, DEFAULT_SOCKET } from './common.ts';
import { type Format, counted } from './output.ts';
import { findDsrService, findService, TOOLS } from './server-setup.ts';

interface DoctorOptions {
  readonly config: string;
  readonly output: Format;
  readonly socket: string;
  readonly server?: true;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look for what will bite on this host: the balancer, or with --server one of a service’s servers')
    .argument('[service]', 'only what concerns this service')
    .option('-c, --config <file>', 'configuration file of the balancer', DEFAULT_CONFIG)
    .option('--server', 'this host is a server of the service')
    .addOption(new Option('-o, --output <format>', 'what to print').choices(['table', 'json']).default('table'))
    .addOption(
      new Option('-s, --socket <path>', 'control socket of the daemon').env('FAIRLEAD_SOCKET').default(DEFAULT_SOCKET),
    )
    .action(async (service: string | undefined, options: DoctorOptions, command: Command) => {
      if (options.server === true && service === undefined) command.error('error: --server needs a service');
      // Loaded when it runs, as in up.ts.
      const { loadConfig } = await import('../config/load.ts');
      const config = loadConfig(options.config);
      const findings =
        options.server === true
          ? await examineServer(config, service ?? '')
          : await examineBalancer(config, service, options.socket);
      const text = options.output === 'json' ? JSON.stringify({ findings }, null, 2) : formatFindings(findings);
      process.stdout.write(`${text}\n`);
      if (findings.some(({ severity }) => severity === 'bites')) process.exitCode = 1;
    });
}

async function examineServer(config: Config, name: string): Promise<readonly Finding[]> {
  const service = findDsrService(config, name);
  const { gatherServerFacts } = await import('../doctor/server-facts.ts');
  const { checkServer } = await import('../doctor/server-checks.ts');
  return checkServer(service, gatherServerFacts(TOOLS));
}

async function examineBalancer(config: Config, name: string | undefined, socket: string): Promise<readonly Finding[]> {
  const { gatherBalancerFacts } = await import('../doctor/balancer-facts.ts');
  const { checkBalancer } = await import('../doctor/balancer-checks.ts');
  const { makeClient } = await import('./client.ts');
  const services = name === undefined ? config.services : [findService(config, name)];
  const daemon = await askDaemon(makeClient(socket), name);
  return checkBalancer(config, services, await gatherBalancerFacts(config, services, daemon));
}

/** Null when none answers, for whatever reason. */
async function askDaemon(client: Client, service: string | undefined): Promise<DaemonFact | null> {
  try {
    // First: what servers send back of it is counted.
    const trials = await client.get<PathTrial[]>('/v1/paths', { service });
    const { reasons } = await client.get<DropsView>('/v1/drops');
    const { engine, interfaces, workers } = await client.get<StatusView>('/v1/status');
    const sum = (read: (worker: StatusView['workers'][number]) => number): number =>
      workers.reduce((total, worker) => total + read(worker), 0);
    return {
      engine: `${engine.kind}: ${engine.why}`,
      interfaces,
      ringDrops: sum(({ ringDrops }) => ringDrops),
      sendErrors: sum(({ sendErrors }) => sendErrors),
      cameBack: reasons.find(({ reason }) => reason === 'came-back')?.count ?? 0,
      trials,
    };
  } catch {
    return null;
  }
}

const MARKS: Readonly<Record<Severity, string>> = { bites: 'BITES', 'may-bite': 'may bite', fine: 'fine' };

/** What bites first; a mend below each. */
export function formatFindings(findings: readonly Finding[]): string {
  const order = Object.keys(MARKS);
  const sorted = findings.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const lines = sorted.flatMap(({ severity, check, words, mend }) => [
    `${MARKS[severity].padEnd(8)}  ${check}: ${words}`,
    ...(mend === undefined ? [] : [`${' '.repeat(10)}mend: ${mend}`]),
  ]);
  const biting = findings.filter(({ severity }) => severity === 'bites').length;
  const summary = biting === 0 ? 'nothing bites' : `${counted(biting, 'thing')} will bite`;
  return [...lines, '', summary].join('\n');
}
