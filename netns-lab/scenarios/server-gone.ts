// When servers go: nobody is left in silence, and no connection ends that need not.
import { equal, match } from 'node:assert/strict';
import type { Host } from '../lib/host.ts';
import { urlOf } from '../lib/traffic.ts';
import { waitFor } from '../lib/wait-for.ts';
import type { Scenario } from '../lib/scenario.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import { families, type Topology } from '../topologies/topology.ts';

const refused = 7; // what curl ends with when it could not connect
const tooLate = 28; // and when nobody answers

interface ServerRow {
  service: string;
  server: string;
  state: string;
}

/** Waits until the servers of a service are so, all of them. */
async function see(net: Topology, service: string, state: string): Promise<void> {
  await waitFor(
    `the servers of ${service} to be ${state}`,
    () => net.fairlead.view<ServerRow[]>('servers'),
    (rows) => rows.every((row) => row.service !== service || row.state === state),
    { withinMs: 30_000 },
  );
}

const connect = async (client: Host, address: string, port: number): Promise<number> =>
  (await client.attempt(`curl -s -o /dev/null --connect-timeout 10 '${urlOf(address, port)}'`)).code;

/** What a client's datagram gets: "refused" once the kernel hears of port unreachable. */
async function ask(client: Host, address: string, port: number): Promise<string> {
  const target = address.includes(':') ? `UDP6:[${address}]:${port}` : `UDP4:${address}:${port}`;
  const { stdout, stderr } = await client.attempt(`printf hello | socat -t 5 - ${target}`);
  return stderr.includes('Connection refused') ? 'refused' : `${stdout}${stderr}`;
}

const check = { type: 'tcp', port: 8080, every: '200ms', timeout: '200ms', fall: 2, rise: 1 };

async function nobodyThere(net: Topology): Promise<void> {
  const { client, vip, fairlead } = net;
  const services = net.everyService('nat', { more: { check } });
  await fairlead.up(net.config(services));
  for (const family of families) {
    equal(await connect(client, vip[family], 81), refused, `a port of IPv${family} without a service`);
    equal(await ask(client, vip[family], 54), 'refused', `a datagram to such a port of IPv${family}`);
    equal(await connect(client, vip[family], 80), 0, `IPv${family} is served`);
  }
  await net.server(0).stop();
  for (const family of families) {
    await see(net, `web${family}`, 'down');
    await see(net, `dns${family}`, 'down');
    equal(await connect(client, vip[family], 80), refused, `IPv${family} without a server`);
    equal(await ask(client, vip[family], 53), 'refused', `a datagram over IPv${family} without a server`);
  }
  match(await fairlead.run('drops'), /refused-no-server/);
  const silent = { ...services.web4!, 'on-no-server': 'drop' };
  await fairlead.reload(net.config({ ...services, web4: silent }));
  const short = `curl -s -o /dev/null --connect-timeout 0.5 '${urlOf(vip[4])}'`;
  equal((await client.attempt(short)).code, tooLate, 'as the service wishes');
  await net.server(0).start();
  for (const family of families) {
    await waitFor(`IPv${family} to be served again`, async () => (await connect(client, vip[family], 80)) === 0);
  }
}

export const scenarios: Scenario[] = [
  {
    name: 'nobody-there',
    title: 'a client for whom there is no service or no server is refused at once, over TCP and UDP',
    picture,
    stage: (lab) => buildInline(lab, { servers: 1 }),
    run: nobodyThere,
  },
];
