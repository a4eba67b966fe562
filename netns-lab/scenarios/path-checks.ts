// Checks of the VIP go the way that clients go, to the one server they are about: what is wrong on that way takes it out,
// with words for it, and clients meet none of it.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import type { CheckDocument, ServiceDocument } from '../lib/fairlead.ts';
import { proveHalfOpen } from '../lib/half-open.ts';
import type { Scenario } from '../lib/scenario.ts';
import { runOn, setUpServers, toolFolder } from '../lib/server-setup.ts';
import { webPort } from '../lib/servers.ts';
import { requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { buildRouted, picture as routedPicture } from '../topologies/routed.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface CheckRow {
  service: string;
  server: string;
  target: string;
  state: string;
  lastResult: string | null;
}

const timers = { every: '500ms', timeout: '500ms', 'fast-every': '200ms', rise: 2, fall: 2 };

/** Waits until every check of a server is so, and gives what they say. */
async function see(net: Topology, server: string, state: string): Promise<string[]> {
  const rows = await waitFor(
    `the checks of ${server} to be ${state}`,
    async () => (await net.fairlead.view<CheckRow[]>('checks')).filter((row) => row.server === server),
    (found) => found.length > 0 && found.every((row) => row.state === state && row.lastResult !== null),
    { withinMs: 40_000, everyMs: 50 },
  );
  return rows.map(({ lastResult }) => lastResult ?? '');
}

const answered = { type: 'udp', send: 'probe', expect: 'probe' };

/** Says whether the VIP is there all the same. */
const unanswered = { type: 'udp', send: 'x' };

const services = (net: Topology, tunnel?: Record<string, string | number>) => {
  const dsr = tunnel === undefined ? { method: 'l2-dsr' as const } : { method: 'l3-dsr' as const, tunnel };
  const checked = (...checks: { type: string }[]) => ({
    ...dsr,
    more: { check: checks.map((check) => ({ ...check, ...timers })) },
  });
  return {
    ...net.everyService(dsr.method, checked({ type: 'http' }, { type: 'tcp-half-open' })),
    dns4: net.service({ ...checked(answered, unanswered), family: 4, protocol: 'udp' }),
    dns6: net.service({ ...checked(answered, unanswered), family: 6, protocol: 'udp' }),
  };
};

const tunnelWords = /^the tunnel is not unwrapped, or the VIP is not configured on the server$/;

async function unwrapsNothing(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const services = Object.keys(net.fairlead.config?.services ?? {});
  await see(net, 'web-1', 'up');
  for (const service of services) await host.run(`${join(toolFolder, 'fairlead-decap')} detach ${service}`);
  for (const reason of await see(net, 'web-1', 'down')) match(reason, tunnelWords);
  for (const service of services) await runOn(net, host, `server-setup ${service} --apply`);
  await see(net, 'web-1', 'up');
}

async function missingVip(net: Topology, words: RegExp): Promise<void> {
  const { host } = net.server(0);
  for (const { name } of net.servers) await see(net, name, 'up');
  for (const { target } of await net.fairlead.json<CheckRow[]>('checks')) equal(target, 'vip');
  // A server that gets no clients is asked all the same.
  await net.fairlead.run('drain web4 web-1');
  await host.run(`ip address del ${net.vip[4]}/32 dev lo && ip address del ${net.vip[6]}/128 dev lo`);
  for (const reason of await see(net, 'web-1', 'down')) match(reason, words);
  await see(net, 'web-2', 'up');
  for (const family of families) {
    equal((await requests(net.client, net.vip[family], 10, webPort)).errors, 0, `IPv${family}: clients get web-2`);
  }
  await host.run(`ip address add ${net.vip[4]}/32 dev lo && ip address add ${net.vip[6]}/128 dev lo nodad`);
  await see(net, 'web-1', 'up');
  await net.fairlead.run('enable web4 web-1');
  // What the server says itself stays as it is.
  await net.server(0).stop();
  await waitFor(
    'the checks over TCP to be refused',
    async () => (await net.fairlead.view<CheckRow[]>('checks')).filter(isWeb1),
    (rows) => rows.every(({ lastResult, state }) => state === 'down' && lastResult === 'connection refused'),
    { withinMs: 40_000, everyMs: 50 },
  );
}

