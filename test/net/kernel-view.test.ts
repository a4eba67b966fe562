import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { formatPrefix } from '../../src/net/prefix.ts';
import { makePlatform } from '../../src/plane/platform.ts';

test("the kernel's own dumps agree with what else the host says of itself", () => {
  const { links, addresses } = makePlatform().inspect();
  const names = readFileSync('/proc/net/dev', 'utf8').matchAll(/^\s*(\S+):/gm);
  assert.deepEqual(new Set(links.map(({ name }) => name)), new Set(Array.from(names, ([, name]) => name)));
  for (const [name, infos] of Object.entries(networkInterfaces())) {
    const link = links.find((candidate) => candidate.name === name);
    for (const info of infos ?? []) {
      assert.equal(link?.mac, info.mac);
      const held = addresses.filter((candidate) => candidate.link === name).map(({ prefix }) => formatPrefix(prefix));
      assert.ok(info.cidr !== null && held.includes(info.cidr), `${info.cidr} is not among ${held.join(', ')}`);
    }
  }
});
