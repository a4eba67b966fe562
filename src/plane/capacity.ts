// How large a region is made. Its sizes are fixed for its life, and a successor with other sizes has to make a new one, so
// they depend on the configuration as little as possible: generous constants, and more only for who needs more.

import type { Config } from '../config/config.ts';
import { constants, sections } from '../native/layout.ts';
import { MAGLEV_SIZE } from '../schedule/maglev.ts';
import { configShape } from './config-shape.ts';
import { ENTRIES_OF_PAIR } from './placement.ts';
import type { SectionCounts, SectionName } from './plane.ts';
import type { RegionPlace } from './region-place.ts';

const DEFAULTS = {
  interfaces: 8,
  vips: 8192,
  listens: 16_384,
  ranges: 4096,
  services: 4096,
  sources: 4096,
  servers: 16_384,
  /** Pairs of entries. 16 MiB: 31 Maglev tables, twice over, because a changed one is written beside the old one. */
  tables: 2 * 1024 * 1024,
  /** Ranges of clients: 8 lists of the longest there can be, or many short ones; and two for each nat server. */
  access: 65_536,
} as const;

/** The number of flows that so many slots are for, to within the last bucket. */
export function flowsFor(slots: number): number {
  return Math.floor((slots * 8) / 11);
}

/** Slots for a number of flows, as FL_SLOTS_FOR of native/core/region.h counts them: 11/8, in whole buckets. */
export function slotsFor(flows: number): number {
  return Math.ceil(Math.floor((flows * 11) / 8) / constants.ways) * constants.ways;
}

/** How many clients are remembered, in buckets half full. */
export function stickyClientsOf({ stickyClients, flows }: Config): number {
  return stickyClients ?? Math.ceil(flows / 4);
}

export function countsFor(config: Config, workers: number): SectionCounts {
  const need = configShape(config);
  const slots = slotsFor(config.flows);
  const buckets = slots / constants.ways;
  const services = atLeast(DEFAULTS.services, need.services);
  const servers = atLeast(DEFAULTS.servers, need.servers);
  return {
    header: 1,
    settings: 1,
    interfaces: DEFAULTS.interfaces,
    // Hash tables need air, or an entry lands too far from its home.
    vips: atLeast(DEFAULTS.vips, need.vips * 8),
    listens: atLeast(DEFAULTS.listens, need.listens * 8),
    ranges: atLeast(DEFAULTS.ranges, need.ranges),
    services,
    sources: atLeast(DEFAULTS.sources, need.sources),
    servers,
    tables: atLeast(DEFAULTS.tables, Math.ceil((need.maglevs * MAGLEV_SIZE * 2 + need.servers * 4) / ENTRIES_OF_PAIR)),
    hops: servers,
    service_state: services,
    server_state: servers,
    workers,
    traffic: workers * servers,
    tags: buckets,
    flows: slots,
    flows6: slots,
    returns: buckets,
    limits: services,
    access: atLeast(DEFAULTS.access, need.access),
    datagrams: constants.datagrams,
    trails: constants.trails,
    clients: constants.clients,
    stickies: Math.ceil(stickyClientsOf(config) / constants.stickyClients),
  };
}

function atLeast(usual: number, needed: number): number {
  let size = usual;
  while (size < needed) size *= 2;
  return size;
}

/** Octets of sections, both halves. */
export function octetsOf(counts: SectionCounts, names: readonly SectionName[]): number {
  return names.reduce((sum, name) => sum + counts[name] * sections[name].element * sections[name].halves, 0);
}

/** The guard's map in the kernel holds a word for each slot (native/engine/guard.h). */
const CLAIM = 8;

/**
 * What the region costs, for an operator: "1,048,576 flows: 102 MiB and 11 MiB of the guard, IPv6 another 88 MiB when
 * used; configuration …". All of it is taken when the region is made, but for the IPv6 half of the flows and the scheduler
 * tables of a file (region.c); BPF maps are taken whole, and have no guard.
 */
export function describeMemory(flows: number, counts: SectionCounts, backing: RegionPlace['backing'] = 'file'): string {
  const table: readonly SectionName[] = ['tags', 'flows', 'returns'];
  const later: readonly SectionName[] = ['flows6', 'stickies', 'tables'];
  const rest = (Object.keys(sections) as SectionName[]).filter(
    (name) => !table.includes(name) && !later.includes(name),
  );
  const size = (names: readonly SectionName[]): string => formatOctets(octetsOf(counts, names));
  const table4 = `${flows.toLocaleString('en')} flows: ${size(table)}`;
  const table6 = `IPv6 another ${size(['flows6'])}`;
  const sticky = `remembered clients ${size(['stickies'])}`;
  const others = `configuration and counters ${size(rest)}, scheduler tables`;
  const guard = formatOctets(counts.flows * CLAIM);
  return backing === 'file'
    ? `${table4} and ${guard} of the guard, ${table6} and ${sticky} when used; ${others} up to ${size(['tables'])}`
    : `${table4}, ${table6}, ${sticky}; ${others} ${size(['tables'])}`;
}

/** "92 MiB", "1.5 GiB": three figures at most. */
export function formatOctets(octets: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = octets;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
