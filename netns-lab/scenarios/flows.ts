// Single flows under the glass: what they are listed as, and what must not mix them up.
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { alive, hold } from '../lib/held.ts';
import { assertServed, assertShares } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { openSession } from '../lib/session.ts';
import { datagrams, requests, type Tally } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Topology } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];

async function equalPorts(net: Topology): Promise<void> {
  const [one, two] = net.plan.clients;
  ok(one && two);
  for (const family of families) {
    const vip = net.vip[family];
    // One server, one VIP as the source, and both clients insist on port 5000: only the port can tell them apart.
    const only = {
      [`web${family}`]: {
        ...net.service({ method: 'full-nat', family }),
        servers: { 'web-1': serverOf(net, family, 8080) },
      },
    };
    const dns = net.service({ method: 'full-nat', family, protocol: 'udp' });
    const onlyDns = { [`dns${family}`]: { ...dns, servers: { 'web-1': serverOf(net, family, 5353) } } };
    await net.fairlead.reload(net.config({ ...only, ...onlyDns }));

    const tallies: Tally[] = await Promise.all([one, two].map((client) => datagrams(client, vip, 20, 53, 5000)));
    for (const tally of tallies) {
      assertShares(tally, { 'web-1': 20 }, `IPv${family} datagrams from port 5000`);
      equal(new Set(tally.seenAs).size, 1, 'one flow keeps one source port');
    }
    notEqual(tallies[0]?.seenAs[0], tallies[1]?.seenAs[0], 'two flows have two source ports');

    // A port of its own for each family: curl's IPv6 socket cannot take one that an IPv4 connection has just left.
    const port = 5000 + family;
    const web = await Promise.all([one, two].map((client) => requests(client, vip, 1, 80, `--local-port ${port}`)));
    for (const tally of web) {
      assertShares(tally, { 'web-1': 1 }, `IPv${family} request from port ${port}`);
    }
    notEqual(web[0]?.seenAs[0], web[1]?.seenAs[0], 'two connections have two source ports');
  }
}

