// Who listens: the kernel's tables of sockets (/proc/net/tcp and its siblings), in which an address is written as
// 32-bit words in hexadecimal, each in the machine's byte order.

import type { Protocol } from '../config/config.ts';
import { type Address, addressFromBytes } from '../net/address.ts';

export interface Listener {
  readonly protocol: Protocol;
  readonly address: Address;
  readonly port: number;
}

/** TCP_LISTEN, and for UDP TCP_CLOSE: a socket that is not connected (linux/tcp_states.h). */
const STATE = { tcp: '0A', udp: '07' } as const;

export function parseListeners(protocol: Protocol, table: string): Listener[] {
  return table.split('\n').flatMap((line) => {
    // "  0: 0100007F:1F90 00000000:0000 0A ..."
    const match = /^\s*\d+: ([0-9A-F]{8,32}):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /.exec(line);
    const [, address = '', port = '', state] = match ?? [];
    if (state !== STATE[protocol] || address.length % 8 !== 0) return [];
    const bytes = Buffer.from(address, 'hex');
    return [{ protocol, address: addressFromBytes(bytes.swap32()), port: Number.parseInt(port, 16) }];
  });
}

export type Listening = 'own' | 'wildcard' | 'nobody';

/** Does somebody take what comes for this address and port? IPv6's wildcard is taken to serve IPv4 as well. */
export function listeningOn(
  listeners: readonly Listener[],
  protocol: Protocol,
  address: Address,
  port: number,
): Listening {
  const there = listeners.filter((listener) => listener.protocol === protocol && listener.port === port);
  if (there.some((listener) => listener.address.text === address.text)) return 'own';
  const isWildcard = ({ text }: Address): boolean => text === '::' || (text === '0.0.0.0' && address.family === 4);
  return there.some((listener) => isWildcard(listener.address)) ? 'wildcard' : 'nobody';
}
