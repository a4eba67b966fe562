import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HealthState } from '../../src/health/dampener.ts';
import { dampen, UNKNOWN } from '../../src/health/dampener.ts';

// Each letter is a result, + ok and - failed; the state after it stands below it: ? unknown, U up, D down.
const cases: { title: string; rise: number; fall: number; results: string; states: string }[] = [
  { title: 'the first success brings a server up at once', rise: 3, fall: 3, results: '+', states: 'U' },
  { title: 'the first failure takes it down at once', rise: 3, fall: 3, results: '-', states: 'D' },
  { title: 'an up server falls after `fall` failures in a row', rise: 2, fall: 3, results: '+---', states: 'UUUD' },
  {
    title: 'a success in between starts the count anew',
    rise: 2,
    fall: 3,
    results: '+--+--+---',
    states: 'UUUUUUUUUD',
  },
  { title: 'a down server rises after `rise` successes in a row', rise: 2, fall: 3, results: '-++', states: 'DDU' },
  { title: 'a failure in between starts that count anew', rise: 3, fall: 1, results: '-++-+++', states: 'DDDDDDU' },
  { title: 'with rise and fall of 1 the state follows each result', rise: 1, fall: 1, results: '+-+-', states: 'UDUD' },
  { title: 'counts do not carry over a change of state', rise: 2, fall: 2, results: '+--+-++', states: 'UUDDDDU' },
];

const letters: Record<HealthState, string> = { unknown: '?', up: 'U', down: 'D' };

for (const { title, rise, fall, results, states } of cases) {
  test(title, () => {
    let damping = UNKNOWN;
    let seen = '';
    for (const result of results) {
      damping = dampen(damping, result === '+', { rise, fall });
      seen += letters[damping.state];
    }
    assert.equal(seen, states);
  });
}

test('a server of which nothing is known is neither up nor down', () => {
  assert.equal(UNKNOWN.state, 'unknown');
});
