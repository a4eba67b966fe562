// What hosts and routers on the way say in ICMP, both ways through nat and full-nat, as real programs hear it: a
// traceroute sees who is on the way, a client of a closed port is refused, and who sends too large packets is told.
import { deepEqual, equal, match } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { everyEngineAndMode } from '../lib/engine.ts';
import { forgetMtus, learnedMtu, narrow } from '../lib/path-mtu.ts';
import type { Host } from '../lib/host.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile, sha256 } from '../lib/servers.ts';
import { download, upload, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildBetween, networks, picture, routers } from '../topologies/between.ts';
import { families, type Family, type Method, type Topology } from '../topologies/topology.ts';

type Translating = Extract<Method, 'nat' | 'full-nat'>;

const outsideOfBalancer = { 4: '203.0.113.2', 6: '2001:db8:a::2' };
const closedPort = 9; // of a service whose servers do not listen
const closedService = 7;
const tracedPort = 20_000;

interface FlowDocument {
  server: string;
  client: string;
  local: string | null;
}

async function flowsOf(net: Topology, service: string): Promise<FlowDocument[]> {
  const lines = await net.fairlead.run(`flows --service ${service} -o json`);
  return lines
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as FlowDocument);
}

/** Who answered at each hop, as traceroute prints it without names. One probe a hop: routers say little in a second. */
async function hopsTo(from: Host, address: string, options: string): Promise<string[]> {
  const text = await from.run(`traceroute -n -q 1 -N 1 -w 3 -m 6 ${options} ${address}`);
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/)[1] ?? '');
}

async function proveTraces(net: Topology, method: Translating): Promise<void> {
  for (const family of families) {
    const vip = net.vip[family];
    // The balancer says as itself that its hop is one. What is behind it is with full-nat nobody but the VIP.
    const shown = [routers.near.clients[family], outsideOfBalancer[family]];
    const expected = [...shown, method === 'nat' ? routers.far.inside[family] : vip, vip];
    deepEqual(await hopsTo(net.client, vip, '-T -p 80'), expected, `a traceroute by TCP over IPv${family}`);
    deepEqual(await hopsTo(net.client, vip, '-U -p 53'), expected, `a traceroute by UDP over IPv${family}`);
  }
}

/** The other way: a server traces the way of its answers to a client, which has no socket there any more. */
async function proveTraceBack(net: Topology, method: Translating): Promise<void> {
  for (const family of families) {
    const [vip, client] = [net.vip[family], net.plan.clientAddress[family]];
    const target = family === 4 ? `UDP4:${vip}:${closedService}` : `UDP6:[${vip}]:${closedService}`;
    await net.client.attempt(`echo hello | socat -t 5 -T 5 - ${target},sourceport=${tracedPort}`);
    const [flow] = await flowsOf(net, `closed${family}`);
    const server = net.servers.find(({ name }) => name === flow?.server);
    if (flow === undefined || server === undefined) throw new Error(`no server ${flow?.server}`);
    const port = (flow.local ?? flow.client).replace(/.*:/, '');
    const behind = method === 'nat' ? [routers.near.outside[family], client] : [vip, vip];
    deepEqual(
      await hopsTo(server.host, method === 'nat' ? client : vip, `-U --sport=${closedPort} -p ${port}`),
      [routers.far.servers[family], net.plan.balancerAddress[family], ...behind],
      `a server's traceroute to its client over IPv${family}`,
    );
  }
}

async function proveRefused(net: Topology): Promise<void> {
  for (const family of families) {
    const [vip, client] = [net.vip[family], net.plan.clientAddress[family]];
    const isUnreachable = family === 4 ? 'icmp[0] = 3 and icmp[1] = 3' : 'ip6[40] = 1 and ip6[41] = 4';
    const protocol = family === 4 ? 'icmp' : 'icmp6';
    const heard = await capture(
      { host: net.lab.host('clients'), device: 'client' },
      `${protocol} and ${isUnreachable}`,
    );
    const target = family === 4 ? `UDP4:${vip}:${closedService}` : `UDP6:[${vip}]:${closedService}`;
    for (const port of [20_001, 20_002, 20_003]) {
      const refused = await net.client.attempt(`echo hello | socat -t 5 -T 5 - ${target},sourceport=${port}`);
      match(refused.stderr, /Connection refused/, `the client's socket over IPv${family}`);
    }
    await waitFor(
      'each refusal on the client’s cable',
      () => heard.count(`src host ${vip}`),
      (count) => count === 3,
    );
    await heard.stop();
    equal(await heard.count(`not (src host ${vip} and dst host ${client})`), 0, 'nobody but the VIP says so');
    equal((await flowsOf(net, `closed${family}`)).length, 3, 'no error ends a flow (RFC 5508 REQ-7)');
    equal((await heard.frames()).filter((line) => line.includes('wrong')).length, 0, 'with right checksums');
  }
}

