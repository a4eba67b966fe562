import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatMac, parseMac } from '../../src/net/mac.ts';

describe('a MAC address', () => {
  it('is read with colons or dashes in either case, and printed in one way', () => {
    for (const text of ['02:00:5E:00:0a:FF', '02-00-5e-00-0A-ff']) {
      const bytes = parseMac(text);
      assert.deepEqual(bytes, Uint8Array.of(2, 0, 0x5e, 0, 10, 255));
      assert.equal(formatMac(bytes), '02:00:5e:00:0a:ff');
    }
  });

  for (const text of [
    '',
    '02:00:5e:00:0a',
    '02:00:5e:00:0a:ff:01',
    '2:0:5e:0:a:ff',
    '02:00-5e:00:0a:ff',
    '02005e000aff',
    '02:00:5e:00:0a:fg',
  ]) {
    it(`"${text}" is none`, () => assert.equal(parseMac(text), null));
  }

  it('has six bytes', () => {
    assert.throws(() => formatMac(new Uint8Array(8)), new RangeError('a MAC address has 6 bytes, not 8'));
  });
});
