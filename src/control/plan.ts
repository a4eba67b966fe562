// What a new configuration changes, in an operator's words: the answer of a reload and its log line. Pure.

import { isDeepStrictEqual } from 'node:util';
import type { Config, ServerConfig, ServiceConfig } from '../config/config.ts';
import { formatDuration } from '../config/duration.ts';
import { formatListen } from '../config/endpoint.ts';
import { formatPlan } from '../config/format-check.ts';
import { formatLimit } from '../config/limit.ts';
import { formatPassive } from '../config/passive.ts';
import { formatSticky } from '../config/sticky.ts';
import { formatTunnelSource } from '../config/tunnel.ts';
import { formatEndpoint } from '../net/address.ts';
import type { Change } from './change.ts';

export function planChanges(before: Config, after: Config): Change[] {
  return [
    ...changedEngine(before, after),
    ...changedTimeouts(before, after),
    ...changedRefusal(before, after),
    ...changedLog(before, after),
    ...changedHooks(before, after),
    ...changedServices(before, after),
  ];
}

/** Keys that are settled when the daemon starts; a reload that changes one is refused. */
export function fixedChanges(before: Config, after: Config): string[] {
  const fixed = {
    name: (config: Config) => config.name,
    interfaces: (config: Config) => `${config.interfaces.outside} ${config.interfaces.inside ?? ''}`,
    bpffs: (config: Config) => config.bpffs ?? '',
    workers: (config: Config) => config.workers,
    flows: (config: Config) => config.flows,
    'sticky-clients': (config: Config) => config.stickyClients,
    control: ({ control }: Config) => `${control.socket} ${control.group ?? ''} ${control.state}`,
  };
  return Object.entries(fixed).flatMap(([key, read]) => (read(before) === read(after) ? [] : [key]));
}

function changedTimeouts(before: Config, after: Config): Change[] {
  const names = Object.keys(before.timeouts) as (keyof Config['timeouts'])[];
  return names.flatMap((name) => {
    const [from, to] = [before.timeouts[name], after.timeouts[name]];
    return from === to ? [] : [changed('timeouts', `${kebab(name)} ${formatDuration(from)} → ${formatDuration(to)}`)];
  });
}

function changedEngine(before: Config, after: Config): Change[] {
  return before.engine === after.engine ? [] : [changed('engine', `${before.engine} → ${after.engine}`)];
}

function changedRefusal(before: Config, after: Config): Change[] {
  const [from, to] = [before.onNoService, after.onNoService];
  return from === to ? [] : [changed('on-no-service', `${from} → ${to}`)];
}

function changedLog(before: Config, after: Config): Change[] {
  const [from, to] = [before.log.level, after.log.level];
  return from === to ? [] : [changed('log', `level ${from} → ${to}`)];
}

/** An address may hold a secret: only where it leads is named. */
function changedHooks(before: Config, after: Config): Change[] {
  const text = ({ notify }: Config): string =>
    notify.map((hook) => (hook.type === 'exec' ? (hook.command[0] ?? '') : new URL(hook.url).host)).join(', ') ||
    'nobody';
  return isDeepStrictEqual(before.notify, after.notify) ? [] : [changed('notify', `${text(before)} → ${text(after)}`)];
}

function changedServices(before: Config, after: Config): Change[] {
  return diff(before.services, after.services, {
    added: (service) => [
      { kind: 'added', what: serviceTitle(service), words: `new on ${listensOf(service)}, ${service.method}` },
      ...service.servers.map((server) => addedServer(service, server)),
    ],
    removed: (service) => [
      { kind: 'removed', what: serviceTitle(service), words: `no longer on ${listensOf(service)}, its flows end` },
    ],
    kept: changedService,
  });
}

