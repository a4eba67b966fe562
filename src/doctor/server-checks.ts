// What bites on a real server of a dsr service. Pure: facts in, findings out.

import type { Listen, ServiceConfig } from '../config/config.ts';
import { formatListen } from '../config/endpoint.ts';
import type { Address } from '../net/address.ts';
import { formatPrefix } from '../net/prefix.ts';
import { effective } from './ask-host.ts';
import { checkDecapsulation, isKernelTunnel } from './decap-checks.ts';
import { bites, type Finding, fine, mayBite, orFine } from './finding.ts';
import { listeningOn } from './listeners.ts';
import { findSelf, type Self, type ServerFacts } from './server-facts.ts';

export function checkServer(service: ServiceConfig, facts: ServerFacts): readonly Finding[] {
  const self = findSelf(service, facts);
  const setup = `fairlead server-setup ${service.name} --apply`;
  if (self === null) {
    const servers = service.servers.map(({ name, address }) => `${name} ${address.text}`).join(', ');
    const words = `no server of service ${service.name} is this host: none of its addresses is here (${servers})`;
    return [bites('server', words, 'run this on one of them, or give this host its address')];
  }
  const vips = [...new Map(service.listens.map(({ vip }) => [vip.text, vip])).values()];
  return [
    ...checkLink(self, facts),
    ...vips.flatMap((vip) => checkVip(vip, facts)),
    ...(vips[0]?.family === 4 ? [...checkArp(facts), ...checkReversePath(service, self, facts)] : []),
    ...checkDecapsulation(service, self, facts, setup),
    ...service.listens.flatMap((listen) => checkListener(listen, facts)),
    ...checkReturn(vips[0]?.family ?? 4, facts),
  ];
}

function checkLink({ server, link }: Self, { links }: ServerFacts): readonly Finding[] {
  const fact = links.find(({ name }) => name === link);
  const who = `server ${server.name} is this host, on ${link}`;
  if (fact?.isUp !== true) return [bites('link', `${link} is down`, `ip link set ${link} up`)];
  return fact.hasCarrier
    ? [fine('server', who)]
    : [bites('link', `${link} has no carrier`, `look at its cable or peer`)];
}

function checkVip(vip: Address, facts: ServerFacts): readonly Finding[] {
  const bits = vip.family === 4 ? 32 : 128;
  const exact = `${vip.text}/${bits}`;
  const nodad = vip.family === 4 ? '' : ' nodad';
  const here = facts.addresses.filter(({ prefix }) => prefix.address.text === vip.text);
  const wrong = here.flatMap(({ link, prefix, isTentative }): Finding[] => {
    const del = `ip address del ${formatPrefix(prefix)} dev ${link}`;
    if (link !== 'lo') {
      const words = `VIP ${vip.text} is on ${link}, which answers for it: clients' frames may come here past the balancer`;
      return [bites('vip', words, `${del} && ip address add ${exact} dev lo${nodad}`)];
    }
    if (prefix.length !== bits) {
      const words = `VIP ${vip.text} is on lo with length ${prefix.length}: all of that network is this host, and its hosts get no answer`;
      return [bites('vip', words, `ip address add ${exact} dev lo${nodad} && ${del}`)];
    }
    const words = `VIP ${vip.text} is tentative: duplicate address detection has not ended or found another owner`;
    return isTentative ? [bites('vip', words, `${del} && ip address add ${exact} dev lo nodad`)] : [];
  });
  if (here.length === 0) {
    const words = `VIP ${vip.text} is not on this server: it takes no packet for it, and may send them on to its gateway`;
    return [bites('vip', words, `ip address add ${exact} dev lo${nodad}`)];
  }
  const lo = facts.links.find(({ name }) => name === 'lo');
  const down = lo?.isUp === false ? [bites('vip', 'lo is down, and the VIP with it', 'ip link set lo up')] : [];
  return orFine([...wrong, ...down], 'vip', `VIP ${vip.text} is on lo`);
}

/** Of arp_ignore only these keep an address of lo silent: 3 answers for global addresses of any link. */
const SILENT = [1, 2, 8];

function checkArp({ links, settings }: ServerFacts): readonly Finding[] {
  const asked = links.filter(({ isUp, isEthernet }) => isUp && isEthernet);
  const findings = asked.flatMap(({ name }): Finding[] => {
    const ignore = effective(settings, name, 'arp_ignore');
    const announce = effective(settings, name, 'arp_announce');
    return [
      ...(SILENT.includes(ignore)
        ? []
        : [
            bites(
              'arp',
              `${name} answers ARP for the VIP on lo (arp_ignore is ${ignore}): clients' frames may come here past the balancer`,
              'sysctl -w net.ipv4.conf.all.arp_ignore=1',
            ),
          ]),
      ...(announce === 2
        ? []
        : [
            bites(
              'arp',
              `${name} asks for its neighbours in the name of the VIP (arp_announce is ${announce}): they learn this server's MAC for it`,
              'sysctl -w net.ipv4.conf.all.arp_announce=2',
            ),
          ]),
    ];
  });
  return orFine(findings, 'arp', 'ARP keeps silent about the VIP');
}

/** Strict (1) drops a packet whose source is not reached through the link it came by. */
function checkReversePath(service: ServiceConfig, self: Self, facts: ServerFacts): readonly Finding[] {
  const { links, settings, defaultLinks } = facts;
  const isStrict = (link: string): boolean => effective(settings, link, 'rp_filter') === 1;
  const ways = [self.link, ...links.filter((link) => isKernelTunnel(link, service)).map(({ name }) => name)];
  const findings = ways.flatMap((link): Finding[] => {
    if (!isStrict(link) || defaultLinks[4].includes(link)) return [];
    const words = `the strict reverse path filter of ${link} drops packets of clients that are answered by another way (${defaultLinks[4].join(', ') || 'there is no default route'})`;
    return [bites('reverse-path', words, `sysctl -w net/ipv4/conf/${link}/rp_filter=2`)];
  });
  return orFine(findings, 'reverse-path', 'the reverse path filter lets clients in');
}

function checkListener(listen: Listen, { listeners }: ServerFacts): readonly Finding[] {
  const { vip, protocol, firstPort, lastPort } = listen;
  // Of a range nobody knows which ports are meant.
  if (firstPort !== lastPort) return [];
  const text = formatListen(listen);
  const who = listeningOn(listeners, protocol, vip, firstPort);
  if (who === 'nobody') {
    return [
      bites('listener', `nothing listens on ${text} here`, `start the server on ${vip.text} or on all addresses`),
    ];
  }
  if (who === 'own' || protocol === 'tcp') return [fine('listener', `a program listens on ${text}`)];
  const words = `who listens for ${text} listens on all addresses: unless the program minds it, answers leave from this host's own address and clients drop them`;
  return [mayBite('listener', words, `bind it to ${vip.text}`)];
}

function checkReturn(family: 4 | 6, { defaultLinks }: ServerFacts): readonly Finding[] {
  const [link] = defaultLinks[family];
  if (link !== undefined) return [fine('return', `answers leave by ${link}`)];
  const words = `there is no IPv${family} default route: only clients of connected networks get an answer`;
  return [mayBite('return', words, `ip -${family} route add default via GATEWAY`)];
}
