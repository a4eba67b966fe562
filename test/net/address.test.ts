import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import { type Random, randomOf } from '../../netns-lab/lib/random.ts';
import {
  addressFromBytes,
  compareAddresses,
  formatEndpoint,
  parseAddress,
  sameAddress,
} from '../../src/net/address.ts';

// Text → canonical text. The IPv6 lines are RFC 4291 §2.2 and RFC 5952 §4 and §5.
const GOOD: Record<string, string> = {
  '0.0.0.0': '0.0.0.0',
  '255.255.255.255': '255.255.255.255',
  '10.0.0.1': '10.0.0.1',
  '::': '::',
  '::1': '::1',
  '1::': '1::',
  '2001:DB8::8:800:200C:417A': '2001:db8::8:800:200c:417a',
  '2001:0db8:0000:0000:0008:0800:200c:417a': '2001:db8::8:800:200c:417a',
  '2001:db8::0:1': '2001:db8::1',
  '2001:db8:0:0:0:0:2:1': '2001:db8::2:1',
  '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
  '2001:0:0:1:0:0:0:1': '2001:0:0:1::1',
  '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
  '1:2:3:4:5:6:7::': '1:2:3:4:5:6:7:0',
  '::2:3:4:5:6:7:8': '0:2:3:4:5:6:7:8',
  '1:0:0:4:5:6:0:0': '1::4:5:6:0:0',
  '::13.1.68.3': '::d01:4403',
  '::FFFF:129.144.52.38': '::ffff:129.144.52.38',
  '::ffff:8190:3426': '::ffff:129.144.52.38',
  '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
  '1:2:3:4:5:6:1.2.3.4': '1:2:3:4:5:6:102:304',
};

const BAD = [
  '1.2.3 1.2.3.4.5 256.0.0.1 1.2.3.04 01.2.3.4 1.2.3. .1.2.3 1..2.3 0x1.2.3.4 1.2.3.4/24 1,2,3,4 -1.2.3.4 +1.2.3.4',
  '1e1.2.3.4 ١.2.3.4 16909060 : ::: 1: :1 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1::2::3 1:2:3:4::5:6:7:8 1:::2 12345:: g::',
  '::1%eth0 fe80::1%2 [::1] ::1/64 1.2.3.4:: ::1.2.3 ::1.2.3.256 ::01.2.3.4 ::1.2.3.4:5 1:2:3:4:5:6:7:1.2.3.4 ::1:',
  ':1:: localhost ::-1',
].flatMap((line) => line.split(' '));

describe('an address', () => {
  for (const [text, canonical] of Object.entries(GOOD)) {
    it(`${text} is ${canonical}`, () => assert.equal(parseAddress(text)?.text, canonical));
  }

  for (const text of [...BAD, '', ' ', '1.2.3.4 ', ' 1.2.3.4', '::1 ', '::1\n']) {
    it(`${JSON.stringify(text)} is none`, () => assert.equal(parseAddress(text), null));
  }

  it('is read as Node reads it, for texts that are near to one', () => {
    const random = randomOf(1);
    for (let i = 0; i < 20_000; i++) {
      const text = mutate(random, random.pick(Object.keys(GOOD)));
      // Node takes zones, which an address here has none of.
      const family = text.includes('%') ? 0 : isIP(text);
      assert.equal(parseAddress(text)?.family ?? 0, family, text);
    }
  });

  it('prints a text that reads as the same bytes, whatever the bytes', () => {
    const { below } = randomOf(2);
    for (let i = 0; i < 20_000; i++) {
      // Mostly zeros, so that runs of them of every length come up.
      const bytes = Uint8Array.from({ length: 16 }, () => (below(3) === 0 ? below(256) : 0));
      const address = addressFromBytes(bytes);
      assert.deepEqual(parseAddress(address.text)?.bytes, bytes, address.text);
      if (!address.text.includes('.'))
        assert.equal(address.text, new URL(`http://[${address.text}]`).hostname.slice(1, -1));
    }
  });

  it('has bytes in network order', () => {
    assert.deepEqual(parseAddress('10.1.2.3')?.bytes, Uint8Array.of(10, 1, 2, 3));
    assert.deepEqual(
      parseAddress('2001:db8::1')?.bytes,
      Uint8Array.of(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    );
  });

  it('of bytes keeps a copy of them', () => {
    const bytes = Uint8Array.of(10, 0, 0, 1);
    const address = addressFromBytes(bytes);
    bytes[0] = 11;
    assert.deepEqual(address.bytes, Uint8Array.of(10, 0, 0, 1));
  });

  it('has 4 or 16 bytes', () => {
    assert.throws(() => addressFromBytes(new Uint8Array(6)), new RangeError('an address has 4 or 16 bytes, not 6'));
  });

  it('is the same as another by value, and never across families', () => {
    assert.ok(sameAddress(parse('2001:db8::1'), parse('2001:DB8:0:0::1')));
    assert.ok(!sameAddress(parse('10.0.0.1'), parse('::ffff:10.0.0.1')));
  });

  it('sorts by value behind its family', () => {
    const sorted = ['::1', '10.0.0.10', '10.0.0.9', '9.0.0.0'].map(parse).toSorted(compareAddresses);
    assert.deepEqual(
      sorted.map(({ text }) => text),
      ['9.0.0.0', '10.0.0.9', '10.0.0.10', '::1'],
    );
  });

  it('prints with a port as an endpoint, IPv6 in brackets', () => {
    assert.equal(formatEndpoint(parse('10.0.0.1'), 80), '10.0.0.1:80');
    assert.equal(formatEndpoint(parse('2001:db8::1'), 80), '[2001:db8::1]:80');
  });
});

function parse(text: string) {
  const address = parseAddress(text);
  assert.ok(address, `${text} is no address`);
  return address;
}

function mutate({ below, pick }: Random, text: string): string {
  const at = below(text.length + 1);
  const piece = pick(['', ':', '::', '.', '0', '1', '25', 'f', 'ffff', '%', '/']);
  return text.slice(0, at) + piece + text.slice(at + below(3));
}
