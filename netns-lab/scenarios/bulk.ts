// Long streams with iperf3: many super-frames in a row, in both directions, and datagrams at a steady rate.
import { equal, ok } from 'node:assert/strict';
import { everyEngineAndMode } from '../lib/engine.ts';
import type { Scenario } from '../lib/scenario.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

interface IperfReport {
  end: {
    sum_received?: { bytes: number };
    sum?: { lost_packets: number; packets: number };
  };
}

const port = 5201;
const bytes = 64 * 1024 * 1024; // thousands of super-frames, yet well under a second

async function iperf(net: Topology, address: string, options: string): Promise<IperfReport> {
  const text = await net.client.run(`iperf3 -c ${address} -p ${port} -J ${options}`);
  return JSON.parse(text) as IperfReport;
}

async function bulk(net: Topology): Promise<void> {
  for (const family of families) {
    for (const [direction, options] of [
      ['up', ''],
      ['down', '-R'],
      ['up in four streams', '-P 4'],
      ['down in four streams', '-P 4 -R'],
    ]) {
      const report = await iperf(net, net.vip[family], `-n ${bytes} ${options}`);
      const arrived = report.end.sum_received?.bytes ?? 0;
      // iperf3 stops reading when the sender is done; what is then still on its way is not counted.
      ok(arrived > bytes / 2, `IPv${family} ${direction}: ${arrived} of ${bytes} bytes arrived`);
    }
    // 1,200 bytes at 5 Mbit/s is a datagram every 2 ms: a pace at which nothing may be lost.
    for (const options of ['-u -b 5M -l 1200 -k 200', '-u -b 5M -l 1200 -k 200 -R']) {
      const { sum } = (await iperf(net, net.vip[family], options)).end;
      ok((sum?.packets ?? 0) >= 200, `IPv${family} datagrams went out: ${JSON.stringify(sum)}`);
      equal(sum?.lost_packets, 0, `IPv${family} datagrams lost`);
    }
  }
}

export const scenarios: Scenario[] = [
  {
    name: 'bulk',
    title: 'bulk TCP in each direction at default offloads, and a steady stream of datagrams without a loss',
    picture,
    engines: everyEngineAndMode,
    isLoud: true,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      const { host } = net.server(0);
      await host.start('iperf3', `iperf3 -s -p ${port} --forceflush`, {
        ready: (process) => process.output().includes('Server listening'),
      });
      const services = families.map((family) => {
        const bracket = (address: string) => `${family === 6 ? `[${address}]` : address}:${port}`;
        const listen = [`${bracket(net.vip[family])}/tcp`, `${bracket(net.vip[family])}/udp`];
        const servers = { 'web-1': bracket(net.plan.serverAddress(0, family)) };
        return [`bulk${family}`, { listen, method: 'nat' as const, check: 'none' as const, servers }] as const;
      });
      await net.fairlead.up(net.config(Object.fromEntries(services)));
      return net;
    },
    run: bulk,
  },
];
