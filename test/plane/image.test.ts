import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairleadError } from '../../src/base/errors.ts';
import type { Config } from '../../src/config/config.ts';
import { constants, layout } from '../../src/native/layout.ts';
import { parseAddress } from '../../src/net/address.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { addressWords, configHash, portAndProtocol, swap16 } from '../../src/plane/config-hash.ts';
import { planImage } from '../../src/plane/image.ts';
import { ticksFor } from '../../src/plane/image-writer.ts';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { emptyPlacement, type Placement } from '../../src/plane/placement.ts';
import type { Plane } from '../../src/plane/plane.ts';
import { activeHalfOf } from '../../src/plane/sections.ts';
import { configOf, targetOf, WEB } from './targets.ts';

interface Committed {
  readonly plane: Plane;
  readonly placement: Placement;
}

function commit(config: Config, before?: Committed, weights: Record<string, number> = {}, nowMs = 0): Committed {
  const plane = before?.plane ?? makeMemoryPlane(smallCounts(4096, 1), 1);
  const placement = before?.placement ?? emptyPlacement(plane.counts.tables);
  const generation = Number(new DataView(plane.section('header')).getBigUint64(layout.fl_header.generation, true));
  const planned = planImage(targetOf(config, weights), placement, plane.counts, { generation, nowMs });
  plane.commit(planned.image);
  return { plane, placement: planned.placement };
}

/** What the core does to find a service: fl_service_find of native/core/forward.h. */
function findService(plane: Plane, vip: string, port: number, protocol: number): number | null {
  const words = addressWords(parseAddress(vip)!);
  const settings = activeHalfOf(plane, 'settings');
  const listens = activeHalfOf(plane, 'listens');
  const home = configHash(words, portAndProtocol(port, protocol));
  for (let i = 0; i < constants.probes; i++) {
    const slot = (home + i) & settings.getUint32(layout.fl_settings.listen_mask, true);
    const at = slot * layout.fl_listen.octets;
    if ((listens.getUint8(at + layout.fl_listen.flags) & constants.listenUsed) === 0) return null;
    const same = words.every((word, n) => listens.getUint32(at + layout.fl_listen.addr + 4 * n, true) === word >>> 0);
    const isPort = listens.getUint16(at + layout.fl_listen.port, true) === swap16(port);
    if (same && isPort && listens.getUint8(at + layout.fl_listen.protocol) === protocol) {
      return listens.getUint32(at + layout.fl_listen.service, true);
    }
  }
  return null;
}

function tableOf(plane: Plane, service: number): { table: number[]; members: number[] } {
  const view = activeHalfOf(plane, 'services');
  const tables = new Uint32Array(plane.section('tables'));
  const field = (name: 'table_first' | 'table_count' | 'member_first' | 'member_count'): number =>
    view.getUint32(service * layout.fl_service.octets + layout.fl_service[name], true);
  return {
    table: [...tables.subarray(field('table_first'), field('table_first') + field('table_count'))],
    members: [...tables.subarray(field('member_first'), field('member_first') + field('member_count'))],
  };
}

function serverAt(plane: Plane, slot: number) {
  const view = activeHalfOf(plane, 'servers');
  const at = slot * layout.fl_server.octets;
  return {
    address: Array.from({ length: 4 }, (_, i) => view.getUint8(at + layout.fl_server.addr + i)).join('.'),
    port: view.getUint16(at + layout.fl_server.port),
    isUsed: (view.getUint16(at + layout.fl_server.flags, true) & constants.serverUsed) !== 0,
    generation: view.getUint32(at + layout.fl_server.generation, true),
    service: view.getUint32(at + layout.fl_server.service, true),
    weight: view.getUint32(at + layout.fl_server.weight, true),
  };
}

test('a service is found by its address and port, and its table gives servers their shares', () => {
  const { plane } = commit(configOf(WEB));
  const service = findService(plane, '203.0.113.10', 80, 6);
  assert.equal(service, 0);
  const { table, members } = tableOf(plane, 0);
  const address = (slot: number): string => serverAt(plane, slot).address;
  assert.deepEqual(table.map(address).toSorted(), ['10.0.1.11', '10.0.1.12', '10.0.1.12', '10.0.1.12']);
  assert.deepEqual(members.map(address), ['10.0.1.11', '10.0.1.12']);
  assert.deepEqual(serverAt(plane, members[0]!), {
    address: '10.0.1.11',
    port: 8080,
    isUsed: true,
    generation: 1,
    service: 0,
    weight: 1,
  });
  assert.equal(findService(plane, '203.0.113.10', 81, 6), null);
  assert.equal(findService(plane, '203.0.113.10', 80, 17), null);
});

