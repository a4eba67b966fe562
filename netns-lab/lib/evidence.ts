// What stays of a failed scenario: a folder with a transcript per host, a capture per link, the daemon's log, its status
// and drops as JSON, and each host's addresses, routes and neighbours as they were at the end.
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.ts';

export const evidenceDirectory = join(import.meta.dirname, '..', 'evidence');

const networkState =
  'ip -br link; ip -br address; ip route; ip -6 route; ip neigh; nft list ruleset; ss -tun | head -50';

function describeError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Saves everything the lab knows under `evidence/NAME-TIME/` and gives that folder. */
export async function saveEvidence(lab: Lab, name: string, error: unknown): Promise<string> {
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  const folder = join(evidenceDirectory, `${name}-${time}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'error.txt'), `${describeError(error)}\n`);
  for (const [what, action] of lab.evidence) {
    try {
      writeFileSync(join(folder, what), await action());
    } catch (trouble) {
      writeFileSync(join(folder, what), `could not be had: ${describeError(trouble)}\n`);
    }
  }
  for (const host of lab.hosts.values()) {
    const state = await host.attempt(networkState);
    writeFileSync(join(folder, `${host.name}.network`), state.stdout + state.stderr);
  }
  // Small files only: what the servers serve is of no interest.
  for (const file of readdirSync(lab.directory, { withFileTypes: true })) {
    if (file.isFile()) {
      cpSync(join(lab.directory, file.name), join(folder, file.name));
    }
  }
  return folder;
}
