// The core reads what the image says, and TypeScript reads what the core wrote: one frame through the real thing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasons, verdictNames } from '../../src/native/layout.ts';
import { type Address, parseAddress } from '../../src/net/address.ts';
import { parseMac } from '../../src/net/mac.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { readFlowCounts, readReasons, readTraffic } from '../../src/plane/counters.ts';
import { currentTick, readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { ReplayPlane } from '../../src/plane/plane.ts';
import { readHeader } from '../../src/plane/sections.ts';
import { counts } from './planes.ts';
import { configOf, outside, targetOf } from './targets.ts';

const CLIENT_MAC = '02:00:00:00:00:07';

function commit(plane: ReplayPlane, services: string, weights: Record<string, number> = {}): void {
  const moment = { generation: readHeader(plane).generation, nowMs: performance.now() };
  plane.commit(planImage(targetOf(configOf(services), weights), readPlacement(plane), plane.counts, moment).image);
  // Every server is known to be behind the inside interface, as the neighbour thread would find out.
  new BigUint64Array(plane.section('hops')).fill(0x0101_1100_0000_0002n);
}

/** A UDP datagram of eight octets: its checksum 0 says that there is none over IPv4; over IPv6 the core takes any. */
function datagram(client: string, clientPort: number, vip: string, vipPort: number): Uint8Array {
  const [from, to] = [parseAddress(client)!, parseAddress(vip)!];
  const header = from.family === 4 ? ipv4(from, to) : ipv6(from, to);
  const udp = new DataView(new ArrayBuffer(16));
  udp.setUint16(0, clientPort);
  udp.setUint16(2, vipPort);
  udp.setUint16(4, 16);
  udp.setUint16(6, from.family === 4 ? 0 : 0x1234);
  const ether = [...outside.mac, ...parseMac(CLIENT_MAC)!, ...(from.family === 4 ? [0x08, 0x00] : [0x86, 0xdd])];
  return Uint8Array.from([...ether, ...header, ...new Uint8Array(udp.buffer)]);
}

function ipv4(from: Address, to: Address): Uint8Array {
  const header = Uint8Array.from([0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0, ...from.bytes, ...to.bytes]);
  const view = new DataView(header.buffer);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(10, ~sum & 0xffff);
  return header;
}

function ipv6(from: Address, to: Address): Uint8Array {
  return Uint8Array.from([0x60, 0, 0, 0, 0, 16, 17, 64, ...from.bytes, ...to.bytes]);
}

function send(plane: ReplayPlane, frame: Uint8Array): string {
  const nowNs = Number(process.hrtime.bigint());
  const { verdict, reason } = plane.replay(frame, { interfaceId: 0, nowNs });
  return `${verdictNames[verdict]}: ${reasons[reason]?.name}`;
}

function open(t: { after(run: () => void): void }): ReplayPlane {
  const plane = makeReplayPlane(counts, 1);
  t.after(() => plane.close());
  return plane;
}

const DNS = `
  dns:
    listen: [203.0.113.53:53/udp, 203.0.113.53:5000-5099/udp]
    method: nat
    scheduler: rr
    servers: { ns-1: 10.0.1.21, ns-2: 10.0.1.22 }
  dns6:
    listen: "[2001:db8::53]:53/udp"
    method: nat
    scheduler: maglev
    servers: { ns-1: "[fd00::21]:5353" }
`;

test('a frame to a listen becomes a flow to a server, and the flow is read back as it is', (t) => {
  const plane = open(t);
  commit(plane, DNS);
  assert.equal(send(plane, datagram('198.51.100.7', 40_000, '203.0.113.53', 53)), 'forwarded: new-flow');
  assert.equal(send(plane, datagram('198.51.100.7', 40_000, '203.0.113.53', 53)), 'forwarded: client-hit');
  const [flow, ...more] = [...readFlows(plane, {})].flat();
  assert.deepEqual(more, []);
  assert.equal(`${flow?.client.text}:${flow?.clientPort}`, '198.51.100.7:40000');
  assert.equal(`${flow?.vip.text}:${flow?.vipPort}`, '203.0.113.53:53');
  assert.match(`${flow?.server.text}:${flow?.serverPort}`, /^10\.0\.1\.2[12]:53$/);
  assert.equal(`${flow?.protocol} ${flow?.state}`, 'udp udp-one-way');
  assert.equal(flow?.clientMac, CLIENT_MAC);
  assert.ok(flow.idleMs < 1000 && flow.expiresInMs > 290_000, `idle ${flow.idleMs}, expires in ${flow.expiresInMs}`);
  assert.deepEqual(readFlowCounts(plane, flow.serverSlot), { active: 0, inactive: 1, total: 1 });
  assert.equal(readTraffic(plane, flow.serverSlot).inFrames, 2);
  assert.equal(readReasons(plane).find(({ reason }) => reason === 'new-flow')?.count, 1);
  assert.ok(Math.abs(currentTick() - Number(process.hrtime.bigint() >> 27n)) <= 1);
});

test('ports of a range, IPv6 and a Maglev table are found as well, and nothing else is', (t) => {
  const plane = open(t);
  commit(plane, DNS);
  assert.equal(send(plane, datagram('198.51.100.7', 1, '203.0.113.53', 5099)), 'forwarded: new-flow');
  assert.equal(send(plane, datagram('198.51.100.7', 1, '203.0.113.53', 5100)), 'answered: refused-no-service');
  assert.equal(send(plane, datagram('198.51.100.7', 1, '203.0.113.54', 53)), 'passed: not-ours');
  assert.equal(send(plane, datagram('2001:db8::7', 7000, '2001:db8::53', 53)), 'forwarded: new-flow');
  const flows = [...readFlows(plane, { client: { address: parseAddress('2001:db8::7')!, port: 7000 } })].flat();
  assert.deepEqual(
    flows.map(({ server, serverPort }) => `${server.text} ${serverPort}`),
    ['fd00::21 5353'],
  );
});

test('a drained server keeps its flows and gets no new ones; one taken out loses them', (t) => {
  const plane = open(t);
  commit(plane, DNS);
  for (let port = 1; port <= 20; port++) send(plane, datagram('198.51.100.7', port, '203.0.113.53', 53));
  const flowsOf = (server: string): number[] =>
    [...readFlows(plane, { server: { address: parseAddress(server)!, port: null } })]
      .flat()
      .map((flow) => flow.clientPort);
  const [kept = 0, ...others] = flowsOf('10.0.1.21');
  assert.equal(others.length, 9);
  commit(plane, DNS, { 'dns/ns-1': 0 });
  assert.equal(send(plane, datagram('198.51.100.7', kept, '203.0.113.53', 53)), 'forwarded: client-hit');
  for (let port = 101; port <= 110; port++) send(plane, datagram('198.51.100.7', port, '203.0.113.53', 53));
  assert.equal(flowsOf('10.0.1.21').length, 10);
  assert.equal(flowsOf('10.0.1.22').length, 20);
  commit(plane, DNS.replace('ns-1: 10.0.1.21, ', ''));
  assert.equal(flowsOf('10.0.1.21').length, 0);
  assert.equal(flowsOf('10.0.1.22').length, 20);
  assert.equal(send(plane, datagram('198.51.100.7', kept, '203.0.113.53', 53)), 'forwarded: new-flow');
});
