// A new process takes over from the one that runs (`up --takeover`), under load: nobody who is connected notices, and no
// frame leaves twice.
import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Background } from '../lib/background.ts';
import { type Capture, capture } from '../lib/capture.ts';
import { everyEngineAndMode } from '../lib/engine.ts';
import { command, type ConfigDocument } from '../lib/fairlead.ts';
import type { Lab } from '../lib/lab.ts';
import { assertAlive, openEverywhere } from '../lib/open-sessions.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile } from '../lib/servers.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { underLoad } from '../lib/under-load.ts';
import { meanwhile } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface StatusDocument {
  pid: number;
}

const names = ['web-1', 'web-2', 'web-3'];
/** Little enough to be read frame by frame; the load is IPv4 TCP. */
const watched = '(ip and udp) or (ip6 and tcp)';

/**
 * What is the same of a frame before and after the balancer, and of no two frames that a host sent: what is sent again has
 * another IP identification or TCP timestamp.
 */
function identityOf(frame: string, client: string): string {
  const port = frame.split(`${client}.`)[1]?.split(/[ :]/)[0] ?? '';
  const id = /\bid (\d+),/.exec(frame)?.[1] ?? '';
  const tcp = /Flags .*/.exec(frame)?.[0].replace(/cksum \S+ \([^)]*\), /, '') ?? '';
  return `${port} ${id} ${tcp}`;
}

/** Frames that left one side of the balancer oftener than they came in at the other. */
async function copies(
  net: Topology,
  [from, to]: readonly [Capture, Capture],
  [fromMac, toMac]: readonly [string, string],
): Promise<string[]> {
  const seen = new Map<string, number>();
  const found: string[] = [];
  for (const [family, filter] of [
    [4, 'ip and udp'],
    [6, 'ip6 and tcp'],
  ] as const) {
    const client = net.plan.clientAddress[family];
    for (const frame of await from.frames(`not ether src ${fromMac} and ${filter}`)) {
      const identity = identityOf(frame, client);
      seen.set(identity, (seen.get(identity) ?? 0) + 1);
    }
    const left = await to.frames(`ether src ${toMac} and ${filter} and host ${client}`);
    ok(left.length > 100, `${filter}: ${left.length} frames to look at`);
    const sent = new Map<string, number>();
    for (const frame of left) {
      const identity = identityOf(frame, client);
      const count = (sent.get(identity) ?? 0) + 1;
      sent.set(identity, count);
      if (count > Math.max(1, seen.get(identity) ?? 0)) found.push(frame);
    }
  }
  return found;
}

/** One datagram after another in one flow; gives how many were not answered. */
async function chatterWhile(net: Topology, daemon: Background | null): Promise<number> {
  const isAtWork = () => daemon?.isRunning === true;
  let lost = 0;
  do {
    lost += (await datagrams(net.client, net.vip[4], 1000, 53, 33_000)).errors;
  } while (isAtWork());
  return lost;
}

async function takeOverTwice(net: Topology): Promise<void> {
  const { fairlead, balancer, plan, client } = net;
  const inside = plan.interfaces.inside ?? plan.interfaces.outside;
  const macs = [await balancer.mac(plan.interfaces.outside), await balancer.mac(inside)] as const;
  const outer = await capture(plan.ports.outside, watched);
  const inner = await capture(plan.ports.inside, watched);
  const sessions = await openEverywhere(net);
  const transfer = meanwhile(download(client, urlOf(net.vip[6], 80, '/slow?rate=1m'), 120_000));
  const pids = new Set([(await fairlead.view<StatusDocument>('status')).pid]);
  await underLoad(net, async () => {
    for (const round of ['first', 'second']) {
      const before = fairlead.daemon;
      const takeover = meanwhile(fairlead.takeOver());
      const lost = await chatterWhile(net, before);
      equal(await takeover, 0, `the one before ends in order (${round} takeover)`);
      // What xdp sends to a veth waits in a short ring, which the load overruns at times, takeover or not.
      const mayBeLost = net.lab.engine.startsWith('xdp') ? 3 : 0;
      ok(lost <= mayBeLost, `${lost} datagrams lost, which nobody sends again`);
      await fairlead.logged('has let go of the region');
      pids.add((await fairlead.view<StatusDocument>('status')).pid);
      await assertAlive(sessions, `after the ${round} takeover`);
    }
  });
  equal(pids.size, 3, 'three processes, one after the other');
  equal(fairlead.regions().length, 1, 'one region');
  equal(await transfer, bigFile(net.lab).sha256, 'a transfer that ran meanwhile');
  deepEqual(await copies(net, [outer, inner], macs), [], 'no frame to a server leaves twice');
  deepEqual(await copies(net, [inner, outer], [macs[1], macs[0]]), [], 'no frame to a client leaves twice');
  for (const family of families) {
    assertServed(await requests(client, net.vip[family], 30), 30, names, 'new connections');
  }
}

