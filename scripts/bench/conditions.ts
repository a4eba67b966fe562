// What a reader must know to make anything of the figures.

import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { execute } from '../../netns-lab/lib/command.ts';
import type { Path } from './paths.ts';
import { coresToUse } from './placement.ts';

async function firstLine(command: string): Promise<string> {
  const { stdout, stderr } = await execute(['sh', '-c', command], command);
  return (stdout || stderr).trim().split('\n')[0] ?? '';
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return 'not there';
  }
}

function chosen(file: string): string {
  return /\[(\S+)\]/.exec(read(file))?.[1] ?? 'not there';
}

export async function machineConditions(): Promise<string[]> {
  const hugePages = '/sys/kernel/mm/transparent_hugepage';
  const [first, second] = coresToUse();
  const versions = await Promise.all([
    firstLine('nft --version'),
    firstLine('haproxy -v'),
    firstLine('nginx -v'),
    firstLine('iperf3 --version'),
    firstLine('wrk -v 2>&1 | cut -d" " -f1-2'),
  ]);
  return [
    `kernel ${release()}, ${cpus().length} cores of ${cpus()[0]?.model ?? 'unknown make'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `load before the run ${read('/proc/loadavg').split(' ')[0]}; huge pages ${chosen(`${hugePages}/enabled`)}, for shared memory ${chosen(`${hugePages}/shmem_enabled`)}`,
    `conntrack: ${read('/proc/sys/net/netfilter/nf_conntrack_buckets')} buckets, at most ${read('/proc/sys/net/netfilter/nf_conntrack_max')} flows`,
    versions.join('; '),
    `packets: balancer's programs on core ${second}, sender and what the kernel does on core ${first}; other measures: everything on core ${first}; two-cores: ${first} and ${second} free`,
  ];
}

export async function networkConditions({ net }: Path): Promise<string> {
  const mtu = await net.balancer.run('cat /sys/class/net/out/mtu');
  const features = await net.balancer.run('ethtool -k out');
  const on = ['tcp-segmentation-offload', 'generic-segmentation-offload', 'generic-receive-offload', 'tx-checksumming']
    .map((name) => `${name} ${new RegExp(`${name}: (\\w+)`).exec(features)?.[1] ?? '?'}`)
    .join(', ');
  return `veth, MTU ${mtu.trim()}; ${on}; one fairlead worker, one haproxy thread, one nginx worker`;
}
