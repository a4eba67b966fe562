// ICMP errors that quote more than plain headers: IPv6 extension headers, fragments. What was sent on with them must be known
// again when it is quoted, by the rules that it was sent on by.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { type Content, exchanges, nameOf } from './exchange.ts';
import { buildFrame, type Extension } from './frame.ts';
import { about, assertTranslated, bend, open, ROUTERS, ways } from './icmp-errors.ts';
import { INSIDE, OUTSIDE } from './stage.ts';

const rest = (length: number): number[] => Array<number>(length).fill(0);
const hop: Extension = { number: 0, octets: [0, 0, 5, 2, 0, 0, 1, 0] };
const destination: Extension = { number: 60, octets: [0, 1, 1, 12, ...rest(12)] };
const authentication: Extension = { number: 51, octets: [0, 4, ...rest(22)] };
const routing = (type: number): Extension => ({ number: 43, octets: [0, 2, type, 0, ...rest(20)] });
const fragment = (field: number): Extension => ({ number: 44, octets: [0, 0, field >> 8, field & 0xff, 1, 2, 3, 4] });

/** Chains that a flow's packets may have. */
const chains: Record<string, readonly Extension[]> = {
  'hop-by-hop options': [hop],
  'destination options': [destination],
  'a routing header': [routing(4)],
  'an authentication header': [authentication],
  'an atomic fragment': [fragment(0)],
  'its first fragment': [fragment(1)],
  'all of them': [hop, destination, routing(2), fragment(0), authentication, destination],
};

/** Those of packets that are never sent on, and so nobody's. */
const strange: Record<string, readonly Extension[]> = {
  'a routing header of type 0': [destination, routing(0)],
  'hop-by-hop options that are not the first': [destination, hop],
  'seven extension headers': Array.from({ length: 7 }, () => destination),
  'options in a fragment': [fragment(1), destination],
};

const lengthOf = (chain: readonly Extension[]): number => chain.reduce((sum, { octets }) => sum + octets.length, 0);

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { family, method, protocol } = exchange;
    describe(`${engine.name}: what ICMP errors quote by ${nameOf(exchange)}`, () => {
      for (const [way, make] of Object.entries(ways)) {
        const via = way === 'to the client' ? INSIDE : OUTSIDE;
        // What is sent to a client is the host's to forward, unless it can be read.
        const isClients = way === 'to the client' && method === 'nat';
        const nobodys = isClients ? 'passed: not-ours' : 'dropped: unsupported';

        if (family === 4) {
          test(`the first of a datagram’s fragments, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const content: Content = { ...about(exchange), moreFragments: true, dontFragment: false };
            const { came, left } = make(exchange, local, ROUTERS[4], {}, content);
            assertTranslated(stage, via, came, left);
          });

          test(`another of its fragments, which has no ports, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const content: Content = { ...about(exchange), fragmentOffset: 3, dontFragment: false };
            const { came } = make(exchange, local, ROUTERS[4], {}, content);
            assert.equal(stage.send(came, { via }).said, 'dropped: short-quote');
          });
          continue;
        }

        for (const [name, extensions] of Object.entries(chains)) {
          const content: Content = { ...about(exchange), extensions };
          const header = 40 + lengthOf(extensions);

          test(`${name}, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const { came, left } = make(exchange, local, ROUTERS[6], {}, content);
            assertTranslated(stage, via, came, left);
          });

          test(`${name} and 8 octets, or all before TCP’s checksum, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            for (const quoted of [header + 8, header + (protocol === 'tcp' ? 16 : 9)]) {
              const { came, left } = make(exchange, local, ROUTERS[6], { quoted }, content);
              assertTranslated(stage, via, came, left);
            }
          });

          test(`${name} and too little behind, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            for (const quoted of [header + 7, header + 4, header, header - 1, 47, 41, 40]) {
              const { came } = make(exchange, local, ROUTERS[6], { quoted }, content);
              for (const padding of [0, 200]) {
                assert.equal(stage.send({ ...came, padding }, { via }).said, 'dropped: short-quote', String(quoted));
              }
            }
          });

          test(`${name} and wrong checksums, which stay wrong, by as much, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const { came, left } = make(exchange, local, ROUTERS[6], {}, content);
            for (const spec of [came, left]) bend(spec.payload!, 8 + header + (protocol === 'tcp' ? 16 : 6), 0x1234);
            const [bad, still] = [buildFrame(came), buildFrame(left)];
            for (const octets of [bad, still]) bend(octets, 14 + 40 + 2, 0x2222);
            assertTranslated(stage, via, bad, still);
          });
        }

        test(`a fragment that is not the first, and has no ports, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          for (const field of [8, 9]) {
            const content: Content = { ...about(exchange), extensions: [hop, fragment(field)] };
            const { came } = make(exchange, local, ROUTERS[6], {}, content);
            assert.equal(stage.send(came, { via }).said, 'dropped: short-quote');
          }
        });

        for (const [name, extensions] of Object.entries(strange)) {
          test(`${name}: nobody’s packet, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const { came } = make(exchange, local, ROUTERS[6], {}, { ...about(exchange), extensions });
            assert.equal(stage.send(came, { via }).said, nobodys);
          });
        }
      }
    });
  }
}
