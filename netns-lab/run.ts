// Runs lab scenarios one after another.
//   node netns-lab/run.ts [PATTERN...]   those whose name or title contains one of the patterns; all without a pattern
//     --list   only show them     --keep   leave their labs standing
import { saveEvidence } from './lib/evidence.ts';
import { playCommands } from './lib/hints.ts';
import { Lab } from './lib/lab.ts';
import { sweepLabs } from './lib/leftovers.ts';
import { allScenarios, type Scenario } from './lib/scenario.ts';

// Far more than any scenario needs; every wait inside has a shorter deadline of its own.
const scenarioLimitMs = 90_000;

function limit(ms: number): { expired: Promise<never>; clear: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`the scenario took longer than ${ms / 1000} s`)), ms);
  return { expired: promise, clear: () => clearTimeout(timer) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs one scenario in a lab of its own; gives what went wrong, or null. */
async function runScenario(scenario: Scenario, isKept: boolean): Promise<string | null> {
  const lab = new Lab(scenario.name);
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
    const folder = await saveEvidence(lab, scenario.name, error);
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

const usage = `usage: npm run lab -- [--list | --keep] [PATTERN...]

  PATTERN   only scenarios whose name or title contains one of them
  --list    show them, run nothing
  --keep    leave the labs standing and print how to get in`;

async function main(args: readonly string[]): Promise<number> {
  const patterns = args.filter((arg) => !arg.startsWith('-'));
  if (args.includes('--help') || args.includes('-h')) {
    console.log(usage);
    return 0;
  }
  const strange = args.find((arg) => arg.startsWith('-') && arg !== '--list' && arg !== '--keep');
  if (strange !== undefined) {
    console.error(`unknown option ${strange}\n\n${usage}`);
    return 2;
  }
  const matches = ({ name, title }: Scenario) => patterns.some((it) => name.includes(it) || title.includes(it));
  const scenarios = (await allScenarios()).filter((scenario) => patterns.length === 0 || matches(scenario));
  if (args.includes('--list')) {
    for (const { name, title } of scenarios) {
      console.log(`${name.padEnd(32)} ${title}`);
    }
    return 0;
  }
  if (scenarios.length === 0) {
    console.error(`no scenario matches ${patterns.join(', ')}; --list shows them`);
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
  let failed = 0;
  for (const scenario of scenarios) {
    const start = performance.now();
    const trouble = await runScenario(scenario, args.includes('--keep'));
    const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(5);
    console.log(`${trouble === null ? 'ok  ' : 'FAIL'} ${seconds} s  ${scenario.name}: ${scenario.title}`);
    if (trouble !== null) {
      failed += 1;
      console.log(trouble.replaceAll(/^/gm, '       '));
    }
  }
  console.log(`${scenarios.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
