// What happens to a running balancer: its neighbours change, it is killed, its cable vanishes, a server dies.
import { equal, match, notEqual, ok } from 'node:assert/strict';
import { everyEngineAndMode } from '../lib/engine.ts';
import { assertAlive, openEverywhere } from '../lib/open-sessions.ts';
import { assertServed, assertShares } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile } from '../lib/servers.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { meanwhile, waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Method, type Topology } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];

async function stageInline(lab: Parameters<typeof buildInline>[0], method: Method = 'nat'): Promise<Topology> {
  return (await buildInline(lab)).serving(method);
}

async function macChange(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  const { host } = net.server(0);
  const before = await host.mac('eth0');
  const transfers = meanwhile(
    Promise.all(families.map((family) => download(net.client, urlOf(net.vip[family], 80, '/slow?rate=4m')))),
  );
  // What failover software does: the address moves to another card, and the new owner says so.
  await host.run('sysctl -q -w net.ipv4.conf.eth0.arp_notify=1 net.ipv6.conf.eth0.ndisc_notify=1');
  await host.run('ip link set eth0 address 02:00:00:00:be:ef');
  notEqual(await host.mac('eth0'), before);
  for (const family of families) {
    const answered = async () => {
      const tally = await requests(net.client, net.vip[family], 6, 80, '--connect-timeout 0.5');
      return { errors: tally.errors, ...tally.shares };
    };
    const all = (tally: { errors: number }) => tally.errors === 0 && 'web-1' in tally;
    await waitFor(`IPv${family} requests to reach the new MAC`, answered, all, { withinMs: 2000 });
  }
  await assertAlive(sessions, 'after the MAC change');
  const { sha256 } = bigFile(net.lab);
  equal((await transfers).join(' '), `${sha256} ${sha256}`, 'transfers that ran meanwhile');
}

/** Only what a client sends can tell where it is now: a client that merely listens would wait for its own next packet. */
async function routerChange(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  const router = net.lab.host('router');
  const before = await router.mac('north');
  await router.run('ip link set north address 02:00:00:00:be:ef');
  notEqual(await router.mac('north'), before);
  await assertAlive(sessions, "after the router's MAC changed");
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 30), 30, names, 'new connections');
  }
}

async function killAndRestart(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  const transfers = meanwhile(
    Promise.all(families.map((family) => download(net.client, urlOf(net.vip[family], 80, '/slow?rate=3m')))),
  );
  for (const round of ['first', 'second']) {
    const daemon = net.fairlead.daemon;
    daemon?.signal('SIGKILL');
    await daemon?.ended;
    // While nobody balances, a host that forwards by itself would show clients packets of a stranger, who resets them.
    await Promise.allSettled(
      families.map((family) => requests(net.client, net.vip[family], 1, 80, '--connect-timeout 0.3')),
    );
    await net.fairlead.up();
    await assertAlive(sessions, `after the ${round} kill`, 15_000);
  }
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 30), 30, names, 'new connections after the restart');
    equal((await datagrams(net.client, net.vip[family], 6)).errors, 0, 'datagrams after the restart');
  }
  const { sha256 } = bigFile(net.lab);
  equal((await transfers).join(' '), `${sha256} ${sha256}`, 'transfers that ran through both kills');
}

async function politeRestart(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  equal(await net.fairlead.daemon?.stop('SIGTERM'), 0, 'SIGTERM ends the daemon in order');
  await net.fairlead.up();
  await assertAlive(sessions, 'after stop and start', 15_000);
}

async function interfaceVanishes(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  const { lab, balancer, plan } = net;
  for (const [device, port, addresses] of [
    ['in', plan.ports.inside, ['10.0.1.1/24', '2001:db8:b::1/64']],
    ['out', plan.ports.outside, ['203.0.113.2/24', '2001:db8:a::2/64']],
  ] as const) {
    // Inside, the card comes back as it was: the servers know their gateway by its MAC. Outside it is another card, so
    // clients can reach the VIP again only if fairlead tells them where it is now.
    const mac = device === 'in' ? await balancer.mac(device) : undefined;
    await balancer.run(`ip link delete ${device}`);
    await waitFor(
      'the daemon to answer while an interface is gone',
      async () => (await net.fairlead.attempt('status')).code,
      (code) => code === 0,
    );
    await lab.plug(balancer, device, port.host, mac);
    await balancer.address(device, ...addresses);
    for (const family of families) {
      const answered = async () => (await requests(net.client, net.vip[family], 3, 80, '--connect-timeout 0.5')).errors;
      await waitFor(`IPv${family} requests after ${device} came back`, answered, (errors) => errors === 0, {
        withinMs: 20_000,
      });
    }
    await assertAlive(sessions, `after ${device} came back`, 20_000);
  }
}

