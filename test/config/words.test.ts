// The small parts that problems are made of: durations, suggestions, listens.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatDuration, parseDuration } from '../../src/config/duration.ts';
import { formatListen, parseListen, parseSources } from '../../src/config/endpoint.ts';
import { didYouMean, editDistance } from '../../src/config/suggest.ts';

describe('a duration', () => {
  const good = { '500ms': 500, '2s': 2000, '1.5s': 1500, '1.1s': 1100, '10m': 600_000, '1h': 3_600_000, '0s': 0 };
  for (const [text, ms] of Object.entries(good)) {
    it(`${text} is ${ms} ms`, () => assert.equal(parseDuration(text), ms));
  }
  for (const text of ['2', '', 's', '-1s', '2 s', '2S', '1d', '0.5ms', '1e3s', '2s ', '.5s', '1234567890s']) {
    it(`"${text}" is none`, () => assert.equal(parseDuration(text), null));
  }
  it('prints in the largest unit that is exact', () => {
    assert.deepEqual([0, 1, 1500, 90_000, 120_000, 7_200_000].map(formatDuration), [
      '0ms',
      '1ms',
      '1500ms',
      '90s',
      '2m',
      '2h',
    ]);
  });
});

describe('a suggestion', () => {
  it('counts a swap of neighbours as one edit', () => {
    assert.equal(editDistance('shceduler', 'scheduler'), 1);
    assert.equal(editDistance('kitten', 'sitting'), 3);
    assert.equal(editDistance('', 'abc'), 3);
  });
  it('is the nearest word, whatever its case', () => {
    assert.equal(didYouMean('Servers', ['services', 'servers']), 'did you mean "servers"?');
    assert.equal(didYouMean('NAT', ['full-nat', 'nat']), 'did you mean "nat"?');
  });
  it('is not made for a word that is far from all', () => {
    assert.equal(didYouMean('fastest', ['rr', 'wrr', 'lc', 'wlc', 'sh', 'maglev']), undefined);
    assert.equal(didYouMean('x', []), undefined);
  });
});

describe('a listen', () => {
  for (const text of [
    '10.0.0.1:80/tcp',
    '10.0.0.1:8000-8099/udp',
    '10.0.0.1:*/tcp',
    '[2001:db8::1]:53/udp',
    '[::]:1-2/tcp',
  ]) {
    it(`${text} prints as it was read`, () => {
      const parsed = parseListen(text);
      assert.ok('value' in parsed);
      assert.equal(formatListen(parsed.value), text);
    });
  }
  for (const text of [
    '10.0.0.1:080/tcp',
    '10.0.0.1:+80/tcp',
    '10.0.0.1:80-/tcp',
    '10.0.0.1:-80/tcp',
    '10.0.0.1:1-2-3/tcp',
    '10.0.0.1: 80/tcp',
    '10.0.0.1:/tcp',
    '10.0.0.1:80/TCP',
    '10.0.0.1:80/tcp/tcp',
    '2001:db8::1:80/tcp',
    '[10.0.0.1]:80/tcp',
    '[2001:db8::1]80/tcp',
    '[2001:db8::1:80/tcp',
    '*:80/tcp',
    '/tcp',
    '',
  ]) {
    it(`"${text}" is none`, () => assert.ok('problem' in parseListen(text)));
  }
});

describe('a source range', () => {
  it('has both its ends and carries over bytes', () => {
    const parsed = parseSources('192.0.2.254-192.0.3.1');
    assert.deepEqual('value' in parsed ? parsed.value.map(({ text }) => text) : [], [
      '192.0.2.254',
      '192.0.2.255',
      '192.0.3.0',
      '192.0.3.1',
    ]);
  });
  it('of all IPv6 addresses is refused without being walked', () => {
    assert.deepEqual(parseSources('::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'), {
      problem:
        'source "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" has 340282366920938463463374607431768211456 addresses; 256 are the most',
    });
  });
});
