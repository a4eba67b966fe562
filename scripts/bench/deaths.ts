// From a server's death to the last new connection that is sent to it. In each round the first server of every path dies
// at the same moment, which lies anywhere in the rhythm of their checks; so the paths are paired.

import { setTimeout } from 'node:timers/promises';
import { waitFor } from '../../netns-lab/lib/wait-for.ts';
import {
  type DeathPath,
  type DeathPathName,
  deathPathNames,
  keepalivedTrouble,
  makeDeathPath,
  timers,
} from './death-paths.ts';
import type { Outcome } from './rounds.ts';
import { median, type Row } from './row.ts';

interface Death {
  readonly measure: string;
  /** Gives the moment, since the epoch in milliseconds. */
  readonly die: (path: DeathPath) => Promise<number>;
  readonly revive: (path: DeathPath) => Promise<void>;
}

const deaths: readonly Death[] = [
  {
    measure: 'death-killed',
    die: async ({ net }) => {
      const nowMs = Date.now();
      net.server(0).nginx?.signal('SIGKILL');
      return nowMs;
    },
    revive: ({ net }) => net.server(0).start(),
  },
  {
    // It hears, and says nothing; its neighbours go on to find it.
    measure: 'death-silent',
    die: async ({ net }) => {
      const input = `table netdev dead {
        chain c {
          type filter hook ingress device "eth0" priority 0
          meta protocol ip drop
        }
      }`;
      return Number(await net.server(0).host.run('nft -f - && date +%s%3N', { input }));
    },
    revive: async ({ net }) => void (await net.server(0).host.run('nft delete table netdev dead')),
  },
];

const quietMs = 2000;
const connectionsPerSecond = 100;
const baselines: readonly DeathPathName[] = ['haproxy', 'haproxy-observe', 'keepalived'];

export function deathConditions(): string {
  const { seconds, fall, rise } = timers;
  return `deaths: a check every ${seconds} s with a time-out of ${seconds} s, fall ${fall}, rise ${rise}, everywhere; two servers in turn, ${connectionsPerSecond} connections a second;
  haproxy retries once, elsewhere; -observe marks down after 5 errors in a row; keepalived's checkers need IPVS, which this
  kernel may lack: timed are its tracked scripts (a connect, the same timers), up to its own notice; IPVS would come on top`;
}

/** Milliseconds from the death to the last sign, once signs have stopped: none since `quietMs`, or one, of a notice. */
async function lastSign(path: DeathPath, diedMs: number): Promise<number> {
  const isNotice = path.name === 'keepalived';
  const last = await waitFor(
    `${path.name} to leave the dead server alone`,
    () => path.signs().findLast((atMs) => atMs > diedMs),
    (atMs) => (isNotice ? atMs !== undefined : Date.now() - (atMs ?? diedMs) > quietMs),
    { withinMs: 60_000, everyMs: 100 },
  );
  return Math.max(0, (last ?? diedMs) - diedMs);
}

async function measureRound(paths: readonly DeathPath[], { die, revive }: Death): Promise<Map<DeathPathName, number>> {
  await setTimeout(Math.random() * timers.seconds * 1000);
  const found = await Promise.all(
    paths.map(async (path) => {
      const diedMs = await die(path);
      return [path.name, await lastSign(path, diedMs)] as const;
    }),
  );
  await Promise.all(
    paths.map(async (path) => {
      const revivedMs = Date.now();
      await revive(path);
      await waitFor(`${path.name} to use the server again`, () => path.isBack(revivedMs), Boolean, {
        withinMs: 60_000,
        everyMs: 100,
      });
    }),
  );
  return new Map(found);
}

function rowsOf(measure: string, path: DeathPathName, rounds: readonly Map<DeathPathName, number>[]): Row[] {
  const value = median(rounds.map((round) => round.get(path) ?? Number.NaN));
  const alone: Row = { measure, path, flows: connectionsPerSecond, value, unit: 'ms', against: null, ratio: null };
  if (!path.startsWith('fairlead')) return [alone];
  return baselines
    .filter((against) => rounds.every((round) => round.has(against)))
    .map((against) => ({
      ...alone,
      against,
      ratio: median(rounds.map((round) => round.get(path)! / round.get(against)!)),
    }));
}

export async function measureDeaths(isQuick: boolean): Promise<Outcome> {
  const trouble = await keepalivedTrouble();
  if (trouble !== null) console.log(`  keepalived is left out: ${trouble}\n`);
  const names = deathPathNames.filter((name) => name !== 'keepalived' || trouble === null);
  const paths = await Promise.all(names.map(makeDeathPath));
  const outcome: Outcome = { rows: [], troubles: [] };
  try {
    for (const death of deaths) {
      const rounds: Map<DeathPathName, number>[] = [];
      for (let repeat = 0; repeat < (isQuick ? 3 : 9); repeat++) rounds.push(await measureRound(paths, death));
      outcome.rows.push(...names.flatMap((name) => rowsOf(death.measure, name, rounds)));
    }
  } catch (error) {
    outcome.troubles.push(`deaths: ${error instanceof Error ? error.message : String(error)}`);
  }
  for (const { net } of paths) await net.lab.close();
  return outcome;
}
