// Configurations without a mistake, and what they come to mean.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkPlanOf, checkPortOf } from '../../src/config/check-port.ts';
import type { Config, ServiceConfig } from '../../src/config/config.ts';
import { formatListen } from '../../src/config/endpoint.ts';
import type { CheckConfig } from '../../src/config/check.ts';
import { parseConfig } from '../../src/config/parse.ts';

const HEAD = 'version: 1\ninterfaces: { outside: eth0 }\n';

// The two examples of README.md.
const ONE_ARM = `version: 1
interfaces: { outside: eth0 }
services:
  web:
    listen: 203.0.113.10:80/tcp
    method: full-nat
    servers: { web-1: 203.0.113.21:8080, web-2: 203.0.113.22:8080 }
`;
const INLINE = `version: 1
interfaces: { outside: eth0, inside: eth1 }
services:
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    servers: { web-1: 10.0.1.11:8080, web-2: 10.0.1.12:8080 }
`;

describe('a configuration', () => {
  it('for one interface and full-nat takes seven lines, the rest is default', () => {
    const config = parse(ONE_ARM);
    assert.deepEqual(
      { ...config, services: [] },
      {
        version: 1,
        name: 'fairlead',
        interfaces: { outside: 'eth0' },
        engine: 'auto',
        bpffs: null,
        workers: 'auto',
        flows: 1_048_576,
        stickyClients: null,
        timeouts: {
          synSent: 60_000,
          synReceived: 60_000,
          established: 7_440_000,
          closing: 240_000,
          timeWait: 120_000,
          closed: 10_000,
          udpOneWay: 300_000,
          udp: 300_000,
        },
        onNoService: 'refuse',
        control: { socket: '/run/fairlead/fairlead.sock', state: '/run/fairlead/fairlead.state.json' },
        log: { level: 'info' },
        notify: [],
        services: [],
      },
    );
    const { servers, listens, ...web } = firstService(config);
    assert.deepEqual(web, {
      name: 'web',
      method: 'full-nat',
      scheduler: 'wlc',
      sticky: null,
      hash: 'client',
      sources: [],
      hairpin: 'snat',
      halfOpen: 'auto',
      tunnel: null,
      check: {
        mode: 'all',
        checks: [
          {
            kind: { type: 'tcp' },
            port: null,
            target: 'server',
            everyMs: 2000,
            fastEveryMs: 2000,
            timeoutMs: 1000,
            rise: 2,
            fall: 3,
          },
        ],
      },
      passive: null,
      limit: null,
      minUp: 1,
      panic: false,
      onNoServer: 'refuse',
      onServersFull: 'drop',
      onServerDown: 'keep',
      drainDeadlineMs: null,
      slowStartMs: 0,
    });
    assert.deepEqual(listens.map(formatListen), ['203.0.113.10:80/tcp']);
    assert.deepEqual(
      servers.map(({ name, address, port, weight }) => [name, address.text, port, weight]),
      [
        ['web-1', '203.0.113.21', 8080, 1],
        ['web-2', '203.0.113.22', 8080, 1],
      ],
    );
  });

  it('for two interfaces and nat takes seven lines', () => {
    const config = parse(INLINE);
    assert.deepEqual(config.interfaces, { outside: 'eth0', inside: 'eth1' });
    assert.equal(firstService(config).method, 'nat');
  });

  it('says everything that can be said', () => {
    const config = parse(`\uFEFF# every key once
version: 1
name: edge-1
interfaces: { outside: eth0, inside: br-inside.100 }
engine: packet
bpffs: /run/edge/bpf
workers: 4
flows: 4096
sticky-clients: 5000
timeouts:
  { syn-sent: 1s, syn-received: 2s, established: 3m, closing: 4s, time-wait: 5s, closed: 600ms, udp-one-way: 7s, udp: 1h }
control: { socket: /run/edge.sock, group: adm }
on-no-service: drop
log: { level: debug }
defaults: { sticky: { by: client-prefix/24/64, for: 90s }, on-no-server: drop, on-servers-full: refuse, method: nat, scheduler: maglev, hash: client-port, check: { every: 5s, rise: 4 } }
services:
  web:
    listen: ['[2001:db8::10]:80/tcp', "[2001:DB8:0::10]:443/tcp"]
    method: full-nat
    scheduler: sh
    hash: client
    sticky: { for: 1h }
    source: [2001:db8:2::1-2001:db8:2::3, 2001:db8:2::10]
    check: { type: tcp, port: 9000, every: 1.5s, timeout: 250ms, rise: 1, fall: 9 }
    servers:
      web-1: '[2001:db8:1::11]:8080'
      web-2: { address: '2001:db8:1::12', port: 8081, weight: 65535 }
      web.3_x: { address: '[2001:db8:1::13]:8080', weight: 0 }
`);
    assert.equal(config.name, 'edge-1');
    assert.deepEqual([config.engine, config.bpffs], ['packet', '/run/edge/bpf']);
    assert.equal(config.workers, 4);
    assert.equal(config.onNoService, 'drop');
    assert.deepEqual([config.flows, config.stickyClients], [4096, 5000]);
    assert.deepEqual(Object.values(config.timeouts), [1000, 2000, 180_000, 4000, 5000, 600, 7000, 3_600_000]);
    assert.deepEqual(config.control, { socket: '/run/edge.sock', group: 'adm', state: '/run/edge-1.state.json' });
    const web = firstService(config);
    assert.deepEqual(web.listens.map(formatListen), ['[2001:db8::10]:80/tcp', '[2001:db8::10]:443/tcp']);
    assert.deepEqual([web.method, web.scheduler, web.hash], ['full-nat', 'sh', 'client']);
    assert.deepEqual(web.sticky, { by: 'client-prefix', length: 64, forMs: 3_600_000 });
    assert.deepEqual([web.onNoServer, web.onServersFull], ['drop', 'refuse']);
    assert.deepEqual(
      web.sources.map(({ text }) => text),
      ['2001:db8:2::1', '2001:db8:2::2', '2001:db8:2::3', '2001:db8:2::10'],
    );
    const [{ kind, port, everyMs, timeoutMs, rise, fall }] = web.check!.checks as [CheckConfig];
    assert.deepEqual([kind, port, everyMs, timeoutMs, rise, fall], [{ type: 'tcp' }, 9000, 1500, 250, 1, 9]);
    assert.deepEqual(
      web.servers.map(({ address, port, weight }) => [address.text, port, weight]),
      [
        ['2001:db8:1::11', 8080, 1],
        ['2001:db8:1::12', 8081, 65_535],
        ['2001:db8:1::13', 8080, 0],
      ],
    );
  });

  it('names its control socket after the instance', () => {
    assert.equal(parse(`${HEAD}name: edge\nservices: {}\n`).control.socket, '/run/fairlead/edge.sock');
  });

  for (const engine of ['auto', 'packet', 'tc', 'xdp', 'xdp-generic']) {
    it(`may have the engine ${engine}`, () => {
      assert.equal(parse(`${HEAD}engine: ${engine}\nservices: {}\n`).engine, engine);
    });
  }

  for (const [sticky, plan] of [
    ['{}', { by: 'client', length: 32, forMs: 600_000 }],
    ['{ by: client-port, for: 24h }', { by: 'client-port', length: 32, forMs: 86_400_000 }],
    ['{ by: client-prefix/8 }', { by: 'client-prefix', length: 8, forMs: 600_000 }],
    ['{ by: client-prefix/20/56 }', { by: 'client-prefix', length: 20, forMs: 600_000 }],
    ['none', null],
  ] as const) {
    it(`may have a service with sticky: ${sticky}`, () => {
      const config = parse(`${INLINE}    sticky: ${sticky}\n`);
      assert.deepEqual(firstService(config).sticky, plan);
    });
  }

  it('may have no service yet', () => {
    assert.deepEqual(parse(`${HEAD}services: {}\n`).services, []);
  });

  it('is plain data that survives a structured clone', () => {
    const config = parse(ONE_ARM);
    assert.deepEqual(structuredClone(config), config);
  });
});

