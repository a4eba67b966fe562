// sticky: a client's next flows go to the server that it had, for as long as it is remembered and the server takes them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants } from '../../src/native/layout.ts';
import { formatPrefix } from '../../src/net/prefix.ts';
import { readStickyCount } from '../../src/plane/sticky-reader.ts';
import { connectionsOf, range, shares } from './connections.ts';
import { engines } from './engines.ts';
import { addressOf } from './frame.ts';
import { CLIENT_MAC, OUTSIDE_MAC, openStage, serverMac, type Stage } from './stage.ts';

interface Options {
  readonly sticky?: string;
  readonly scheduler?: string;
  readonly method?: string;
  readonly protocol?: string;
  readonly family?: 4 | 6;
  readonly servers?: number;
  readonly more?: readonly string[];
  /** More than the one port 80. */
  readonly ports?: string;
}

const SERVERS4 = ['10.0.1.11', '10.0.1.12', '10.0.1.13'];
const SERVERS6 = ['fd00::11', 'fd00::12', 'fd00::13'];

function service({
  sticky = '{ by: client, for: 10m }',
  scheduler = 'rr',
  method = 'nat',
  protocol = 'tcp',
  family = 4,
  servers = 3,
  more = [],
  ports = '80',
}: Options = {}): string {
  const hosts = (family === 4 ? SERVERS4 : SERVERS6).slice(0, servers);
  const isDsr = method.endsWith('dsr');
  const endpointOf = (host: string): string =>
    isDsr || ports !== '80' ? host : family === 4 ? `${host}:8080` : `[${host}]:8080`;
  return [
    '  web:',
    `    listen: "${family === 4 ? '203.0.113.10' : '[2001:db8::10]'}:${ports}/${protocol}"`,
    `    method: ${method}`,
    ...(method === 'l3-dsr' ? [`    tunnel: { type: gre, source: ${family === 4 ? '10.0.1.1' : '"fd00::1"'} }`] : []),
    `    scheduler: ${scheduler}`,
    '    check: none',
    `    sticky: ${sticky}`,
    `    servers: { ${hosts.map((host, index) => `s${index + 1}: "${endpointOf(host)}"`).join(', ')} }`,
    ...more.map((line) => `    ${line}`),
    '',
  ].join('\n');
}

interface Asked {
  readonly protocol?: string;
  readonly port?: number;
  readonly vip?: string;
  readonly flags?: string;
}

/** Sends a first frame; the server that it goes to, or what became of it instead. */
function ask(
  stage: Stage,
  from: string,
  { protocol = 'tcp', port = 40_000, vip, flags = 'S' }: Asked & { to?: number } = {},
  toPort = 80,
): string {
  const isV6 = from.includes(':');
  const { said } = stage.send({
    toMac: OUTSIDE_MAC,
    fromMac: CLIENT_MAC,
    from,
    to: vip ?? (isV6 ? '2001:db8::10' : '203.0.113.10'),
    fromPort: port,
    toPort,
    protocol: protocol as 'tcp' | 'udp',
    ...(protocol === 'tcp' ? { flags } : {}),
  });
  if (said !== 'forwarded: new-flow') return said;
  const flow = stage.flows({ client: { address: addressOf(from), port } }).find(({ vipPort }) => vipPort === toPort);
  assert.ok(flow);
  return flow.server.text;
}

/** Where so many flows of one client go, each from a port of its own. */
function askOften(
  stage: Stage,
  from: string,
  count: number,
  asked: Asked = {},
  firstPort = 1000,
): Record<string, number> {
  return shares(range(firstPort, count).map((port) => ask(stage, from, { ...asked, port })));
}

