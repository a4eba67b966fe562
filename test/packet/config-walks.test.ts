// Walks at random over what operators and servers do: services and servers come, go and change, are drained, weighed, fall
// ill and recover, files are wrong, all of it through the real control plane, with traffic between. Whatever happens, a
// flow whose own server and service it did not touch stays where it is, in both directions; a new one goes where the
// configuration of this moment says, and nowhere else; and the counts of every server are those of the table.
//
// Another walk: SEED=12345 node --test test/packet/config-walks.test.ts

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import type { HostView } from '../../src/config/host-view.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { readHeader } from '../../src/plane/sections.ts';
import { makeControlled } from '../control/controlled.ts';
import { fakeHost, loading } from '../control/fakes.ts';
import { configOf } from '../plane/targets.ts';
import { engines, type Engine } from './engines.ts';
import { CLIENT, range } from './connections.ts';
import type { FrameSpec } from './frame.ts';
import { CLIENT_MAC, INSIDE, INSIDE_MAC, openStage, OUTSIDE_MAC, serverMac } from './stage.ts';

const STEPS = 60;
/** Each run walks a way of its own, too, which the name of its test tells. */
const SEEDS = process.env.SEED === undefined ? [randomInt(1 << 30), 1, 2] : [Number(process.env.SEED)];
/** Those that know no weights take 0 and 1 only. */
const UNWEIGHTED = ['rr', 'lc'];
const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'p2c', 'sh', 'maglev', 'lrt'];
const CLIENTS = { 4: CLIENT, 6: '2001:db8:c::7' } as const;

const host: HostView = {
  ...fakeHost,
  addresses: [
    ...fakeHost.addresses,
    { link: 'eth0', prefix: parsePrefix('2001:db8::1/64')! },
    { link: 'eth1', prefix: parsePrefix('fd00::1/64')! },
  ],
};

interface Server {
  readonly name: string;
  readonly address: string;
  port: number;
  weight: number;
  /** What an operator said of it. */
  override: number | null;
  isDrained: boolean;
  isDown: boolean;
}

interface Service {
  readonly name: string;
  readonly family: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly vip: string;
  vipPort: number;
  method: 'nat' | 'full-nat';
  scheduler: string;
  onDown: 'keep' | 'reset' | 'rehash';
  servers: Server[];
}

interface Flow {
  readonly service: string;
  readonly server: string;
  readonly clientPort: number;
  /** Where the table has it: server, its port, slot, and the end towards it. */
  readonly place: string;
  readonly local: { readonly address: string; readonly port: number };
}

const bracket = (address: string): string => (address.includes(':') ? `[${address}]` : address);
const weightOf = ({ isDrained, isDown, override, weight }: Server): number =>
  isDrained || isDown ? 0 : (override ?? weight);

const least = (scheduler: string, weight: number): number =>
  UNWEIGHTED.includes(scheduler) ? Math.min(weight, 1) : weight;

function textOf(services: readonly Service[]): string {
  return services
    .map(({ name, vip, vipPort, protocol, method, scheduler, onDown, servers }) => {
      const lines = servers.map(
        (it) => `${it.name}: { address: "${bracket(it.address)}:${it.port}", weight: ${least(scheduler, it.weight)} }`,
      );
      return `
  ${name}:
    listen: "${bracket(vip)}:${vipPort}/${protocol}"
    method: ${method}
    scheduler: ${scheduler}
    check: { type: tcp, every: 1s, timeout: 500ms, rise: 1, fall: 1 }
    on-server-down: ${onDown}
    servers:
      ${lines.join('\n      ')}
`;
    })
    .join('');
}

