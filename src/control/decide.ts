// Which servers of a service get new flows, and in what proportion. Pure: configuration, operators' words, health and
// agents' wishes in, weights out.
//
//     up, and nobody said no ─▶ used           fewer than min-up ordinary ones used ─▶ backups join
//     fewer than min-up used all the same, and `panic` is set ─▶ all that nobody said no to, whatever checks say
//
// Backups that rest take what the others have no room for (max-flows): the data plane sees to it flow by flow.
//
// A server that is doubted (a predecessor left it as up, and its first check failed) is used only while the service has
// no server that is surely up.

import type { ServiceConfig } from '../config/config.ts';
import { LIMITS } from '../config/limits.ts';
import type { End } from '../plane/target.ts';
import type { Advice } from '../health/probe.ts';
import type { ServerHealth } from './health.ts';
import type { Override } from './overrides.ts';

export interface ServerInput {
  readonly override: Override;
  readonly health: ServerHealth;
  readonly advice: Advice | null;
  /** Its own flows speak against it. */
  readonly isEjected: boolean;
  /** It was drained, and the time for its flows is over. */
  readonly isOverdue: boolean;
  /** 0 to 1: how far its slow start has come. */
  readonly share: number;
}

export interface Decision {
  /** Parallel to the service's servers; 0 gets no new flows. */
  readonly weights: readonly number[];
  /** Likewise: what backups that rest take the flows by that the others have no room for. */
  readonly reserves: readonly number[];
  /** Likewise: those whose flows are to end. */
  readonly ends: readonly End[];
  /** How many times the configured weights these are: above 1 while a share grows, since weights are whole numbers. */
  readonly scale: number;
  readonly areBackupsUsed: boolean;
  readonly isPanic: boolean;
}

/** So many steps a slow start has; each is a commit. */
export const SLOW_START_STEPS = 10;

export function decideService(service: ServiceConfig, inputs: readonly ServerInput[]): Decision {
  const bases = service.servers.map((server, index) => baseWeight(server.weight, inputs[index]!));
  const isSurelyUp = ({ health, isEjected }: ServerInput): boolean =>
    !isEjected && (health === 'up' || health === 'unchecked');
  const isCertain = inputs.some((input, index) => bases[index]! > 0 && isSurelyUp(input));
  const isUp = (input: ServerInput): boolean =>
    isSurelyUp(input) || (input.health === 'doubted' && !input.isEjected && !isCertain);
  const upOf = (areBackups: boolean): number[] =>
    service.servers.flatMap(({ isBackup }, index) =>
      isBackup === areBackups && bases[index]! > 0 && isUp(inputs[index]!) ? [index] : [],
    );

  const ordinary = upOf(false);
  const areBackupsUsed = ordinary.length < service.minUp && service.servers.some(({ isBackup }) => isBackup);
  const used = new Set(areBackupsUsed ? [...ordinary, ...upOf(true)] : ordinary);
  const isPanic = service.panic && used.size < service.minUp;
  if (isPanic) {
    const reserves = bases.map(() => 0);
    const ends = inputs.map(({ isOverdue }): End => (isOverdue ? 'reset' : 'no'));
    return { weights: bases, reserves, ends, scale: 1, areBackupsUsed, isPanic };
  }

  const isGrowing = [...used].some((index) => inputs[index]!.share < 1);
  const scale = isGrowing ? scaleFor(bases) : 1;
  const weights = bases.map((base, index) => {
    if (!used.has(index)) return 0;
    return Math.max(1, Math.round(base * scale * (scale === 1 ? 1 : inputs[index]!.share)));
  });
  const canBeFull = service.servers.some(({ maxFlows }, index) => maxFlows !== null && used.has(index));
  const resting = new Set(canBeFull && !areBackupsUsed ? upOf(true) : []);
  const reserves = bases.map((base, index) => (resting.has(index) ? base : 0));
  const ends = inputs.map((input) => endOf(service, input));
  return { weights, reserves, ends, scale, areBackupsUsed, isPanic };
}

/** Of a server that gets nobody new. */
function endOf({ onServerDown }: ServiceConfig, { health, isOverdue }: ServerInput): End {
  if (isOverdue) return 'reset';
  return health === 'down' && onServerDown !== 'keep' ? onServerDown : 'no';
}

/** What it would get if it were up: 0 when an operator or an agent says no. */
function baseWeight(configured: number, { override, advice }: ServerInput): number {
  if (override.admin !== 'enabled' || advice?.admin === 'drain' || advice?.admin === 'maintenance') return 0;
  const weight = override.weight ?? configured;
  const percent = advice?.weight ?? 100;
  // A little of something is not nothing.
  return Math.min(LIMITS.weight, Math.ceil((weight * percent) / 100));
}

function scaleFor(weights: readonly number[]): number {
  return Math.max(1, Math.min(SLOW_START_STEPS, Math.floor(LIMITS.weight / Math.max(1, ...weights))));
}