describe('defaults', () => {
  const defaults = 'defaults: { method: nat, scheduler: maglev, hash: client-port, check: { every: 5s, rise: 4 } }\n';

  it('fill what a service leaves out', () => {
    const web = parseService('', defaults, '');
    assert.deepEqual([web.method, web.scheduler, web.hash], ['nat', 'maglev', 'client-port']);
    assert.deepEqual(timersOf(web), [5000, 1000, 4, 3]);
  });

  it('give way to the service, key by key inside a check', () => {
    const web = parseService('    scheduler: wrr\n    check: { every: 3s, fall: 1 }\n', defaults, '');
    assert.equal(web.scheduler, 'wrr');
    assert.deepEqual(timersOf(web), [3000, 1000, 4, 1]);
  });

  it('can be switched off for one service', () => {
    assert.equal(parseService('    check: none\n', defaults, '').check, null);
  });

  it('can switch checks off for all services but one', () => {
    const off = 'defaults: { check: none }\n';
    assert.equal(parseService('', off).check, null);
    assert.equal(parseService('    check: {}\n', off).check?.checks[0]?.everyMs, 2000);
  });
});

describe('a check', () => {
  it('has a timeout that fits under a short interval by itself', () => {
    assert.equal(parseService('    check: { every: 200ms }\n').check?.checks[0]?.timeoutMs, 200);
  });

  it('is off for a UDP service that says nothing', () => {
    assert.equal(parseService('', '', 'nat', '203.0.113.10:53/udp').check, null);
  });

  it('of a UDP service connects to the port it names', () => {
    const dns = parseService('    check: { port: 8053 }\n', '', 'nat', '203.0.113.10:53/udp');
    assert.equal(checkPort(dns), 8053);
  });

  it("connects to the server's port, else to the first TCP port of the service", () => {
    assert.equal(checkPort(parse(ONE_ARM).services[0]), 8080);
    const both = parseService('', '', 'nat', '[203.0.113.10:53/udp, 203.0.113.10:853/tcp]');
    assert.equal(checkPort(both), 853);
    assert.equal(checkPort(parseService('', '', 'nat', '203.0.113.10:8000-8099/tcp')), 8000);
  });

  it('has no port when it is off', () => {
    assert.equal(checkPort(parseService('    check: none\n')), null);
  });
});

