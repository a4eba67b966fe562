// What comes of asking servers of direct server return through the path that clients use. Pure: facts in, findings out.

import type { ServiceConfig } from '../config/config.ts';
import { isDsr } from '../config/dsr-rules.ts';
import type { PathTrial } from '../health/path-trial.ts';
import { effective } from './ask-host.ts';
import type { BalancerFacts, DaemonFact } from './balancer-facts.ts';
import { bites, type Finding, fine, mayBite } from './finding.ts';

export function checkThrough(services: readonly ServiceConfig[], facts: BalancerFacts): readonly Finding[] {
  const { daemon } = facts;
  const trials = daemon?.trials ?? [];
  return [
    ...services.filter(isDsr).flatMap((service) => checkAnswers(service, facts)),
    ...trials.flatMap((trial) => [...checkHandshake(trial), ...checkFullSize(trial, isNarrow(services, trial, facts))]),
    ...(daemon === null ? [] : checkCameBack(daemon)),
  ];
}

/** Answers to this host's own checks come from the VIP, by the link of the servers. Strict (1) drops them there. */
function checkAnswers(service: ServiceConfig, { settings, paths, vipLinks }: BalancerFacts): readonly Finding[] {
  const vips = new Set(service.listens.filter(({ vip }) => vip.family === 4).map(({ vip }) => vip.text));
  const links = new Set(service.servers.flatMap(({ address }) => paths.get(address.text)?.route?.link ?? []));
  return [...links].flatMap((link): Finding[] => {
    const astray = [...vips].find((vip) => vipLinks.get(vip) !== link);
    if (astray === undefined || effective(settings, link, 'rp_filter') !== 1) return [];
    const words = `the strict reverse path filter of ${link} drops what servers of ${service.name} answer to checks of VIP ${astray}, which this host reaches by ${vipLinks.get(astray) || 'no link'}: they look as if they lacked it`;
    return [bites('reverse-path', words, `sysctl -w net/ipv4/conf/${link}/rp_filter=2`)];
  });
}

function checkHandshake({ service, server, vip, port, handshake }: PathTrial): readonly Finding[] {
  if (handshake === null) return [];
  const { outcome, reason } = handshake;
  const who = `server ${server} of service ${service}, asked for ${vip} port ${port} through the path of clients`;
  if (outcome === 'ok') return [fine('path', `${who}: ${reason}`)];
  if (outcome === 'untried') return [mayBite('path', `${who}: not tried, ${reason}`, 'see to it, and ask again')];
  return [bites('path', `${who}: ${reason}`, mendOf(reason, { service, server, vip }))];
}

function mendOf(reason: string, { service, server, vip }: Pick<PathTrial, 'service' | 'server' | 'vip'>): string {
  if (reason.includes('VIP is not configured')) return `on ${server}: fairlead server-setup ${service} --apply`;
  if (reason === 'connection refused') return `start the program on ${server}, listening on ${vip} or on all addresses`;
  return `on ${server}: fairlead doctor ${service} --server`;
}

/**
 * Has a router told the host so? Of a tunnel's packets it tells the data plane, which believes it for clients' flows; these
 * then are told.
 */
function isNarrow(services: readonly ServiceConfig[], trial: PathTrial, { paths, host }: BalancerFacts): boolean {
  const servers = services.find(({ name }) => name === trial.service)?.servers;
  const route = paths.get(servers?.find(({ name }) => name === trial.server)?.address.text ?? '')?.route;
  const mtu = host.links.find(({ name }) => name === route?.link)?.mtu ?? 0;
  return (route?.mtu ?? mtu) < mtu;
}

function checkFullSize({ service, server, vip, fullSize, size }: PathTrial, isToldOf: boolean): readonly Finding[] {
  const who = `${size} octets for ${vip} to server ${server} of service ${service}`;
  switch (fullSize === 'lost' && isToldOf ? 'too-big' : fullSize) {
    case 'through':
      return [fine('path-mtu', `packets of ${who} get through whole`)];
    case 'too-big': {
      const words = `packets of ${who} are too big for the way, as a router has said: larger ones of clients must shrink first`;
      return [mayBite('path-mtu', words, 'raise the MTU of the links on the way')];
    }
    case 'lost': {
      const words = `packets of ${who} get lost, smaller ones do not, and no router says why`;
      const mend = `let ICMP "fragmentation needed" through on the way, or raise the MTU there or on ${server}`;
      return [bites('path-mtu', words, mend)];
    }
    default:
      return [];
  }
}

function checkCameBack({ cameBack }: DaemonFact): readonly Finding[] {
  if (cameBack === 0) return [];
  const words = `${cameBack.toLocaleString('en')} frames came back since the region was made: a server does not own the VIP and sends on what it gets to its gateway, this host`;
  return [
    mayBite('came-back', words, 'on the server whose path is found broken: fairlead server-setup SERVICE --apply'),
  ];
}
