// Engines come and go under established connections: switched while it runs, succeeded by another kind after kill -9, or
// gone for a while. Links carry frames as xdp needs them, so that every engine works on them.
import { deepEqual, equal, match } from 'node:assert/strict';
import { type Engine, kernelEngines, noEngine } from '../lib/engine.ts';
import type { Lab } from '../lib/lab.ts';
import { assertAlive, openEverywhere } from '../lib/open-sessions.ts';
import { assertServed } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { bigFile } from '../lib/servers.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { underLoad } from '../lib/under-load.ts';
import { meanwhile, waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Method, type Topology } from '../topologies/topology.ts';

interface StatusDocument {
  engine: { kind: string; why: string };
  interfaces: { by: string }[];
}

const names = ['web-1', 'web-2', 'web-3'];

async function assertOn(net: Topology, engine: Engine): Promise<void> {
  const status = await net.fairlead.json<StatusDocument>('status');
  equal(status.engine.kind, engine, 'the engine in the status');
  deepEqual(net.fairlead.regions(), [net.fairlead.regionOf(engine)], 'its region, and none of another engine');
}

/** From every kind to every other one. */
const turns: readonly Engine[] = ['tc', 'xdp', 'packet', 'xdp', 'tc', 'packet'];

async function switchEngines(net: Topology, method: Method): Promise<void> {
  const sessions = await openEverywhere(net);
  const transfers = meanwhile(
    Promise.all(families.map((family) => download(net.client, urlOf(net.vip[family], 80, '/slow?rate=1m'), 60_000))),
  );
  await underLoad(net, async () => {
    for (const engine of turns) {
      await net.fairlead.reload(net.config(net.everyService(method), { engine }));
      await assertOn(net, engine);
      await assertAlive(sessions, `on ${engine}`);
      for (const family of families) {
        equal((await requests(net.client, net.vip[family], 6)).errors, 0, `new connections on ${engine}`);
        equal((await datagrams(net.client, net.vip[family], 3)).errors, 0, `datagrams on ${engine}`);
      }
    }
  });
  const { sha256 } = bigFile(net.lab);
  equal((await transfers).join(' '), `${sha256} ${sha256}`, 'transfers that ran meanwhile');
}

async function restartAsOther(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  for (const engine of turns) {
    const { daemon } = net.fairlead;
    daemon?.signal('SIGKILL');
    await daemon?.ended;
    await net.fairlead.up(net.config(net.everyService('nat'), { engine }));
    await net.fairlead.logged(/took over|adopted/);
    await assertOn(net, engine);
    await assertAlive(sessions, `on ${engine}, after a kill`, 15_000);
    for (const family of families) {
      assertServed(await requests(net.client, net.vip[family], 6), 6, names, `new connections on ${engine}`);
    }
  }
}

async function outliveDaemon(net: Topology): Promise<void> {
  const sessions = await openEverywhere(net);
  await underLoad(net, async () => {
    const { daemon } = net.fairlead;
    daemon?.signal('SIGKILL');
    await daemon?.ended;
    await assertAlive(sessions, 'while no daemon runs');
    for (const family of families) {
      equal((await requests(net.client, net.vip[family], 30)).errors, 0, 'requests while no daemon runs');
      equal((await datagrams(net.client, net.vip[family], 6)).errors, 0, 'datagrams while no daemon runs');
    }
    equal((await net.fairlead.attempt('status')).code, 4, 'no daemon runs');
    await net.fairlead.up();
    await net.fairlead.logged('adopted the region');
    await assertAlive(sessions, 'under the successor');
  });
  const [flow] = await flowsOf(net);
  match(flow ?? '', /web[46]/, 'the successor lists the flows that it adopted');
}

async function flowsOf(net: Topology): Promise<string[]> {
  return (await net.fairlead.run('flows -o json')).split('\n').filter(Boolean);
}

async function chosenByItself(net: Topology): Promise<void> {
  const { engine, interfaces } = await net.fairlead.json<StatusDocument>('status');
  equal(engine.kind, 'tc', 'on veth it is tc');
  match(
    engine.why,
    /^auto: out and in \(veth\) pass super-frames and unfinished checksums, which tc keeps$/,
    'the status says why',
  );
  deepEqual(
    interfaces.map(({ by }) => by),
    ['tc', 'tc'],
    'of each interface',
  );
  await waitFor(
    'the log to say it too',
    () => net.fairlead.log(),
    (text) => /ready: .*, by tc \(auto: out and in \(veth\) pass /.test(text),
  );
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'it works');
}

/** On links that every engine can work on. */
function stage(method: Method, engine?: Engine): Scenario['stage'] {
  return async (lab: Lab) => {
    lab.isReadyForXdp = true;
    const build = method === 'nat' ? buildInline : buildOneArm;
    return (await build(lab, { captures: false })).serving(method, {}, engine === undefined ? {} : { engine });
  };
}

export const scenarios: Scenario[] = [
  {
    name: 'engine-switch',
    title: 'another engine takes over a running balancer: no request, no open connection and no transfer notices',
    picture,
    engines: noEngine,
    isLoud: true,
    stage: stage('nat', 'packet'),
    run: (net) => switchEngines(net, 'nat'),
  },
  {
    name: 'engine-switch-full-nat',
    title: 'with full-nat beside the path another engine takes over as quietly',
    picture: oneArmPicture,
    engines: noEngine,
    isLoud: true,
    stage: stage('full-nat', 'packet'),
    run: (net) => switchEngines(net, 'full-nat'),
  },
  {
    name: 'engine-restart-other',
    title: 'a successor of another engine than the one that was killed takes over its connections',
    picture,
    engines: noEngine,
    stage: stage('nat', 'packet'),
    run: restartAsOther,
  },
  {
    name: 'kernel-outlives-daemon',
    title:
      'after kill -9 the programs in the kernel go on: no request fails while no daemon runs, and the next adopts them',
    picture,
    engines: kernelEngines,
    isLoud: true,
    stage: stage('nat'),
    run: outliveDaemon,
  },
  {
    name: 'engine-auto',
    title: 'auto chooses tc behind a virtual interface, and says why',
    picture,
    engines: noEngine,
    stage: async (lab) => (await buildInline(lab, { captures: false })).serving('nat', {}, { engine: 'auto' }),
    run: chosenByItself,
  },
];
