// Frames of a flow, both ways, byte for byte: each method × protocol × family, in every dress a frame can wear.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import {
  CLIENT_PORT,
  type Content,
  type Exchange,
  exchanges,
  localOf,
  nameOf,
  reply,
  replyOut,
  request,
  requestOut,
  serviceOf,
} from './exchange.ts';
import { buildFrame, type FrameSpec, hex, l4OffsetOf, payloadOf, withoutTail } from './frame.ts';
import { INSIDE, openStage, type Outcome, OUTSIDE, type SendOptions, type Stage } from './stage.ts';

interface Dress {
  readonly name: string;
  readonly content: Content;
  readonly gsoSize?: number;
  readonly fits?: (exchange: Exchange) => boolean;
}

const isTcp = ({ protocol }: Exchange): boolean => protocol === 'tcp';
const isV4 = ({ family }: Exchange): boolean => family === 4;
const isV6 = ({ family }: Exchange): boolean => family === 6;

const PADDED_OPTION = [0x1e, 4, 0, 7];
const hopByHop = { number: 0, octets: [0, 0, 5, 2, 0, 0, 1, 0] };
const destination = { number: 60, octets: [0, 1, 1, 12, ...Array<number>(12).fill(0)] };
const wholeFragment = { number: 44, octets: [0, 0, 0, 0, 0, 0, 0, 9] };
const authentication = { number: 51, octets: [0, 4, 0, 0, ...Array<number>(20).fill(3)] };

const dresses: readonly Dress[] = [
  { name: 'empty', content: {} },
  { name: 'with an odd number of octets', content: { payload: payloadOf(333) } },
  { name: 'as long as the MTU allows', content: { payload: payloadOf(1400) } },
  { name: 'padded to Ethernet’s shortest', content: { padding: 6 } },
  { name: 'with a trailer', content: { payload: payloadOf(30), padding: 40 } },
  { name: 'with one VLAN tag', content: { tags: [100], payload: payloadOf(20) } },
  { name: 'with two VLAN tags', content: { tags: [100, 7], payload: payloadOf(20) } },
  { name: 'with TTL 2, which is the last that goes on', content: { ttl: 2 } },
  { name: 'with TTL 255', content: { ttl: 255 } },
  { name: 'with one IPv4 option', content: { options: PADDED_OPTION, payload: payloadOf(9) }, fits: isV4 },
  { name: 'with 40 octets of IPv4 options', content: { options: Array<number>(40).fill(1) }, fits: isV4 },
  { name: 'with TCP options', content: { tcpOptions: [2, 4, 5, 0xb4, ...Array<number>(36).fill(1)] }, fits: isTcp },
  {
    name: 'with IPv6 extension headers',
    content: { extensions: [hopByHop, destination], payload: payloadOf(9) },
    fits: isV6,
  },
  {
    name: 'with a fragment header that says it is whole, and AH',
    content: { extensions: [wholeFragment, authentication], payload: payloadOf(9) },
    fits: isV6,
  },
  {
    name: 'without a UDP checksum',
    content: { checksum: 'none', payload: payloadOf(30) },
    fits: (exchange) => !isTcp(exchange) && isV4(exchange),
  },
  { name: 'with the checksum left to the card', content: { checksum: 'partial', payload: payloadOf(500) } },
  {
    name: 'tagged, with options, the checksum left to the card',
    content: { checksum: 'partial', tags: [4], options: PADDED_OPTION, payload: payloadOf(50) },
    fits: isV4,
  },
  {
    name: 'as a super-frame',
    content: { checksum: 'partial', payload: payloadOf(60_000) },
    gsoSize: 1400,
  },
  { name: 'as a super-frame with its checksum', content: { payload: payloadOf(3000) }, gsoSize: 1400 },
];

for (const engine of engines) {
  for (const exchange of exchanges) {
    describe(`${engine.name}: ${nameOf(exchange)}`, () => {
      const isWorn = ({ fits }: Dress): boolean => fits?.(exchange) ?? true;
      for (const dress of dresses.filter((one) => isWorn(one) && engine.takes(optionsOf(one, request(exchange))))) {
        test(`a frame ${dress.name} leaves for the server, and back, with nothing else changed`, (t) => {
          const stage = openStage(t, engine);
          stage.configure(serviceOf(exchange));
          const send = sender(stage, dress);

          const there = send(request(exchange, dress.content));
          const local = localOf(stage);
          check(there, 'forwarded: new-flow', INSIDE, requestOut(exchange, local, dress.content));

          const back = send(reply(exchange, local, dress.content), INSIDE);
          check(back, 'forwarded: server-hit', OUTSIDE, replyOut(exchange, dress.content));

          const again = { ...dress.content, ...(isTcp(exchange) ? { flags: 'A' } : {}) };
          check(send(request(exchange, again)), 'forwarded: client-hit', INSIDE, requestOut(exchange, local, again));
        });

        if (exchange.method !== 'nat' || !isTcp(exchange)) continue;
        test(`nor without a flow a frame ${dress.name}`, (t) => {
          const stage = openStage(t, engine);
          stage.configure(serviceOf(exchange).replace('scheduler: rr', 'scheduler: maglev'));
          const send = sender(stage, dress);
          const [content, local] = [
            { ...dress.content, flags: 'A' },
            { address: request(exchange).from, port: CLIENT_PORT },
          ];
          const there = send(request(exchange, content));
          check(there, 'forwarded: untracked', INSIDE, requestOut(exchange, local, content));
          const back = send(reply(exchange, local, content), INSIDE);
          check(back, 'forwarded: untracked-answer', OUTSIDE, replyOut(exchange, content));
          assert.deepEqual(stage.flows(), []);
        });
      }

      test('a client keeps its own end with nat, and gets the VIP’s address with full-nat', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        stage.send(request(exchange));
        const local = localOf(stage);
        const { from, to } = request(exchange);
        assert.equal(local.address, exchange.method === 'nat' ? from : to);
        if (exchange.method === 'nat') assert.equal(local.port, CLIENT_PORT);
        else assert.ok(local.port >= 1024, `port ${local.port}`);
      });

      test('the servers’ answers go to the MAC and interface from which the client’s last frame came', (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(exchange));
        stage.send(request(exchange));
        const local = localOf(stage);
        const moved = { ...request(exchange), fromMac: '02:00:00:00:00:c2', toMac: '02:00:00:00:00:02' };
        assert.equal(stage.send(moved, { via: INSIDE }).said, 'forwarded: client-hit');
        const expected = { ...replyOut(exchange), toMac: '02:00:00:00:00:c2', fromMac: '02:00:00:00:00:02' };
        check(stage.send(reply(exchange, local), { via: INSIDE }), 'forwarded: server-hit', INSIDE, expected);
      });
    });
  }
}

function sender(stage: Stage, dress: Dress): (frame: FrameSpec, via?: number) => Outcome {
  return (frame, via = OUTSIDE) => stage.send(frame, { via, ...optionsOf(dress, frame) });
}

function optionsOf({ gsoSize = 0, content }: Dress, frame: FrameSpec): SendOptions {
  return { gsoSize, csumStart: content.checksum === 'partial' ? l4OffsetOf({ ...frame, ...content }) : 0 };
}

function check(outcome: Outcome, said: string, via: number, expected: FrameSpec): void {
  assert.equal(outcome.said, said);
  assert.equal(outcome.via, via);
  assert.equal(hex(outcome.frame), hex(buildFrame(withoutTail(expected))));
}
