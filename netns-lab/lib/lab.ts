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
const likeOnWire = (device: string) => `ethtool -K ${device} tx off gro on && ip link set ${device} gro_max_size 1500`;

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

  private async outside(command: string): Promise<void> {
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

  async addHost(name: string, { forwards = false } = {}): Promise<Host> {
    const host = new Host(this, name);
    await this.outside(`ip netns add ${host.namespace}`);
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
    await host.run(`sysctl -q -w ${sysctls.join(' ')} && ip link set lo up`);
    return host;
  }

  /** A host that does nothing but switch frames between its ports. */
  async addSwitch(name: string): Promise<Host> {
    const host = await this.addHost(name);
    // Without a multicast querier, snooping would lose neighbour discovery.
    await host.run(
      'sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 && ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up',
    );
    return host;
  }

  /** A cable between two hosts; the first end can be given its MAC. */
  async connect(a: Host, deviceA: string, b: Host, deviceB: string, mac?: string): Promise<void> {
    const ends = `${deviceA} netns ${a.namespace} ${mac ? `address ${mac}` : ''} type veth peer name ${deviceB} netns ${b.namespace}`;
    await this.outside(`ip link add ${ends}`);
    await Promise.all([this.bringUp(a, deviceA), this.bringUp(b, deviceB)]);
  }

  private async bringUp(host: Host, device: string): Promise<void> {
    await host.run(`ip link set ${device} up${this.isReadyForXdp ? ` && ${likeOnWire(device)}` : ''}`);
  }

  /** Plugs a host's new interface into a switch and gives the switch's port. */
  async plug(host: Host, device: string, into: Host, mac?: string): Promise<Port> {
    const port = host.name.slice(0, 15);
    await this.connect(host, device, into, port, mac);
    await into.run(`ip link set ${port} master br0`);
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
