// What the figures should be. Targets of paths are ratios within one run; those of the core are absolute, because there is
// nothing beside it to compare with, and hold for a machine of the day.

import type { Row } from './row.ts';

export interface Target {
  readonly measure: string;
  /** How the path begins. */
  readonly path: string;
  readonly flows?: number;
  readonly against?: string;
  readonly least?: number;
  readonly most?: number;
}

const nat = 'fairlead-nat';
const tc = 'fairlead-tc-nat';
const xdp = 'fairlead-xdp-nat';

const targets: readonly Target[] = [
  // Workers decide in batches, so that is what the target is about; one frame alone waits for memory twice.
  { measure: 'core-hit-batch', path: 'nat/ipv4', flows: 1_000_000, most: 60 },
  { measure: 'core-inserts', path: '', least: 500_000 },
  { measure: 'core-insert-p99', path: '', most: 1000 },
  { measure: 'commit', path: '', most: 200 },
  { measure: 'commit-decided', path: '', most: 200 },
  // Not to be told from noise, which on a virtual machine is some hundredths.
  { measure: 'kernel-samples-off', path: '', against: 'without', most: 1.05 },
  // As ns a packet: 1.5 times as fast.
  { measure: 'kernel-hit', path: 'xdp/l3-dsr-ipip', flows: 1_000_000, against: 'katran', most: 0.667 },
  { measure: 'flow-octets', path: 'nat/ipv4', most: 64 },
  { measure: 'packets', path: nat, flows: 1000, against: 'nftables', least: 0.8 },
  { measure: 'packets', path: nat, flows: 1_000_000, against: 'nftables', least: 1.5 },
  { measure: 'bulk', path: nat, against: 'kernel', least: 0.75 },
  { measure: 'bulk', path: nat, against: 'haproxy', least: 1.4 },
  { measure: 'connections', path: nat, against: 'kernel', least: 0.75 },
  { measure: 'connections', path: nat, against: 'haproxy', least: 1.3 },
  { measure: 'latency-p50', path: nat, against: 'kernel', most: 2.1 },
  { measure: 'latency-p99', path: nat, against: 'kernel', most: 3 },
  { measure: 'packets', path: tc, flows: 1000, against: 'kernel', least: 1.3 },
  { measure: 'bulk', path: tc, against: 'kernel', least: 1 },
  { measure: 'connections', path: tc, against: 'kernel', least: 1 },
  { measure: 'latency-p50', path: tc, against: 'kernel', most: 1.1 },
  { measure: 'latency-p99', path: tc, against: 'kernel', most: 1.3 },
  { measure: 'packets', path: xdp, flows: 1000, against: 'xdp-redirect', least: 0.8 },
  { measure: 'packets', path: 'fairlead-xdp-l2-dsr', flows: 1000, against: 'xdp-tx', least: 0.8 },
  { measure: 'packets', path: 'fairlead-xdp-l3-dsr-gre', flows: 1000, against: 'xdp-tx', least: 0.75 },
  { measure: 'bulk', path: 'fairlead-l3-dsr-gre', against: 'kernel', least: 0.75 },
  { measure: 'bulk', path: 'fairlead-tc-l3-dsr-gre', against: 'kernel', least: 1 },
  // The same timers at moments of chance: as soon as the others, and passive checks before all of them.
  { measure: 'death-killed', path: 'fairlead-tc-nat-passive', against: 'haproxy', most: 0.5 },
  { measure: 'death-silent', path: 'fairlead-tc-nat-passive', against: 'haproxy', most: 0.75 },
  { measure: 'death-killed', path: tc, against: 'haproxy', most: 1.3 },
  { measure: 'death-silent', path: tc, against: 'haproxy', most: 1.3 },
  { measure: 'latency-p50', path: xdp, against: 'kernel', most: 1.1 },
  { measure: 'latency-p99', path: xdp, against: 'kernel', most: 1.3 },
];

export function targetOf(row: Row): Target | null {
  const fits = (target: Target) =>
    target.measure === row.measure &&
    row.path.startsWith(target.path) &&
    (target.flows ?? row.flows) === row.flows &&
    (target.against ?? null) === row.against;
  return targets.find(fits) ?? null;
}

export function isMet({ least, most }: Target, { value, ratio }: Row): boolean {
  const figure = ratio ?? value;
  return figure >= (least ?? -Infinity) && figure <= (most ?? Infinity);
}