/** The successor has the region, and waits for the first answer of a server that is none: there it is killed. */
async function killHalfWay(net: Topology, good: ConfigDocument | null): Promise<void> {
  const { fairlead, balancer } = net;
  const slow = { listen: '203.0.113.10:81/tcp', method: 'nat', servers: { none: '10.0.1.99:8080' } } as const;
  const check = { type: 'tcp', every: '20s', timeout: '20s' };
  if (good !== null) fairlead.writeConfig({ ...good, services: { ...good.services, slow: { ...slow, check } } });
  const line = `${command} up --takeover -c ${fairlead.configFile}`;
  const successor = await balancer.start('fairlead-killed', line, {
    ready: (process) => process.output().includes('adopted the region'),
  });
  successor.signal('SIGKILL');
  await successor.ended;
  await fairlead.logged(/the successor has failed[^]*the successor has failed: it ended[^]*"msg":"ready: /);
}

async function takeoverThatFails(net: Topology): Promise<void> {
  const { fairlead, balancer } = net;
  const sessions = await openEverywhere(net);
  const first = fairlead.daemon;
  const { pid } = await fairlead.view<StatusDocument>('status');
  const good = fairlead.config;

  writeFileSync(fairlead.configFile, 'version: 1\nservice: {}\n');
  equal((await fairlead.attempt(`up --takeover -c ${fairlead.configFile}`)).code, 3, 'a wrong file changes nothing');
  await assertAlive(sessions, 'after a takeover with a wrong file');
  equal((await fairlead.view<StatusDocument>('status')).pid, pid, 'the same process goes on');

  // It has the region by then, and fails at what comes next: the socket's group.
  if (good !== null) fairlead.writeConfig({ ...good, control: { socket: fairlead.socket, group: 'nobody-has-this' } });
  const failed = await fairlead.attempt(`up --takeover -c ${fairlead.configFile}`);
  equal(failed.code, 1, 'the successor fails');
  match(failed.stderr, /no group "nobody-has-this"/);
  await fairlead.logged('this process takes the region up again');
  await fairlead.logged(/takes the region up again[^]*"msg":"ready: /);
  equal((await fairlead.view<StatusDocument>('status')).pid, pid, 'the one before goes on');
  await assertAlive(sessions, 'after a takeover that failed half-way');
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 9), 9, names, 'new connections');
  }

  await killHalfWay(net, good);
  equal((await fairlead.view<StatusDocument>('status')).pid, pid, 'the one before goes on once more');
  await assertAlive(sessions, 'after a successor was killed');

  if (good !== null) fairlead.writeConfig(good);
  equal(await fairlead.takeOver(), 0, 'and it still hands over to one that works');
  notEqual(fairlead.daemon?.pid, first?.pid);
  await assertAlive(sessions, 'after the takeover');
  equal(await fairlead.daemon?.stop('SIGTERM'), 0);

  equal(await balancer.attempt(`test -e ${fairlead.socket}`).then(({ code }) => code), 1);
  await fairlead.up(undefined, '', '--takeover');
  await fairlead.logged('there is nothing to take over');
  await assertAlive(sessions, 'after a takeover from nobody, which is a start');
}

async function otherSizes(net: Topology): Promise<void> {
  const { fairlead } = net;
  const sessions = await openEverywhere(net);
  for (const flows of [16_384, 131_072]) {
    equal(await fairlead.daemon?.stop('SIGTERM'), 0);
    await fairlead.up(net.config(net.everyService('nat'), { flows }));
    await fairlead.logged(/took over what the region .* held: [1-9]/);
    await assertAlive(sessions, `after a restart with ${flows} flows`);
  }
  equal(await fairlead.takeOver(net.config(net.everyService('nat'), { flows: 65_536 })), 0);
  await assertAlive(sessions, 'after a takeover with other sizes');
  equal(fairlead.regions().length, 1, 'what was set aside is gone');
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 30), 30, names, 'new connections');
  }
}

async function stage(lab: Lab): Promise<Topology> {
  const net = await buildInline(lab, { captures: false });
  // Two, so that the packet engine hands over a whole fan-out group.
  return net.serving('nat', {}, { workers: 2 });
}

export const scenarios: Scenario[] = [
  {
    name: 'takeover',
    title: 'up --takeover twice under load: no request fails, every connection lives, no frame leaves twice',
    picture,
    engines: everyEngineAndMode,
    isLoud: true,
    stage,
    run: takeOverTwice,
  },
  {
    name: 'takeover-fails',
    title: 'a takeover that fails, at once or half-way, leaves the daemon that runs at work',
    picture,
    stage,
    run: takeoverThatFails,
  },
  {
    name: 'other-sizes',
    title: 'a restart or a takeover with more or fewer flows carries the connections into the new table',
    picture,
    stage,
    run: otherSizes,
  },
];
