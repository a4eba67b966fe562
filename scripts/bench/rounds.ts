// Measuring in turn: A B C, A B C, ... so that whatever else the machine does in the meantime hits all of them. Ratios are
// made within a round and then the median is taken, which is steadier than the ratio of two medians.

import type { Measure } from './measures.ts';
import type { Path, PathName } from './paths.ts';
import { median, type Row } from './row.ts';

/** Figures of one run through each path; a path that failed is missing. */
type Round = Map<PathName, Record<string, number>>;

export interface Outcome {
  readonly rows: Row[];
  readonly troubles: string[];
}

const baselines: readonly PathName[] = ['kernel', 'nftables', 'haproxy', 'xdp-redirect', 'xdp-tx'];

export async function measureInTurn(
  measure: Measure,
  paths: readonly Path[],
  repeats: number,
  seconds: number,
): Promise<Outcome> {
  const troubles: string[] = [];
  const able = new Set<Path>();
  const note = (path: Path, error: unknown) => {
    able.delete(path);
    troubles.push(`${measure.name} through ${path.name}: ${error instanceof Error ? error.message : String(error)}`);
  };
  for (const path of paths.filter(({ name }) => measure.paths.includes(name))) {
    able.add(path);
    await measure.prepare?.(path).catch((error: unknown) => note(path, error));
  }
  const rounds: Round[] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const round: Round = new Map();
    for (const path of able) {
      try {
        round.set(path.name, await measure.run(path, seconds));
      } catch (error) {
        note(path, error);
      }
    }
    rounds.push(round);
  }
  const done = [...able].map(({ name }) => name);
  return { rows: done.flatMap((name) => rowsOf(measure, name, done, rounds)), troubles };
}

function rowsOf(measure: Measure, path: PathName, done: readonly PathName[], rounds: readonly Round[]): Row[] {
  const { flows, unit } = measure;
  return Object.keys(rounds[0]?.get(path) ?? {}).flatMap((name) => {
    const figure = (of: PathName, round: Round) => round.get(of)?.[name] ?? Number.NaN;
    const value = median(rounds.map((round) => figure(path, round)));
    const alone: Row = { measure: name, path, flows, value, unit, against: null, ratio: null };
    if (!path.startsWith('fairlead')) return [alone];
    const compared = baselines
      .filter((baseline) => done.includes(baseline))
      .map((against) => {
        const ratio = median(rounds.map((round) => figure(path, round) / figure(against, round)));
        return { ...alone, against, ratio };
      });
    return compared.length === 0 ? [alone] : compared;
  });
}
