// Does the server unwrap what the balancer sends, and only that?

import type { ServiceConfig, TunnelConfig } from '../config/config.ts';
import { formatTunnelSource } from '../config/tunnel.ts';
import { parsePrefix, prefixContains } from '../net/prefix.ts';
import { bites, type Finding, fine, mayBite, orFine } from './finding.ts';
import type { LinkFact, Self, ServerFacts, UnwrappedService, Unwrapping } from './server-facts.ts';

/** The kernel's kinds that can unwrap a type. */
const KINDS: Readonly<Record<TunnelConfig['type'], readonly string[]>> = {
  gre: ['gre', 'ip6gre'],
  ipip: ['ipip', 'sit', 'ip6tnl'],
  gue: ['ipip', 'sit', 'ip6tnl'],
};

export function isKernelTunnel({ kind, tunnel }: LinkFact, service: ServiceConfig): boolean {
  if (service.tunnel === null || kind === null || tunnel === null) return false;
  const { type, source } = service.tunnel;
  return KINDS[type].includes(kind) && (tunnel.remote === null || tunnel.remote === source.address.text);
}

export function checkDecapsulation(
  service: ServiceConfig,
  self: Self,
  facts: ServerFacts,
  setup: string,
): readonly Finding[] {
  const { tunnel } = service;
  if (tunnel === null) return [];
  const kernel = facts.links.filter((link) => isKernelTunnel(link, service));
  const ours = (facts.unwrapping ?? []).flatMap((place) =>
    place.services.filter((entry) => entry.service === service.name).map((entry) => ({ place, entry })),
  );
  if (ours.length > 0) {
    return ours.flatMap(({ place, entry }) => [
      ...orFine(
        differences(service, tunnel, self, entry).map((words) => bites('decapsulation', words, setup)),
        'decapsulation',
        `${tunnel.type} is unwrapped on ${place.interface} at ${place.at}, ${countWords(place, tunnel)}`,
      ),
      ...checkPlace(place, facts, self, setup),
      ...checkCounts(place),
    ]);
  }
  if (kernel.length > 0) return kernel.flatMap((link) => checkDevice(link, tunnel, setup));
  const from = formatTunnelSource(tunnel.source);
  if (facts.unwrapping === null) {
    const words = `the kernel has no device that unwraps ${tunnel.type} from ${from}, and fairlead-decap is not here or may not be asked`;
    return [bites('decapsulation', words, setup)];
  }
  return [bites('decapsulation', `nothing here unwraps ${tunnel.type} from ${from}`, setup)];
}

/** In which the decapsulator was told something else than the configuration says now. */
function differences(service: ServiceConfig, tunnel: TunnelConfig, self: Self, entry: UnwrappedService): string[] {
  const from = formatTunnelSource(tunnel.source);
  const vips = [...new Set(service.listens.map(({ vip }) => vip.text))];
  const missing = vips.filter((vip) => !entry.vips.includes(vip));
  const isCovered = entry.from.some((text) => {
    const prefix = parsePrefix(text);
    return prefix !== null && prefix.length <= tunnel.source.length && prefixContains(prefix, tunnel.source.address);
  });
  const keyWords = (key: number | null | undefined): string => ((key ?? null) === null ? 'no key' : `key ${key}`);
  return [
    ...(entry.tunnel === tunnel.type
      ? []
      : [`${entry.tunnel} is unwrapped here, but the balancer sends ${tunnel.type}`]),
    ...((entry.key ?? null) === tunnel.key
      ? []
      : [`GRE with ${keyWords(entry.key)} is unwrapped here, but the balancer sends ${keyWords(tunnel.key)}`]),
    ...((entry.port ?? null) === tunnel.port || entry.tunnel !== tunnel.type
      ? []
      : [`GUE on port ${entry.port} is unwrapped here, but the balancer sends to port ${tunnel.port}`]),
    ...(entry.local === self.address.text
      ? []
      : [`what is sent to ${entry.local} is unwrapped here, but this server is ${self.address.text}`]),
    ...(isCovered ? [] : [`the balancer's ${from} is not among those that may send here (${entry.from.join(', ')})`]),
    ...missing.map((vip) => `VIP ${vip} is not among those that are unwrapped here`),
  ];
}

function countWords({ counts }: Unwrapping, { type }: TunnelConfig): string {
  const frames = counts[type]?.frames ?? 0;
  return frames === 0 ? 'though none has come yet' : `${frames.toLocaleString('en')} frames so far`;
}

function checkPlace(place: Unwrapping, { links }: ServerFacts, self: Self, setup: string): readonly Finding[] {
  const link = links.find(({ name }) => name === place.interface);
  const wrongLink =
    place.interface === self.link
      ? []
      : [bites('decapsulation', `tunnels are unwrapped on ${place.interface}, but come in on ${self.link}`, setup)];
  if (place.at !== 'xdp') return wrongLink;
  const mend = `${setup} --decap tc`;
  if (place.generic) {
    const words = `the driver of ${place.interface} takes no XDP program, so each frame is copied first: slower than at tc`;
    return [...wrongLink, mayBite('offloads', words, mend)];
  }
  if (link?.kind !== 'veth') return wrongLink;
  const words = `${place.interface} is a veth with an XDP program: its peer then sends no super-frames, and bulk TCP is several times slower`;
  return [...wrongLink, mayBite('offloads', words, mend)];
}

const COUNTED: Readonly<Record<string, string>> = {
  endpoint: 'GRE or IPIP packets came for another address or with another key than any service here expects',
  source: 'tunnel packets came from an address that is no listed balancer',
  vip: 'tunnel packets held a packet for no listed VIP',
  fragment: 'tunnel packets came in fragments, which are not unwrapped: the path to the balancer has too small an MTU',
  header: 'tunnel packets had options that are not spoken here (a checksum, a sequence number)',
  length: 'tunnel packets were cut short',
  refused: 'frames were not shortened by the kernel',
};

function checkCounts({ interface: link, counts }: Unwrapping): readonly Finding[] {
  return Object.entries(COUNTED).flatMap(([name, words]) => {
    const frames = counts[name]?.frames ?? 0;
    if (frames === 0) return [];
    const mend = `see who sends them: tcpdump -ni ${link} 'ip proto 47 or ip proto 4 or ip proto 41 or udp port 6080'`;
    return [mayBite('decapsulation', `${frames.toLocaleString('en')} ${words}`, mend)];
  });
}

function checkDevice(
  { name, isUp, kind, tunnel }: LinkFact,
  { type, key }: TunnelConfig,
  setup: string,
): readonly Finding[] {
  if (!isUp) return [bites('decapsulation', `tunnel device ${name} is down`, `ip link set ${name} up`)];
  if (type === 'gre' && (tunnel?.key ?? null) !== key) {
    const words = `tunnel device ${name} takes ${tunnel?.key === null ? 'no key' : `key ${tunnel?.key}`}, but the balancer sends ${key === null ? 'none' : `key ${key}`}`;
    return [bites('decapsulation', words, setup)];
  }
  return [fine('decapsulation', `the kernel's device ${name} (${kind}) unwraps ${type}`)];
}
