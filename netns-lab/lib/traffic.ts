// What clients do: requests with curl, load with wrk, datagrams, uploads and downloads. Each gives numbers to judge.
import { join } from 'node:path';
import type { Host } from './host.ts';

const udpProbe = join(import.meta.dirname, '..', 'programs', 'udp-probe.ts');

export interface Tally {
  /** Answers by the name of the server that gave them. */
  shares: Record<string, number>;
  errors: number;
  latenciesMs: number[];
  /** The client as the server saw it, "ADDRESS PORT", in order. */
  seenAs: string[];
}

export function emptyTally(): Tally {
  return { shares: {}, errors: 0, latenciesMs: [], seenAs: [] };
}

export function addTally(sum: Tally, part: Tally): void {
  for (const [name, share] of Object.entries(part.shares)) sum.shares[name] = (sum.shares[name] ?? 0) + share;
  sum.errors += part.errors;
  sum.latenciesMs.push(...part.latenciesMs);
  sum.seenAs.push(...part.seenAs);
}

export function urlOf(address: string, port = 80, path = '/'): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Sends `count` requests one after another, each on a connection of its own. */
export async function requests(client: Host, address: string, count: number, port = 80, options = ''): Promise<Tally> {
  const many = `curl -s -H 'Connection: close' --max-time 5 ${options} -w '%{http_code} %{time_total} -\\n'`;
  // A client that gives up at the first failure would hide the rest: curl goes on, and its exit code is the last one's.
  const text = await client.attempt(`${many} '${urlOf(address, port)}?[1-${count}]'`, { timeoutMs: 5000 * count });
  const tally = emptyTally();
  for (const line of text.stdout.split('\n').filter(Boolean)) {
    const [first = '', second = '', third = ''] = line.split(' ');
    if (third !== '-') {
      tally.shares[first] = (tally.shares[first] ?? 0) + 1;
      tally.seenAs.push(`${second} ${third}`);
    } else if (first === '200') {
      tally.latenciesMs.push(Number(second) * 1000);
    } else {
      tally.errors += 1;
    }
  }
  return tally;
}

// Source ports of datagrams are used once in a run, below those that the kernel hands out by itself.
const portRange = { first: 10_000, last: 32_000 };
let nextPort = portRange.first;

function takePorts(count: number): number {
  if (nextPort + count > portRange.last) nextPort = portRange.first;
  nextPort += count;
  return nextPort - count;
}

/** Sends `count` datagrams one after another, each from a port of its own, or all from `sourcePort`. */
export async function datagrams(
  client: Host,
  address: string,
  count: number,
  port = 53,
  sourcePort?: number,
): Promise<Tally> {
  const source = sourcePort === undefined ? takePorts(count) : `${sourcePort} one-flow`;
  const line = `${process.execPath} ${udpProbe} ${address} ${port} ${count} ${source}`;
  const answer = JSON.parse(await client.run(line, { timeoutMs: 5000 + 1000 * count })) as {
    shares: Record<string, number>;
    lost: number;
    wrong: string[];
    latenciesMs: number[];
    seenAs: string[];
  };
  const { shares, lost, wrong, latenciesMs, seenAs } = answer;
  return { shares, errors: lost + wrong.length, latenciesMs, seenAs };
}

export interface Load {
  requests: number;
  perSecond: number;
  failed: number;
  text: string;
}

function wrk(url: string, seconds: number, connections: number, options: string): string {
  return `wrk -t1 -c${connections} -d${seconds}s --timeout 8s ${options} '${url}'`;
}

function parseLoad(text: string): Load {
  const numberAfter = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0);
  const sockets = /connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)?.slice(1) ?? [];
  const socketErrors = sockets.reduce((sum, it) => sum + Number(it), 0);
  return {
    requests: numberAfter(/(\d+) requests in/),
    perSecond: numberAfter(/Requests\/sec:\s+([\d.]+)/),
    failed: socketErrors + numberAfter(/Non-2xx or 3xx responses: (\d+)/),
    text,
  };
}

/** Presses requests through with wrk for some seconds; `failed` counts socket errors, time-outs and bad answers. */
export async function load(client: Host, url: string, seconds: number, connections = 16, options = ''): Promise<Load> {
  const line = wrk(url, seconds, connections, options);
  return parseLoad(await client.run(line, { timeoutMs: seconds * 1000 + 15_000 }));
}

let loads = 0;

/** The same until it is told to end. */
export async function startLoad(
  client: Host,
  url: string,
  connections: number,
  options = '',
): Promise<{ end(): Promise<Load> }> {
  loads += 1;
  // No scenario lasts that long.
  const process = await client.start(`load-${loads}`, wrk(url, 300, connections, options));
  return {
    end: async () => {
      await process.stop('SIGINT'); // on which wrk tells its sums
      return parseLoad(process.output());
    },
  };
}

/** Fetches a URL and gives the SHA-256 of what came. */
export async function download(client: Host, url: string, timeoutMs = 30_000): Promise<string> {
  const sum = await client.run(`curl -sS --fail '${url}' | sha256sum`, { timeoutMs });
  return sum.split(' ')[0] ?? '';
}

/** Puts a file and gives the name of the server that took it. */
export async function upload(client: Host, url: string, file: string): Promise<string> {
  // Without "Expect: 100-continue" the body goes out at once, in the largest segments the offloads allow.
  const headers = await client.run(`curl -sS --fail -H 'Expect:' -D - -o /dev/null -T ${file} '${url}'`, {
    timeoutMs: 30_000,
  });
  return /^X-Server: (\S+)/im.exec(headers)?.[1] ?? '';
}
