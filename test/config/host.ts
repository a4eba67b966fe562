// A host's links and addresses in few words.

import assert from 'node:assert/strict';
import { parsePrefix } from '../../src/net/prefix.ts';

export function link(name: string, index: number) {
  return { name, index, mac: `02:00:00:00:00:0${index}`, mtu: 1500, isUp: true };
}

export function address(name: string, text: string) {
  const prefix = parsePrefix(text);
  assert.ok(prefix, `${text} is no prefix`);
  return { link: name, prefix };
}
