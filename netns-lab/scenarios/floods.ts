// Floods: who was there before notices nothing, and honest newcomers are served.
import { equal, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Background } from '../lib/background.ts';
import type { Scenario } from '../lib/scenario.ts';
import { requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import type { Topology } from '../topologies/topology.ts';

const holder = join(import.meta.dirname, '..', 'programs', 'holder.ts');
const held = 200;
const floodMs = 30_000;
const honest = 400;

async function hold(net: Topology): Promise<Background> {
  const process = await net.client.start('holder', `${globalThis.process.execPath} ${holder} ${net.vip[4]} 80 ${held}`);
  await waitFor(
    'the connections to stand',
    () => process.output(),
    (text) => text.includes('open '),
  );
  equal(/open (\d+)/.exec(process.output())?.[1], String(held));
  return process;
}

/** How many of the held connections answer. */
async function alive(process: Background): Promise<number> {
  const before = process.output().split('alive').length;
  process.write('ask\n');
  const text = await waitFor(
    'the held connections to be asked',
    () => process.output(),
    (said) => said.split('alive').length > before,
    { withinMs: 75_000 },
  );
  return Number(text.trim().split(' ').at(-1));
}

/** KiB of the daemon in memory, its region aside, which is taken whole at the start. */
function memoryOf(net: Topology): number {
  const pid = net.fairlead.daemon?.pid;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1]);
}

async function prove(net: Topology): Promise<void> {
  const connections = await hold(net);
  const attacker = net.lab.host('client-2');
  const memory = memoryOf(net);
  // SYNs from addresses at random, up to 20,000 a second: more, and two cores that do all of it here starve each other.
  const flood = await attacker.start('flood', `hping3 -q -i u50 --rand-source -S -p 80 -d 0 ${net.vip[4]}`);
  const end = performance.now() + floodMs;
  let [asked, failed] = [0, 0];
  while (performance.now() < end || asked < honest) {
    failed += (await requests(net.client, net.vip[4], 20)).errors;
    asked += 20;
  }
  equal(await alive(connections), held, 'connections from before the flood, in the middle of it');
  await flood.stop('SIGINT');
  const sent = Number(/(\d+) packets transmitted/.exec(flood.output())?.[1]);
  console.log(`       ${sent} SYNs in ${floodMs / 1000} s; of ${asked} honest connections ${failed} failed`);
  ok(sent > 100_000, `the flood was one: ${sent} SYNs`);
  ok(failed <= asked / 100, `of ${asked} honest connections amid the flood ${failed} failed`);
  equal(await alive(connections), held, 'connections from before the flood, after it');
  const grown = memoryOf(net) - memory;
  ok(grown < 32 * 1024, `the daemon has grown by ${grown} KiB`);
}

export const scenarios: Scenario[] = [
  {
    name: 'syn-flood',
    title:
      'under a flood of SYNs from random sources open connections live on, and 99 of 100 honest new ones are served',
    picture,
    isLoud: true,
    stage: async (lab) => {
      const net = await buildInline(lab, { captures: false });
      await net.fairlead.up(net.config(net.everyService('nat'), { flows: 100_000 }));
      return net;
    },
    run: prove,
  },
];