function serverOf(net: Topology, family: 4 | 6, port: number): string {
  const address = net.plan.serverAddress(0, family);
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

async function sourcePool(net: Topology): Promise<void> {
  const services = {
    web4: net.service({ method: 'full-nat', family: 4, more: { source: '10.0.1.200-10.0.1.203' } }),
    web6: net.service({ method: 'full-nat', family: 6, more: { source: ['2001:db8:b::200', '2001:db8:b::201'] } }),
  };
  await net.fairlead.up(net.config(services));
  for (const family of families) {
    const tally = await requests(net.client, net.vip[family], 30);
    assertServed(tally, 30, names, `IPv${family} with a pool of sources`);
    const pool = family === 4 ? /^10\.0\.1\.20[0-3] / : /^2001:db8:b::20[01] /;
    for (const client of tally.seenAs) {
      match(client, pool, 'servers see an address of the pool');
    }
  }
}

async function listens(net: Topology): Promise<void> {
  const vip = net.vip[4];
  const addresses = net.servers.map(({ name }, index) => [name, net.plan.serverAddress(index, 4)] as const);
  const keep = { 'web-1': net.plan.serverAddress(0, 4) };
  await net.fairlead.up(
    net.config({
      several: {
        listen: [`${vip}:80/tcp`, `${vip}:8000-8009/tcp`],
        method: 'nat',
        scheduler: 'rr',
        servers: Object.fromEntries(addresses),
      },
      kept: { listen: `${vip}:8080/tcp`, method: 'nat', scheduler: 'rr', servers: keep },
      any: { listen: `${vip}:*/udp`, method: 'nat', scheduler: 'rr', check: 'none', servers: keep },
    }),
  );
  for (const port of [80, 8000, 8009]) {
    assertServed(await requests(net.client, vip, 9, port), 9, names, `port ${port}`);
  }
  assertShares(
    await requests(net.client, vip, 3, 8080),
    { 'web-1': 3 },
    'a server without a port keeps the port of the client',
  );
  assertShares(await datagrams(net.client, vip, 3, 5353), { 'web-1': 3 }, 'any port');
  const outside = await net.client.attempt(`curl -s --connect-timeout 0.5 http://${vip}:8010/`);
  equal(outside.code, 7, 'a port outside the range is refused');
}

interface FlowDocument {
  service: string;
  server: string;
  client: string;
  state: string;
}

async function listing(net: Topology): Promise<void> {
  const session = await openSession(net.client, net.vip[4]);
  const [server = '', , port = ''] = (await session.ask()).split(' ');
  await datagrams(net.client, net.vip[4], 1, 53, 5002);
  const listed = async (filter: string) => {
    const text = await net.fairlead.run(`flows ${filter} -o json`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as FlowDocument);
  };
  const client = `203.0.113.100:${port}`;
  const mine = await waitFor(
    'the flow to be listed',
    () => listed(`--client ${client}`),
    (flows) => flows.length === 1,
  );
  deepEqual(
    mine.map(({ service, server, state }) => ({ service, server, state })),
    [{ service: 'web4', server, state: 'established' }],
  );
  equal((await listed('--client 203.0.113.100:5002'))[0]?.state, 'udp-two-way');
  equal((await listed('--client 203.0.113.77')).length, 0, 'nobody else');
  const all = await listed('--service web4');
  ok(all.length > 0 && all.every((flow) => flow.service === 'web4'), 'the filter by service');
  equal((await listed('--limit 1')).length, 1, 'the limit');

  const active = async () => {
    const listed = await net.fairlead.json<{ server: string; active: number }[]>('servers web4');
    return Object.fromEntries(listed.map((it) => [it.server, it.active]));
  };
  equal((await active())[server], 1, 'one active connection is counted');
  await session.close();
  await waitFor('the closed connection to count as inactive', active, (counts) => counts[server] === 0);
}

/** Connections that were idle for longer than their flows live. */
async function outliveTheirFlows(net: Topology, method: 'nat' | 'full-nat'): Promise<void> {
  const held = 50;
  const timeouts = { established: '2s', closing: '1s', 'time-wait': '1s', closed: '1s' };
  await net.fairlead.up(net.config({ web4: net.service({ method, family: 4, scheduler: 'maglev' }) }, { timeouts }));
  const connections = await hold(net, 80, held);
  const inUse = async () => (await net.fairlead.view<{ flows: { inUse: number } }>('status')).flows.inUse;
  equal(await inUse(), held);
  await waitFor('their flows to be gone', inUse, (count) => count === 0);
  equal(await alive(connections), held, 'connections without a flow');
  ok((await inUse()) >= held, 'they have flows again');
  const { reasons } = await net.fairlead.json<{ reasons: { reason: string; count: number }[] }>('drops');
  for (const name of ['untracked', 'untracked-answer']) {
    ok((reasons.find(({ reason }) => reason === name)?.count ?? 0) >= held, name);
  }
}

export const scenarios: Scenario[] = [
  {
    name: 'equal-ports',
    title: 'two clients with equal source ports under full-nat never share a server-side port',
    picture: oneArmPicture,
    stage: async (lab) => (await buildOneArm(lab)).serving('full-nat'),
    run: equalPorts,
  },
  {
    name: 'source-pool',
    title: 'full-nat with a pool of sources uses them, and answers for them',
    picture: oneArmPicture,
    stage: (lab) => buildOneArm(lab),
    run: sourcePool,
  },
  {
    name: 'listens',
    title: 'several listens, a range of ports, any port, and servers that keep the port of the client',
    picture,
    stage: (lab) => buildInline(lab),
    run: listens,
  },
  {
    name: 'flow-listing',
    title: 'flows are listed with service, server and state, filtered as asked, and counted for each server',
    picture,
    stage: async (lab) => (await buildInline(lab)).serving('nat'),
    run: listing,
  },
  {
    name: 'lost-flows',
    title: 'nat connections that were idle for longer than their flows live go on with maglev, and have flows again',
    picture,
    stage: (lab) => buildInline(lab),
    run: (net) => outliveTheirFlows(net, 'nat'),
  },
  {
    name: 'lost-flows-full-nat',
    title: 'with full-nat the same: they leave by the port that they had',
    picture: oneArmPicture,
    stage: (lab) => buildOneArm(lab),
    run: (net) => outliveTheirFlows(net, 'full-nat'),
  },
];