function changedService(before: ServiceConfig, after: ServiceConfig): Change[] {
  const what = serviceTitle(after);
  const texts: [string, (service: ServiceConfig) => string, string?][] = [
    ['listen', listensOf],
    ['method', (service) => service.method, ', its flows end'],
    ['scheduler', (service) => service.scheduler],
    ['hash', (service) => service.hash],
    ['sticky', ({ sticky }) => formatSticky(sticky)],
    ['source', (service) => service.sources.map((address) => address.text).join(' ') || 'vip'],
    ['hairpin', ({ hairpin }) => hairpin],
    ['tunnel', tunnelText],
    ['check', ({ check }) => formatPlan(check)],
    ['passive', ({ passive }) => formatPassive(passive)],
    ['limits', ({ limit }) => formatLimit(limit)],
    ['half-open', ({ halfOpen }) => String(halfOpen)],
    ['min-up', ({ minUp }) => String(minUp)],
    ['panic', ({ panic }) => String(panic)],
    ['on-no-server', ({ onNoServer }) => onNoServer],
    ['on-servers-full', ({ onServersFull }) => onServersFull],
    ['on-server-down', ({ onServerDown }) => onServerDown],
    ['drain-deadline', ({ drainDeadlineMs }) => (drainDeadlineMs === null ? 'none' : formatDuration(drainDeadlineMs))],
    ['slow-start', ({ slowStartMs }) => formatDuration(slowStartMs)],
  ];
  const own = texts.flatMap(([name, text, consequence = '']) => {
    const [from, to] = [text(before), text(after)];
    return from === to ? [] : [changed(what, `${name} ${from} → ${to}${consequence}`)];
  });
  return [
    ...own,
    ...diff(before.servers, after.servers, {
      added: (server) => [addedServer(after, server)],
      removed: (server) => [
        { kind: 'removed', what: serverTitle(after, server), words: `${endpointOf(server)} taken out, its flows end` },
      ],
      kept: (from, to) => changedServer(after, from, to),
    }),
  ];
}

function changedServer(service: ServiceConfig, before: ServerConfig, after: ServerConfig): Change[] {
  const what = serverTitle(service, after);
  const [from, to] = [endpointOf(before), endpointOf(after)];
  return [
    ...(from === to ? [] : [changed(what, `${from} → ${to}, its flows end`)]),
    ...(before.isBackup === after.isBackup
      ? []
      : [changed(what, after.isBackup ? 'now a backup' : 'no backup any more')]),
    ...(ownCheck(before) === ownCheck(after) ? [] : [changed(what, `check ${ownCheck(before)} → ${ownCheck(after)}`)]),
    ...(before.weight === after.weight ? [] : [changed(what, `weight ${before.weight} → ${after.weight}`)]),
    ...(before.maxFlows === after.maxFlows
      ? []
      : [changed(what, `max-flows ${before.maxFlows ?? 'none'} → ${after.maxFlows ?? 'none'}`)]),
  ];
}

function ownCheck({ check }: ServerConfig): string {
  return check === undefined ? 'as the service' : formatPlan(check);
}

function addedServer(service: ServiceConfig, server: ServerConfig): Change {
  const words = `new at ${endpointOf(server)}, weight ${server.weight}`;
  return { kind: 'added', what: serverTitle(service, server), words };
}

interface Named {
  readonly name: string;
}

interface DiffWords<T> {
  added(item: T): Change[];
  removed(item: T): Change[];
  kept(before: T, after: T): Change[];
}

function diff<T extends Named>(before: readonly T[], after: readonly T[], words: DiffWords<T>): Change[] {
  const former = new Map(before.map((item) => [item.name, item]));
  const now = new Set(after.map((item) => item.name));
  return [
    ...before.filter((item) => !now.has(item.name)).flatMap((item) => words.removed(item)),
    ...after.flatMap((item) => {
      const there = former.get(item.name);
      if (there === undefined) return words.added(item);
      return there === item ? [] : words.kept(there, item);
    }),
  ];
}

function changed(what: string, words: string): Change {
  return { kind: 'changed', what, words };
}

function serviceTitle(service: ServiceConfig): string {
  return `service ${service.name}`;
}

function serverTitle(service: ServiceConfig, server: ServerConfig): string {
  return `server ${service.name}/${server.name}`;
}

function listensOf(service: ServiceConfig): string {
  return service.listens.map(formatListen).join(' ');
}

export function endpointOf(server: ServerConfig): string {
  return server.port === null ? server.address.text : formatEndpoint(server.address, server.port);
}

function tunnelText({ tunnel }: ServiceConfig): string {
  if (tunnel === null) return 'none';
  const { type, source, ...more } = tunnel;
  const extra = Object.entries(more).flatMap(([key, value]) =>
    value === null || value === true ? [] : [`, ${kebab(key)} ${value}`],
  );
  return `${type} from ${formatTunnelSource(source)}${extra.join('')}`;
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
