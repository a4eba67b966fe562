// What bad input gets: an exit code as documented, a message that names the thing, and nothing half applied.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { everyEngine, noEngine } from '../lib/engine.ts';
import { programsOn } from '../lib/programs.ts';
import { type ConfigDocument, command, type ServiceDocument } from '../lib/fairlead.ts';
import { assertAlive, openEverywhere } from '../lib/open-sessions.ts';
import { assertServed } from '../lib/proof.ts';
import { assertRefused } from '../lib/refused.ts';
import type { Scenario } from '../lib/scenario.ts';
import { requests, urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from '../topologies/one-arm.ts';
import type { Topology } from '../topologies/topology.ts';

const names = ['web-1', 'web-2', 'web-3'];

async function badConfigs(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const web4 = net.service({ method: 'nat', family: 4 });
  const misspelt: ServiceDocument & { shceduler: string } = { ...web4, shceduler: 'wlc' };
  const good = net.config({ web4 });
  const write = (config: ConfigDocument) => fairlead.writeConfig(config);

  const rules: [string, RegExp, ConfigDocument][] = [
    ['a misspelt key', /"shceduler".*"scheduler"/s, net.config({ web4: misspelt })],
    ['one listen of two services', /203\.0\.113\.10:80/, net.config({ web4, other: web4 })],
    ['an unknown method', /method/, net.config({ web4: { ...web4, method: 'teleport' as 'nat' } })],
    ['an interface that is not there', /eth9/, { ...good, interfaces: { outside: 'eth9', inside: 'in' } }],
    [
      'a VIP that is a local address',
      /203\.0\.113\.2\b/,
      net.config({ web4: { ...web4, listen: '203.0.113.2:80/tcp' } }),
    ],
    [
      'a nat server on the side of the clients',
      /full-nat/,
      net.config({ web4: { ...web4, servers: { here: '203.0.113.50:80' } } }),
    ],
  ];
  for (const [what, words, config] of rules) {
    write(config);
    await assertRefused(net, what, 3, words);
    deepEqual(fairlead.regions(), [], `${what}: no region is left behind`);
  }
  await balancer.run('ip link set in down');
  write(good);
  await assertRefused(net, 'an interface that is down', 3, /\bin\b.*down/s);
  await balancer.run('ip link set in up');
  await assertRefused(net, 'a file that is not there', 3, /no-such\.yaml/, `${command} up -c /no-such.yaml`);
  await assertRefused(net, 'no daemon', 4, /fairlead/, `${command} status -s ${fairlead.socket}`);
  await assertRefused(net, 'an unknown command', 2, /frobnicate/, `${command} frobnicate`);
  // Root without any capability is what a container without privileges gives.
  const powerless = `setpriv --bounding-set=-all --inh-caps=-all ${command} up -c ${fairlead.configFile}`;
  await assertRefused(net, 'no privileges', 7, /privilege|CAP_NET_RAW|root/i, powerless);
  const check = await fairlead.attempt(`check -c ${fairlead.configFile}`);
  equal(check.code, 0, `check likes the good file\n${check.stderr}`);
}

async function badReload(net: Topology): Promise<void> {
  const { fairlead } = net;
  const web4 = net.service({ method: 'nat', family: 4 });
  await fairlead.up(net.config({ web4 }));
  fairlead.writeConfig(net.config({ web4: { ...web4, scheduler: 'roulette' } }));
  const reload = await fairlead.attempt('reload');
  equal(reload.code, 3, `a reload of a broken file is refused\n${reload.stderr}`);
  match(reload.stdout + reload.stderr, /roulette/);
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'the old configuration goes on');
  for (const [line, code] of [
    ['drain web4 web-9', 5],
    ['drain web9 web-1', 5],
    ['weight web4 web-1 -5', 2],
  ] as const) {
    equal((await fairlead.attempt(line)).code, code, line);
  }
}

async function secondInstance(net: Topology): Promise<void> {
  const config = net.config({ web4: net.service({ method: 'nat', family: 4 }) });
  await net.fairlead.up(config);
  await assertRefused(net, 'a second instance', 7, /already|another|in use|running/i);
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'the first instance is not disturbed');
}

