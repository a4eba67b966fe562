// Ends towards the server: no two flows ever share one. full-nat gives each flow a source port of its own, nat keeps the
// client's and so must see when two services would put it on one server port.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readHalfOpen } from '../../src/plane/counters.ts';
import { engines } from './engines.ts';
import { addressesOf, type Exchange, reply, request, requestOut, serviceOf } from './exchange.ts';
import { addressOf, buildFrame, checksumOfIpv4, put16 } from './frame.ts';
import { INSIDE, openStage, type Stage, TICK_NS } from './stage.ts';

const full: Exchange = { method: 'full-nat', protocol: 'udp', family: 4 };
const full6: Exchange = { ...full, family: 6 };
const nat: Exchange = { ...full, method: 'nat' };
const { client, vip, server } = addressesOf(full);
const PORTS = 64_512;
const EXPIRY = 300; // s, of a datagram without an answer

for (const engine of engines) {
  describe(`${engine.name}: ends towards the server`, () => {
    for (const exchange of [full, full6]) {
      test(`two clients with equal ports have different ones towards the server, and each gets its answer (IPv${exchange.family})`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const first = addressesOf(exchange).client;
        const clients = [first, first.replace(/7$/, '8')];
        for (const from of clients) stage.send({ ...request(exchange), from });
        const flows = stage.flows();
        assert.deepEqual(flows.map((flow) => flow.client.text).toSorted(), clients.toSorted());
        assert.equal(new Set(flows.map(({ localPort }) => localPort)).size, 2);
        for (const flow of flows) {
          const local = { address: flow.local!.text, port: flow.localPort };
          const { said, frame } = stage.send(reply(exchange, local), { via: INSIDE });
          assert.equal(said, 'forwarded: server-hit');
          const to = exchange.family === 4 ? frame!.subarray(30, 34) : frame!.subarray(38, 54);
          assert.deepEqual([...to], [...flow.client.bytes]);
        }
      });
    }

    test('flows leave from every address of the pool, and the server’s answers come back by it', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(full, ['source: 203.0.113.100-203.0.113.103']));
      for (let port = 1; port <= 400; port++) stage.send({ ...request(full), fromPort: port });
      const used = new Map<string, number>();
      for (const { local } of stage.flows()) used.set(local!.text, (used.get(local!.text) ?? 0) + 1);
      const residues = new Set(stage.flows().map(({ local, localPort }) => `${local!.text} ${localPort % 4}`));
      assert.equal(residues.size, 16, 'each address has ports of all kinds');
      assert.deepEqual([...used.keys()].toSorted(), [
        '203.0.113.100',
        '203.0.113.101',
        '203.0.113.102',
        '203.0.113.103',
      ]);
      assert.ok(
        [...used.values()].every((count) => count > 20),
        JSON.stringify([...used]),
      );
      for (const { local, localPort } of stage.flows().slice(0, 20)) {
        const back = stage.send(reply(full, { address: local!.text, port: localPort }), { via: INSIDE });
        assert.equal(back.said, 'forwarded: server-hit');
      }
    });

    test('a server’s frame to a port that no flow has is dropped: it was for nobody else', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(full, ['source: 203.0.113.100']));
      stage.send(request(full));
      const [flow] = stage.flows();
      const wrong = { address: '203.0.113.100', port: flow!.localPort ^ 1 };
      assert.equal(stage.send(reply(full, wrong), { via: INSIDE }).said, 'answered: refused-no-service');
      const stranger = { ...reply(full, { ...wrong, port: flow!.localPort }), from: '10.0.1.12' };
      assert.equal(stage.send(stranger, { via: INSIDE }).said, 'answered: refused-no-service');
    });

    test('a freed port serves again', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(full));
      for (let round = 0; round < 3; round++) {
        for (let port = 1; port <= 500; port++) stage.send({ ...request(full), fromPort: port });
        assert.equal(new Set(stage.flows().map(({ localPort }) => localPort)).size, 500);
        stage.wait(400);
        assert.equal(stage.age(), 500);
        assert.ok(new BigUint64Array(stage.plane.section('returns')).every((slot) => slot === 0n));
      }
    });

    // In the kernel any processor finds any flow: nothing is steered there.
    if (!engine.isKernel)
      test('ports are of the worker that has the flow, so that answers can be steered to it', (t) => {
        const stage = openStage(t, engine, { workers: 4 });
        stage.configure(serviceOf(full));
        for (let port = 1; port <= 100; port++) stage.send({ ...request(full), fromPort: port });
        assert.deepEqual(new Set(stage.flows().map(({ localPort }) => localPort % 4)), new Set([0]));
      });

    test('when the ports towards a server run out, flows in use keep theirs, others give them away or are refused', (t) => {
      const stage = openStage(t, engine, { flows: 131_072 });
      stage.configure(serviceOf(full));
      settleClients(stage, PORTS);
      const before = new Map(stage.flows().map(({ client, localPort }) => [client.text, localPort]));
      assert.ok(before.size <= PORTS && before.size > PORTS * 0.97, `${before.size} of ${PORTS} ports`);
      const said = floodClients(stage, PORTS, PORTS);
      assert.deepEqual(Object.keys(said).toSorted(), ['dropped: no-port', 'forwarded: new-flow']);
      const flows = stage.flows();
      const kept = flows.filter(({ client, localPort }) => before.get(client.text) === localPort);
      assert.equal(kept.length, before.size);
      assert.ok((said['forwarded: new-flow'] ?? 0) > flows.length - kept.length, 'newcomers give way to one another');
      assert.equal(new Set(flows.map(({ localPort }) => localPort)).size, flows.length);
      assert.ok(flows.every(({ localPort }) => localPort >= 1024));
      for (let index = 0; index < flows.length; index += 997) {
        const flow = flows[index]!;
        const local = { address: flow.local!.text, port: flow.localPort };
        assert.equal(stage.send(reply(full, local), { via: INSIDE }).said, 'forwarded: server-hit');
      }
      stage.assertCountsExact([server]);
    });

    test('a client’s port leaves by the same port again, and who finds none may find one by trying again', (t) => {
      const stage = openStage(t, engine, { flows: 131_072 });
      stage.configure(serviceOf(full));
      const soon = 2000;
      settleClients(stage, soon);
      const before = new Map(stage.flows().map(({ client, localPort }) => [client.text, localPort]));
      stage.wait(EXPIRY / 2);
      settleClients(stage, PORTS, soon);
      stage.wait(EXPIRY / 2);
      assert.equal(stage.age(), soon, 'ports are free again');
      const isRefused = (one: number): boolean => floodClients(stage, 1, one)['dropped: no-port'] === 1;
      let unlucky = 3 * PORTS;
      while (!isRefused(unlucky) && unlucky < 3 * PORTS + soon) unlucky++;
      let tries = 0;
      // Before the ports of all the others are free.
      for (; tries < 50 && isRefused(unlucky); tries++) stage.wait(EXPIRY / 200);
      assert.ok(tries > 0 && tries < 50, `${tries} tries`);
      stage.wait(EXPIRY);
      stage.age();
      floodClients(stage, soon);
      const same = stage.flows().filter(({ client, localPort }) => before.get(client.text) === localPort).length;
      assert.ok(same > soon * 0.9, `${same} of ${soon}`);
    });

    test('amid a flood that has all ports an honest SYN is entered, and its client remembered', (t) => {
      const tcp: Exchange = { ...full, protocol: 'tcp' };
      const stage = openStage(t, engine, { flows: 131_072 });
      stage.configure(serviceOf(tcp, ['sticky: { by: client, for: 10m }', `half-open: ${2 * PORTS}`]));
      floodClients(stage, 2 * PORTS, 0, tcp);
      assert.notEqual(readHalfOpen(stage.plane, 0, Math.floor(stage.nowNs / TICK_NS)).computeOnlyForMs, null);
      assert.deepEqual(floodClients(stage, 500, 3 * PORTS, tcp), { 'forwarded: new-flow': 500 });
      const entered = stage.flows().filter(({ client }) => client.bytes[1]! >= 2);
      const remembered = new Set(stage.stickies().map(({ client }) => client.address.text));
      const known = entered.filter(({ client }) => remembered.has(client.text)).length;
      // Some have given way to others meanwhile, here as there.
      assert.ok(entered.length > 250 && known > entered.length * 0.8, `${known} of ${entered.length}`);
    });

    const twoServices = `${serviceOf(nat)}${serviceOf(nat).replace('web:', 'other:').replace(':80/', ':81/')}`;

    test('nat: a second service may not put a client’s port on a server port that carries it already', (t) => {
      const stage = openStage(t, engine);
      stage.configure(twoServices);
      assert.equal(stage.send(request(nat)).said, 'forwarded: new-flow');
      assert.equal(stage.send({ ...request(nat), toPort: 81 }).said, 'dropped: tuple-taken');
      assert.equal(stage.send({ ...request(nat), toPort: 81, fromPort: 40_001 }).said, 'forwarded: new-flow');
      assert.equal(stage.send({ ...request(nat), toPort: 81, from: '198.51.100.8' }).said, 'forwarded: new-flow');
      assert.equal(stage.send(request(nat)).said, 'forwarded: client-hit');
    });

    for (const [end, flags] of [
      ['closed', ['S', 'R']],
      ['in time-wait', ['S', 'server SA', 'A', 'FA', 'server FA']],
    ] as const) {
      test(`nat: a flow that is ${end} gives the server’s port free for another service`, (t) => {
        const tcp: Exchange = { ...nat, protocol: 'tcp' };
        const stage = openStage(t, engine);
        stage.configure(twoServices.replaceAll('/udp', '/tcp'));
        for (const letters of flags) {
          const isAnswer = letters.startsWith('server ');
          const local = { address: client, port: 40_000 };
          if (isAnswer) stage.send(reply(tcp, local, { flags: letters.slice(7) }), { via: INSIDE });
          else stage.send(request(tcp, { flags: letters }));
        }
        assert.equal(stage.send({ ...request(tcp), toPort: 81 }).said, 'forwarded: new-flow');
        assert.deepEqual(
          stage.flows().map(({ vipPort }) => vipPort),
          [81],
        );
        stage.assertCountsExact([server]);
      });
    }

    test('full-nat: two services may share a server port, because the source tells them apart', (t) => {
      const stage = openStage(t, engine);
      stage.configure(twoServices.replaceAll('method: nat', 'method: full-nat'));
      assert.equal(stage.send(request(full)).said, 'forwarded: new-flow');
      assert.equal(stage.send({ ...request(full), toPort: 81 }).said, 'forwarded: new-flow');
    });

    test('a server without a port of its own gets the client’s, over a range of ports', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(nat).replace(':80/', ':8000-8099/').replace(`${server}:8080`, server));
      const { frame } = stage.send({ ...request(nat), toPort: 8042 });
      const expected = { ...requestOut(nat, { address: client, port: 40_000 }), toPort: 8042 };
      assert.deepEqual(Buffer.from(frame!), Buffer.from(buildFrame(expected)));
      assert.equal(stage.flows()[0]?.vip.text, addressOf(vip).text);
    });
  });
}

