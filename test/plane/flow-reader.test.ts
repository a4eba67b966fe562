import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layout } from '../../src/native/layout.ts';
import { parseAddress } from '../../src/net/address.ts';
import { type FlowFilter, type FlowRecord, readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { ticksFor } from '../../src/plane/image-writer.ts';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { emptyPlacement } from '../../src/plane/placement.ts';
import type { Plane } from '../../src/plane/plane.ts';
import { writeFlow } from './flow-writer.ts';
import { configOf, targetOf, WEB } from './targets.ts';

function makePlane(flows = 4096): Plane {
  const plane = makeMemoryPlane(smallCounts(flows, 1), 1);
  const placement = emptyPlacement(plane.counts.tables);
  plane.commit(planImage(targetOf(configOf(WEB)), placement, plane.counts, { generation: 0, nowMs: 0 }).image);
  return plane;
}

function read(plane: Plane, filter: FlowFilter = {}, tick = 0): FlowRecord[] {
  return [...readFlows(plane, filter, () => tick)].flat();
}

test('a flow is shown with both its ends, its state and its times', () => {
  const plane = makePlane();
  writeFlow(plane, { index: 17, client: '198.51.100.7', clientPort: 40_000, seen: 100, created: 50 });
  const [flow, ...more] = read(plane, {}, 110);
  assert.deepEqual(more, []);
  assert.equal(flow?.client.text, '198.51.100.7');
  assert.equal(flow.clientPort, 40_000);
  assert.equal(flow.vip.text, '203.0.113.10');
  assert.equal(flow.server.text, '10.0.1.11');
  assert.equal(flow.serverPort, 8080);
  assert.equal(flow.local, null);
  assert.equal(flow.state, 'established');
  assert.equal(flow.idleMs, Math.round((10 * 2 ** 27) / 1e6));
  assert.equal(flow.ageMs, Math.round((60 * 2 ** 27) / 1e6));
  assert.equal(flow.expiresInMs, Math.round(((ticksFor(7_440_000) - 10) * 2 ** 27) / 1e6));
});

test('an IPv6 flow is read from its own section, a full-nat one shows where it leaves from', () => {
  const plane = makePlane();
  writeFlow(plane, { index: 9, client: '2001:db8::7', clientPort: 5, vip: '2001:db8::10', server: 'fd00::11' });
  writeFlow(plane, { index: 8, client: '198.51.100.7', clientPort: 6, local: '203.0.113.10', localPort: 1024 });
  const [full, v6] = read(plane);
  assert.equal(v6?.client.text, '2001:db8::7');
  assert.equal(v6.server.text, 'fd00::11');
  assert.equal(full?.local?.text, '203.0.113.10');
  assert.equal(full.localPort, 1024);
});

test('filters by client, server and server slot show only what matches', () => {
  const plane = makePlane();
  writeFlow(plane, { index: 1, client: '198.51.100.7', clientPort: 1000 });
  writeFlow(plane, { index: 2, client: '198.51.100.7', clientPort: 1001, server: '10.0.1.12', serverSlot: 1 });
  writeFlow(plane, { index: 3, client: '198.51.100.8', clientPort: 1000 });
  const ports = (filter: FlowFilter): number[] => read(plane, filter).map((flow) => flow.clientPort);
  const address = (text: string) => parseAddress(text)!;
  assert.deepEqual(ports({ client: { address: address('198.51.100.7'), port: null } }), [1000, 1001]);
  assert.deepEqual(ports({ client: { address: address('198.51.100.7'), port: 1001 } }), [1001]);
  assert.deepEqual(ports({ server: { address: address('10.0.1.12'), port: 8080 } }), [1001]);
  assert.deepEqual(ports({ server: { address: address('10.0.1.12'), port: 80 } }), []);
  assert.deepEqual(ports({ serverSlots: new Set([0]) }), [1000, 1000]);
  assert.deepEqual(ports({ client: { address: address('2001:db8::1'), port: null } }), []);
});

test('a flow of a former generation, of a removed server or still being made is no flow', () => {
  const plane = makePlane();
  writeFlow(plane, { index: 1, client: '198.51.100.7', clientPort: 1, generation: 7 });
  writeFlow(plane, { index: 2, client: '198.51.100.7', clientPort: 2, serverSlot: 5 });
  writeFlow(plane, { index: 3, client: '198.51.100.7', clientPort: 3, state: 'claimed' });
  writeFlow(plane, { index: 4, client: '198.51.100.7', clientPort: 4, state: 'free' });
  assert.deepEqual(read(plane), []);
});

test('a flow whose slot is given to another while it is read is left out', (t) => {
  const plane = makePlane();
  writeFlow(plane, { index: 1, client: '198.51.100.7', clientPort: 1 });
  const words = new Uint32Array(plane.section('flows'));
  const control = layout.fl_flow.octets / 4;
  let looks = 0;
  const load = Atomics.load.bind(Atomics);
  t.mock.method(Atomics, 'load', (array: Uint32Array, at: number) => {
    if (at === control && ++looks === 2) words[control]! += 1 << 16;
    return load(array, at);
  });
  assert.deepEqual(read(plane), []);
  assert.equal(looks, 2);
});

test('a large table comes in batches, with pauses in its empty stretches', () => {
  const plane = makePlane(1 << 20);
  for (let i = 0; i < 3000; i++) writeFlow(plane, { index: i, client: '198.51.100.7', clientPort: i });
  const batches = [...readFlows(plane, {})];
  assert.equal(batches.flat().length, 3000);
  assert.ok(batches.every((batch) => batch.length < 600));
  assert.ok(batches.length >= 7, `${batches.length} batches`);
});
