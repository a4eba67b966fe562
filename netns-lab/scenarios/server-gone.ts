// When servers go: nobody is left in silence, and no connection ends that need not.
import { equal, match, notEqual, rejects } from 'node:assert/strict';
import type { Background } from '../lib/background.ts';
import type { ServiceDocument } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import { openSession, type Session } from '../lib/session.ts';
import { datagrams, urlOf } from '../lib/traffic.ts';
import { underLoad } from '../lib/under-load.ts';
import { meanwhile, waitFor } from '../lib/wait-for.ts';
import type { Scenario } from '../lib/scenario.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

const refused = 7; // what curl ends with when it could not connect
const tooLate = 28; // and when nobody answers

interface ServerRow {
  service: string;
  server: string;
  state: string;
  /** What the data plane goes by. */
  weight: number;
}

/** The data plane knows as well. */
const isSo = (row: ServerRow, state: string): boolean => row.state === state && row.weight > 0 === (state === 'up');

/** Waits until the servers of a service are so, all of them. */
async function see(net: Topology, service: string, state: string): Promise<void> {
  await waitFor(
    `the servers of ${service} to be ${state}`,
    () => net.fairlead.view<ServerRow[]>('servers'),
    (rows) => rows.every((row) => row.service !== service || isSo(row, state)),
    { withinMs: 30_000 },
  );
}

const connect = async (client: Host, address: string, port: number): Promise<number> =>
  (await client.attempt(`curl -s -o /dev/null --connect-timeout 10 '${urlOf(address, port)}'`)).code;

/** What a client's datagram gets: "refused" once the kernel hears of port unreachable. */
async function ask(client: Host, address: string, port: number): Promise<string> {
  const target = address.includes(':') ? `UDP6:[${address}]:${port}` : `UDP4:${address}:${port}`;
  const { stdout, stderr } = await client.attempt(`printf hello | socat -t 5 - ${target}`);
  return stderr.includes('Connection refused') ? 'refused' : `${stdout}${stderr}`;
}

const check = { type: 'tcp', port: 8080, every: '200ms', timeout: '200ms', fall: 2, rise: 1 };

async function nobodyThere(net: Topology): Promise<void> {
  const { client, vip, fairlead } = net;
  const services = net.everyService('nat', { more: { check } });
  await fairlead.up(net.config(services));
  for (const family of families) {
    equal(await connect(client, vip[family], 81), refused, `a port of IPv${family} without a service`);
    equal(await ask(client, vip[family], 54), 'refused', `a datagram to such a port of IPv${family}`);
    equal(await connect(client, vip[family], 80), 0, `IPv${family} is served`);
  }
  await net.server(0).stop();
  for (const family of families) {
    await see(net, `web${family}`, 'down');
    await see(net, `dns${family}`, 'down');
    equal(await connect(client, vip[family], 80), refused, `IPv${family} without a server`);
    equal(await ask(client, vip[family], 53), 'refused', `a datagram over IPv${family} without a server`);
  }
  match(await fairlead.run('drops'), /refused-no-server/);
  const silent = { ...services.web4!, 'on-no-server': 'drop' };
  await fairlead.reload(net.config({ ...services, web4: silent }));
  const short = `curl -s -o /dev/null --connect-timeout 0.5 '${urlOf(vip[4])}'`;
  equal((await client.attempt(short)).code, tooLate, 'as the service wishes');
  await net.server(0).start();
  for (const family of families) {
    await waitFor(`IPv${family} to be served again`, async () => (await connect(client, vip[family], 80)) === 0);
  }
}

/** A connection to the server of this name; it is known to be in use. */
async function sessionTo(net: Topology, family: Family, port: number, name: string): Promise<Session> {
  for (let attempt = 0; attempt < 2 * net.servers.length; attempt++) {
    const session = await openSession(net.client, net.vip[family], port);
    if ((await session.ask()).startsWith(`${name} `)) return session;
    await session.close();
  }
  throw new Error(`no connection to port ${port} led to ${name}`);
}

/** A port of its own that checks ask, so that a server can be taken down while it serves on. */
const checkedPort = 9000;

function listenForChecks({ host }: { host: Host }): Promise<Background> {
  const ready = async () => (await host.run('ss -Hltn')).includes(`:${checkedPort} `);
  // No process for each of the checks, which are many.
  const program = `require('node:net').createServer((socket) => socket.destroy()).listen(${checkedPort})`;
  return host.start('checked', `${process.execPath} --eval "${program}"`, { ready });
}

const ways = { keep: 80, reset: 81, rehash: 82 } as const;
type Way = keyof typeof ways;

