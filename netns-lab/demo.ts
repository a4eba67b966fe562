// The demo: labs with real requests through the VIP of each, methods side by side, then a server is drained under load.
//   node netns-lab/demo.ts [--keep]
import { playCommands } from './lib/hints.ts';
import { Lab } from './lib/lab.ts';
import { sweepLabs } from './lib/leftovers.ts';
import { formatMs, formatShare, formatTable } from './lib/report.ts';
import { setUpServers } from './lib/server-setup.ts';
import { udpPort, webPort } from './lib/servers.ts';
import { showSideBySide, type Side } from './lib/side-by-side.ts';
import { addTally, datagrams, emptyTally, load, median, requests, type Tally, urlOf } from './lib/traffic.ts';
import { meanwhile } from './lib/wait-for.ts';
import { buildInline, picture as inlinePicture } from './topologies/inline.ts';
import { buildOneArm, picture as oneArmPicture } from './topologies/one-arm.ts';
import { buildRouted, picture as routedPicture } from './topologies/routed.ts';
import { families, type Family, type Method, type Protocol, type Topology } from './topologies/topology.ts';

const count = 300;
const warmUp = 30;

function send(net: Topology, protocol: Protocol, address: string, many: number, port?: number): Promise<Tally> {
  return protocol === 'tcp' ? requests(net.client, address, many, port) : datagrams(net.client, address, many, port);
}

/** Through the VIP and straight to the servers by turns, so that whatever else the machine does meets both alike. */
async function measure(net: Topology, protocol: Protocol, family: Family): Promise<{ vip: Tally; direct: Tally }> {
  const sum = { vip: emptyTally(), direct: emptyTally() };
  await send(net, protocol, net.vip[family], warmUp);
  for (const index of net.servers.keys()) {
    const part = count / net.servers.length;
    addTally(sum.vip, await send(net, protocol, net.vip[family], part));
    const address = net.plan.serverAddress(index, family);
    addTally(sum.direct, await send(net, protocol, address, part, protocol === 'tcp' ? webPort : udpPort));
  }
  return sum;
}

async function row(net: Topology, protocol: Protocol, family: Family): Promise<{ cells: string[]; errors: number }> {
  const { vip, direct } = await measure(net, protocol, family);
  const [through, straight] = [median(vip.latenciesMs), median(direct.latenciesMs)];
  const answers = Object.values(vip.shares).reduce((sum, it) => sum + it, 0);
  const shares = net.servers.map(({ name }) => formatShare(vip.shares[name] ?? 0, answers));
  const times = [formatMs(straight), formatMs(through), formatMs(through - straight)];
  const cells = [`${protocol.toUpperCase()} IPv${family}`, String(count), ...shares, String(vip.errors), ...times];
  return { cells, errors: vip.errors };
}

/** The engine that was chosen, and why. */
async function engineOf({ fairlead }: Topology): Promise<{ kind: string; why: string }> {
  return (await fairlead.json<{ engine: { kind: string; why: string } }>('status')).engine;
}

/** Sends requests of every kind through the VIP and prints what came of them; gives the number of errors. */
async function show(net: Topology, title: string, picture: string): Promise<number> {
  const engine = await engineOf(net);
  console.log(`\n${title}\n${picture}\n  engine ${engine.kind} (${engine.why})\n`);
  const rows = [];
  for (const family of families) {
    rows.push(await row(net, 'tcp', family), await row(net, 'udp', family));
  }
  const names = net.servers.map(({ name }) => name);
  const head = ['through the VIP', 'requests', ...names, 'errors', 'median direct', 'median VIP', 'added'];
  console.log(
    formatTable(
      head,
      rows.map(({ cells }) => cells),
    ),
  );
  return rows.reduce((sum, { errors }) => sum + errors, 0);
}

