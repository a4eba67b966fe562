// How the doctor asks the host: programs that every server has, and files of the kernel. What is not there is null, and
// the checks say what could not be looked at.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Answer {
  readonly code: number;
  readonly text: string;
  readonly complaint: string;
}

export function ask(program: string, ...words: readonly string[]): Answer {
  const { status, stdout, stderr, error } = spawnSync(program, words, { encoding: 'utf8', timeout: 15_000 });
  if (error !== undefined) return { code: 127, text: '', complaint: error.message };
  return { code: status ?? 128, text: stdout, complaint: stderr.trim() };
}

/** Null when the program is missing, fails, or speaks something else than JSON. */
export function askJson(program: string, ...words: readonly string[]): unknown {
  const { code, text } = ask(program, ...words);
  if (code !== 0) return null;
  try {
    return JSON.parse(text.trim() === '' ? '[]' : text);
  } catch {
    return null;
  }
}

export function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

const CONF = '/proc/sys/net/ipv4/conf';
const SETTINGS = ['arp_ignore', 'arp_announce', 'rp_filter'] as const;

export type Ipv4Settings = Readonly<Record<(typeof SETTINGS)[number], number>>;

/** By interface; "all" is among them. */
export function readIpv4Settings(): ReadonlyMap<string, Ipv4Settings> {
  const read = (name: string, setting: string): number => Number(readText(`${CONF}/${name}/${setting}`) ?? 0);
  const settingsOf = (name: string): Ipv4Settings => ({
    arp_ignore: read(name, 'arp_ignore'),
    arp_announce: read(name, 'arp_announce'),
    rp_filter: read(name, 'rp_filter'),
  });
  return new Map(readdirSync(CONF).map((name) => [name, settingsOf(name)]));
}

/** For all three settings the kernel takes the greater of the interface's value and that of "all". */
export function effective(
  settings: ReadonlyMap<string, Ipv4Settings>,
  link: string,
  setting: keyof Ipv4Settings,
): number {
  return Math.max(settings.get('all')?.[setting] ?? 0, settings.get(link)?.[setting] ?? 0);
}
