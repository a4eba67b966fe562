import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import { hash32 } from '../../src/schedule/hash.ts';
import type { WeightedServer } from '../../src/schedule/maglev.ts';
import { buildMaglev, MAGLEV_SIZE, START_SEED, STRIDE_SEED } from '../../src/schedule/maglev.ts';
import { countPicks, makeServers, shuffled } from './generate.ts';

const { fraction: random } = randomOf(20_161);
const weightTo = (limit: number) => () => 1 + Math.floor(random() * limit);

const sets: Record<string, WeightedServer[]> = {
  '2 equal': makeServers(2),
  '10 equal': makeServers(10),
  '10 of weight 1 to 100': makeServers(10, weightTo(100)),
  '100 equal': makeServers(100),
  '100 of weight 1 to 10': makeServers(100, weightTo(10)),
  '300 equal': makeServers(300),
  '500 equal': makeServers(500),
  '1,000 equal': makeServers(1000),
  '1,000 of weight 1 to 100': makeServers(1000, weightTo(100)),
  'one of 65,535 among 999 of 1': makeServers(1000, (index) => (index === 500 ? 65_535 : 1)),
};

for (const [name, servers] of Object.entries(sets)) {
  test(`${name}: every slot is filled and the shares follow the weights`, () => {
    const table = buildMaglev(servers);
    assert.equal(table.length, MAGLEV_SIZE);
    const sum = servers.reduce((total, server) => total + server.weight, 0);
    countPicks(table, servers.length).forEach((count, index) => {
      const ideal = (servers[index]!.weight / sum) * MAGLEV_SIZE;
      // 1 % of the share, but a share is a whole number of slots, and at least one.
      const allowed = Math.max(1, 0.01 * ideal);
      assert.ok(
        Math.abs(count - ideal) <= allowed,
        `server ${index}: ${count} slots for a share of ${ideal.toFixed(2)}`,
      );
    });
  });

  test(`${name}: removing a server moves at most 1 % of the slots beyond its own`, () => {
    const before = buildMaglev(servers);
    for (const removed of [0, Math.floor(servers.length / 3), servers.length - 1]) {
      const after = buildMaglev(servers.map((server, i) => (i === removed ? { ...server, weight: 0 } : server)));
      const moved = before.filter((owner, slot) => owner !== removed && owner !== after[slot]).length;
      assert.ok(moved <= 0.01 * MAGLEV_SIZE, `without server ${removed}: ${moved} slots moved`);
      assert.ok(!after.includes(removed));
    }
  });
}

test('the order in which servers are given does not matter', () => {
  const servers = sets['1,000 of weight 1 to 100']!;
  const other = shuffled(servers, random);
  const ids = (list: WeightedServer[]) => Array.from(buildMaglev(list), (index) => list[index]!.id);
  assert.deepEqual(ids(other), ids(servers));
});

test('servers whose hashes collide are still placed the same whatever their order', () => {
  const pair = ['10.1.36.229:80', '10.1.99.3:80'];
  assert.equal(hash32(pair[0]!, START_SEED), hash32(pair[1]!, START_SEED));
  const forward = [...pair, 'another'].map((id) => ({ id, weight: 2 }));
  const backward = forward.toReversed();
  const ids = (list: WeightedServer[]) => Array.from(buildMaglev(list, 1009), (index) => list[index]!.id);
  assert.deepEqual(ids(backward), ids(forward));
});

test('a changed weight moves little more than what the server gains', () => {
  const servers = sets['100 of weight 1 to 10']!;
  const heavier = servers.map((server, i) => (i === 42 ? { ...server, weight: server.weight + 5 } : server));
  const [before, after] = [buildMaglev(servers), buildMaglev(heavier)];
  const gained = countPicks(after, 100)[42]! - countPicks(before, 100)[42]!;
  const moved = before.filter((owner, slot) => owner !== after[slot]).length;
  assert.ok(gained > 0);
  assert.ok(moved <= gained + 0.01 * MAGLEV_SIZE, `${moved} slots moved for ${gained} gained`);
});

test('a server of weight 0 gets nothing, as if it were not in the list', () => {
  const servers = makeServers(20, (index) => index % 3);
  const weighted = servers.filter((server) => server.weight > 0);
  const ids = (list: WeightedServer[]) => Array.from(buildMaglev(list), (index) => list[index]!.id);
  assert.deepEqual(ids(servers), ids(weighted));
});

test('no server, or only servers of weight 0, give an empty table', () => {
  assert.equal(buildMaglev([]).length, 0);
  assert.equal(buildMaglev(makeServers(5, () => 0)).length, 0);
});

test('a single server owns every slot, whatever its weight and the size', () => {
  for (const size of [2, 3, 191, 193, 251, 65_537]) {
    assert.deepEqual(buildMaglev([{ id: 'only', weight: 7 }], size), new Uint32Array(size));
  }
});

test('any weight above 0 gets a slot while there are slots', () => {
  const servers = makeServers(200, (index) => (index === 0 ? 65_535 : 1));
  assert.ok(countPicks(buildMaglev(servers, 251), 200).every((count) => count >= 1));
  const crowd = countPicks(buildMaglev(makeServers(1000), 251), 1000);
  assert.equal(crowd.filter((count) => count === 1).length, 251);
});

test('the slots are those of the published algorithm', () => {
  // The paper's listing, word for word; with equal weights its rounds and our turns are the same.
  const servers = makeServers(50);
  const size = 1009;
  const walks = servers.map(({ id }, server) => ({
    server,
    rank: hash32(id, START_SEED),
    at: hash32(id, START_SEED) % size,
    stride: 1 + (hash32(id, STRIDE_SEED) % (size - 1)),
  }));
  walks.sort((a, b) => a.rank - b.rank);
  const expected = Array.from({ length: size }, () => -1);
  for (let filled = 0; filled < size; ) {
    for (const walk of walks) {
      if (filled === size) break;
      while (expected[walk.at] !== -1) walk.at = (walk.at + walk.stride) % size;
      expected[walk.at] = walk.server;
      filled++;
    }
  }
  assert.deepEqual([...buildMaglev(servers, size)], expected);
});

test('a size that is not prime is refused', () => {
  for (const size of [0, 1, 4, 65_536, 1.5, Number.NaN]) {
    assert.throws(() => buildMaglev(makeServers(2), size), { name: 'RangeError', message: /prime/ });
  }
});
