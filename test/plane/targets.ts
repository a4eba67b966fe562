// What the plane's tests share: targets made from configurations as an operator writes them.

import { parseConfig } from '../../src/config/parse.ts';
import type { Config } from '../../src/config/config.ts';
import { parseAddress } from '../../src/net/address.ts';
import { parseMac } from '../../src/net/mac.ts';
import type { End, Target, TargetInterface } from '../../src/plane/target.ts';

export function configOf(services: string, head = ''): Config {
  return parseConfig(
    `version: 1\ninterfaces: { outside: eth0, inside: eth1 }\n${head}\nservices:\n${services}`,
    'test.yaml',
  );
}

export const WEB = `
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    scheduler: wrr
    servers:
      web-1: 10.0.1.11:8080
      web-2: { address: 10.0.1.12:8080, weight: 3 }
`;

type ByServer = Readonly<Record<string, number>>;
export type Ends = Readonly<Record<string, End>>;

/** Every server with its configured weight, but for those in `weights` ("web/web-1": 0); `reserves` are those that rest. */
export function targetOf(config: Config, weights: ByServer = {}, reserves: ByServer = {}, ends: Ends = {}): Target {
  return {
    timeouts: config.timeouts,
    onNoService: config.onNoService,
    interfaces: [outside, inside],
    services: config.services.map((service) => ({
      config: service,
      weights: service.servers.map(({ name, weight }) => weights[`${service.name}/${name}`] ?? weight),
      reserves: service.servers.map(({ name }) => reserves[`${service.name}/${name}`] ?? 0),
      ends: service.servers.map(({ name }) => ends[`${service.name}/${name}`] ?? 'no'),
    })),
  };
}

export const outside: TargetInterface = {
  name: 'eth0',
  ifindex: 2,
  mtu: 1500,
  mac: parseMac('02:00:00:00:00:01')!,
  address4: parseAddress('203.0.113.1'),
  address6: parseAddress('2001:db8::1'),
  networks: [],
};

export const inside: TargetInterface = {
  ...outside,
  name: 'eth1',
  ifindex: 3,
  address4: parseAddress('10.0.1.1'),
  address6: null,
};
