// Which engine works on which interface, and why. Pure: facts come in, candidates in the order of preference go out.
//
// What is right depends on what the interface hands out. A virtual one passes super-frames of 64 KiB whose checksums are
// still to be made, and tc keeps them as they are; in the driver (xdp) they would have to be cut, which on veth costs six
// sevenths of bulk TCP. A physical card hands out frames as they came, and there the driver is the fastest place.

import type { EngineName } from '../config/config.ts';
import type { Attachment } from '../plane/plane.ts';

export interface InterfaceFacts {
  readonly name: string;
  /** As ethtool -i says it; "" when unknown. */
  readonly driver: string;
}

export interface Candidate {
  readonly attachments: readonly Attachment[];
  readonly why: string;
  /** Only if every interface is worked on as wanted; xdp may turn out to be generic. */
  readonly isStrict: boolean;
}

/**
 * Drivers of physical cards with XDP in them, redirecting included (Linux 6.x), by the names that they give themselves:
 * not always that of their folder or module.
 */
const XDP_DRIVERS: ReadonlySet<string> = new Set([
  'atlantic',
  'bnxt_en',
  'ena',
  'fsl_dpaa2_eth',
  'fsl_enetc',
  'gve',
  'i40e',
  'ice',
  'igb',
  'igc',
  'ixgbe',
  'mlx4_en',
  'mlx5_core',
  'mvneta',
  'mvpp2',
  'nfp',
  'nicvf',
  'qede',
  'sfc',
  'sfc_siena',
  'st_gmac',
]);

/** Drivers of what is no card; some of them have XDP, but see above. */
const VIRTUAL_DRIVERS: ReadonlySet<string> = new Set([
  'bridge',
  'hv_netvsc',
  'macvlan',
  'tun',
  'veth',
  'virtio_net',
  'vmxnet3',
]);

/** At least one; the next is tried only when the one before cannot be had. */
export function chooseEngine(wanted: EngineName, interfaces: readonly InterfaceFacts[]): readonly Candidate[] {
  const all = (by: Attachment): Attachment[] => interfaces.map(() => by);
  if (wanted !== 'auto') return [{ attachments: all(wanted), why: 'configured', isStrict: wanted === 'xdp-generic' }];
  const cards = interfaces.filter(({ driver }) => XDP_DRIVERS.has(driver));
  const others = interfaces.filter(({ driver }) => !XDP_DRIVERS.has(driver));
  const tc: Candidate = {
    attachments: all('tc'),
    why: `auto: ${byDriver(others).map(whyTc).join('; ') || 'the driver does not take XDP as it is set up'}`,
    isStrict: false,
  };
  const packet: Candidate = { attachments: all('packet'), why: 'auto: no programs in the kernel', isStrict: false };
  if (others.length > 0) return [tc, packet];
  const why = `auto: ${byDriver(cards)
    .map((alike) => `${whoseDriver(alike)} has XDP`)
    .join('; ')}`;
  return [{ attachments: all('xdp'), why, isStrict: true }, tc, packet];
}

/** "tc"; "xdp on eth0 and xdp-generic on eth1" where interfaces differ. */
export function formatAttachments(attachments: readonly Attachment[], interfaces: readonly string[]): string {
  const isSame = new Set(attachments).size === 1;
  return isSame ? attachments[0]! : listed(attachments.map((by, id) => `${by} on ${interfaces[id]}`));
}

/** Interfaces of one driver, of which the same is to be said. */
interface Alike {
  readonly driver: string;
  readonly names: readonly string[];
}

function byDriver(interfaces: readonly InterfaceFacts[]): Alike[] {
  const drivers = [...new Set(interfaces.map(({ driver }) => driver))];
  return drivers.map((driver) => ({
    driver,
    names: interfaces.filter((one) => one.driver === driver).map(({ name }) => name),
  }));
}

function whyTc(alike: Alike): string {
  const { names, driver } = alike;
  const verb = (of: string, ofMany: string): string => (names.length === 1 ? of : ofMany);
  if (driver === '') return `${listed(names)} ${verb('names', 'name')} no driver; behind any driver tc works`;
  if (VIRTUAL_DRIVERS.has(driver)) {
    const who = `${listed(names)} (${driver})`;
    return `${who} ${verb('passes', 'pass')} super-frames and unfinished checksums, which tc keeps`;
  }
  return `${whoseDriver(alike)} is not known to have XDP; behind any driver tc works`;
}

function whoseDriver({ names, driver }: Alike): string {
  return `${listed(names)} ${names.length === 1 ? 'is a card' : 'are cards'} whose driver (${driver})`;
}

function listed(words: readonly string[]): string {
  return words.length === 1 ? words[0]! : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
