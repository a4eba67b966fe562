// Connections held open through whatever is done to the balancer: each must stay the same one, with the same server.
import { equal } from 'node:assert/strict';
import { families, type Topology } from '../topologies/topology.ts';
import { openSession, type Session } from './session.ts';

export interface OpenSession {
  session: Session;
  answer: string;
}

/** A connection to each of the servers, in each family. */
export async function openEverywhere(net: Topology): Promise<OpenSession[]> {
  const all = [];
  for (const family of families) {
    for (const _ of net.servers) {
      const session = await openSession(net.client, net.vip[family]);
      all.push({ session, answer: await session.ask() });
    }
  }
  equal(new Set(all.map(({ answer }) => answer.split(' ')[0])).size, net.servers.length, 'a connection to each server');
  return all;
}

export async function assertAlive(sessions: OpenSession[], when: string, withinMs = 15_000): Promise<void> {
  const now = await Promise.all(sessions.map(({ session }) => session.ask(withinMs)));
  for (const [index, { answer }] of sessions.entries()) {
    equal(now[index], answer, `the same connection to the same server ${when}`);
  }
}
