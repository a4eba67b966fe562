// The servers' end of a tunnel: fairlead-decap unwraps what a stand-in for the balancer wraps, real nginx answers from the
// VIP on lo, and no answer passes the balancer.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { join } from 'node:path';
import { capture } from '../lib/capture.ts';
import { noEngine } from '../lib/engine.ts';
import { command } from '../lib/fairlead.ts';
import { assertServed } from '../lib/proof.ts';
import { attemptOn, runOn, setUpServers } from '../lib/server-setup.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile, sha256, webPort } from '../lib/servers.ts';
import { nameOf, wrapToFirst, type Wrapping } from '../lib/stand-in.ts';
import { datagrams, requests, upload, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildRouted, picture } from '../topologies/routed.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

const decapTool = join(command, '..', '..', 'native', 'build', 'fairlead-decap');

interface Unwrapping {
  interface: string;
  at: 'xdp' | 'tc';
  generic: boolean;
  services: { service: string }[];
  counts: Record<string, { frames: number; octets: number }>;
}

async function unwrappings(net: Topology): Promise<Unwrapping[]> {
  return JSON.parse(await net.server(0).host.run(`${decapTool} list --json`)) as Unwrapping[];
}

async function countsOf(net: Topology): Promise<Record<string, { frames: number; octets: number }>> {
  return (await unwrappings(net))[0]?.counts ?? {};
}

function everyWrapping(outer: Family): Wrapping[] {
  return families.flatMap((inner): Wrapping[] => [
    { type: 'gre', outer, inner },
    { type: 'gre', key: 0x0a0b0c0d, outer, inner },
    { type: 'ipip', outer, inner },
    { type: 'gue', outer, inner },
  ]);
}

function configOf(net: Topology, { type, key, port, outer, inner }: Wrapping) {
  const tunnel = { type, ...(key === undefined ? {} : { key }), ...(port === undefined ? {} : { port }) };
  return net.config({ web: net.service({ method: 'l3-dsr', family: inner, outer, tunnel }) });
}

/** The balancer clamps the segments of TCP to what a tunnel leaves; here the servers ask for small ones themselves. */
async function askForSmallSegments(net: Topology): Promise<void> {
  const { host } = net.server(0);
  await host.run(
    'ip route change $(ip route show default) advmss 1380 && ip -6 route change $(ip -6 route show default) advmss 1380',
  );
}

async function answerDirectly(net: Topology, wrapping: Wrapping): Promise<void> {
  const what = nameOf(wrapping);
  const vip = net.vip[wrapping.inner];
  const answers = await capture(net.plan.ports.outside, `src host ${vip}`);
  assertServed(await requests(net.client, vip, 3, webPort), 3, ['web-1'], what);
  const big = bigFile(net.lab);
  equal(await upload(net.client, urlOf(vip, webPort, '/upload/big'), big.path), 'web-1', what);
  equal(sha256(net.server(0).upload('big')), big.sha256, `${what}: what arrived is what was sent`);
  await answers.stop();
  equal(await answers.count(), 0, `${what}: no answer passed the balancer`);
}

async function everyTunnel(net: Topology, at: 'xdp' | 'tc', outer: Family): Promise<void> {
  await askForSmallSegments(net);
  const { host } = net.server(0);
  for (const wrapping of everyWrapping(outer)) {
    net.fairlead.writeConfig(configOf(net, wrapping));
    await runOn(net, host, `server-setup web --apply --decap ${at}`);
    await wrapToFirst(net, wrapping);
    await answerDirectly(net, wrapping);
    const { frames = 0, octets = 0 } = (await countsOf(net))[wrapping.type] ?? {};
    ok(octets > 10 << 20, `${nameOf(wrapping)}: 10 MB were unwrapped, ${octets} octets`);
    const mean = octets / frames;
    ok(at === 'tc' ? mean > 3000 : mean < 1500, `${nameOf(wrapping)}: ${mean.toFixed(0)} octets a frame at ${at}`);
    await runOn(net, host, 'server-setup web --undo');
    deepEqual(await unwrappings(net), [], 'nothing is left');
  }
}

