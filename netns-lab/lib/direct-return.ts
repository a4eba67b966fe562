// Proofs of direct server return: clients are served by every server, in small and in bulk, and no answer passes the
// balancer.
import { equal, ok } from 'node:assert/strict';
import type { ServiceOptions, Topology } from '../topologies/topology.ts';
import { type Capture, capture } from './capture.ts';
import type { ServiceDocument } from './fairlead.ts';
import { assertServed } from './proof.ts';
import { bigBytes, bigFile, sha256 } from './servers.ts';
import { datagrams, download, requests, upload, urlOf } from './traffic.ts';

interface ServiceTraffic {
  service: string;
  inOctets: number;
  outFrames: number;
}

/** A service of both protocols on the servers' own ports: web and datagrams. */
export function webAndDatagrams(net: Topology, options: ServiceOptions): ServiceDocument {
  const [web, dns] = [net.service(options), net.service({ ...options, protocol: 'udp' })];
  return { ...web, listen: [web.listen, dns.listen].flat() };
}

/** Listens at the balancer's cables for whatever comes from a VIP; its own words (ARP, neighbours, errors) aside. */
export async function listenForAnswers(net: Topology): Promise<Capture[]> {
  const ports = [...new Set([net.plan.ports.outside, net.plan.ports.inside])];
  const fromVip = `(src host ${net.vip[4]} or src host ${net.vip[6]}) and (tcp or udp)`;
  return Promise.all(ports.map((port) => capture(port, fromVip)));
}

/** No answer passed since, by the cables and by the balancer's own counters. */
export async function assertNoAnswer(net: Topology, captures: readonly Capture[]): Promise<void> {
  for (const it of captures) {
    await it.stop();
    equal(await it.count(), 0, `an answer passed the balancer: ${(await it.frames())[0]}`);
  }
  for (const { service, outFrames } of await net.fairlead.view<ServiceTraffic[]>('services')) {
    equal(outFrames, 0, `frames of ${service} that came back through the balancer`);
  }
}

/** A service's traffic towards its servers so far, in octets. */
export async function octetsIn(net: Topology, service: string): Promise<number> {
  const all = await net.fairlead.view<ServiceTraffic[]>('services');
  return all.find((it) => it.service === service)?.inOctets ?? Number.NaN;
}

const seen = ({ seenAs }: { seenAs: string[] }) => [...new Set(seenAs.map((it) => it.split(' ')[0]))].join(' ');

/** Requests or datagrams reach every server, which sees the client itself. */
export async function proveSmall(
  net: Topology,
  protocol: 'tcp' | 'udp',
  vip: string,
  port: number,
  what: string,
): Promise<void> {
  const count = 10 * net.servers.length;
  const send = protocol === 'tcp' ? requests : datagrams;
  const tally = await send(net.client, vip, count, port);
  assertServed(
    tally,
    count,
    net.servers.map(({ name }) => name),
    what,
  );
  const spread = Object.values(tally.shares);
  ok(Math.max(...spread) === 10, `${what}: evenly spread: ${JSON.stringify(tally.shares)}`);
  equal(seen(tally), net.plan.clientAddress[vip.includes(':') ? 6 : 4], `${what}: whom the servers see`);
}

/** 10 MB each way, of which only one passes the balancer. */
export async function proveBig(
  net: Topology,
  service: string,
  vip: string,
  port: number,
  directions = 'down and up',
): Promise<void> {
  const big = bigFile(net.lab);
  const before = await octetsIn(net, service);
  if (directions.includes('down')) {
    equal(await download(net.client, urlOf(vip, port, '/big')), big.sha256, `${service}: 10 MB down`);
    // Nothing of it but acknowledgements came this way.
    ok((await octetsIn(net, service)) - before < bigBytes / 10, `${service}: the download went around the balancer`);
  }
  const name = `to-${service}`;
  const taker = await upload(net.client, urlOf(vip, port, `/upload/${name}`), big.path);
  const server = net.servers.find((it) => it.name === taker);
  equal(server && sha256(server.upload(name)), big.sha256, `${service}: 10 MB up`);
  ok((await octetsIn(net, service)) - before > bigBytes, `${service}: the upload passed the balancer`);
}
