// Frames put into a box and taken out of it (programs/wire.c): each stimulus, and what came of it at either side.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { twins } from './twins.ts';
import type { Host } from './host.ts';
import { datagramFrame, parseFrame } from './packets.ts';
import type { Side, Stimulus } from './stimuli.ts';

export interface Output {
  side: Side;
  frame: Buffer;
}

const markerPort = 9999;

/** A datagram of a flow of its own, there and back; without a checksum, since each is given another number. */
function markers(): Buffer[] {
  const { client, vip, server, macs, ports } = twins;
  const payload = '.'.repeat(32);
  const there = { from: client[4], to: vip[4], fromMac: macs.client, toMac: macs.out };
  const back = { from: server[4], to: client[4], fromMac: macs.server, toMac: macs.in };
  return [
    datagramFrame({ ...there, fromPort: markerPort, toPort: ports.udp.vip, payload }),
    datagramFrame({ ...back, fromPort: ports.udp.server, toPort: markerPort, payload }),
  ].map((frame) => {
    frame.writeUInt16BE(0, 40);
    return frame;
  });
}

/** ARP, neighbour discovery and group membership: what boxes say of themselves. */
function isChatter(frame: Buffer): boolean {
  const parsed = parseFrame(frame);
  if (parsed === null || parsed.protocol === 0) return true;
  return parsed.protocol === 58 && (parsed.l4[0] ?? 0) >= 130;
}

export async function buildWire(world: Host): Promise<void> {
  const source = join(import.meta.dirname, '..', 'programs', 'wire.c');
  await world.run(`cc -O1 -Wall -Werror -o ${world.file('wire')} ${source}`);
}

/** Gives every stimulus to the box between the devices w-NAME and e-NAME, and tells what came out after each. */
export async function give(world: Host, name: string, stimuli: readonly Stimulus[]): Promise<Output[][]> {
  const [there = '', back = ''] = markers().map((frame) => frame.toString('hex'));
  const lines = stimuli.map(
    ({ side, isAnswered, frame }) => `${side}${isAnswered ? '+' : ''} ${frame.toString('hex')}`,
  );
  const script = world.file(`${name}.stimuli`);
  const heard = world.file(`${name}.heard`);
  writeFileSync(script, [`w ${there}`, `e ${back}`, ...lines, ''].join('\n'));
  await world.run(`${world.file('wire')} w-${name} e-${name} < ${script} > ${heard}`, { timeoutMs: 120_000 });
  const outputs: Output[][] = stimuli.map(() => []);
  for (const line of (await world.run(`cat ${heard}`)).split('\n').filter(Boolean)) {
    const [number = '', side = '', hex = ''] = line.split(' ');
    const frame = Buffer.from(hex, 'hex');
    // Two lines of markers come before the first stimulus.
    if (!isChatter(frame)) outputs[Math.max(0, Number(number) - 3)]?.push({ side: side as Side, frame });
  }
  return outputs;
}
