// The part of an image that services and servers make by what they are, whatever their weights: what finds a frame's
// service, source addresses, limits, who nat servers are. As long as the roster is the same one, so are these blocks.

import { addressWords } from './config-hash.ts';
import { type Masks, writeFrontDoor } from './image-front.ts';
import { writeLimits, type WrittenLimits } from './image-limit.ts';
import { type Block, ImageWriter, setWords } from './image-writer.ts';
import type { SectionCounts } from './plane.ts';
import type { Roster } from './roster.ts';
import { tooMany } from './slots.ts';

export interface RosterBlocks extends WrittenLimits {
  readonly blocks: readonly Block[];
  readonly masks: Masks;
  /** Parallel to the roster: where a service's addresses begin in SOURCES. */
  readonly sourceFirst: readonly number[];
}

/** `former`: those of the same roster, if they have been made. */
export function writeRoster(
  writer: ImageWriter,
  roster: Roster,
  counts: SectionCounts,
  former: RosterBlocks | null,
): RosterBlocks {
  const made = former ?? makeBlocks(roster, counts);
  for (const block of made.blocks) writer.take(block);
  return made;
}

function makeBlocks(roster: Roster, counts: SectionCounts): RosterBlocks {
  const writer = new ImageWriter();
  const masks = writeFrontDoor(writer, roster, counts);
  const sourceFirst = writeSources(writer, roster, counts.sources);
  const limits = writeLimits(writer, roster, counts);
  return { blocks: writer.blocks, masks, sourceFirst, ...limits };
}

/** Of full-nat its pool, of l3-dsr the outer source. */
function writeSources(writer: ImageWriter, roster: Roster, capacity: number): number[] {
  const pools = roster.map(({ config }) => (config.tunnel === null ? config.sources : [config.tunnel.source.address]));
  const total = pools.reduce((sum, { length }) => sum + length, 0);
  if (total > capacity) throw tooMany('full-nat and tunnel source addresses', total, capacity);
  const view = writer.block('sources', total);
  let next = 0;
  return pools.map((addresses) => {
    const first = next;
    for (const address of addresses) setWords(view, 16 * next++, addressWords(address));
    return addresses.length === 0 ? 0 : first;
  });
}