async function proveMtus(net: Topology, method: Translating): Promise<void> {
  const [near, far, big] = [net.lab.host('near'), net.lab.host('far'), bigFile(net.lab)];
  for (const family of families) {
    await narrow(far, networks.servers[family], 'north', 1420);
    await proveUpward(net, family, big, 1420);
    await narrow(near, networks.clients[family], 'south', 1400);
    await forgetMtus(...net.servers.map(({ host }) => host));
    const seenClient = method === 'nat' ? net.plan.clientAddress[family] : net.vip[family];
    const learned = () => Promise.all(net.servers.map(({ host }) => learnedMtu(host, seenClient)));
    for (const nth of net.servers.keys()) {
      equal(await download(net.client, urlOf(net.vip[family], 80, '/big')), big.sha256, `download ${nth}`);
      // Only those that a download has come from: an error goes to the server whose packet it quotes.
      await waitFor(
        `${nth + 1} servers to be told over IPv${family}`,
        learned,
        (mtus) => mtus.filter((mtu) => mtu === 1400).length === nth + 1,
      );
    }
  }
}

async function proveUpward(net: Topology, family: Family, big: { path: string; sha256: string }, mtu: number) {
  for (const { name } of net.servers) {
    await forgetMtus(net.client);
    equal(await learnedMtu(net.client, net.vip[family]), null, 'the client knows nothing');
    const file = `${family}-${name}`;
    const taker = await upload(net.client, urlOf(net.vip[family], 80, `/upload/${file}`), big.path);
    const server = net.servers.find((it) => it.name === taker);
    equal(server && sha256(server.upload(file)), big.sha256, `10 MB up to ${taker} over IPv${family}`);
    equal(await learnedMtu(net.client, net.vip[family]), mtu, 'the client was told what fits');
  }
}

async function stageOf(lab: Parameters<Scenario['stage']>[0], method: Translating): Promise<Topology> {
  const net = await buildBetween(lab, { servers: 2 });
  const closed = families.map((family) => {
    const service = net.service({ method, family, protocol: 'udp', port: closedService });
    const servers = net.servers.map(({ name }, index) => {
      const address = net.plan.serverAddress(index, family);
      return [name, `${family === 6 ? `[${address}]` : address}:${closedPort}`] as const;
    });
    return [`closed${family}`, { ...service, check: 'none' as const, servers: Object.fromEntries(servers) }] as const;
  });
  const services = { ...net.everyService(method, { more: { check: 'none' } }), ...Object.fromEntries(closed) };
  await net.fairlead.up(net.config(services));
  return net;
}

const scenariosOf = (method: Translating): Scenario[] => [
  {
    name: `traceroute-${method}`,
    title: `traceroute sees who is on the way to a VIP and back from a server through ${method}`,
    picture,
    stage: (lab) => stageOf(lab, method),
    run: async (net) => {
      await proveTraces(net, method);
      await proveTraceBack(net, method);
    },
  },
  {
    name: `port-unreachable-${method}`,
    title: `a client of a server's closed port is refused by the VIP through ${method}, and its flow stays`,
    picture,
    engines: everyEngineAndMode,
    stage: (lab) => stageOf(lab, method),
    run: proveRefused,
  },
];

export const scenarios: Scenario[] = [
  ...scenariosOf('nat'),
  ...scenariosOf('full-nat'),
  {
    name: 'path-mtu-nat',
    title: 'what routers say about too large packets reaches clients and servers through nat, and transfers go on',
    picture,
    stage: (lab) => stageOf(lab, 'nat'),
    run: (net) => proveMtus(net, 'nat'),
  },
];
