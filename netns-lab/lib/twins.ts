// Who is who to two boxes that are given the same frames (topologies/twins.ts): no hosts, but ends of cables.
import { at, type Net } from '../topologies/net.ts';

const outside: Net = { 4: '203.0.113.', 6: '2001:db8:a::' };
const inside: Net = { 4: '10.0.1.', 6: '2001:db8:b::' };

export const twins = {
  client: at(outside, 100),
  vip: at(outside, 10),
  near: at(outside, 2),
  server: at(inside, 11),
  inside: at(inside, 1),
  /** Routers on either side, who have something to say. */
  westRouter: at(outside, 254),
  eastRouter: at(inside, 254),
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
