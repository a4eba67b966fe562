import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import { apportion } from '../../src/schedule/apportion.ts';

test('exact shares are left alone', () => {
  assert.deepEqual(apportion([1, 2, 3], 12), [2, 4, 6]);
});

test('the largest remainders get the seats left over, the earlier one on a tie', () => {
  assert.deepEqual(apportion([1, 1, 1], 4), [2, 1, 1]);
  assert.deepEqual(apportion([5, 3, 1], 10), [6, 3, 1]);
});

test('a share below one becomes one, at the cost of the others in proportion', () => {
  assert.deepEqual(apportion([1000, 1, 1000, 0], 11), [5, 1, 5, 0]);
});

test('all seats are given out, and nobody with weight goes without', () => {
  const { fraction: random } = randomOf(4);
  for (let round = 0; round < 300; round++) {
    const weights = Array.from({ length: 1 + Math.floor(random() * 40) }, () => Math.floor(random() ** 6 * 65_536));
    weights[0] = 1;
    const seats = weights.length + Math.floor(random() * 500);
    const shares = apportion(weights, seats);
    assert.equal(
      shares.reduce((a, b) => a + b, 0),
      seats,
      `${weights.join(', ')} on ${seats}`,
    );
    shares.forEach((share, i) => assert.equal(share > 0, weights[i]! > 0));
  }
});

test('more weights than seats are refused', () => {
  assert.throws(() => apportion([1, 1, 1], 2), RangeError);
});
