// Floods: who was there before notices nothing, and honest newcomers are served.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { everyEngine } from '../lib/engine.ts';
import type { ConfigDocument } from '../lib/fairlead.ts';
import { alive, hold } from '../lib/held.ts';
import type { Host } from '../lib/host.ts';
import type { Lab } from '../lib/lab.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { webPort } from '../lib/servers.ts';
import { requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture, pictureWithRouter } from '../topologies/inline.ts';
import type { Method, Topology } from '../topologies/topology.ts';

const held = 200;
const floodMs = 30_000;
const floodSyns = 100_000;
const honest = 400;
const flows = 100_000;
// A machine that is starved floods slowly, and still is to reach this within the first seconds.
const halfOpen = 2000;

/** KiB of the daemon in memory, its region aside, which is taken whole at the start. */
function memoryOf(net: Topology): number {
  const pid = net.fairlead.daemon?.pid;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1]);
}

function status(
  net: Topology,
): Promise<{ flows: { inUse: number }; computeOnly: { service: string; since: string }[] }> {
  return net.fairlead.view('status');
}

/** Frames that have left a host. */
async function sentBy(host: Host): Promise<number> {
  return Number(await host.run('cat /sys/class/net/eth0/statistics/tx_packets'));
}

async function prove(net: Topology, port: number): Promise<void> {
  const connections = await hold(net, port, held);
  const attacker = net.lab.host('client-2');
  const memory = memoryOf(net);
  deepEqual((await status(net)).computeOnly, []);
  // SYNs from addresses at random, up to 20,000 a second: more, and two cores that do all of it here starve each other.
  const flood = await attacker.start('flood', `hping3 -q -i u50 --rand-source -S -p ${port} -d 0 ${net.vip[4]}`);
  const began = performance.now();
  const first = await sentBy(attacker);
  let [asked, failed, inUse] = [0, 0, 0];
  while (performance.now() < began + floodMs || asked < honest || (await sentBy(attacker)) - first <= floodSyns) {
    failed += (await requests(net.client, net.vip[4], 20, port)).errors;
    asked += 20;
    inUse = Math.max(inUse, (await status(net)).flows.inUse);
  }
  equal(await alive(connections), held, 'connections from before the flood, in the middle of it');
  const seconds = (performance.now() - began) / 1000;
  await proveComputed(net, inUse, seconds);
  await flood.stop('SIGINT');
  const sent = Number(/(\d+) packets transmitted/.exec(flood.output())?.[1]);
  console.log(
    `       ${sent} SYNs in ${seconds.toFixed(0)} s, ${inUse} flows at most; of ${asked} honest connections ${failed} failed`,
  );
  ok(sent > floodSyns, `the flood was one: ${sent} SYNs`);
  ok(failed <= asked / 100, `of ${asked} honest connections amid the flood ${failed} failed`);
  equal(await alive(connections), held, 'connections from before the flood, after it');
  const grown = memoryOf(net) - memory;
  ok(grown < 32 * 1024, `the daemon has grown by ${grown} KiB`);
  await proveOver(net);
}

/** One of the flood's services is compute-only since its first seconds, and its SYNs are in no table. */
async function proveComputed(net: Topology, inUse: number, seconds: number): Promise<void> {
  const { computeOnly } = await status(net);
  deepEqual(
    computeOnly.map(({ service }) => service),
    ['web4'],
  );
  const forMs = Date.now() - Date.parse(computeOnly[0]?.since ?? '');
  ok(forMs > seconds * 1000 - 10_000, `compute-only for ${forMs} ms of ${seconds} s`);
  match(await net.fairlead.run('status'), /compute-only +web4 since /);
  match(await net.fairlead.run('services'), /web4 .*up, compute-only since /);
  // Those from before it began, and who is honest.
  ok(inUse < flows / 4, `${inUse} flows in a table of ${flows}`);
}

async function proveOver(net: Topology): Promise<void> {
  await waitFor(
    'the service to enter flows for SYNs again',
    () => status(net),
    ({ computeOnly }) => computeOnly.length === 0,
    { withinMs: 20_000 },
  );
  // The daemon looks now and then whether it has ended.
  const events = await waitFor(
    'the events to tell of the end',
    () => net.fairlead.run('events'),
    (text) => /service-compute-only-over +web4 /.test(text),
  );
  match(events, /service-compute-only +web4 /);
}

function configOf(net: Topology, method: Method): ConfigDocument {
  const more = { 'half-open': halfOpen };
  const web4 = net.service({ method, family: 4, scheduler: method === 'l2-dsr' ? 'wlc' : 'rr', more });
  return net.config({ ...net.everyService(method), web4 }, { flows });
}

async function flooded(lab: Lab, method: 'nat' | 'full-nat'): Promise<Topology> {
  const net = await buildInline(lab, { captures: false });
  await net.fairlead.up(configOf(net, method));
  return net;
}

export const scenarios: Scenario[] = [
  {
    name: 'syn-flood',
    title:
      'under a flood of SYNs from random sources open connections live on, and 99 of 100 honest new ones are served; the ' +
      'service goes compute-only: no SYN of the flood has a flow, and it says since when',
    picture,
    isLoud: true,
    stage: (lab) => flooded(lab, 'nat'),
    run: (net) => prove(net, 80),
  },
  {
    name: 'syn-flood-full-nat',
    title: 'with full-nat the same, compute-only',
    picture,
    isLoud: true,
    stage: (lab) => flooded(lab, 'full-nat'),
    run: (net) => prove(net, 80),
  },
  {
    name: 'syn-flood-l2-dsr',
    title: 'with l2-dsr the same, compute-only',
    picture: pictureWithRouter,
    isLoud: true,
    engines: everyEngine,
    stage: async (lab) => {
      const net = await buildInline(lab, { gateway: 'router', captures: false });
      const config = configOf(net, 'l2-dsr');
      await setUpByText(net, config);
      await net.fairlead.up(config);
      return net;
    },
    run: (net) => prove(net, webPort),
  },
];
