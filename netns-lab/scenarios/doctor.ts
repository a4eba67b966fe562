// `fairlead doctor`: each fault that is planted on a server or around the balancer is found, named, and gone after its own
// mend was typed in; on a sound lab nothing bites.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { noEngine } from '../lib/engine.ts';
import { command } from '../lib/fairlead.ts';
import type { Host } from '../lib/host.ts';
import { attemptOn, setUpServers, stateFolder } from '../lib/server-setup.ts';
import type { Scenario } from '../lib/scenario.ts';
import { webPort } from '../lib/servers.ts';
import { wrapToFirst } from '../lib/stand-in.ts';
import { requests } from '../lib/traffic.ts';
import { buildInline, picture as inlinePicture, pictureWithRouter } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import { buildRouted, picture as routedPicture } from '../topologies/routed.ts';
import type { Topology } from '../topologies/topology.ts';

interface Finding {
  severity: 'bites' | 'may-bite' | 'fine';
  check: string;
  words: string;
  mend?: string;
}

interface Examined {
  code: number;
  findings: Finding[];
}

async function examine(net: Topology, host: Host, words: string): Promise<Examined> {
  const { code, stdout, stderr } = await attemptOn(net, host, `doctor ${words} -o json`);
  ok(stdout !== '', stderr);
  return { code, findings: (JSON.parse(stdout) as { findings: Finding[] }).findings };
}

const biting = ({ findings }: Examined) => findings.filter(({ severity }) => severity === 'bites');

interface Fault {
  what: string;
  plant: string;
  /** Of the finding that names it. */
  words: RegExp;
  /** When the finding's own mend is no command for a shell. */
  mend?: string;
  severity?: 'may-bite';
  /** Where it is planted and mended, if not on the host that is asked. */
  on?: Host;
}

/** Plants each fault on a sound host, has it found, and mends it as the finding says. */
async function findEach(net: Topology, host: Host, question: string, faults: readonly Fault[]): Promise<void> {
  const sound = await examine(net, host, question);
  deepEqual(biting(sound), [], 'nothing bites before');
  equal(sound.code, 0);
  for (const { what, plant, words, mend, severity = 'bites', on = host } of faults) {
    await on.run(plant);
    const { code, findings } = await examine(net, host, question);
    const found = findings.find((finding) => finding.severity === severity && words.test(finding.words));
    ok(found, `${what} is found: ${JSON.stringify(findings.filter((it) => it.severity !== 'fine'))}`);
    equal(code, severity === 'bites' ? 1 : 0, what);
    const cure =
      mend ?? found.mend?.replaceAll('fairlead server-setup', `${command} server-setup -c ${net.fairlead.configFile}`);
    await on.run(cure ?? 'false', { env: { FAIRLEAD_STATE: stateFolder(on) } });
    const mended = await examine(net, host, question);
    const still = mended.findings.filter((finding) => finding.severity === severity && words.test(finding.words));
    deepEqual(still, [], `${what} is mended by: ${cure}`);
    deepEqual(biting(mended), [], `nothing bites after ${what}`);
  }
}

