// Where everything lies that must not move without need: slots of services and servers, extents of tables. Handed from
// one commit to the next; read back from the region when one is adopted (adopt.ts).

import { FairleadError } from '../base/errors.ts';
import { buildServiceTable } from './service-table.ts';
import type { SlotTable } from './slots.ts';
import { type Extent, makeTablePool, planExtents, type PoolMoment, type TablePool } from './table-pool.ts';
import type { TargetService } from './target.ts';

export interface Placement {
  readonly services: SlotTable;
  readonly servers: SlotTable;
  readonly pool: TablePool;
  /** By service id. */
  readonly tables: ReadonlyMap<bigint, PlacedTable>;
}

/** A service's scheduler table and, right behind it, its members and its reserves. */
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
  return { services: [], servers: [], pool: makeTablePool(tablePairs * ENTRIES_OF_PAIR), tables: new Map() };
}

export interface PlacedService {
  readonly id: bigint;
  readonly target: TargetService;
  readonly serverSlots: readonly number[];
}

export function placeTables(
  before: Placement,
  services: readonly PlacedService[],
  moment: PoolMoment,
): { tables: Map<bigint, PlacedTable>; pool: TablePool } {
  const wanted = services.map((service) => wantTable(before.tables.get(service.id), service));
  const kept = wanted.flatMap(({ table }) => (table === undefined ? [] : [table.extent]));
  const fresh = wanted.filter(({ table }) => table === undefined);
  const plan = planExtents(
    before.pool,
    kept,
    fresh.map(({ content }) => content.length),
    moment,
  );
  if (plan === null) throw noRoom(before.pool.capacity);
  const tables = new Map<bigint, PlacedTable>();
  let next = 0;
  for (const { id, table, ...made } of wanted) {
    tables.set(id, table ?? { ...made, extent: plan.extents[next++]! });
  }
  return { tables, pool: plan.pool };
}

interface Wanted extends Omit<PlacedTable, 'extent'> {
  readonly id: bigint;
  /** The one that is there already and right. */
  readonly table?: PlacedTable;
}

function wantTable(there: PlacedTable | undefined, service: PlacedService): Wanted {
  const { id, target, serverSlots } = service;
  if (there !== undefined && makesTheSame(there.madeFrom, service)) return { ...there, id, table: there };
  const { table, members, reserves } = buildServiceTable(target);
  const content = Uint32Array.from([...table, ...members, ...reserves], (index) => serverSlots[index] ?? 0);
  const made = { id, content, tableCount: table.length, memberCount: members.length, madeFrom: service };
  const isLike = there?.tableCount === table.length && there.memberCount === members.length;
  if (!isLike || !sameItems(there.content, content)) return made;
  return { ...made, table: { ...made, extent: there.extent } };
}

function makesTheSame(a: PlacedService | null, b: PlacedService): boolean {
  if (a === null) return false;
  const [of, next] = [a.target, b.target];
  return (
    of.config.scheduler === next.config.scheduler &&
    sameItems(a.serverSlots, b.serverSlots) &&
    sameItems(of.weights, next.weights) &&
    sameItems(of.reserves, next.reserves) &&
    (of.config === next.config || sameItems(endpointsOf(of), endpointsOf(next)))
  );
}

function endpointsOf({ config }: TargetService): string[] {
  return config.servers.map(({ address, port }) => `${address.text}@${port}`);
}

function sameItems<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function noRoom(capacity: number): FairleadError {
  return new FairleadError('refused', `the scheduler tables do not fit the region's ${capacity} entries`, {
    mend: 'try again in a second, when former tables are free; or use fewer maglev services, or start fairlead anew',
  });
}
