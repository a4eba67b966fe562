// Servers that break in every way there is, on real sockets: each is found out with the right words by the `fall`th check
// that began after it broke, and found to be well again by the `rise`th after it was mended. That such checks come every
// `every`, and end with their time-out, is proved with a clock moved by hand (monitor.test.ts): together they are the
// promise of fall × (every + timeout), and no busy machine can break it here.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeSystemClock } from '../../src/base/clock.ts';
import { waitUntil } from '../../src/cli/wait-until.ts';
import { parseConfig } from '../../src/config/parse.ts';
import type { CheckKind } from '../../src/config/check.ts';
import { makeProber } from '../../src/health/make-probe.ts';
import type { CheckTarget } from '../../src/health/check.ts';
import { type Monitor, makeMonitor } from '../../src/health/monitor.ts';
import { makeTimers } from '../../src/health/timers.ts';
import { openRawProber } from '../../src/plane/raw-prober.ts';
import { makeCertificates } from './certificates.ts';
import {
  certificateServer,
  datagramServer,
  drip,
  type OddServer,
  pour,
  stoppedServer,
  streamServer,
  vanishingDatagramServer,
  vanishingServer,
} from './odd-servers.ts';

const noPath = (): never => {
  throw new Error('nothing here goes through the path');
};

const everyMs = 200;
/** What a healthy server may take, on a machine that does much else. */
const timeoutMs = 1000;
const rise = 2;
const fall = 2;
/** For the whole of it, however busy the machine. */
const DEADLINE_MS = 60_000;

const certificates = makeCertificates();
const flag = join(tmpdir(), `fairlead-odd-${process.pid}`);
const http = (more = ''): string => `{ type: http, path: /, body: ready ${more} }`;
const https = (more = ''): string => `{ type: https, ca: ${certificates.ca}, sni: www.test ${more} }`;
const headers = 'HTTP/1.1 200 OK\r\n\r\n';

interface Case {
  readonly title: string;
  readonly check: string;
  readonly make: () => Promise<OddServer>;
  readonly says: RegExp;
}

const none: () => Promise<OddServer> = async () => ({ port: 9, break: () => {}, mend: () => {}, close: () => {} });

/** Answers a DNS question with a code and no answers. */
function dnsReply(question: Buffer, rcode: number): Buffer {
  const reply = Buffer.from(question);
  reply[2]! |= 0x80;
  reply[3] = rcode;
  return reply;
}

