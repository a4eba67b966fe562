// What is measured through a path, each a number from one short run.

import { urlOf } from '../../netns-lab/lib/traffic.ts';
import { floodClient, floodTool, pingTool, ports } from './network.ts';
import { type Path, type PathName, pathNames, unwrapAtServer } from './paths.ts';
import { type Placement, place } from './placement.ts';

export interface Measure {
  readonly name: string;
  readonly flows: number;
  readonly unit: string;
  readonly placement: Placement;
  readonly paths: readonly PathName[];
  /** Left out of a quick run. */
  readonly isLong?: boolean;
  /** Once before the first run. */
  readonly prepare?: (path: Path) => Promise<void>;
  /** Gives the value; several names when one run yields several figures. */
  readonly run: (path: Path, seconds: number) => Promise<Record<string, number>>;
}

const fairlead = pathNames.filter((name) => name.startsWith('fairlead'));
const packetPaths: readonly PathName[] = ['kernel', 'nftables', 'xdp-redirect', 'xdp-tx', ...fairlead];
const translating = fairlead.filter((name) => name.endsWith('nat'));
const streamPaths: readonly PathName[] = ['kernel', 'nftables', 'haproxy', 'nginx', ...translating];
// What has to be cut, or kept whole, is a question of tunnels only; in the driver it does not come up.
const bulkPaths: readonly PathName[] = [...streamPaths, 'fairlead-l3-dsr-gre', 'fairlead-tc-l3-dsr-gre'];

const million = 1_000_000;
// Slow enough for the slowest table, so that none of its flows gets lost.
const prepareRate = 200_000;

async function flood({ net, target, sink }: Path, flows: number, mode: string, timeoutMs: number, before = '') {
  const mac = await net.balancer.mac('out');
  const to = `eth0 ${mac} ${target} ${ports.flood} ${floodClient} ${flows} ${sink.namespace} eth0`;
  const text = await net.client.run(`${before} ${floodTool} ${to} ${mode}`, { timeoutMs });
  return JSON.parse(text) as { sent: number; received: number; seconds: number };
}

function packets(flows: number): Measure {
  return {
    name: 'packets',
    flows,
    unit: '1/s',
    placement: 'own-core',
    paths: packetPaths,
    prepare: async (path) => {
      const before = await place(path, 'own-core');
      const send = () => flood(path, flows, `once ${Math.min(flows, prepareRate)}`, 30_000, before);
      const first = await send();
      // On a busy machine some get lost; flows that are still unknown after a second time enter as they come.
      const { received } = first.received < flows ? await send() : first;
      if (received < flows / 2) throw new Error(`only ${received} of ${flows} first datagrams came through`);
    },
    run: async (path, seconds) => {
      const before = await place(path, 'own-core');
      const { received, seconds: counted } = await flood(path, flows, `random ${seconds}`, 30_000, before);
      return { packets: received / counted };
    },
  };
}

function bulk(name: string, placement: Placement): Measure {
  return {
    name,
    flows: 1,
    unit: 'Gbit/s',
    placement,
    paths: bulkPaths,
    prepare: unwrapAtServer,
    run: async (path, seconds) => {
      const before = await place(path, placement);
      const line = `${before} iperf3 -J -c ${path.target} -p ${ports.bulk} -t ${seconds} -O 0.3`;
      const text = await path.net.client.run(line, { timeoutMs: seconds * 1000 + 15_000 });
      const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } };
      return { [name]: end.sum_received.bits_per_second / 1e9 };
    },
  };
}

function connections(name: string, placement: Placement): Measure {
  return {
    name,
    flows: 16,
    unit: '1/s',
    placement,
    paths: streamPaths,
    run: async (path, seconds) => {
      const before = await place(path, placement);
      const line = `wrk -t1 -c16 -d${Math.ceil(seconds)}s -H 'Connection: close' ${urlOf(path.target, ports.web)}`;
      const text = await path.net.client.run(`${before} ${line}`, { timeoutMs: seconds * 1000 + 15_000 });
      const trouble = /Socket errors.*|Non-2xx.*/.exec(text)?.[0];
      if (trouble !== undefined) throw new Error(`wrk met ${trouble}`);
      return { [name]: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]) };
    },
  };
}

function latency(name: string, placement: Placement): Measure {
  return {
    name,
    flows: 1,
    unit: 'us',
    placement,
    paths: streamPaths,
    run: async (path, seconds) => {
      const before = await place(path, placement);
      const text = await path.net.client.run(`${before} ${pingTool} ask ${path.target} ${ports.ping} ${seconds}`);
      const { p50, p99 } = JSON.parse(text) as { p50: number; p99: number };
      return { [`${name}-p50`]: p50 / 1000, [`${name}-p99`]: p99 / 1000 };
    },
  };
}

export const measures: readonly Measure[] = [
  packets(1000),
  packets(million),
  bulk('bulk', 'one-core'),
  connections('connections', 'one-core'),
  latency('latency', 'one-core'),
  { ...bulk('bulk-two-cores', 'two-cores'), isLong: true },
  { ...connections('connections-two-cores', 'two-cores'), isLong: true },
  { ...latency('latency-two-cores', 'two-cores'), isLong: true },
];
