import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatConfigProblem } from '../../src/base/errors.ts';
import { findMissingFiles } from '../../src/control/programs.ts';
import { configOf } from '../plane/targets.ts';

test('programs and authorities that are not there, or may not be run, are warned of where they are named', () => {
  const config = configOf(
    `
  web:
    listen: 203.0.113.10:80/tcp
    method: nat
    check: [{ type: exec, command: [/bin/sh, -c, 'true'] }, { type: exec, command: [/nowhere/probe] }]
    servers:
      web-1: 10.0.1.11
      web-2: { address: 10.0.1.12, check: { type: https, ca: /nowhere/ca.pem } }
`,
    'notify: [{ exec: [/etc/passwd] }, { webhook: "http://192.0.2.1/" }]',
  );
  assert.deepEqual(
    findMissingFiles(config).map((warning) => formatConfigProblem(warning).split('\n')[0]),
    [
      'test.yaml:3:10: warning: /etc/passwd cannot be run',
      'test.yaml:9:5: warning: /nowhere/probe is not there',
      'test.yaml:12:36: warning: /nowhere/ca.pem is not there',
    ],
  );
});
