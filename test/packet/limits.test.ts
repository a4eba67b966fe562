// max-flows: who is full is passed over, whoever chooses; what no server has room for goes to the reserves, and then it is
// refused by name.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connectionsOf, range, shares } from './connections.ts';
import { engines } from './engines.ts';
import { openStage } from './stage.ts';

interface Server {
  readonly most?: number;
  readonly weight?: number;
}

const SERVERS: readonly Server[] = [{ most: 2 }, {}, {}];

function service(servers: readonly Server[], { scheduler = 'wlc', protocol = 'tcp', backup = '' } = {}): string {
  const written = servers.map(({ most, weight = 1 }, index) => {
    const limit = most === undefined ? '' : `, max-flows: ${most}`;
    return `      s1${index + 1}: { address: "10.0.1.1${index + 1}:8080", weight: ${weight}${limit} }\n`;
  });
  const hash = scheduler === 'sh' || scheduler === 'maglev' ? 'hash: client-port' : '';
  return `
  web:
    listen: 203.0.113.10:80/${protocol}
    method: nat
    scheduler: ${scheduler}
    check: none
    ${hash}
    servers:
${written.join('')}
    ${backup}`;
}

const addresses = ['10.0.1.11', '10.0.1.12', '10.0.1.13'];

for (const engine of engines) {
  describe(`${engine.name}: max-flows`, () => {
    for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev']) {
      test(`${scheduler} gives a full server nothing more, and others what would have been its`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service(SERVERS, { scheduler }));
        const { establish } = connectionsOf(stage);
        const got = shares(range(1, 60).map((port) => establish(port)));
        assert.equal(got['10.0.1.11'], 2);
        // By sh the neighbour in the table has all that would have been its, and a random third is left for the other.
        assert.ok((got['10.0.1.12'] ?? 0) >= 5 && (got['10.0.1.13'] ?? 0) >= 5, JSON.stringify(got));
        stage.assertCountsExact(addresses);
      });
    }

    for (const scheduler of ['wrr', 'p2c', 'sh']) {
      test(`${scheduler} finds the one server with room behind a hundred turns of a full one`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service([{ most: 1, weight: 100 }, { weight: 1 }], { scheduler }));
        const { establish } = connectionsOf(stage);
        const got = shares(range(1, 50).map((port) => establish(port)));
        assert.equal((got['10.0.1.11'] ?? 0) + (got['10.0.1.12'] ?? 0), 50);
        assert.ok((got['10.0.1.11'] ?? 0) <= 1);
      });
    }

    test('when all are full a new flow is refused, old ones go on, and one that ends makes room', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service([{ most: 2 }, { most: 3 }]));
      const { begin, establish, say, answer } = connectionsOf(stage);
      const servers = range(1, 5).map((port) => establish(port));
      assert.deepEqual(shares(servers), { '10.0.1.11': 2, '10.0.1.12': 3 });
      assert.equal(begin(6), 'dropped: servers-full');
      for (const port of range(1, 5)) assert.equal(say(port, 'A'), 'forwarded: client-hit');
      answer(2, servers[1]!, 'R');
      assert.equal(begin(6), servers[1]);
      assert.equal(begin(7), 'dropped: servers-full');
      stage.assertCountsExact(addresses.slice(0, 2));
    });

    test('handshakes and half-closed connections count, those that have ended on both sides do not', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service([{ most: 1 }]));
      const { begin, say, answer } = connectionsOf(stage);
      const isFull = (): boolean => begin(9) === 'dropped: servers-full';
      const server = begin(1);
      assert.ok(isFull(), 'syn-sent');
      answer(1, server, 'SA');
      assert.ok(isFull(), 'syn-received');
      say(1, 'A');
      assert.ok(isFull(), 'established');
      say(1, 'FA');
      assert.ok(isFull(), 'closing');
      answer(1, server, 'FA');
      assert.equal(begin(9), server, 'time-wait');
      stage.assertCountsExact(['10.0.1.11']);
    });

    test('a flow that expired makes room, and so does one of UDP', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service([{ most: 1 }], { protocol: 'udp' }), { head: 'timeouts: { udp-one-way: 2s }' });
      const { begin } = connectionsOf(stage, { protocol: 'udp' });
      assert.equal(begin(1), '10.0.1.11');
      assert.equal(begin(2), 'dropped: servers-full');
      stage.wait(3);
      stage.age();
      assert.equal(begin(2), '10.0.1.11');
    });

    test('a limit that a reload lowers ends no flow, and holds for the next', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service([{ most: 3 }]));
      const { begin, establish, say, answer } = connectionsOf(stage);
      for (const port of range(1, 3)) establish(port);
      stage.configure(service([{ most: 2 }]));
      for (const port of range(1, 3)) assert.equal(say(port, 'A'), 'forwarded: client-hit');
      answer(1, '10.0.1.11', 'R');
      assert.equal(begin(4), 'dropped: servers-full');
      answer(2, '10.0.1.11', 'R');
      assert.equal(begin(4), '10.0.1.11');
    });

    test('reserves take what is beyond, and nothing before, up to their own limit', (t) => {
      const stage = openStage(t, engine);
      const backup = 'backup: { b13: { address: "10.0.1.13:8080", max-flows: 2 } }';
      const resting = { weights: { 'web/b13': 0 }, reserves: { 'web/b13': 1 } };
      stage.configure(service([{ most: 2 }, { most: 1 }], { backup }), resting);
      const { begin, establish, answer } = connectionsOf(stage);
      const got = range(1, 5).map((port) => establish(port));
      assert.deepEqual(shares(got.slice(0, 3)), { '10.0.1.11': 2, '10.0.1.12': 1 });
      assert.deepEqual(got.slice(3), ['10.0.1.13', '10.0.1.13']);
      assert.equal(begin(6), 'dropped: servers-full');
      answer(1, got[0]!, 'R');
      assert.equal(begin(6), got[0], 'an ordinary server that has room again comes first');
    });

    test('a service without a server says so, and not that it is full', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service([{ most: 2 }]), { weights: { 'web/s11': 0 } });
      assert.equal(connectionsOf(stage).begin(1), 'answered: refused-no-server');
      stage.configure(service([{ most: 2 }]));
      stage.setHop('10.0.1.11', null);
      assert.equal(connectionsOf(stage).begin(1), 'dropped: no-neighbour');
    });
  });
}