test('a hundred listens are all found, each in its service', () => {
  const listens = Array.from({ length: 50 }, (_, i) => `203.0.113.${i + 1}`);
  const services = listens.map(
    (vip, i) =>
      `  s${i}: { listen: ["${vip}:53/udp", "${vip}:53/tcp"], method: full-nat, check: none, servers: { a: 10.0.1.1 } }`,
  );
  const { plane } = commit(configOf(services.join('\n')));
  for (const [index, vip] of listens.entries()) {
    assert.equal(findService(plane, vip, 53, 17), index);
    assert.equal(findService(plane, vip, 53, 6), index);
  }
});

test('port ranges of an address stand narrowest first', () => {
  const { plane } = commit(
    configOf(`
  any: { listen: 203.0.113.10:*/tcp, method: full-nat, check: none, servers: { a: 10.0.1.1 } }
  some: { listen: 203.0.113.10:8000-8099/tcp, method: full-nat, check: none, servers: { a: 10.0.1.1 } }
`),
  );
  const ranges = activeHalfOf(plane, 'ranges');
  const read = (index: number): number[] => {
    const at = index * layout.fl_range.octets;
    const { first_host, last_host, service } = layout.fl_range;
    return [
      ranges.getUint16(at + first_host, true),
      ranges.getUint16(at + last_host, true),
      ranges.getUint32(at + service, true),
    ];
  };
  assert.deepEqual(
    [read(0), read(1)],
    [
      [8000, 8099, 1],
      [1, 65_535, 0],
    ],
  );
});

test('a server that is taken out and put back keeps every other server where it was', () => {
  const three = configOf(WEB.replace('web-2:', 'web-3: 10.0.1.13:8080\n      web-2:'));
  const first = commit(three);
  const slots = tableOf(first.plane, 0).members;
  const second = commit(configOf(WEB), first);
  const third = commit(three, second);
  const after = tableOf(third.plane, 0).members;
  assert.deepEqual(after, slots);
  assert.deepEqual(
    after.map((slot) => serverAt(third.plane, slot).generation),
    [1, 2, 1],
  );
});

test('a weight of zero takes a server out of the table but leaves its slot in use', () => {
  const first = commit(configOf(WEB));
  const { plane } = commit(configOf(WEB), first, { 'web/web-1': 0 });
  assert.deepEqual(
    tableOf(plane, 0).members.map((slot) => serverAt(plane, slot).address),
    ['10.0.1.12'],
  );
  assert.equal(serverAt(plane, 0).isUsed, true);
  assert.equal(serverAt(plane, 0).generation, 1);
});

test('another scheduler changes the table and no server', () => {
  const first = commit(configOf(WEB));
  const before = [serverAt(first.plane, 0), serverAt(first.plane, 1)];
  const { plane } = commit(configOf(WEB.replace('wrr', 'maglev')), first);
  assert.equal(tableOf(plane, 0).table.length, 65_537);
  assert.deepEqual([serverAt(plane, 0), serverAt(plane, 1)], before);
});

test('an unchanged table stays where it is, and a changed one is written beside it', () => {
  const first = commit(configOf(WEB));
  const again = commit(configOf(WEB), first);
  const changed = commit(configOf(WEB), again, { 'web/web-1': 2 });
  const extent = (placement: Placement) => [...placement.tables.values()][0]!.extent;
  assert.deepEqual(extent(again.placement), extent(first.placement));
  assert.notEqual(extent(changed.placement).first, extent(first.placement).first);
});

test('an image carries only the tables that changed', () => {
  const { plane, placement } = commit(configOf(WEB.replace('wrr', 'maglev')));
  const size = (config: Config): number =>
    planImage(targetOf(config), placement, plane.counts, { generation: 1, nowMs: 0 }).image.byteLength;
  const whole = size(configOf(WEB.replace('wrr', 'sh')));
  const same = size(configOf(WEB.replace('wrr', 'maglev')));
  // What is left of it is the other sections; the four entries of sh and two members make the difference.
  assert.equal(whole - same, 16 + 4 * (4 + 2));
});

test('a successor reads back the placement that its predecessor committed', () => {
  const first = commit(configOf(WEB));
  const second = commit(
    configOf(`${WEB}
  dns: { listen: 203.0.113.53:53/udp, method: full-nat, source: 203.0.113.60, servers: { ns-1: 10.0.1.21 } }
`),
    first,
  );
  const third = commit(configOf(WEB), second);
  const read = readPlacement(third.plane);
  assert.deepEqual(read.servers, third.placement.servers);
  assert.deepEqual(read.pool.inUse, third.placement.pool.inUse);
  assert.deepEqual(
    read.services.filter(({ id }) => id !== 0n),
    third.placement.services.filter(({ id }) => id !== 0n),
  );
  const successor = planImage(targetOf(configOf(WEB)), read, third.plane.counts, { generation: 3, nowMs: 0 });
  assert.deepEqual(
    [...successor.placement.tables.values()].map(({ extent }) => extent),
    third.placement.pool.inUse,
  );
});