/** Neither does an orderly end, nor what removes the traces of a killed one. */
async function leavesNothing(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const traces = async () =>
    (await balancer.run('ip rule show; ip -6 rule show; ip -o link show'))
      .split('\n')
      .filter((line) => /fwmark|: fl-/.test(line));
  equal((await traces()).length, 3, 'a rule for each family, and the device');
  fairlead.daemon?.signal('SIGKILL');
  await fairlead.daemon?.ended;
  equal((await traces()).length, 2, 'the device goes with the process, the rules stay');
  await fairlead.up();
  equal((await traces()).length, 3, 'the next one replaces them');
  fairlead.daemon?.signal('SIGKILL');
  await fairlead.daemon?.ended;
  match(await fairlead.run(`down --name ${fairlead.name}`), /routing rules/);
  deepEqual(await traces(), []);
  await fairlead.up();
  await fairlead.run('down');
  deepEqual(await traces(), []);
}

/** Results of checks since the daemon began. */
async function resultsOf(net: Topology): Promise<number> {
  const text = await net.balancer.run(`curl -sS --fail --unix-socket ${net.fairlead.socket} http://x/v1/metrics`);
  return Array.from(text.matchAll(/^fairlead_check_results_total\{.*\} (\d+)$/gm), ([, count]) => Number(count)).reduce(
    (sum, count) => sum + count,
    0,
  );
}

const webServices = (net: Topology, check: CheckDocument[] | 'none') =>
  Object.fromEntries(
    families.map((family) => [`web${family}`, net.service({ method: 'l2-dsr', family, more: { check } })]),
  );

async function tenThousand(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const often = { every: '50ms', timeout: '50ms' };
  // Checks that ask the same would be one.
  const checks = Array.from({ length: 15 }, (_, index) =>
    index % 2 === 0
      ? { type: 'http', path: `/?${index}`, ...often }
      : { type: 'content', send: `GET /?${index} HTTP/1.0\r\n\r\n`, expect: 'HTTP/1', ...often },
  );
  const withChecks = (check: CheckDocument[] | 'none') => net.config(webServices(net, check));
  const { pid } = await fairlead.view<{ pid: number }>('status');
  const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
  const run = async (more: number) => {
    await fairlead.reload(withChecks(checks));
    const before = await resultsOf(net);
    await waitFor(
      `${more} results`,
      async () => (await resultsOf(net)) - before,
      (count) => count >= more,
      { withinMs: 80_000, everyMs: 200 },
    );
    await fairlead.reload(withChecks('none'));
  };
  // Of a server that is silent the daemon finds out why, with sockets that it keeps from then on: let them be there before.
  const { host } = net.server(0);
  await host.run(
    String.raw`nft add table inet f && nft add chain inet f i { type filter hook input priority 0 \; policy drop \; }`,
  );
  await run(500);
  await host.run('nft delete table inet f');
  const few = await waitFor('few descriptors', descriptors, (count) => count < 80);
  await run(10_000);
  await waitFor('as few descriptors as before', descriptors, (count) => count <= few + 2);
  const waiting = await balancer.run('ss -Htan state time-wait');
  ok(waiting.split('\n').length < 10, `no connections wait out their time here: ${waiting}`);
}

async function throughEveryEngine(net: Topology): Promise<void> {
  const { host } = net.server(0);
  for (const engine of ['tc', 'xdp', 'packet']) {
    await see(net, 'web-1', 'up');
    await net.fairlead.reload({ ...net.config(webServices(net, [{ type: 'http', ...timers }])), engine });
    await host.run(`ip address del ${net.vip[4]}/32 dev lo && ip address del ${net.vip[6]}/128 dev lo`);
    for (const reason of await see(net, 'web-1', 'down')) match(reason, /^the VIP is not configured on the server$/);
    await host.run(`ip address add ${net.vip[4]}/32 dev lo && ip address add ${net.vip[6]}/128 dev lo nodad`);
  }
  await see(net, 'web-1', 'up');
}

const halfOpen = (net: Topology, dsr: Pick<Parameters<Topology['service']>[0], 'method' | 'tunnel'>) => {
  const check = { type: 'tcp-half-open', every: '50ms', timeout: '50ms' };
  return Object.fromEntries(
    families.map((family) => [`web${family}`, net.service({ ...dsr, family, more: { check } })]),
  );
};

