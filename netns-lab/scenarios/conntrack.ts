// A differential test: fairlead's nat and Linux's own, by nftables and conntrack, are given the same frames, and what
// comes out of both is the same, octet for octet, but for what is chosen otherwise (lib/nat-choices.ts).
import { deepEqual, equal } from 'node:assert/strict';
import { everyEngineAndMode } from '../lib/engine.ts';
import { choices } from '../lib/nat-choices.ts';
import type { Scenario } from '../lib/scenario.ts';
import { situations } from '../lib/situations.ts';
import type { Stimulus } from '../lib/stimuli.ts';
import { walk } from '../lib/walk.ts';
import { give, type Output } from '../lib/wire.ts';
import { buildTwins, picture } from '../topologies/twins.ts';
import type { Topology } from '../topologies/topology.ts';

// Others may be walked: SEEDS="17 18" npm run lab -- conntrack-walks
const seeds = (process.env.SEEDS ?? '1 2 3 4 5 6 7 8').split(/\s+/).map(Number);
const stepsOfWalk = 400;
const faultsShown = 5;

function formatOutputs(outputs: readonly Output[]): string {
  return outputs.map(({ side, frame }) => `${side} ${frame.toString('hex')}`).join(', ') || 'nothing';
}

/** How often each choice was met. Throws when both twins differ in anything else. */
async function compare({ client: world }: Topology, stimuli: readonly Stimulus[]): Promise<Map<string, number>> {
  const [linux, fairlead] = [await give(world, 'linux', stimuli), await give(world, 'fairlead', stimuli)];
  const met = new Map<string, number>();
  const faults: string[] = [];
  for (const [index, stimulus] of stimuli.entries()) {
    const [theirs, ours] = [linux[index] ?? [], fairlead[index] ?? []];
    const [said, expected] = [formatOutputs(ours), formatOutputs(theirs)];
    if (said === expected) continue;
    const choice = choices.find((it) => it.holds(stimulus, theirs, ours));
    if (choice === undefined) faults.push(`${index} ${stimulus.what}\n  linux    ${expected}\n  fairlead ${said}`);
    else met.set(choice.name, (met.get(choice.name) ?? 0) + 1);
  }
  equal(
    faults.length,
    0,
    `of ${stimuli.length} frames ${faults.length} have other outcomes:\n${faults.slice(0, faultsShown).join('\n')}`,
  );
  const forwarded = linux.filter((outputs) => outputs.length > 0).length;
  equal(forwarded > stimuli.length / 2, true, `${forwarded} of ${stimuli.length} frames went on`);
  world.note(`${stimuli.length} frames, ${forwarded} sent on by Linux; differences: ${JSON.stringify([...met])}`);
  return met;
}

async function compareSituations(net: Topology): Promise<void> {
  const met = await compare(net, situations());
  const stale = choices.filter(({ name }) => !met.has(name)).map(({ name }) => name);
  deepEqual(stale, [], 'each choice makes a difference somewhere');
}

export const scenarios: Scenario[] = [
  {
    name: 'conntrack-situations',
    title: 'nat does with connections, datagrams and errors what Linux’s own does, but for what is chosen otherwise',
    picture,
    engines: everyEngineAndMode,
    stage: buildTwins,
    run: compareSituations,
  },
  {
    name: 'conntrack-walks',
    title: 'nat does what Linux’s own does in walks at random over all that two ends, routers and strangers may say',
    picture,
    stage: buildTwins,
    run: async (net) => {
      await compare(
        net,
        seeds.flatMap((seed) => walk(seed, stepsOfWalk)),
      );
    },
  },
];
