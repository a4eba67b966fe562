// What the balancer's host is like, and what it hears when it asks around.

import type { Config, ServiceConfig } from '../config/config.ts';
import { findConnected, type HostView } from '../config/host-view.ts';
import type { PathTrial } from '../health/path-trial.ts';
import type { Address } from '../net/address.ts';
import { askWho } from '../plane/ask.ts';
import { makePlatform } from '../plane/platform.ts';
import { type Ipv4Settings, readIpv4Settings, readText } from './ask-host.ts';
import { gatherPath, type PathFact, routeTo } from './path-facts.ts';

export interface BalancerFacts {
  readonly host: HostView;
  /** By link; "" when unknown. */
  readonly drivers: ReadonlyMap<string, string>;
  readonly settings: ReadonlyMap<string, Ipv4Settings>;
  readonly forwards: Readonly<Record<4 | 6, boolean>>;
  readonly heard: readonly Heard[];
  /** Why nobody could be asked on a link, in words. */
  readonly deaf: readonly string[];
  /** By the server's address. */
  readonly paths: ReadonlyMap<string, PathFact>;
  /** By the VIP's address: the link by which the host would reach it. */
  readonly vipLinks: ReadonlyMap<string, string>;
  /** Null: none runs, or it may not be asked. */
  readonly daemon: DaemonFact | null;
}

/** Somebody else said on a link that an address is theirs. */
export interface Heard {
  readonly link: string;
  readonly address: Address;
  readonly mac: string;
}

export interface DaemonFact {
  readonly engine: string;
  /** And how the engine works on each. */
  readonly interfaces: readonly { readonly name: string; readonly by: string }[];
  readonly ringDrops: number;
  readonly sendErrors: number;
  /** Frames that a server sent back here. */
  readonly cameBack: number;
  /** Each server of dsr services tried through the path that clients use. */
  readonly trials: readonly PathTrial[];
}

/** A neighbour answers within milliseconds; a sleepy one may need a second question. */
const ASK_MS = 800;
/** Pings at once: enough to be done with a thousand silent servers in minutes, few enough for any host. */
const PINGS = 16;

export async function gatherBalancerFacts(
  config: Config,
  services: readonly ServiceConfig[],
  daemon: DaemonFact | null,
): Promise<BalancerFacts> {
  const platform = makePlatform();
  const host = platform.inspect();
  const vips = unique(services.flatMap(({ listens }) => listens.map(({ vip }) => vip)));
  const servers = unique(services.flatMap((service) => service.servers.map(({ address }) => address)));
  return {
    host,
    drivers: new Map(host.links.map(({ name }) => [name, platform.driverOf(name)])),
    settings: readIpv4Settings(),
    forwards: {
      4: readText('/proc/sys/net/ipv4/ip_forward')?.trim() === '1',
      6: readText('/proc/sys/net/ipv6/conf/all/forwarding')?.trim() === '1',
    },
    ...listen(config, host, vips, servers),
    paths: await gatherPaths(servers, (link) => host.links.find(({ name }) => name === link)?.mtu ?? 1500),
    vipLinks: await gatherLinks(vips),
    daemon,
  };
}

async function gatherLinks(vips: readonly Address[]): Promise<Map<string, string>> {
  const routes = await Promise.all(vips.map(async (vip) => [vip.text, (await routeTo(vip))?.link ?? ''] as const));
  return new Map(routes);
}

/** Asks for the VIPs everywhere, and for servers where they are neighbours, so that MACs get names. */
function listen(config: Config, host: HostView, vips: readonly Address[], servers: readonly Address[]) {
  const heard: Heard[] = [];
  const deaf: string[] = [];
  for (const name of Object.values(config.interfaces)) {
    const link = host.links.find((candidate) => candidate.name === name && candidate.isUp);
    // That an interface is missing or down is said by who compares file and host.
    if (link === undefined) continue;
    const neighbours = servers.filter((address) => findConnected(address, host, [name]) !== undefined);
    try {
      const answers = askWho(link.index, [...vips, ...neighbours], ASK_MS);
      heard.push(...answers.map((answer) => ({ link: name, ...answer })));
    } catch (error) {
      deaf.push(`${name}: ${(error as Error).message}`);
    }
  }
  return { heard, deaf };
}

async function gatherPaths(
  servers: readonly Address[],
  mtuOf: (link: string) => number,
): Promise<Map<string, PathFact>> {
  const paths = new Map<string, PathFact>();
  const waiting = [...servers];
  const work = async (): Promise<void> => {
    for (let server = waiting.pop(); server !== undefined; server = waiting.pop()) {
      paths.set(server.text, await gatherPath(server, mtuOf));
    }
  };
  await Promise.all(Array.from({ length: PINGS }, work));
  return paths;
}

function unique(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map((address) => [address.text, address])).values()];
}
