// The small parts of which diagnoses are made: agents' lines, DNS messages, HTTP answers, certificates, patterns.

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { formatPattern, matcherOf, parsePattern } from '../../src/config/pattern.ts';
import { parseAgentWords } from '../../src/health/agent-words.ts';
import { formatDays, judgeCertificate } from '../../src/health/certificate.ts';
import { decodeReply, encodeQuestion } from '../../src/health/dns-message.ts';
import { makeGate } from '../../src/health/gate.ts';
import { makeHttpAnswer } from '../../src/health/http-answer.ts';
import { quote } from '../../src/health/words.ts';

describe("an agent's line", () => {
  for (const [line, isUp, weight, admin] of [
    ['up 75%', true, 75, 'ready'],
    ['75%', true, 75, null],
    ['drain', true, null, 'drain'],
    ['ready,50%', true, 50, 'ready'],
    ['maint # backup running', true, null, 'maintenance'],
    ['down # disk full', false, null, null],
    ['DRAIN up', true, null, 'drain'],
    ['stopped', false, null, null],
    ['up maxconn:30', true, null, 'ready'],
  ] as const) {
    it(`"${line}" is understood`, () => {
      const words = parseAgentWords(line);
      assert.deepEqual([words?.isUp, words?.advice], [isUp, { weight, admin }]);
    });
  }
  for (const line of ['', '# up', 'hello', '75']) {
    it(`"${line}" says nothing`, () => assert.equal(parseAgentWords(line), null));
  }
});

describe('a DNS reply', () => {
  const question = encodeQuestion(0x1234, 'www.test.', 'A');
  const head = (rcode: number, answers: number): Buffer => {
    const reply = Buffer.from(question);
    reply[2] = 0x81;
    reply[3] = 0x80 | rcode;
    reply.writeUInt16BE(answers, 6);
    return reply;
  };
  const record = (type: number, data: number[]): Buffer =>
    Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data]);

  it('has its code, and its answers as text', () => {
    const reply = Buffer.concat([
      head(0, 4),
      record(1, [192, 0, 2, 1]),
      record(28, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
      record(16, [2, 0x68, 0x69]),
      record(5, [3, 0x66, 0x6f, 0x6f, 0xc0, 16]),
    ]);
    assert.deepEqual(decodeReply(reply, question), {
      rcode: 'NOERROR',
      answers: ['192.0.2.1', '2001:db8:0:0:0:0:0:1', 'hi', 'foo.test'],
    });
    assert.equal(decodeReply(head(3, 0), question)?.rcode, 'NXDOMAIN');
    assert.equal(decodeReply(head(9, 0), question)?.rcode, 'RCODE 9');
  });

  it('is none when it answers something else, is a question, or is cut short anywhere', () => {
    const reply = Buffer.concat([head(0, 1), record(1, [192, 0, 2, 1])]);
    assert.equal(decodeReply(question, question), null);
    assert.equal(decodeReply(reply, encodeQuestion(0x1234, 'ftp.test', 'A')), null);
    assert.equal(decodeReply(reply, encodeQuestion(0x1235, 'www.test', 'A')), null);
    for (let length = 0; length < reply.length; length++) {
      assert.equal(decodeReply(reply.subarray(0, length), question), null, `${length} octets`);
    }
  });

  it('with a name that leads back to itself is none, and ends', () => {
    const loop = Buffer.concat([head(0, 1), Buffer.from([0xc0, question.length, 0, 1, 0, 1])]);
    assert.equal(decodeReply(loop, question), null);
  });
});