/** A first frame each of many clients with one port. */
function floodClients(stage: Stage, clients: number, first = 0, exchange = full): Record<string, number> {
  const said: Record<string, number> = {};
  const frame = buildFrame(request(exchange));
  for (let one = first; one < first + clients; one++) {
    put16(frame, 26, 0x0b00 | (one >> 16));
    put16(frame, 28, one & 0xffff);
    put16(frame, 24, 0);
    put16(frame, 24, checksumOfIpv4(frame));
    const outcome = stage.flood(frame);
    said[outcome.said] = (said[outcome.said] ?? 0) + 1;
  }
  return said;
}

/** The same, answered, and used for so long that they do not give way; step by step, since until then they do. */
function settleClients(stage: Stage, clients: number, first = 0): void {
  const answer = buildFrame(reply(full, { address: vip, port: 1 }));
  const steps = 8;
  for (let step = 0; step < steps; step++) {
    const count = Math.ceil(clients / steps);
    floodClients(stage, count, first + step * count);
    const ports = stage.flows({ state: 'udp-one-way' }).map(({ localPort }) => localPort);
    for (const seconds of [3, 0]) {
      for (const port of ports) {
        put16(answer, 36, port);
        stage.flood(answer, { via: INSIDE });
      }
      stage.wait(seconds);
    }
  }
}
