// What commands print: tables with aligned columns for people, JSON for programs.

export type Format = 'table' | 'json';

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string;
  /** Figures are set flush right. */
  readonly align?: 'right';
}

/** Columns two spaces apart, no trailing blanks; titles in bold where there is a terminal. */
export function formatTable<T>(columns: readonly Column<T>[], rows: readonly T[], isTerminal = false): string {
  const { head, line } = layTable(columns, rows, isTerminal);
  return [head, ...rows.map(line)].join('\n');
}

/** Rows that a table of unknown length is laid out by. */
const LAID_BY = 500;

/**
 * The same, line by line, for rows without end: the first rows decide how wide the columns are. Where there is no row it says
 * so in the words of `none`.
 */
export async function* tableLines<T>(
  columns: readonly Column<T>[],
  rows: AsyncIterable<T>,
  none: string,
  isTerminal = false,
): AsyncGenerator<string> {
  const first: T[] = [];
  let line: ((row: T) => string) | null = null;
  const begin = (): string[] => {
    const laid = layTable(columns, first, isTerminal);
    line = laid.line;
    return first.length === 0 ? [none] : [laid.head, ...first.map(laid.line)];
  };
  for await (const row of rows) {
    if (line !== null) yield (line as (row: T) => string)(row);
    else if (first.push(row) === LAID_BY) yield* begin();
  }
  if (line === null) yield* begin();
}

interface LaidTable<T> {
  readonly head: string;
  readonly line: (row: T) => string;
}

function layTable<T>(columns: readonly Column<T>[], rows: readonly T[], isTerminal: boolean): LaidTable<T> {
  const widths = columns.map(({ title, cell }) =>
    rows.reduce((most, row) => Math.max(most, width(cell(row))), width(title)),
  );
  const join = (texts: readonly string[]): string =>
    columns
      .map(({ align }, i) => pad(texts[i] ?? '', widths[i] ?? 0, align))
      .join('  ')
      .trimEnd();
  const head = join(columns.map(({ title }) => title));
  return {
    head: isTerminal ? `\x1B[1m${head}\x1B[0m` : head,
    line: (row) => join(columns.map(({ cell }) => cell(row))),
  };
}

/** "name  value" lines with the values one below the other. */
export function formatFacts(facts: readonly (readonly [name: string, value: string])[]): string {
  const longest = Math.max(...facts.map(([name]) => width(name)));
  return facts.map(([name, value]) => `${pad(name, longest)}  ${value}`.trimEnd()).join('\n');
}

/** 1234567 → "1,234,567" */
export function formatCount(count: number): string {
  return grouping.format(count);
}

const grouping = new Intl.NumberFormat('en');

/** 1, "server" → "1 server"; 3 → "3 servers". */
export function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** 800 → "0.8s", 75000 → "1m15s", 3 days → "3d0h": two units at most. */
export function formatAge(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${Math.floor((whole % 3600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d${Math.floor((whole % 86_400) / 3600)}h`;
}

/** 0.42 → "0.4ms", 12.7 → "13ms", null → "-". */
export function formatMs(ms: number | null): string {
  return ms === null ? '-' : `${ms.toFixed(ms < 10 ? 1 : 0)}ms`;
}

function pad(text: string, to: number, align?: 'right'): string {
  const blanks = ' '.repeat(Math.max(0, to - width(text)));
  return align === 'right' ? blanks + text : text + blanks;
}

const segmenter = new Intl.Segmenter();
/** Each of these is a character by itself, and nearly all texts have no others: asking the segmenter takes 100 times as long. */
const PLAIN = /^[ -~]*$/;

/** Characters as people count them: reasons may hold any. */
function width(text: string): number {
  return PLAIN.test(text) ? text.length : [...segmenter.segment(text)].length;
}
