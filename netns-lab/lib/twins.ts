// Who is who to two boxes that are given the same frames (topologies/twins.ts): no hosts, but ends of cables.
import type { Net } from '../topologies/topology.ts';

const outside: Net = { 4: '203.0.113.', 6: '2001:db8:a::' };
const inside: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };
const number = (net: Net, host: number): Net => ({ 4: `${net[4]}${host}`, 6: `${net[6]}${host}` });

export const twins = {
  client: number(outside, 100),
  vip: number(outside, 10),
  near: number(outside, 2),
  server: number(inside, 11),
  inside: number(inside, 1),
  /** Routers on either side, who have something to say. */
  westRouter: number(outside, 254),
  eastRouter: number(inside, 254),
  macs: {
    out: '02:00:00:00:00:01',
    in: '02:00:00:00:00:02',
    client: '02:00:00:00:00:c1',
    server: '02:00:00:00:00:51',
    westRouter: '02:00:00:00:00:c2',
    eastRouter: '02:00:00:00:00:52',
  },
  ports: { tcp: { vip: 80, server: 8080 }, udp: { vip: 53, server: 5353 } },
} as const;
