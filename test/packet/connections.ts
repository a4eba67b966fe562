// Connections of one client through one service, step by step: whom a new one goes to, and how its server answers.

import assert from 'node:assert/strict';
import { type Exchange, reply, request } from './exchange.ts';
import { addressOf } from './frame.ts';
import { INSIDE, type Stage } from './stage.ts';

export const CLIENT = '198.51.100.7';

const tcp: Exchange = { method: 'nat', protocol: 'tcp', family: 4 };

export interface Connections {
  /** Sends the first frame of a flow; the server that it goes to, or what became of it instead. */
  readonly begin: (port: number, from?: string) => string;
  /** Any frame of the client's. */
  readonly say: (port: number, flags: string) => string;
  /** Any frame of the server's. */
  readonly answer: (port: number, server: string, flags: string) => void;
  /** A whole handshake, whose answer takes so many microseconds. */
  readonly establish: (port: number, us?: number) => string;
}

/** Of a service on 203.0.113.10:80 with method nat, whose servers listen on 8080. */
export function connectionsOf(stage: Stage, { protocol }: Pick<Exchange, 'protocol'> = tcp): Connections {
  const exchange: Exchange = { ...tcp, protocol };
  const say = (port: number, flags: string, from = CLIENT): string =>
    stage.send({ ...request(exchange, { flags }), from, fromPort: port }).said;
  const serverOf = (port: number, from: string): string => {
    const [flow] = stage.flows({ client: { address: addressOf(from), port } });
    assert.ok(flow);
    return flow.server.text;
  };
  const answer = (port: number, server: string, flags: string): void => {
    const frame = { ...reply(exchange, { address: CLIENT, port }, { flags }), from: server };
    assert.equal(stage.send(frame, { via: INSIDE }).said, 'forwarded: server-hit');
  };
  const begin = (port: number, from = CLIENT): string => {
    const said = say(port, 'S', from);
    return said === 'forwarded: new-flow' ? serverOf(port, from) : said;
  };
  return {
    begin,
    say,
    answer,
    establish: (port, us = 0) => {
      const server = begin(port);
      stage.wait(us / 1e6);
      answer(port, server, 'SA');
      say(port, 'A');
      return server;
    },
  };
}

/** How often each is named. */
export function shares(servers: readonly string[]): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const server of servers.toSorted()) counted[server] = (counted[server] ?? 0) + 1;
  return counted;
}

export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
