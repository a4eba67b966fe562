// The recipes of the README, on the real software: which server has which role is found out by asking it.
import { equal, match } from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { Postgres, postgresPort, redisPort, startRedis } from '../lib/databases.ts';
import type { Background } from '../lib/background.ts';
import type { Host } from '../lib/host.ts';
import type { Scenario } from '../lib/scenario.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import type { Topology } from '../topologies/topology.ts';

const writeVip = '203.0.113.10';
const readVip = '203.0.113.11';
const databases = new WeakMap<Topology, Postgres[]>();
const redises = new WeakMap<Topology, Background[]>();

const everyServer = (net: Topology, port: number) =>
  Object.fromEntries(net.servers.map(({ name }, index) => [name, `${net.plan.serverAddress(index, 4)}:${port}`]));

/** The program of the README: its first word is the role it wants. */
function roleProgram(file: string): string {
  writeFileSync(
    file,
    `#!/bin/sh
# fairlead-postgres-role primary|replica: is this PostgreSQL in that role?
answer=$(psql -h "$FAIRLEAD_ADDRESS" -p "$FAIRLEAD_PORT" -U postgres -d postgres -Atc 'select pg_is_in_recovery()') || exit 2
case "$1$answer" in
  primaryf | replicat) exit 0 ;;
esac
echo "it is no $1"
exit 1
`,
  );
  chmodSync(file, 0o755);
  return file;
}

async function stagePostgres(net: Topology): Promise<Topology> {
  const [primary, ...replicas] = net.servers.map(({ host }) => new Postgres(net.lab, host));
  if (primary === undefined) throw new Error('a lab has servers');
  databases.set(net, [primary, ...replicas]);
  await primary.init();
  await primary.start();
  await Promise.all(
    replicas.map(async (replica) => {
      await replica.follow(net.plan.serverAddress(0, 4));
      await replica.start();
    }),
  );
  const program = roleProgram(net.balancer.file('fairlead-postgres-role'));
  const role = (name: string) => ({
    type: 'exec',
    command: [program, name],
    every: '1s',
    timeout: '1s',
    rise: 1,
    fall: 2,
  });
  const common = { method: 'nat', servers: everyServer(net, postgresPort) } as const;
  await net.fairlead.up(
    net.config({
      'pg-write': { ...common, listen: `${writeVip}:${postgresPort}/tcp`, check: role('primary') },
      'pg-read': { ...common, listen: `${readVip}:${postgresPort}/tcp`, scheduler: 'rr', check: role('replica') },
    }),
  );
  return net;
}

const psql = (client: Host, vip: string, sql: string) =>
  client.run(`PGCONNECT_TIMEOUT=2 psql -h ${vip} -U postgres -Atc "${sql}"`);

/** Which servers answer readers, by their addresses. */
async function readers(client: Host): Promise<string> {
  const seen = new Set<string>();
  for (let i = 0; i < 6; i++) seen.add((await psql(client, readVip, 'select host(inet_server_addr())')).trim());
  return [...seen].toSorted().join(' ');
}

async function postgres(net: Topology): Promise<void> {
  const [primary, heir] = databases.get(net) ?? [];
  const { client } = net;
  await psql(client, writeVip, 'create table t (n int); insert into t values (1)');
  equal(await psql(client, writeVip, 'select host(inet_server_addr())'), '10.0.1.11\n', 'writers meet the primary');
  equal(await readers(client), '10.0.1.12 10.0.1.13', 'readers meet the replicas');
  await waitFor(
    'what was written to be read',
    () => psql(client, readVip, 'select n from t'),
    (rows) => rows === '1\n',
  );
  match(await net.fairlead.run('checks pg-write'), /web-2 .* exit code 1: "it is no primary"/);

  await primary?.die();
  await heir?.ask('select pg_promote()');
  await waitFor(
    'writers to meet the new primary',
    () => psql(client, writeVip, 'insert into t values (2) returning host(inet_server_addr())'),
    (said) => said.startsWith('10.0.1.12\n'),
    { withinMs: 30_000 },
  );
  await waitFor(
    'readers to leave it',
    () => readers(client),
    (who) => who === '10.0.1.13',
    { withinMs: 20_000 },
  );
  const events = await net.fairlead.run('events');
  match(events, /server-up +pg-write\/web-2 /);
  match(events, /server-down +pg-write\/web-1 /);
}