test('more than the region holds is refused in words with the mend', () => {
  const servers = Array.from({ length: 300 }, (_, i) => `a${i}: 10.0.${i >> 8}.${i & 255}`);
  const config = configOf(
    `  s: { listen: 203.0.113.10:80/tcp, method: full-nat, servers: { ${servers.slice(1).join(', ')} } }`,
  );
  assert.throws(
    () => commit(config),
    (error) =>
      error instanceof FairleadError &&
      error.code === 'refused' &&
      error.message.includes('299 servers do not fit this region, which holds 256'),
  );
});

test('full-nat leaves from its VIP, or from its pool, and both are owned', () => {
  const { plane } = commit(
    configOf(`
  own: { listen: 203.0.113.10:80/tcp, method: full-nat, servers: { a: 10.0.1.1 } }
  pool: { listen: 203.0.113.11:80/tcp, method: full-nat, source: 203.0.113.60-203.0.113.61, servers: { a: 10.0.1.1 } }
`),
  );
  const vips = activeHalfOf(plane, 'vips');
  const flags = new Map<string, number>();
  for (let at = 0; at < 16 * layout.fl_vip.octets; at += layout.fl_vip.octets) {
    const address = Array.from({ length: 4 }, (_, i) => vips.getUint8(at + i)).join('.');
    flags.set(address, vips.getUint32(at + layout.fl_vip.flags, true) & ~constants.vipUsed);
  }
  flags.delete('0.0.0.0');
  assert.deepEqual(Object.fromEntries([...flags].toSorted(([a], [b]) => a.localeCompare(b))), {
    '203.0.113.10': constants.vipListens | constants.vipSource,
    '203.0.113.11': constants.vipListens,
    '203.0.113.60': constants.vipSource,
    '203.0.113.61': constants.vipSource,
  });
});

test('time-outs are ticks, rounded up, so that no flow dies early', () => {
  const { plane } = commit(configOf(WEB));
  const settings = activeHalfOf(plane, 'settings');
  const established = settings.getUint32(layout.fl_settings.timeout + 4 * 4, true);
  assert.equal(established, ticksFor(7_440_000));
  assert.ok((established * 2 ** 27) / 1e9 >= 7440);
  assert.ok(((established - 1) * 2 ** 27) / 1e9 < 7440);
});

/** Where ranges begin, and whether nat servers are in them. */
function natRangesOf(plane: Plane, family: 0 | 1): string[] {
  const [settings, access] = [activeHalfOf(plane, 'settings'), activeHalfOf(plane, 'access')];
  const first = settings.getUint32(layout.fl_settings.nat_first + 4 * family, true);
  const count = settings.getUint32(layout.fl_settings.nat_count + 4 * family, true);
  return Array.from({ length: count }, (_, index) => {
    const at = (first + index) * layout.fl_access.octets;
    const words = [0, 1, 2, 3].map((word) => access.getUint32(at + layout.fl_access.first_host + 4 * word, true));
    const isServer = access.getUint32(at + layout.fl_access.is_allowed, true) === 1;
    return `${words.map((word) => word.toString(16)).join(' ')} ${isServer ? 'servers' : 'others'}`;
  });
}

test('the addresses of nat servers are ranges, behind those of clients', () => {
  const service = (name: string, listen: string, method: string, servers: string): string => `  ${name}:
    listen: "${listen}:80/tcp"
    method: ${method}
    check: none
    servers: { ${servers} }
`;
  const { plane } = commit(
    configOf(`
${service('a', '203.0.113.10', 'nat', 'x: "10.0.1.12:80", y: "10.0.1.11:80", z: "10.0.1.20:80"')}    deny: [198.51.100.0/24]
${service('b', '203.0.113.11', 'nat', 'x: "10.0.1.12:81", y: "10.0.0.255:80"')}
${service('c', '203.0.113.12', 'full-nat', 'x: "10.0.1.15:80"')}
${service('d', '[2001:db8::10]', 'nat', 'x: "[fd00::1:ffff]:80", y: "[fd00::2:0]:80"')}`),
  );
  assert.deepEqual(natRangesOf(plane, 0), [
    '0 0 0 0 others',
    'a0000ff 0 0 0 servers',
    'a000100 0 0 0 others',
    'a00010b 0 0 0 servers',
    'a00010d 0 0 0 others',
    'a000114 0 0 0 servers',
    'a000115 0 0 0 others',
  ]);
  assert.deepEqual(natRangesOf(plane, 1), [
    '0 0 0 0 others',
    'fd000000 0 0 1ffff servers',
    'fd000000 0 0 20001 others',
  ]);
  const { plane: without } = commit(configOf(service('c', '203.0.113.12', 'full-nat', 'x: "10.0.1.15:80"')));
  assert.deepEqual([natRangesOf(without, 0), natRangesOf(without, 1)], [[], []]);
});
