// A scenario: a sentence about behaviour, a stage to show it on, and the proof. The files of scenarios/ export arrays of
// them, because one proof often holds for several methods and topologies.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildInline, picture as inlinePicture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import type { Topology } from '../topologies/topology.ts';
import { type Engine, everyEngine } from './engine.ts';
import type { Lab } from './lab.ts';

export interface Scenario {
  /** Short, for patterns, folders and `lab up`: lower case and dashes. */
  name: string;
  /** A sentence about behaviour. */
  title: string;
  picture: string;
  /** Those it is played on, when not on every one; with none it is played once. */
  engines?: readonly Engine[];
  /** It puts the machine under load, or measures: nothing else may run meanwhile. */
  isLoud?: true;
  /** Builds what the proof needs; `lab up NAME` does only this. */
  stage(lab: Lab): Promise<Topology>;
  run(net: Topology): Promise<void>;
}

/** A scenario on an engine; on none, when it concerns none. */
export interface Play {
  scenario: Scenario;
  engine: Engine | null;
  label: string;
}

/** Once on each of its engines. With `only`, just on that one, and then whatever can be played on it. */
export function playsOf(scenario: Scenario, only: Engine | null): Play[] {
  const { name, engines = everyEngine } = scenario;
  if (engines.length === 0) return only === null ? [{ scenario, engine: null, label: name }] : [];
  const isPossible = (it: Engine) => engines.includes(it) || (it === 'xdp-generic' && engines.includes('xdp'));
  const wanted = only === null ? engines : [only].filter(isPossible);
  return wanted.map((engine) => ({ scenario, engine, label: `${name} [${engine}]` }));
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

/** The plain topologies as stages: every service on, nothing to prove. Those of direct server return are the stages of the
 * scenarios one-arm-l2-dsr, inline-l2-dsr and routed-gre. */
export const topologies: readonly Scenario[] = [
  {
    name: 'inline',
    title: 'the balancer on the path, method nat',
    picture: inlinePicture,
    stage: async (lab) => (await buildInline(lab)).serving('nat'),
    run: async () => {},
  },
  {
    name: 'one-arm',
    title: 'the balancer beside the path, method full-nat',
    picture: oneArmPicture,
    stage: async (lab) => (await buildOneArm(lab)).serving('full-nat'),
    run: async () => {},
  },
];

/** A plain topology or a scenario by its name. */
export async function findStage(name: string): Promise<Scenario | null> {
  const stages = [...topologies, ...(await allScenarios())];
  return stages.find((it) => it.name === name) ?? null;
}
