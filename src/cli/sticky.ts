// fairlead flows --sticky: which clients services remember, and for how long still.

import type { StickyView } from '../admin/sticky-stream.ts';
import { type Column, formatAge, tableLines } from './output.ts';

export async function* formatStickies(stickies: AsyncIterable<StickyView>, isTerminal = false): AsyncGenerator<string> {
  let isEmpty = true;
  for await (const line of tableLines(COLUMNS, stickies, isTerminal)) {
    isEmpty = false;
    yield line;
  }
  if (isEmpty) yield 'no client is remembered, or none of that kind';
}

const COLUMNS: readonly Column<StickyView>[] = [
  { title: 'SERVICE', cell: ({ service }) => service },
  { title: 'CLIENT', cell: ({ client }) => client },
  { title: 'SERVER', cell: ({ server }) => server },
  { title: 'ADDRESS', cell: ({ address }) => address },
  { title: 'IDLE', cell: ({ idleMs }) => formatAge(idleMs), align: 'right' },
  { title: 'EXPIRES', cell: ({ expiresInMs }) => formatAge(expiresInMs), align: 'right' },
];
