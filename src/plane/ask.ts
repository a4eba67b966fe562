// Who has an address on a link: the addon asks as a host does that wants it for itself (native/engine/ask.h), so that
// nobody's tables change.

import { type Addon, loadAddon } from '../native/addon.ts';
import type { Address } from '../net/address.ts';
import { formatMac } from '../net/mac.ts';

export interface AskAnswer {
  readonly address: Address;
  readonly mac: string;
}

/** struct fl_asked: the address, then whether it is IPv6. struct fl_asked_answer: index, MAC, two zeros. */
const QUESTION = 20;
const ANSWER = 12;

/** Waits all of `waitMs`. Throws in words when the link is gone or has no Ethernet. */
export function askWho(
  ifindex: number,
  addresses: readonly Address[],
  waitMs: number,
  addon: Addon = loadAddon(),
): AskAnswer[] {
  const questions = new Uint8Array(QUESTION * addresses.length);
  for (const [i, { bytes, family }] of addresses.entries()) {
    questions.set(bytes, QUESTION * i);
    questions[QUESTION * i + 16] = family === 6 ? 1 : 0;
  }
  const packed = addon.ask(ifindex, questions, waitMs);
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return Array.from({ length: packed.length / ANSWER }, (_, i) => ({
    address: addresses[view.getUint32(ANSWER * i, true)]!,
    mac: formatMac(packed.subarray(ANSWER * i + 4, ANSWER * i + 10)),
  }));
}
