// What an operator does while clients are busy: drain, enable, reload. No request may notice.
import { equal, ok } from 'node:assert/strict';
import { everyEngineAndMode } from '../lib/engine.ts';
import type { Scenario } from '../lib/scenario.ts';
import { assertServed, assertShares } from '../lib/proof.ts';
import { openSession } from '../lib/session.ts';
import { requests } from '../lib/traffic.ts';
import { underLoad } from '../lib/under-load.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import type { Method, Topology, TopologyOptions } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];

async function drainUnderLoad(net: Topology): Promise<void> {
  const session = await openSession(net.client, net.vip[4]);
  const home = (await session.ask()).split(' ')[0] ?? '';
  await underLoad(net, async () => {
    await net.fairlead.run(`drain web4 ${home}`);
    const rest = names.filter((name) => name !== home);
    assertServed(await requests(net.client, net.vip[4], 40), 40, rest, 'new connections while a server drains');
    equal((await session.ask()).split(' ')[0], home, 'an open connection stays with the draining server');
    await net.fairlead.run(`enable web4 ${home}`);
  });
  assertServed(await requests(net.client, net.vip[4], 30), 30, names, 'after enable');
  equal((await session.ask()).split(' ')[0], home, 'the open connection outlives all of it');
}

async function reloadUnderLoad(net: Topology): Promise<void> {
  const session = await openSession(net.client, net.vip[4]);
  const first = await session.ask();
  const plain = net.everyService('nat');
  const weighted = net.service({ method: 'nat', family: 4, scheduler: 'wrr', weights: [1, 2, 3] });
  const { 'web-3': gone, ...fewer } = plain.web6?.servers ?? {};
  ok(gone, 'there is a server to take away');
  await underLoad(net, async () => {
    await net.fairlead.reload(net.config({ ...plain, web4: weighted }));
    await net.fairlead.reload(
      net.config({ ...plain, web4: weighted, web6: { ...weighted, ...plain.web6, servers: fewer } }),
    );
    const extra = net.service({ method: 'nat', family: 4, port: 8088 });
    await net.fairlead.reload(net.config({ ...plain, web4: weighted, extra }));
    assertServed(await requests(net.client, net.vip[4], 30, 8088), 30, names, 'a service added by a reload');
    await net.fairlead.reload(net.config({ ...plain, web4: weighted }));
  });
  assertShares(
    await requests(net.client, net.vip[4], 60),
    { 'web-1': 10, 'web-2': 20, 'web-3': 30 },
    'the weights of the last reload',
  );
  equal(await session.ask(), first, 'an open connection outlives every reload');
}

async function schedulerChange(net: Topology): Promise<void> {
  const sessions = await Promise.all(Array.from({ length: 6 }, () => openSession(net.client, net.vip[4])));
  const homes: string[] = [];
  for (const session of sessions) {
    homes.push(await session.ask());
  }
  for (const scheduler of ['maglev', 'sh', 'lc', 'wlc', 'wrr', 'rr']) {
    await net.fairlead.reload(net.config(net.everyService('nat', { scheduler })));
    const tally = await requests(net.client, net.vip[4], 12);
    equal(tally.errors, 0, `requests under ${scheduler}`);
    if (scheduler === 'sh' || scheduler === 'maglev') {
      equal(
        Object.keys(tally.shares).length,
        1,
        `${scheduler} keeps one client on one server: ${JSON.stringify(tally.shares)}`,
      );
    }
    for (const [index, session] of sessions.entries()) {
      equal(await session.ask(), homes[index], `an open connection under ${scheduler}`);
    }
  }
}

function standing(build: typeof buildInline, method: Method, options: TopologyOptions = {}): Scenario['stage'] {
  return async (lab) => (await build(lab, options)).serving(method);
}

export const scenarios: Scenario[] = [
  {
    name: 'drain-under-load',
    title: 'a drained server gets no new connections, keeps its open ones, and no request fails',
    picture,
    engines: everyEngineAndMode,
    isLoud: true,
    stage: standing(buildInline, 'nat', { captures: false }),
    run: drainUnderLoad,
  },
  {
    name: 'drain-under-load-full-nat',
    title: 'draining with full-nat beside the path loses no request either',
    picture: oneArmPicture,
    isLoud: true,
    stage: standing(buildOneArm, 'full-nat', { captures: false }),
    run: drainUnderLoad,
  },
  {
    name: 'reload-under-load',
    title: 'reloads that change weights, take a server away and add a service cost no request and no open connection',
    picture,
    isLoud: true,
    stage: standing(buildInline, 'nat', { captures: false }),
    run: reloadUnderLoad,
  },
  {
    name: 'scheduler-change',
    title: 'another scheduler on a running service rules new connections and leaves open ones where they are',
    picture,
    stage: standing(buildInline, 'nat'),
    run: schedulerChange,
  },
];
