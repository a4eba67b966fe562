import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted, formatAge, formatFacts, formatTable } from '../../src/cli/output.ts';
import { formatServers } from '../../src/cli/servers.ts';
import { formatFlows } from '../../src/cli/flows.ts';
import { formatDrops } from '../../src/cli/drops.ts';
import { formatOctets } from '../../src/plane/capacity.ts';

const columns = [
  { title: 'NAME', cell: ({ name }: { name: string }) => name },
  { title: 'FLOWS', cell: ({ flows }: { flows: number }) => String(flows), align: 'right' as const },
  { title: 'WHY', cell: () => '' },
];

test('a table has its columns aligned, figures to the right, and no blanks at line ends', () => {
  const text = formatTable(columns, [
    { name: 'web-1', flows: 7 },
    { name: 'größter', flows: 12_345 },
  ]);
  assert.equal(text, ['NAME     FLOWS  WHY', 'web-1        7', 'größter  12345'].join('\n'));
});

test('only a terminal gets bold titles', () => {
  const rows = [{ name: 'a', flows: 1 }];
  assert.equal(formatTable(columns, rows).includes('\x1B'), false);
  assert.ok(formatTable(columns, rows, true).startsWith('\x1B[1mNAME  FLOWS  WHY\x1B[0m\n'));
});

test('facts stand one below the other', () => {
  assert.equal(
    formatFacts([
      ['since', 'today'],
      ['flows', ''],
      ['a', 'b'],
    ]),
    'since  today\nflows\na      b',
  );
});

test('times, sizes and counts are short', () => {
  assert.deepEqual([0, 9949, 59_999, 75_000, 3_660_000, 270_000_000].map(formatAge), [
    '0.0s',
    '9.9s',
    '59s',
    '1m15s',
    '1h1m',
    '3d3h',
  ]);
  assert.deepEqual([0, 999, 1024, 1536, 96_468_992, 1.5 * 2 ** 30].map(formatOctets), [
    '0 B',
    '999 B',
    '1 KiB',
    '1.5 KiB',
    '92 MiB',
    '1.5 GiB',
  ]);
  assert.deepEqual([counted(1, 'flow'), counted(1200, 'flow')], ['1 flow', '1,200 flows']);
});

test('a server that gets no flows shows the weight it would have, and why', () => {
  const server = {
    service: 'web',
    server: 'web-2',
    address: '10.0.1.12:8080',
    weight: 0,
    configuredWeight: 3,
    overriddenWeight: null,
    state: 'down' as const,
    reason: 'connection refused',
    total: 4,
    active: 1,
    inactive: 2,
    open: 3,
    drainEndsInMs: null,
    maxFlows: 1000,
    handshakeMs: 0.42,
    inFrames: 10,
    inOctets: 2048,
    outFrames: 9,
    outOctets: 1,
    isBackup: false,
    nextHop: null,
  };
  const [, line] = formatServers([server]).split('\n');
  assert.match(
    line ?? '',
    /^web {6}web-2 {3}10\.0\.1\.12:8080 {2}down {3}0 of 3 .* 3 of 1,000 {6}0\.4ms .* unknown {3}connection refused$/,
  );
});

async function linesOf(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

test('flows line up under their titles, however long addresses are and however many flows there are', async () => {
  const flow = {
    service: 'web',
    server: 'web-1',
    protocol: 'tcp',
    client: '198.51.100.7:40000',
    vip: '203.0.113.10:80',
    address: '10.0.1.11:8080',
    local: null,
    state: 'established',
    idleMs: 1500,
    ageMs: 2000,
    expiresInMs: 898_500,
    interface: 'eth0',
    mac: '02:00:00:00:00:07',
  };
  const wide = { ...flow, client: '[2001:db8:1111:2222:3333:4444:5555:6666]:40000', vip: '[2001:db8::10]:80' };
  async function* flows(): AsyncGenerator<typeof flow> {
    yield wide;
    for (let more = 0; more < 2000; more++) yield flow;
  }
  const [titles = '', first = '', ...others] = await linesOf(formatFlows(flows()));
  assert.equal(first.indexOf('[2001:db8::10]:80/tcp'), titles.indexOf('VIP'));
  assert.equal(others.length, 2000);
  for (const line of others) {
    assert.equal(line.indexOf('203.0.113.10:80/tcp'), titles.indexOf('VIP'));
    assert.equal(line.length, titles.length);
  }
});

test('a listing without flows says so', async () => {
  async function* none(): AsyncGenerator<never> {}
  assert.deepEqual(await linesOf(formatFlows(none())), ['no flow is tracked, or none of that kind']);
});

test('drops show what was dropped, and everything when asked', () => {
  const reasons = [
    { isBackup: false, reason: 'client-hit', verdict: 'forwarded', count: 5, meaning: "a client's frame" },
    { reason: 'refused-no-server', verdict: 'answered', count: 4, meaning: 'the service has no server' },
    { reason: 'land', verdict: 'dropped', count: 2, meaning: 'source and destination are the same' },
    { reason: 'short-frame', verdict: 'dropped', count: 0, meaning: 'the frame ends inside a header' },
  ];
  const drops = { reasons, ringDrops: 3, sendErrors: 0 };
  const some = formatDrops(drops, false);
  assert.match(some, /land/);
  assert.match(some, /4 +answered +refused-no-server/);
  assert.doesNotMatch(some, /client-hit|short-frame/);
  assert.match(some, /a ring was full {2}3/);
  assert.match(formatDrops(drops, true), /client-hit[^]*short-frame/);
  assert.match(formatDrops({ ...drops, reasons: [] }, false), /^no frame was dropped/);
});
