// Datagrams larger than the MTU: every fragment reaches the one server, and every fragment of its answer the client.
import { equal, match } from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { capture } from '../lib/capture.ts';
import { everyEngineAndMode } from '../lib/engine.ts';
import type { Host } from '../lib/host.ts';
import type { Scenario } from '../lib/scenario.ts';
import { setUpByText } from '../lib/server-setup.ts';
import { udpPort } from '../lib/servers.ts';
import { datagramInPieces } from '../lib/pieces.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { families, type Family, type Topology } from '../topologies/topology.ts';

const octets = 6000;
const text = 'abcdefghij'.repeat(octets / 10);

/** Sends one datagram of 6,000 octets and gives the answer: "NAME ADDRESS PORT PAYLOAD". */
async function ask(client: Host, address: string, port: number): Promise<string> {
  const to = address.includes(':') ? `UDP6:[${address}]:${port}` : `UDP4:${address}:${port}`;
  // Half closed after the question, and gone three seconds later, or with the answer.
  return client.run(`socat -T3 -t3 - ${to},shut-none < ${client.file('question')}`);
}

async function proveBothWays(net: Topology, family: Family, port: number): Promise<void> {
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(net.client, net.vip[family], port)));
  const seen = new Set<string>();
  for (const answer of answers) {
    const [name = '', payload = ''] = answer.split(/ \S+ \d+ /);
    equal(payload.length, octets, `IPv${family}: ${octets} octets there and back`);
    equal(payload, text);
    seen.add(name);
  }
  equal(
    seen.size,
    net.servers.length,
    `IPv${family}: datagrams in fragments reach every server: ${[...seen].join(' ')}`,
  );
}

/** The last fragment first: it waits for the one that has the ports. */
async function proveReversed(net: Topology): Promise<void> {
  const { client, balancer, plan, vip } = net;
  const heard = client.file('heard');
  writeFileSync(heard, '');
  await client.start('listener', `socat -u -T60 UDP4-RECV:4000,bind=${plan.clientAddress[4]} OPEN:${heard},append`, {
    ready: async () => (await client.run('ss -Hnlu sport = :4000')) !== '',
  });
  const ends = { from: plan.clientAddress[4], to: vip[4], fromPort: 4000, toPort: 53 };
  const macs = { fromMac: await client.mac('eth0'), toMac: await balancer.mac(plan.interfaces.outside) };
  const pieces = datagramInPieces({ ...ends, ...macs, id: 7, payload: 'x'.repeat(3000), size: 1480 });
  equal(pieces.length, 3);
  const commands = pieces.toReversed().map((piece, index) => {
    const file = client.file(`piece-${index}`);
    writeFileSync(file, piece);
    return `socat -u OPEN:${file} INTERFACE:eth0`;
  });
  await client.run(commands.join(' && '));
  const answer = await waitFor(
    'the answer to a datagram that came last fragment first',
    () => readFileSync(heard, 'utf8'),
    (said) => said.includes('x'),
  );
  match(answer, /^web-\d 203\.0\.113\.100 4000 x{3000}$/);
  const { reasons } = await net.fairlead.view<{ reasons: { reason: string; count: number }[] }>('drops');
  equal(reasons.find(({ reason }) => reason === 'early-fragment')?.count, 2, 'two fragments waited for the first one');
}

async function proveEach(net: Topology, port: number): Promise<void> {
  writeFileSync(net.client.file('question'), text);
  await Promise.all(families.map((family) => proveBothWays(net, family, port)));
}

async function proveNat(net: Topology): Promise<void> {
  const untranslated = await capture(net.plan.ports.outside, 'src net 10.0.1.0/24 or src net 2001:db8:b::/64');
  await proveEach(net, 53);
  await proveReversed(net);
  await untranslated.stop();
  equal(
    await untranslated.count('udp or (ip[6:2] & 0x3fff != 0) or ip6[6] = 44'),
    0,
    'nothing passes the host by the balancer',
  );
}

const unchecked = { more: { check: 'none' as const }, protocol: 'udp' as const };

export const scenarios: Scenario[] = [
  {
    name: 'fragments-nat',
    title:
      'nat: datagrams of four frames go to one server and their answers back, also when the last fragment comes first',
    picture,
    engines: everyEngineAndMode,
    stage: async (lab) => (await buildInline(lab)).serving('nat', { more: { check: 'none' } }),
    run: proveNat,
  },
  {
    name: 'fragments-full-nat',
    title: 'full-nat: datagrams of five frames go to one server and their answers back',
    picture: oneArmPicture,
    stage: async (lab) =>
      (await buildOneArm(lab, { gateway: 'router' })).serving('full-nat', { more: { check: 'none' } }),
    run: (net) => proveEach(net, 53),
  },
  {
    name: 'fragments-l2-dsr',
    title: 'l2-dsr: datagrams of five frames go to one server, and it answers past the balancer',
    picture: oneArmPicture,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { gateway: 'router' });
      const services = Object.fromEntries(
        families.map((family) => [`dns${family}`, net.service({ ...unchecked, method: 'l2-dsr', family })]),
      );
      const config = net.config(services);
      await setUpByText(net, config);
      await net.fairlead.up(config);
      return net;
    },
    run: (net) => proveEach(net, udpPort),
  },
];
