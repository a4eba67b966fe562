// Where everything lies that must not move without need: slots of services and servers, extents of tables. Handed from
// one commit to the next; read back from the region when one is adopted (adopt.ts).

import { FairleadError } from '../base/errors.ts';
import type { MadeImage } from './image.ts';
import type { Roster, ServicePlace } from './roster.ts';
import { buildServiceTable } from './service-table.ts';
import type { SlotTable } from './slots.ts';
import { type Extent, makeTablePool, planExtents, type PoolMoment, type TablePool } from './table-pool.ts';
import type { TargetService } from './target.ts';

export interface Placement {
  readonly services: SlotTable;
  readonly servers: SlotTable;
  readonly pool: TablePool;
  /** By slot of the service. */
  readonly tables: ReadonlyMap<number, PlacedTable>;
  /** What the last image was made of, for the next one to go on from. Null when all this was read from a region. */
  readonly made: MadeImage | null;
}

/**
 * A service's scheduler table and, right behind it, its members and its reserves. The same object for as long as the very
 * same target asks for it.
 */
export interface PlacedTable {
  /** Has room for the content, and for one entry more when that is odd. */
  readonly extent: Extent;
  readonly tableCount: number;
  readonly memberCount: number;
  /** Server slots: the table's, then the members', then the reserves'. */
  readonly content: Uint32Array;
  /** What the content was made from; like inputs need no second making. Null when it was read from a region. */
  readonly madeFrom: PlacedService | null;
}

/** Entries of TABLES are in pairs. */
export const ENTRIES_OF_PAIR = 2;

export function emptyPlacement(tablePairs: number): Placement {
  const pool = makeTablePool(tablePairs * ENTRIES_OF_PAIR);
  return { services: [], servers: [], pool, tables: new Map(), made: null };
}

interface PlacedService {
  readonly target: TargetService;
  readonly place: ServicePlace;
}

/** `roster` and `targets` are parallel. */
export function placeTables(
  before: Placement,
  roster: Roster,
  targets: readonly TargetService[],
  moment: PoolMoment,
): { tables: Map<number, PlacedTable>; pool: TablePool } {
  const wanted = roster.map((place, index) => wantTable(before.tables.get(place.slot), place, targets[index]!));
  const isPlaced = (table: WantedTable): table is PlacedTable => table.extent !== null;
  const kept = wanted.filter(isPlaced).map(({ extent }) => extent);
  const fresh = wanted.filter((table) => !isPlaced(table)).map(({ content }) => content.length);
  const plan = planExtents(before.pool, kept, fresh, moment);
  if (plan === null) throw noRoom(before.pool.capacity);
  const extents = plan.extents.values();
  const placed = wanted.map((table) => (isPlaced(table) ? table : { ...table, extent: extents.next().value! }));
  return { tables: new Map(placed.map((table, index) => [roster[index]!.slot, table])), pool: plan.pool };
}

/** One that is there already and right has its extent, another is still to get one. */
type WantedTable = PlacedTable | (Omit<PlacedTable, 'extent'> & { readonly extent: null });

function wantTable(there: PlacedTable | undefined, place: ServicePlace, target: TargetService): WantedTable {
  const { madeFrom: former = null } = there ?? {};
  if (there !== undefined && former?.target === target && former.place === place) return there;
  const madeFrom = { target, place };
  if (there !== undefined && former !== null && makesTheSame(former, madeFrom)) return { ...there, madeFrom };
  const { table, members, reserves } = buildServiceTable(target);
  const content = slotsOf([table, members, reserves], place.serverSlots);
  const made = { content, tableCount: table.length, memberCount: members.length, madeFrom };
  const isLike = there?.tableCount === table.length && there.memberCount === members.length;
  return { ...made, extent: isLike && sameItems(there.content, content) ? there.extent : null };
}

function slotsOf(lists: readonly Uint32Array[], slots: readonly number[]): Uint32Array {
  const content = new Uint32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) for (const index of list) content[at++] = slots[index]!;
  return content;
}

function makesTheSame(a: PlacedService, b: PlacedService): boolean {
  const [of, next] = [a.target, b.target];
  return (
    of.config.scheduler === next.config.scheduler &&
    sameItems(a.place.serverSlots, b.place.serverSlots) &&
    sameItems(of.weights, next.weights) &&
    sameItems(of.reserves, next.reserves) &&
    (of.config === next.config || sameItems(endpointsOf(of), endpointsOf(next)))
  );
}

function endpointsOf({ config }: TargetService): string[] {
  return config.servers.map(({ address, port }) => `${address.text}@${port}`);
}

function sameItems<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function noRoom(capacity: number): FairleadError {
  return new FairleadError('refused', `the scheduler tables do not fit the region's ${capacity} entries`, {
    mend: 'try again in a second, when former tables are free; or use fewer maglev services, or start fairlead anew',
  });
}
