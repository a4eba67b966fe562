// What is seen of decisions: frames before and after, from whoever decides, in the driver, behind it, or in user space.
import { equal, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { command } from '../lib/fairlead.ts';
import type { Scenario } from '../lib/scenario.ts';
import { requests } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import type { Topology } from '../topologies/topology.ts';

const frames = 24;

async function captured(net: Topology): Promise<void> {
  const { balancer, fairlead, client } = net;
  const file = balancer.file('decisions.pcapng');
  const capture = await balancer.start('capture', `${command} capture web4 -w ${file} --limit ${frames}`, {
    env: { FAIRLEAD_SOCKET: fairlead.socket },
  });
  // Whatever came before the tap was open is not in it: ask until it has enough.
  const askMore = async () => {
    equal((await requests(client, net.vip[4], 4)).errors, 0, 'requests while somebody looks');
    equal((await requests(client, net.vip[6], 1)).errors, 0, 'of another service, which is not asked for');
    return capture.output();
  };
  await waitFor('the capture to have enough', askMore, (text) => text.includes('frames, each as it came'));
  equal(await capture.ended, 0, capture.output());
  const read = async (filter: string) =>
    (await balancer.run(`tcpdump -nnr ${file} ${filter} 2>/dev/null`)).split('\n').filter(Boolean).length;
  const [asked, given] = [
    await read(`"dst host ${net.vip[4]}"`),
    await read('"dst net 10.0.1.0/24 and dst port 8080"'),
  ];
  const [answered, returned] = [
    await read('"src net 10.0.1.0/24 and src port 8080"'),
    await read(`"src host ${net.vip[4]}"`),
  ];
  equal(given, asked, 'each frame of a client stands there as it came and as it left');
  equal(returned, answered, 'and so does each answer');
  equal(asked + answered, frames, 'so many were asked for');
  equal(await read('ip6'), 0, 'and only of this service');
  const text = readFileSync(file).toString('latin1');
  for (const comment of [
    'forwarded: new-flow, web4/web-',
    'forwarded: client-hit, web4/web-',
    'forwarded: server-hit, web4/web-',
  ]) {
    ok(text.includes(comment), `a comment says ${comment}`);
  }
  equal((await requests(client, net.vip[4], 4)).errors, 0, 'requests when nobody looks any more');
}

export const scenarios: Scenario[] = [
  {
    name: 'capture',
    title: 'capture shows each frame of a service before and after, with the decision as its comment',
    picture,
    stage: async (lab) => (await buildInline(lab, { captures: false })).serving('nat', { more: { check: 'none' } }),
    run: captured,
  },
];