async function stageRedis(net: Topology): Promise<Topology> {
  redises.set(net, await Promise.all(net.servers.map(({ host }) => startRedis(host))));
  for (const { host } of net.servers.slice(1)) {
    await host.run(`redis-cli -p ${redisPort} replicaof ${net.plan.serverAddress(0, 4)} ${redisPort}`);
  }
  const check = {
    type: 'content',
    send: 'INFO replication\r\nQUIT\r\n',
    expect: 'role:master',
    every: '500ms',
    timeout: '500ms',
    rise: 1,
    fall: 2,
  };
  const listen = `${writeVip}:${redisPort}/tcp`;
  await net.fairlead.up(net.config({ redis: { listen, method: 'nat', check, servers: everyServer(net, redisPort) } }));
  return net;
}

async function redis(net: Topology): Promise<void> {
  const [master] = redises.get(net) ?? [];
  const ask = (words: string) =>
    net.client.run(`redis-cli -h ${writeVip} -p ${redisPort} ${words}`, { timeoutMs: 3000 });
  equal(await ask('set colour blue'), 'OK\n');
  await waitFor(
    'the replica to have it',
    () => net.server(1).host.run('redis-cli get colour'),
    (said) => said === 'blue\n',
  );
  match(await net.fairlead.run('checks redis'), /web-2 .* got ".*", not "role:master"/);

  await master?.stop('SIGKILL');
  await net.server(1).host.run('redis-cli replicaof no one');
  await waitFor(
    'the new master to take writes',
    () => ask('set colour red'),
    (said) => said === 'OK\n',
    { withinMs: 20_000 },
  );
  equal(await net.server(1).host.run('redis-cli get colour'), 'red\n');
}

async function startDnsmasq(host: Host, answer: string): Promise<Background> {
  const line = `dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --pid-file= --user=root --port=5354 --address=/www.lab/${answer}`;
  return host.start('dnsmasq', line, {
    ready: async () => (await host.attempt("ss -Hlnu 'sport = :5354'")).stdout !== '',
  });
}

const resolvers = new WeakMap<Topology, Background[]>();

async function stageDns(net: Topology): Promise<Topology> {
  resolvers.set(net, await Promise.all(net.servers.map(({ host }) => startDnsmasq(host, '192.0.2.80'))));
  const check = {
    type: 'dns',
    name: 'www.lab',
    answer: '192.0.2.80',
    every: '500ms',
    timeout: '500ms',
    rise: 2,
    fall: 2,
  };
  const listen = [`${writeVip}:53/udp`, `${writeVip}:53/tcp`];
  await net.fairlead.up(net.config({ dns: { listen, method: 'nat', check, servers: everyServer(net, 5354) } }));
  return net;
}

async function dns(net: Topology): Promise<void> {
  const program = `const { Resolver } = require('node:dns').promises; const r = new Resolver({ timeout: 500, tries: 1 }); r.setServers(['${writeVip}']); Promise.all(Array.from({ length: 9 }, () => r.resolve4('www.lab'))).then((all) => console.log([...new Set(all.flat())].join(' ')))`;
  const resolve = () => net.client.run(`${process.execPath} --eval "${program}"`);
  equal(await resolve(), '192.0.2.80\n');
  const [first] = resolvers.get(net) ?? [];
  await first?.stop();
  const liar = await startDnsmasq(net.server(0).host, '192.0.2.66');
  const said = () => net.fairlead.run('checks dns');
  await waitFor('the liar to be found out', said, (text) =>
    /web-1 .* down .* lack 192\.0\.2\.80: 192\.0\.2\.66/.test(text),
  );
  equal(await resolve(), '192.0.2.80\n');
  await liar.stop();
  await waitFor('nobody to be there', said, (text) => /web-1 .* port unreachable: nobody listens there/.test(text));
}

const stage =
  (build: (net: Topology) => Promise<Topology>): Scenario['stage'] =>
  async (lab) =>
    build(await buildInline(lab, { captures: false }));

export const scenarios: Scenario[] = [
  {
    name: 'recipe-postgres',
    title: 'PostgreSQL behind two VIPs: writes go to the primary and reads over the replicas, through a failover',
    picture,
    stage: stage(stagePostgres),
    run: postgres,
  },
  {
    name: 'recipe-redis',
    title: 'Redis behind one VIP: writes go to the master that says it is one, through a failover',
    picture,
    stage: stage(stageRedis),
    run: redis,
  },
  {
    name: 'recipe-dns',
    title: 'a DNS server that is gone, or gives another answer, is asked no more',
    picture,
    stage: stage(stageDns),
    run: dns,
  },
];
