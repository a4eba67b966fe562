// A lab: hosts that are network namespaces, links between them, and a list of what to undo, worked off backwards.
// Links are made straight between the namespaces, so the machine outside sees nothing but the namespaces' names, and
// deleting those takes everything else along.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError, execute } from './command.ts';
import type { Engine } from './engine.ts';
import { Host } from './host.ts';
import { forgetLab, rememberLab } from './interrupt.ts';
import { destroyLab, labsDirectory, startTimeOf } from './leftovers.ts';

/** One end of a link: where a capture can listen. */
export interface Port {
  host: Host;
  device: string;
}

let made = 0;

/**
 * In the driver a frame has to be as it is on the wire, and veth hands out checksums still to be made: so their senders
 * make them. And what xdp sends to a veth is received by its other end only if that polls, which gro sees to; but merging
 * nothing, so that captures count what passed.
 */
const likeOnWire = ({ namespace }: Host, device: string) => [
  `ip netns exec ${namespace} ethtool -K ${device} tx off gro on`,
  `ip -n ${namespace} link set ${device} gro_max_size 1500`,
];

export class Lab {
  /** Short and unique, with the owner's pid, so that a later run can tell a dead lab from a living one. */
  readonly name: string;
  readonly label: string;
  readonly directory: string;
  readonly bpffs: string;
  /** What its balancers run when their configuration does not say otherwise. */
  readonly engine: Engine | 'auto';
  /** Links made from now on carry frames as xdp needs them. */
  isReadyForXdp: boolean;
  readonly startedAtMs = performance.now();
  readonly hosts = new Map<string, Host>();
  /** Files that are made only when a scenario failed: name in the evidence folder, and where its text comes from. */
  readonly evidence = new Map<string, () => Promise<string>>();
  private readonly deferred: { what: string; action: () => unknown }[] = [];
  private closing: Promise<void> | null = null;
  /** Namespaces and links that are just being made: whoever takes the lab down waits for them, or they would be left. */
  private readonly making = new Set<Promise<unknown>>();

  constructor(label: string, engine: Engine | 'auto' = 'packet') {
    made += 1;
    this.engine = engine;
    this.isReadyForXdp = engine.startsWith('xdp');
    this.name = `fl${process.pid}-${made}`;
    this.label = label;
    this.directory = join(labsDirectory, this.name);
    mkdirSync(this.directory, { recursive: true, mode: 0o755 });
    this.bpffs = join(this.directory, 'bpffs');
    mkdirSync(this.bpffs);
    execFileSync('mount', ['-t', 'bpf', 'bpffs', this.bpffs]);
    this.save(false);
    rememberLab(this);
  }

  private save(isKept: boolean): void {
    const state = { label: this.label, pid: process.pid, startTime: startTimeOf(process.pid), isKept };
    writeFileSync(join(this.directory, 'lab.json'), JSON.stringify(state));
  }

  /** Undone when the lab closes, last deferred first. */
  defer(what: string, action: () => unknown): void {
    this.deferred.push({ what, action });
  }

  host(name: string): Host {
    const host = this.hosts.get(name);
    if (host === undefined) {
      throw new Error(`no host "${name}" in this lab; there are ${[...this.hosts.keys()].join(', ')}`);
    }
    return host;
  }

  /** Everything in one shell, for programs that start are most of a network's time; the hosts that it is about note it. */
  private async outside(lines: readonly string[], ...hosts: Host[]): Promise<void> {
    const command = lines.join(' && ');
    for (const host of hosts) host.note(`$ ${lines.join('\n$ ')}`);
    if (this.closing !== null) {
      throw new Error(`lab ${this.name} is being taken down`);
    }
    const made = execute(['sh', '-c', command], command);
    this.making.add(made);
    const result = await made;
    this.making.delete(made);
    if (result.code !== 0) {
      throw new CommandError(result, 'lab');
    }
  }

  async addHost(name: string, { forwards = false, isSwitch = false } = {}): Promise<Host> {
    const host = new Host(this, name);
    const { namespace } = host;
    this.hosts.set(name, host);
    // No duplicate address detection: addresses must be usable at once. It is set before any link exists, so that
    // link-local addresses are covered too.
    const sysctls = [
      'net.ipv6.conf.default.accept_dad=0',
      'net.ipv6.conf.all.accept_dad=0',
      'net.ipv6.conf.default.router_solicitations=0',
    ];
    if (forwards) {
      sysctls.push('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.default.forwarding=1');
      // A router that tells neighbours of shorter ways would make servers bypass the balancer.
      sysctls.push('net.ipv4.conf.all.send_redirects=0', 'net.ipv4.conf.default.send_redirects=0');
    }
    const links = [`ip -n ${namespace} link set lo up`];
    if (isSwitch) {
      sysctls.push('net.ipv6.conf.default.disable_ipv6=1');
      // Without a multicast querier, snooping would lose neighbour discovery.
      links.push(`ip -n ${namespace} link add br0 type bridge mcast_snooping 0`, `ip -n ${namespace} link set br0 up`);
    }
    const settings = `ip netns exec ${namespace} sysctl -q -w ${sysctls.join(' ')}`;
    await this.outside([`ip netns add ${namespace}`, settings, ...links], host);
    return host;
  }

  /** A host that does nothing but switch frames between its ports. */
  addSwitch(name: string): Promise<Host> {
    return this.addHost(name, { isSwitch: true });
  }

  /** A cable between two hosts; the first end can be given its MAC. */
  connect(a: Host, deviceA: string, b: Host, deviceB: string, mac?: string): Promise<void> {
    return this.outside(this.cable(a, deviceA, b, deviceB, mac), a, b);
  }

  private cable(a: Host, deviceA: string, b: Host, deviceB: string, mac?: string): string[] {
    const ends = `${deviceA} netns ${a.namespace} ${mac ? `address ${mac}` : ''} type veth peer name ${deviceB} netns ${b.namespace}`;
    return [`ip link add ${ends}`, ...this.bringUp(a, deviceA), ...this.bringUp(b, deviceB)];
  }

  private bringUp(host: Host, device: string): string[] {
    const up = `ip -n ${host.namespace} link set ${device} up`;
    return this.isReadyForXdp ? [up, ...likeOnWire(host, device)] : [up];
  }

  /** Plugs a host's new interface into a switch and gives the switch's port. */
  async plug(host: Host, device: string, into: Host, mac?: string): Promise<Port> {
    const port = host.name.slice(0, 15);
    const cable = this.cable(host, device, into, port, mac);
    await this.outside([...cable, `ip -n ${into.namespace} link set ${port} master br0`], host, into);
    return { host: into, device: port };
  }

  /** Leaves the lab standing when this process ends; `netns-lab/main.ts down` takes it away. */
  keep(): void {
    this.closing = Promise.resolve();
    this.save(true);
    forgetLab(this);
  }

  /** Takes everything down. Each step is tried even if one before it failed; the first trouble is thrown at the end. */
  close(): Promise<void> {
    this.closing ??= this.takeDown();
    return this.closing;
  }

  private async takeDown(): Promise<void> {
    let trouble: Error | null = null;
    await Promise.all(this.making);
    for (const { what, action } of this.deferred.toReversed()) {
      try {
        await action();
      } catch (error) {
        trouble ??= new Error(`cannot ${what}`, { cause: error });
      }
    }
    await destroyLab(this.name);
    forgetLab(this);
    if (trouble !== null) {
      throw trouble;
    }
  }
}
