// Properties: whatever a checksum was before, the rewritten frame's verifies against a full recomputation, for all
// 65,536 old values; and whatever goes there comes back to who sent it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { randomOf } from '../../netns-lab/lib/random.ts';
import { checksumOf, pseudoHeaderSum, sumOf } from './checksum.ts';
import { engines } from './engines.ts';
import {
  addressesOf,
  type Exchange,
  exchanges,
  type Local,
  localOf,
  nameOf,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { addressOf, buildFrame, type FrameSpec, get16, l4OffsetOf, numberOf, payloadOf, put16 } from './frame.ts';
import { INSIDE, openStage, OUTSIDE, type Stage } from './stage.ts';

const VALUES = 65_536;

/** A frame whose checksum can be any value: two octets of its payload make up for it. */
function makeAdjustable(spec: FrameSpec): { octets: Uint8Array; adjust: (checksum: number) => void; at: number } {
  const l4 = l4OffsetOf(spec);
  const at = l4 + (spec.protocol === 'tcp' ? 16 : 6);
  const filler = l4 + (spec.protocol === 'tcp' ? 20 : 8);
  const octets = buildFrame({ ...spec, payload: payloadOf(2) });
  put16(octets, at, 0);
  put16(octets, filler, 0);
  const { from, to } = { from: addressOf(spec.from), to: addressOf(spec.to) };
  const rest = sumOf(octets.subarray(l4), pseudoHeaderSum(from, to, numberOf(spec.protocol), octets.length - l4));
  const adjust = (checksum: number): void => {
    put16(octets, at, checksum);
    // filler = -(rest + checksum) in ones' complement, so that all together are FFFF.
    put16(octets, filler, 0xffff - sumOf(Uint8Array.of(checksum >> 8, checksum & 0xff), rest));
  };
  return { octets, adjust, at };
}

/** All of L4 with its pseudo-header adds up to FFFF: RFC 1071's test. */
function verifies(octets: Uint8Array, spec: FrameSpec): boolean {
  const l4 = octets.subarray(l4OffsetOf(spec));
  return (
    sumOf(l4, pseudoHeaderSum(addressOf(spec.from), addressOf(spec.to), numberOf(spec.protocol), l4.length)) === 0xffff
  );
}

function openExchange(stage: Stage, exchange: Exchange): Local {
  stage.configure(serviceOf(exchange));
  stage.send(request(exchange));
  return localOf(stage);
}

for (const engine of engines) {
  for (const exchange of exchanges) {
    describe(`${engine.name}: checksums by ${nameOf(exchange)}`, () => {
      const isUdp = exchange.protocol === 'udp';
      const flags = isUdp ? {} : { flags: 'A' };

      // The arithmetic is the same on both ways and for both methods: each way is tried with one of them.
      const side = exchange.method === 'nat' ? 'server' : 'client';
      test(`every old checksum of a ${side}’s frame becomes the new one that a recomputation finds`, (t) => {
        const stage = openStage(t, engine);
        const local = openExchange(stage, exchange);
        const came = side === 'client' ? request(exchange, flags) : reply(exchange, local, flags);
        const leaves = side === 'client' ? requestOut(exchange, local, flags) : replyOut(exchange, flags);
        const { octets, adjust, at } = makeAdjustable(came);
        const via = side === 'client' ? OUTSIDE : INSIDE;
        // The text is the same in the kernel, but for the one update that the kernel does for tc: a part of them will do.
        for (let checksum = 0; checksum < VALUES; checksum += engine.isKernel ? 5 : 1) {
          adjust(checksum);
          const frame = stage.flood(octets, { via }).frame!;
          if (isUdp && checksum === 0) {
            assert.equal(get16(frame, at), 0);
            continue;
          }
          if (!verifies(frame, leaves)) assert.fail(`old ${checksum}, new ${get16(frame, at)} does not verify`);
          if (isUdp && get16(frame, at) === 0) assert.fail(`old ${checksum} became 0, which means none`);
        }
      });

      // More clients than full-nat has ports.
      if (exchange.method === 'nat' && engine.takes({ csumStart: 34 }))
        test('every partial checksum stays one: the pseudo-header’s sum, for the card to finish', (t) => {
          const stage = openStage(t, engine, { flows: 2 * VALUES });
          stage.configure(serviceOf(exchange), { head: 'defaults: { half-open: off }' });
          const spec = request(exchange, { checksum: 'partial', payload: payloadOf(33) });
          const octets = buildFrame(spec);
          const l4 = l4OffsetOf(spec);
          const at = l4 + (isUdp ? 6 : 16);
          const source = l4 - (exchange.family === 4 ? 8 : 32);
          const port = get16(octets, l4);
          const seen = new Uint8Array(VALUES);
          const addresses = exchange.family === 4 ? 4 : 16;
          const protocol = numberOf(exchange.protocol);
          const length = octets.length - l4;
          // A client for every value of two octets of its address: each brings another sum.
          for (let client = 0; client < VALUES; client++) {
            put16(octets, source + addresses - 2, client);
            const partial = sumOf(octets.subarray(source, source + 2 * addresses), protocol + length);
            put16(octets, at, partial);
            if (exchange.family === 4) {
              put16(octets, 24, 0);
              put16(octets, 24, checksumOf(octets.subarray(14, 34)));
            }
            seen[partial] = 1;
            const { said, frame } = stage.flood(octets, { csumStart: l4 });
            if (said !== 'forwarded: new-flow') assert.fail(`client ${client}, port ${port}: ${said}`);
            const sum = sumOf(frame!.subarray(source, source + 2 * addresses), protocol + length);
            if (get16(frame!, at) !== sum) assert.fail(`client ${client}: ${get16(frame!, at)} instead of ${sum}`);
          }
          // FFFF and 0 are one number in ones' complement; a sum of something is never 0.
          assert.equal(
            seen.reduce((sum, value) => sum + value, 0),
            VALUES - 1,
          );
        });

      test('random frames of random clients come back to who sent them, octet for octet', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        const { below } = randomOf(exchange.family * 1000 + exchange.protocol.length + exchange.method.length);
        const { client, vip } = addressesOf(exchange);
        for (let round = 0; round < 300; round++) {
          const from =
            exchange.family === 4
              ? `198.51.${below(256)}.${below(256)}`
              : `${client.slice(0, -1)}${below(65_536).toString(16)}:${below(65_536).toString(16)}`;
          const content = {
            payload: payloadOf(below(1300)),
            ttl: 2 + below(250),
            tags: Array.from({ length: below(3) }, () => below(4096)),
          };
          const came: FrameSpec = { ...request(exchange, content), from, fromPort: 1 + below(65_535) };
          const there = stage.send(came);
          assert.match(there.said, /^forwarded: (new-flow|client-hit)$/);
          const flow = stage.flows({ client: { address: addressOf(from), port: came.fromPort! } })[0]!;
          const local = { address: (flow.local ?? flow.client).text, port: flow.localPort };
          assert.deepEqual(
            Buffer.from(there.frame!),
            Buffer.from(buildFrame({ ...requestOut(exchange, local, content) })),
          );
          const back = stage.send(reply(exchange, local, content), { via: INSIDE });
          const expected = { ...replyOut(exchange, content), to: from, toPort: came.fromPort!, from: vip };
          assert.deepEqual(Buffer.from(back.frame!), Buffer.from(buildFrame(expected)));
        }
      });
    });
  }
}