/** Drains a server while two kinds of load run; gives the number of failed requests. */
async function drain(net: Topology): Promise<number> {
  const [victim] = net.servers;
  if (victim === undefined) {
    return 0;
  }
  const seconds = 4;
  const url = urlOf(net.vip[4]);
  console.log(
    `\nDraining ${victim.name} under load (wrk, ${seconds} s, connections kept open beside a new one for each request)\n`,
  );
  const loads = meanwhile(
    Promise.all([load(net.client, url, seconds, 8), load(net.client, url, seconds, 8, "-H 'Connection: close'")]),
  );
  const steps: string[][] = [];
  const step = async (what: string) => {
    const tally = await requests(net.client, net.vip[4], 150);
    steps.push([what, ...net.servers.map(({ name }) => String(tally.shares[name] ?? 0)), String(tally.errors)]);
    return tally.errors;
  };
  let failed = await step('before');
  console.log(`  $ fairlead drain web4 ${victim.name}`);
  await net.fairlead.run(`drain web4 ${victim.name}`);
  failed += await step('while it drains');
  console.log(`  $ fairlead enable web4 ${victim.name}\n`);
  await net.fairlead.run(`enable web4 ${victim.name}`);
  failed += await step('enabled again');
  console.log(formatTable(['new connections', ...net.servers.map(({ name }) => name), 'errors'], steps));
  const [kept, renewed] = await loads;
  console.log(`\n  connections kept open:          ${kept.requests} requests, ${kept.failed} failed`);
  console.log(`  a new connection each request:  ${renewed.requests} requests, ${renewed.failed} failed`);
  return failed + kept.failed + renewed.failed;
}

async function stand(label: string, method: Method, build: (lab: Lab) => Promise<Topology>): Promise<Topology> {
  return (await build(new Lab(label, 'auto'))).serving(method);
}

/** With direct server return: the servers are set up by `fairlead server-setup`, and answer clients themselves. */
async function standDirect(
  title: string,
  tunnel: Record<string, string> | undefined,
  build: (lab: Lab) => Promise<Topology>,
): Promise<Side> {
  const net = await build(new Lab(`demo-${title.split(' ')[0]}`, 'auto'));
  const method = tunnel === undefined ? 'l2-dsr' : 'l3-dsr';
  const config = net.config({ web: net.service({ method, family: 4, ...(tunnel === undefined ? {} : { tunnel }) }) });
  await setUpServers(net, config, tunnel === undefined ? '' : '--decap tc');
  await net.fairlead.up(config);
  return { title, net, port: webPort };
}

/** The same 10 MB by three methods. */
async function compare(nat: Topology): Promise<number> {
  const options = { captures: false };
  console.log(`
Side by side: 10 MB down and 10 MB up, and what of them passed the balancer (in: to the servers, out: to the client).
With direct server return the servers answer by themselves; behind a router they are reached through a tunnel, here GRE:
${routedPicture}`);
  const sides = [
    { title: 'nat, inline', net: nat, port: 80 },
    await standDirect('l2-dsr, one-arm', undefined, (lab) => buildOneArm(lab, options)),
    await standDirect('l3-dsr, routed', { type: 'gre' }, (lab) => buildRouted(lab, options)),
  ];
  const errors = await showSideBySide(sides);
  for (const { net } of sides.slice(1)) await net.lab.close();
  return errors;
}

async function demo(isKept: boolean): Promise<number> {
  await sweepLabs();
  const options = { captures: false };
  const inline = await stand('demo-inline', 'nat', (lab) => buildInline(lab, options));
  let errors = await show(inline, 'Inline, method nat: servers see the client itself', inlinePicture);
  const oneArm = await stand('demo-one-arm', 'full-nat', (lab) => buildOneArm(lab, options));
  errors += await show(oneArm, 'One-arm, method full-nat: servers see the VIP', oneArmPicture);
  await oneArm.lab.close();
  errors += await compare(inline);
  errors += await drain(inline);
  if (isKept) {
    console.log(playCommands(inline));
    inline.lab.keep();
  } else {
    await inline.lab.close();
    console.log('\nAll labs are taken down; --keep leaves the inline one standing to play with.');
  }
  console.log(errors === 0 ? '\nNo request failed.' : `\n${errors} requests failed.`);
  return errors === 0 ? 0 : 1;
}

process.exit(await demo(process.argv.includes('--keep')));
