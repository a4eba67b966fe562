// ICMP errors about nat and full-nat flows, both ways. What is quoted, and what it becomes, are built by the same words
// with other ends, so that every checksum expected here was computed anew.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { type Exchange, exchanges, nameOf } from './exchange.ts';
import { buildFrame, type FrameSpec, put16 } from './frame.ts';
import {
  about,
  assertTranslated,
  bend,
  DATA,
  hex,
  KINDS,
  open,
  ROUTERS,
  toClient,
  toServer,
  ways,
} from './icmp-errors.ts';
import { INSIDE, OUTSIDE, type Stage } from './stage.ts';

for (const engine of engines) {
  for (const exchange of exchanges) {
    const { family, protocol } = exchange;
    const header = family === 4 ? 20 : 40;
    describe(`${engine.name}: ICMP errors by ${nameOf(exchange)}`, () => {
      for (const [way, make] of Object.entries(ways)) {
        const via = way === 'to the client' ? INSIDE : OUTSIDE;
        const goes = (stage: Stage, came: FrameSpec | Uint8Array, left: FrameSpec | Uint8Array): void =>
          assertTranslated(stage, via, came, left);

        for (const [name, kind] of Object.entries(KINDS[family])) {
          test(`${name}, ${way}`, (t) => {
            const { stage, local } = open(t, engine, exchange);
            const { came, left } = make(exchange, local, ROUTERS[family], { kind }, about(exchange));
            goes(stage, came, left);
          });
        }

        test(`of which 8 octets are quoted, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], { quoted: header + 8 }, about(exchange));
          goes(stage, came, left);
        });

        test(`of which all before TCP’s checksum is quoted, or one octet of UDP’s data, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const quoted = header + (protocol === 'tcp' ? 16 : 9);
          const { came, left } = make(exchange, local, ROUTERS[family], { quoted }, about(exchange));
          goes(stage, came, left);
        });

        test(`in a VLAN, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange), { tags: [7] });
          goes(stage, came, left);
        });

        test(`with too little quoted, ${way}: it is nobody’s`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          for (const quoted of [header + 7, header + 4, header, header - 1, 0]) {
            const { came } = make(exchange, local, ROUTERS[family], { quoted }, about(exchange));
            // What is sent to a client is the host's to forward, unless it can be read.
            const isOurs = way === 'to the server' || exchange.method === 'full-nat';
            const said = isOurs ? 'dropped: short-quote' : 'passed: not-ours';
            assert.equal(stage.send(came, { via }).said, said, String(quoted));
          }
        });

        test(`padding is no quote, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came } = make(exchange, local, ROUTERS[family], { quoted: header + 4 }, about(exchange), {
            padding: 20,
          });
          assert.notEqual(stage.send(came, { via }).said, 'forwarded: icmp-error');
        });

        test(`wrong checksums in the quoted packet stay wrong, by as much, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          const field = 8 + header + (protocol === 'tcp' ? 16 : 6);
          for (const spec of [came, left]) bend(spec.payload!, field, 0x1234);
          if (family === 4) for (const spec of [came, left]) bend(spec.payload!, 8 + 10, 0x0101);
          goes(stage, came, left);
        });

        test(`a wrong ICMP checksum is not repaired, ${way}`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came, left } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          const [bad, still] = [buildFrame(came), buildFrame(left)];
          for (const octets of [bad, still]) bend(octets, 14 + header + 2, 0x2222);
          goes(stage, bad, still);
        });

        test(`with no hop left, or about nobody’s packet, ${way}: it goes no further`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          const { came } = make(exchange, local, ROUTERS[family], {}, about(exchange));
          assert.equal(stage.send({ ...came, ttl: 1 }, { via }).said, 'dropped: expired');
          const isClients = way === 'to the client' && exchange.method === 'nat';
          const nobodys = isClients ? 'passed: not-ours' : 'dropped: unsupported';
          for (const at of [header, header + 2]) {
            const other = { ...came, payload: Uint8Array.from(came.payload!) };
            put16(other.payload, 8 + at, 9);
            assert.equal(stage.send(other, { via }).said, nobodys);
          }
        });
      }

      test('from the server itself, to the client: it comes from the VIP', (t) => {
        const { stage, local, server } = open(t, engine, exchange);
        const { came, left } = toClient(exchange, local, server, {}, about(exchange));
        assert.equal(hex(stage.send(came, { via: INSIDE }).frame), hex(buildFrame(left)));
      });

      test('from the client itself, to the server', (t) => {
        const { stage, local, client } = open(t, engine, exchange);
        const { came, left } = toServer(exchange, local, client, {}, about(exchange));
        assert.equal(hex(stage.send(came).frame), hex(buildFrame(left)));
      });

      test('that was sent to another than sent the packet is nobody’s', (t) => {
        const { stage, local } = open(t, engine, exchange);
        const { came } = toServer(exchange, local, ROUTERS[family], {}, about(exchange));
        const elsewhere = { ...came, to: family === 4 ? '203.0.113.99' : '2001:db8::99' };
        assert.equal(stage.send(elsewhere).said, 'passed: not-ours');
        const { came: other } = toClient(exchange, local, ROUTERS[family], {}, about(exchange));
        assert.equal(stage.send({ ...other, to: elsewhere.to }, { via: INSIDE }).said, 'passed: not-ours');
      });
    });
  }

  describe(`${engine.name}: ICMP errors that quote options`, () => {
    for (const [way, make] of Object.entries(ways)) {
      test(`in the quoted IPv4 header, ${way}`, (t) => {
        const exchange: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
        const { stage, local } = open(t, engine, exchange);
        const content = { ...DATA, options: [1, 1, 1, 0] };
        const { came, left } = make(exchange, local, ROUTERS[4], {}, content);
        const { frame } = stage.send(came, { via: way === 'to the client' ? INSIDE : OUTSIDE });
        assert.equal(hex(frame), hex(buildFrame(left)));
      });

      test(`a quoted UDP packet without a checksum stays without, ${way}`, (t) => {
        const exchange: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
        const { stage, local } = open(t, engine, exchange);
        const { came, left } = make(exchange, local, ROUTERS[4], {}, { ...DATA, checksum: 'none' });
        const { frame } = stage.send(came, { via: way === 'to the client' ? INSIDE : OUTSIDE });
        assert.equal(hex(frame), hex(buildFrame(left)));
      });
    }
  });
}