async function l2Server(net: Topology): Promise<void> {
  const { host } = net.server(0);
  await findEach(net, host, 'web4 --server', [
    {
      what: 'a missing VIP',
      plant: 'ip address del 10.0.1.10/32 dev lo',
      words: /VIP 10.0.1.10 is not on this server/,
    },
    {
      what: 'a VIP on the wrong link',
      plant: 'ip address del 10.0.1.10/32 dev lo && ip address add 10.0.1.10/32 dev eth0',
      words: /VIP 10.0.1.10 is on eth0, which answers for it/,
    },
    {
      what: 'a VIP with a network',
      plant: 'ip address del 10.0.1.10/32 dev lo && ip address add 10.0.1.10/24 dev lo',
      words: /is on lo with length 24: all of that network is this host/,
    },
    {
      what: 'lo that is down',
      plant: 'ip link set lo down',
      words: /lo is down, and the VIP with it/,
      // IPv6 addresses go with the link.
      mend: `ip link set lo up && ip address add 2001:db8:b::10/128 dev lo nodad`,
    },
    {
      what: 'ARP that answers',
      plant: 'sysctl -q -w net.ipv4.conf.all.arp_ignore=0',
      words: /eth0 answers ARP for the VIP on lo \(arp_ignore is 0\)/,
    },
    {
      what: 'ARP that answers for every global address',
      plant: 'sysctl -q -w net.ipv4.conf.eth0.arp_ignore=3',
      words: /eth0 answers ARP for the VIP on lo \(arp_ignore is 3\)/,
      mend: 'sysctl -q -w net.ipv4.conf.eth0.arp_ignore=0',
    },
    {
      what: 'ARP that asks in the name of the VIP',
      plant: 'sysctl -q -w net.ipv4.conf.all.arp_announce=0',
      words: /asks for its neighbours in the name of the VIP \(arp_announce is 0\)/,
    },
    {
      what: 'a strict reverse path filter beside another default route',
      plant:
        'ip link add other type bridge && ip link set other up && ip address add 10.99.0.1/24 dev other && ip route replace default dev other && sysctl -q -w net.ipv4.conf.eth0.rp_filter=1',
      words: /the strict reverse path filter of eth0 drops packets of clients .*\(other\)/,
    },
    {
      what: 'no default route',
      plant: 'ip route del default',
      words: /there is no IPv4 default route/,
      mend: 'ip link del other; ip route replace default via 10.0.1.254',
      severity: 'may-bite',
    },
    {
      what: 'a link that is down',
      plant: 'ip link set eth0 down',
      words: /eth0 is down/,
      mend: 'ip link set eth0 up && ip route replace default via 10.0.1.254',
    },
  ]);
  await net.server(0).stop();
  const { code, findings } = await examine(net, host, 'web4 --server');
  equal(code, 1);
  match(biting({ code, findings })[0]?.words ?? '', /nothing listens on 10.0.1.10:8080\/tcp here/);
  const balancer = await examine(net, net.balancer, 'web4 --server');
  match(biting(balancer)[0]?.words ?? '', /no server of service web4 is this host/);
}

async function l3Server(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const tool = command.replace('scripts/fairlead', 'native/build/fairlead-decap');
  const attach = `${tool} attach web4 --dev eth0 --at tc`;
  const to = '--local 10.0.2.11 --vip 10.0.1.10';
  await findEach(net, host, 'web4 --server', [
    { what: 'no decapsulation', plant: `${tool} detach web4`, words: /nothing here unwraps gre from 10.0.1.2/ },
    {
      what: 'another key',
      plant: `${attach} --tunnel gre --key 8 --from 10.0.1.2 ${to}`,
      words: /GRE with key 8 is unwrapped here, but the balancer sends key 7/,
    },
    {
      what: 'another tunnel',
      plant: `${attach} --tunnel gue --from 10.0.1.2 ${to}`,
      words: /gue is unwrapped here, but the balancer sends gre/,
    },
    {
      what: 'another balancer',
      plant: `${attach} --tunnel gre --key 7 --from 10.0.1.3 ${to}`,
      words: /the balancer's 10.0.1.2 is not among those that may send here \(10.0.1.3\/32\)/,
    },
    {
      what: 'another address of the server',
      plant: `${attach} --tunnel gre --key 7 --from 10.0.1.2 --local 10.0.2.12 --vip 10.0.1.10`,
      words: /what is sent to 10.0.2.12 is unwrapped here, but this server is 10.0.2.11/,
    },
    {
      what: 'another VIP',
      plant: `${attach} --tunnel gre --key 7 --from 10.0.1.2 --local 10.0.2.11 --vip 10.0.1.11`,
      words: /VIP 10.0.1.10 is not among those that are unwrapped here/,
    },
    {
      what: 'XDP on a veth',
      plant: `${attach.replace(' tc', ' xdp')} --tunnel gre --key 7 --from 10.0.1.2 ${to}`,
      words: /eth0 is a veth with an XDP program: its peer then sends no super-frames/,
      severity: 'may-bite',
    },
  ]);
  // What comes is counted, what comes from strangers too.
  await wrapToFirst(net, { type: 'gre', key: 7, outer: 4, inner: 4 });
  equal((await requests(net.client, net.vip[4], 3, webPort)).errors, 0);
  const busy = await examine(net, host, 'web4 --server');
  match(JSON.stringify(busy.findings), /gre is unwrapped on eth0 at tc, \d+ frames so far/);
  await wrapToFirst(net, { type: 'gre', key: 7, outer: 4, inner: 4 }, '10.0.1.3');
  equal((await requests(net.client, net.vip[4], 1, webPort, '--connect-timeout 1')).errors, 1);
  const strange = await examine(net, host, 'web4 --server');
  match(JSON.stringify(strange.findings), /tunnel packets came from an address that is no listed balancer/);
}

