// What labs leave on the machine and how it goes away: namespaces called LAB-HOST, a folder with the lab's state, and the
// regions of the instances that ran in it. A lab whose owner died is swept by whoever comes next.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execute } from './command.ts';
import { waitFor } from './wait-for.ts';

export const labsDirectory = '/run/fairlead-lab';

export interface LabState {
  name: string;
  label: string;
  pid: number;
  startTime: string;
  isKept: boolean;
}

/** When a process started, in clock ticks since boot: with its pid that names it for good. Empty if it is gone. */
export function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

export function listLabs(): LabState[] {
  if (!existsSync(labsDirectory)) {
    return [];
  }
  return readdirSync(labsDirectory).map((name) => {
    // A lab that is just being made has no state yet; its name carries the pid.
    const pid = Number(/^fl(\d+)-/.exec(name)?.[1] ?? 0);
    try {
      const state = JSON.parse(readFileSync(join(labsDirectory, name, 'lab.json'), 'utf8')) as Omit<LabState, 'name'>;
      return { ...state, name };
    } catch {
      return { name, label: '', pid, startTime: startTimeOf(pid), isKept: false };
    }
  });
}

export function isOwned(lab: LabState): boolean {
  return lab.startTime !== '' && startTimeOf(lab.pid) === lab.startTime;
}

export async function namespacesOf(lab: string): Promise<string[]> {
  const listed = await execute(['ip', 'netns', 'list'], 'ip netns list');
  const names = listed.stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  return names.filter((name) => name.startsWith(`${lab}-`));
}

/** Region files of a lab's instances, those set aside among them. */
export function regionsOf(lab: string): string[] {
  const [exact, more] = [`fairlead.${lab}`, new RegExp(`^fairlead\\.${lab}[.-]`)];
  return readdirSync('/dev/shm').filter((file) => file === exact || more.test(file));
}

async function processesIn(namespaces: readonly string[]): Promise<number[]> {
  const lists = await Promise.all(namespaces.map((it) => execute(['ip', 'netns', 'pids', it], `ip netns pids ${it}`)));
  return lists.flatMap((list) => list.stdout.split('\n').filter(Boolean).map(Number));
}

/** Removes a lab by its name alone: ends what runs in its namespaces, then the namespaces, regions and files. */
export async function destroyLab(name: string): Promise<void> {
  const namespaces = await namespacesOf(name);
  const endAll = async () => {
    const pids = await processesIn(namespaces);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended between the list and now.
      }
    }
    return pids;
  };
  await waitFor(`the processes of ${name} to end`, endAll, (pids) => pids.length === 0, {
    withinMs: 20_000,
    everyMs: 20,
  });
  await Promise.all(namespaces.map((it) => execute(['ip', 'netns', 'delete', it], `ip netns delete ${it}`)));
  // Maps and programs that were pinned there end with it. Not mounted when the lab was half made.
  await execute(['umount', join(labsDirectory, name, 'bpffs')], `umount the bpffs of ${name}`);
  for (const region of regionsOf(name)) rmSync(join('/dev/shm', region), { force: true });
  rmSync(join(labsDirectory, name), { recursive: true, force: true });
}

/**
 * Removes the labs whose owner is dead and that nobody asked to keep; gives their names. What cannot be removed (left by
 * a run with other rights, say) is named by `warn` and keeps nobody from working: names are never used twice.
 */
export async function sweepLabs(warn: (text: string) => void = console.warn): Promise<string[]> {
  const swept: string[] = [];
  for (const { name } of listLabs().filter((lab) => !lab.isKept && !isOwned(lab))) {
    try {
      await destroyLab(name);
      swept.push(name);
    } catch (error) {
      warn(`the dead lab ${name} cannot be swept whole: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return swept;
}
