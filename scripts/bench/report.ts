// The table of a run, the targets beside the figures.

import { formatTable } from '../../netns-lab/lib/report.ts';
import type { Row } from './row.ts';
import { isMet, type Target, targetOf } from './targets.ts';

/** Three digits that matter, in thousands or millions where a figure is large. */
export function formatFigure(value: number, unit: string): string {
  const [scaled, prefix] = value >= 1e6 ? [value / 1e6, ' M'] : value >= 1e4 ? [value / 1e3, ' k'] : [value, ' '];
  return `${scaled.toFixed(scaled < 10 ? 2 : scaled < 100 ? 1 : 0)}${prefix}${unit === '1/s' ? '/s' : unit}`;
}

function formatFlows(flows: number): string {
  return flows >= 1e6
    ? `${flows / 1e6} M`
    : flows >= 1000
      ? `${Math.round(flows / (flows % 1024 === 0 ? 1024 : 1000))} k`
      : String(flows);
}

function formatTarget({ least, most }: Target): string {
  return least === undefined ? `≤ ${most}` : `≥ ${least}`;
}

function cells(row: Row, previous: Row | undefined): string[] {
  const target = targetOf(row);
  const isSameFigure = previous?.measure === row.measure && previous.path === row.path && previous.flows === row.flows;
  return [
    isSameFigure ? '' : `${row.measure} ${row.path}`,
    isSameFigure ? '' : formatFlows(row.flows),
    isSameFigure ? '' : formatFigure(row.value, row.unit),
    row.ratio === null ? '' : row.ratio.toFixed(2),
    row.against ?? '',
    target === null ? '' : formatTarget(target),
    target === null ? '' : isMet(target, row) ? 'met' : 'MISSED',
  ];
}

export function formatRows(rows: readonly Row[]): string {
  const head = ['measure and path', 'flows', 'median', 'ratio', 'against', 'target', ''];
  return formatTable(
    head,
    rows.map((row, index) => cells(row, rows[index - 1])),
  );
}

export function formatVerdict(rows: readonly Row[]): string {
  const judged = rows.flatMap((row) => {
    const target = targetOf(row);
    return target === null ? [] : [isMet(target, row)];
  });
  return `${judged.filter(Boolean).length} of ${judged.length} targets met`;
}
