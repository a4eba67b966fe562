// Reads the placement back from the active half of a region that a predecessor left, so that every server keeps its slot
// and generation, and with them every flow lives on.

import { constants, layout } from '../native/layout.ts';
import type { Plane } from './plane.ts';
import { emptyPlacement, ENTRIES_OF_PAIR, type PlacedTable, type Placement } from './placement.ts';
import { activeHalf, halfOf } from './sections.ts';
import type { Slot } from './slots.ts';
import { makeTablePool } from './table-pool.ts';

export function readPlacement(plane: Plane): Placement {
  const half = activeHalf(plane);
  if (half.generation === 0) return emptyPlacement(plane.counts.tables);
  const services = readServiceSlots(halfOf(plane, 'services', half.index));
  const tables = readTables(plane, half.index);
  const extents = [...tables.values()].map(({ extent }) => extent);
  return {
    services,
    servers: readServerSlots(halfOf(plane, 'servers', half.index)),
    tables,
    pool: makeTablePool(plane.counts.tables * ENTRIES_OF_PAIR, extents),
    made: null,
  };
}

function readServiceSlots(view: DataView): Slot[] {
  const { octets, id, method } = layout.fl_service;
  const slots: Slot[] = [];
  for (let at = 0; at < view.byteLength; at += octets) {
    const isUsed = view.getUint8(at + method) !== 0;
    slots.push({ id: isUsed ? view.getBigUint64(at + id, true) : 0n, generation: 1 });
  }
  return trimSlots(slots, (slot) => slot.id !== 0n);
}

function readServerSlots(view: DataView): Slot[] {
  const { octets, id, flags, generation } = layout.fl_server;
  const slots: Slot[] = [];
  for (let at = 0; at < view.byteLength; at += octets) {
    const bits = view.getUint16(at + flags, true);
    slots.push({
      id: (bits & constants.serverUsed) === 0 ? 0n : view.getBigUint64(at + id, true),
      generation: view.getUint32(at + generation, true),
      ...((bits & constants.serverEnded) === 0 ? {} : { hasEnded: true }),
    });
  }
  return trimSlots(slots, (slot) => slot.id !== 0n || slot.generation > 0);
}

function trimSlots(slots: readonly Slot[], isTaken: (slot: Slot) => boolean): Slot[] {
  const used = slots.slice(0, slots.findLastIndex(isTaken) + 1);
  return used.map((slot) => (slot.generation === 0 ? { ...slot, generation: 1 } : slot));
}

function readTables(plane: Plane, halfIndex: number): Map<number, PlacedTable> {
  const view = halfOf(plane, 'services', halfIndex);
  const entries = new Uint32Array(plane.section('tables'));
  const { octets, method, table_first, table_count, member_count, reserve_count } = layout.fl_service;
  const tables = new Map<number, PlacedTable>();
  for (let at = 0; at < view.byteLength; at += octets) {
    if (view.getUint8(at + method) === 0) continue;
    const tableCount = view.getUint32(at + table_count, true);
    const memberCount = view.getUint32(at + member_count, true);
    // Members and reserves lie right behind the table: see PlacedTable.
    const count = tableCount + memberCount + view.getUint32(at + reserve_count, true);
    const first = count === 0 ? 0 : view.getUint32(at + table_first, true);
    const content = entries.slice(first, first + count);
    const extent = { first, count: count + (count & 1) };
    tables.set(at / octets, { extent, tableCount, memberCount, content, madeFrom: null });
  }
  return tables;
}
