// BPF programs on a host's interfaces: whose they are and in what order they run, and a bystander's to stand there too.
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';

const sources = join(import.meta.dirname, '..', 'programs');
const noTcx = 3; // what tcx ends with before Linux 6.6

interface LinkDocument {
  xdp?: { prog?: { name?: string; id: number } };
}

interface FilterDocument {
  options?: { bpf_name?: string };
}

/** A tool of ours, made once for each lab. */
async function tool(host: Host, name: 'tcx' | 'refuse-bpf'): Promise<string> {
  const made = join(host.directory, name);
  if (!existsSync(made)) {
    // Renamed when it is whole, because two may ask for it at once.
    const source = join(sources, `${name}.c`);
    await host.run(`clang -O1 -Wall -Werror -o ${made}.$$ ${source} -lbpf && mv ${made}.$$ ${made}`);
  }
  return made;
}

/** linux/bpf.h */
const BPF_LINK_CREATE = 28;
const EINVAL = 22;

/** What runs a program as if this kernel had no tcx and no other BPF links. */
export async function withoutLinks(host: Host): Promise<string> {
  return `${await tool(host, 'refuse-bpf')} ${BPF_LINK_CREATE} ${EINVAL} `;
}

async function tcxOn(host: Host, device: string): Promise<string[]> {
  const listed = await host.attempt(`${await tool(host, 'tcx')} list ${device}`);
  if (listed.code !== 0 && listed.code !== noTcx) throw new Error(`tcx: ${listed.stderr}`);
  return listed.stdout.split('\n').filter(Boolean);
}

/** Linux 6.6 and later. */
export async function hasTcx(host: Host, device: string): Promise<boolean> {
  return (await host.attempt(`${await tool(host, 'tcx')} list ${device}`)).code !== noTcx;
}

/** Every program that a frame coming in meets, in the order in which it does: "xdp NAME", "tcx NAME", "clsact NAME". */
export async function programsOn(host: Host, device: string): Promise<string[]> {
  const [link] = JSON.parse(await host.run(`ip -j -d link show dev ${device}`)) as LinkDocument[];
  const program = link?.xdp?.prog;
  const text = await host.run(`tc -j filter show dev ${device} ingress`);
  const filters = (text.trim() === '' ? [] : JSON.parse(text)) as FilterDocument[];
  // The qdisc that filters hang on is a trace by itself.
  const qdisc = await host.run(`tc qdisc show dev ${device} clsact`);
  return [
    ...(program === undefined ? [] : [`xdp ${program.name ?? program.id}`]),
    ...(await tcxOn(host, device)).map((name) => `tcx ${name}`),
    ...(qdisc.trim() === '' ? [] : ['clsact']),
    ...filters.flatMap(({ options }) =>
      options?.bpf_name === undefined ? [] : [`clsact ${nameOf(options.bpf_name)}`],
    ),
  ];
}

/** A filter's name is "NAME:[ID]" when libbpf gave it, a path when tc did. */
function nameOf(filter: string): string {
  return filter.replace(/:\[.*/, '').replace(/.*\//, '');
}

/** Somebody else's programs: pinned, to be attached by path, and counting the frames that they see. */
export interface Bystander {
  program(name: 'bystander_xdp' | 'bystander_tc' | 'bystander_late'): string;
  attachTcx(device: string, name: 'bystander_tc' | 'bystander_late'): Promise<void>;
  frames(): Promise<number>;
}

export async function loadBystander(host: Host): Promise<Bystander> {
  const object = join(host.directory, 'bystander.bpf.o');
  const [programs, maps] = [join(host.bpffs, 'programs'), join(host.bpffs, 'maps')];
  await host.run(`clang -target bpf -O2 -g -Wall -Werror -c -o ${object} ${join(sources, 'bystander.bpf.c')}`);
  await host.run(`bpftool prog loadall ${object} ${programs} pinmaps ${maps}`);
  const links = join(host.bpffs, 'links');
  mkdirSync(links);
  const program: Bystander['program'] = (name) => join(programs, name);
  return {
    program,
    attachTcx: async (device, name) => {
      await host.run(
        `${await tool(host, 'tcx')} attach ${device} ${program(name)} ${join(links, `${device}_${name}`)}`,
      );
    },
    frames: async () => {
      const text = await host.run(`bpftool -j map lookup pinned ${join(maps, 'bystande_bss')} key 0 0 0 0`);
      const { value } = JSON.parse(text) as { value: string[] };
      return Number(Buffer.from(value.map(Number)).readBigUInt64LE());
    },
  };
}

/** From now on the switch's port carries everything in VLAN 100, with the tag. */
export async function makeTrunk(host: Host, device: string): Promise<void> {
  const object = join(host.directory, 'trunk.bpf.o');
  const source = join(sources, 'trunk.bpf.c');
  const programs = join(host.bpffs, `trunk-${host.name}`);
  await host.run(
    `clang -target bpf -O2 -g -Wall -Werror -I/usr/include/$(uname -m)-linux-gnu -c -o ${object} ${source}`,
  );
  await host.run(`bpftool prog loadall ${object} ${programs} && tc qdisc add dev ${device} clsact`);
  for (const [way, name] of [
    ['egress', 'trunk_out'],
    ['ingress', 'trunk_in'],
  ]) {
    await host.run(`tc filter add dev ${device} ${way} bpf direct-action object-pinned ${join(programs, name ?? '')}`);
  }
}
