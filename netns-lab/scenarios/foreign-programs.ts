// Other people's programs on the balancer's interfaces: none is replaced, moved or lost, and all go on seeing frames.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { command } from '../lib/fairlead.ts';
import { type Bystander, hasTcx, loadBystander, programsOn, withoutLinks } from '../lib/programs.ts';
import { assertAlive, openEverywhere } from '../lib/open-sessions.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { noEngine } from '../lib/engine.ts';
import { requests } from '../lib/traffic.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];
const devices = ['out', 'in'] as const;

function isForeign(program: string): boolean {
  return program.includes('bystander');
}

async function programs(net: Topology): Promise<Record<string, string[]>> {
  const lists = await Promise.all(devices.map(async (it) => [it, await programsOn(net.balancer, it)] as const));
  return Object.fromEntries(lists);
}

async function assertBothWork(net: Topology, bystander: Bystander, when: string): Promise<void> {
  const before = await bystander.frames();
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 9), 9, names, `requests ${when}`);
    // Frames of the host's: with xdp those are all that programs at tc see.
    await net.client.run(`ping -n -c 2 -i 0.05 -W 2 ${net.plan.serverAddress(0, family)}`);
  }
  ok((await bystander.frames()) > before, `the foreign program sees frames ${when}`);
}

