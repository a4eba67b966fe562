// Twins: two boxes that do the same for the same addresses, one by fairlead, one by Linux's own NAT. Between them and the
// world there are no hosts, only their cables' ends, at which frames are put in and taken out (programs/wire.c).
import type { ConfigDocument } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import type { Lab } from '../lib/lab.ts';
import { twins } from '../lib/twins.ts';
import { buildWire } from '../lib/wire.ts';
import { families, type Family, Topology } from './topology.ts';

export const picture = `
   ┌─ w-linux ────────── .2 │ linux    │ .1 ────────── e-linux ─┐    nftables: DNAT and conntrack
 wire   203.0.113.0/24 .100 client         10.0.1.0/24 .11 server  wire
   └─ w-fairlead ─────── .2 │ balancer │ .1 ─────── e-fairlead ─┘    fairlead: method nat
        2001:db8:a::/64     VIP .10        2001:db8:b::/64
`;

// Neither forgets a flow within a scenario, however slow the machine.
const patienceSeconds = 600;

const bracket = (address: string) => (address.includes(':') ? `[${address}]` : address);

/** The rules for Linux: who asks the VIP gets the server; what belongs to nothing that conntrack knows is dropped. */
function ruleset(): string {
  const rules = families.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => {
      const { vip, server } = twins.ports[protocol];
      const [ip, to] = [family === 4 ? 'ip' : 'ip6', `${bracket(twins.server[family])}:${server}`];
      return `    ${ip} daddr ${twins.vip[family]} ${protocol} dport ${vip} dnat ${ip} to ${to}`;
    }),
  );
  return `table inet twin {
  chain translate {
    type nat hook prerouting priority dstnat
${rules.join('\n')}
  }
  chain judge {
    type filter hook prerouting priority mangle
    ct state invalid drop
  }
}
`;
}

/** What fairlead does the same by: no word to whom it does not serve, as Linux has none with these rules. */
function config(): Omit<ConfigDocument, 'interfaces'> {
  const services = families.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => {
      const { vip, server } = twins.ports[protocol];
      const service = {
        listen: `${bracket(twins.vip[family])}:${vip}/${protocol}`,
        method: 'nat' as const,
        check: 'none' as const,
        'on-no-server': 'drop',
        servers: { server: `${bracket(twins.server[family])}:${server}` },
      };
      return [`${protocol}${family}`, service] as const;
    }),
  );
  const states = ['syn-sent', 'syn-received', 'closing', 'time-wait', 'closed'];
  const timeouts = Object.fromEntries(states.map((state) => [state, `${patienceSeconds}s`]));
  return { 'on-no-service': 'drop', timeouts, services: Object.fromEntries(services) };
}

async function buildBox(lab: Lab, world: Host, name: string, label: string): Promise<Host> {
  const box = await lab.addHost(name, { forwards: true });
  await lab.connect(box, 'out', world, `w-${label}`, twins.macs.out);
  await lab.connect(box, 'in', world, `e-${label}`, twins.macs.in);
  await box.address('out', ...families.map((family) => `${twins.near[family]}/${family === 4 ? 24 : 64}`));
  await box.address('in', ...families.map((family) => `${twins.inside[family]}/${family === 4 ? 24 : 64}`));
  const neighbours = families.flatMap((family) =>
    (['client', 'westRouter', 'server', 'eastRouter'] as const).map((who) => {
      const device = who === 'server' || who === 'eastRouter' ? 'in' : 'out';
      return `ip neighbour replace ${twins[who][family]} dev ${device} lladdr ${twins.macs[who]} nud permanent`;
    }),
  );
  await box.run(neighbours.join(' && '));
  return box;
}

export async function buildTwins(lab: Lab): Promise<Topology> {
  const world = await lab.addHost('world');
  await world.sysctl('net.ipv6.conf.default.disable_ipv6', 1);
  const linux = await buildBox(lab, world, 'linux', 'linux');
  const balancer = await buildBox(lab, world, 'balancer', 'fairlead');
  // As strict as it can be, and with no bound on ICMP that would depend on time.
  const sysctls = [
    'net.netfilter.nf_conntrack_tcp_loose=0',
    'net.netfilter.nf_conntrack_tcp_be_liberal=0',
    ...['syn_sent', 'syn_recv', 'fin_wait', 'close_wait', 'last_ack', 'time_wait', 'close'].map(
      (state) => `net.netfilter.nf_conntrack_tcp_timeout_${state}=${patienceSeconds}`,
    ),
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv6.icmp.ratelimit=0',
  ];
  await linux.run('nft -f -', { input: ruleset() });
  await linux.run(`sysctl -q -w ${sysctls.join(' ')}`);
  await buildWire(world);
  const port = { host: world, device: 'w-fairlead' };
  const net = new Topology(
    {
      kind: 'inline',
      lab,
      clients: [world],
      balancer,
      serverHosts: [],
      interfaces: { outside: 'out', inside: 'in' },
      ports: { outside: port, inside: { host: world, device: 'e-fairlead' } },
      vip: twins.vip,
      balancerAddress: twins.inside,
      clientAddress: twins.client,
      serverAddress: (_, family: Family) => twins.server[family],
    },
    [],
  );
  await net.fairlead.up({ interfaces: net.plan.interfaces, ...config() } as ConfigDocument);
  return net;
}
