// Plays a scenario on an engine: a lab of its own, the stage, the proof, and evidence of what went wrong.
import { saveEvidence } from './evidence.ts';
import { playCommands } from './hints.ts';
import { Lab } from './lab.ts';
import type { Play } from './scenario.ts';

// Far more than any scenario needs, also on a machine that does other things; every wait inside has a shorter deadline.
const scenarioLimitMs = 180_000;

export interface Played {
  play: Play;
  seconds: number;
  /** What went wrong, or null. */
  trouble: string | null;
}

function limit(ms: number): { expired: Promise<never>; clear: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`the scenario took longer than ${ms / 1000} s`)), ms);
  return { expired: promise, clear: () => clearTimeout(timer) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function run({ scenario, engine, label }: Play, isKept: boolean): Promise<string | null> {
  const lab = new Lab(label, engine ?? 'packet');
  const { expired, clear } = limit(scenarioLimitMs);
  let trouble: string | null = null;
  try {
    const play = async () => {
      const net = await scenario.stage(lab);
      await scenario.run(net);
      return net;
    };
    const net = await Promise.race([play(), expired]);
    if (isKept) {
      console.log(playCommands(net));
    }
  } catch (error) {
    const name = [scenario.name, engine].filter(Boolean).join('-');
    const folder = await saveEvidence(lab, name, error);
    trouble = `${messageOf(error)}\nevidence: ${folder}`;
  } finally {
    clear();
  }
  try {
    await (isKept ? lab.keep() : lab.close());
  } catch (error) {
    trouble ??= `the lab did not come down cleanly: ${messageOf(error)}`;
  }
  return trouble;
}

export async function playScenario(play: Play, isKept: boolean): Promise<Played> {
  const start = performance.now();
  const trouble = await run(play, isKept);
  return { play, seconds: (performance.now() - start) / 1000, trouble };
}

/** Works off a list, `abreast` at a time, and tells of each as it ends. */
export async function playAll(
  plays: readonly Play[],
  abreast: number,
  isKept: boolean,
  tell: (played: Played) => void,
): Promise<Played[]> {
  const waiting = [...plays];
  const done: Played[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const played = await playScenario(next, isKept);
      done.push(played);
      tell(played);
    }
  };
  await Promise.all(Array.from({ length: abreast }, work));
  return done;
}
