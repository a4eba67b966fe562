// `fairlead server-setup` on real servers: what it prints is what it does, twice is once, and undo leaves no trace.
import { deepEqual, equal, match } from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { capture } from '../lib/capture.ts';
import { noEngine } from '../lib/engine.ts';
import { command } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import { assertServed } from '../lib/proof.ts';
import { attemptOn, runOn, setUpServers, stateFolder, toolFolder } from '../lib/server-setup.ts';
import type { Scenario } from '../lib/scenario.ts';
import { webPort } from '../lib/servers.ts';
import { nameOf, type Wrapping, wrapToFirst } from '../lib/stand-in.ts';
import { datagrams, requests } from '../lib/traffic.ts';
import { buildInline, pictureWithRouter } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { buildRouted, picture as routedPicture } from '../topologies/routed.ts';
import { families, type Topology } from '../topologies/topology.ts';

/** All of a host that server-setup may touch. */
async function traces(host: Host): Promise<string> {
  const settings = "sysctl -a 2>/dev/null | grep -E '^net.ipv4.conf.*(arp_ignore|arp_announce|rp_filter|accept_local)'";
  // Without the numbers of programs, which count up.
  const filters = String.raw`tc filter show dev eth0 ingress | sed 's/:\[[0-9]*\]//; s/ id [0-9]*//'`;
  const links = 'ip -o address show | sort; ip -o link show | grep -o "^[0-9]*: [^:]*: [^ ]*.*xdp"; tc qdisc show';
  return host.run(`${settings}; ${links}; ${filters}; ip rule; ${toolFolder}/fairlead-decap list`);
}

/** What l2-dsr's MAC rewriting does: the last router before the servers sends what is for the VIP to one server's MAC. */
async function steerToFirst(net: Topology, at: Host, device: string): Promise<void> {
  const mac = await net.server(0).host.mac('eth0');
  for (const family of families) {
    await at.run(`ip neigh replace ${net.vip[family]} lladdr ${mac} dev ${device} nud permanent`);
  }
}

async function assertAnswersDirectly(net: Topology): Promise<void> {
  for (const family of families) {
    const answers = await capture(net.plan.ports.inside, `src host ${net.vip[family]} and not arp and not icmp6`);
    assertServed(await requests(net.client, net.vip[family], 5, webPort), 5, ['web-1'], `web over IPv${family}`);
    assertServed(await datagrams(net.client, net.vip[family], 5, 5353), 5, ['web-1'], `dns over IPv${family}`);
    await answers.stop();
    equal(await answers.count(), 0, `over IPv${family} no answer passed the balancer`);
  }
}

async function oneArmServers(net: Topology): Promise<void> {
  // Whoever asks for the VIP by ARP gets no answer: no server may draw the clients' frames to itself.
  const asked = await net.balancer.attempt(`arping -c 3 -w 3 -i eth0 ${net.vip[4]}`);
  match(asked.stdout, /3 packets transmitted, 0 packets received/, asked.stderr);
  await steerToFirst(net, net.lab.host('router'), 'north');
  await assertAnswersDirectly(net);
}

async function inlineServers(net: Topology): Promise<void> {
  // The balancer's host stands in for the balancer: it forwards the VIP to the inside, to one server's MAC.
  const { balancer, client, vip } = net;
  await steerToFirst(net, balancer, 'in');
  const mac = await balancer.mac('out');
  for (const family of families) {
    await balancer.run(`ip -${family} route replace ${vip[family]} dev in`);
    await client.run(`ip neigh replace ${vip[family]} lladdr ${mac} dev eth0 nud permanent`);
  }
  await assertAnswersDirectly(net);
}

async function twiceAndUndone(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const gre = { type: 'gre', key: 7 };
  const services = {
    web: net.service({ method: 'l3-dsr', family: 4, tunnel: gre }),
    // Shares VIP and settings with web.
    dns: net.service({ method: 'l2-dsr', family: 4, protocol: 'udp' }),
    web6: net.service({ method: 'l3-dsr', family: 6, tunnel: { type: 'gue', port: 6081 } }),
  };
  net.fairlead.writeConfig(net.config(services));
  await host.run('sysctl -q -w net.ipv4.conf.all.arp_announce=1 net.ipv4.conf.eth0.rp_filter=1');
  const before = await traces(host);
  const names = Object.keys(services);
  for (const name of names) await runOn(net, host, `server-setup ${name} --apply`);
  const once = await traces(host);
  for (const name of names) {
    const said = await runOn(net, host, `server-setup ${name} --apply`);
    equal(/->|added/.test(said), false, `a second time changes nothing:\n${said}`);
  }
  equal(await traces(host), once, 'twice is once');
  await runOn(net, host, 'server-setup web --undo');
  const afterOne = await traces(host);
  match(afterOne, /lo\s+inet 10.0.1.10\/32/, 'dns still needs the VIP that web shared');
  match(afterOne, /all.arp_ignore = 1/, 'and the settings');
  for (const name of names) await runOn(net, host, `server-setup ${name} --undo`);
  equal(await traces(host), before, 'everything is as it was');
  equal(existsSync(stateFolder(host)), false, 'and no note is left');
}

