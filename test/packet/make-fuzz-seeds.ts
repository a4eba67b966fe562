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

const SERVER_SIDE = 8;
const FLAGS = { none: 0, fin: 0x11, syn: 2, synAck: 0x12, ack: 0x10, reset: 4 } as const;

function built(service: number, flags: keyof typeof FLAGS, dress = 0): Uint8Array {
  const isServer = (service & SERVER_SIDE) !== 0;
  return Uint8Array.of(1, service, 3, FLAGS[flags], 2, dress | (isServer ? 1 : 0), 0, 0, 0);
}

/** Either server of the service answers: which one the scheduler took is not known here. */
function answer(service: number, flags: keyof typeof FLAGS): Uint8Array {
  return join(built(service | SERVER_SIDE, flags), built(service | SERVER_SIDE | 16, flags));
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