/** A datagram that fills the link and no tunnel; a request over TCP is as large, and finds its own size. */
const largeChecks = (net: Topology) => {
  const tunneled = { method: 'l3-dsr', tunnel: { type: 'gre' } } as const;
  const udp = { type: 'udp', send: 'x'.repeat(1460), expect: 'x', ...timers };
  const http = { type: 'http', path: `/?${'x'.repeat(1900)}`, ...timers };
  return Object.fromEntries(
    families.flatMap((family) => [
      [`dns${family}`, net.service({ ...tunneled, family, protocol: 'udp', more: { check: udp } })],
      [`web${family}`, net.service({ ...tunneled, family, more: { check: http } })],
    ]),
  );
};

async function tooLarge(net: Topology): Promise<void> {
  const words = 'MTU too small: the request does not get through undivided';
  const checks = () => net.fairlead.view<(CheckRow & { history: string })[]>('checks');
  const isUdp = ({ service }: CheckRow) => service.startsWith('dns');
  await waitFor(
    'the large datagrams to fail, each time with the same words, and the large requests to be answered',
    checks,
    (rows) =>
      rows.length === 4 &&
      rows.every((row) => (isUdp(row) ? row.lastResult === words && /^-{4,}$/.test(row.history) : row.state === 'up')),
    { withinMs: 40_000, everyMs: 50 },
  );
}

const isWeb1 = ({ service, server }: CheckRow) => service.startsWith('web') && server === 'web-1';

/** Servers that are set up for all that the balancer has of them. */
function stageOf(
  build: typeof buildOneArm,
  servers: number,
  servicesOf: (net: Topology) => Record<string, ServiceDocument>,
): Scenario['stage'] {
  return async (lab) => {
    const net = await build(lab, { servers, captures: false });
    const config = net.config(servicesOf(net));
    await setUpServers(net, config);
    await net.fairlead.up(config);
    return net;
  };
}

export const scenarios: Scenario[] = [
  {
    name: 'path-checks-l2-dsr',
    title: 'a server that lacks the VIP is down with that as the reason, and back when it has it',
    picture: oneArmPicture,
    stage: stageOf(buildOneArm, 2, services),
    run: (net) => missingVip(net, /^the VIP is not configured on the server$/),
  },
  {
    name: 'path-checks-l3-dsr',
    title: 'behind a tunnel a server that lacks the VIP, or unwraps nothing, is down with that as the reason',
    picture: routedPicture,
    stage: stageOf(buildRouted, 2, (net) => services(net, { type: 'gre', key: 7 })),
    run: async (net) => {
      await unwrapsNothing(net);
      await missingVip(net, tunnelWords);
    },
  },
  {
    name: 'path-checks-half-open-l2-dsr',
    title: 'half-open checks of the VIP are answered there with RST, and leave no connection in the server',
    picture: oneArmPicture,
    engines: ['tc'],
    stage: stageOf(buildOneArm, 1, (net) => halfOpen(net, { method: 'l2-dsr' })),
    run: proveHalfOpen,
  },
  {
    name: 'path-checks-half-open-l3-dsr',
    title: 'behind a tunnel too, half-open checks of the VIP leave no connection in the server',
    picture: routedPicture,
    engines: ['packet'],
    stage: stageOf(buildRouted, 1, (net) => halfOpen(net, { method: 'l3-dsr', tunnel: { type: 'gue' } })),
    run: proveHalfOpen,
  },
  {
    name: 'path-checks-mtu',
    title:
      'a datagram that does not fit into the tunnel is a check’s failure with that as the reason; TCP finds its own size',
    picture: routedPicture,
    engines: ['tc'],
    stage: stageOf(buildRouted, 1, largeChecks),
    run: tooLarge,
  },
  {
    name: 'path-checks-traces',
    title: 'rules and device for checks of the VIP go with the daemon, or with what removes the traces of a killed one',
    picture: oneArmPicture,
    engines: ['packet'],
    stage: stageOf(buildOneArm, 1, (net) => ({ web4: net.service({ method: 'l2-dsr', family: 4 }) })),
    run: leavesNothing,
  },
  {
    name: 'path-checks-switch',
    title: 'checks of the VIP go on through whatever engine follows',
    picture: oneArmPicture,
    engines: ['packet'],
    stage: stageOf(buildOneArm, 1, (net) => webServices(net, [{ type: 'http', ...timers }])),
    run: throughEveryEngine,
  },
  {
    name: 'path-checks-many',
    title: 'ten thousand checks of the VIP leave no descriptor and no connection behind',
    picture: oneArmPicture,
    engines: ['packet'],
    isLoud: true,
    stage: stageOf(buildOneArm, 1, (net) => webServices(net, 'none')),
    run: tenThousand,
  },
];
