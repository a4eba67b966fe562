// Checks of the VIP go the way that clients go, to the one server they are about: what is wrong on that way takes it out,
// with words for it, and clients meet none of it.
import { deepEqual, equal, match } from 'node:assert/strict';
import type { Scenario } from '../lib/scenario.ts';
import { setUpServers } from '../lib/server-setup.ts';
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

const timers = { every: '300ms', timeout: '250ms', rise: 2, fall: 2 };

/** Waits until every check of a server is so, and gives what they say. */
async function see(net: Topology, server: string, state: string): Promise<string[]> {
  const rows = await waitFor(
    `the checks of ${server} to be ${state}`,
    async () => (await net.fairlead.json<CheckRow[]>('checks')).filter((row) => row.server === server),
    (found) => found.length > 0 && found.every((row) => row.state === state && row.lastResult !== null),
    { withinMs: 5000, everyMs: 50 },
  );
  return rows.map(({ lastResult }) => lastResult ?? '');
}

const services = (net: Topology, tunnel?: Record<string, string | number>) => {
  const dsr = tunnel === undefined ? { method: 'l2-dsr' as const } : { method: 'l3-dsr' as const, tunnel };
  const checked = (check: object) => ({ ...dsr, more: { check: { ...check, ...timers } } });
  return {
    ...net.everyService(dsr.method, checked({ type: 'http' })),
    dns4: net.service({ ...checked({ type: 'udp', send: 'probe', expect: 'probe' }), family: 4, protocol: 'udp' }),
    dns6: net.service({ ...checked({ type: 'udp', send: 'probe', expect: 'probe' }), family: 6, protocol: 'udp' }),
  };
};

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
    async () => (await net.fairlead.json<CheckRow[]>('checks')).filter(isWeb1),
    (rows) => rows.every(({ lastResult, state }) => state === 'down' && lastResult === 'connection refused'),
    { withinMs: 5000, everyMs: 50 },
  );
  await leavesNothing(net);
}

/** Neither does an orderly end, nor what removes the traces of a killed one. */
async function leavesNothing(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const traces = async () =>
    `${await balancer.run('ip rule show; ip -6 rule show; ip -o link show')}`
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

const isWeb1 = ({ service, server }: CheckRow) => service.startsWith('web') && server === 'web-1';

export const scenarios: Scenario[] = [
  {
    name: 'path-checks-l2-dsr',
    title: 'a server that lacks the VIP is down with that as the reason, and back when it has it',
    picture: oneArmPicture,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { servers: 2, captures: false });
      const config = net.config(services(net));
      await setUpServers(net, config);
      await net.fairlead.up(config);
      return net;
    },
    run: (net) => missingVip(net, /^the VIP is not configured on the server$/),
  },
  {
    name: 'path-checks-l3-dsr',
    title: 'behind a tunnel a server that lacks the VIP, or unwraps nothing, is down with that as the reason',
    picture: routedPicture,
    stage: async (lab) => {
      const net = await buildRouted(lab, { servers: 2, captures: false });
      const config = net.config(services(net, { type: 'gre', key: 7 }));
      await setUpServers(net, config);
      await net.fairlead.up(config);
      return net;
    },
    run: (net) => missingVip(net, /^the tunnel is not unwrapped, or the VIP is not configured on the server$/),
  },
];