/** The text alone, on a host that has nothing of fairlead but the one file. */
async function printedText(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const wrapping: Wrapping = { type: 'ipip', outer: 4, inner: 4 };
  const config = net.config({ web: net.service({ method: 'l3-dsr', family: 4, tunnel: { type: 'ipip' } }) });
  net.fairlead.writeConfig(config);
  const text = host.file('web.sh');
  writeFileSync(text, await runOn(net, net.balancer, 'server-setup web --decap tc'));
  const before = await traces(host);
  const alone = (verb: string, path: string) =>
    host.attempt(`env -i PATH=${path} FAIRLEAD_STATE=${stateFolder(host)} sh ${text} ${verb}`);
  const system = '/usr/sbin:/usr/bin:/sbin:/bin';
  const missing = await alone('', system);
  match(missing.stderr, /fairlead-decap is not here: copy it/);
  equal(await traces(host), before, 'without the file nothing is half done');
  equal((await alone('', `${toolFolder}:${system}`)).code, 0);
  await wrapToFirst(net, wrapping);
  assertServed(await requests(net.client, net.vip[4], 5, webPort), 5, ['web-1'], nameOf(wrapping));
  equal((await alone('undo', `${toolFolder}:${system}`)).code, 0);
  equal(await traces(host), before, 'undone');
}

async function badWords(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const { host } = net.server(0);
  const tunnel = { type: 'gre', source: '10.0.1.0/29' };
  fairlead.writeConfig(
    net.config({
      web: net.service({ method: 'l3-dsr', family: 4, tunnel }),
      plain: net.service({ method: 'full-nat', family: 4, port: 81, more: { source: '10.0.1.200' } }),
    }),
  );
  const refused = async (on: Host, line: string, code: number, words: RegExp) => {
    const before = await traces(on);
    const { code: is, stderr } = await attemptOn(net, on, `server-setup ${line}`);
    match(stderr, words, line);
    equal(is, code, line);
    equal(await traces(on), before, `${line}: nothing is half done`);
  };
  await refused(host, 'wep --apply', 5, /there is no service "wep".*web, plain/s);
  await refused(host, 'plain --apply', 7, /method full-nat/);
  await refused(host, 'web --apply --undo', 2, /cannot be used with/);
  await refused(host, 'web --decap ebpf', 2, /ebpf/);
  await refused(balancer, 'web --apply', 1, /no server of service web \(.*\) is an address of this host/);
  await refused(host, 'web --apply --decap kernel', 1, /not a prefix; use --decap tc/);
  await host.run(`ip address add ${net.vip[4]}/24 dev eth0`);
  await refused(host, 'web --apply', 1, /10.0.1.10 is on eth0 as 10.0.1.10\/24; take it off first/);
  // One that is right on lo does not hide another.
  await host.run(`ip address add ${net.vip[4]}/32 dev lo`);
  await refused(host, 'web --apply', 1, /10.0.1.10 is on eth0 as 10.0.1.10\/24/);
  await host.run(`ip address del ${net.vip[4]}/24 dev eth0 && ip address del ${net.vip[4]}/32 dev lo`);
  const powerless = await host.attempt(
    `setpriv --reuid=65534 --clear-groups sh -c '${command} server-setup web -c ${fairlead.configFile} --undo'`,
  );
  match(powerless.stderr, /run this as root/);
  deepEqual((await runOn(net, host, 'server-setup gone --undo')).trim(), 'nothing is set up here for service gone');
}

