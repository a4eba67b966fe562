import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import { buildSequence, SEQUENCE_LIMIT } from '../../src/schedule/sequence.ts';
import { countPicks } from './generate.ts';

const cycles: { weights: number[]; sequence: number[] }[] = [
  { weights: [], sequence: [] },
  { weights: [0, 0], sequence: [] },
  { weights: [7], sequence: [0] },
  { weights: [1, 1, 1], sequence: [0, 1, 2] },
  { weights: [10, 10], sequence: [0, 1] },
  { weights: [2, 1], sequence: [0, 1, 0] },
  { weights: [1, 2], sequence: [1, 0, 1] },
  { weights: [4, 0, 2], sequence: [0, 2, 0] },
  { weights: [5, 1, 1], sequence: [0, 0, 0, 1, 0, 2, 0] },
];

for (const { weights, sequence } of cycles) {
  test(`weights ${JSON.stringify(weights)} give the cycle ${JSON.stringify(sequence)}`, () => {
    assert.deepEqual([...buildSequence(weights)], sequence);
  });
}

test('one cycle holds each server exactly as often as its weight says', () => {
  const { fraction: random } = randomOf(1);
  for (let round = 0; round < 200; round++) {
    const weights = Array.from({ length: 1 + Math.floor(random() * 30) }, () => Math.floor(random() * 12));
    const counts = countPicks(buildSequence([...weights, 1]), weights.length + 1);
    assert.deepEqual(counts, [...weights, 1]);
  }
});

test('after any number of picks no server is a whole pick ahead of or behind its share', () => {
  const { fraction: random } = randomOf(2);
  for (let round = 0; round < 100; round++) {
    const weights = Array.from({ length: 2 + Math.floor(random() * 20) }, () => 1 + Math.floor(random() ** 4 * 400));
    const sequence = buildSequence(weights);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const picked = weights.map(() => 0);
    sequence.forEach((server, slot) => {
      picked[server]! += 1;
      weights.forEach((weight, i) => {
        const lag = ((slot + 1) * weight) / sum - picked[i]!;
        assert.ok(
          Math.abs(lag) < 1,
          `weights ${weights.join(', ')}: server ${i} is ${lag} picks behind after ${slot + 1}`,
        );
      });
    });
  }
});

test('weights with a common divisor share the short cycle', () => {
  assert.deepEqual(buildSequence([30_000, 20_000, 0]), buildSequence([3, 2, 0]));
});

test('a cycle that would be too long is scaled down: shares stay within one pick, nobody is lost', () => {
  const { fraction: random } = randomOf(3);
  for (const count of [2, 3, 100, 5000]) {
    const weights = Array.from({ length: count }, (_, i) => (i === 0 ? 65_535 : Math.floor(random() * 65_536)));
    const sequence = buildSequence(weights);
    assert.ok(sequence.length <= SEQUENCE_LIMIT, `${sequence.length} slots`);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    countPicks(sequence, count).forEach((picks, i) => {
      const ideal = (weights[i]! / sum) * sequence.length;
      if (weights[i] === 0) assert.equal(picks, 0);
      else assert.ok(picks >= 1);
      // One pick of rounding, and what those raised to one pick take from the others.
      const allowed = 1 + 0.01 * ideal;
      assert.ok(picks <= allowed + ideal && picks >= ideal - allowed, `server ${i}: ${picks} picks for ${ideal}`);
    });
  }
});

test('a weight of 1 beside 65,535 keeps its pick', () => {
  const counts = countPicks(buildSequence([65_535, 1, 65_535]), 3);
  assert.equal(counts[1], 1);
  assert.ok(Math.abs(counts[0]! - counts[2]!) <= 1);
});

test('more servers than the limit still all appear once', () => {
  const count = SEQUENCE_LIMIT + 10;
  const counts = countPicks(buildSequence(Array.from({ length: count }, (_, i) => 1 + (i % 7))), count);
  assert.ok(counts.every((picks) => picks === 1));
});
