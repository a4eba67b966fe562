// Something in the balancer's place, for proofs of the servers' side alone: the balancer's host forwards what comes for
// the VIP to one server, wrapped by a BPF program at its egress (programs/encapsulate.bpf.c).
import { join } from 'node:path';
import { execute } from './command.ts';
import type { Family, Topology } from '../topologies/topology.ts';

export interface Wrapping {
  readonly type: 'gre' | 'ipip' | 'gue';
  readonly key?: number;
  readonly port?: number;
  readonly outer: Family;
  readonly inner: Family;
}

const source = join(import.meta.dirname, '..', 'programs', 'encapsulate.bpf.c');

/** "gre+key over IPv4, IPv6 inside" */
export function nameOf({ type, key, outer, inner }: Wrapping): string {
  return `${type}${key === undefined ? '' : '+key'} over IPv${outer}, IPv${inner} inside`;
}

/** Octets of an address as a C initializer. */
function octets(address: string): string {
  if (!address.includes(':')) return address.replaceAll('.', ',');
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const middle = Array<number>(8 - groups(head).length - groups(tail).length).fill(0);
  return [...groups(head), ...middle, ...groups(tail)].flatMap((group) => [group >> 8, group & 0xff]).join(',');
}

/** From now on the balancer's host of topology `routed` sends what is for the VIP to the first server, so wrapped. */
export async function wrapToFirst(net: Topology, wrapping: Wrapping, source4or6?: string): Promise<void> {
  const { type, key, port = 6080, outer, inner } = wrapping;
  const { balancer, plan } = net;
  const kind = type === 'gre' ? '-DGRE' : type === 'gue' ? `-DGUE=${port}` : '';
  const words = [
    `-DOUTER=${outer} -DINNER=${inner} ${kind} ${key === undefined ? '' : `-DKEY=${key}`}`,
    `-DVIP=${octets(net.vip[inner])} -DSOURCE=${octets(source4or6 ?? plan.balancerAddress[outer])}`,
    `-DTARGET=${octets(plan.serverAddress(0, outer))}`,
  ].join(' ');
  const object = balancer.file('encapsulate.o');
  const compiled = await execute(
    ['sh', '-c', `clang -O2 -g -target bpf -I/usr/include/$(uname -m)-linux-gnu ${words} -c -o ${object} ${source}`],
    'clang',
  );
  if (compiled.code !== 0) throw new Error(compiled.stderr);
  await balancer.run(
    `tc qdisc replace dev eth0 clsact && tc filter del dev eth0 egress && tc filter add dev eth0 egress bpf da obj ${object} sec tc`,
  );
  // The router must find the VIP at this host, and this host must pass it on to the router again.
  const family = `-${inner}`;
  const mac = await balancer.mac('eth0');
  await net.lab.host('router').run(`ip neigh replace ${net.vip[inner]} lladdr ${mac} dev north nud permanent`);
  const gateway = plan.balancerAddress[inner].replace(/2$/, '254');
  await balancer.run(`ip ${family} route replace ${net.vip[inner]} via ${gateway} dev eth0`);
}
