// What the engine tells of, in an operator's words, and what is done about it: links are followed, next hops reported, a
// full table said aloud now and then, an engine whose worker died started again.

import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { readHop } from '../plane/counters.ts';
import type { Plane, PlaneEvents } from '../plane/plane.ts';
import type { Controller } from './controller.ts';
import { interfaceNames } from './desired.ts';
import type { Engine } from './engine.ts';
import { serverKey } from './overrides.ts';
import type { ControlState } from './state.ts';

export interface EngineWatchOptions {
  readonly engine: Engine;
  readonly controller: Controller;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface EngineWatch {
  stop(): void;
}

/** A full table is refused flows by the thousand; one line in so long says it as well. */
const TABLE_FULL_QUIET_MS = 10_000;
const RESTART_EVERY_MS = 1000;

export function watchEngine({ engine, controller, clock, log }: EngineWatchOptions): EngineWatch {
  const { plane } = engine;
  let tableFullSaidMs = Number.NEGATIVE_INFINITY;
  let restart: Timer | null = null;
  let hops = readHops(plane, controller.state());
  let isStopped = false;

  const sayAll = (sayings: readonly Saying[]): void => {
    for (const { text, level } of sayings) log[level](text);
  };

  const sayLinks = (): void => {
    const before = controller.state();
    controller.lookAtHost();
    sayAll(linkChanges(before, controller.state()));
  };

  const sayHops = (): void => {
    const now = readHops(plane, controller.state());
    sayAll(hopChanges(hops, now));
    hops = now;
  };

  const sayTableFull = (): void => {
    if (clock.nowMs() - tableFullSaidMs < TABLE_FULL_QUIET_MS) return;
    tableFullSaidMs = clock.nowMs();
    const { flows } = controller.state().config;
    log.warn(
      { flows },
      `the flow table is full: new flows are refused; raise "flows" above ${flows} and restart, or shorten "timeouts"`,
    );
  };

  const restartEngine = (): void => {
    restart = null;
    try {
      engine.restart();
      log.info('the engine forwards again; no flow was lost');
    } catch (error) {
      log.error({ err: error }, `the engine does not start, will try again: ${(error as Error).message}`);
      restart = clock.setTimer(RESTART_EVERY_MS, restartEngine);
    }
  };

  plane.watch((events: PlaneEvents) => {
    if (isStopped) return;
    if (events.link) sayLinks();
    if (events.neighbour) sayHops();
    if (events.tableFull) sayTableFull();
    if (events.workerDied && restart === null) {
      log.error('a worker of the engine died; starting the engine again');
      // Not at once: a worker that dies at birth must not keep this thread busy.
      restart = clock.setTimer(RESTART_EVERY_MS, restartEngine);
    }
  });

  return {
    stop: () => {
      isStopped = true;
      restart?.cancel();
    },
  };
}

interface Saying {
  readonly text: string;
  readonly level: 'info' | 'warn';
}

function linkChanges(before: ControlState, after: ControlState): Saying[] {
  return interfaceNames(after.config).flatMap((name): Saying[] => {
    const [was, is] = [linkWords(before, name), linkWords(after, name)];
    return was === is
      ? []
      : [{ text: `interface ${name} is ${is}; it was ${was}`, level: is.startsWith('up') ? 'info' : 'warn' }];
  });
}

function linkWords({ host }: ControlState, name: string): string {
  const link = host.links.find((candidate) => candidate.name === name);
  if (link === undefined) return 'gone';
  return `${link.isUp ? 'up' : 'down'} (${link.mac}, MTU ${link.mtu})`;
}

/** MAC of the next hop by server. */
function readHops(plane: Plane, { services }: ControlState): Map<string, string | null> {
  const servers = services.flatMap((service) => service.servers.map((server) => ({ service, server })));
  return new Map(
    servers.map(({ service, server }) => [
      serverKey(service.config, server.config),
      readHop(plane, server.slot)?.mac ?? null,
    ]),
  );
}

function hopChanges(before: Map<string, string | null>, after: Map<string, string | null>): Saying[] {
  return [...after].flatMap(([server, mac]): Saying[] => {
    const was = before.get(server) ?? null;
    if (was === mac) return [];
    if (mac === null) return [{ text: `the next hop of server ${server} does not answer any more`, level: 'warn' }];
    return [
      { text: `the next hop of server ${server} is ${mac}${was === null ? '' : `, it was ${was}`}`, level: 'info' },
    ];
  });
}
