// A region that is being moved from: what is ours is dropped there and nothing changes, so that neither the host nor two
// engines at once take a frame. Over the real core.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { layout, reasons, verdictNames } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { countFlows, readReasons } from '../../src/plane/counters.ts';
import { readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { ReplayPlane, SectionCounts } from '../../src/plane/plane.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { buildFrame, type FrameSpec } from '../packet/frame.ts';
import { smallCounts } from '../../src/plane/memory-plane.ts';
import { counts } from './planes.ts';
import { configOf, targetOf, WEB } from './targets.ts';

const OUTSIDE = 0;
const INSIDE = 1;
const MAC = '02:00:00:00:00:01';
const SECOND_NS = 1e9;
const FROZEN = 2;

const FROM_CLIENT: FrameSpec = {
  toMac: MAC,
  fromMac: '02:00:00:00:00:c1',
  from: '198.51.100.7',
  to: '203.0.113.10',
  protocol: 'tcp',
  fromPort: 40_000,
  toPort: 80,
  flags: 'S',
};

function open(t: TestContext, workers = 1, sizes: SectionCounts = counts): ReplayPlane {
  const plane = makeReplayPlane({ ...sizes, workers, traffic: workers * sizes.servers }, workers);
  t.after(() => plane.close());
  return plane;
}

/** With one flow in it, of which the server has not answered yet. */
function serve(t: TestContext): { plane: ReplayPlane; fromServer: FrameSpec } {
  const plane = open(t);
  const moment = { generation: readHeader(plane).generation, nowMs: 0 };
  plane.commit(planImage(targetOf(configOf(WEB)), readPlacement(plane), plane.counts, moment).image);
  new BigUint64Array(plane.section('hops')).fill(0x0101_1100_0000_0002n);
  assert.equal(send(plane, FROM_CLIENT), 'forwarded: new-flow');
  const [flow] = [...readFlows(plane, {})].flat();
  assert.ok(flow);
  const fromServer: FrameSpec = {
    ...FROM_CLIENT,
    fromMac: '02:00:00:00:00:11',
    from: flow.server.text,
    to: FROM_CLIENT.from,
    fromPort: flow.serverPort,
    toPort: 40_000,
    flags: 'SA',
  };
  return { plane, fromServer };
}

function send(
  plane: ReplayPlane,
  spec: FrameSpec,
  interfaceId = spec.to === FROM_CLIENT.to ? OUTSIDE : INSIDE,
): string {
  const { verdict, reason } = plane.replay(buildFrame(spec), { interfaceId, nowNs: SECOND_NS });
  return `${verdictNames[verdict]}: ${reasons[reason]?.name}`;
}

function freeze(plane: ReplayPlane): void {
  activeHalfOf(plane, 'settings').setUint32(layout.fl_settings.is_active, FROZEN, true);
}

describe('a frozen region', () => {
  test('drops what is for a VIP, known or not, and what is of a flow', (t) => {
    const { plane, fromServer } = serve(t);
    freeze(plane);
    assert.equal(send(plane, { ...FROM_CLIENT, flags: 'A' }), 'dropped: handover');
    assert.equal(send(plane, { ...FROM_CLIENT, fromPort: 40_001 }), 'dropped: handover');
    assert.equal(send(plane, { ...FROM_CLIENT, toPort: 81 }), 'dropped: handover');
    assert.equal(send(plane, fromServer), 'dropped: handover');
    assert.equal(readReasons(plane).find(({ reason }) => reason === 'handover')?.count, 4);
  });

  test('answers nobody for a VIP', (t) => {
    const { plane } = serve(t);
    const echo: FrameSpec = { ...FROM_CLIENT, protocol: 'icmp', payload: Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1) };
    assert.equal(send(plane, echo), 'answered: echo-reply');
    freeze(plane);
    assert.equal(send(plane, echo), 'dropped: handover');
  });

  test('leaves the host what was never ours', (t) => {
    const { plane, fromServer } = serve(t);
    freeze(plane);
    assert.equal(send(plane, { ...FROM_CLIENT, to: '203.0.113.1' }, OUTSIDE), 'passed: not-ours');
    assert.equal(send(plane, { ...fromServer, fromPort: 22, toPort: 40_002 }), 'passed: not-ours');
  });

  test('does not change a single octet of its flows, nor of what their servers count', (t) => {
    const { plane, fromServer } = serve(t);
    freeze(plane);
    const names = ['flows', 'flows6', 'tags', 'returns', 'server_state', 'service_state', 'traffic'] as const;
    const contents = (): string[] => names.map((name) => Buffer.from(plane.section(name)).toString('hex'));
    const before = contents();
    for (const flags of ['A', 'FA', 'R']) {
      send(plane, { ...FROM_CLIENT, flags });
      send(plane, { ...fromServer, flags });
      send(plane, { ...FROM_CLIENT, fromPort: 41_000, flags });
    }
    send(plane, { ...FROM_CLIENT, fromPort: 41_000 });
    assert.deepEqual(contents(), before);
  });
});

