// Clients that come back to the server that they had: over connections, restarts and engines, but never against health.
import { deepEqual, equal, notEqual, ok } from 'node:assert/strict';
import { everyEngine } from '../lib/engine.ts';
import type { ConfigDocument } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { datagrams, requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

const check = { type: 'tcp', every: '1s', 'fast-every': '200ms', timeout: '1s', rise: 1, fall: 2 };

interface StickyDocument {
  service: string;
  server: string;
  client: string;
  expiresInMs: number;
}

function configOf(net: Topology, more: Partial<ConfigDocument> = {}): ConfigDocument {
  const sticky = { by: 'client', for: '10m' };
  const services = Object.entries(net.everyService('nat', { more: { check: 'none', sticky } }));
  const checked = services.map(
    ([name, service]) => [name, name.startsWith('web') ? { ...service, check } : service] as const,
  );
  return { ...net.config(Object.fromEntries(checked)), ...more };
}

/** The one server that answers all requests of a client. */
async function serverOf(net: Topology, client: Host, family: Family, what: string): Promise<string> {
  const tally = await requests(client, net.vip[family], 6);
  const [server = ''] = Object.keys(tally.shares);
  assertServed(tally, 6, [server], what);
  return server;
}

async function listed(net: Topology, filter: string): Promise<StickyDocument[]> {
  const text = await net.fairlead.run(`flows --sticky ${filter} -o json`);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as StickyDocument);
}

async function comesBack(net: Topology): Promise<void> {
  const [one, two] = net.plan.clients;
  ok(one && two);
  for (const family of families) {
    const server = await serverOf(net, one, family, `IPv${family}: a client`);
    notEqual(await serverOf(net, two, family, `IPv${family}: another`), server, 'they are shared out');
    const dns = await datagrams(one, net.vip[family], 6);
    equal(Object.keys(dns.shares).length, 1, `IPv${family}: datagrams of a client go to one server`);
    const client = net.plan.clientAddress[family];
    const mine = await listed(net, `--client ${client} --service web${family}`);
    deepEqual(
      mine.map((entry) => [entry.client, entry.server]),
      [[client, server]],
    );
    ok(mine[0]!.expiresInMs > 590_000 && mine[0]!.expiresInMs <= 600_000, 'for ten minutes from now');
  }
  equal((await listed(net, '--service web4')).length, 2, 'the filter by service');
}

async function obeysHealth(net: Topology): Promise<void> {
  const { fairlead, client } = net;
  const first = await serverOf(net, client, 4, 'before');
  await fairlead.run(`drain web4 ${first}`);
  const second = await serverOf(net, client, 4, 'when its server is drained');
  notEqual(second, first);
  await fairlead.run(`enable web4 ${first}`);
  equal(await serverOf(net, client, 4, 'when that one is back'), second, 'it stays where it is now');
  await net.servers.find(({ name }) => name === second)!.stop();
  await waitFor(
    'the check to take the server out',
    () => requests(client, net.vip[4], 1),
    ({ errors }) => errors === 0,
  );
  const third = await serverOf(net, client, 4, 'when its server is down');
  notEqual(third, second);
  deepEqual(
    (await listed(net, `--client ${net.plan.clientAddress[4]} --service web4`)).map(({ server }) => server),
    [third],
  );
}

async function survives(net: Topology): Promise<void> {
  const { fairlead, client } = net;
  const server = await serverOf(net, client, 4, 'before');
  const same = async (what: string): Promise<void> => equal(await serverOf(net, client, 4, what), server, what);
  await fairlead.daemon?.stop('SIGTERM');
  await fairlead.up();
  await same('after a restart');
  await fairlead.daemon?.stop('SIGKILL');
  await fairlead.up();
  await same('after kill -9');
  await fairlead.takeOver();
  await same('after a takeover');
  await fairlead.reload(configOf(net, { engine: net.lab.engine === 'packet' ? 'tc' : 'packet' }));
  await same('by another engine');
  await fairlead.daemon?.stop('SIGTERM');
  await fairlead.up(configOf(net, { 'sticky-clients': 5000 }));
  await same('in a table of another size');
}

export const scenarios: Scenario[] = [
  {
    name: 'sticky',
    title:
      'a client comes back to its server over restarts, takeovers and engines, and leaves one that is drained or down',
    picture,
    engines: everyEngine,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      await net.fairlead.up(configOf(net));
      return net;
    },
    run: async (net) => {
      await comesBack(net);
      await obeysHealth(net);
      await survives(net);
    },
  },
];
