// What shall outlive this process: what operators said of servers, what checks found, and events that nobody has been
// told of yet. One small JSON file, replaced whole (rename), so that a reader and a crash never meet half of it.
//
// Operators' words hold until they are unsaid. What checks found ages: the file's time says when its writer was last
// alive, and after ten minutes of silence nothing is known any more.

import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { LIMITS } from '../config/limits.ts';

const shape = z.object({
  version: z.literal(1),
  overrides: z.record(
    z.string(),
    z.object({
      admin: z.enum(['enabled', 'drained', 'maintenance']),
      weight: z.int().min(0).max(LIMITS.weight).nullable(),
      /** Of a drain: when its flows end, milliseconds since 1970. */
      until: z.number().optional(),
    }),
  ),
  /** By check; `since` in milliseconds since 1970. */
  health: z.record(z.string(), z.object({ state: z.enum(['up', 'down']), since: z.number() })),
  /** By server: passive checks have taken it out until then, milliseconds since 1970. */
  ejections: z.record(z.string(), z.object({ until: z.number(), times: z.int(), reason: z.string() })).optional(),
  /** By hook. */
  undelivered: z.record(z.string(), z.array(z.unknown())),
});

export type SavedState = z.output<typeof shape>;

export const NO_STATE: SavedState = { version: 1, overrides: {}, health: {}, undelivered: {} };

export const HEALTH_AGES_MS = 600_000;

export interface StateFile {
  /** What a predecessor left; `trouble` is for the log, null when all is well. */
  load(): { state: SavedState; trouble: string | null };
  /** Throws what the file system says. */
  save(state: SavedState): void;
  /** Says that the writer lives. */
  touch(): void;
}

export function makeStateFile(path: string): StateFile {
  return {
    load: () => {
      let text: string;
      let ageMs: number;
      try {
        text = readFileSync(path, 'utf8');
        ageMs = Date.now() - statSync(path).mtimeMs;
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        return { state: NO_STATE, trouble: code === 'ENOENT' ? null : `${path} cannot be read: ${message}` };
      }
      const state = parseState(text);
      if (state === null) return { state: NO_STATE, trouble: `${path} holds no state of this version; it is ignored` };
      return { state: ageMs > HEALTH_AGES_MS ? { ...state, health: {} } : state, trouble: null };
    },
    save: (state) => {
      mkdirSync(dirname(path), { recursive: true });
      const next = `${path}.new`;
      writeFileSync(next, `${JSON.stringify(state)}\n`, { mode: 0o600 });
      chmodSync(next, 0o600);
      renameSync(next, path);
    },
    touch: () => {
      try {
        utimesSync(path, new Date(), new Date());
      } catch {
        // Not there: nothing has been saved yet.
      }
    },
  };
}

function parseState(text: string): SavedState | null {
  try {
    const parsed = shape.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
