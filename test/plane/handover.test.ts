// A region that is being moved from: what is ours is dropped there and nothing changes, so that neither the host nor two
// engines at once take a frame. Over the real core.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { layout, reasons, verdictNames } from '../../src/native/layout.ts';
import { readPlacement } from '../../src/plane/adopt.ts';
import { readReasons } from '../../src/plane/counters.ts';
import { readFlows } from '../../src/plane/flow-reader.ts';
import { planImage } from '../../src/plane/image.ts';
import { makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { ReplayPlane } from '../../src/plane/plane.ts';
import { activeHalfOf, readHeader } from '../../src/plane/sections.ts';
import { buildFrame, type FrameSpec } from '../packet/frame.ts';
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

function open(t: TestContext, workers = 1): ReplayPlane {
  const plane = makeReplayPlane({ ...counts, workers, traffic: workers * counts.servers }, workers);
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
