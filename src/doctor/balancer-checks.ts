// What bites on the balancer. Pure: facts in, findings out.

import type { Config, ServiceConfig } from '../config/config.ts';
import { isDsr } from '../config/dsr-rules.ts';
import { checkAgainstHost } from '../config/host-check.ts';
import { tunnelOverhead } from '../config/tunnel.ts';
import { effective } from './ask-host.ts';
import type { BalancerFacts, Heard } from './balancer-facts.ts';
import { bites, type Finding, fine, mayBite, orFine } from './finding.ts';
import type { PathFact, RouteFact } from './path-facts.ts';
import { checkThrough } from './through-checks.ts';

export function checkBalancer(
  config: Config,
  services: readonly ServiceConfig[],
  facts: BalancerFacts,
): readonly Finding[] {
  return [
    ...checkHost(config, facts),
    ...checkVips(services, facts),
    ...services.flatMap((service) => checkPaths(service, facts)),
    ...services.flatMap((service) => checkWayBack(service, config, facts)),
    ...checkThrough(services, facts),
    ...checkDaemon(facts),
    ...checkXdp(facts),
  ];
}

/** The same that `check` says; here a file that cannot run is a finding like others. */
function checkHost(config: Config, { host }: BalancerFacts): readonly Finding[] {
  const findings = checkAgainstHost(config, host).map(({ severity, file, line, column, message, hint }): Finding => {
    const words = line === 0 ? message : `${file}:${line}:${column}: ${message}`;
    const what = severity === 'error' ? bites : mayBite;
    return what('host', words, hint ?? 'change the file or the host');
  });
  return orFine(findings, 'host', 'file and host fit each other');
}

function checkVips(services: readonly ServiceConfig[], { heard, deaf }: BalancerFacts): readonly Finding[] {
  const owners = new Map(services.flatMap(({ listens, name }) => listens.map(({ vip }) => [vip.text, name] as const)));
  const findings = heard
    .filter(({ address }) => owners.has(address.text))
    .map((answer): Finding => {
      const service = owners.get(answer.address.text) ?? '';
      const server = whoseMac(answer, services, heard);
      const asked = answer.address.family === 4 ? 'ARP' : 'neighbour discovery';
      if (server === null) {
        const words = `VIP ${answer.address.text} is answered on ${answer.link} by ${answer.mac}, which is no server of its services: another balancer, or a host with the same address`;
        return mayBite('vip', words, `find it: ip neigh | grep ${answer.mac}, or the switch's table of MACs`);
      }
      const words = `VIP ${answer.address.text} is answered by ${asked} of server ${server} (${answer.mac} on ${answer.link}): clients' frames go there past the balancer`;
      return bites('vip', words, `on ${server}: fairlead server-setup ${service} --apply`);
    });
  const silent = deaf.map((words) =>
    mayBite('vip', `nobody could be asked for the VIPs: ${words}`, 'run this as root'),
  );
  return orFine([...findings, ...silent], 'vip', 'no other host answers for a VIP');
}

/** The server that answered for its own address with this MAC. */
function whoseMac({ mac, link }: Heard, services: readonly ServiceConfig[], heard: readonly Heard[]): string | null {
  const own = heard.filter((other) => other.mac === mac && other.link === link).map(({ address }) => address.text);
  const servers = services.flatMap((service) => service.servers);
  const server = servers.find(({ address }) => own.includes(address.text));
  return server === undefined ? null : `${server.name} (${server.address.text})`;
}

function checkPaths(service: ServiceConfig, facts: BalancerFacts): readonly Finding[] {
  return service.servers.flatMap(({ name, address }): readonly Finding[] => {
    const path = facts.paths.get(address.text);
    const who = `server ${name} (${address.text}) of service ${service.name}`;
    // A server that is this host itself is a problem of the file, told there.
    if (path === undefined || path.route?.link === 'lo') return [];
    if (path.route === null) {
      return [bites('route', `there is no route to ${who}`, `ip route add ${address.text} via GATEWAY`)];
    }
    if (path.ping === 'answered') return [checkSize(service, who, path, path.route, facts)];
    const isNeighbour = facts.heard.some((answer) => answer.address.text === address.text);
    if (path.route.gateway === null && !isNeighbour) {
      const words = `${who} does not answer on ${path.route.link}, not even who it is`;
      return [bites('route', words, 'start it, or mend its address, cable or VLAN')];
    }
    const words = `${who} answers no ping, so whether full-sized packets get there is not known`;
    return [mayBite('mtu', words, 'allow echo requests there')];
  });
}