describe('a region that was moved', () => {
  test('forwards in the new plane and drops in the old one', (t) => {
    const { plane: old, fromServer } = serve(t);
    const next = open(t, 3);
    next.takeFrom(old);
    assert.equal(send(old, { ...FROM_CLIENT, flags: 'A' }), 'dropped: handover');
    assert.equal(send(old, fromServer), 'dropped: handover');
    assert.equal(send(next, fromServer), 'forwarded: server-hit');
    assert.equal(send(next, { ...FROM_CLIENT, flags: 'A' }), 'forwarded: client-hit');
    assert.equal(send(next, { ...FROM_CLIENT, fromPort: 40_001 }), 'forwarded: new-flow');
  });

  test('goes on in the old plane when the new one is not to be had', (t) => {
    const { plane: old, fromServer } = serve(t);
    open(t).takeFrom(old);
    old.resume();
    assert.equal(send(old, fromServer), 'forwarded: server-hit');
    assert.equal(send(old, { ...FROM_CLIENT, flags: 'A' }), 'forwarded: client-hit');
  });
});

const EVERY_METHOD = `
  nat: { listen: 203.0.113.10:80/tcp, method: nat, servers: { a: 10.0.1.11:8080, b: 10.0.1.12:8080 } }
  nat6: { listen: '[2001:db8::10]:80/tcp', method: nat, servers: { a: '[2001:db8:1::11]:8080' } }
  full: { listen: 203.0.113.11:80/tcp, method: full-nat, servers: { a: 10.0.1.11:8080 } }
  full6: { listen: '[2001:db8::11]:80/tcp', method: full-nat, servers: { a: '[2001:db8:1::11]:8080' } }
`;
const VIPS = ['203.0.113.10', '2001:db8::10', '203.0.113.11', '2001:db8::11'];

describe('a region that was moved into other sizes', () => {
  /** Each client's SYN and its server's answer, which the flow is asked for again later. */
  function fill(t: TestContext, clients: number) {
    const plane = open(t);
    const moment = { generation: readHeader(plane).generation, nowMs: 0 };
    plane.commit(planImage(targetOf(configOf(EVERY_METHOD)), readPlacement(plane), plane.counts, moment).image);
    new BigUint64Array(plane.section('hops')).fill(0x0101_1100_0000_0002n);
    const fromClients = VIPS.flatMap((to) =>
      Array.from({ length: clients }, (_, at): FrameSpec => {
        const from = to.includes(':') ? '2001:db8:c::7' : '198.51.100.7';
        return { ...FROM_CLIENT, from, to, fromPort: 20_000 + at };
      }),
    );
    for (const spec of fromClients) assert.equal(send(plane, spec, OUTSIDE), 'forwarded: new-flow');
    const fromServers = [...readFlows(plane, {})].flat().map((flow): FrameSpec => {
      const isFullNat = flow.local !== null;
      const to = isFullNat ? flow.local.text : flow.client.text;
      const toPort = isFullNat ? flow.localPort : flow.clientPort;
      const from = flow.server.text;
      return { ...FROM_CLIENT, fromMac: '02:00:00:00:00:11', from, to, fromPort: flow.serverPort, toPort, flags: 'SA' };
    });
    return { plane, fromClients, fromServers };
  }

  for (const slots of [4096 * 4, 1000 * 8]) {
    test(`carries every flow to its place among ${slots} slots, found from both sides`, (t) => {
      const { plane: old, fromClients, fromServers } = fill(t, 300);
      const next = open(t, 3, {
        ...smallCounts(slots, 3),
        services: 128,
        service_state: 128,
        servers: 512,
        hops: 512,
        server_state: 512,
        vips: 1024,
      });
      next.takeFrom(old);
      assert.equal(countFlows(next), 1200);
      for (const spec of fromServers) assert.equal(send(next, spec, INSIDE), 'forwarded: server-hit', spec.to);
      for (const spec of fromClients)
        assert.equal(send(next, { ...spec, flags: 'A' }, OUTSIDE), 'forwarded: client-hit');
      assert.equal(send(next, { ...FROM_CLIENT, fromPort: 50_000 }, OUTSIDE), 'forwarded: new-flow');
    });
  }

  test('keeps established flows before all others where not all fit, and counts what it has', (t) => {
    // So many that they fit whatever their hashes are.
    const { plane: old, fromServers, fromClients } = fill(t, 200);
    const established = fromClients.filter((_, at) => at % 4 === 0);
    for (const spec of fromServers) send(old, spec, INSIDE);
    for (const spec of established) send(old, { ...spec, flags: 'A' }, OUTSIDE);
    const next = open(t, 1, smallCounts(512, 1));
    next.takeFrom(old);
    const kept = countFlows(next);
    assert.ok(kept > 450 && kept <= 512, `${kept} of 512 slots are used`);
    const alive = established.filter(
      (spec) => send(next, { ...spec, flags: 'A' }, OUTSIDE) === 'forwarded: client-hit',
    );
    assert.equal(alive.length, 200);
  });

  test('stays where it is when the configuration does not fit', (t) => {
    const { plane: old, fromClients } = fill(t, 1);
    const next = open(t, 1, { ...smallCounts(4096, 1), services: 32, service_state: 32 });
    assert.throws(() => next.takeFrom(old), /room for fewer services: flows and configuration stay where they are/);
    assert.equal(send(old, fromClients[0]!, OUTSIDE), 'forwarded: client-hit');
  });
});