async function oneArmBalancer(net: Topology): Promise<void> {
  const { balancer } = net;
  const first = net.server(0).host;
  const sound = await examine(net, balancer, '');
  deepEqual(biting(sound), [], 'nothing bites before');
  equal(sound.code, 0);
  match(JSON.stringify(sound.findings), /packets of 1500 octets get to server web-2 \(10.0.1.12\)/);
  // A server that answers for the VIP is told by its MAC.
  const mac = await first.mac('eth0');
  await first.sysctl('net.ipv4.conf.all.arp_ignore', 0);
  const loud = await examine(net, balancer, 'web4');
  equal(loud.code, 1);
  ok(
    biting(loud).some(({ words }) =>
      words.includes(`VIP 10.0.1.10 is answered by ARP of server web-1 (10.0.1.11) (${mac} on eth0)`),
    ),
    JSON.stringify(loud.findings),
  );
  await first.sysctl('net.ipv4.conf.all.arp_ignore', 1);
  await first.run('ip address add 2001:db8:b::10/128 dev eth0 nodad');
  const loud6 = await examine(net, balancer, 'web6');
  match(biting(loud6)[0]?.words ?? '', /VIP 2001:db8:b::10 is answered by neighbour discovery of server web-1/);
  await first.run('ip address del 2001:db8:b::10/128 dev eth0');
  // A server that is gone.
  await first.run('ip link set eth0 down');
  const gone = await examine(net, balancer, 'web4');
  match(biting(gone)[0]?.words ?? '', /server web-1 \(10.0.1.11\) of service web4 does not answer on eth0/);
  match(
    await balancer.run(`${command} doctor -c ${net.fairlead.configFile} web4; true`),
    /^BITES {5}route: server web-1/m,
  );
}

async function inlineBalancer(net: Topology): Promise<void> {
  const { balancer } = net;
  deepEqual(biting(await examine(net, balancer, 'web4')), [], 'nothing bites before');
  await balancer.sysctl('net.ipv4.conf.in.rp_filter', 1);
  const strict = await examine(net, balancer, 'web4');
  match(JSON.stringify(strict.findings), /the strict reverse path filter of in drops answers of web4/);
  await balancer.sysctl('net.ipv4.ip_forward', 0);
  const closed = await examine(net, balancer, 'web4');
  match(JSON.stringify(closed.findings), /this host does not forward IPv4: answers of web4 get lost/);
}

/** Its own daemon answers for the VIPs, which is no finding; somebody else who does is one. */
async function runningBalancer(net: Topology): Promise<void> {
  const { balancer, client, fairlead } = net;
  await fairlead.up(net.config(net.everyService('nat')));
  const sound = await examine(net, balancer, '');
  deepEqual(biting(sound), [], 'nothing bites');
  match(JSON.stringify(sound.findings), new RegExp(`"check":"daemon","words":"engine ${net.lab.engine}: `));
  match(JSON.stringify(sound.findings), /no other host answers for a VIP/);
  // Only in the driver there is something to know about these interfaces, and the mend takes it away.
  const ofXdp = ({ findings }: Examined) => findings.filter(({ check }) => check === 'xdp');
  const words = ofXdp(sound).map((finding) => `${finding.severity}: ${finding.words}, mend: ${finding.mend}`);
  equal(words.length, net.lab.engine === 'xdp' ? 4 : 0, words.join('\n'));
  if (net.lab.engine === 'xdp') {
    match(
      words[0] ?? '',
      /^may-bite: out is a veth worked on by xdp, .* checksums .*, mend: engine: tc; or ethtool -K/,
    );
    match(words[3] ?? '', /^may-bite: .* to the veth in waits in a ring of 256 frames: .*, mend: engine: tc,/);
    await fairlead.reload(net.config(net.everyService('nat'), { engine: 'tc' }));
    deepEqual(ofXdp(await examine(net, balancer, '')), [], 'mended');
  }
  await client.run(`ip address add ${net.vip[4]}/24 dev eth0`);
  const twice = await examine(net, balancer, 'web4');
  const mac = await client.mac('eth0');
  match(
    JSON.stringify(twice.findings),
    new RegExp(`VIP 203.0.113.10 is answered on out by ${mac}, which is no server of its services: another balancer`),
  );
  match((await attemptOn(net, balancer, 'doctor wep')).stderr, /there is no service "wep"/);
}

