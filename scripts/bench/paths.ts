// What stands between client and server in each measured path. Every one is set up as its manual says, one worker, and
// without anything that the others do not do as well (no checks, no logs of connections).

import { writeFileSync } from 'node:fs';
import { Fairlead, type ServiceDocument } from '../../netns-lab/lib/fairlead.ts';
import type { Host } from '../../netns-lab/lib/host.ts';
import { waitFor } from '../../netns-lab/lib/wait-for.ts';
import {
  balancerAddress,
  buildNetwork,
  decapTool,
  dropFlood,
  limitTool,
  type Network,
  ports,
  serverAddress,
  tcpPorts,
  vip,
} from './network.ts';

export const pathNames = [
  'kernel',
  'nftables',
  'haproxy',
  'nginx',
  'xdp-redirect',
  'xdp-tx',
  'fairlead-nat',
  'fairlead-full-nat',
  'fairlead-tc-nat',
  'fairlead-tc-full-nat',
  'fairlead-xdp-nat',
  'fairlead-xdp-full-nat',
  'fairlead-l2-dsr',
  'fairlead-tc-l2-dsr',
  'fairlead-xdp-l2-dsr',
  'fairlead-l3-dsr-gre',
  'fairlead-tc-l3-dsr-gre',
  'fairlead-xdp-l3-dsr-gre',
] as const;
export type PathName = (typeof pathNames)[number];

/** Left out of a quick run. */
export const longPaths: ReadonlySet<PathName> = new Set(['nginx', 'fairlead-tc-full-nat', 'fairlead-xdp-full-nat']);

export interface Path {
  readonly name: PathName;
  readonly net: Network;
  /** Where clients send to. */
  readonly target: string;
  /** Who gets the flood, at its eth0. */
  readonly sink: Host;
}

const flows = 1_048_576;

export async function makePath(name: PathName): Promise<Path> {
  const net = await buildNetwork(name);
  await setUps[name](net);
  return {
    name,
    net,
    target: name === 'kernel' ? serverAddress : vip,
    sink: name === 'xdp-tx' ? net.client : net.server,
  };
}

/** A server at the end of a tunnel. Datagrams are counted as they arrive, and have no use for it. */
export async function unwrapAtServer({ net, name }: Path): Promise<void> {
  if (!name.endsWith('gre')) return;
  const from = `--tunnel gre --local ${serverAddress} --from ${balancerAddress} --vip ${vip}`;
  await net.server.run(`${decapTool} attach bench --dev eth0 --at tc ${from}`);
}

// A pool, because one address has 64,512 ports towards a server: a million flows need sixteen.
const pool = { method: 'full-nat', source: '198.51.100.64-198.51.100.95' } as const;

const gre = { method: 'l3-dsr', tunnel: { type: 'gre', source: balancerAddress } } as const;

const setUps: Record<PathName, (net: Network) => Promise<void>> = {
  kernel: async () => {},
  nftables,
  haproxy,
  nginx,
  'xdp-redirect': xdpRedirect,
  'xdp-tx': xdpTx,
  'fairlead-nat': (net) => fairlead(net, 'packet', {}),
  'fairlead-full-nat': (net) => fairlead(net, 'packet', pool),
  'fairlead-tc-nat': (net) => fairlead(net, 'tc', {}),
  'fairlead-tc-full-nat': (net) => fairlead(net, 'tc', pool),
  'fairlead-xdp-nat': (net) => fairlead(net, 'xdp', {}),
  'fairlead-xdp-full-nat': (net) => fairlead(net, 'xdp', pool),
  'fairlead-l2-dsr': (net) => fairlead(net, 'packet', { method: 'l2-dsr' }),
  'fairlead-tc-l2-dsr': (net) => fairlead(net, 'tc', { method: 'l2-dsr' }),
  'fairlead-xdp-l2-dsr': (net) => fairlead(net, 'xdp', { method: 'l2-dsr' }),
  'fairlead-l3-dsr-gre': (net) => fairlead(net, 'packet', gre),
  'fairlead-tc-l3-dsr-gre': (net) => fairlead(net, 'tc', gre),
  'fairlead-xdp-l3-dsr-gre': (net) => fairlead(net, 'xdp', gre),
};

