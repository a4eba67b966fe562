import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from '../../src/net/address.ts';
import { parseMac } from '../../src/net/mac.ts';
import { hostViewOf, parseAddresses, parseLinks } from '../../src/net/netlink.ts';
import { formatPrefix } from '../../src/net/prefix.ts';
import { parseNeighbours, parseRoutes } from '../../src/net/routes.ts';

/** Little-endian integers of a given width in bytes: [[2, 0x1234], [1, 5]]. */
function packed(...fields: [width: 1 | 2 | 4, value: number][]): Buffer {
  return Buffer.concat(
    fields.map(([width, value]) => {
      const bytes = Buffer.alloc(width);
      bytes.writeUIntLE(value, 0, width);
      return bytes;
    }),
  );
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

function attribute(type: number, value: Uint8Array): Buffer {
  return padded(Buffer.concat([packed([2, value.length + 4], [2, type]), value]));
}

function message(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return padded(Buffer.concat([packed([4, body.length + 16], [2, type], [2, 2], [4, 1], [4, 0]), body]));
}

function bytes(address: string): Uint8Array {
  const parsed = parseAddress(address);
  assert.ok(parsed);
  return parsed.bytes;
}

function mac(text: string): Uint8Array {
  const parsed = parseMac(text);
  assert.ok(parsed);
  return parsed;
}

const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const u32 = (value: number): Buffer => packed([4, value]);

const linkHeader = (index: number, flags: number): Buffer =>
  packed([1, 0], [1, 0], [2, 1], [4, index], [4, flags], [4, 0]);
const addressHeader = (family: number, length: number, index: number): Buffer =>
  packed([1, family], [1, length], [1, 0], [1, 0], [4, index]);
const routeHeader = (family: number, length: number, table: number, flags = 0): Buffer =>
  packed([1, family], [1, length], [1, 0], [1, 0], [1, table], [1, 0], [1, 0], [1, 1], [4, flags]);
const neighbourHeader = (family: number, index: number, state: number): Buffer =>
  packed([1, family], [1, 0], [2, 0], [4, index], [2, state], [1, 0], [1, 0]);

const eth0 = message(
  16,
  linkHeader(2, 0x11043),
  attribute(3, text('eth0')),
  attribute(1, mac('02:00:00:00:00:0a')),
  attribute(4, u32(1500)),
  attribute(10, u32(7)),
  attribute(0x8000 | 18, attribute(1, text('veth'))),
);
const tun0 = message(16, linkHeader(3, 0), attribute(3, text('tun0')), attribute(1, Buffer.from([10, 0, 0, 1])));

test('a link shows its name, address, size, state, master and kind', () => {
  assert.deepEqual(parseLinks(Buffer.concat([eth0, tun0])), [
    {
      name: 'eth0',
      index: 2,
      mac: '02:00:00:00:00:0a',
      mtu: 1500,
      isUp: true,
      isRunning: true,
      master: 7,
      kind: 'veth',
    },
    { name: 'tun0', index: 3, mac: '', mtu: 0, isUp: false, isRunning: false },
  ]);
});

test('messages of other types and links without a name are left out', () => {
  const other = message(99, linkHeader(1, 0), attribute(3, text('no')));
  const nameless = message(16, linkHeader(1, 0));
  const short = message(16, Buffer.alloc(8));
  assert.deepEqual(
    parseLinks(Buffer.concat([other, nameless, short, tun0])).map(({ name }) => name),
    ['tun0'],
  );
});

test('an address is the own one, with the length of its network', () => {
  const dump = Buffer.concat([
    message(20, addressHeader(2, 24, 2), attribute(1, bytes('10.0.1.1')), attribute(2, bytes('10.0.1.1'))),
    message(20, addressHeader(10, 64, 2), attribute(1, bytes('2001:db8::1'))),
    message(20, addressHeader(2, 31, 3), attribute(1, bytes('10.9.0.2')), attribute(2, bytes('10.9.0.1'))),
    message(20, addressHeader(2, 24, 2)),
  ]);
  assert.deepEqual(
    parseAddresses(dump).map(({ index, prefix }) => [index, formatPrefix(prefix)]),
    [
      [2, '10.0.1.1/24'],
      [2, '2001:db8::1/64'],
      [3, '10.9.0.1/32'],
    ],
  );
});

test('a host view names the link of each address and drops those whose link is gone', () => {
  const address = (index: number): Buffer => message(20, addressHeader(2, 24, index), attribute(2, bytes('10.0.1.1')));
  const links = parseLinks(eth0);
  const view = hostViewOf(links, parseAddresses(Buffer.concat([address(2), address(44)])));
  assert.equal(view.links, links);
  assert.deepEqual(
    view.addresses.map(({ link, prefix }) => [link, formatPrefix(prefix)]),
    [['eth0', '10.0.1.1/24']],
  );
});

test('a route shows where it leads, one entry for each path', () => {
  const path = (index: number, gateway: string): Buffer => {
    const rest = attribute(5, bytes(gateway));
    return Buffer.concat([packed([2, rest.length + 8], [1, 0], [1, 0], [4, index]), rest]);
  };
  const via = Buffer.concat([packed([2, 10]), bytes('fe80::1')]);
  const dump = Buffer.concat([
    message(24, routeHeader(2, 0, 254), attribute(5, bytes('10.0.0.1')), attribute(4, u32(2))),
    message(
      24,
      routeHeader(2, 16, 252),
      attribute(1, bytes('10.7.0.0')),
      attribute(15, u32(1000)),
      attribute(7, bytes('10.0.0.9')),
      attribute(4, u32(3)),
    ),
    message(24, routeHeader(10, 0, 254), attribute(9, Buffer.concat([path(2, 'fe80::2'), path(3, 'fe80::3')]))),
    message(24, routeHeader(2, 32, 254), attribute(1, bytes('10.8.0.1')), attribute(18, via), attribute(4, u32(2))),
    message(24, routeHeader(2, 8, 254), attribute(1, bytes('127.0.0.0'))),
    message(24, routeHeader(10, 128, 254, 0x200), attribute(1, bytes('::1')), attribute(4, u32(1))),
  ]);
  const shown = parseRoutes(dump).map(
    ({ destination, gateway, outIndex, table, preferredSource }) =>
      `${formatPrefix(destination)} via ${gateway?.text} dev ${outIndex} table ${table} src ${preferredSource?.text}`,
  );
  assert.deepEqual(shown, [
    '0.0.0.0/0 via 10.0.0.1 dev 2 table 254 src undefined',
    '10.7.0.0/16 via undefined dev 3 table 1000 src 10.0.0.9',
    '::/0 via fe80::2 dev 2 table 254 src undefined',
    '::/0 via fe80::3 dev 3 table 254 src undefined',
    '10.8.0.1/32 via fe80::1 dev 2 table 254 src undefined',
    '127.0.0.0/8 via undefined dev undefined table 254 src undefined',
  ]);
});

test('a neighbour shows its state, and its MAC when there is one', () => {
  const dump = Buffer.concat([
    message(28, neighbourHeader(2, 2, 0x02), attribute(1, bytes('10.0.0.2')), attribute(2, mac('02:00:00:00:00:0b'))),
    message(28, neighbourHeader(10, 2, 0x20), attribute(1, bytes('fe80::2'))),
    message(28, neighbourHeader(2, 2, 0), attribute(1, bytes('10.0.0.3'))),
    message(28, neighbourHeader(7, 2, 0x80), attribute(2, mac('02:00:00:00:00:0c'))),
  ]);
  assert.deepEqual(
    parseNeighbours(dump).map(({ address, mac: found, state }) => [address.text, found, state]),
    [
      ['10.0.0.2', '02:00:00:00:00:0b', 'reachable'],
      ['fe80::2', undefined, 'failed'],
      ['10.0.0.3', undefined, 'none'],
    ],
  );
});

test('a dump cut anywhere, or with any byte wrong, is read without leaving it', () => {
  const dump = Buffer.concat([eth0, message(24, routeHeader(10, 0, 254), attribute(9, Buffer.alloc(8, 8))), tun0]);
  const readAll = (bytesRead: Uint8Array): void => {
    // An exact copy: what lies beyond the end is not there to be read by mistake.
    const exact = Uint8Array.from(bytesRead).buffer;
    for (const parse of [parseLinks, parseAddresses, parseRoutes, parseNeighbours])
      assert.ok(Array.isArray(parse(exact)));
  };
  for (let length = 0; length < dump.length; length++) readAll(dump.subarray(0, length));
  for (let at = 0; at < dump.length; at++) {
    for (const value of [0, 1, 3, 4, 5, 0x7f, 0xff]) {
      const wrong = Buffer.from(dump);
      wrong[at] = value;
      readAll(wrong);
    }
  }
});