function checkSize(
  service: ServiceConfig,
  who: string,
  path: PathFact,
  route: RouteFact,
  { host }: BalancerFacts,
): Finding {
  const link = host.links.find(({ name }) => name === route.link);
  const mtu = link?.mtu ?? 1500;
  const way = `by ${route.link}${route.gateway === null ? '' : ` and ${route.gateway}`}`;
  if (path.isFullSizeThrough === true) return fine('mtu', `packets of ${mtu} octets get to ${who} ${way}`);
  if (route.mtu === null || route.mtu >= mtu) {
    const words = `packets of ${mtu} octets get lost on the way to ${who} ${way}, and no router says why`;
    return bites('mtu', words, 'let ICMP "fragmentation needed" through on the way, or raise the MTU there');
  }
  const left = service.tunnel === null ? route.mtu : route.mtu - tunnelOverhead(service.tunnel);
  const inside = service.tunnel === null ? '' : `, of which the tunnel leaves ${left}`;
  const words = `the path to ${who} ${way} takes packets of ${route.mtu} octets only${inside}: larger ones of clients must shrink first`;
  return mayBite('mtu', words, 'raise the MTU of the links on the way');
}

/**
 * With direct server return and two interfaces the servers' answers may come through this host, if it is their gateway. The
 * host must then forward them, though their source, the VIP, belongs to the other side.
 */
function checkWayBack(
  service: ServiceConfig,
  { interfaces: { inside } }: Config,
  { settings, forwards }: BalancerFacts,
): readonly Finding[] {
  const family = service.listens[0]?.vip.family ?? 4;
  if (!isDsr(service) || inside === undefined) return [];
  const forward = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
  if (!forwards[family]) {
    const words = `this host does not forward IPv${family}: answers of ${service.name} get lost if it is the servers' gateway`;
    return [mayBite('way-back', words, `sysctl -w ${forward}=1, or give the servers another gateway`)];
  }
  if (family === 6 || effective(settings, inside, 'rp_filter') !== 1) return [];
  const words = `the strict reverse path filter of ${inside} drops answers of ${service.name}, whose source is a VIP of the other side, if this host is the servers' gateway`;
  return [mayBite('way-back', words, `sysctl -w net/ipv4/conf/${inside}/rp_filter=2`)];
}

function checkDaemon({ daemon }: BalancerFacts): readonly Finding[] {
  if (daemon === null) {
    return [
      mayBite('daemon', 'no fairlead answers here', 'start it with "fairlead up -c FILE", or name its socket with -s'),
    ];
  }
  const { engine, ringDrops, sendErrors } = daemon;
  const lost = [
    ...(ringDrops > 0 ? [`the kernel dropped ${ringDrops.toLocaleString('en')} frames because a ring was full`] : []),
    ...(sendErrors > 0 ? [`interfaces refused ${sendErrors.toLocaleString('en')} frames`] : []),
  ].map((words) => mayBite('daemon', words, 'add workers, or cores'));
  return orFine(lost, 'daemon', `engine ${engine}`);
}

/** In the driver of a veth XDP works, but what a card does by itself is then up to whoever is at the other end. */
function checkXdp({ daemon, drivers }: BalancerFacts): readonly Finding[] {
  const veths = (daemon?.interfaces ?? []).filter(
    ({ name, by }) => by.startsWith('xdp') && drivers.get(name) === 'veth',
  );
  return veths.flatMap(({ name, by }): readonly Finding[] => {
    const sums = `${name} is a veth worked on by ${by}, and XDP sees neither which checksums its senders left to be made (TCP then times out though ping works) nor VLAN tags handed on beside the frame`;
    const findings = [
      mayBite(
        'xdp',
        sums,
        'engine: tc; or ethtool -K DEV tx off txvlan off at every sender behind it, and gro on at every receiver',
      ),
    ];
    if (by !== 'xdp') return findings;
    const ring = `what xdp sends to the veth ${name} waits in a ring of 256 frames: a longer burst is dropped there and counted nowhere here`;
    return [...findings, mayBite('xdp', ring, 'engine: tc, which queues as the kernel does')];
  });
}
