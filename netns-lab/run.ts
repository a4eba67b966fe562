// Runs lab scenarios, each on the engines it is about: some at a time, then those that measure, one by one.
//   node netns-lab/run.ts [PATTERN...]   those whose name or title contains one of the patterns; all without a pattern
//     --engine NAME   only on this engine     --abreast N   as many at a time
//     --list          only show them          --keep        leave their labs standing
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Engine, engines, isEngine } from './lib/engine.ts';
import { sweepLabs } from './lib/leftovers.ts';
import { playAll, type Played } from './lib/play.ts';
import { formatTable } from './lib/report.ts';
import { allScenarios, type Play, playsOf, type Scenario } from './lib/scenario.ts';

// More than half of a scenario's time is waiting. Memory is the limit on large machines: some 300 MB each.
const usualAbreast = Math.min(2 * availableParallelism(), 8);

interface Options {
  patterns: string[];
  engine: Engine | null;
  abreast: number;
  isList: boolean;
  isKept: boolean;
}

function parseOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      engine: { type: 'string' },
      abreast: { type: 'string', default: String(usualAbreast) },
      list: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    },
  });
  const { engine = null, list, keep } = values;
  const abreast = Number(values.abreast);
  if (engine !== null && !isEngine(engine)) {
    throw new Error(`there is no engine "${engine}"; there are ${engines.join(', ')}`);
  }
  if (!Number.isInteger(abreast) || abreast < 1) {
    throw new Error(`--abreast takes a number from 1 on, not "${values.abreast}"`);
  }
  return { patterns: positionals, engine, abreast, isList: list, isKept: keep };
}

function tell({ play, seconds, trouble }: Played): void {
  const time = seconds.toFixed(1).padStart(5);
  console.log(`${trouble === null ? 'ok  ' : 'FAIL'} ${time} s  ${play.label}: ${play.scenario.title}`);
  if (trouble !== null) {
    console.log(trouble.replaceAll(/^/gm, '       '));
  }
}

/** What each engine took; its scenarios' seconds, some of which ran at the same time. */
function summary(played: readonly Played[]): string {
  const rows = [...engines, null].flatMap((engine) => {
    const its = played.filter(({ play }) => play.engine === engine);
    const sum = its.reduce((seconds, it) => seconds + it.seconds, 0);
    const good = its.filter(({ trouble }) => trouble === null).length;
    return its.length === 0 ? [] : [[engine ?? '-', String(good), String(its.length - good), sum.toFixed(0)]];
  });
  return formatTable(['engine', 'passed', 'failed', 'seconds'], rows);
}

async function playInOrder(plays: readonly Play[], { abreast, isKept }: Options): Promise<Played[]> {
  const [loud, quiet] = [plays.filter(({ scenario }) => scenario.isLoud), plays.filter((it) => !it.scenario.isLoud)];
  return [...(await playAll(quiet, abreast, isKept, tell)), ...(await playAll(loud, 1, isKept, tell))];
}

// More failures than this are no matter of a busy machine.
const doubtsMost = 8;

/**
 * Scenarios with real programs have deadlines, and a machine that stood still for a while misses them. So what failed is
 * played once more, by itself. What holds then has passed, but is named: a race in the product looks the same.
 */
async function playDoubtful(played: readonly Played[], isKept: boolean): Promise<Played[]> {
  const doubtful = played.filter(({ trouble }) => trouble !== null);
  if (doubtful.length === 0 || doubtful.length > doubtsMost) return [];
  console.log(`\nonce more, one by one: ${doubtful.map(({ play }) => play.label).join(', ')}`);
  const again = await playAll(
    doubtful.map(({ play }) => play),
    1,
    isKept,
    tell,
  );
  return again.filter(({ trouble }) => trouble === null);
}

const usage = `usage: npm run lab -- [--engine NAME] [--abreast N] [--list | --keep] [PATTERN...]

  PATTERN         only scenarios whose name or title contains one of them
  --engine NAME   only on this engine: ${engines.join(', ')}
  --abreast N     as many at a time instead of ${usualAbreast}
  --list          show them, run nothing
  --keep          leave the labs standing and print how to get in`;

async function main(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(usage);
    return 0;
  }
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`lab: ${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return 2;
  }
  const { patterns, engine } = options;
  const matches = ({ name, title }: Scenario) => patterns.some((it) => name.includes(it) || title.includes(it));
  const scenarios = (await allScenarios()).filter((scenario) => patterns.length === 0 || matches(scenario));
  const plays = scenarios.flatMap((scenario) => playsOf(scenario, engine));
  if (options.isList) {
    for (const { label, scenario } of plays) {
      console.log(`${label.padEnd(40)} ${scenario.title}`);
    }
    return 0;
  }
  if (plays.length === 0) {
    const where = engine === null ? '' : ` on ${engine}`;
    console.error(`no scenario matches ${patterns.join(', ')}${where}; --list shows them`);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('network namespaces need root');
    return 7;
  }
  const swept = await sweepLabs();
  if (swept.length > 0) {
    console.log(`swept what dead runs left: ${swept.join(' ')}`);
  }
  const start = performance.now();
  const first = await playInOrder(plays, options);
  const unsteady = await playDoubtful(first, options.isKept);
  const played = first.map((it) => unsteady.find(({ play }) => play === it.play) ?? it);
  const failed = played.filter(({ trouble }) => trouble !== null).length;
  console.log(`\n${summary(played)}\n\n${((performance.now() - start) / 1000).toFixed(0)} s in all`);
  if (unsteady.length > 0) {
    console.log(`failed at first and held when played again: ${unsteady.map(({ play }) => play.label).join(', ')}`);
  }
  console.log(`${played.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