describe('an HTTP answer', () => {
  const read = (text: string, isHead = false, step = text.length) => {
    const answer = makeHttpAnswer(isHead);
    for (let at = 0; at < text.length; at += step) answer.add(text.slice(at, at + step));
    return answer;
  };
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n';

  for (const step of [1, 7, 1000]) {
    it(`is read in pieces of ${step}: status, body by length, by chunks, behind an interim answer`, () => {
      const plain = read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready', false, step);
      assert.deepEqual(
        [plain.problem(), plain.status(), plain.body(), plain.bodyIsWhole()],
        [null, 200, 'ready', true],
      );
      const inChunks = read(chunked, false, step);
      assert.deepEqual([inChunks.body(), inChunks.bodyIsWhole()], ['ready', true]);
      const later = read(`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${chunked}`, false, step);
      assert.deepEqual([later.problem(), later.status(), later.body()], [null, 200, 'ready']);
    });
  }

  it('is not whole before its end', () => {
    for (let length = 1; length < chunked.length - 5; length++) {
      const answer = read(chunked.slice(0, length));
      assert.deepEqual([answer.problem(), answer.bodyIsWhole()], [null, false], chunked.slice(0, length));
    }
  });

  it('to HEAD, or with a status that has none, has no body to wait for', () => {
    assert.equal(read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', true).bodyIsWhole(), true);
    assert.equal(read('HTTP/1.0 204 No Content\r\n\r\n').bodyIsWhole(), true);
  });

  it('is found to be none at the first octet that cannot be', () => {
    assert.equal(read('S').problem(), 'the answer is not HTTP');
    assert.equal(read('HTTP/2').problem(), 'the answer is not HTTP');
    assert.equal(read('HTTP/1.1 2x').problem(), 'the answer is not HTTP');
    assert.equal(read('HTTP/1.1 200').problem(), null);
  });
});

describe('a certificate', () => {
  const nowMs = Date.parse('2026-01-10T00:00:00Z');
  const options = { sni: null, verify: true, ca: null, warnDays: 14 };
  const dates = (from: string, to: string) => ({ valid_from: from, valid_to: to });
  const good = dates('2025-01-01T00:00:00Z', '2026-12-31T00:00:00Z');
  const judge = (certificate: object, more: object = {}) =>
    judgeCertificate(certificate, { options, fault: null, nameFault: null, nowMs, ...more });

  it('that is good gives no cause for words', () => assert.deepEqual(judge(good), { problem: null, warning: null }));
  it('that ends soon is warned of', () => {
    assert.equal(judge(dates('2025-01-01', '2026-01-13T01:00:00Z')).warning, 'certificate expires in 3 days');
  });
  it('that has ended is refused for that before anything else', () => {
    const ended = dates('2025-01-01', '2026-01-06T23:00:00Z');
    assert.equal(judge(ended, { fault: 'DEPTH_ZERO_SELF_SIGNED_CERT' }).problem, 'certificate expired 3 days ago');
    assert.deepEqual(judge(ended, { options: { ...options, verify: false } }), {
      problem: null,
      warning: 'certificate expired 3 days ago',
    });
  });
  it('of nobody that is trusted, or for somebody else, is refused', () => {
    assert.match(judge(good, { fault: 'DEPTH_ZERO_SELF_SIGNED_CERT' }).problem ?? '', /self-signed/);
    assert.equal(judge(good, { fault: 'CERT_SOMETHING_NEW' }).problem, 'certificate refused: cert something new');
    assert.equal(
      judge({ ...good, subjectaltname: 'DNS:a.test, DNS:b.test' }, { nameFault: 'c.test' }).problem,
      'certificate is for a.test, b.test, not for c.test',
    );
  });
  it('has its time told in whole days or hours', () => {
    assert.deepEqual([3_600_000, 7_200_000, 86_400_000, 1e9].map(formatDays), [
      '1 hour',
      '2 hours',
      '1 day',
      '11 days',
    ]);
  });
});

describe('a pattern', () => {
  it('is a text as it stands, or an expression between slashes', () => {
    const cases: [string, string, boolean][] = [
      ['a.c', 'abc', false],
      ['a.c', 'xa.cx', true],
      ['/a.c/', 'abc', true],
      ['/^READY$/im', 'not\nready\n', true],
      ['/x/y/', 'x/y', true],
      ['/half', '/half', true],
    ];
    for (const [written, text, isMatch] of cases) {
      const parsed = parsePattern(written);
      assert.ok('value' in parsed);
      assert.equal(matcherOf(parsed.value)(text), isMatch, written);
    }
    assert.ok('problem' in parsePattern('/(/'));
    assert.equal(formatPattern({ written: 'a"b', isRegExp: false }), String.raw`"a\"b"`);
  });
});

test('a quote of a server is one short printable line', () => {
  assert.equal(quote('a\r\n\u0000b'), '"a.b"');
  assert.equal(quote('x'.repeat(100)), `"${'x'.repeat(60)}…"`);
});

test('a gate lets in what it has room for, in order, and never too many in one turn', async () => {
  const gate = makeGate(2);
  const seen: number[] = [];
  const leaves: (() => void)[] = [];
  const entered = [1, 2, 3, 4].map(async (n) => {
    leaves.push(await gate.enter());
    seen.push(n);
  });
  await Promise.all(entered.slice(0, 2));
  assert.deepEqual([seen, gate.inside(), gate.waiting()], [[1, 2], 2, 2]);
  leaves[0]!();
  leaves[0]!();
  await entered[2];
  assert.deepEqual([seen, gate.inside(), gate.waiting()], [[1, 2, 3], 2, 1]);
  leaves[1]!();
  leaves[2]!();
  await entered[3];
  leaves[3]!();
  assert.deepEqual([seen, gate.inside(), gate.waiting()], [[1, 2, 3, 4], 0, 0]);

  const wide = makeGate(10_000);
  const all = Array.from({ length: 1000 }, () => wide.enter());
  assert.ok(wide.inside() < 100, `${wide.inside()} at once`);
  await Promise.all(all);
  assert.equal(wide.inside(), 1000);
});
