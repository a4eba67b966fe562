// What all topologies have in common once they stand: clients, a balancer, servers with nginx and a datagram server, a
// VIP in each family, and the means to write a configuration for them.
import { captureRing } from '../lib/capture.ts';
import { type ConfigDocument, Fairlead, type ServiceDocument } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import type { Lab, Port } from '../lib/lab.ts';
import { startUdpServer, startWebServer, udpPort, type WebServer, webPort } from '../lib/servers.ts';

export type Family = 4 | 6;
export type Method = 'nat' | 'full-nat' | 'l2-dsr' | 'l3-dsr';
export type Protocol = 'tcp' | 'udp';
export const families = [4, 6] as const;

export interface Plan {
  kind: 'inline' | 'one-arm' | 'routed';
  lab: Lab;
  clients: Host[];
  balancer: Host;
  serverHosts: Host[];
  interfaces: { outside: string; inside?: string };
  /** The switch ports the balancer is plugged into; with one arm there is one. */
  ports: { outside: Port; inside: Port };
  vip: Record<Family, string>;
  /** On the side of the servers. */
  balancerAddress: Record<Family, string>;
  /** Of the first client. */
  clientAddress: Record<Family, string>;
  /** A server's own address, counted from 0. */
  serverAddress: (index: number, family: Family) => string;
}

export interface TopologyOptions {
  servers?: number;
  /** Where the servers send what is not for their own network. Inline, `router` is a way around the balancer. */
  gateway?: 'router' | 'balancer';
  captures?: boolean;
}

export interface ServiceOptions {
  method: Method;
  family: Family;
  protocol?: Protocol;
  scheduler?: string;
  weights?: number[];
  port?: number;
  more?: Partial<ServiceDocument>;
  /** For l3-dsr; its source is the balancer's address, and the servers are those of its family `outer`. */
  tunnel?: Record<string, string | number>;
  outer?: Family;
}

export class Topology {
  readonly plan: Plan;
  readonly lab: Lab;
  readonly client: Host;
  readonly balancer: Host;
  readonly servers: WebServer[];
  readonly vip: Record<Family, string>;
  readonly fairlead: Fairlead;

  constructor(plan: Plan, servers: WebServer[]) {
    const [client] = plan.clients;
    if (client === undefined) throw new Error('a topology needs a client');
    this.plan = plan;
    this.lab = plan.lab;
    this.client = client;
    this.balancer = plan.balancer;
    this.servers = servers;
    this.vip = plan.vip;
    this.fairlead = new Fairlead(plan.lab, plan.balancer);
  }

  /** A service on the VIP, port 80 for TCP and 53 for UDP, translated to where the servers listen; dsr is on their ports. */
  service({
    method,
    family,
    protocol = 'tcp',
    scheduler = 'rr',
    weights = [],
    port,
    more = {},
    tunnel,
    outer = family,
  }: ServiceOptions): ServiceDocument {
    const bracket = (address: string, its: number) =>
      address.includes(':') ? `[${address}]:${its}` : `${address}:${its}`;
    const isDsr = method.endsWith('dsr');
    const serverPort = protocol === 'tcp' ? webPort : udpPort;
    const servicePort = port ?? (isDsr ? serverPort : protocol === 'tcp' ? 80 : 53);
    const servers = this.servers.map((server, index) => {
      const own = this.plan.serverAddress(index, outer);
      const address = isDsr ? own : bracket(own, serverPort);
      const weight = weights[index];
      return [server.name, weight === undefined ? address : { address, weight }] as const;
    });
    const listen = `${bracket(this.vip[family], servicePort)}/${protocol}`;
    const wrapped = tunnel === undefined ? {} : { tunnel: { source: this.plan.balancerAddress[outer], ...tunnel } };
    return { listen, method, scheduler, ...wrapped, ...more, servers: Object.fromEntries(servers) };
  }

  config(services: Record<string, ServiceDocument>, more: Partial<ConfigDocument> = {}): ConfigDocument {
    return { interfaces: this.plan.interfaces, services, ...more };
  }

  /** All four: web and dns in both families. */
  everyService(method: Method, options: Partial<ServiceOptions> = {}): Record<string, ServiceDocument> {
    return Object.fromEntries(
      families.flatMap((family) => [
        [`web${family}`, this.service({ ...options, method, family })],
        [`dns${family}`, this.service({ ...options, method, family, protocol: 'udp' })],
      ]),
    );
  }

  /** With a balancer that has every service. */
  async serving(
    method: Method,
    options: Partial<ServiceOptions> = {},
    more: Partial<ConfigDocument> = {},
  ): Promise<this> {
    await this.fairlead.up(this.config(this.everyService(method, options), more));
    return this;
  }

  server(index: number): WebServer {
    const server = this.servers[index];
    if (server === undefined) {
      throw new Error(`no server ${index}`);
    }
    return server;
  }
}

/** Starts what the servers run, and a ring capture at each of the balancer's cables. */
export async function populate(plan: Plan, options: TopologyOptions): Promise<Topology> {
  const ports = [...new Set([plan.ports.outside, plan.ports.inside])];
  const [servers] = await Promise.all([
    Promise.all(plan.serverHosts.map((host) => startWebServer(plan.lab, host))),
    Promise.all(plan.serverHosts.map((host) => startUdpServer(host))),
    Promise.all((options.captures ?? true) ? ports.map(captureRing) : []),
  ]);
  return new Topology(plan, servers);
}
