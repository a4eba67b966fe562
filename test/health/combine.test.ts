import assert from 'node:assert/strict';
import { test } from 'node:test';
import { combine } from '../../src/health/combine.ts';
import type { MemberState } from '../../src/health/check.ts';

const states: Record<string, MemberState> = { U: 'up', D: 'down', '?': 'unknown', d: 'doubted' };

// Checks of a server, then what they say together when all must be good and when any one will do.
for (const [checks, all, any] of [
  ['U', 'up', 'up'],
  ['D', 'down', 'down'],
  ['?', 'unknown', 'unknown'],
  ['UU', 'up', 'up'],
  ['UD', 'down', 'up'],
  ['DD', 'down', 'down'],
  ['U?', 'unknown', 'up'],
  ['D?', 'down', 'unknown'],
  ['Ud', 'doubted', 'up'],
  ['Dd', 'down', 'doubted'],
  ['?d', 'unknown', 'doubted'],
  ['U?d', 'unknown', 'up'],
] as const) {
  test(`checks that say ${checks} are ${all} together, and ${any} as alternatives`, () => {
    const given = Array.from(checks, (letter) => states[letter]!);
    assert.equal(combine('all', given).state, all);
    assert.equal(combine('any', given).state, any);
  });
}

test('the check that decides is named', () => {
  assert.equal(combine('all', ['up', 'down', 'down']).decidedBy, 1);
  assert.equal(combine('any', ['down', 'down', 'up']).decidedBy, 2);
});
