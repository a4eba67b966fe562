// Passive checks: what clients' own connections show of a server is enough to take it out, without any active check.
import { equal, match, ok } from 'node:assert/strict';
import { join } from 'node:path';
import type { Scenario } from '../lib/scenario.ts';
import { webPort } from '../lib/servers.ts';
import { openSession } from '../lib/session.ts';
import { requests, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

interface ServerRow {
  service: string;
  server: string;
  state: string;
  reason: string;
  open: number;
  total: number;
  handshakeMs: number | null;
}

const passive = { mode: 'eject', for: '4s', longest: '4s', 'answer-within': '500ms', failures: 3 };

const connector = join(import.meta.dirname, '..', 'programs', 'connector.ts');

/** Clients: a connection to each service forty times a second, whatever becomes of the others. */
async function load(net: Topology, services: readonly (4 | 6)[]): Promise<void> {
  const targets = services.map((family) => `${net.vip[family]} 80`).join(' ');
  await net.client.start('load', `${process.execPath} ${connector} 25 ${targets}`);
}

const rowsOf = async (net: Topology, server: string) =>
  (await net.fairlead.view<ServerRow[]>('servers')).filter((row) => row.server === server);

/** Waits until a server is so in every service, and says why it is. */
async function see(net: Topology, server: string, state: string, withinMs = 30_000): Promise<string> {
  const rows = await waitFor(
    `${server} to be ${state}`,
    () => rowsOf(net, server),
    (found) => found.length > 0 && found.every((row) => row.state === state),
    { withinMs, everyMs: 20 },
  );
  return rows[0]?.reason ?? '';
}

/** How long after a moment the last service first took a server out, by the daemon's own account. */
async function outAfter(net: Topology, sinceMs: number): Promise<number> {
  const lines = (await net.fairlead.run('events -o json')).trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { kind: string; service: string; at: string });
  const firsts = new Map<string, number>();
  for (const { kind, service, at } of events) {
    if (kind === 'server-ejected' && !firsts.has(service)) firsts.set(service, Date.parse(at) - sinceMs);
  }
  return Math.max(...firsts.values());
}

/** Everybody is known to answer, and has so often that the next few failures are not half of all. */
async function warm(net: Topology): Promise<void> {
  await waitFor(
    'handshakes with every server',
    () => net.fairlead.view<ServerRow[]>('servers'),
    (rows) => rows.every(({ handshakeMs, total }) => handshakeMs !== null && total >= 30),
  );
}

const noErrors = async (net: Topology, services: readonly (4 | 6)[]): Promise<void> => {
  for (const family of services) {
    const { shares, errors } = await requests(net.client, net.vip[family], 12);
    equal(errors, 0, `IPv${family}`);
    equal('web-1' in shares, false, JSON.stringify(shares));
  }
};

/** Stops, and is out within a second of the first refusals; comes back when its time is up. */
async function refuses(net: Topology, services: readonly (4 | 6)[] = families): Promise<void> {
  await load(net, services);
  await warm(net);
  const sinceMs = Date.now();
  await net.server(0).stop();
  const reason = await see(net, 'web-1', 'ejected');
  // It is out for four seconds, and again after that as often as it is tried: first what has to fit in.
  await noErrors(net, services);
  const ms = await outAfter(net, sinceMs);
  match(reason, /^refused \d+ connections in a row; out for 4s$/);
  ok(ms < 1500, `out ${ms} ms after it began to stop`);
  match(await net.fairlead.run('events'), /server-ejected +web\d\/web-1 /);
  await waitFor(
    'the checks to say so',
    () => net.fairlead.run('checks'),
    (text) => /passive eject .* ejected /.test(text),
  );
  await net.server(0).start();
  await see(net, 'web-1', 'up', 8000);
  await waitFor(
    'it to serve again',
    () => requests(net.client, net.vip[4], 12),
    ({ shares }) => 'web-1' in shares,
  );
}

/** Its answers get lost: silence takes it out, and clients that were waiting get through to another. */
async function vanishes(net: Topology): Promise<void> {
  await load(net, families);
  await warm(net);
  const host = net.server(0).host;
  await host.run(String.raw`nft add table inet f && nft add chain inet f i { type filter hook input priority 0 \; }`);
  const sinceMs = Date.now();
  await host.run(`nft add rule inet f i tcp dport ${webPort} drop`);
  const stranded = requests(net.client, net.vip[4], 12);
  const reason = await see(net, 'web-1', 'ejected');
  const { errors } = await stranded;
  equal(errors, 0, 'a SYN that is repeated goes to a server that is there');
  await noErrors(net, families);
  const ms = await outAfter(net, sinceMs);
  match(reason, /^no answer to \d+ connections (for 500ms|in a row); out for 4s$/);
  ok(ms < 2000, `out ${ms} ms after it fell silent`);
  await host.run('nft delete table inet f');
  await see(net, 'web-1', 'up', 8000);
}

