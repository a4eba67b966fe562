// Methods compared: the same requests and the same 10 MB each way, and what of them passed the balancer.
import type { Topology } from '../topologies/topology.ts';
import { formatTable } from './report.ts';
import { bigFile } from './servers.ts';
import { download, requests, upload, urlOf } from './traffic.ts';

export interface Side {
  /** "nat, inline" */
  title: string;
  net: Topology;
  /** Of its web service. */
  port: number;
}

interface Octets {
  inOctets: number;
  outOctets: number;
}

async function octetsOf({ net }: Side): Promise<Octets> {
  const services = await net.fairlead.view<Octets[]>('services');
  const sum = (key: keyof Octets) => services.reduce((octets, it) => octets + it[key], 0);
  return { inOctets: sum('inOctets'), outOctets: sum('outOctets') };
}

function formatOctets(octets: number): string {
  return octets === 0 ? '0' : `${(octets / 1e6).toFixed(2)} MB`;
}

/** What passed the balancer meanwhile, to the servers and to the client. */
async function passed(side: Side, transfer: () => Promise<unknown>): Promise<string[]> {
  const before = await octetsOf(side);
  await transfer();
  const after = await octetsOf(side);
  return [formatOctets(after.inOctets - before.inOctets), formatOctets(after.outOctets - before.outOctets)];
}

async function row(side: Side): Promise<{ cells: string[]; errors: number }> {
  const { net, port, title } = side;
  const { client, vip, lab } = net;
  const count = 30;
  const tally = await requests(client, vip[4], count, port);
  const big = bigFile(lab);
  let errors = tally.errors;
  const down = await passed(side, async () => {
    errors += (await download(client, urlOf(vip[4], port, '/big'))) === big.sha256 ? 0 : 1;
  });
  const up = await passed(side, () => upload(client, urlOf(vip[4], port, '/upload/big'), big.path));
  const shares = net.servers.map(({ name }) => tally.shares[name] ?? 0).join('/');
  const seen = new Set(tally.seenAs.map((it) => it.split(' ')[0]));
  return { cells: [title, shares, [...seen].join(' '), ...down, ...up, String(errors)], errors };
}

/** A row for each; gives the number of errors. */
export async function showSideBySide(sides: readonly Side[]): Promise<number> {
  const rows = [];
  for (const side of sides) rows.push(await row(side));
  const head = ['', '30 requests', 'client as seen', 'down: in', 'down: out', 'up: in', 'up: out', 'errors'];
  console.log(
    formatTable(
      head,
      rows.map(({ cells }) => cells),
    ),
  );
  return rows.reduce((sum, { errors }) => sum + errors, 0);
}
