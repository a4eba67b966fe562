// What half-open checks of the service web4 leave in its first server: nothing. Its kernel says so, and nginx.
import { equal } from 'node:assert/strict';
import type { Topology } from '../topologies/topology.ts';
import { webPort } from './servers.ts';
import { waitFor } from './wait-for.ts';

export async function proveHalfOpen(net: Topology): Promise<void> {
  const { host } = net.server(0);
  const accepted = async () =>
    Number(/\n\s*(\d+) \d+ \d+/.exec(await host.run(`curl -s 127.0.0.1:${webPort}/status`))?.[1]);
  /** Whatever their state, by the kernel's own table. */
  const connections = () =>
    host.run(`ss -Htan state all exclude listening 'sport = :${webPort} and not dst 127.0.0.1'`);
  await waitFor(
    'ten good checks',
    () => net.fairlead.run('checks web4'),
    (text) => /\+{10}/.test(text),
  );
  const before = await accepted();
  const received = async () => Number(/InSegs\s+(\d+)/.exec(await host.run('nstat -az TcpInSegs'))?.[1] ?? 0);
  const segments = await received();
  await waitFor('checks to go on', received, (now) => now > segments + 60);
  // This question itself is one accepted connection.
  equal(await accepted(), before + 1, 'nginx never saw a connection of a check');
  await waitFor('a moment without any connection', connections, (text) => text.trim() === '');
  equal(
    await host.run(`ss -Htlno 'sport = :${webPort}' | awk '{ s += $2 } END { print s + 0 }'`),
    '0\n',
    'the accept queue',
  );
}
