// A scenario: a sentence about behaviour, a stage to show it on, and the proof. The files of scenarios/ export arrays of
// them, because one proof often holds for several methods and topologies.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildInline, picture as inlinePicture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import type { Topology } from '../topologies/topology.ts';
import type { Lab } from './lab.ts';

export interface Scenario {
  /** Short, for patterns, folders and `lab up`: lower case and dashes. */
  name: string;
  /** A sentence about behaviour. */
  title: string;
  picture: string;
  /** Builds what the proof needs; `lab up NAME` does only this. */
  stage(lab: Lab): Promise<Topology>;
  run(net: Topology): Promise<void>;
}

const directory = join(import.meta.dirname, '..', 'scenarios');

/** Every scenario there is, in the order of the files' names. */
export async function allScenarios(): Promise<Scenario[]> {
  const files = readdirSync(directory)
    .filter((file) => file.endsWith('.ts'))
    .toSorted();
  const modules = (await Promise.all(files.map((file) => import(join(directory, file))))) as {
    scenarios: Scenario[];
  }[];
  return modules.flatMap((module) => module.scenarios);
}

/** The plain topologies as stages: every service on, nothing to prove. */
export const topologies: readonly Scenario[] = [
  {
    name: 'inline',
    title: 'the balancer on the path, method nat',
    picture: inlinePicture,
    stage: async (lab) => {
      const net = await buildInline(lab);
      await net.fairlead.up(net.config(net.everyService('nat')));
      return net;
    },
    run: async () => {},
  },
  {
    name: 'one-arm',
    title: 'the balancer beside the path, method full-nat',
    picture: oneArmPicture,
    stage: async (lab) => {
      const net = await buildOneArm(lab);
      await net.fairlead.up(net.config(net.everyService('full-nat')));
      return net;
    },
    run: async () => {},
  },
];

/** A plain topology or a scenario by its name. */
export async function findStage(name: string): Promise<Scenario | null> {
  const stages = [...topologies, ...(await allScenarios())];
  return stages.find((it) => it.name === name) ?? null;
}
