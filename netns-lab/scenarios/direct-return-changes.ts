// Direct server return while the balancer changes under load: engines, weights, schedulers, services. A flow is known by
// its client's half alone, and that must be enough to stay with its server.
import { equal } from 'node:assert/strict';
import { webAndDatagrams } from '../lib/direct-return.ts';
import { type Engine, noEngine } from '../lib/engine.ts';
import type { ConfigDocument } from '../lib/fairlead.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { bigFile, udpPort, webPort } from '../lib/servers.ts';
import { openSession } from '../lib/session.ts';
import { datagrams, download, requests, urlOf } from '../lib/traffic.ts';
import { underLoad } from '../lib/under-load.ts';
import { meanwhile } from '../lib/wait-for.ts';
import { buildOneArm, picture } from '../topologies/one-arm.ts';
import type { Family, Topology } from '../topologies/topology.ts';

const extraPort = 8009;

interface Variation {
  scheduler?: string;
  weights?: number[];
  hasExtra?: boolean;
}

/** l2-dsr for IPv4, a GRE tunnel for IPv6. */
function configOf(net: Topology, engine: Engine, { scheduler = 'rr', weights = [], hasExtra }: Variation = {}) {
  const direct = { method: 'l2-dsr', family: 4, scheduler, weights } as const;
  const wrapped = { method: 'l3-dsr', family: 6, scheduler, weights, tunnel: { type: 'gre' } } as const;
  const services: ConfigDocument['services'] = {
    direct4: webAndDatagrams(net, direct),
    wrapped6: webAndDatagrams(net, wrapped),
    ...(hasExtra ? { extra4: net.service({ ...direct, port: extraPort }) } : {}),
  };
  return net.config(services, { engine });
}

const turns: readonly { engine: Engine; variation?: Variation }[] = [
  { engine: 'packet', variation: { scheduler: 'wrr', weights: [1, 3] } },
  { engine: 'tc' },
  { engine: 'tc', variation: { hasExtra: true, scheduler: 'maglev' } },
  { engine: 'xdp' },
  { engine: 'packet' },
  { engine: 'xdp', variation: { scheduler: 'wlc' } },
];

async function change(net: Topology): Promise<void> {
  const { client, vip, fairlead } = net;
  const families: readonly Family[] = [4, 6];
  const sessions = await Promise.all(
    families.flatMap((family) => net.servers.map(() => openSession(client, vip[family], webPort))),
  );
  const homes: string[] = [];
  for (const session of sessions) homes.push(await session.ask());
  const transfers = meanwhile(
    Promise.all(families.map((family) => download(client, urlOf(vip[family], webPort, '/slow?rate=1m'), 60_000))),
  );
  const urls = families.map((family) => urlOf(vip[family], webPort));
  await underLoad(
    net,
    async () => {
      for (const { engine, variation } of turns) {
        const what = `on ${engine} ${JSON.stringify(variation ?? {})}`;
        await fairlead.reload(configOf(net, engine, variation));
        for (const [index, session] of sessions.entries()) {
          equal(await session.ask(), homes[index], `an open connection ${what}`);
        }
        for (const family of families) {
          equal((await requests(client, vip[family], 6, webPort)).errors, 0, `new connections ${what}`);
          equal((await datagrams(client, vip[family], 3, udpPort)).errors, 0, `datagrams ${what}`);
        }
        if (variation?.hasExtra) {
          equal((await requests(client, vip[4], 4, extraPort)).errors, 0, `a service that was added ${what}`);
        }
      }
    },
    urls,
  );
  const { sha256 } = bigFile(net.lab);
  equal((await transfers).join(' '), `${sha256} ${sha256}`, 'transfers that ran meanwhile');
}

export const scenarios: Scenario[] = [
  {
    name: 'direct-return-changes',
    title:
      'with l2-dsr and l3-dsr engines are switched and reloads applied under load: no request, no open connection and no transfer notices',
    picture,
    engines: noEngine,
    isLoud: true,
    stage: async (lab) => {
      lab.isReadyForXdp = true;
      const net = await buildOneArm(lab, { servers: 2, captures: false });
      await setUpByText(net, configOf(net, 'packet', { hasExtra: true }));
      await net.fairlead.up(configOf(net, 'packet'));
      return net;
    },
    run: change,
  },
];
