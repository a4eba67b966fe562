import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Decision, decideService, type ServerInput } from '../../src/control/decide.ts';
import type { ServerHealth } from '../../src/control/health.ts';
import { configOf } from '../plane/targets.ts';

const HEALTH: Record<string, ServerHealth> = { U: 'up', D: 'down', '?': 'unknown', d: 'doubted', '-': 'unchecked' };

const up: ServerInput = {
  override: { admin: 'enabled', weight: null },
  health: 'up',
  advice: null,
  isEjected: false,
  isOverdue: false,
  share: 1,
};

function decide(options: string, weights: number[], backups: number[], inputs: readonly ServerInput[]): Decision {
  const list = (prefix: string, all: number[]): string =>
    all
      .map((weight, i) => `${prefix}${i}: { address: 10.0.${prefix === 'a' ? 1 : 2}.${i + 1}, weight: ${weight} }`)
      .join(', ');
  const backup = backups.length === 0 ? '' : `backup: { ${list('b', backups)} },`;
  const [service] = configOf(
    `\n  web: { listen: 203.0.113.10:80/tcp, method: nat, ${options} ${backup} servers: { ${list('a', weights)} } }\n`,
  ).services;
  return decideService(service!, inputs);
}

const withHealth = (letters: string): ServerInput[] =>
  Array.from(letters, (letter) => ({ ...up, health: HEALTH[letter]! }));

// Health of the ordinary servers, then of the backups; the weights that come of it; what else is so.
for (const { title, options = '', servers, backups = '', weights, also = '' } of [
  { title: 'servers that are up are used by their weight', servers: 'U-D?', weights: '1 2 0 0' },
  { title: 'backups rest while a server is up', servers: 'UD', backups: 'U', weights: '1 0 0' },
  { title: 'backups join when none is up', servers: 'D?', backups: 'UD', weights: '0 0 1 0', also: 'backup' },
  {
    title: 'backups join those that are left when fewer than min-up are up',
    options: 'min-up: 2,',
    servers: 'UD',
    backups: 'U',
    weights: '1 0 1',
    also: 'backup',
  },
  { title: 'nobody is used when nobody is up', servers: 'DD', weights: '0 0' },
  {
    title: 'in panic all are used rather than none',
    options: 'panic: true,',
    servers: 'D?',
    weights: '1 2',
    also: 'panic',
  },
  {
    title: 'panic comes when the backups are not enough either, and uses them too',
    options: 'min-up: 3, panic: true,',
    servers: 'UDD',
    backups: 'U',
    weights: '1 2 3 1',
    also: 'backup panic',
  },
  {
    title: 'backups that are enough keep panic away',
    options: 'min-up: 2, panic: true,',
    servers: 'UDD',
    backups: 'U',
    weights: '1 0 0 1',
    also: 'backup',
  },
  { title: 'a doubted server waits while another is surely up', servers: 'dU', weights: '0 2' },
  { title: 'a doubted server is used when nobody is surely up', servers: 'dD', weights: '1 0' },
  { title: 'all that are doubted are used together', servers: 'dd', backups: 'D', weights: '1 2 0' },
]) {
  test(title, () => {
    const configured = Array.from(servers, (_, i) => i + 1);
    const decision = decide(
      options,
      configured,
      Array.from(backups, (_, i) => i + 1),
      withHealth(servers + backups),
    );
    assert.equal(decision.weights.join(' '), weights);
    assert.equal(decision.scale, 1);
    assert.equal(`${decision.areBackupsUsed ? 'backup ' : ''}${decision.isPanic ? 'panic' : ''}`.trim(), also);
  });
}

test('an operator takes a server out whatever checks say, in panic too, and sets its weight', () => {
  const override = (admin: ServerInput['override']['admin'], weight: number | null = null) => ({
    ...up,
    override: { admin, weight },
  });
  const inputs = [override('drained'), override('maintenance'), override('enabled', 7)];
  assert.deepEqual(decide('', [1, 1, 1], [], inputs).weights, [0, 0, 7]);
  const down = inputs.map((input) => ({ ...input, health: 'down' as const }));
  assert.deepEqual(decide('panic: true,', [1, 1, 1], [], down).weights, [0, 0, 7]);
});

test("an agent's percentage scales the weight, and a little of it is not nothing; its wish to rest is obeyed", () => {
  const advised = (weight: number | null, admin: 'drain' | 'maintenance' | null = null) => ({
    ...up,
    advice: { weight, admin },
  });
  const inputs = [advised(50), advised(1), advised(0), advised(null, 'drain'), advised(100, 'maintenance')];
  assert.deepEqual(decide('', [10, 3, 5, 5, 5], [], inputs).weights, [5, 1, 0, 0, 0]);
});

test('a share that grows makes all weights of its service larger, and its own smaller beside them', () => {
  const growing = { ...up, share: 0.3 };
  assert.deepEqual(decide('', [1, 2], [], [growing, up]), {
    weights: [3, 20],
    reserves: [0, 0],
    ends: ['no', 'no'],
    scale: 10,
    areBackupsUsed: false,
    isPanic: false,
  });
  assert.deepEqual(decide('', [1, 20_000], [], [growing, up]).weights, [1, 60_000], 'as far as weights go');
  assert.equal(decide('', [1, 2], [], [{ ...growing, health: 'down' }, up]).scale, 1, 'who is out does not grow');
});

test('backups that rest are reserves of a service whose servers can be full, those that could be used', () => {
  const full = 'max-flows: 10,';
  const reservesOf = (options: string, health: string): string =>
    decide(options, [1, 2], [3, 4], withHealth(health)).reserves.join(' ');
  assert.equal(reservesOf(full, 'UUUU'), '0 0 3 4');
  assert.equal(reservesOf(full, 'UUDU'), '0 0 0 4', 'not those that are down');
  assert.equal(reservesOf(full, 'DDUU'), '0 0 0 0', 'they have joined');
  assert.equal(reservesOf('', 'UUUU'), '0 0 0 0', 'nobody is ever full');
});

test('flows of a server that checks took down end as the service has it, unless it is used all the same', () => {
  const endsOf = (options: string, health: string): string =>
    decide(options, [1, 2], [], withHealth(health)).ends.join(' ');
  assert.equal(endsOf('', 'DU'), 'no no', 'with TCP they stay');
  assert.equal(endsOf('on-server-down: keep,', 'DU'), 'no no');
  assert.equal(endsOf('on-server-down: reset,', 'DU'), 'reset no');
  assert.equal(endsOf('on-server-down: rehash,', 'UD'), 'no rehash');
  assert.equal(endsOf('on-server-down: reset,', '?d'), 'no no', 'who is not known to be down keeps them');
  assert.equal(endsOf('on-server-down: reset, panic: true,', 'DD'), 'no no', 'in panic');
});