async function strangers(net: Topology): Promise<void> {
  const { client, vip } = net;
  const wrapping: Wrapping = { type: 'gre', key: 7, outer: 4, inner: 4 };
  await setUpServers(net, configOf(net, wrapping), '--decap tc');
  const grows = async (count: string) => {
    const before = (await countsOf(net))[count]?.frames ?? 0;
    equal((await requests(client, vip[4], 1, webPort, '--connect-timeout 1')).errors, 1, `${count}: no answer`);
    const after = (await countsOf(net))[count]?.frames ?? 0;
    ok(after > before, `counted as "${count}"`);
  };
  await wrapToFirst(net, wrapping, '10.0.1.3');
  await grows('source');
  await wrapToFirst(net, { ...wrapping, key: 8 });
  await grows('endpoint');
  await wrapToFirst(net, { type: 'gue', outer: 4, inner: 4 });
  equal((await requests(client, vip[4], 1, webPort, '--connect-timeout 1')).errors, 1, 'another tunnel');
  await wrapToFirst(net, wrapping);
  assertServed(await requests(client, vip[4], 3, webPort), 3, ['web-1'], 'the listed balancer');
}

/** Two services at one place, one of them moved, the other undone: each change leaves the other's traffic alone. */
async function together(net: Topology): Promise<void> {
  const { client, vip } = net;
  const { host } = net.server(0);
  const tunnel = { type: 'gre' };
  const services = net.config({
    web: net.service({ method: 'l3-dsr', family: 4, tunnel }),
    dns: net.service({ method: 'l3-dsr', family: 4, protocol: 'udp', tunnel }),
  });
  await setUpServers(net, services, '--decap tc');
  await wrapToFirst(net, { type: 'gre', outer: 4, inner: 4 });
  const works = async (what: string) => {
    assertServed(await requests(client, vip[4], 3, webPort), 3, ['web-1'], `web ${what}`);
    assertServed(await datagrams(client, vip[4], 3, 5353), 3, ['web-1'], `dns ${what}`);
  };
  await works('at first');
  await runOn(net, host, 'server-setup dns --apply --decap xdp');
  deepEqual(
    (await unwrappings(net)).map(({ at, services: its }) => `${at} ${its.map((it) => it.service).join('+')}`),
    ['xdp dns', 'tc web'],
  );
  await works('after one moved');
  await runOn(net, host, 'server-setup dns --undo');
  // Both are to the same VIP from the same balancer, which web still expects.
  await works('after one was undone');
  await runOn(net, host, 'server-setup web --undo');
  await waitFor(
    'no answer after both were undone',
    () => requests(client, vip[4], 1, webPort, '--connect-timeout 1'),
    ({ errors }) => errors === 1,
  );
}

async function foreignProgram(net: Topology): Promise<void> {
  const { host } = net.server(0);
  net.fairlead.writeConfig(configOf(net, { type: 'gre', outer: 4, inner: 4 }));
  const foreign = join(command, '..', '..', 'native', 'build', 'fairlead.bpf.o');
  await host.run(`ip link set dev eth0 xdp obj ${foreign} sec xdp`);
  const refused = await attemptOn(net, host, 'server-setup web --apply --decap xdp');
  equal(refused.code, 7, refused.stderr);
  match(refused.stderr, /eth0 has an XDP program of somebody else already: fairlead_xdp/);
  match(await host.run('ip -d link show dev eth0'), /name fairlead_xdp/, 'it is still there');
  equal((await host.run(`ip -o address show dev lo to ${net.vip[4]}`)).trim(), '', 'nothing is half done');
  await runOn(net, host, 'server-setup web --apply --decap tc');
}

const scenario = (name: string, title: string, run: Scenario['run']): Scenario => ({
  name,
  title,
  picture,
  engines: noEngine,
  stage: (lab) => buildRouted(lab, { servers: 1 }),
  run,
});

export const scenarios = [
  ...families.flatMap((outer) => [
    scenario(
      `decap-tc-over-ipv${outer}`,
      `every tunnel over IPv${outer} is unwrapped at tc, super-frames whole, and nginx answers directly`,
      (net) => everyTunnel(net, 'tc', outer),
    ),
    scenario(
      `decap-xdp-over-ipv${outer}`,
      `every tunnel over IPv${outer} is unwrapped in the driver, and nginx answers directly`,
      (net) => everyTunnel(net, 'xdp', outer),
    ),
  ]),
  scenario(
    'decap-strangers',
    'only the listed balancer with the right key reaches the VIP, and others are counted',
    strangers,
  ),
  scenario('decap-together', 'two services at one interface come, move and go without disturbing each other', together),
  scenario('decap-foreign-xdp', "another's XDP program is refused by name, and nothing is half done", foreignProgram),
];