const cases: readonly Case[] = [
  {
    title: 'accepts and hangs',
    check: http(),
    make: () => streamServer(() => {}),
    says: /^connected, but no HTTP answer within 1 s$/,
  },
  {
    title: 'resets what it accepted',
    check: http(),
    make: () => streamServer((socket) => void socket.resetAndDestroy()),
    says: /^connection reset/,
  },
  {
    title: 'closes without an answer',
    check: http(),
    make: () => streamServer((socket) => void socket.end()),
    says: /^connection closed without an answer$/,
  },
  {
    title: 'has a slow body',
    check: http(),
    make: () => streamServer(drip(headers)),
    says: /^status 200, but the body did not bring "ready" within 1 s$/,
  },
  {
    title: 'has an endless body',
    check: http(),
    make: () => streamServer(pour(headers)),
    says: /^status 200, the first 64 KiB of the body lack "ready"$/,
  },
  {
    title: 'has endless headers',
    check: http(),
    make: () => streamServer(pour('HTTP/1.1 200 OK\r\nX: ')),
    says: /^the answer's headers are longer than 16 KiB$/,
  },
  {
    title: 'stops in the middle of the status line',
    check: http(),
    make: () => streamServer((socket) => void socket.write('HTTP/1.1 20')),
    says: /^the answer began, but its head did not end within 1 s$/,
  },
  {
    title: 'closes in the middle of the status line',
    check: http(),
    make: () => streamServer((socket) => void socket.end('HTTP/1.1 20')),
    says: /^the answer breaks off in its head$/,
  },
  {
    title: 'speaks another protocol',
    check: http(),
    make: () => streamServer((socket) => void socket.write('SSH-2.0-OpenSSH\r\n')),
    says: /^the answer is not HTTP$/,
  },
  {
    title: 'is unavailable',
    check: http(),
    make: () => streamServer((socket) => void socket.end('HTTP/1.1 503 No\r\n\r\n')),
    says: /^status 503$/,
  },
  {
    title: 'has another body',
    check: http(),
    make: () => streamServer((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbusy')),
    says: /^status 200, body lacks "ready"$/,
  },
  {
    title: 'is stopped (SIGSTOP)',
    check: http(),
    make: stoppedServer,
    says: /^connected, but no HTTP answer within 1 s$/,
  },
  {
    title: 'has no banner',
    check: '{ type: content, expect: /^220 / }',
    make: () => streamServer(() => {}, '220 ready\r\n'),
    says: /^connected, but not a word within 1 s$/,
  },
  {
    title: 'has another banner',
    check: String.raw`{ type: content, send: "QUIT\r\n", expect: "220" }`,
    make: () => streamServer((socket) => void socket.end('554 go away\r\n'), '220 ready\r\n'),
    says: /^got "554 go away\.", not "220"$/,
  },
  {
    title: 'speaks no TLS',
    check: https(),
    make: async () => {
      const server = await certificateServer(certificates, { name: 'www.test', days: 90 }, { name: 'x', days: 90 });
      const plain = await streamServer((socket) => void socket.write('220 hello\r\n'), '');
      await plain.break();
      // Two servers, of which the check is moved from one to the other by a relay in between.
      return relayed(server, plain);
    },
    says: /^the answer is not TLS$/,
  },
  {
    title: 'has an expired certificate',
    check: https(),
    make: () => certificateServer(certificates, { name: 'www.test', days: 90 }, { name: 'www.test', days: -4 }),
    says: /^certificate expired 3 days ago$/,
  },
  {
    title: 'has a certificate for another name',
    check: https(),
    make: () => certificateServer(certificates, { name: 'www.test', days: 90 }, { name: 'mail.test', days: 90 }),
    says: /^certificate is for mail\.test, not for www\.test$/,
  },
  {
    title: 'is not there any more (tcp)',
    check: '{ type: tcp }',
    make: vanishingServer,
    says: /^connection refused$/,
  },
  {
    title: 'is not there any more (half-open)',
    check: '{ type: tcp-half-open }',
    make: vanishingServer,
    says: /^connection refused$/,
  },
  {
    title: 'answers pings only',
    check: '[{ type: icmp }, { type: tcp }]',
    make: vanishingServer,
    says: /^connection refused$/,
  },
  {
    title: 'is not there any more (udp)',
    check: '{ type: udp, send: hello }',
    make: vanishingDatagramServer,
    says: /^port unreachable: nobody listens there$/,
  },
  {
    title: 'keeps silent (udp)',
    check: '{ type: udp, send: ping, expect: pong }',
    make: () => datagramServer((_question, isBroken) => (isBroken ? null : Buffer.from('pong'))),
    says: /^no answer within 1 s$/,
  },
  {
    title: 'cannot resolve (dns)',
    check: '{ type: dns, name: www.test }',
    make: () => datagramServer((question, isBroken) => dnsReply(question, isBroken ? 2 : 0)),
    says: /^SERVFAIL for www\.test A$/,
  },
  {
    title: 'answers another question (dns)',
    check: '{ type: dns, name: www.test }',
    make: () =>
      datagramServer((question, isBroken) => {
        const reply = dnsReply(question, 0);
        if (isBroken) reply[0]! ^= 1;
        return reply;
      }),
    says: /^an answer, but none to the question, within 1 s$/,
  },
  {
    title: 'has a program that finds fault',
    check: `{ type: exec, command: [/bin/sh, -c, 'test ! -e ${flag} || { echo disk full; exit 3; }'] }`,
    make: async () => ({
      ...(await none()),
      break: () => writeFileSync(flag, ''),
      mend: () => rmSync(flag),
    }),
    says: /^exit code 3: "disk full"$/,
  },
  {
    title: 'has a program that does not end',
    check: `{ type: exec, command: [/bin/sh, -c, 'test ! -e ${flag}.slow || sleep 60'] }`,
    make: async () => ({
      ...(await none()),
      break: () => writeFileSync(`${flag}.slow`, ''),
      mend: () => rmSync(`${flag}.slow`),
    }),
    says: /^the program did not end within 1 s$/,
  },
  {
    title: 'has an agent that says so',
    check: '{ type: agent, port: PORT }',
    make: () => streamServer((socket) => void socket.end('down # disk full\n'), 'up 75%\n'),
    says: /^the agent says "down # disk full"$/,
  },
];

/** Hands connections on to `good`, and once broken to `bad`. */
async function relayed(good: OddServer, bad: OddServer): Promise<OddServer> {
  let isBroken = false;
  const server = createServer((socket) => {
    const onward = connect((isBroken ? bad : good).port, '127.0.0.1');
    for (const end of [socket, onward]) {
      end.on('error', () => undefined);
      end.once('close', () => {
        socket.destroy();
        onward.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    break: () => void (isBroken = true),
    mend: () => void (isBroken = false),
    close: () => {
      server.close();
      good.close();
      bad.close();
    },
  };
}

function kindsOf(check: string, port: number): CheckKind[] {
  const text = `version: 1\ninterfaces: { outside: eth0 }\nservices: { web: { listen: ["10.0.0.1:80/tcp", "10.0.0.1:80/udp"], method: full-nat, check: ${check.replace('PORT', String(port))}, servers: { a: 10.0.0.2 } } }`;
  return (parseConfig(text, 'odd.yaml').services[0]?.check?.checks ?? []).map(({ kind }) => kind);
}

const raw = openRawProber();
const timers = makeTimers(makeSystemClock());
const prober = makeProber({ timers, raw: () => raw, path: noPath });
/** When checks began, by key. */
const begun = new Map<string, number[]>();
const changes = new Map<string, { key: string; state: string; reason: string; atMs: number }[]>();
const servers: OddServer[] = [];
let monitor: Monitor;

/** The state of a case: of several checks the worst. */
const isIn = (title: string, state: string): boolean => {
  const states = monitor.reports().flatMap(({ target, state: its }) => (target.key.startsWith(`${title}#`) ? its : []));
  return state === 'down' ? states.includes('down') : states.every((its) => its === 'up');
};

before(async () => {
  for (const one of cases) servers.push(await one.make());
  monitor = makeMonitor({
    clock: timers,
    probe: (target, signal) => {
      const { key } = target as CheckTarget;
      begun.set(key, [...(begun.get(key) ?? []), performance.now()]);
      return prober.probe(target, signal);
    },
    onChange: (key, state, reason) => {
      const title = key.slice(0, key.indexOf('#'));
      changes.set(title, [...(changes.get(title) ?? []), { key, state, reason, atMs: performance.now() }]);
    },
  });
  monitor.update(
    cases.flatMap(({ title, check }, index) => {
      const { port } = servers[index]!;
      const common = { via: null, address: '127.0.0.1', everyMs, fastEveryMs: everyMs, rise, fall } as const;
      return kindsOf(check, port).map((kind, i) => ({
        ...common,
        key: `${title}#${i}`,
        kind,
        port: kind.type === 'icmp' ? null : port,
        timeoutMs,
      }));
    }),
  );
});

after(() => {
  monitor.stop();
  raw.close();
  for (const server of servers) server.close();
  certificates.remove();
  for (const file of [flag, `${flag}.slow`]) rmSync(file, { force: true });
});

test('every kind of server is well before it breaks', async () => {
  await waitUntil(() => cases.every(({ title }) => isIn(title, 'up')), DEADLINE_MS);
  assert.deepEqual(
    cases.filter(({ title }) => !isIn(title, 'up')).map(({ title }) => `${title}: ${reasonOf(title)}`),
    [],
  );
});

/** Breaks or mends all of them, and counts how many checks each then takes to be in the state. */
async function turn(state: 'up' | 'down', most: number): Promise<void> {
  const turnedMs = new Map<string, number>();
  for (const [index, { title }] of cases.entries()) {
    await (state === 'down' ? servers[index]!.break() : servers[index]!.mend());
    turnedMs.set(title, performance.now());
  }
  await waitUntil(() => cases.every(({ title }) => isIn(title, state)), DEADLINE_MS);
  for (const { title, says } of cases) {
    assert.ok(isIn(title, state), `${title} is not ${state}: ${reasonOf(title)}`);
    const last = changes.get(title)?.findLast((change) => change.state === state);
    assert.ok(last);
    const checks = begun.get(last.key)?.filter((atMs) => turnedMs.get(title)! < atMs && atMs < last.atMs) ?? [];
    assert.ok(checks.length <= most, `${title} took ${checks.length} checks to be ${state}`);
    if (state === 'down') assert.match(last.reason, says, title);
  }
}

function reasonOf(title: string): string {
  const reports = monitor.reports().filter(({ target }) => target.key.startsWith(`${title}#`));
  return reports.map(({ last, state }) => `${state}, ${last?.reason ?? 'nothing'}`).join('; ');
}

test('each is down by its second check after it broke, and the words say why', () => turn('down', fall));

test('each is up again by its second check after it was mended', () => turn('up', rise));

test('what its checks used is given back, programs and their children too', async () => {
  monitor.stop();
  assert.ok(await waitUntil(() => prober.load().sockets === 0 && prober.load().programs === 0, DEADLINE_MS));
  assert.equal(prober.load().waiting, 0);
  assert.equal(existsSync(flag), false);
});