/** What only a try through the path of clients shows, beside a running balancer. */
async function throughPath(net: Topology): Promise<void> {
  const { balancer } = net;
  const { host } = net.server(0);
  const [vip, tried] = ['10.0.1.10', /server web-1 of service web4, asked for 10.0.1.10 port \d+ through the path/];
  const vipBack = `ip address add ${vip}/32 dev lo`;
  const sound = await examine(net, balancer, 'web4');
  match(JSON.stringify(sound.findings), new RegExp(`${tried.source} of clients: connected in`));
  match(JSON.stringify(sound.findings), /packets of 1500 octets for 10.0.1.10 to server web-1 .* get through whole/);
  await findEach(net, balancer, 'web4', [
    {
      what: 'a VIP that is missing',
      on: host,
      plant: `ip address del ${vip}/32 dev lo`,
      words: new RegExp(`${tried.source} of clients: the VIP is not configured on the server`),
      mend: vipBack,
    },
    {
      what: 'a server that takes small packets only',
      on: host,
      plant: 'ip link set eth0 mtu 1400',
      words: /packets of 1500 octets for 10.0.1.10 to server web-1 of service web4 get lost, smaller ones do not/,
      mend: 'ip link set eth0 mtu 1500',
    },
    {
      what: 'a port where nobody listens any more',
      on: host,
      plant:
        'nft add table ip f && nft add chain ip f i "{ type filter hook input priority 0; }" && nft add rule ip f i tcp dport != 22 reject with tcp reset',
      words: new RegExp(`${tried.source} of clients: connection refused`),
      mend: 'nft delete table ip f',
    },
  ]);
  // A server that forwards what it does not own sends it to whom it takes for the owner: us.
  await host.run(`ip address del ${vip}/32 dev lo && sysctl -q -w net.ipv4.ip_forward=1`);
  const returned = await examine(net, balancer, 'web4');
  match(JSON.stringify(returned.findings), /frames came back since the region was made: a server does not own the VIP/);
  equal(returned.code, 1);
}

async function strictFilter(net: Topology): Promise<void> {
  const { balancer } = net;
  await findEach(net, balancer, 'web4', [
    {
      what: 'a strict reverse path filter where answers to checks come in',
      plant: 'sysctl -q -w net.ipv4.conf.in.rp_filter=1',
      words:
        /the strict reverse path filter of in drops what servers of web4 answer to checks of VIP 203.0.113.10, which this host reaches by out/,
    },
  ]);
}

async function throughTunnel(net: Topology): Promise<void> {
  const { balancer } = net;
  const { host } = net.server(0);
  const tool = command.replace('scripts/fairlead', 'native/build/fairlead-decap');
  const router = net.lab.host('router');
  await findEach(net, balancer, 'web4', [
    {
      what: 'a tunnel that nobody unwraps',
      on: host,
      plant: `${tool} detach web4`,
      words: /through the path of clients: the tunnel is not unwrapped, or the VIP is not configured on the server/,
      mend: `${command} server-setup web4 --apply -c ${net.fairlead.configFile}`,
    },
    {
      what: 'a router that drops what is large and says nothing',
      on: router,
      plant: String.raw`nft add table ip q && nft add chain ip q f "{ type filter hook forward priority 0; }" && nft add rule ip q f ip daddr 10.0.2.11 meta length \> 1400 drop`,
      words: /packets of 1472 octets for 10.0.1.10 to server web-1 of service web4 get lost/,
      mend: 'nft delete table ip q',
    },
    {
      what: 'a narrow way that is told of',
      on: router,
      plant: 'ip link set east mtu 1400',
      words: /packets of 1472 octets for 10.0.1.10 to server web-1 of service web4 are too big for the way/,
      severity: 'may-bite',
      // What was learned of a way is believed for ten minutes.
      mend: `ip link set east mtu 1500`,
    },
  ]);
}

