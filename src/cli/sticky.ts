// fairlead flows --sticky: which clients services remember, and for how long still.

import type { StickyView } from '../admin/sticky-stream.ts';
import { type Column, formatAge, tableLines } from './output.ts';

export function formatStickies(stickies: AsyncIterable<StickyView>, isTerminal = false): AsyncGenerator<string> {
  return tableLines(COLUMNS, stickies, 'no client is remembered, or none of that kind', isTerminal);
}

const COLUMNS: readonly Column<StickyView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'CLIENT', cell: ({ client }) => client },
  { title: 'SERVER', cell: ({ server }) => server },
  { title: 'ADDRESS', cell: ({ address }) => address },
  { title: 'IDLE', cell: ({ idleMs }) => formatAge(idleMs), align: 'right' },
  { title: 'EXPIRES', cell: ({ expiresInMs }) => formatAge(expiresInMs), align: 'right' },
];
