// The way to a server, as the kernel has it and as packets find it: a route, an answer to ping, and whether a packet of
// the link's full size gets through undivided.

import { execFile } from 'node:child_process';
import type { Address } from '../net/address.ts';

export interface PathFact {
  /** Null: the kernel has no route. */
  readonly route: RouteFact | null;
  readonly ping: 'answered' | 'silent' | 'unknown';
  /** Asked only of who answers ping: did a packet of the link's MTU get through? */
  readonly isFullSizeThrough: boolean | null;
}

export interface RouteFact {
  readonly link: string;
  readonly gateway: string | null;
  /** What the kernel has learned of the path, or was told; null: the link's own. */
  readonly mtu: number | null;
}

/** Echo header and IP header. */
const PING_OVERHEAD = { 4: 28, 6: 48 } as const;

export async function gatherPath(address: Address, mtuOf: (link: string) => number): Promise<PathFact> {
  const before = await routeTo(address);
  if (before === null) return { route: null, ping: 'unknown', isFullSizeThrough: null };
  const small = await ping(address, 56);
  if (small !== 'answered') return { route: before, ping: small, isFullSizeThrough: null };
  const size = mtuOf(before.link) - PING_OVERHEAD[address.family];
  // The first may be the one by which the kernel learns.
  const full = (await ping(address, size)) === 'answered' || (await ping(address, size)) === 'answered';
  return { route: (await routeTo(address)) ?? before, ping: small, isFullSizeThrough: full };
}

interface IpRoute {
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly metrics?: readonly { readonly mtu?: number }[];
}

export async function routeTo({ family, text }: Address): Promise<RouteFact | null> {
  const { code, stdout } = await run('ip', ['-j', `-${family}`, 'route', 'get', text]);
  if (code !== 0) return null;
  const [route] = JSON.parse(stdout) as IpRoute[];
  if (route?.dev === undefined) return null;
  const mtu = route.metrics?.find((metric) => metric.mtu !== undefined)?.mtu ?? null;
  return { link: route.dev, gateway: route.gateway ?? route.via?.host ?? null, mtu };
}

/** One echo of `size` octets, not to be fragmented. */
async function ping({ family, text }: Address, size: number): Promise<PathFact['ping']> {
  const words = [`-${family}`, '-n', '-q', '-c', '1', '-W', '1', '-M', 'do', '-s', String(size), text];
  const { code } = await run('ping', words);
  return code === 0 ? 'answered' : code === 127 ? 'unknown' : 'silent';
}

function run(program: string, words: readonly string[]): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    execFile(program, words, { timeout: 5000 }, (error, stdout) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127;
      resolve({ code, stdout });
    });
  });
}
