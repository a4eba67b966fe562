// fairlead drops: which frames went nowhere or were refused, and why.

import { Command } from 'commander';
import type { DropsView } from '../admin/views.ts';
import { type CommonOptions, contextOf, print, withCommon } from './common.ts';
import { type Column, formatCount, formatFacts, formatTable } from './output.ts';

type Row = DropsView['reasons'][number];

export function dropsCommand(): Command {
  const command = new Command('drops').description('count dropped and refused frames by reason');
  return withCommon(command.option('-a, --all', 'every reason, also of frames that were not dropped')).action(
    async (options: CommonOptions & { all?: true }) => {
      const context = contextOf(options);
      const drops = await context.client.get<DropsView>('/v1/drops');
      print(context, drops, (view, isTerminal) => formatDrops(view, options.all === true, isTerminal));
    },
  );
}

export function formatDrops(drops: DropsView, showAll: boolean, isTerminal = false): string {
  const isLoss = ({ verdict, reason }: Row): boolean => verdict === 'dropped' || reason.startsWith('refused-');
  const rows = drops.reasons.filter((row) => showAll || (isLoss(row) && row.count > 0));
  const below = formatFacts([
    ['dropped by the kernel, a ring was full', formatCount(drops.ringDrops)],
    ['refused by the out interface', formatCount(drops.sendErrors)],
  ]);
  const table = rows.length === 0 ? 'no frame was dropped' : formatTable(COLUMNS, rows, isTerminal);
  return `${table}\n\n${below}`;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'FRAMES', cell: ({ count }) => formatCount(count), align: 'right' },
  { title: 'VERDICT', cell: ({ verdict }) => verdict },
  { title: 'REASON', cell: ({ reason }) => reason },
  { title: 'MEANING', cell: ({ meaning }) => meaning },
];