/** A daemon that stands still while more comes than its rings hold. */
async function ringDrops(net: Topology): Promise<void> {
  const { client, fairlead } = net;
  const sessions = await openEverywhere(net);
  const dropped = async () => {
    const { workers } = await fairlead.json<{ workers: { ringDrops: number }[] }>('status');
    return workers.reduce((sum, worker) => sum + worker.ringDrops, 0);
  };
  equal(await dropped(), 0, 'nothing is lost before');
  fairlead.daemon?.signal('SIGSTOP');
  try {
    await client.run(`head -c 4000000 /dev/zero | socat -u -b 64 - UDP4:${net.vip[4]}:53`);
  } finally {
    fairlead.daemon?.signal('SIGCONT');
  }
  const lost = await waitFor('what the rings lost to be shown', dropped, (count) => count > 0);
  ok(lost < 62_500, `${lost} of 62,500 datagrams lost: the rings held some`);
  match(await fairlead.run('drops'), /a ring was full +[1-9]/);
  await assertAlive(sessions, 'afterwards');
}

async function serverDies(net: Topology): Promise<void> {
  const check = { type: 'tcp', every: '1s', 'fast-every': '200ms', timeout: '1s', rise: 2, fall: 2 };
  await net.fairlead.reload(net.config(net.everyService('nat', { more: { check } })));
  const [first, ...rest] = names;
  const answering = async () => {
    const { shares, errors } = await requests(net.client, net.vip[4], 9);
    return [...Object.keys(shares).toSorted(), ...(errors > 0 ? [`${errors} errors`] : [])].join(' ');
  };
  await net.server(0).stop();
  await waitFor('the check to take the server out', answering, (who) => who === rest.join(' '));
  assertShares(await requests(net.client, net.vip[4], 20), { 'web-2': 10, 'web-3': 10 }, 'while a server is down');
  await net.server(0).start();
  await waitFor(`${first} to be taken back`, answering, (who) => who === names.join(' '));
  assertServed(await requests(net.client, net.vip[4], 30), 30, names, 'after it came back');
}

export const scenarios: Scenario[] = [
  {
    name: 'mac-change',
    title: "a server's new MAC is followed within two seconds, by new connections and by open ones",
    picture,
    stage: (lab) => stageInline(lab),
    run: macChange,
  },
  {
    name: 'router-mac-change',
    title: 'answers follow the MAC from which a client last came',
    picture: oneArmPicture,
    stage: async (lab) => (await buildOneArm(lab)).serving('full-nat'),
    run: routerChange,
  },
  {
    name: 'kill-and-restart',
    title: 'kill -9 and a restart leave established connections alive, in both families',
    picture,
    engines: everyEngineAndMode,
    stage: (lab) => stageInline(lab),
    run: killAndRestart,
  },
  {
    name: 'kill-and-restart-full-nat',
    title: 'with full-nat established connections outlive kill -9 too',
    picture,
    stage: (lab) => stageInline(lab, 'full-nat'),
    run: killAndRestart,
  },
  {
    name: 'polite-restart',
    title: 'SIGTERM ends the daemon with exit code 0, and the next one carries the same connections on',
    picture,
    stage: (lab) => stageInline(lab),
    run: politeRestart,
  },
  {
    name: 'interface-vanishes',
    title: 'an interface that vanishes and comes back is used again, and open connections go on',
    picture,
    stage: (lab) => stageInline(lab),
    run: interfaceVanishes,
  },
  {
    name: 'ring-drops',
    title: 'frames that the kernel drops because a ring is full are counted and shown',
    picture,
    engines: ['packet'],
    stage: (lab) => stageInline(lab),
    run: ringDrops,
  },
  {
    name: 'server-dies',
    title: 'the TCP check takes a dead server out and takes it back',
    picture,
    stage: (lab) => stageInline(lab),
    run: serverDies,
  },
];
