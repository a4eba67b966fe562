// What a new configuration says of a service just as the running one did is the running one's: the very object, by which
// whoever works on services sees that nothing is new (weigh.ts, plane/roster.ts), and the memory of one, not of two.

import { isDeepStrictEqual } from 'node:util';
import { mapInTurns } from '../base/turns.ts';
import type { Config } from '../config/config.ts';

/** A few milliseconds. */
const AT_ONCE = 256;

export async function keepServices(before: Config, after: Config): Promise<Config> {
  const former = new Map(before.services.map((service) => [service.name, service]));
  const services = await mapInTurns(after.services, AT_ONCE, (service) => {
    const was = former.get(service.name);
    return was !== undefined && isDeepStrictEqual(was, service) ? was : service;
  });
  return { ...after, services };
}