async function openWalk(t: TestContext, engine: Engine, seed: number) {
  const { below, pick } = randomOf(seed);
  const stage = openStage(t, engine);
  let named = 0;
  let clientPort = 1024;
  let looks = 0;
  let flows: Flow[] = [];
  let services: Service[] = range(0, 4).map(() => makeService());
  const { clock, checks, controller, start } = makeControlled(configOf(textOf(services)), {
    plane: stage.plane,
    inspect: () => host,
  });
  t.after(() => controller.stop());
  await start();

  function makeServer(family: 4 | 6): Server {
    const number = ++named;
    const address =
      family === 4 ? `10.0.${1 + (number >> 7)}.${2 + (number & 127)}` : `fd00::a00:${(256 + number).toString(16)}`;
    return {
      name: `s${number}`,
      address,
      port: 8080,
      weight: 1 + below(3),
      override: null,
      isDrained: false,
      isDown: false,
    };
  }

  function makeService(): Service {
    const number = ++named;
    const family = pick([4, 6] as const);
    return {
      name: `web${number}`,
      family,
      protocol: pick(['tcp', 'udp'] as const),
      vip: family === 4 ? `203.0.113.${10 + (number % 200)}` : `2001:db8::${(16 + number).toString(16)}`,
      vipPort: 80,
      method: pick(['nat', 'full-nat'] as const),
      scheduler: pick(SCHEDULERS),
      onDown: pick(['keep', 'reset', 'rehash'] as const),
      servers: range(0, 1 + below(4)).map(() => makeServer(family)),
    };
  }

  /** Both clocks. */
  async function wait(ms: number): Promise<void> {
    stage.wait(ms / 1000);
    await clock.advance(ms);
  }

  async function reload(): Promise<void> {
    const answer = controller.reload(loading(() => configOf(textOf(services))));
    await clock.advance(0);
    await answer;
  }

  const requestOf = (it: Service, port: number, flags: string): FrameSpec => ({
    toMac: OUTSIDE_MAC,
    fromMac: CLIENT_MAC,
    from: CLIENTS[it.family],
    to: it.vip,
    fromPort: port,
    toPort: it.vipPort,
    protocol: it.protocol,
    flags,
  });

  const replyOf = (it: Service, { server, local }: Flow, serverPort: number, flags: string): FrameSpec => ({
    toMac: INSIDE_MAC,
    fromMac: serverMac(server),
    from: server,
    to: local.address,
    fromPort: serverPort,
    toPort: local.port,
    protocol: it.protocol,
    flags,
  });

  /** By service, as far as it has not been moved to another port since, and client port. */
  function table(): Map<string, Flow> {
    const owners = new Map(services.map((it) => [`${it.vip} ${it.vipPort} ${it.protocol}`, it.name]));
    return new Map(
      stage.flows().map((it) => {
        const service = owners.get(`${it.vip.text} ${it.vipPort} ${it.protocol}`) ?? '';
        const local = { address: (it.local ?? it.client).text, port: it.localPort };
        const place = `${it.server.text} ${it.serverPort} slot ${it.serverSlot} by ${local.address} ${local.port}`;
        return [
          `${service} ${it.clientPort}`,
          { service, server: it.server.text, clientPort: it.clientPort, place, local },
        ];
      }),
    );
  }

  /** A new flow goes where the configuration of this moment says. */
  function begin(it: Service): void {
    const port = clientPort++;
    const able = it.servers.filter((server) => weightOf(server) > 0);
    const { said, frame } = stage.send(requestOf(it, port, 'S'));
    if (able.length === 0) {
      assert.equal(said, 'answered: refused-no-server', `${it.name} has no server`);
      return;
    }
    assert.equal(said, 'forwarded: new-flow', `${it.name} takes a new flow`);
    const flow = table().get(`${it.name} ${port}`);
    assert.ok(flow, `${it.name} has the new flow`);
    const server = able.find(({ address }) => address === flow.server);
    assert.ok(
      server,
      `${it.name}: a new flow went to ${flow.server}, of ${able.map(({ address }) => address).join(' ')}`,
    );
    assert.equal(macOf(frame), serverMac(server.address));
    assert.equal(flow.local.address, it.method === 'nat' ? CLIENTS[it.family] : it.vip, `${it.name} is ${it.method}`);
    assert.equal(stage.send(replyOf(it, flow, server.port, 'SA'), { via: INSIDE }).said, 'forwarded: server-hit');
    assert.equal(stage.send(requestOf(it, port, 'A')).said, 'forwarded: client-hit');
    flows.push(flow);
  }

  /** A flow works in both directions, and over its own server. */
  function speak(flow: Flow): void {
    const it = services.find(({ name }) => name === flow.service)!;
    const server = it.servers.find(({ address }) => address === flow.server)!;
    const there = stage.send(requestOf(it, flow.clientPort, 'A'));
    assert.equal(there.said, 'forwarded: client-hit', `${flow.service} ${flow.clientPort} is known`);
    assert.equal(macOf(there.frame), serverMac(flow.server), `${flow.service} ${flow.clientPort} is where it was`);
    const back = stage.send(replyOf(it, flow, server.port, 'A'), { via: INSIDE });
    assert.equal(back.said, 'forwarded: server-hit');
    assert.equal(macOf(back.frame), CLIENT_MAC);
  }

  /** What holds after each change. */
  function check(): void {
    const servers = services.flatMap((it) => it.servers);
    for (const { address } of servers) stage.setHop(address, serverMac(address));
    const there = table();
    looks += flows.length;
    for (const flow of flows) {
      assert.equal(
        there.get(`${flow.service} ${flow.clientPort}`)?.place,
        flow.place,
        `the flow of ${flow.service}, client port ${flow.clientPort}`,
      );
    }
    for (let i = 0; i < 6 && flows.length > 0; i++) speak(pick(flows));
    for (const it of services) for (let i = below(3); i >= 0; i--) begin(it);
    stage.assertCountsExact(servers.map(({ address }) => address));
  }

  /** Those of a server, or all of a service, may end, or move. */
  function forget(it: Service, server?: Server): void {
    flows = flows.filter((flow) => flow.service !== it.name || (server && flow.server !== server.address));
  }

  const changes: Record<string, (it: Service, server: Server) => Promise<void>> = {
    'a server comes': async (it) => {
      if (it.servers.length < 8) it.servers.splice(below(it.servers.length + 1), 0, makeServer(it.family));
      await reload();
    },
    'a server goes': async (it, server) => {
      if (it.servers.length === 1) return;
      it.servers = it.servers.filter((other) => other !== server);
      forget(it, server);
      await reload();
    },
    'a server has another port': async (it, server) => {
      server.port += 1;
      server.isDown = false; // what operators said is of its name, and what checks found is of its port
      forget(it, server);
      await reload();
    },
    'a server has another weight': async (_, server) => {
      server.weight = below(5);
      await reload();
    },
    'an operator gives it a weight': (it, server) => {
      const weight = below(5);
      server.override = weight === least(it.scheduler, server.weight) ? null : weight;
      controller.override(it.name, server.name, { weight });
      return Promise.resolve();
    },
    'a server is drained': (it, server) => {
      server.isDrained = true;
      controller.override(it.name, server.name, { admin: 'drained' });
      return Promise.resolve();
    },
    'a server is enabled': (it, server) => {
      server.isDrained = false;
      controller.override(it.name, server.name, { admin: 'enabled' });
      return Promise.resolve();
    },
    'a server falls ill': async (it, server) => {
      server.isDown = true;
      checks.down.add(`${server.address}:${server.port}`);
      if (it.onDown !== 'keep') forget(it, server);
      await wait(2000);
    },
    'a server recovers': async (_, server) => {
      server.isDown = false;
      checks.down.delete(`${server.address}:${server.port}`);
      await wait(2000);
    },
    'servers stand in another order': async (it) => {
      it.servers.reverse();
      services.reverse();
      await reload();
    },
    'another scheduler': async (it) => {
      it.scheduler = pick(SCHEDULERS);
      await reload();
    },
    'another method': async (it) => {
      it.method = it.method === 'nat' ? 'full-nat' : 'nat';
      forget(it);
      await reload();
    },
    'another way to end flows': async (it) => {
      it.onDown = pick(['keep', 'reset', 'rehash'] as const);
      for (const server of it.servers) if (server.isDown) forget(it, server);
      await reload();
    },
    'a service listens on another port': async (it) => {
      it.vipPort += 1;
      forget(it);
      await reload();
    },
    'a service comes': async () => {
      if (services.length < 8) services.push(makeService());
      await reload();
    },
    'a service goes': async (it) => {
      if (services.length === 1) return;
      services = services.filter((other) => other !== it);
      forget(it);
      await reload();
      assert.match(
        stage.send(requestOf(it, clientPort++, 'S')).said,
        /^(answered: refused-no-service|passed: not-ours)$/,
      );
    },
    'a file that is wrong': async (it) => {
      const { generation } = readHeader(stage.plane);
      const wrong = textOf(services).replace(`method: ${it.method}`, 'method: teleport');
      await assert.rejects(controller.reload(loading(() => configOf(wrong))), /teleport/);
      assert.equal(readHeader(stage.plane).generation, generation);
    },
    'a sweep': () => {
      stage.age();
      return Promise.resolve();
    },
  };

  return {
    check,
    step: async (): Promise<string> => {
      const [name, change] = pick(Object.entries(changes));
      const it = pick(services);
      await change(it, pick(it.servers));
      await wait(100);
      return `${name} (${it.name})`;
    },
    /** How often a flow was found where it was. */
    looks: () => looks,
  };
}

const macOf = (frame: Uint8Array | null): string =>
  Buffer.from(frame ?? [])
    .toString('hex', 0, 6)
    .match(/../g)
    ?.join(':') ?? '';

for (const engine of engines) {
  describe(`${engine.name}: random walks of configuration changes`, () => {
    for (const seed of engine.isKernel ? SEEDS.slice(0, 1) : SEEDS) {
      test(`no flow moves whose server was not touched, and counts are exact (seed ${seed})`, async (t) => {
        const walk = await openWalk(t, engine, seed);
        const steps: string[] = ['the start'];
        try {
          walk.check();
          for (let step = 0; step < STEPS; step++) {
            steps.push(await walk.step());
            walk.check();
          }
        } catch (error) {
          throw new Error(`seed ${seed}, after ${steps.length - 1} steps: ${steps.slice(-5).join('; ')}`, {
            cause: error,
          });
        }
        assert.ok(walk.looks() > 500, `${walk.looks()} times a flow was where it was`);
      });
    }
  });
}
