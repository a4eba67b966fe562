// The floors of the house: who may import whom. Prints each import that goes up or sideways and fails if there is one.
//
//   src           base net ← config schedule native ← plane health server ← control ha doctor ← admin ← cli ← main; only plane and
//                 native itself import native
//   native        core includes only core and kernel headers; engine and bpf never each other; addon all three
//   netns-lab     nothing from src: a lab drives the real command

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const root = normalize(join(import.meta.dirname, '..'));

const floors = [
  ['base', 'net'],
  ['config', 'schedule', 'native'],
  ['plane', 'health', 'server'],
  ['control', 'ha', 'doctor'],
  ['admin'],
  ['cli'],
  ['main'],
];

const mayInclude: Readonly<Record<string, readonly string[]>> = {
  core: [],
  engine: ['core'],
  bpf: ['core'],
  addon: ['core', 'engine', 'bpf'],
};

/** Why `from` may not import `to`, both relative to the root; null when it may. */
function objection(from: string, to: string): string | null {
  const [top = '', area = ''] = from.split('/');
  const [targetTop = '', targetArea = ''] = to.split('/');
  if (top === 'netns-lab' && targetTop === 'src') return 'labs import nothing from src';
  if (top === 'src') {
    if (targetTop !== 'src') return `src imports nothing from ${targetTop}`;
    return objectionInSrc(area.replace('.ts', ''), targetArea.replace('.ts', ''));
  }
  if (top === 'native') {
    if (targetTop === 'system') return area === 'core' && !isKernelHeader(targetArea) ? 'core has no libc' : null;
    const allowed = mayInclude[area];
    if (allowed === undefined || area === targetArea || allowed.includes(targetArea)) return null;
    return `${area} does not include ${targetArea}`;
  }
  return null;
}

/** By its folder; <stddef.h> and the like would pull a C library into the kernel's copy of the core. */
function isKernelHeader(folder: string): boolean {
  return ['linux', 'asm', 'bpf'].includes(folder);
}

function objectionInSrc(area: string, target: string): string | null {
  if (area === target) return null;
  const [floor, targetFloor] = [area, target].map((name) => floors.findIndex((names) => names.includes(name)));
  if (floor === -1) return `${area} has no floor yet: give it one in scripts/floors.ts`;
  if (targetFloor === -1) return `${target} has no floor yet: give it one in scripts/floors.ts`;
  if (target === 'native' && area !== 'plane') return 'only plane imports native';
  return targetFloor! < floor! ? null : `${area} is not above ${target}`;
}

/** The files that a source names: relative imports in TypeScript, includes in C, <a.h> as "system/a.h". */
function namedIn(file: string, text: string): string[] {
  if (file.endsWith('.ts')) {
    const imports = text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*['"](\.[^'"]+)['"]/g);
    return Array.from(imports, (match) => join(dirname(file), match[1]!));
  }
  const includes = text.matchAll(/^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)/gm);
  return Array.from(includes, ([, own, system]) => (own === undefined ? `system/${system}` : join(dirname(file), own)));
}

function sources(folder: string, ending: RegExp): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ending.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

const files = [...sources('src', /\.ts$/), ...sources('netns-lab', /\.ts$/), ...sources('native', /\.[ch]$/)];
const breaches = files.flatMap((file) =>
  namedIn(file, readFileSync(join(root, file), 'utf8')).flatMap((target) => {
    const why = objection(file, target);
    return why === null ? [] : [`${file} imports ${target}: ${why}`];
  }),
);
for (const breach of breaches) console.error(breach);
if (files.length === 0) console.error(`no sources under ${root}`);
process.exitCode = breaches.length > 0 || files.length === 0 ? 1 : 0;
