// l3-dsr with its own balancer, a scenario for each tunnel: servers behind a router take what comes for the VIP out of the
// tunnel and answer clients straight.
import { deepEqual, ok } from 'node:assert/strict';
import { capture } from '../lib/capture.ts';
import { assertNoAnswer, listenForAnswers, proveBig, proveSmall, webAndDatagrams } from '../lib/direct-return.ts';
import { everyEngine, everyEngineAndMode } from '../lib/engine.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { runOn, setUpByText } from '../lib/server-setup.ts';
import { udpPort, webPort } from '../lib/servers.ts';
import { nameOf, type Wrapping } from '../lib/stand-in.ts';
import { requests } from '../lib/traffic.ts';
import { asWrapped } from '../lib/wrapped.ts';
import { buildRouted, picture } from '../topologies/routed.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface Case {
  service: string;
  wrapping: Wrapping;
  /** Of TCP. A VIP has a service for each family outside, which need ports of their own. */
  port: number;
  hasDatagrams: boolean;
}

/** Each family in each. What tunnels can do besides is asked for where both are IPv6. */
function casesOf(type: Wrapping['type']): Case[] {
  const more = { gre: { key: 0x0a0b0c0d }, ipip: {}, gue: { port: 6081 } }[type];
  return families.flatMap((inner) =>
    families.map((outer) => ({
      service: `web-${inner}-in-${outer}`,
      wrapping: { type, outer, inner, ...(inner === 6 && outer === 6 ? more : {}) },
      port: inner === outer ? webPort : 8000 + outer,
      hasDatagrams: inner === outer,
    })),
  );
}

function configOf(net: Topology, cases: readonly Case[]) {
  const services = cases.map(({ service, wrapping: { outer, inner, ...tunnel }, port, hasDatagrams }) => {
    const options = { method: 'l3-dsr', family: inner, outer, tunnel, more: { check: 'none' } } as const;
    return [service, hasDatagrams ? webAndDatagrams(net, options) : net.service({ ...options, port })] as const;
  });
  return net.config(Object.fromEntries(services));
}

/** What the balancer should send the first server for a service. */
function filterOf({ plan, vip }: Topology, { wrapping }: Case): string {
  const { outer, inner } = wrapping;
  const [source, target] = [plan.balancerAddress[outer], plan.serverAddress(0, outer)];
  return asWrapped(wrapping, { source, target, vip: vip[inner] });
}

/** Requests and datagrams of each service reach every server, wrapped as they should be and as nothing else. */
async function proveWrapped(net: Topology, cases: readonly Case[]): Promise<void> {
  const { plan, vip } = net;
  const { name } = net.server(0);
  const sources = families.map((family) => `src host ${plan.balancerAddress[family]}`);
  const frames = await capture({ host: net.lab.host('far'), device: name }, `(${sources.join(' or ')}) and not icmp6`);
  for (const { wrapping, port, hasDatagrams } of cases) {
    await proveSmall(net, 'tcp', vip[wrapping.inner], port, nameOf(wrapping));
    if (hasDatagrams) await proveSmall(net, 'udp', vip[wrapping.inner], udpPort, nameOf(wrapping));
  }
  await frames.stop();
  for (const it of cases) {
    const count = await frames.count(filterOf(net, it));
    // Handshake, request, acknowledgement and end of ten connections.
    ok(count >= 10 * 4 + (it.hasDatagrams ? 10 : 0), `${nameOf(it.wrapping)}: ${count} frames arrived at ${name}`);
  }
  const others = await frames.frames(cases.map((it) => `not (${filterOf(net, it)})`).join(' and '));
  deepEqual(others, [], `the balancer sent ${name} nothing else`);
}

async function prove(net: Topology, type: Wrapping['type']): Promise<void> {
  const cases = casesOf(type);
  const answers = await listenForAnswers(net);
  await proveWrapped(net, cases);
  for (const { service, wrapping, port } of cases) {
    const { outer, inner } = wrapping;
    // What comes down sees nothing of the tunnel, so it is asked for once.
    await proveBig(net, service, net.vip[inner], port, inner === outer ? 'down and up' : 'up');
  }
  await assertNoAnswer(net, answers);
}

const scenario = (type: Wrapping['type']): Scenario => ({
  name: `routed-${type}`,
  title: `servers behind a router take ${type.toUpperCase()} apart, each family in each: requests, datagrams, 10 MB each way, no answer passes the balancer`,
  picture,
  engines: type === 'gre' ? everyEngineAndMode : everyEngine,
  stage: async (lab) => {
    const net = await buildRouted(lab, { servers: 2, captures: false });
    const config = configOf(net, casesOf(type));
    // Once in the driver of the servers as well.
    await setUpByText(net, config, type === 'gue' && lab.engine === 'xdp' ? 'xdp' : 'tc');
    await net.fairlead.up(config);
    return net;
  },
  run: (net) => prove(net, type),
});

/** Does the kernel make the device that takes this tunnel? What is said where it does not, server-setup-kernel proves. */
async function isInKernel(net: Topology, { type, outer }: Wrapping): Promise<boolean> {
  const device = type === 'gre' ? { 4: 'gre', 6: 'ip6gre' } : { 4: 'ipip', 6: 'ip6tnl' };
  const ends = `local ${net.plan.serverAddress(0, outer)} remote ${net.plan.balancerAddress[outer]}`;
  const probe = `ip link add name probe type ${device[outer]} ${ends} && ip link del probe`;
  const port = outer === 4 ? '6080' : '6080 -6';
  const opened = `ip fou add port ${port} gue && ip fou del port ${port}`;
  return (await net.server(0).host.attempt(type === 'gue' ? `${probe} && ${opened}` : probe)).code === 0;
}

/** Where the kernel has devices of its own they take the same tunnels. */
async function kernelDevices(net: Topology): Promise<void> {
  const { host, name } = net.server(0);
  const types = ['gre', 'ipip', 'gue'] as const;
  const cases = types.flatMap((type) =>
    casesOf(type).filter(({ wrapping: { inner, outer } }) => inner === outer && (type === 'gre' || outer === 4)),
  );
  for (const it of cases) {
    const { service, wrapping, port } = it;
    if (!(await isInKernel(net, wrapping))) {
      console.log(`       skipped, this kernel has no device for it: ${nameOf(wrapping)}`);
      continue;
    }
    const config = configOf(net, [it]);
    net.fairlead.writeConfig(config);
    await runOn(net, host, `server-setup ${service} --apply --decap kernel`);
    await (net.fairlead.daemon === null ? net.fairlead.up(config) : net.fairlead.reload(config));
    const answers = await listenForAnswers(net);
    assertServed(await requests(net.client, net.vip[wrapping.inner], 5, port), 5, [name], nameOf(wrapping));
    await proveBig(net, service, net.vip[wrapping.inner], port, 'up');
    await assertNoAnswer(net, answers);
    await runOn(net, host, `server-setup ${service} --undo`);
  }
}

export const scenarios: Scenario[] = [
  scenario('gre'),
  scenario('ipip'),
  scenario('gue'),
  {
    name: 'routed-kernel-devices',
    title: "the kernel's own tunnel devices on a server take what the balancer wraps, where it has them",
    picture,
    engines: ['tc'],
    stage: (lab) => buildRouted(lab, { servers: 1, captures: false }),
    run: kernelDevices,
  },
];
