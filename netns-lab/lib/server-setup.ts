// The servers' half of direct server return in a lab: the real `fairlead server-setup` and `fairlead doctor`, run on
// server hosts, with the balancer's configuration file. What a server notes for its undo goes into the lab's folder.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError, type CommandResult } from './command.ts';
import { command, type ConfigDocument } from './fairlead.ts';
import type { Host } from './host.ts';
import { startUdpServer } from './servers.ts';
import type { Topology } from '../topologies/topology.ts';

/** Where `server-setup` of this host keeps what it changed. */
export function stateFolder(host: Host): string {
  return host.file('server-setup');
}

/** Runs a fairlead command on a host, with the balancer's configuration. */
export function attemptOn(net: Topology, host: Host, line: string): Promise<CommandResult> {
  const env = { FAIRLEAD_STATE: stateFolder(host), FAIRLEAD_SOCKET: net.fairlead.socket };
  return host.attempt(`${command} ${line} -c ${net.fairlead.configFile}`, { env });
}

export async function runOn(net: Topology, host: Host, line: string): Promise<string> {
  const result = await attemptOn(net, host, line);
  if (result.code !== 0) throw new CommandError(result, host.name);
  return result.stdout;
}

/** Where fairlead-decap is, all that a server set up by the printed text has of fairlead. */
export const toolFolder = join(command, '..', '..', 'native', 'build');

/**
 * Writes the configuration and makes every server ready for each of its services: set up by the real command, and with a
 * datagram server that answers from the VIPs.
 */
export async function setUpServers(net: Topology, config: ConfigDocument, options = ''): Promise<void> {
  net.fairlead.writeConfig(config);
  await Promise.all(
    net.servers.map(async ({ host }) => {
      for (const service of Object.keys(config.services)) {
        await runOn(net, host, `server-setup ${service} --apply ${options}`);
      }
      await answerFromVips(host);
    }),
  );
}

/** The same by hand: the text that the command prints on the balancer is run on servers that have nothing else of fairlead. */
export async function setUpByText(
  net: Topology,
  config: ConfigDocument,
  decap: 'tc' | 'xdp' | 'kernel' = 'tc',
): Promise<void> {
  net.fairlead.writeConfig(config);
  const texts = await Promise.all(
    Object.entries(config.services).map(async ([service, { tunnel }]) => {
      const file = net.balancer.file(`${service}.sh`);
      const options = tunnel === undefined ? '' : `--decap ${decap}`;
      writeFileSync(file, await runOn(net, net.balancer, `server-setup ${service} ${options}`));
      return file;
    }),
  );
  await Promise.all(
    net.servers.map(async ({ host }) => {
      const environment = `PATH=${toolFolder}:/usr/sbin:/usr/bin:/sbin:/bin FAIRLEAD_STATE=${stateFolder(host)}`;
      for (const text of texts) await host.run(`env -i ${environment} sh ${text}`);
      await answerFromVips(host);
    }),
  );
}

async function answerFromVips(host: Host): Promise<void> {
  // "1: lo    inet 10.0.1.10/32 scope global lo ..."
  const lines = await host.run('ip -o address show dev lo scope global');
  const vips = Array.from(lines.matchAll(/ inet6? (\S+)\//g), ([, vip = '']) => vip);
  await startUdpServer(host, ...vips);
}