/** Each way of ending is a service on a port of its own; datagrams are reset's. */
function servicesOf(net: Topology, without?: string): Record<string, ServiceDocument> {
  const rest = ({ servers, ...service }: ServiceDocument): ServiceDocument => ({
    ...service,
    servers: Object.fromEntries(Object.entries(servers).filter(([name]) => name !== without)),
  });
  const services = families.flatMap((family) =>
    (Object.keys(ways) as Way[]).map((way) => {
      const more = { check: { ...check, port: checkedPort }, 'on-server-down': way };
      const web = net.service({ method: 'nat', family, port: ways[way], more });
      const dns = net.service({ method: 'nat', family, protocol: 'udp', more });
      return [
        [`${way}${family}`, rest(web)],
        [`dns-${way}${family}`, rest({ ...dns, listen: dns.listen.toString().replace('53/', `${ways[way]}/`) })],
      ] as const;
    }),
  );
  return Object.fromEntries(services.flat());
}

/** Connections from clients that a server knows of. */
async function connectionsAt(host: Host): Promise<number> {
  return (await host.run('ss -Htn state established sport = :8080')).split('\n').filter(Boolean).length;
}

/** Takes the first server down, or has it come back, in every service. */
async function makeFirst(net: Topology, state: 'up' | 'down', checked: Background[]): Promise<void> {
  const { name } = net.server(0);
  if (state === 'down') await checked[0]?.stop();
  else checked[0] = await listenForChecks(net.server(0));
  for (const family of families) {
    for (const way of Object.keys(ways)) await seeOne(net, `${way}${family}`, name, state);
  }
}

/** The next frames of connections and of datagrams' flows reach other servers; these know no such connection. */
async function rehashes(net: Topology, checked: Background[]): Promise<void> {
  const flows = [];
  for (const family of families) {
    const session = await sessionTo(net, family, ways.rehash, 'web-1');
    flows.push({ family, session, port: await portTo(net, family, ways.rehash) });
  }
  await makeFirst(net, 'down', checked);
  for (const { family, session, port } of flows) {
    await rejects(session.ask(), /the connection ended/, `a connection over IPv${family} is reset by another server`);
    await assertMoved(net, family, ways.rehash, port);
  }
  await makeFirst(net, 'up', checked);
}

async function goesDown(net: Topology): Promise<void> {
  const { vip, fairlead } = net;
  const checked = await Promise.all(net.servers.map(listenForChecks));
  await fairlead.up(net.config(servicesOf(net)));
  // Without load: a server that remembers another connection from the same port would keep silent about this one.
  await rehashes(net, checked);

  const kept: Session[] = [];
  const ending: Session[] = [];
  const ports: Record<Family, number> = { 4: 0, 6: 0 };
  for (const family of families) {
    kept.push(await sessionTo(net, family, ways.keep, 'web-1'));
    kept.push(await sessionTo(net, family, ways.reset, 'web-2'), await sessionTo(net, family, ways.rehash, 'web-3'));
    ending.push(await sessionTo(net, family, ways.reset, 'web-1'));
    ports[family] = await portTo(net, family, ways.reset);
  }
  await underLoad(
    net,
    async () => {
      await makeFirst(net, 'down', checked);
      for (const session of ending)
        await rejects(session.ask(), /the connection ended/, 'a connection to web-1 is reset');
      for (const session of kept) await session.ask();
      for (const family of families) await assertMoved(net, family, ways.reset, ports[family]);
      await makeFirst(net, 'up', checked);
    },
    families.map((family) => urlOf(vip[family], ways.keep)),
  );
  for (const session of kept) await session.ask();
  match(await fairlead.run('drops'), /refused-server-gone/);
}

async function assertMoved(net: Topology, family: Family, port: number, from: number): Promise<void> {
  const { shares, errors } = await datagrams(net.client, net.vip[family], 1, port, from);
  equal(errors, 0, 'no datagram is lost');
  equal('web-1' in shares, false, 'its flow has moved');
}

let lastPort = 7000;

/** A source port whose datagrams reach web-1. */
function portTo(net: Topology, family: Family, port: number): Promise<number> {
  return waitFor('datagrams to reach web-1', async () => {
    lastPort += 1;
    const { shares } = await datagrams(net.client, net.vip[family], 1, port, lastPort);
    return 'web-1' in shares ? lastPort : 0;
  });
}

async function seeOne(net: Topology, service: string, server: string, state: string): Promise<void> {
  await waitFor(
    `${service}/${server} to be ${state}`,
    () => net.fairlead.view<ServerRow[]>('servers'),
    (rows) => rows.some((row) => row.service === service && row.server === server && isSo(row, state)),
    { withinMs: 30_000 },
  );
}

