// Names of services and servers as 64-bit numbers, by which the control plane finds its slots again in a region that a
// predecessor left. FNV-1a; 0 stands for "nobody" and is never given.

import type { ServerConfig, ServiceConfig } from '../config/config.ts';

/** In halves, which are plain numbers; the prime is 2^40 + 0x1b3. */
export function hash64(text: string): bigint {
  let [high, low] = [0xcbf29ce4, 0x84222325];
  for (const byte of Buffer.from(text, 'utf8')) {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + (low << 8) + Math.floor(product / 2 ** 32)) >>> 0;
    low = product >>> 0;
  }
  const hash = (BigInt(high) << 32n) | BigInt(low);
  return hash === 0n ? 1n : hash;
}

export function serviceId(service: ServiceConfig): bigint {
  return known(service, () => service.name);
}

/**
 * A server is itself as long as its service, its method, its address and its port stay: a flow to it needs no more. Its
 * name and weight may change.
 */
export function serverId(service: ServiceConfig, server: ServerConfig): bigint {
  return known(server, () => serverIdentity(service, server));
}

/** All of them are asked for again and again, and a server of a configuration never changes. */
const ids = new WeakMap<ServiceConfig | ServerConfig, bigint>();

function known(named: ServiceConfig | ServerConfig, text: () => string): bigint {
  const there = ids.get(named);
  if (there !== undefined) return there;
  const made = hash64(text());
  ids.set(named, made);
  return made;
}

/** The text behind serverId; unique in a configuration, since one service lists no endpoint twice. */
export function serverIdentity(service: ServiceConfig, server: ServerConfig): string {
  return `${service.name}|${service.method}|${server.address.text}|${server.port ?? '*'}`;
}
