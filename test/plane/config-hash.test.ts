import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from '../../src/net/address.ts';
import { addressWords, configHash, placeAll, portAndProtocol } from '../../src/plane/config-hash.ts';

// Printed by a C program over fl_config_hash of native/core/hash.h.
const HASHES = {
  vip: 3166345800,
  listen: 1573497672,
  v6: 4017253926,
};
test('every entry lies within eight slots of its home, wrapping around, however many there are', () => {
  for (const count of [1, 4, 5, 100, 1000, 3000]) {
    const entries = Array.from({ length: count }, (_, i) =>
      addressWords(parseAddress(`10.${(i >> 8) & 255}.${i & 255}.7`)!),
    );
    const table = placeAll(entries, (words) => configHash(words, 0), 65_536);
    assert.ok(table !== null);
    assert.equal(table.slots.length, table.mask + 1);
    assert.equal(Math.log2(table.slots.length) % 1, 0);
    for (const words of entries) {
      const home = configHash(words, 0);
      const near = Array.from({ length: 8 }, (_, i) => table.slots[(home + i) & table.mask]);
      assert.ok(near.includes(words), `entry ${words.join(' ')} of ${count} is not near its home`);
    }
  }
});

test('a table that would outgrow its capacity is refused', () => {
  assert.equal(
    placeAll(
      Array.from({ length: 9 }, (_, i) => i),
      () => 0,
      1024,
    ),
    null,
  );
  assert.equal(
    placeAll([1, 2, 3, 4, 5], (entry) => entry, 8),
    null,
  );
});

test('the hash is the one of native/core/hash.h', () => {
  assert.equal(configHash(addressWords(parseAddress('203.0.113.10')!), 0), HASHES.vip);
  assert.equal(configHash(addressWords(parseAddress('203.0.113.10')!), portAndProtocol(80, 6)), HASHES.listen);
  assert.equal(configHash(addressWords(parseAddress('2001:db8::10')!), portAndProtocol(53, 17)), HASHES.v6);
});
