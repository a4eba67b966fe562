// Probes through the path over the addon (native/engine/path.h): a device and a mark of the instance's own, sockets that
// are pinned to a server's slot.

import { type Addon, loadAddon } from '../native/addon.ts';
import { reasons } from '../native/layout.ts';
import type { PathQuestion, PathSocket, ProbePath } from '../net/probe-path.ts';
import { hash64 } from './identity.ts';
import type { Plane } from './plane.ts';
import { type SlotTable, slotsOf } from './slots.ts';

export interface PlaneProbePath extends ProbePath {
  /** The plane by whose region packets go from now on. */
  use(plane: Plane): void;
  /** Where servers are since the last commit. */
  place(servers: SlotTable): void;
}

const PROTOCOLS = { tcp: 6, udp: 17 } as const;
const NAME_MOST = 15;

/** "fl-web"; of a name that is too long for a device its hash. */
export function deviceOf(instance: string): string {
  const name = `fl-${instance}`;
  return name.length <= NAME_MOST ? name : `fl-${hash64(instance).toString(16).padStart(16, '0').slice(0, 12)}`;
}

/** The mark of packets, and the number of their routing table: far above those that people give, and never negative. */
export function markOf(instance: string): number {
  return 0x46000000 + Number(hash64(instance) & 0xffffffn);
}

/** Device and rules are made by the first socket: only who has such checks has them. */
export function makeProbePath(instance: string, addon: Addon = loadAddon()): PlaneProbePath {
  let handle: unknown = null;
  let plane: Plane | null = null;
  let table: SlotTable = [];

  const opened = (): unknown => {
    if (handle !== null) return handle;
    handle = addon.pathOpen(deviceOf(instance), markOf(instance));
    plane?.carry(handle);
    return handle;
  };

  const open = ({ protocol, isHalfOpen, vip, port, server, identity }: PathQuestion): PathSocket => {
    const slot = slotsOf(table).get(hash64(identity));
    if (slot === undefined) throw new Error('the data plane does not have this server yet');
    const path = opened();
    const [fd, pin] = addon.pathSocket(
      path,
      PROTOCOLS[protocol],
      vip.bytes,
      port,
      server.bytes,
      slot,
      table[slot]!.generation,
      isHalfOpen ? 1 : 0,
    );
    return { fd, end: () => (handle === path ? hindranceOf(addon.pathEnd(path, pin)) : null) };
  };

  return {
    open,
    use: (next) => {
      plane = next;
      if (handle !== null) plane.carry(handle);
    },
    place: (servers) => {
      table = servers;
    },
    close: () => {
      if (handle !== null) addon.pathClose(handle);
      handle = null;
    },
  };
}

/** What a killed process left: says whether there was anything. */
export function removeProbePath(instance: string, addon: Addon = loadAddon()): boolean {
  return addon.pathRemove(markOf(instance));
}

const WORDS: Readonly<Record<string, string>> = {
  'no-neighbour': 'its next hop answers neither ARP nor neighbour discovery',
  'no-server': 'the data plane does not have this server any more',
  'too-big': 'MTU too small: the request does not get through undivided',
  oversize: 'MTU too small: the request does not get through undivided',
};

function hindranceOf(reason: number): string | null {
  return WORDS[reasons[reason]?.name ?? ''] ?? null;
}
