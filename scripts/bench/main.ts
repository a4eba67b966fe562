// npm run bench: ratios measured side by side in one run. --help says how to call it and how to read it.
//
// How it works: a network of namespaces for each path, all standing at once (network.ts, paths.ts); measures that go
// through the paths in turn (measures.ts, rounds.ts); targets held against the rows (targets.ts). The core alone is
// native/bench/core.c, in the kernel native/bench/kernel.c. Everything that was made is taken down at the end, also after Ctrl-C.

import { accessSync, constants, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execute } from '../../netns-lab/lib/command.ts';
import { sweepLabs } from '../../netns-lab/lib/leftovers.ts';
import { machineConditions, networkConditions } from './conditions.ts';
import { deathConditions, measureDeaths } from './deaths.ts';
import { measureCore, measureKernel } from './core.ts';
import { buildKatran } from './katran.ts';
import { type Measure, measures } from './measures.ts';
import { help, type Options, parseOptions } from './options.ts';
import { longPaths, makePath, type Path, type PathName, pathNames } from './paths.ts';
import { formatRows, formatVerdict } from './report.ts';
import { measureInTurn, type Outcome } from './rounds.ts';
import type { Row } from './row.ts';
import { measureScales } from './scale.ts';

async function build(): Promise<void> {
  const native = join(import.meta.dirname, '..', '..', 'native');
  const made = await execute(['make', '--silent', '-C', native, 'all', 'bench'], 'make', { timeoutMs: 300_000 });
  if (made.code !== 0) throw new Error(`the native parts do not build:\n${made.stderr}`);
}

async function inKernel({ isQuick, katran }: Options): Promise<Row[]> {
  if (katran === null) return measureKernel(isQuick, null);
  const { object, problem, close } = await buildKatran(katran);
  if (object === null) console.log(`  katran is left out: ${problem}\n`);
  try {
    return await measureKernel(isQuick, object);
  } finally {
    close();
  }
}

async function throughLabs(wanted: readonly Measure[], { isQuick, through }: Options): Promise<Outcome> {
  await sweepLabs();
  const isMeasured = (name: PathName) => wanted.some((measure) => measure.paths.includes(name));
  const needed = pathNames.filter(
    (name) => isMeasured(name) && through.test(name) && !(isQuick && longPaths.has(name)),
  );
  const paths: Path[] = [];
  for (const name of needed) paths.push(await makePath(name));
  if (paths[0] !== undefined) console.log(`  ${await networkConditions(paths[0])}\n`);
  const outcome: Outcome = { rows: [], troubles: [] };
  for (const measure of wanted) {
    const { rows, troubles } = await measureInTurn(measure, paths, isQuick ? 3 : 7, isQuick ? 1 : 3);
    console.log(`${formatRows(rows)}\n`);
    outcome.rows.push(...rows);
    outcome.troubles.push(...troubles);
  }
  for (const { net } of paths) await net.lab.close();
  return outcome;
}

async function withDeath(isQuick: boolean): Promise<Outcome> {
  await sweepLabs();
  console.log(`  ${deathConditions()}\n`);
  const outcome = await measureDeaths(isQuick);
  console.log(`${formatRows(outcome.rows)}\n`);
  return outcome;
}

async function run(options: Options): Promise<number> {
  const isWanted = (name: string) => name.includes(options.only);
  const wanted = measures.filter((it) => isWanted(it.name) && (!options.isQuick || it.isLong !== true));
  const withCore = 'core'.includes(options.only) || options.only.startsWith('core');
  const withDeaths = options.only.startsWith('death') || (!options.isQuick && 'deaths'.includes(options.only));
  const withScale = options.only.startsWith('scale') || (!options.isQuick && 'scale'.includes(options.only));
  const withKernel = 'kernel'.includes(options.only) || options.only.startsWith('kernel');
  if (wanted.length === 0 && !withCore && !withScale && !withKernel && !withDeaths) {
    console.error(
      `no measure is called ${options.only}; there are core, kernel, scale, deaths and ${[...new Set(measures.map((it) => it.name))].join(', ')}`,
    );
    return 2;
  }
  if ((wanted.length > 0 || withKernel || withDeaths) && process.getuid?.() !== 0) {
    console.error('network namespaces need root; without it there is: npm run bench -- --only core');
    return 7;
  }
  if (options.json !== null) accessSync(dirname(options.json), constants.W_OK);
  await build();
  console.log((await machineConditions()).map((line) => `  ${line}`).join('\n'));
  const core = withCore ? await measureCore(options.isQuick) : [];
  if (withCore) console.log(`\n${formatRows(core)}\n`);
  const kernel = withKernel ? await inKernel(options) : [];
  if (withKernel) console.log(`${formatRows(kernel)}\n`);
  const scale = withScale ? await measureScales(options.isQuick) : [];
  if (withScale) console.log(`${formatRows(scale)}\n`);
  const nothing: Outcome = { rows: [], troubles: [] };
  const labs = wanted.length > 0 ? await throughLabs(wanted, options) : nothing;
  const died = withDeaths ? await withDeath(options.isQuick) : nothing;
  const troubles = [...labs.troubles, ...died.troubles];
  const all = [...core, ...kernel, ...scale, ...labs.rows, ...died.rows];
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(all, null, 2)}\n`);
  for (const trouble of troubles) console.error(`could not be measured: ${trouble}`);
  console.log(formatVerdict(all));
  return troubles.length === 0 ? 0 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  let options: Options | null;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 2;
  }
  if (options === null) {
    console.log(help);
    return 0;
  }
  return run(options);
}

process.exit(await main(process.argv.slice(2)));
