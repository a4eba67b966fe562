// Under a flood of SYNs a service goes compute-only: SYNs go on by the hash and enter no flow, the ACK of each enters its
// flow, on every engine, with every scheduler. (What becomes of answers: untracked.test.ts.)

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { readHalfOpen } from '../../src/plane/counters.ts';
import { engines, type Engine } from './engines.ts';
import type { FrameSpec } from './frame.ts';
import { CLIENT_MAC, INSIDE, openStage, OUTSIDE_MAC, type Stage, TICK_NS } from './stage.ts';

const MOST = 20;

interface Service {
  readonly family?: 4 | 6;
  readonly scheduler?: string;
  readonly method?: string;
  readonly more?: readonly string[];
}

const ENDS = {
  4: {
    vip: '203.0.113.10',
    servers: ['10.0.1.11', '10.0.1.12', '10.0.1.13'],
    source: '10.0.1.1',
    client: '198.51.100.',
  },
  6: { vip: '2001:db8::10', servers: ['fd00::11', 'fd00::12', 'fd00::13'], source: 'fd00::1', client: '2001:db8:c::' },
} as const;

function serviceOf({
  family = 4,
  scheduler = 'wlc',
  method = 'l2-dsr',
  more = [`half-open: ${MOST}`],
}: Service): string {
  const { vip, servers, source } = ENDS[family];
  return [
    '  web:',
    `    listen: "${family === 4 ? vip : `[${vip}]`}:80/tcp"`,
    `    method: ${method}`,
    ...(method === 'l3-dsr' ? [`    tunnel: { type: ipip, source: "${source}" }`] : []),
    `    scheduler: ${scheduler}`,
    '    check: none',
    `    servers: { ${servers.map((server, index) => `s${index}: "${server}"`).join(', ')} }`,
    ...more.map((line) => `    ${line}`),
    '',
  ].join('\n');
}

function open(t: TestContext, engine: Engine, service: Service = {}): Stage {
  const stage = openStage(t, engine);
  stage.configure(serviceOf(service));
  return stage;
}

function segment(client: number, flags: string, family: 4 | 6 = 4): FrameSpec {
  return {
    toMac: OUTSIDE_MAC,
    fromMac: CLIENT_MAC,
    from: `${ENDS[family].client}${1 + (client % 200)}`,
    to: ENDS[family].vip,
    fromPort: 20_000 + client,
    toPort: 80,
    protocol: 'tcp',
    flags,
  };
}

function flood(stage: Stage, family: 4 | 6 = 4): void {
  for (let client = 0; client < MOST; client++) {
    assert.equal(stage.send(segment(client, 'S', family)).said, 'forwarded: new-flow');
  }
}

function halfOpen(stage: Stage): { unanswered: number; isComputeOnly: boolean } {
  const { unanswered, computeOnlyForMs } = readHalfOpen(stage.plane, 0, Math.floor(stage.nowNs / TICK_NS));
  return { unanswered, isComputeOnly: computeOnlyForMs !== null };
}

const macOf = (frame: Uint8Array | null): string => Buffer.from(frame?.subarray(0, 6) ?? []).toString('hex');