for (const engine of engines) {
  describe(`${engine.name}: sticky`, () => {
    for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev']) {
      test(`${scheduler}: each client stays with its server, and clients are still shared out`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(service({ scheduler, more: scheduler === 'sh' ? ['hash: client-port'] : [] }));
        const firsts = range(1, 30).map((n) => ask(stage, `198.51.100.${n}`));
        for (const n of range(1, 30)) {
          assert.deepEqual(askOften(stage, `198.51.100.${n}`, 10), { [firsts[n - 1]!]: 10 });
        }
        assert.equal(Object.keys(shares(firsts)).length, 3);
      });
    }

    for (const method of ['nat', 'full-nat', 'l2-dsr', 'l3-dsr']) {
      for (const protocol of ['tcp', 'udp']) {
        for (const family of [4, 6] as const) {
          test(`${method}, ${protocol}, IPv${family}`, (t) => {
            const stage = openStage(t, engine);
            stage.configure(service({ method, protocol, family }));
            const clientOf = (n: number): string => (family === 4 ? `198.51.100.${n}` : `2001:db8:c::${n}`);
            for (const n of range(1, 6)) {
              const server = ask(stage, clientOf(n), { protocol });
              assert.deepEqual(askOften(stage, clientOf(n), 8, { protocol }), { [server]: 8 });
            }
            assert.deepEqual(shares(stage.stickies().map(({ server }) => server.text)), {
              ...Object.fromEntries((family === 4 ? SERVERS4 : SERVERS6).map((host) => [host, 2])),
            });
          });
        }
      }
    }

    test('it is remembered for so long after its last new flow, and no longer', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ for: 60s }' }));
      const server = ask(stage, '198.51.100.7');
      for (const port of range(1, 4)) {
        stage.wait(59);
        assert.equal(ask(stage, '198.51.100.7', { port }), server);
      }
      assert.equal(stage.stickies().length, 1);
      stage.wait(60.3);
      assert.equal(stage.stickies().length, 0);
      assert.notEqual(ask(stage, '198.51.100.7', { port: 5 }), server);
    });

    test('a connection that lasted longer is remembered from its end on', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ for: 60s }' }));
      const { establish, say, answer, begin } = connectionsOf(stage);
      const server = establish(1);
      stage.wait(600);
      say(1, 'FA');
      answer(1, server, 'FA');
      stage.wait(59);
      assert.equal(begin(2), server);
    });

    test('a prefix is one client, and another is another', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ by: client-prefix/22 }' }));
      const server = ask(stage, '198.51.100.7');
      assert.equal(ask(stage, '198.51.103.255'), server);
      assert.notEqual(ask(stage, '198.51.104.0'), server);
      assert.notEqual(ask(stage, '198.51.99.255'), server);
      assert.deepEqual(
        stage
          .stickies()
          .map(({ client }) => formatPrefix(client))
          .toSorted(),
        ['198.51.100.0/22', '198.51.104.0/22', '198.51.96.0/22'],
      );
    });

    test('an IPv6 prefix, of a length that ends within a word', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ by: client-prefix/24/76 }', family: 6 }));
      const server = ask(stage, '2001:db8:c::7');
      assert.equal(ask(stage, '2001:db8:c::f:ffff:ffff:ffff'.replace('::f', ':0:f')), server);
      assert.notEqual(ask(stage, '2001:db8:c:0:10::7'), server);
      assert.notEqual(ask(stage, '2001:db8:c:1::7'), server);
    });

    test('by client-port, each port is a client of its own', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ by: client-port }', protocol: 'udp' }), {
        head: 'timeouts: { udp-one-way: 5s }',
      });
      const first = askOften(stage, '198.51.100.7', 3, { protocol: 'udp' });
      assert.deepEqual(Object.values(first), [1, 1, 1]);
      const servers = range(1000, 3).map(
        (port) => stage.flows({ client: { address: addressOf('198.51.100.7'), port } })[0]?.server.text,
      );
      stage.wait(10);
      assert.equal(stage.age(), 3);
      for (const [index, port] of [1000, 1001, 1002].toReversed().entries()) {
        assert.equal(ask(stage, '198.51.100.7', { protocol: 'udp', port }), servers[2 - index]);
      }
      assert.deepEqual(new Set(stage.stickies().map(({ clientPort }) => clientPort)), new Set([1000, 1001, 1002]));
    });

    test("a drained server's clients move at once, together, and do not come back", (t) => {
      const stage = openStage(t, engine);
      stage.configure(service());
      const servers = range(1, 4).map((n) => ask(stage, `198.51.100.${n}`));
      const [first] = servers;
      assert.equal(servers[3], first);
      const name = `web/s${SERVERS4.indexOf(first!) + 1}`;
      stage.configure(service(), { weights: { [name]: 0 } });
      const next = ask(stage, '198.51.100.1', { port: 2 });
      assert.notEqual(next, first);
      assert.deepEqual(askOften(stage, '198.51.100.1', 5), { [next]: 5 });
      stage.configure(service());
      assert.deepEqual(askOften(stage, '198.51.100.1', 5, {}, 2000), { [next]: 5 });
      assert.equal(ask(stage, '198.51.100.4', { port: 2 }), first, 'one that asked for nothing meanwhile is still its');
    });

    test('a server whose flows were ended is forgotten, and what moves is remembered', (t) => {
      const stage = openStage(t, engine);
      const text = service({ servers: 2, more: ['on-server-down: rehash'] }).replace(
        'check: none',
        'check: { type: tcp }',
      );
      stage.configure(text);
      const { establish, say } = connectionsOf(stage);
      const server = establish(1);
      const name = `web/s${SERVERS4.indexOf(server) + 1}`;
      const other = SERVERS4[1 - SERVERS4.indexOf(server)]!;
      const down = { weights: { [name]: 0 }, ends: { [name]: 'rehash' } } as const;
      stage.configure(text, down);
      assert.equal(stage.stickies().length, 0);
      assert.equal(say(1, 'A'), 'forwarded: new-flow');
      assert.deepEqual(
        stage.stickies().map((it) => it.server.text),
        [other],
      );
      stage.configure(text);
      assert.deepEqual(askOften(stage, '198.51.100.7', 4), { [other]: 4 });
    });

    test('a server that is removed is forgotten, also when another gets its place', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ servers: 1 }));
      assert.equal(ask(stage, '198.51.100.7'), '10.0.1.11');
      stage.configure(service({ servers: 1 }).replace('10.0.1.11', '10.0.1.21'));
      assert.equal(stage.stickies().length, 0);
      stage.configure(service({ servers: 1 }).replace('10.0.1.11', '10.0.1.22'));
      assert.equal(stage.stickies().length, 0);
      assert.equal(ask(stage, '198.51.100.7', { port: 2 }), '10.0.1.22');
    });

    test('a full server and one without a next hop send their clients elsewhere, where they stay', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ more: ['max-flows: 2'] }));
      const server = ask(stage, '198.51.100.7', { port: 1 });
      assert.equal(ask(stage, '198.51.100.7', { port: 2 }), server);
      const next = ask(stage, '198.51.100.7', { port: 3 });
      assert.notEqual(next, server);
      stage.configure(service());
      assert.deepEqual(askOften(stage, '198.51.100.7', 4), { [next]: 4 });
      stage.setHop(next, null);
      const third = ask(stage, '198.51.100.7', { port: 4 });
      assert.notEqual(third, next);
      assert.deepEqual(askOften(stage, '198.51.100.7', 4, {}, 2000), { [third]: 4 });
    });

    test('what a reserve takes is not remembered: its clients go back when there is room', (t) => {
      const stage = openStage(t, engine);
      const text = service({
        servers: 1,
        more: ['max-flows: 2', 'backup: { b: { address: "10.0.1.13:8080", max-flows: 9 } }'],
      });
      const beside = { weights: { 'web/b': 0 }, reserves: { 'web/b': 1 } };
      stage.configure(text, beside);
      const { establish, answer, begin } = connectionsOf(stage);
      assert.equal(establish(1), '10.0.1.11');
      assert.equal(establish(2), '10.0.1.11');
      assert.equal(begin(3), '10.0.1.13');
      answer(1, '10.0.1.11', 'R');
      assert.equal(begin(4), '10.0.1.11');
      stage.configure(text, { weights: { 'web/s1': 0 } });
      assert.equal(begin(5), '10.0.1.13');
      stage.configure(text, beside);
      answer(2, '10.0.1.11', 'R');
      assert.equal(begin(6), '10.0.1.11', 'nor one that it got while it was a member');
    });

    test('services are apart, ports and protocols of one are together', (t) => {
      const stage = openStage(t, engine);
      const text = service({ ports: '8000-8100' });
      const other = service().replace('  web:', '  two:').replace('203.0.113.10', '203.0.113.11');
      stage.configure(text + other);
      ask(stage, '198.51.100.9', { vip: '203.0.113.11' });
      const server = ask(stage, '198.51.100.7', {}, 8000);
      for (const port of range(8001, 6)) assert.equal(ask(stage, '198.51.100.7', {}, port), server);
      assert.notEqual(ask(stage, '198.51.100.7', { vip: '203.0.113.11', port: 9 }), server);
      assert.equal(stage.stickies().length, 3);
    });

    test('a frame that needs no flow goes where its client is remembered, and is no new flow', (t) => {
      const stage = openStage(t, engine);
      const dsr = { method: 'l2-dsr', scheduler: 'maglev' };
      stage.configure(service(dsr), { weights: { 'web/s2': 0, 'web/s3': 0 } });
      for (const n of range(1, 20)) assert.equal(ask(stage, `198.51.100.${n}`), '10.0.1.11');
      stage.configure(service(dsr));
      const frameOf = (n: number, port: number) =>
        ({
          toMac: OUTSIDE_MAC,
          fromMac: CLIENT_MAC,
          from: `198.51.100.${n}`,
          to: '203.0.113.10',
          fromPort: port,
          toPort: 80,
          protocol: 'tcp',
          flags: 'A',
        }) as const;
      const macs = (first: number) =>
        range(first, 20).map((n) => {
          const { said, frame } = stage.send(frameOf(n, 7));
          assert.equal(said, 'forwarded: untracked');
          return [...frame!.subarray(0, 6)].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
        });
      assert.deepEqual(shares(macs(1)), { [serverMac('10.0.1.11')]: 20 });
      assert.ok(Object.keys(shares(macs(101))).length === 3, 'others go by the hash');
      assert.equal(stage.stickies().length, 20, 'and are not remembered for it');
    });

    test('a reload with other words forgets, and takes the time that it names', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ for: 1h }' }));
      const server = ask(stage, '198.51.100.7');
      stage.wait(120);
      stage.configure(service({ sticky: '{ for: 5m }' }));
      assert.equal(ask(stage, '198.51.100.7', { port: 2 }), server);
      stage.wait(120);
      stage.configure(service({ sticky: '{ for: 1m }' }));
      assert.equal(stage.stickies().length, 0);
      stage.configure(service({ sticky: '{ by: client-prefix/32, for: 1h }' }));
      assert.equal(stage.stickies().length, 1, 'an address is a prefix of all its bits');
      stage.configure(service({ sticky: '{ by: client-prefix/31, for: 1h }' }));
      assert.equal(stage.stickies().length, 0);
      stage.configure(service({ sticky: 'none' }));
      assert.equal(Object.keys(askOften(stage, '198.51.100.7', 9)).length, 3);
    });

    test('the table is bounded; who was served is remembered longer than who only knocked', (t) => {
      const stage = openStage(t, engine, { flows: 4096 });
      stage.configure(service({ sticky: '{ for: 1h }' }), {
        head: 'timeouts: { syn-sent: 1s }\ndefaults: { half-open: off }',
      });
      const room = stage.plane.counts.stickies * (constants.stickyWays - 1);
      const { establish } = connectionsOf(stage);
      const server = establish(1);
      stage.wait(10);
      for (let n = 0; n < 2 * room; n++) {
        ask(stage, `20.0.${n >> 8}.${n & 255}`);
        if (n % 500 === 499) {
          stage.wait(2);
          stage.age();
        }
      }
      const remembered = stage.stickies();
      assert.ok(remembered.length > 0.9 * room && remembered.length <= room, `${remembered.length} of ${room}`);
      assert.deepEqual(askOften(stage, '198.51.100.7', 5), { [server]: 5 });
      const late = ask(stage, '20.9.9.9');
      assert.equal(ask(stage, '20.9.9.9', { port: 2 }), late, 'who comes last finds room');
    });

    test('readers name clients and servers, choose among them, and the sweep counts them', (t) => {
      const stage = openStage(t, engine);
      stage.configure(service({ sticky: '{ for: 100s }' }));
      for (const n of range(1, 30)) {
        ask(stage, `198.51.100.${n}`);
        stage.wait(1);
      }
      stage.wait(10);
      stage.age();
      assert.equal(readStickyCount(stage.plane, 0), 30);
      const of = (address: string) => ({ address: addressOf(address), port: null });
      const [seventh] = stage.stickies({ client: of('198.51.100.7') });
      assert.ok(Math.abs(seventh!.idleMs - 34_000) < 300 && Math.abs(seventh!.expiresInMs - 66_000) < 300);
      assert.equal(seventh!.serverPort, 8080);
      assert.equal(stage.stickies({ server: of('10.0.1.12') }).length, 10);
      assert.equal(stage.stickies({ server: { address: addressOf('10.0.1.12'), port: 81 } }).length, 0);
      assert.equal(stage.stickies({ client: of('198.51.100.31') }).length, 0);
      stage.wait(80);
      stage.age();
      assert.equal(readStickyCount(stage.plane, 0), stage.stickies().length);
      assert.ok(stage.stickies().length < 15);
    });
  });
}
