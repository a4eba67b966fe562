// Where the kernel or the rights for engines tc and xdp are lacking: clear words, and auto falls back to packet.
import { equal, match } from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { type Engine, kernelEngines, noEngine } from '../lib/engine.ts';
import { command } from '../lib/fairlead.ts';
import { programsOn } from '../lib/programs.ts';
import { assertServed } from '../lib/proof.ts';
import { assertRefused } from '../lib/refused.ts';
import type { Scenario } from '../lib/scenario.ts';
import { requests } from '../lib/traffic.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface StatusDocument {
  engine: { kind: string; why: string };
}

const names = ['web-1', 'web-2', 'web-3'];

const without = (...capabilities: string[]) => {
  const list = capabilities.map((it) => `-${it}`).join(',');
  return `setpriv --bounding-set=${list} --inh-caps=${list} `;
};

async function assertFallsBack(net: Topology, words: RegExp, through = ''): Promise<void> {
  const { fairlead } = net;
  const daemon = await fairlead.up(undefined, through);
  const { engine } = await fairlead.json<StatusDocument>('status');
  equal(engine.kind, 'packet', 'auto falls back');
  match(engine.why, words, 'and says why');
  match(fairlead.log(), /"level":"warn".*tc.* cannot be had here/, 'in the log too');
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 9), 9, names, `IPv${family} by packet`);
  }
  await fairlead.run('down');
  equal(await daemon.ended, 0, 'the daemon ends in order');
}

async function lacksPrivileges(net: Topology): Promise<void> {
  const { fairlead } = net;
  const services = net.everyService('nat');
  const up = `${command} up -c ${fairlead.configFile}`;
  // The packet engine too loads a program, the guard: without CAP_BPF there is no engine at all.
  const noBpf = without('bpf', 'sys_admin', 'perfmon');
  for (const engine of ['auto', 'tc', 'packet']) {
    fairlead.writeConfig(net.config(services, { engine }));
    await assertRefused(net, `no CAP_BPF for ${engine}`, 7, /lacks privileges here: CAP_BPF/, noBpf + up);
  }
  // The verifier lets only CAP_PERFMON compute with pointers.
  const takesPerfmon = 'verifier refused fairlead_(tc|xdp), which takes CAP_PERFMON besides CAP_BPF: ';
  const noPerfmon = without('sys_admin', 'perfmon');
  for (const engine of ['tc', 'xdp']) {
    fairlead.writeConfig(net.config(services, { engine }));
    await assertRefused(net, `no CAP_PERFMON for ${engine}`, 1, new RegExp(takesPerfmon), noPerfmon + up);
    equal(fairlead.regions().join(' '), '', 'no region is left behind');
    equal((await programsOn(net.balancer, 'out')).join(' '), '', 'nothing is on the interfaces');
  }
  fairlead.writeConfig(net.config(services, { engine: 'auto' }));
  await assertFallsBack(net, new RegExp(`tc was refused: .*${takesPerfmon}`), noPerfmon);
}

async function assertWorks(net: Topology, engine: Engine, through: string): Promise<void> {
  const { fairlead } = net;
  const daemon = await fairlead.up(net.config(net.everyService('nat'), { engine }), `${through} `);
  for (const family of families) {
    assertServed(await requests(net.client, net.vip[family], 9), 9, names, `IPv${family} by ${engine}`);
  }
  await fairlead.run('down');
  equal(await daemon.ended, 0, 'the daemon ends in order');
}

/** What the README names is enough. */
async function hasOnlyWhatItTakes(net: Topology): Promise<void> {
  const only = 'setpriv --inh-caps=-all --bounding-set=-all,+net_admin,+net_raw,+bpf';
  await assertWorks(net, 'packet', only);
  for (const engine of kernelEngines) await assertWorks(net, engine, `${only},+perfmon`);
}

/** As on a kernel that was made without CONFIG_DEBUG_INFO_BTF. */
async function lacksBtf(net: Topology): Promise<void> {
  const hide = net.balancer.file('hide-btf');
  writeFileSync(hide, 'mount -t tmpfs none /sys/kernel/btf && test ! -e /sys/kernel/btf/vmlinux && exec "$@"\n');
  for (const engine of kernelEngines) await assertWorks(net, engine, `unshare -m sh ${hide}`);
}

async function lacksBpffs(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const file = balancer.file('no-directory');
  writeFileSync(file, '');
  const services = net.everyService('nat');
  for (const engine of ['tc', 'xdp']) {
    fairlead.writeConfig(net.config(services, { engine, bpffs: file }));
    await assertRefused(net, `no bpffs for ${engine}`, 1, new RegExp(`bpffs.*${file}.*not a directory`, 'i'));
  }
  fairlead.writeConfig(net.config(services, { engine: 'auto', bpffs: file }));
  await assertFallsBack(net, new RegExp(`tc was refused: .*${file}`));
  equal(existsSync(file), true, 'the file is as it was');
}

const stage: Scenario['stage'] = (lab) => buildInline(lab, { captures: false });

const stageForXdp: Scenario['stage'] = (lab) => {
  lab.isReadyForXdp = true;
  return stage(lab);
};

export const scenarios: Scenario[] = [
  {
    name: 'no-privileges',
    title: 'without CAP_BPF nothing starts, without CAP_PERFMON auto falls back to packet, and both say so',
    picture,
    engines: noEngine,
    stage,
    run: lacksPrivileges,
  },
  {
    name: 'least-privileges',
    title: 'CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF are enough for packet, with CAP_PERFMON for tc and xdp',
    picture,
    engines: noEngine,
    stage: stageForXdp,
    run: hasOnlyWhatItTakes,
  },
  {
    name: 'no-btf',
    title: 'tc and xdp work on a kernel without type information of its own',
    picture,
    engines: noEngine,
    stage: stageForXdp,
    run: lacksBtf,
  },
  {
    name: 'no-bpffs',
    title: 'where no bpffs can be had tc and xdp are refused in words, and auto falls back to packet',
    picture,
    engines: noEngine,
    stage,
    run: lacksBpffs,
  },
];