/** As another version would have left it: the layout's hash follows the magic in the header, where sections lie comes later. */
async function writeOtherLayout(net: Topology, region: string, { isAlike }: { isAlike: boolean }): Promise<void> {
  const change = (header: Buffer) => {
    header.fill(0xde, 8, 16);
    if (!isAlike) header.fill(0xde, 32, 1312);
    return header;
  };
  if (!statSync(region).isDirectory()) {
    writeFileSync(region, change(readFileSync(region)));
    return;
  }
  const map = `pinned ${region}/header key 0 0 0 0`;
  const { value } = JSON.parse(await net.balancer.run(`bpftool -j map lookup ${map}`)) as { value: string[] };
  const octets = change(Buffer.from(value.map(Number)));
  await net.balancer.run(`bpftool map update ${map} value ${octets.join(' ')}`);
}

async function otherVersion(net: Topology): Promise<void> {
  const { fairlead } = net;
  const daemon = await fairlead.up(net.config(net.everyService('nat')));
  const sessions = await openEverywhere(net);
  daemon.signal('SIGKILL');
  await daemon.ended;
  const [region = ''] = fairlead.regions();
  await writeOtherLayout(net, region, { isAlike: true });
  await fairlead.up();
  await fairlead.logged(/took over what the region .* held: [1-9]/);
  await assertAlive(sessions, 'over the change of version');
  deepEqual(fairlead.regions(), [region], 'nothing is left of the old region');
}

async function foreignRegion(net: Topology): Promise<void> {
  const { fairlead } = net;
  const config = net.config({ web4: net.service({ method: 'nat', family: 4 }) });
  const daemon = await fairlead.up(config);
  daemon.signal('SIGKILL');
  await daemon.ended;
  const [region = '', ...more] = fairlead.regions();
  deepEqual(more, [], 'one region');
  await writeOtherLayout(net, region, { isAlike: false });
  await fairlead.up();
  await fairlead.logged(
    /with another layout of its header: its connections, \d+ when they were last counted, are lost/,
  );
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'a new region is in use');
  const aside = `${region}${statSync(region).isDirectory() ? '_old' : '.old'}`;
  deepEqual(fairlead.regions(), [region, aside], 'the old region is set aside, not thrown away');
}

async function fullMemory(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const web4 = net.service({ method: 'nat', family: 4 });
  const after = (mount: string) => `unshare -m sh -c '${mount} && exec ${command} up -c ${fairlead.configFile}'`;
  if (net.lab.engine === 'packet') {
    fairlead.writeConfig(net.config({ web4 }));
    await assertRefused(net, 'a full /dev/shm', 1, /\/dev\/shm/, after('mount -t tmpfs -o size=64k tmpfs /dev/shm'));
  }
  // A machine with 4 GiB to spare, which the largest table there is exceeds.
  const memory = balancer.file('meminfo');
  writeFileSync(memory, 'MemTotal: 8388608 kB\nMemFree: 4194304 kB\nMemAvailable: 4194304 kB\n');
  fairlead.writeConfig(net.config({ web4 }, { flows: 67_108_864 }));
  const words = /4096 MiB free.*lower flows/s;
  await assertRefused(net, 'more flows than memory', 1, words, after(`mount --bind ${memory} /proc/meminfo`));
  deepEqual(fairlead.regions(), [], 'no region is left behind');
}

async function readiness(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const notify = balancer.file('notify');
  const listener = await balancer.start('notify-listener', `socat -u UNIX-RECV:${notify} STDOUT`, {
    ready: () => existsSync(notify),
  });
  fairlead.writeConfig(net.config({ web4: net.service({ method: 'nat', family: 4 }) }));
  const daemon = await balancer.start('fairlead-notify', `${command} up -c ${fairlead.configFile}`, {
    env: { NOTIFY_SOCKET: notify },
  });
  await waitFor(
    'READY=1',
    () => listener.output(),
    (text) => text.includes('READY=1'),
  );
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'as soon as it says it is ready');
  fairlead.daemon = daemon;
  fairlead.writeConfig(
    net.config({ web4: net.service({ method: 'nat', family: 4, scheduler: 'wrr', weights: [1, 0, 0] }) }),
  );
  process.kill(daemon.pid, 'SIGHUP');
  const answering = async () => Object.keys((await requests(net.client, net.vip[4], 4)).shares).join(' ');
  await waitFor('SIGHUP to apply the changed file', answering, (who) => who === 'web-1');
  equal(await daemon.stop('SIGTERM'), 0, 'SIGTERM ends it in order');
  equal(existsSync(fairlead.socket), false, 'the socket is gone');
}

