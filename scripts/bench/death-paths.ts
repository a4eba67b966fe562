// Who is asked how soon he notices a death: each a network of its own with a client, a balancer and two servers, and each
// with the same timers. deaths.ts lets a server of all of them die at once.

import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import type { Background } from '../../netns-lab/lib/background.ts';
import { execute } from '../../netns-lab/lib/command.ts';
import { Lab } from '../../netns-lab/lib/lab.ts';
import { webPort } from '../../netns-lab/lib/servers.ts';
import { waitFor } from '../../netns-lab/lib/wait-for.ts';
import { buildInline } from '../../netns-lab/topologies/inline.ts';
import type { Topology } from '../../netns-lab/topologies/topology.ts';

export const timers = { seconds: 1, rise: 2, fall: 3 } as const;
/** The servers' nginx has it too: on the wire checks are told from clients' connections by it. */
const checkPort = 8001;
const vipPort = 80;

export const deathPathNames = [
  'haproxy',
  'haproxy-observe',
  'keepalived',
  'fairlead-tc-nat',
  'fairlead-tc-nat-passive',
] as const;
export type DeathPathName = (typeof deathPathNames)[number];

export interface DeathPath {
  readonly name: DeathPathName;
  readonly net: Topology;
  /** Since the epoch, in milliseconds: each time that the first server was given something to do. */
  signs(): readonly number[];
  /** What says that the server is in use again, after it was brought back at `sinceMs`. */
  isBack(sinceMs: number): boolean;
}

export async function makeDeathPath(name: DeathPathName): Promise<DeathPath> {
  const net = await buildInline(new Lab(`bench ${name}`, 'tc'), { servers: 2, captures: false });
  if (name === 'keepalived') return { name, net, ...(await keepalived(net)) };
  await (name.startsWith('haproxy')
    ? haproxy(net, name === 'haproxy-observe')
    : fairlead(net, name === 'fairlead-tc-nat-passive'));
  const connector = new URL('../../netns-lab/programs/connector.ts', import.meta.url).pathname;
  const tap = await net
    .server(0)
    .host.start(
      'tap',
      `tcpdump -l -n -tt -S -i eth0 'tcp dst port ${webPort} and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn'`,
      { ready: (process) => process.output().includes('listening on') },
    );
  await net.client.start('load', `${process.execPath} ${connector} 10 ${net.vip[4]} ${vipPort}`);
  const signs = (): number[] => firstSyns(tap);
  return { name, net, signs, isBack: (sinceMs) => signs().filter((atMs) => atMs > sinceMs).length > 3 };
}

/** Of each connection the first SYN: the others are the client's repetitions. */
function firstSyns(tap: Background): number[] {
  const seen = new Set<string>();
  return [...tap.output().matchAll(/^(\d+\.\d+) IP (\S+) > \S+ Flags \[S\w*\], seq (\d+)/gm)].flatMap(
    ([, seconds, from, sequence]) => {
      const connection = `${from} ${sequence}`;
      if (seen.has(connection)) return [];
      seen.add(connection);
      return [Number(seconds) * 1000];
    },
  );
}

async function fairlead(net: Topology, isPassive: boolean): Promise<void> {
  const { seconds, rise, fall } = timers;
  const check = { type: 'tcp', port: checkPort, every: `${seconds}s`, timeout: `${seconds}s`, rise, fall };
  // Out for no longer than it takes the checks to say the same, so that rounds need not wait.
  const passive = isPassive ? { passive: { mode: 'eject', for: '5s', longest: '5s' } } : {};
  const web4 = net.service({ method: 'nat', family: 4, port: vipPort, more: { check, ...passive } });
  await net.fairlead.up(net.config({ web4 }));
}

/** What a careful operator writes: a connection that fails is tried once more, at the other server. */
async function haproxy(net: Topology, isObserving: boolean): Promise<void> {
  const { seconds, rise, fall } = timers;
  const check = `check port ${checkPort} inter ${seconds}s rise ${rise} fall ${fall}`;
  const observe = isObserving ? 'observe layer4 error-limit 5 on-error mark-down' : '';
  const servers = net.servers.map(
    (server, index) => `  server ${server.name} ${net.plan.serverAddress(index, 4)}:${webPort} ${check} ${observe}`,
  );
  const file = net.balancer.file('haproxy.cfg');
  writeFileSync(
    file,
    `global
  maxconn 4000
  nbthread 1
defaults
  mode tcp
  timeout connect ${seconds}s
  timeout check ${seconds}s
  timeout client 60s
  timeout server 60s
  retries 1
  option redispatch 1
listen web
  bind ${net.vip[4]}:${vipPort}
  balance roundrobin
${servers.join('\n')}
`,
  );
  await net.balancer.address(net.plan.interfaces.outside, `${net.vip[4]}/32`);
  await net.balancer.start('haproxy', `haproxy -db -f ${file}`, {
    ready: async () => (await net.balancer.attempt(`ss -Hltn sport = ${vipPort}`)).stdout !== '',
  });
}

/** Null, or why there is none. */
export async function keepalivedTrouble(): Promise<string | null> {
  const { code } = await execute(['keepalived', '--version'], 'keepalived --version').catch(() => ({ code: 127 }));
  return code === 0 ? null : 'it is not installed';
}

/**
 * Keepalived's checkers end at once on a kernel without IPVS. Its tracked scripts need none: the same question, a TCP
 * connect, with the same timers; what counts is when it tells of the fault, before anything is done about it.
 */
async function keepalived(net: Topology): Promise<Pick<DeathPath, 'signs' | 'isBack'>> {
  const { seconds, rise, fall } = timers;
  const file = (name: string) => net.balancer.file(name);
  const told = file('keepalived.told');
  appendFileSync(told, '');
  writeFileSync(file('notify'), `#!/bin/sh\necho "$(date +%s%3N) $3" >>${told}\n`);
  chmodSync(file('notify'), 0o755);
  writeFileSync(
    file('keepalived.conf'),
    `global_defs {
  script_user root
}
vrrp_script connect {
  script "/usr/bin/socat /dev/null TCP4:${net.plan.serverAddress(0, 4)}:${checkPort}"
  interval ${seconds}
  timeout ${seconds}
  rise ${rise}
  fall ${fall}
}
vrrp_instance bench {
  state BACKUP
  interface ${net.plan.interfaces.outside}
  virtual_router_id 1
  priority 100
  track_script {
    connect
  }
  notify ${file('notify')}
}
`,
  );
  const pids = `-p ${file('keepalived.pid')} -r ${file('vrrp.pid')}`;
  await net.balancer.start('keepalived', `keepalived -n -l -P -f ${file('keepalived.conf')} ${pids}`);
  const lines = () =>
    Array.from(readFileSync(told, 'utf8').matchAll(/^(\d+) (\w+)$/gm), ([, ms, state]) => ({
      atMs: Number(ms),
      state,
    }));
  const isBack = (sinceMs: number) => lines().some(({ atMs, state }) => atMs > sinceMs && state !== 'FAULT');
  await waitFor('keepalived to take part', () => isBack(0), Boolean, { withinMs: 20_000 });
  return {
    signs: () => lines().flatMap(({ atMs, state }) => (state === 'FAULT' ? [atMs] : [])),
    isBack,
  };
}