async function narrowPath(net: Topology): Promise<void> {
  const { balancer } = net;
  const router = net.lab.host('router');
  const narrow = async (mtu: number) => {
    await router.run(`ip link set east mtu ${mtu}`);
    await balancer.run('ip route flush cache');
  };
  await narrow(1400);
  const learned = await examine(net, balancer, 'web4');
  match(
    JSON.stringify(learned.findings),
    /the path to server web-1 \(10.0.2.11\) of service web4 by eth0 and 10.0.1.254 takes packets of 1400 octets only, of which the tunnel leaves 1372/,
  );
  equal(learned.code, 0, 'clients can be told');
  await narrow(1500);
  // A router that drops what is too large and says nothing.
  await router.run('nft -f -', {
    input: `table ip quiet {
      chain forward {
        type filter hook forward priority 0
        ip daddr 10.0.2.11 meta length > 1400 drop
      }
    }`,
  });
  const lost = await examine(net, balancer, 'web4');
  match(
    biting(lost)[0]?.words ?? '',
    /packets of 1500 octets get lost on the way to server web-1 .* no router says why/,
  );
  equal(lost.code, 1);
  await balancer.run('ip route del default');
  const astray = await examine(net, balancer, 'web4');
  match(biting(astray)[0]?.words ?? '', /there is no route to server web-1 \(10.0.2.11\) of service web4/);
}

async function running(net: Topology, options: { tunnel?: Record<string, string | number> }): Promise<Topology> {
  const method = options.tunnel === undefined ? 'l2-dsr' : 'l3-dsr';
  const config = net.config({ web4: net.service({ method, family: 4, ...options }) });
  await setUpServers(net, config);
  await net.fairlead.up(config);
  return net;
}

const l2 = async (net: Topology): Promise<Topology> => {
  await setUpServers(net, net.config(net.everyService('l2-dsr')));
  return net;
};

const routed = (name: string, title: string, run: Scenario['run']): Scenario => ({
  name,
  title,
  picture: routedPicture,
  engines: noEngine,
  stage: async (lab) => {
    const net = await buildRouted(lab, { servers: 1, captures: false });
    const web4 = net.service({ method: 'l3-dsr', family: 4, tunnel: { type: 'gre', key: 7 } });
    await setUpServers(net, net.config({ web4 }));
    return net;
  },
  run,
});

export const scenarios: Scenario[] = [
  {
    name: 'doctor-l2-server',
    title: 'each fault planted on an l2-dsr server is found, and mended by the command that the doctor names',
    picture: oneArmPicture,
    engines: noEngine,
    stage: async (lab) => l2(await buildOneArm(lab, { servers: 1, captures: false })),
    run: l2Server,
  },
  routed('doctor-l3-server', 'each fault planted in a server’s decapsulation is found and mended', l3Server),
  {
    name: 'doctor-one-arm',
    title: 'on the balancer the doctor names a server that answers for the VIP, and one that is gone',
    picture: oneArmPicture,
    engines: noEngine,
    stage: async (lab) => l2(await buildOneArm(lab, { servers: 2, captures: false })),
    run: oneArmBalancer,
  },
  {
    name: 'doctor-inline',
    title: 'on the balancer the doctor says when answers that come back this way would get lost',
    picture: pictureWithRouter,
    engines: noEngine,
    stage: async (lab) => l2(await buildInline(lab, { servers: 1, gateway: 'router', captures: false })),
    run: inlineBalancer,
  },
  {
    name: 'doctor-running',
    title: 'beside a running balancer the doctor reports its engine, and tells its answers from those of others',
    picture: inlinePicture,
    stage: (lab) => buildInline(lab, { servers: 2, captures: false }),
    run: runningBalancer,
  },
  {
    name: 'doctor-through-path',
    title: 'beside a running balancer the doctor meets what clients of an l2-dsr server meet, and names it',
    picture: oneArmPicture,
    stage: async (lab) => running(await buildOneArm(lab, { servers: 1, captures: false }), {}),
    run: throughPath,
  },
  {
    name: 'doctor-strict-filter',
    title: 'the doctor names the filter of the balancer that keeps answers to checks of the VIP out',
    picture: pictureWithRouter,
    engines: ['packet'],
    stage: async (lab) => running(await buildInline(lab, { servers: 1, gateway: 'router', captures: false }), {}),
    run: strictFilter,
  },
  {
    name: 'doctor-through-tunnel',
    title: 'beside a running balancer the doctor meets what clients of an l3-dsr server meet, and names it',
    picture: routedPicture,
    engines: ['packet', 'xdp'],
    stage: async (lab) =>
      running(await buildRouted(lab, { servers: 1, captures: false }), { tunnel: { type: 'gre', key: 7 } }),
    run: throughTunnel,
  },
  routed('doctor-path', 'on the balancer the doctor finds a narrow path, a silent one and none at all', narrowPath),
];
