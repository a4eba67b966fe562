import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash64 } from '../../src/plane/identity.ts';

test('names are hashed by FNV-1a: the values its authors give', () => {
  assert.equal(hash64(''), 0xcbf29ce484222325n);
  assert.equal(hash64('a'), 0xaf63dc4c8601ec8cn);
  assert.equal(hash64('foobar'), 0x85944171f73967e8n);
});
