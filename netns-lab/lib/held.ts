// Connections that a client holds open, and asks on when it is told to.
import { equal } from 'node:assert/strict';
import { join } from 'node:path';
import type { Topology } from '../topologies/topology.ts';
import type { Background } from './background.ts';
import { waitFor } from './wait-for.ts';

const holder = join(import.meta.dirname, '..', 'programs', 'holder.ts');

export async function hold(net: Topology, port: number, count: number): Promise<Background> {
  const command = `${globalThis.process.execPath} ${holder} ${net.vip[4]} ${port} ${count}`;
  const process = await net.client.start('holder', command);
  await waitFor(
    'the connections to stand',
    () => process.output(),
    (text) => text.includes('open '),
  );
  equal(/open (\d+)/.exec(process.output())?.[1], String(count));
  return process;
}

/** How many of the held connections answer. */
export async function alive(process: Background): Promise<number> {
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
