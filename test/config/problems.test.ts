// Each file in cases/ is a table of configurations with a mistake and exactly what an operator is told about it:
// "=== title", the configuration, "--->", the output.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { ConfigError, exitCodeOf } from '../../src/base/errors.ts';
import { checkAcrossServices } from '../../src/config/cross-rules.ts';
import { parseConfig } from '../../src/config/parse.ts';

const folder = new URL('cases/', import.meta.url);

for (const file of readdirSync(folder).toSorted()) {
  describe(`configuration problems: ${file.replace('.txt', '')}`, () => {
    for (const { title, text, output } of readCases(new URL(file, folder))) {
      it(title, () => assert.equal(problemsOf(text), output));
    }
  });
}

describe('a configuration with problems', () => {
  it('ends a command with the status for configurations', () => {
    assert.throws(
      () => parseConfig('version: 2', 'fairlead.yaml'),
      (error) => exitCodeOf(error) === 3,
    );
  });

  it('gives each problem as data', () => {
    assert.throws(() => parseConfig('version: 1\ninterfaces: { outside: eth0 }\nservises: {}\n', 'a.yaml'), {
      problems: [
        {
          severity: 'error',
          file: 'a.yaml',
          line: 3,
          column: 1,
          message: 'unknown key "servises"',
          sourceLine: 'servises: {}',
          hint: 'did you mean "services"?',
        },
      ],
    });
  });

  it('is one that asks for more than the data plane holds', () => {
    const service = parseConfig(
      'version: 1\ninterfaces: { outside: eth0 }\nservices: { a: { listen: [10.0.0.1:80/tcp, 10.0.0.1:81/tcp, 10.0.0.1:82/tcp], method: nat, servers: { a: 10.0.1.1, b: 10.0.1.2, c: 10.0.1.3, d: 10.0.1.4, e: 10.0.1.5 } } }',
      'fairlead.yaml',
    ).services[0];
    assert.ok(service);
    const messages = (count: number): string[] =>
      checkAcrossServices(Array.from({ length: count }, (_, i) => ({ ...service, name: `s${i}` })))
        .map(({ message }) => message)
        .filter((message) => message.endsWith('are the most'));
    assert.deepEqual(messages(10_922), []);
    assert.deepEqual(messages(16_385), [
      'there are 16385 services; 16384 are the most',
      'there are 81925 servers; 65536 are the most',
      'there are 49155 listens; 32768 are the most',
    ]);
  });

  it('takes no longer for each problem when there are 40,000 of them', () => {
    const servers = Array.from({ length: 40_000 }, (_, i) => `      s${i}: 10.0.0.${i}x\n`).join('');
    const head = 'version: 1\ninterfaces: { outside: eth0 }\nservices:\n  web:\n    listen: 10.0.0.1:80/tcp\n';
    const started = performance.now();
    const lines = problemsOf(`${head}    method: nat\n    servers:\n${servers}`).split('\n');
    assert.equal(lines.length, 120_000);
    // It takes two seconds on a slow machine; comparing each server with all others would take forty.
    assert.ok(performance.now() - started < 15_000, `took ${performance.now() - started} ms`);
  });
});

interface Case {
  readonly title: string;
  readonly text: string;
  readonly output: string;
}

function readCases(file: URL): Case[] {
  const blocks = readFileSync(file, 'utf8').split(/^=== /m).slice(1);
  return blocks.map((block) => {
    const match = /^(?<title>[^\n]*)\n(?<text>.*)--->\n(?<output>.*)\n\n$/s.exec(block);
    assert.ok(match?.groups, `a case without "--->": ${block}`);
    const { title = '', text = '', output = '' } = match.groups;
    return { title, text, output };
  });
}

function problemsOf(text: string): string {
  try {
    parseConfig(text, 'fairlead.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return String(error);
    throw error;
  }
  return 'no problem';
}
