// A configuration that is to replace another: the same whether it is read here or in a thread, to the last word of what is
// wrong with it.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { test, type TestContext } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { makeReplacement, type Replacement } from '../../src/control/configuration.ts';
import { keepServices } from '../../src/control/keep-services.ts';
import { readInThread, readReplacement } from '../../src/control/read-replacement.ts';
import { configOf, WEB } from '../plane/targets.ts';
import { fakeHost } from './fakes.ts';

const HEAD = 'version: 1\ninterfaces: { outside: eth0, inside: eth1 }\n';
const EVERY_KIND = `
  web: { listen: ["203.0.113.10:80/tcp", "203.0.113.10:8000-8099/tcp"], method: nat, scheduler: maglev, hash: client-port,
    sticky: { by: client, for: 10m }, deny: [192.0.2.0/24], limits: { flows: 100, new-flows: 10/s }, passive: eject,
    check: [{ type: http, path: /healthz, status: 200-299 }, { type: tcp }], slow-start: 10s, drain-deadline: 1m,
    servers: { a: 10.0.1.11, b: { address: 10.0.1.12, weight: 3, max-flows: 7, check: none } }, backup: { c: 10.0.1.13 } }
  six: { listen: "[2001:db8::10]:53/udp", method: full-nat, source: "2001:db8::20", on-server-down: rehash,
    check: { type: dns, name: example.org }, servers: { a: "[fd00::1]:53" } }
  far: { listen: 203.0.113.20:443/tcp, method: l3-dsr, tunnel: { type: gre, source: 203.0.113.1, key: 7 }, half-open: 99,
    servers: { a: 198.51.100.11 } }
`;
const many = Array.from(
  { length: 700 },
  (_, i) => `  s${i}: { listen: 203.0.113.11:${1000 + i}/tcp, method: nat, servers: { a: 10.0.1.9:${1 + i} } }`,
);

const files: { title: string; text: string | null; says?: RegExp }[] = [
  { title: 'one with a service of every kind', text: `${HEAD}services:${EVERY_KIND}` },
  { title: 'one of many services', text: `${HEAD}services:${WEB}${many.join('\n')}\n` },
  {
    title: 'one with a warning',
    says: /warning: /,
    text: `${HEAD}services:\n  w: { listen: 203.0.113.10:80/tcp, method: nat, check: { type: exec, command: [/nowhere/check] }, servers: { a: 10.0.1.9 } }\n`,
  },
  { title: 'one that is no YAML', says: /this is not YAML/, text: `${HEAD}services: { web: [ }\n` },
  {
    title: 'one that is wrong in several places',
    says: /wrx[^]*99999/,
    text: `${HEAD}services:${WEB.replace('wrr', 'wrx').replace('8080', '99999')}`,
  },
  {
    title: 'one that is wrong on this host',
    says: /is an address of this host/,
    text: `${HEAD}services:${WEB.replace('203.0.113.10', '203.0.113.1')}`,
  },
  {
    title: 'one that changes what is settled',
    says: /workers, flows cannot change/,
    text: `${HEAD}flows: 8192\nworkers: 3\nservices:${WEB}`,
  },
  { title: 'none at all', says: /there is no such file/, text: null },
];

function fileOf(t: TestContext, text: string | null): string {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-replacement-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'fairlead.yaml');
  if (text !== null) writeFileSync(path, text);
  return path;
}

/** What came of it: an error by all that an operator is shown of it. */
async function outcomeOf(read: () => Replacement | Promise<Replacement>): Promise<object> {
  try {
    return await read();
  } catch (error) {
    const { name, message, code, mend, problems } = error as Error & Record<'code' | 'mend' | 'problems', unknown>;
    return { name, message, code, mend, problems };
  }
}

const before = configOf(WEB);

for (const { title, text, says } of files) {
  test(`a thread reads a file as it is read here: ${title}`, async (t) => {
    const path = fileOf(t, text);
    const here = await outcomeOf(() => makeReplacement(before, loadConfig(path), fakeHost));
    if (says === undefined) assert.ok('config' in here, JSON.stringify(here));
    else assert.match('message' in here ? String(here.message) : JSON.stringify(here), says);
    assert.deepEqual(await outcomeOf(() => readInThread(path, before, fakeHost)), here);
    assert.deepEqual(await outcomeOf(() => readReplacement(path, before, fakeHost)), here);
  });
}

test('services that are as they were stay the very objects, wherever they stand', async (t) => {
  const path = fileOf(t, `${HEAD}services:${EVERY_KIND}`);
  const first = loadConfig(path);
  const { config } = await readInThread(path, first, fakeHost);
  assert.ok(config.services.every((service, index) => service !== first.services[index]));
  const [web, six, far] = config.services;
  const changed = { ...six!, slowStartMs: 1000 };
  const kept = await keepServices(first, { ...config, services: [far!, changed, web!] });
  assert.deepEqual(kept.services, [first.services[2], changed, first.services[0]]);
  assert.equal(kept.services[0], first.services[2]);
  assert.equal(kept.services[1], changed);
  assert.equal(kept.services[2], first.services[0]);
});