describe('what may look like a conflict but is none', () => {
  it('one port inside a range, a range inside a range, all inside every port, in any order', () => {
    const config = parse(`${HEAD}defaults: { method: nat, check: none }
services:
  every: { listen: '203.0.113.10:*/tcp', servers: { a: 10.0.1.1 } }
  wide: { listen: 203.0.113.10:8000-8099/tcp, servers: { a: 10.0.1.2 } }
  narrow: { listen: [203.0.113.10:8000-8009/tcp, 203.0.113.10:8080-8099/tcp], servers: { a: 10.0.1.3 } }
  wider: { listen: 203.0.113.10:8000-8199/tcp, servers: { a: 10.0.1.5 } }
  exact: { listen: 203.0.113.10:8005/tcp, servers: { a: 10.0.1.4:80 } }
`);
    assert.deepEqual(
      config.services.flatMap(({ listens }) => listens.map(formatListen)),
      [
        '203.0.113.10:*/tcp',
        '203.0.113.10:8000-8099/tcp',
        '203.0.113.10:8000-8009/tcp',
        '203.0.113.10:8080-8099/tcp',
        '203.0.113.10:8000-8199/tcp',
        '203.0.113.10:8005/tcp',
      ],
    );
  });

  it('one port for TCP and for UDP', () => {
    const dns = parseService('', '', 'nat', '[203.0.113.10:53/udp, 203.0.113.10:53/tcp]');
    assert.deepEqual(
      dns.listens.map(({ protocol }) => protocol),
      ['udp', 'tcp'],
    );
  });

  it('overlapping ranges of TCP and UDP', () => {
    const listen = '[203.0.113.10:8000-8099/udp, 203.0.113.10:8050-8150/tcp]';
    assert.equal(parseService('', '', 'nat', listen).listens.length, 2);
  });

  it('one server in two nat services', () => {
    const config = parse(`${HEAD}defaults: { method: nat }
services:
  web: { listen: 203.0.113.10:80/tcp, servers: { a: 10.0.1.1:80 } }
  shop: { listen: 203.0.113.11:80/tcp, servers: { a: 10.0.1.1:80 } }
`);
    assert.equal(config.services.length, 2);
  });

  it('a server that keeps the port beside one with a port of its own, when there are two listens', () => {
    const listen = '[203.0.113.10:80/tcp, 203.0.113.10:443/tcp]';
    const web = parseService('', '', 'nat', listen, '{ a: 10.0.1.1:80, b: 10.0.1.1 }');
    assert.equal(web.servers.length, 2);
  });

  it('a drained server under a scheduler that ignores weights', () => {
    const servers = '{ a: 10.0.1.1, b: { address: 10.0.1.2, weight: 0 } }';
    assert.equal(parseService('    scheduler: rr\n', '', 'nat', '203.0.113.10:80/tcp', servers).servers[1]?.weight, 0);
  });

  it('a timeout as long as its interval', () => {
    assert.equal(parseService('    check: { every: 1s, timeout: 1s }\n').check?.checks[0]?.timeoutMs, 1000);
  });

  it('a full-nat source that is the VIP, by name or by address', () => {
    assert.deepEqual(parseService('    source: vip\n', '', 'full-nat').sources, []);
    assert.equal(parseService('    source: 203.0.113.10\n', '', 'full-nat').sources[0]?.text, '203.0.113.10');
  });

  it('names that are numbers', () => {
    const web = parseService('', '', 'nat', '203.0.113.10:80/tcp', '{ 1: 10.0.1.1, true: 10.0.1.2 }');
    assert.deepEqual(
      web.servers.map(({ name }) => name),
      ['1', 'true'],
    );
  });
});

function parse(text: string): Config {
  return parseConfig(text, 'fairlead.yaml');
}

function firstService(config: Config): ServiceConfig {
  const [service] = config.services;
  assert.ok(service, 'no service');
  return service;
}

/** A service "web" with some lines of its own, below some lines at the top. */
function parseService(
  lines: string,
  top = '',
  method = 'nat',
  listen = '203.0.113.10:80/tcp',
  servers = '{ a: 10.0.1.1 }',
): ServiceConfig {
  const named = method === '' ? '' : `    method: ${method}\n`;
  return firstService(
    parse(`${HEAD}${top}services:\n  web:\n    listen: ${listen}\n${named}${lines}    servers: ${servers}\n`),
  );
}

function timersOf({ check }: ServiceConfig): number[] {
  return (check?.checks ?? []).flatMap(({ everyMs, timeoutMs, rise, fall }) => [everyMs, timeoutMs, rise, fall]);
}

function checkPort(service: ServiceConfig | undefined): number | null {
  const server = service?.servers[0];
  assert.ok(service && server, 'no server');
  const check = checkPlanOf(service, server)?.checks[0];
  return check === undefined ? null : checkPortOf(service, server, check);
}
