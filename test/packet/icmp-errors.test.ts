// ICMP errors about nat and full-nat flows, both ways. What is quoted, and what it becomes, are built by the same words
// with other ends, so that every checksum expected here was computed anew.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { engines } from './engines.ts';
import { addressesOf, type Exchange, exchanges, nameOf, request } from './exchange.ts';
import { buildFrame, type FrameSpec, hex, payloadOf, put16 } from './frame.ts';
import {
  about,
  assertTranslated,
  bend,
  DATA,
  errorOf,
  KINDS,
  open,
  ROUTERS,
  toClient,
  toServer,
  ways,
} from './icmp-errors.ts';
import { INSIDE, INSIDE_MAC, openStage, OUTSIDE, serverMac, type Stage } from './stage.ts';

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

        test(`with too little quoted, ${way}: it goes nowhere`, (t) => {
          const { stage, local } = open(t, engine, exchange);
          for (const quoted of [header + 7, header + 4, header, header - 1, 0]) {
            const { came } = make(exchange, local, ROUTERS[family], { quoted }, about(exchange));
            // What is sent to a client is the host's to forward, unless addresses say that it is about a nat server.
            const isOurs = way === 'to the server' || exchange.method === 'full-nat' || quoted >= header;
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

  for (const family of [4, 6] as const) {
    test(`${engine.name}: too little quoted of what went to others than nat servers is the host’s, IPv${family}`, (t) => {
      const stage = openStage(t, engine);
      const [prefix, bracketed] = family === 4 ? ['10.0.1.', '10.0.1.'] : ['fd00::a00:1', '[fd00::a00:1'];
      const end = family === 4 ? '' : ']';
      const vip = (last: number): string => (family === 4 ? `203.0.113.${last}` : `[2001:db8::${last}]`);
      const service = (name: string, method: string, last: number, servers: readonly number[]): string[] => [
        `  ${name}:`,
        `    listen: "${vip(last)}:80/tcp"`,
        `    method: ${method}`,
        '    check: none',
        `    servers: { ${servers.map((it) => `s${it}: "${bracketed}${it}${end}:8080"`).join(', ')} }`,
      ];
      stage.configure(
        [...service('web', 'nat', 10, [13, 11, 19]), ...service('proxied', 'full-nat', 12, [12, 14]), ''].join('\n'),
      );
      const exchange: Exchange = { method: 'nat', protocol: 'tcp', family };
      const { client } = addressesOf(exchange);
      const short = (protocol: FrameSpec['protocol'], server: string, to = client): string => {
        const sent: FrameSpec = { ...request(exchange), protocol, to: server, payload: payloadOf(20) };
        const ends = { toMac: INSIDE_MAC, fromMac: serverMac(addressesOf(exchange).server) };
        const error = errorOf(exchange, { ...ends, from: ROUTERS[family], to }, buildFrame(sent), {
          quoted: (family === 4 ? 20 : 40) + 7,
        });
        return stage.send(error, { via: INSIDE }).said;
      };
      for (const last of [11, 13, 19])
        assert.equal(short('tcp', `${prefix}${last}`), 'dropped: short-quote', String(last));
      for (const last of [10, 12, 14, 18, 20])
        assert.equal(short('udp', `${prefix}${last}`), 'passed: not-ours', String(last));
      assert.equal(short('udp', `${prefix}19`), 'dropped: short-quote', 'whatever the protocol');
      assert.equal(short(47, `${prefix}11`), 'passed: not-ours', 'unless it cannot be of a flow');
      const other = family === 4 ? '198.51.100.8' : '2001:db8:c::8';
      assert.equal(short('tcp', `${prefix}11`, other), 'passed: not-ours', 'to who did not send it');
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