/** The file changed: another VIP, another method. What is needed no longer goes with the next run. */
async function changedService(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const before = await traces(host);
  const wrapped = net.service({ method: 'l3-dsr', family: 4, tunnel: { type: 'gre' } });
  net.fairlead.writeConfig(net.config({ web: wrapped }));
  await runOn(net, host, 'server-setup web --apply --decap tc');
  net.fairlead.writeConfig(
    net.config({ web: { ...net.service({ method: 'l2-dsr', family: 4 }), listen: '10.0.1.20:8080/tcp' } }),
  );
  const said = await runOn(net, host, 'server-setup web --apply');
  match(said, /lo: 10.0.1.20\/32 added\nlo: 10.0.1.10\/32 removed/);
  const after = await traces(host);
  match(after, /nothing is unwrapped here/);
  match(after, /all.arp_ignore = 1/);
  await runOn(net, host, 'server-setup web --undo');
  equal(await traces(host), before, 'undone');
}

/** With the kernel's own devices, where it has them; where it has none, that is what must be said. */
async function kernelDevices(net: Topology): Promise<void> {
  const { host } = net.server(0);
  for (const wrapping of [
    { type: 'gre', outer: 4, inner: 4 },
    { type: 'gre', key: 7, outer: 6, inner: 6 },
    { type: 'ipip', outer: 4, inner: 6 },
    { type: 'gue', outer: 4, inner: 4 },
  ] as const satisfies Wrapping[]) {
    const { type, outer, inner } = wrapping;
    const tunnel = { type, ...('key' in wrapping ? { key: wrapping.key } : {}) };
    net.fairlead.writeConfig(net.config({ web: net.service({ method: 'l3-dsr', family: inner, outer, tunnel }) }));
    const before = await traces(host);
    const { code, stderr } = await attemptOn(net, host, 'server-setup web --apply --decap kernel');
    if (code === 0) {
      await wrapToFirst(net, wrapping);
      assertServed(await requests(net.client, net.vip[inner], 5, webPort), 5, ['web-1'], nameOf(wrapping));
      await runOn(net, host, 'server-setup web --undo');
    } else {
      match(stderr, /this kernel makes no \S+ device \(.*\); use --decap tc or xdp/);
      console.log(`       not in this kernel, so only the refusal is proved: ${nameOf(wrapping)}`);
    }
    equal(await traces(host), before, `${nameOf(wrapping)}: nothing is left`);
  }
}

/** Whoever changed a value after us keeps it. */
async function changedSince(net: Topology): Promise<void> {
  const { host } = net.server(0);
  net.fairlead.writeConfig(net.config({ web: net.service({ method: 'l2-dsr', family: 4 }) }));
  await runOn(net, host, 'server-setup web --apply');
  await host.run('sysctl -q -w net.ipv4.conf.all.arp_ignore=8');
  const said = await runOn(net, host, 'server-setup web --undo');
  match(said, /arp_ignore: left at 8, which is not what was set here/);
  equal((await host.run('cat /proc/sys/net/ipv4/conf/all/arp_ignore')).trim(), '8');
}

const dsr = (net: Topology) => setUpServers(net, net.config(net.everyService('l2-dsr')));

export const scenarios: Scenario[] = [
  {
    name: 'server-setup-one-arm',
    title: 'servers set up for l2-dsr beside the balancer take the VIP, answer directly and keep silent on ARP',
    picture: oneArmPicture,
    engines: noEngine,
    stage: async (lab) => {
      const net = await buildOneArm(lab, { servers: 2 });
      await dsr(net);
      return net;
    },
    run: oneArmServers,
  },
  {
    name: 'server-setup-inline',
    title: 'servers set up for l2-dsr behind the balancer answer clients by a router of their own',
    picture: pictureWithRouter,
    engines: noEngine,
    stage: async (lab) => {
      const net = await buildInline(lab, { servers: 2, gateway: 'router' });
      await dsr(net);
      return net;
    },
    run: inlineServers,
  },
  ...(
    [
      ['server-setup-undo', 'a server set up twice is set up once, and after undo it is as it was', twiceAndUndone],
      ['server-setup-text', 'the printed text does the same on a host without fairlead', printedText],
      ['server-setup-refusals', 'what cannot be is refused with words, and nothing is half done', badWords],
      [
        'server-setup-reload',
        'a server set up again after the file changed drops what is needed no longer',
        changedService,
      ],
      ['server-setup-kernel', "the kernel's own tunnel devices unwrap, or their lack is said", kernelDevices],
      ['server-setup-changed', 'a setting that somebody changed since is left to them', changedSince],
    ] as const
  ).map(
    ([name, title, run]): Scenario => ({
      name,
      title,
      picture: routedPicture,
      engines: noEngine,
      stage: (lab) => buildRouted(lab, { servers: 1, captures: false }),
      run,
    }),
  ),
];