/** Both ends of a connection to a server that is no more in the file hear of it, and nobody else does. */
async function isRemoved(net: Topology): Promise<void> {
  const { client, vip, fairlead } = net;
  const [first] = net.servers;
  await Promise.all(net.servers.map(listenForChecks));
  await fairlead.up(net.config(servicesOf(net)));
  const kept: Session[] = [];
  const ending: Session[] = [];
  for (const family of families) {
    ending.push(await sessionTo(net, family, ways.keep, 'web-1'));
    kept.push(await sessionTo(net, family, ways.keep, 'web-2'), await sessionTo(net, family, ways.keep, 'web-3'));
  }
  const before = await connectionsAt(first!.host);
  notEqual(before, 0);
  // What a server sends is turned away even when its client says nothing: the download's client is stopped.
  const url = urlOf(vip[4], ways.keep, '/slow?rate=1m');
  const slow = await Promise.all(
    [1, 2, 3].map((index) => client.start(`slow-${index}`, `curl -s -o /dev/null '${url}'`)),
  );
  await waitFor('a download from web-1', async () => (await connectionsAt(first!.host)) > before);
  await fairlead.reload(net.config(servicesOf(net, 'web-1')));
  await waitFor('web-1 to be rid of its download', async () => (await connectionsAt(first!.host)) <= before);
  for (const session of ending) await rejects(session.ask(), /the connection ended/, 'a connection to web-1 is reset');
  for (const session of kept) await session.ask();
  for (const it of slow) await it.stop();
}

const timedOut = 6;

/** Nobody waits for connections that do not end: at the deadline both ends hear of it, also when a restart is between. */
async function drains(net: Topology): Promise<void> {
  const { fairlead } = net;
  const more = { check: 'none', 'drain-deadline': '1h' } as const;
  const services = Object.fromEntries(
    families.map((family) => [`web${family}`, net.service({ method: 'nat', family, more })]),
  );
  await fairlead.up(net.config(services));
  const kept: Session[] = [];
  const ending: Session[] = [];
  for (const family of families) {
    ending.push(await sessionTo(net, family, 80, 'web-1'));
    kept.push(await sessionTo(net, family, 80, 'web-2'));
  }
  const waited = await fairlead.attempt('drain web4 web-1 --wait --timeout 500ms');
  equal(waited.code, timedOut, waited.stderr);
  match(
    waited.stderr,
    /web4\/web-1 is drained and has 1 open flow, for 59m\d+s at the most; the oldest is [\d.]+s old/,
  );
  await fairlead.run('drain web6 web-1');
  for (const session of [...ending, ...kept]) await session.ask();

  // One client goes by itself, and who waits for it hears so.
  const waiting = meanwhile(fairlead.run('drain web4 web-1 --wait --timeout 60s'));
  await ending.shift()?.close();
  match(await waiting, /web4\/web-1 is drained and has no open flow/);

  // Long enough for a restart.
  await fairlead.run('enable web4 web-1');
  ending.push(await sessionTo(net, 4, 80, 'web-1'));
  for (const family of families) await fairlead.run(`drain web${family} web-1 --deadline 15s`);
  await fairlead.daemon?.stop('SIGTERM');
  await fairlead.up();
  const rows = await fairlead.view<ServerRow[]>('servers');
  equal(rows.filter(({ server, state }) => server === 'web-1' && state === 'drained').length, 2, 'still drained');
  for (const family of families) await fairlead.run(`drain web${family} web-1 --wait --timeout 60s`);
  for (const session of ending) await rejects(session.ask(), /the connection ended/, 'at the deadline it is reset');
  for (const session of kept) await session.ask();
  match(await fairlead.run('events'), /server-drain-over +web[46]\/web-1 +the time to drain is over, 1 open flows end/);
}

export const scenarios: Scenario[] = [
  {
    name: 'nobody-there',
    title: 'a client for whom there is no service or no server is refused at once, over TCP and UDP',
    picture,
    stage: (lab) => buildInline(lab, { servers: 1 }),
    run: nobodyThere,
  },
  {
    name: 'server-down',
    title:
      'flows of a server that checks take down go on, are reset or move, as their service has it; all others go on',
    picture,
    stage: (lab) => buildInline(lab, { captures: false }),
    run: goesDown,
  },
  {
    name: 'server-removed',
    title: 'both ends of a connection to a server that is removed hear of it, and no other connection does',
    picture,
    stage: (lab) => buildInline(lab, { captures: false }),
    run: isRemoved,
  },
  {
    name: 'drain-deadline',
    title: 'a drain tells what is left and waits for it; at its deadline, also after a restart, both ends are reset',
    picture,
    stage: (lab) => buildInline(lab, { captures: false, servers: 2 }),
    run: drains,
  },
];
