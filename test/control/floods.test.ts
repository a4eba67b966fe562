// What the control plane says of a service that the data plane has made compute-only: a plane whose words the test writes, a
// clock moved by hand.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { viewServices } from '../../src/admin/views.ts';
import { formatServices } from '../../src/cli/services.ts';
import { constants, layout } from '../../src/native/layout.ts';
import { currentTick } from '../../src/plane/flow-reader.ts';
import { configOf } from '../plane/targets.ts';
import { makeControlled } from './controlled.ts';

const SERVICES = `
  web: { listen: 203.0.113.10:80/tcp, method: l2-dsr, check: none, half-open: 500, servers: { a: 10.0.1.11 } }
  full: { listen: 203.0.113.11:80/tcp, method: full-nat, check: none, servers: { a: 10.0.1.12 } }
  dns: { listen: 203.0.113.11:53/udp, method: nat, check: none, servers: { a: 10.0.1.12 } }
`;

async function start(t: TestContext) {
  const { plane, clock, controller, events, start: begin } = makeControlled(configOf(SERVICES));
  t.after(() => controller.stop());
  await begin();
  const { half_open, computing_since } = layout.fl_service_state;
  const state = new DataView(plane.section('service_state'));
  return {
    clock,
    controller,
    /** As workers would, of the first service. */
    write: (unanswered: number, since: number) => {
      state.setUint32(half_open, unanswered * constants.halfOpenOne, true);
      state.setUint32(half_open + 4, currentTick(), true);
      state.setUint32(computing_since, since, true);
    },
    said: () => events.recent().map(({ kind, service, reason }) => `${kind} ${service}: ${reason}`),
  };
}

test('it is told once that a service goes compute-only, and once that it does no more', async (t) => {
  const { clock, write, said } = await start(t);
  write(500, currentTick());
  await clock.advance(1000);
  const begun =
    'service-compute-only web: 500 SYNs without an answer: SYNs go on by the hash, and their ACK enters the flow';
  assert.deepEqual(said(), [begun]);
  write(200, 0);
  await clock.advance(1000);
  assert.deepEqual(said(), [
    begun,
    'service-compute-only-over web: so few SYNs are without an answer again that each enters its flow',
  ]);
});

test('services say since when, how many SYNs have no answer, and that UDP has no such thing', async (t) => {
  const { controller, write } = await start(t);
  const ticks = Math.round(60_000 / (2 ** constants.tickShift / 1e6));
  write(480, currentTick() - ticks);
  const [web, full, dns] = viewServices(controller.state());
  assert.equal(web?.halfOpenMost, 500);
  assert.ok(Math.abs((web?.halfOpen ?? 0) - 480) < 20, `${web?.halfOpen} of about 480`);
  const since = Date.parse(web?.computeOnlySince ?? '');
  assert.ok(Math.abs(Date.now() - 60_000 - since) < 5000, `since ${web?.computeOnlySince}`);
  assert.deepEqual([full?.halfOpen, full?.halfOpenMost], [0, 64_512 / 8], 'an eighth of the ports to its one server');
  assert.deepEqual([dns?.halfOpen, dns?.halfOpenMost, dns?.computeOnlySince], [null, null, null]);
  const text = formatServices(viewServices(controller.state()));
  assert.match(text, /web .*up, compute-only since \d{4}-/);
  assert.doesNotMatch(text, /(full|dns) .*compute-only/);
});