/**
 * In the driver a frame has to be as it is on the wire: who sends into veth makes the checksums himself. And what xdp
 * sends to a veth is received only by an end that polls, which gro sees to.
 */
async function prepareForXdp({ client, server }: Network): Promise<void> {
  await Promise.all([client, server].map((host) => host.run('ethtool -K eth0 tx off gro on')));
}

/** The least that a balancer in the driver could do with a frame: the limit that the others are held against. */
async function xdpRedirect(net: Network): Promise<void> {
  await prepareForXdp(net);
  await startLimit(net.balancer, `out in ${vip} ${serverAddress} ${await net.server.mac('eth0')}`);
}

/** The same with one arm: the frame goes back by the cable it came by, as to a server beside the client. */
async function xdpTx(net: Network): Promise<void> {
  await prepareForXdp(net);
  await dropFlood(net.client);
  await startLimit(net.client, 'eth0');
  await startLimit(net.balancer, `out out ${vip} ${serverAddress} ${await net.client.mac('eth0')}`);
}

async function startLimit(host: Host, words: string): Promise<void> {
  const limit = await host.start('limit', `${limitTool} ${words}`);
  await waitFor(
    'the limit to stand',
    () => limit.output(),
    (text) => text.includes('ready'),
  );
}

async function ownVip({ balancer }: Network): Promise<void> {
  await balancer.address('out', `${vip}/32`);
}

async function nftables(net: Network): Promise<void> {
  await ownVip(net);
  const table = `table ip bench {
    chain prerouting {
      type nat hook prerouting priority dstnat
      ip daddr ${vip} dnat to ${serverAddress}
    }
  }`;
  await net.balancer.run('nft -f -', { input: table });
  await net.balancer.sysctl('net.netfilter.nf_conntrack_udp_timeout', 600);
}

async function haproxy(net: Network): Promise<void> {
  await ownVip(net);
  const sections = tcpPorts.map(
    (port) => `listen on-${port}\n  bind ${vip}:${port}\n  server real ${serverAddress}:${port}`,
  );
  const file = net.balancer.file('haproxy.cfg');
  const head = `global
  maxconn 4000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`;
  writeFileSync(file, `${head}${sections.join('\n')}\n`);
  await net.balancer.start('haproxy', `haproxy -db -f ${file}`, { ready: listens(net) });
}

async function nginx(net: Network): Promise<void> {
  await ownVip(net);
  const servers = tcpPorts.map((port) => `server { listen ${vip}:${port}; proxy_pass ${serverAddress}:${port}; }`);
  const file = net.balancer.file('nginx.conf');
  writeFileSync(
    file,
    `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
pid ${net.balancer.file('nginx.pid')};
error_log stderr warn;
events { worker_connections 4096; }
stream {
  ${servers.join('\n  ')}
}
`,
  );
  await net.balancer.start('nginx', `nginx -c ${file} -e stderr -g 'daemon off;'`, { ready: listens(net) });
}

function listens({ balancer }: Network): () => Promise<boolean> {
  return async () => (await balancer.attempt(`ss -Hltn sport = ${ports.ping}`)).stdout !== '';
}

async function fairlead(
  net: Network,
  engine: 'packet' | 'tc' | 'xdp',
  more: Partial<Pick<ServiceDocument, 'method' | 'source' | 'tunnel'>>,
): Promise<void> {
  if (engine === 'xdp') await prepareForXdp(net);
  if (more.method?.endsWith('dsr') === true) await net.server.address('lo', `${vip}/32`);
  const listen = [...tcpPorts.map((port) => `${vip}:${port}/tcp`), `${vip}:${ports.flood}/udp`];
  await new Fairlead(net.lab, net.balancer).up({
    interfaces: { outside: 'out', inside: 'in' },
    engine,
    flows,
    timeouts: { 'udp-one-way': '600s' },
    services: { bench: { listen, method: 'nat', check: 'none', ...more, servers: { real: serverAddress } } },
  });
}
