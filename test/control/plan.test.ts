import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatChange } from '../../src/control/change.ts';
import { fixedChanges, planChanges } from '../../src/control/plan.ts';
import { configOf, WEB } from '../plane/targets.ts';

const DNS = '\n  dns: { listen: 203.0.113.53:53/udp, method: full-nat, servers: { ns-1: 10.0.1.21 } }\n';

interface Case {
  readonly title: string;
  readonly before?: string;
  readonly after?: string;
  readonly head?: string;
  readonly changes: readonly string[];
}

const cases: readonly Case[] = [
  { title: 'an unchanged file plans nothing', changes: [] },
  {
    title: 'a new service is named with its servers',
    after: WEB + DNS,
    changes: ['service dns: new on 203.0.113.53:53/udp, full-nat', 'server dns/ns-1: new at 10.0.1.21, weight 1'],
  },
  {
    title: 'another engine is a change of its own, and nothing else is touched',
    head: 'engine: tc',
    changes: ['engine: auto → tc'],
  },
  {
    title: 'a removed service ends its flows',
    before: WEB + DNS,
    after: WEB,
    changes: ['service dns: no longer on 203.0.113.53:53/udp, its flows end'],
  },
  {
    title: 'a weight is a change of its server alone',
    after: WEB.replace('weight: 3', 'weight: 0'),
    changes: ['server web/web-2: weight 3 → 0'],
  },
  {
    title: 'a server that moves ends its flows',
    after: WEB.replace('10.0.1.11:8080', '10.0.1.13:80'),
    changes: ['server web/web-1: 10.0.1.11:8080 → 10.0.1.13:80, its flows end'],
  },
  {
    title: 'a server that is taken out ends its flows, one that comes is named',
    after: WEB.replace('web-1', 'web-3'),
    changes: [
      'server web/web-1: 10.0.1.11:8080 taken out, its flows end',
      'server web/web-3: new at 10.0.1.11:8080, weight 1',
    ],
  },
  {
    title: 'another scheduler ends nothing',
    after: WEB.replace('wrr', 'maglev'),
    changes: ['service web: scheduler wrr → maglev'],
  },
  {
    title: 'another method ends flows, and the check stays the same',
    after: WEB.replace('nat', 'full-nat'),
    changes: ['service web: method nat → full-nat, its flows end'],
  },
  {
    title: 'a check is told in full',
    after: WEB.replace('scheduler', 'check: { every: 5s, port: 9000 }\n    scheduler'),
    changes: [
      'service web: check tcp every 2s, timeout 1s, rise 2, fall 3 → tcp port 9000 every 5s, timeout 1s, rise 2, fall 3',
    ],
  },
  {
    title: 'a tunnel is named by what is set of it',
    before:
      '  web: { listen: 203.0.113.10:80/tcp, method: l3-dsr, tunnel: { type: gre, source: 192.0.2.1 }, servers: { a: 10.0.1.11 } }',
    after:
      '  web: { listen: 203.0.113.10:80/tcp, method: l3-dsr, tunnel: { type: gue, source: 192.0.2.0/28, ttl: 9, fragment: false }, servers: { a: 10.0.1.11 } }',
    changes: ['service web: tunnel gre from 192.0.2.1 → gue from 192.0.2.0/28, ttl 9, port 6080, fragment false'],
  },
  {
    title: 'time-outs and the log level count as well',
    head: 'timeouts: { syn-sent: 30s }\nlog: { level: warn }',
    changes: ['timeouts: syn-sent 1m → 30s', 'log: level info → warn'],
  },
];

for (const { title, before = WEB, after = WEB, head = '', changes } of cases) {
  test(title, () => {
    assert.deepEqual(planChanges(configOf(before), configOf(after, head)).map(formatChange), changes);
  });
}

test('what is settled at the start is told apart from what a reload may change', () => {
  const before = configOf(WEB);
  assert.deepEqual(fixedChanges(before, configOf(WEB + DNS, 'log: { level: debug }')), []);
  const head = 'name: other\nengine: packet\nbpffs: /run/bpf\nworkers: 4\nflows: 8192\ncontrol: { group: adm }';
  assert.deepEqual(fixedChanges(before, configOf(WEB, head)), ['name', 'bpffs', 'workers', 'flows', 'control']);
});
