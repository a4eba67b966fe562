// Checks against real servers that break as servers do: each is found out with words that help, clients meet none of it,
// and whom it does not concern does not notice.
import { equal, match } from 'node:assert/strict';
import { proveHalfOpen } from '../lib/half-open.ts';
import type { Scenario } from '../lib/scenario.ts';
import { webPort } from '../lib/servers.ts';
import { openSession, type Session } from '../lib/session.ts';
import { requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface CheckRow {
  service: string;
  server: string;
  check: string;
  state: string;
  lastResult: string | null;
  history: string;
}

const timers = { every: '500ms', timeout: '500ms', 'fast-every': '200ms', rise: 2, fall: 2 };

/** A table with a chain on what comes in, for rules to be added. */
const firewall = String.raw`nft add table inet f && nft add chain inet f i { type filter hook input priority 0 \; }`;

const checksOf = (net: Topology) => net.fairlead.view<CheckRow[]>('checks');

/** Waits until a check is so, in both families, and says so over IPv4. */
async function see(net: Topology, server: string, check: RegExp, state: string, words = /./): Promise<void> {
  await waitFor(
    `the check ${check} of ${server} to be ${state}, with words like ${words}`,
    async () => (await checksOf(net)).filter((row) => row.server === server && check.test(row.check)),
    (found) => found.every((row) => row.state === state) && words.test(found[0]?.lastResult ?? ''),
    { withinMs: 40_000, everyMs: 50 },
  );
}

async function diagnoses(net: Topology): Promise<void> {
  const [first, second, third] = [net.server(0), net.server(1), net.server(2)];
  for (const name of ['web-1', 'web-2', 'web-3']) await see(net, name, /./, 'up');

  first.nginx?.signal('SIGSTOP');
  await see(net, 'web-1', /http/, 'down', /^connected, but no HTTP answer within 500 ms$/);
  await see(net, 'web-1', /half-open/, 'up'); // the kernel goes on taking connections
  await see(net, 'web-1', /icmp/, 'up');
  first.nginx?.signal('SIGCONT');
  await see(net, 'web-1', /http/, 'up');

  await second.stop();
  await see(net, 'web-2', /http/, 'down', /^connection refused$/);
  await see(net, 'web-2', /half-open/, 'down', /^connection refused$/);
  await see(net, 'web-2', /icmp/, 'up');

  // A firewall that refuses aloud is quoted. Of such errors the kernel sends few, so not every result has one.
  const rules = ['icmp type echo-request reject with icmp', 'icmpv6 type echo-request reject with icmpv6'];
  await third.host.run(
    [firewall, ...rules.map((rule) => `nft add rule inet f i ${rule} type admin-prohibited`)].join(' && '),
  );
  await see(net, 'web-3', /icmp/, 'down', /^forbidden by a firewall, says 10\.0\.1\.13$/);
  await third.host.run('nft delete table inet f');
  await see(net, 'web-3', /icmp/, 'up');

  // A server that has lost its way back: it hears, and nobody hears it.
  await third.host.run('ip route add blackhole 10.0.1.1/32 && ip -6 route add blackhole 2001:db8:b::1/128');
  for (const check of [/http/, /half-open/, /icmp/]) {
    await see(net, 'web-3', check, 'down', /^no answer within 500 ms$/);
  }
  await third.host.run('ip route del blackhole 10.0.1.1/32 && ip -6 route del blackhole 2001:db8:b::1/128');
  await see(net, 'web-3', /./, 'up');

  // One that is gone from its network: nobody answers ARP or neighbour discovery for it.
  await third.host.run('ip link set eth0 down');
  await see(net, 'web-3', /http/, 'down', /^(no answer within 500 ms|no route to host)$/);
  await see(net, 'web-3', /icmp/, 'down', /^(no answer within 500 ms|host unreachable, says .*)$/);

  for (const family of families) {
    const tally = await requests(net.client, net.vip[family], 10);
    equal(tally.errors, 0, `IPv${family} requests while two of three servers are out`);
    equal(JSON.stringify(tally.shares), '{"web-1":10}');
  }
}

/** Sessions on healthy servers, one on each of them at least. */
async function healthySessions(net: Topology): Promise<{ session: Session; home: string }[]> {
  const found: { session: Session; home: string }[] = [];
  for (let i = 0; i < 12 && new Set(found.map(({ home }) => home.split(' ')[0])).size < 2; i++) {
    const session = await openSession(net.client, net.vip[4]);
    const home = await session.ask();
    if (home.startsWith('web-3')) await session.close();
    else found.push({ session, home });
  }
  return found;
}

async function flapping(net: Topology): Promise<void> {
  const { host } = net.server(2);
  for (const name of ['web-1', 'web-2', 'web-3']) await see(net, name, /./, 'up');
  const sessions = await healthySessions(net);
  equal(new Set(sessions.map(({ home }) => home.split(' ')[0])).size, 2, 'both healthy servers have a connection');
  await host.run(firewall);
  // 5 Hz: for 100 ms it resets whoever comes, and then for 100 ms it does not.
  const rule = `nft add rule inet f i tcp dport ${webPort} reject with tcp reset`;
  const program = `for i in $(seq 200); do ${rule}; sleep 0.1; nft flush chain inet f i; sleep 0.1; done`;
  const flapper = await host.start('flapper', `sh -c '${program}'`);
  const changes = async () => {
    for (const { session, home } of sessions) equal(await session.ask(), home, 'a connection to a healthy server');
    const events = (await net.fairlead.run('events -o json')).trim().split('\n');
    return events.map((line) => JSON.parse(line) as { server: string; kind: string });
  };
  const count = (events: { server: string; kind: string }[], server: string) =>
    events.filter((event) => event.server === server && event.kind === 'server-down').length;
  const events = await waitFor('six falls', changes, (all) => count(all, 'web-3') >= 6, { withinMs: 40_000 });
  await flapper.stop();
  await host.run('nft delete table inet f');
  equal(count(events, 'web-1') + count(events, 'web-2'), 0, 'the healthy ones were never called down');
  await see(net, 'web-3', /./, 'up');
}

async function restart(net: Topology): Promise<void> {
  await net.server(1).stop();
  await see(net, 'web-2', /./, 'down');
  await net.fairlead.run('maintenance web4 web-3');
  await net.fairlead.daemon?.stop('SIGKILL');
  await net.fairlead.up();
  const states = (await net.fairlead.json<{ service: string; server: string; state: string }[]>('servers web4')).map(
    ({ server, state }) => `${server} ${state}`,
  );
  equal(states.join(', '), 'web-1 up, web-2 down, web-3 maintenance');
  const tally = await requests(net.client, net.vip[4], 10);
  equal(JSON.stringify([tally.shares, tally.errors]), '[{"web-1":10},0]');
  const { history } = (await checksOf(net)).find((row) => row.service === 'web4' && row.server === 'web-2') ?? {};
  match(history ?? '', /^-+$/, 'it has been asked, and did not need to fail twice');
  await net.fairlead.run('enable web4 web-3');
  await waitFor(
    'web-3 to serve again',
    () => requests(net.client, net.vip[4], 10),
    ({ shares }) => 'web-3' in shares,
  );
}

async function backup(net: Topology): Promise<void> {
  const { client, vip } = net;
  equal(JSON.stringify((await requests(client, vip[4], 6)).shares), '{"web-1":3,"web-2":3}');
  await net.server(0).stop();
  await net.server(1).stop();
  await waitFor(
    'the backup to serve',
    () => requests(client, vip[4], 4),
    ({ shares }) => shares['web-3'] === 4,
  );
  match(await net.fairlead.run('events'), /backup-used +web4 /);
  await net.server(0).start();
  await waitFor(
    'the backup to rest',
    () => requests(client, vip[4], 4),
    ({ shares }) => shares['web-1'] === 4,
  );
  match(await net.fairlead.run('events'), /backup-rests +web4 /);
}

async function minUp(net: Topology): Promise<void> {
  const { client, vip } = net;
  const served = (wanted: string) =>
    waitFor(
      `${wanted} to serve`,
      () => requests(client, vip[4], 4),
      ({ shares }) => Object.keys(shares).toSorted().join(' ') === wanted,
      { withinMs: 30_000 },
    );
  await served('web-1 web-2');
  await net.server(0).stop();
  await served('web-2 web-3');
  match(await net.fairlead.run('events'), /backup-used +web4 /);
  await net.server(0).start();
  await served('web-1 web-2');
  match(await net.fairlead.run('events'), /backup-rests +web4 /);
  // Checks are wrong about all of them: the port is closed to the balancer only.
  const rule = `nft add rule inet f i ip saddr ${net.plan.balancerAddress[4]} tcp dport ${webPort} reject with tcp reset`;
  for (const { host } of net.servers) await host.run(`${firewall} && ${rule}`);
  for (const { name } of net.servers) await see(net, name, /tcp/, 'down', /^connection refused$/);
  await served('web-1 web-2 web-3');
  match(await net.fairlead.run('events'), /panic +web4 /);
}

/** What an agent on each server says is the content of a file. */
async function startAgents(net: Topology): Promise<void> {
  await Promise.all(
    net.servers.map(async (server, index) => {
      await say(net, index, 'up 100%');
      await server.host.start('agent', `socat TCP-LISTEN:${agentPort},fork,reuseaddr EXEC:'cat ${words(net, index)}'`, {
        ready: async () => (await server.host.attempt(`ss -Hltn 'sport = :${agentPort}'`)).stdout !== '',
      });
    }),
  );
}

const agentPort = 9999;
const words = (net: Topology, index: number) => net.server(index).host.file('agent.words');
/** Whole at once: an agent never reads half of it. */
const say = (net: Topology, index: number, line: string) =>
  net
    .server(index)
    .host.run(`echo '${line}' >${words(net, index)}.new && mv ${words(net, index)}.new ${words(net, index)}`);

async function agents(net: Topology): Promise<void> {
  const shares = (count: number, wanted: Record<string, number>) =>
    waitFor(
      `shares of ${count} requests to be ${JSON.stringify(wanted)}`,
      () => requests(net.client, net.vip[4], count),
      ({ shares: found, errors }) =>
        errors === 0 && Object.keys(wanted).every((name) => (found[name] ?? 0) === wanted[name]),
      { withinMs: 30_000 },
    );
  await shares(12, { 'web-1': 4, 'web-2': 4, 'web-3': 4 });
  await say(net, 0, 'up 50%');
  await say(net, 1, '25%');
  await shares(14, { 'web-1': 4, 'web-2': 2, 'web-3': 8 });

  const session = await openSession(net.client, net.vip[4]);
  const home = await session.ask();
  const index = net.servers.findIndex(({ name }) => home.startsWith(name));
  for (const line of ['drain', 'maint # new disk']) {
    await say(net, index, line);
    await shares(6, { [net.server(index).name]: 0 });
    equal(await session.ask(), home, `a connection to a server whose agent says ${line}`);
  }
  await say(net, index, 'down # disk full');
  await see(net, net.server(index).name, /agent/, 'down', /^the agent says "down # disk full"$/);
  await say(net, index, 'up 100%');
  await see(net, net.server(index).name, /agent/, 'up');
  match(await net.fairlead.run('events'), /server-advice +web4\//);
}

async function inline(
  lab: Parameters<Scenario['stage']>[0],
  more: Parameters<Topology['service']>[0]['more'],
): Promise<Topology> {
  const net = await buildInline(lab, { captures: false });
  const services = Object.fromEntries(
    families.map((family) => [`web${family}`, net.service({ method: 'nat', family, more: more ?? {} })]),
  );
  await net.fairlead.up(net.config(services));
  return net;
}

export const scenarios: Scenario[] = [
  {
    name: 'health-diagnoses',
    title:
      'a server stopped, gone, without a way back, gone from its network or behind a firewall is taken out with words that say so',
    picture,
    stage: (lab) =>
      inline(lab, {
        check: [
          { type: 'http', path: '/', body: 'web-', ...timers },
          { type: 'tcp-half-open', ...timers },
          { type: 'icmp', ...timers },
        ],
      }),
    run: diagnoses,
  },
  {
    name: 'health-half-open',
    title: 'half-open checks leave no connection in the server, and the server accepts none of them',
    picture,
    stage: (lab) => inline(lab, { check: { type: 'tcp-half-open', every: '50ms', timeout: '50ms' } }),
    run: proveHalfOpen,
  },
  {
    name: 'health-flapping',
    title: 'a server that goes and comes five times a second disturbs no connection to the healthy ones',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      const web4 = net.service({ method: 'nat', family: 4, scheduler: 'maglev', more: { hash: 'client-port' } });
      // Taken at its word each time: each change is a commit with another table.
      const check = { type: 'tcp', every: '50ms', timeout: '50ms', rise: 1, fall: 1 };
      const hasty = { address: `${net.plan.serverAddress(2, 4)}:${webPort}`, check };
      const servers = { ...web4.servers, 'web-3': hasty };
      await net.fairlead.up(net.config({ web4: { ...web4, check: { type: 'tcp', ...timers }, servers } }));
      return net;
    },
    run: flapping,
  },
  {
    name: 'health-restart',
    title:
      'after kill -9 the successor opens with the servers that are up, without the dead one and the one in maintenance',
    picture,
    stage: (lab) => inline(lab, { check: { type: 'http', path: '/', ...timers } }),
    run: restart,
  },
  {
    name: 'health-restart-full-nat',
    title: 'beside the path, with full-nat, a successor opens with the right servers too',
    picture: oneArmPicture,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { captures: false });
      const web4 = net.service({ method: 'full-nat', family: 4, more: { check: { type: 'http', ...timers } } });
      await net.fairlead.up(net.config({ web4 }));
      return net;
    },
    run: restart,
  },
  {
    name: 'health-agent',
    title: 'agents on the servers set their shares, drain them without breaking a connection, and take them out',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      await startAgents(net);
      const check = [
        { type: 'tcp', ...timers },
        { type: 'agent', port: agentPort, ...timers },
      ];
      const web4 = net.service({ method: 'nat', family: 4, scheduler: 'wrr', weights: [4, 4, 4], more: { check } });
      await net.fairlead.up(net.config({ web4 }));
      return net;
    },
    run: agents,
  },
  {
    name: 'health-min-up',
    title: 'with min-up a backup joins while one server is still up, and in panic all are used rather than none',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      const { servers, ...web4 } = net.service({ method: 'nat', family: 4 });
      const { 'web-3': spare = '', ...rest } = servers;
      const more = { check: { type: 'tcp', ...timers }, 'min-up': 2, panic: true, servers: rest };
      await net.fairlead.up(net.config({ web4: { ...web4, ...more, backup: { 'web-3': spare } } }));
      return net;
    },
    run: minUp,
  },
  {
    name: 'health-backup',
    title: 'a backup serves when the last server is gone, and rests when one is back',
    picture,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      const { servers, ...web4 } = net.service({ method: 'nat', family: 4 });
      const { 'web-3': spare = '', ...rest } = servers;
      const check = { type: 'tcp', ...timers };
      await net.fairlead.up(net.config({ web4: { ...web4, check, servers: rest, backup: { 'web-3': spare } } }));
      return net;
    },
    run: backup,
  },
];
