// Writes the fuzzer's seeds: a few real frames and conversations as scripts of native/fuzz/forward.c. Run by hand when
// the script's format changes: node test/packet/make-fuzz-seeds.ts native/fuzz/seeds

import { mkdirSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { answerCases } from './answer-cases.ts';
import { buildFrame, join } from './frame.ts';

const [folder = 'native/fuzz/seeds'] = process.argv.slice(2);

function raw(octets: Uint8Array, dress = 0): Uint8Array {
  return join(Uint8Array.of(0, dress, octets.length & 0xff, octets.length >> 8), octets);
}

const SERVER_SIDE = 64;
const FLAGS = { none: 0, fin: 0x11, syn: 2, synAck: 0x12, ack: 0x10, reset: 4 } as const;

/** `odd` is an option or extension header, `number` how far its sequence number lies from where its flow is. */
function built(service: number, flags: keyof typeof FLAGS, dress = 0, odd = 0, number = 0): Uint8Array {
  const isServer = (service & SERVER_SIDE) !== 0;
  return Uint8Array.of(1, service, 3, FLAGS[flags], 2, dress | (isServer ? 1 : 0), 0, 0, 0, odd, number);
}

/** Either server of the service answers: which one the scheduler took is not known here. */
function answer(service: number, flags: keyof typeof FLAGS): Uint8Array {
  return join(built(service | SERVER_SIDE, flags), built(service | SERVER_SIDE | 16, flags));
}

const ABOUT_SERVER = 8;

/** Everything that is said about a flow, from both sides, of two lengths; and about packets with each odd thing. */
function errors(): Uint8Array[] {
  const error = (kind: number, quoted: number, odd: number): Uint8Array =>
    Uint8Array.of(4, kind, 0, quoted, 0, 0, 0, 0, odd);
  const kinds = Array.from({ length: 8 }, (_, kind) => kind);
  const oddities = Array.from({ length: 9 }, (_, index) => index + 1);
  return [0, ABOUT_SERVER].flatMap((side) => [
    ...kinds.flatMap((kind) => [0, 28, 48].map((quoted) => error(side | kind, quoted, 0))),
    ...oddities.flatMap((odd) => [0, 56].map((quoted) => error(side, quoted, odd))),
  ]);
}

mkdirSync(folder, { recursive: true });
const write = (name: string, ...steps: readonly Uint8Array[]): void =>
  writeFileSync(joinPath(folder, `${name}.bin`), join(...steps));

for (const service of [0, 1, 4, 5]) {
  const open = [built(service, 'syn'), answer(service, 'synAck'), built(service, 'ack')];
  const close = [built(service, 'fin'), answer(service, 'fin'), built(service, 'ack')];
  write(`tcp-${service}`, ...open, ...close, Uint8Array.of(2, 0, 1), built(service, 'syn'), Uint8Array.of(3, 0, 0));
  write(`partial-${service}`, built(service, 'syn', 2), answer(service, 'reset'), Uint8Array.of(3, 1, 255), ...open);
}
for (const service of [0, 1, 2, 3, 4, 5, 6, 7]) {
  const isTcp = (service & 2) === 0;
  const open = isTcp
    ? [built(service, 'syn'), answer(service, 'synAck'), built(service, 'ack')]
    : [built(service, 'none'), answer(service, 'none')];
  const spoken = isTcp ? 'ack' : 'none';
  write(`errors-${service}`, ...open, ...errors(), built(service, spoken));
  const odd = Array.from({ length: 9 }, (_, index) => built(service, spoken, 0, index + 1));
  write(`odd-${service}`, ...open, ...odd);
  const resets = Array.from({ length: 10 }, (_, index) => built(service, 'reset', 0, 0, 11 + index));
  if (isTcp) write(`resets-${service}`, ...open, ...resets);
}
for (const service of [2, 3, 6, 7]) {
  write(
    `udp-${service}`,
    built(service, 'none'),
    answer(service, 'none'),
    Uint8Array.of(2, 255, 255),
    built(service, 'none', 16),
  );
}
for (const { name, frame } of answerCases) {
  const octets = frame instanceof Uint8Array ? frame : buildFrame(frame);
  if (octets.length < 200)
    write(
      name
        .replaceAll(/[^a-z]+/gi, '-')
        .slice(0, 40)
        .toLowerCase(),
      raw(octets, 8),
    );
}