/** It answers, but through a queue that is always full: 400 octets at 1000 octets a second. */
async function slows(net: Topology): Promise<void> {
  await load(net, families);
  await warm(net);
  const host = net.server(0).host;
  await host.run('tc qdisc add dev eth0 root tbf rate 8kbit burst 1600 limit 400');
  match(await see(net, 'web-1', 'ejected', 20_000), /^takes \d+ ms to answer, others [\d.]+ ms; out for 4s$/);
  await host.run('tc qdisc del dev eth0 root');
  await noErrors(net, families);
  await see(net, 'web-1', 'up', 10_000);
}

async function observes(net: Topology): Promise<void> {
  await load(net, [4]);
  await warm(net);
  await net.server(0).stop();
  const suspect = await waitFor(
    'a word about web-1',
    () => net.fairlead.run('events'),
    (text) => text.includes('server-suspect'),
  );
  // Which of the two it is depends on how many of the last answers came between two looks.
  match(
    suspect,
    /server-suspect +web4\/web-1 +(refused \d+ connections in a row|\d+ of \d+ connections failed within 10s); only observed/,
  );
  equal((await rowsOf(net, 'web-1'))[0]?.state, 'up');
}

/** Two servers with room for two each, and a backup for what is beyond. */
async function limits(net: Topology): Promise<void> {
  const homes: string[] = [];
  const sessions = [];
  for (let i = 0; i < 6; i++) {
    const session = await openSession(net.client, net.vip[4]);
    sessions.push(session);
    homes.push((await session.ask()).split(' ')[0] ?? '');
  }
  equal(homes.toSorted().join(' '), 'web-1 web-1 web-2 web-2 web-3 web-3');
  equal(homes.slice(4).join(' '), 'web-3 web-3', 'the backup comes last');
  const refused = await net.client.attempt(`curl -s --max-time 0.5 '${urlOf(net.vip[4])}'`);
  equal(refused.code, 28, 'no room anywhere: the SYN gets no answer');
  match(await net.fairlead.run('drops'), /servers-full/);
  await sessions[0]?.close();
  const { errors } = await requests(net.client, net.vip[4], 1);
  equal(errors, 0, 'there is room again');
}

async function inline(lab: Parameters<Scenario['stage']>[0], more: object, both = true): Promise<Topology> {
  const net = await buildInline(lab, { captures: false });
  const wanted: readonly Family[] = both ? families : [4];
  const options = (family: Family) => ({ method: 'nat' as const, family, more: { check: 'none' as const, ...more } });
  await net.fairlead.up(
    net.config(Object.fromEntries(wanted.map((family) => [`web${family}`, net.service(options(family))]))),
  );
  return net;
}

export const scenarios: Scenario[] = [
  {
    name: 'passive-refuses',
    title: 'a server that refuses connections is taken out by them in a second, and comes back, without any check',
    picture,
    stage: (lab) => inline(lab, { passive }),
    run: (net) => refuses(net),
  },
  {
    name: 'passive-refuses-full-nat',
    title: 'the same beside the path, with full-nat',
    picture: oneArmPicture,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { captures: false });
      const web4 = net.service({ method: 'full-nat', family: 4, more: { check: 'none', passive } });
      await net.fairlead.up(net.config({ web4 }));
      return net;
    },
    run: (net) => refuses(net, [4]),
  },
  {
    name: 'passive-vanishes',
    title: 'a server whose answers stay out is taken out by its silence, and who was waiting gets through to another',
    picture,
    stage: (lab) => inline(lab, { passive, check: { type: 'tcp', every: '60s', timeout: '30s' } }),
    run: vanishes,
  },
  {
    name: 'passive-slows',
    title: 'a server that answers a hundred times as slowly as the others is taken out, and says how slowly',
    picture,
    stage: (lab) => inline(lab, { passive }),
    run: slows,
  },
  {
    name: 'passive-observes',
    title: 'observing only, the same is said and nobody is taken out',
    picture,
    stage: (lab) => inline(lab, { passive: 'observe' }, false),
    run: observes,
  },
  {
    name: 'limits-overflow',
    title: 'full servers are passed over, a backup takes what is beyond, and then a connection is refused by name',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      const { servers, ...web4 } = net.service({ method: 'nat', family: 4, more: { check: 'none', 'max-flows': 2 } });
      const { 'web-3': spare = '', ...rest } = servers;
      await net.fairlead.up(net.config({ web4: { ...web4, servers: rest, backup: { 'web-3': spare } } }));
      return net;
    },
    run: limits,
  },
];
