// A server that is itself a client of a VIP, and clients in the servers' own network: with nat their answers would go around
// the balancer, so these flows leave it from the VIP.
import { equal, ok } from 'node:assert/strict';
import type { ServiceDocument } from '../lib/fairlead.ts';
import { assertNoFailure, assertServed, assertShares } from '../lib/proof.ts';
import type { Scenario } from '../lib/scenario.ts';
import { datagrams, load, requests, urlOf } from '../lib/traffic.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Topology } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];
const refused = 7; // what curl ends with when it could not connect
const alonePort = 81;

/** Every service by nat, and one on a port of its own that only the second server offers. */
function servicesOf(net: Topology, more: Partial<ServiceDocument> = {}): Record<string, ServiceDocument> {
  const alone = families.map((family) => {
    const service = net.service({ method: 'nat', family, port: alonePort, more });
    return [`alone${family}`, { ...service, servers: { 'web-2': service.servers['web-2']! } }] as const;
  });
  return { ...net.everyService('nat', { more }), ...Object.fromEntries(alone) };
}

async function hairpins(net: Topology): Promise<void> {
  const { vip, fairlead } = net;
  await fairlead.up(net.config(servicesOf(net)));
  for (const family of families) {
    for (const { host, name } of net.servers) {
      const tally = await requests(host, vip[family], 12);
      assertServed(tally, 12, names, `${name} asks its own VIP over IPv${family}`);
      ok(
        tally.seenAs.every((client) => client.startsWith(`${vip[family]} `)),
        'servers see the VIP as the client',
      );
      assertServed(await datagrams(host, vip[family], 9), 9, names, `${name} sends it datagrams over IPv${family}`);
      assertShares(await requests(host, vip[family], 4, alonePort), { 'web-2': 4 }, `${name} asks the one of web-2`);
    }
    const outside = await requests(net.client, vip[family], 12);
    assertServed(outside, 12, names, `a client outside over IPv${family}`);
    const { clientAddress } = net.plan;
    ok(
      outside.seenAs.every((client) => client.startsWith(`${clientAddress[family]} `)),
      'it is seen as itself',
    );
    assertNoFailure(await load(net.server(0).host, urlOf(vip[family]), 2, 8), `load of web-1 over IPv${family}`);
  }
  await fairlead.reload(net.config(servicesOf(net, { hairpin: 'refuse' })));
  for (const family of families) {
    const { code } = await net.server(0).host.attempt(`curl -s -o /dev/null -m 10 '${urlOf(vip[family])}'`);
    equal(code, refused, `IPv${family}: told at once`);
    assertServed(await requests(net.client, vip[family], 6), 6, names, 'clients outside are served');
  }
}

export const scenarios: Scenario[] = [
  {
    name: 'hairpin',
    title: 'servers are clients of their own VIP and of another server’s, by nat, and are seen as the VIP',
    picture,
    stage: (lab) => buildInline(lab, { captures: false }),
    run: hairpins,
  },
  {
    name: 'one-arm-hairpin',
    title: 'beside the path too, clients in the servers’ network are served by nat',
    picture: oneArmPicture,
    stage: (lab) => buildOneArm(lab, { gateway: 'balancer', captures: false }),
    run: hairpins,
  },
];