async function foreignXdp(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const bystander = await loadBystander(balancer);
  // On the second interface: what was already done on the first one has to be taken back.
  await balancer.run(`ip link set dev in xdp pinned ${bystander.program('bystander_xdp')}`);
  const before = await programs(net);
  deepEqual(before, { out: [], in: ['xdp bystander_xdp'] });

  const services = net.everyService('nat');
  fairlead.writeConfig(net.config(services, { engine: 'xdp' }));
  const refused = await balancer.attempt(`${command} up -c ${fairlead.configFile}`);
  const said = refused.stdout + refused.stderr;
  match(said, /\bin carries another's XDP program, bystander_xdp/, 'it is told whose');
  equal(/\bat .*\.ts:\d+:\d+/.test(said), false, `a message, not a stack trace\n${said}`);
  ok([1, 7].includes(refused.code), `exit code ${refused.code}`);
  deepEqual(await programs(net), before, 'nothing changed');
  deepEqual(fairlead.regions(), [], 'no region is left behind');

  for (const engine of ['auto', 'tc', 'packet']) {
    const daemon = await fairlead.up(net.config(services, { engine }));
    await assertBothWork(net, bystander, `with engine ${engine}`);
    const reload = await reloadTo(net, 'xdp');
    equal(reload.code === 0, false, 'a change to xdp is refused');
    match(reload.stdout + reload.stderr, /bystander_xdp/);
    await assertBothWork(net, bystander, `with engine ${engine}, after the refusal`);
    deepEqual((await programs(net)).in?.filter(isForeign), ['xdp bystander_xdp'], `with engine ${engine}`);
    await fairlead.run('down');
    equal(await daemon.ended, 0, 'the daemon ends in order');
    deepEqual(await programs(net), before, `after down of engine ${engine}`);
  }
}

function reloadTo(net: Topology, engine: string): ReturnType<Topology['fairlead']['attempt']> {
  net.fairlead.writeConfig(net.config(net.everyService('nat'), { engine }));
  return net.fairlead.attempt('reload');
}

async function foreignTc(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const bystander = await loadBystander(balancer);
  const isTcxThere = await hasTcx(balancer, 'out');
  if (!isTcxThere) console.log('       foreign-tc: this kernel has no tcx (Linux 6.6), so only clsact is proved');
  for (const device of devices) {
    await balancer.run(`tc qdisc add dev ${device} clsact`);
    const filter = `bpf direct-action object-pinned ${bystander.program('bystander_tc')}`;
    await balancer.run(`tc filter add dev ${device} ingress pref 10 ${filter}`);
    if (isTcxThere) await bystander.attachTcx(device, 'bystander_tc');
  }
  const before = await programs(net);
  const foreign = [...(isTcxThere ? ['tcx bystander_tc'] : []), 'clsact bystander_tc'];
  const foreignOf = async () => Object.values(await programs(net)).map((list) => list.filter(isForeign));
  deepEqual(await foreignOf(), [foreign, foreign], 'before the start');

  const daemon = await fairlead.up(net.config(net.everyService('nat')));
  deepEqual(await foreignOf(), [foreign, foreign], 'while it runs');
  await assertBothWork(net, bystander, 'while it runs');

  // Whoever comes later stands behind it, and stays there.
  const later = isTcxThere ? ['tcx bystander_tc', 'tcx bystander_late', 'clsact bystander_tc'] : foreign;
  if (isTcxThere) for (const device of devices) await bystander.attachTcx(device, 'bystander_late');
  const during = await programs(net);
  await fairlead.reload(net.config(net.everyService('nat', { scheduler: 'maglev' })));
  daemon.signal('SIGKILL');
  await daemon.ended;
  const successor = await fairlead.up(net.config(net.everyService('nat')));
  deepEqual(await programs(net), during, 'a reload and a successor leave the order as it is');
  deepEqual(await foreignOf(), [later, later], 'with one that came later');
  await assertBothWork(net, bystander, 'with all of them in place');
  await fairlead.run('down');
  equal(await successor.ended, 0, 'the daemon ends in order');
  deepEqual(
    await programs(net),
    Object.fromEntries(
      Object.entries(before).map(([device, list]) => [
        device,
        isTcxThere ? list.toSpliced(1, 0, 'tcx bystander_late') : list,
      ]),
    ),
    'after down',
  );
}

/** Before Linux 6.6 filters are all there is, and they outlive their process as pinned links do. */
async function clsactOnly(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const bystander = await loadBystander(balancer);
  await balancer.run('tc qdisc add dev in clsact');
  await balancer.run(
    `tc filter add dev in ingress pref 10 bpf direct-action object-pinned ${bystander.program('bystander_tc')}`,
  );
  const before = await programs(net);
  const through = await withoutLinks(balancer);
  const ours = {
    out: ['clsact', 'clsact fairlead_tc'],
    in: ['clsact', 'clsact fairlead_tc', 'clsact bystander_tc'],
  };

  const daemon = await fairlead.up(net.config(net.everyService('nat')), through);
  deepEqual(await programs(net), ours, 'while it runs');
  await assertBothWork(net, bystander, 'while it runs');
  const sessions = await openEverywhere(net);
  daemon.signal('SIGKILL');
  await daemon.ended;
  await assertAlive(sessions, 'while no daemon runs');
  await assertBothWork(net, bystander, 'while no daemon runs');
  const successor = await fairlead.up(undefined, through);
  await fairlead.logged('adopted the region');
  deepEqual(await programs(net), ours, 'a successor exchanges its programs in place');
  await assertAlive(sessions, 'under the successor');
  await assertBothWork(net, bystander, 'under the successor');
  await fairlead.run('down');
  equal(await successor.ended, 0, 'the daemon ends in order');
  deepEqual(await programs(net), before, 'after down');
}

const stage: Scenario['stage'] = (lab) => buildInline(lab, { captures: false });

export const scenarios: Scenario[] = [
  {
    name: 'foreign-xdp',
    title: "xdp is refused where somebody else's XDP program is, by its name; the other engines work beside it",
    picture,
    engines: noEngine,
    stage: (lab) => {
      lab.isReadyForXdp = true;
      return stage(lab);
    },
    run: foreignXdp,
  },
  {
    name: 'foreign-tc',
    title: "somebody else's filters and tcx programs stay, in their order: before, during and after",
    picture,
    stage,
    run: foreignTc,
  },
  {
    name: 'clsact-only',
    title:
      'where the kernel has no tcx, tc hangs on clsact beside other filters, outlives its daemon and leaves no trace',
    picture,
    engines: ['tc'],
    stage,
    run: clsactOnly,
  },
];
