import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Address, parseAddress } from '../../src/net/address.ts';
import { formatPrefix, lastOf, networkOf, type Prefix, parsePrefix, prefixContains } from '../../src/net/prefix.ts';

// Prefix, first and last address of its network, the neighbours on either side.
const NETWORKS = [
  ['10.0.1.7/24', '10.0.1.0', '10.0.1.255', '10.0.0.255', '10.0.2.0'],
  ['10.0.1.7/31', '10.0.1.6', '10.0.1.7', '10.0.1.5', '10.0.1.8'],
  ['10.0.1.7/32', '10.0.1.7', '10.0.1.7', '10.0.1.6', '10.0.1.8'],
  ['10.77.0.1/9', '10.0.0.0', '10.127.255.255', '9.255.255.255', '10.128.0.0'],
  ['2001:db8::7/64', '2001:db8::', '2001:db8::ffff:ffff:ffff:ffff', '2001:db7::1', '2001:db8:0:1::'],
  ['2001:db8::7/33', '2001:db8::', '2001:db8:7fff:ffff:ffff:ffff:ffff:ffff', '2001:db7:ffff::', '2001:db8:8000::'],
] as const;

describe('a prefix', () => {
  for (const [text, first, last, below, above] of NETWORKS) {
    it(`${text} reaches from ${first} to ${last}`, () => {
      const prefix = parse(text);
      assert.equal(formatPrefix(prefix), text);
      assert.equal(networkOf(prefix).text, first);
      assert.equal(lastOf(prefix).text, last);
      assert.deepEqual(
        [below, first, last, above].map((address) => prefixContains(prefix, addressOf(address))),
        [false, true, true, false],
      );
    });
  }

  it('of length 0 holds its whole family and nothing else', () => {
    assert.ok(prefixContains(parse('0.0.0.0/0'), addressOf('203.0.113.1')));
    assert.ok(!prefixContains(parse('0.0.0.0/0'), addressOf('::1')));
    assert.ok(!prefixContains(parse('::/0'), addressOf('203.0.113.1')));
  });

  for (const text of [
    '10.0.0.1',
    '10.0.0.1/',
    '10.0.0.1/33',
    '10.0.0.1/024',
    '10.0.0/8',
    '::/129',
    '::1/64/64',
    '/24',
  ]) {
    it(`"${text}" is none`, () => assert.equal(parsePrefix(text), null));
  }
});

function parse(text: string): Prefix {
  const prefix = parsePrefix(text);
  assert.ok(prefix, `${text} is no prefix`);
  return prefix;
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  assert.ok(address, `${text} is no address`);
  return address;
}
