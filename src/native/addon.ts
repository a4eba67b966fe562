// Loads the addon, once, and makes sure that both sides mean the same octets: the addon's layout hash must be the one
// that layout.ts was generated with. Everything else about the boundary is in native/addon/addon.c.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { FairleadError } from '../base/errors.ts';
import { layoutHash } from './layout.ts';

export interface Addon {
  layoutHash(): string;
  /** `mode`: constants.openMemory, openFile, openRead, openMaps; `counts`: elements of one half of each section, by index. */
  open(mode: number, path: string, counts: Float64Array, workers: number): [handle: unknown, outcome: number];
  /** The whole section; detached by close(). */
  memory(handle: unknown, section: number): ArrayBuffer;
  commit(handle: unknown, image: ArrayBuffer): number;
  /**
   * `attachments`: constants.attach* for each interface, replaced by what was had. `inherit`: what inherit() gave, or -1.
   * A warning for the operator, or "".
   */
  start(handle: unknown, interfaces: string[], attachments: number[], workers: number, inherit: number): string;
  /** `heir`: where a successor waits by inherit() for the rings of packet sockets, or "". */
  stop(handle: unknown, keepGuard: boolean, heir: string): void;
  /** Waits for rings at this path: a file descriptor. */
  inherit(path: string): number;
  watch(handle: unknown, listener: (events: number) => void): void;
  replay(
    handle: unknown,
    frame: Uint8Array,
    interfaceId: number,
    csumStart: number,
    gsoSize: number,
    nowNs: number,
  ): { verdict: number; reason: number; outInterface: number; frame: Uint8Array };
  /** From now on frames are replayed by the kernel's program for tc or xdp; needs a region of maps. */
  replayer(handle: unknown, isTc: boolean): void;
  age(handle: unknown, nowNs: number): number;
  /** `from` is frozen, and its configuration, flows and counts come into the fresh region `to`. */
  move(to: unknown, from: unknown): void;
  /** What was moved from goes on after all. */
  thaw(handle: unknown): void;
  /** Takes off interfaces what a dead process left there for this region: guard or programs. */
  detach(handle: unknown, interfaces: string[]): void;
  /** Throws in words when it is no bpffs, and none is or can be mounted there. */
  bpffs(path: string, mayMount: boolean): void;
  /** Removes a directory of maps and links, whose programs then end. */
  remove(directory: string): void;
  sample(handle: unknown, isOn: boolean): void;
  /** struct fl_record, those that came since last asked. */
  samples(handle: unknown): ArrayBuffer;
  /** The driver's name, or "". */
  driver(interfaceName: string): string;
  /** How many processors the kernel may ever run on. */
  processors(): number;
  inspect(type: number, family: number): ArrayBuffer;
  notify(state: string): void;
  /** `questions` and the answer are packed: see plane/ask.ts. Waits all of `waitMs`. */
  ask(ifindex: number, questions: Uint8Array, waitMs: number): Uint8Array;
  close(handle: unknown): void;
  /** `listener` gets struct fl_probe_answer's, one behind the other. Errors have the errno's name as their code. */
  probeOpen(listener: (answers: ArrayBuffer) => void): unknown;
  probeAsk(handle: unknown, kind: number, address: Uint8Array, port: number, timeoutMs: number): number;
  probeClose(handle: unknown): void;
  /** Errors of these have the errno's name as their code. */
  pathOpen(device: string, mark: number): unknown;
  pathUse(path: unknown, handle: unknown): void;
  pathSocket(
    path: unknown,
    protocol: number,
    vip: Uint8Array,
    port: number,
    server: Uint8Array,
    slot: number,
    generation: number,
    isHalfOpen: number,
  ): [fd: number, pin: number];
  /** An enum fl_reason. */
  pathEnd(path: unknown, pin: number): number;
  pathClose(path: unknown): void;
  pathRemove(mark: number): boolean;
}

const PATH = fileURLToPath(new URL('../../native/build/fairlead.node', import.meta.url));

let loaded: Addon | null = null;

/** Throws FairleadError when the addon was not built, does not load, or is of another layout. */
export function loadAddon(path: string = PATH): Addon {
  if (loaded !== null && path === PATH) return loaded;
  const addon = requireAddon(path);
  if (addon.layoutHash() !== layoutHash) {
    throw new FairleadError(
      'failed',
      `the addon ${path} has layout ${addon.layoutHash()}, this version of fairlead has ${layoutHash}`,
      { mend: 'build it anew: npm run build' },
    );
  }
  if (path === PATH) loaded = addon;
  return addon;
}

function requireAddon(path: string): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new FairleadError('failed', `the native addon does not load: ${reason}`, {
      mend: 'build it: npm run build (it needs cc, make, clang, libbpf-dev)',
      cause: error,
    });
  }
}
