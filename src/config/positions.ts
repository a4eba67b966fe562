// Where in the file a thing was said. Checks speak of paths ("services", "web", "listen", 0); Positions turns what they
// found into problems with line, column and source line. Config itself stays plain data: its positions are kept beside
// it, so that a check that runs long after parsing (against the host, on reload) can still point at the line.

import { type Document, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair, type YAMLMap } from 'yaml';
import type { ConfigProblem } from '../base/errors.ts';
import type { Config } from './config.ts';

export type Path = readonly (string | number)[];

/** Something wrong at a path, in words. */
export interface Finding {
  readonly path: Path;
  /** Taken instead of `path`, first match first, when `path` was not written in the file. */
  readonly elsewhere?: readonly Path[];
  /** Point at the key rather than at its value. */
  readonly on?: 'key';
  readonly message: string;
  readonly hint?: string;
  /** Another place to name: " (line 9)" after the message. */
  readonly see?: Path;
  readonly severity?: 'warning';
}

/** The file's text and the way from an offset in it to a line and column. */
export interface Source {
  readonly file: string;
  readonly lines: readonly string[];
  readonly counter: LineCounter;
}

export interface Positions {
  /** Problems in the order of the file, each one once. */
  locate(findings: readonly Finding[]): ConfigProblem[];
}

export function makePositions(source: Source, document: Document): Positions {
  const root = document.contents;
  return {
    locate: (findings) => sortProblems(findings.map((finding) => toProblem(source, root, finding))),
  };
}

/** A problem at an offset of the text. */
export function problemAt(source: Source, offset: number, message: string, hint?: string): ConfigProblem {
  const { line, col } = source.counter.linePos(offset);
  const sourceLine = source.lines[line - 1] ?? '';
  const place = { file: source.file, line, column: col, sourceLine };
  return { severity: 'error', ...place, message, ...(hint === undefined ? {} : { hint }) };
}

/** A problem of the file as a whole. */
export function fileProblem(file: string, message: string, hint?: string): ConfigProblem {
  const place = { file, line: 0, column: 0, sourceLine: '' };
  return { severity: 'error', ...place, message, ...(hint === undefined ? {} : { hint }) };
}

export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const seen = new Set<string>();
  return sorted.filter((problem) => {
    const key = `${problem.line}:${problem.column}:${problem.message}`;
    return seen.has(key) ? false : seen.add(key);
  });
}

const positionsByConfig = new WeakMap<Config, Positions>();

export function rememberPositions(config: Config, positions: Positions): void {
  positionsByConfig.set(config, positions);
}

/** The positions of a parsed configuration; one that was built in memory gets problems without a line. */
export function positionsOf(config: Config): Positions {
  return positionsByConfig.get(config) ?? { locate: (findings) => findings.map(inMemory) };
}

function inMemory(finding: Finding): ConfigProblem {
  const problem = fileProblem('configuration', finding.message, finding.hint);
  return { ...problem, severity: finding.severity ?? 'error' };
}

function toProblem(source: Source, root: Node | null, finding: Finding): ConfigProblem {
  const written = [finding.path, ...(finding.elsewhere ?? [])].find((path) => find(root, path).depth === path.length);
  const place = find(root, written ?? finding.path);
  const offset = (finding.on === 'key' ? place.key : place.value) ?? 0;
  const problem = problemAt(source, offset, finding.message + lineNote(source, root, finding), finding.hint);
  return { ...problem, severity: finding.severity ?? 'error' };
}

function lineNote(source: Source, root: Node | null, finding: Finding): string {
  if (finding.see === undefined) return '';
  return ` (line ${source.counter.linePos(find(root, finding.see).key ?? 0).line})`;
}

/** By key; made once for each map, since a file with thousands of wrong servers asks thousands of times. */
const pairsByMap = new WeakMap<YAMLMap, Map<unknown, Pair>>();

function pairsOf(map: YAMLMap): Map<unknown, Pair> {
  const known = pairsByMap.get(map);
  if (known !== undefined) return known;
  const pairs = new Map(map.items.map((pair) => [isScalar(pair.key) ? pair.key.value : pair.key, pair]));
  pairsByMap.set(map, pairs);
  return pairs;
}

interface Place {
  /** Offsets of the key that leads here and of its value. */
  readonly key: number | undefined;
  readonly value: number | undefined;
  /** How much of the path was there; what a short form leaves out is found at the short form. */
  readonly depth: number;
}

function find(root: Node | null, path: Path): Place {
  let node = root;
  let place: Place = { key: root?.range?.[0], value: root?.range?.[0], depth: 0 };
  for (const segment of path) {
    let key: Node | undefined;
    let next: unknown;
    if (isMap(node)) {
      const pair = pairsOf(node).get(segment);
      key = pair?.key as Node | undefined;
      next = pair?.value;
    } else if (isSeq(node)) {
      next = node.items[Number(segment)];
    }
    const start = (next as Node | null | undefined)?.range?.[0];
    if (key === undefined && start === undefined) break;
    node = (next ?? null) as Node | null;
    place = { key: key?.range?.[0] ?? start, value: start ?? key?.range?.[0], depth: place.depth + 1 };
  }
  return place;
}
