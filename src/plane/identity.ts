// Names of services and servers as 64-bit numbers, by which the control plane finds its slots again in a region that a
// predecessor left. FNV-1a; 0 stands for "nobody" and is never given.

import type { ServerConfig, ServiceConfig } from '../config/config.ts';

const OFFSET = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;

export function hash64(text: string): bigint {
  let hash = OFFSET;
  for (const byte of Buffer.from(text, 'utf8')) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * PRIME);
  return hash === 0n ? 1n : hash;
}

export function serviceId(service: ServiceConfig): bigint {
  return hash64(service.name);
}

/**
 * A server is itself as long as its service, its method, its address and its port stay: a flow to it needs no more. Its
 * name and weight may change.
 */
export function serverId(service: ServiceConfig, server: ServerConfig): bigint {
  return hash64(serverIdentity(service, server));
}

/** The text behind serverId; unique in a configuration, since one service lists no endpoint twice. */
export function serverIdentity(service: ServiceConfig, server: ServerConfig): string {
  return `${service.name}|${service.method}|${server.address.text}|${server.port ?? '*'}`;
}