for (const engine of engines) {
  describe(`${engine.name}: compute-only`, () => {
    for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev']) {
      for (const [method, family] of [
        ['l2-dsr', 4],
        ['l3-dsr', 6],
        ['nat', 6],
        ['full-nat', 4],
      ] as const) {
        test(`with ${method} and ${scheduler} an ACK goes to the server of its SYN, which entered nothing`, (t) => {
          const stage = open(t, engine, { scheduler, method, family });
          flood(stage, family);
          const used = new Set<string>();
          // So many that a hash leaves one of three servers out once in 10^10 times.
          for (let client = 100; client < 160; client++) {
            const syn = stage.send(segment(client, 'S', family));
            assert.equal(syn.said, 'forwarded: untracked');
            assert.equal(stage.flows().length, MOST + client - 100);
            // Somebody else's flows come in between.
            const ack = stage.send(segment(client, 'A', family));
            assert.equal(ack.said, 'forwarded: new-flow');
            assert.equal(ack.via, INSIDE);
            assert.equal(macOf(ack.frame), macOf(syn.frame));
            used.add(macOf(ack.frame));
            assert.equal(stage.send(segment(client, 'AP', family)).said, 'forwarded: client-hit');
          }
          assert.equal(used.size, 3, 'all servers are used');
          // Of nat and full-nat the server's answer has to be seen.
          const state = method.endsWith('dsr') ? 'established' : 'syn-received';
          assert.equal(stage.flows({ state }).length, 60);
          stage.assertCountsExact(ENDS[family].servers);
        });
      }
    }

    test('a SYN may be repeated and goes to the same server', (t) => {
      const stage = open(t, engine);
      flood(stage);
      const first = stage.send(segment(100, 'S'));
      stage.wait(1);
      assert.equal(macOf(stage.send(segment(100, 'S')).frame), macOf(first.frame));
    });

    test('what is neither a SYN nor an ACK enters nothing', (t) => {
      const stage = open(t, engine);
      flood(stage);
      assert.equal(stage.send(segment(100, 'SA')).said, 'answered: refused-no-flow');
      assert.equal(stage.send(segment(100, 'R')).said, 'dropped: no-flow');
      assert.equal(stage.flows().length, MOST);
    });

    test('it is over when the flood is, and flows that were there before are as they were', (t) => {
      const stage = open(t, engine);
      stage.send(segment(300, 'S'));
      stage.send(segment(300, 'A'));
      flood(stage);
      assert.equal(halfOpen(stage).isComputeOnly, true);
      assert.equal(stage.send(segment(300, 'A')).said, 'forwarded: client-hit');
      stage.wait(4);
      stage.send(segment(101, 'S'));
      assert.deepEqual(halfOpen(stage), { unanswered: 13, isComputeOnly: true });
      stage.wait(6);
      stage.age();
      assert.deepEqual(halfOpen(stage), { unanswered: 5, isComputeOnly: false });
      assert.equal(stage.send(segment(101, 'A')).said, 'forwarded: new-flow', 'its SYN went by the hash');
      assert.equal(stage.send(segment(102, 'S')).said, 'forwarded: new-flow');
      assert.equal(stage.flows({ state: 'syn-sent' }).length, MOST + 1);
      stage.wait(11);
      assert.equal(stage.send(segment(103, 'A')).said, 'answered: refused-no-flow');
      assert.equal(stage.send(segment(300, 'A')).said, 'forwarded: client-hit');
    });

    test('an eighth of the table begins it, and nothing does where it is off or not to be had', (t) => {
      for (const [more, method, most] of [
        [[], 'l2-dsr', 372], // 4096 slots are for 2978 flows
        [['half-open: off'], 'l2-dsr', null],
        [[], 'nat', 372],
        [[], 'full-nat', 372],
      ] as const) {
        const stage = open(t, engine, { more, method });
        for (let client = 0; client < 600; client++) {
          const { said } = stage.send(segment(client, 'S'));
          assert.equal(said, `forwarded: ${client < (most ?? 600) ? 'new-flow' : 'untracked'}`, `SYN ${client}`);
        }
        assert.equal(halfOpen(stage).isComputeOnly, most !== null);
      }
    });

    test('lists and budgets hold, and a client’s flows count from their ACK on', (t) => {
      const more = [`half-open: ${MOST}`, 'deny: 198.51.100.250', 'limits: { client: { flows: 2 } }'];
      const stage = open(t, engine, { more });
      flood(stage);
      const from = (address: string, port: number, flags: string): string =>
        stage.send({ ...segment(0, flags), from: address, fromPort: port }).said;
      assert.equal(from('198.51.100.250', 1, 'S'), 'dropped: denied');
      assert.equal(from('198.51.100.250', 1, 'A'), 'dropped: denied');
      for (const port of [1, 2, 3]) assert.equal(from('192.0.2.7', port, 'S'), 'forwarded: untracked');
      for (const port of [1, 2]) assert.equal(from('192.0.2.7', port, 'A'), 'forwarded: new-flow');
      assert.equal(from('192.0.2.7', 3, 'A'), 'dropped: client-limited');
      assert.equal(from('192.0.2.7', 4, 'S'), 'dropped: client-limited');
    });

    test('who is remembered goes where it is remembered, and all flows of one client go to one server', (t) => {
      const stage = open(t, engine, { more: [`half-open: ${MOST}`, 'sticky: { by: client-prefix/24, for: 10m }'] });
      const from = (address: string, port: number, flags: string): string => {
        const { said, frame } = stage.send({ ...segment(0, flags), from: address, fromPort: port });
        assert.match(said, /^forwarded: /);
        return macOf(frame);
      };
      const before = from('192.0.2.7', 1, 'S');
      assert.equal(from('192.0.2.7', 1, 'A'), before);
      flood(stage);
      assert.equal(from('192.0.2.8', 2, 'S'), before);
      assert.equal(from('192.0.2.8', 2, 'A'), before);
      for (let net = 0; net < 20; net++) {
        const client = (host: number): string => `10.9.${net}.${host}`;
        const syns = [1, 2, 3].map((host) => from(client(host), 5000 + host, 'S'));
        assert.deepEqual(
          [1, 2, 3].map((host) => from(client(host), 5000 + host, 'A')),
          syns,
        );
        assert.equal(new Set(syns).size, 1, 'they are one client');
      }
    });

    test('with no server left a SYN is refused as ever', (t) => {
      const stage = open(t, engine);
      flood(stage);
      const weights = { 'web/s0': 0, 'web/s1': 0, 'web/s2': 0 };
      stage.configure(serviceOf({}), { weights });
      assert.equal(stage.send(segment(100, 'S')).said, 'answered: refused-no-server');
    });
  });
}