/** The memory of a table this large takes a second or so, in which the daemon can hear nothing. */
async function earlySignal(net: Topology): Promise<void> {
  const { balancer, fairlead } = net;
  const web4 = net.service({ method: 'nat', family: 4 });
  fairlead.writeConfig({ ...net.config({ web4 }), flows: 8_388_608 });
  const daemon = await balancer.start('fairlead-early', `${command} up -c ${fairlead.configFile}`, {
    ready: () => existsSync(fairlead.regionOf('packet')),
  });
  equal(await daemon.stop('SIGTERM'), 0, 'it ends in order');
  match(daemon.output(), /ended; .* stay for a successor/);
  await fairlead.up();
  await fairlead.logged(/adopted the region/);
  assertServed(await requests(net.client, net.vip[4], 9), 9, names, 'the successor serves');
}

/** With nat, beside servers that have another gateway: nobody's answers come back through the balancer. */
async function lostAnswers(net: Topology): Promise<void> {
  const { fairlead } = net;
  const web4 = net.service({ method: 'nat', family: 4, more: { hairpin: 'refuse' } });
  await fairlead.up(net.config({ web4 }));
  await fairlead.logged(/warning: .*in 10\.0\.1\.0\/24 like its VIP: clients of that network are refused/);
  const many = (count: number) =>
    `seq ${count} | xargs -P ${count} -I{} curl -s -o /dev/null --connect-timeout 9 ${urlOf(net.vip[4])}`;
  const stranger = await net.client.start('stranger', many(30));
  await fairlead.logged(/server web4\/web-\d is up, but no answer of it passes here/, { withinMs: 15_000 });
  await stranger.stop();
}

/** What a daemon keeps on its host: regions, its socket, filters and programs on its interfaces. */
async function traces(net: Topology): Promise<string[]> {
  const { fairlead, plan } = net;
  const { outside, inside = outside } = plan.interfaces;
  const programs = await Promise.all([outside, inside].map((device) => programsOn(net.balancer, device)));
  return [...fairlead.regions(), ...(existsSync(fairlead.socket) ? ['socket'] : []), ...programs.flat()];
}

async function down(net: Topology): Promise<void> {
  const { fairlead } = net;
  deepEqual(await traces(net), [], 'before the first start');
  const daemon = await fairlead.up(net.config({ web4: net.service({ method: 'nat', family: 4 }) }));
  ok((await traces(net)).length > 1, 'while it runs');
  await fairlead.run('down');
  equal(await daemon.ended, 0, 'the daemon ends in order');
  deepEqual(await traces(net), [], 'after down');

  const killed = await fairlead.up();
  killed.signal('SIGKILL');
  await killed.ended;
  ok((await traces(net)).length > 1, 'kill -9 leaves everything for a successor');
  await fairlead.run(`down --name ${fairlead.name}`);
  deepEqual(await traces(net), [], 'down clears up after a killed daemon too');
}

const scenario = (name: string, title: string, run: Scenario['run'], engines = everyEngine): Scenario => ({
  name,
  title,
  picture,
  engines,
  stage: (lab) => buildInline(lab, { captures: false }),
  run,
});

export const scenarios: Scenario[] = [
  scenario(
    'bad-configs',
    'a wrong file, a wrong host and missing privileges are refused with a message and an exit code',
    badConfigs,
    noEngine,
  ),
  scenario(
    'bad-reload',
    'a reload of a broken file changes nothing, and unknown names are told from wrong usage',
    badReload,
  ),
  scenario('second-instance', 'a second instance on the same region is refused and the first goes on', secondInstance),
  scenario(
    'other-version',
    'a region that another version left is carried over: open connections live on',
    otherVersion,
  ),
  scenario('foreign-region', 'a region of another layout is set aside, and it is said what is lost', foreignRegion),
  scenario('full-memory', 'too little shared memory is a polite refusal, not a crash', fullMemory),
  scenario('down', 'down ends the daemon and removes every trace, also of one that was killed', down),
  scenario('early-signal', 'a signal that comes while the daemon still starts ends it in order', earlySignal, [
    'packet',
  ]),
  {
    name: 'lost-answers',
    title: 'nat servers whose answers go around the balancer are told of when it happens',
    picture: oneArmPicture,
    stage: (lab) => buildOneArm(lab, { gateway: 'router', captures: false }),
    run: lostAnswers,
  },
  scenario('readiness', 'systemd hears READY=1, SIGHUP applies a changed file, SIGTERM ends in order', readiness),
];
