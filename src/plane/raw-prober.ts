// The raw sockets of the addon as questions and answers. The addon's thread sends nothing by itself and decides nothing
// but what an answer is and when time is up; here ids become promises again.

import { type Addon, loadAddon } from '../native/addon.ts';
import { addressFromBytes, parseAddress } from '../net/address.ts';
import type { RawAnswer, RawOutcome, RawProber, RawQuestion } from '../net/raw-prober.ts';
import { unreachableWords } from './unreachable.ts';

/** enum fl_probe_kind, enum fl_probe_outcome and the size of struct fl_probe_answer in native/engine/probe.h. */
const ECHO = 0;
const HALF_OPEN = 1;
const OUTCOMES: readonly RawOutcome[] = ['answered', 'refused', 'unreachable', 'silent'];
const ANSWER_SIZE = 32;

/** Throws in words when this process may not open raw sockets. */
export function openRawProber(addon: Addon = loadAddon()): RawProber {
  const waiting = new Map<number, (answer: RawAnswer) => void>();
  const handle = addon.probeOpen((answers) => {
    const view = new DataView(answers);
    for (let at = 0; at + ANSWER_SIZE <= answers.byteLength; at += ANSWER_SIZE) {
      const id = view.getUint32(at, true);
      const settle = waiting.get(id);
      waiting.delete(id);
      settle?.(readAnswer(view, at));
    }
  });

  const ask = (kind: number, text: string, port: number, timeoutMs: number): RawQuestion => {
    const address = parseAddress(text);
    if (address === null) throw new TypeError(`${text} is no address`);
    const id = addon.probeAsk(handle, kind, address.bytes, port, Math.ceil(timeoutMs));
    let settle: (answer: RawAnswer) => void = () => undefined;
    const answer = new Promise<RawAnswer>((resolve) => {
      settle = resolve;
    });
    waiting.set(id, settle);
    return {
      answer,
      cancel: () => {
        if (!waiting.delete(id)) return;
        settle({ outcome: 'silent', latencyMs: 0, from: null, words: '' });
      },
    };
  };

  return {
    echo: (address, timeoutMs) => ask(ECHO, address, 0, timeoutMs),
    halfOpen: (address, port, timeoutMs) => ask(HALF_OPEN, address, port, timeoutMs),
    close: () => addon.probeClose(handle),
  };
}

function readAnswer(view: DataView, at: number): RawAnswer {
  const outcome = OUTCOMES[view.getUint8(at + 4)] ?? 'silent';
  const family = view.getUint8(at + 7);
  const latencyMs = view.getUint32(at + 8, true) / 1000;
  if (family !== 4 && family !== 6) return { outcome, latencyMs, from: null, words: '' };
  const bytes = new Uint8Array(view.buffer, at + 16, family === 4 ? 4 : 16);
  const [type, code, mtu] = [view.getUint8(at + 5), view.getUint8(at + 6), view.getUint32(at + 12, true)];
  return { outcome, latencyMs, from: addressFromBytes(bytes).text, words: unreachableWords(family, type, code, mtu) };
}
