import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError, exitCodeOf, FairleadError, formatConfigProblem } from '../../src/base/errors.ts';

describe('an error', () => {
  it('decides the exit status by its code', () => {
    const codes = ['failed', 'usage', 'config', 'unreachable', 'not-found', 'timeout', 'refused'] as const;
    const statuses = codes.map((code) => exitCodeOf(new FairleadError(code, 'it went wrong')));
    assert.deepEqual(statuses, [1, 2, 3, 4, 5, 6, 7]);
  });

  it('of another kind is a plain failure', () => {
    assert.equal(exitCodeOf(new TypeError('x')), 1);
    assert.equal(exitCodeOf('x'), 1);
  });

  it('carries its mend and its cause', () => {
    const cause = new Error('EPERM');
    const error = new FairleadError('refused', 'no privileges', { mend: 'run as root', cause });
    assert.equal(error.mend, 'run as root');
    assert.equal(error.cause, cause);
    assert.equal(String(error), 'FairleadError: no privileges');
    assert.ok(!('mend' in new FairleadError('failed', 'x')));
  });
});

describe('a configuration problem', () => {
  const problem = { severity: 'error', file: 'a.yaml', line: 7, column: 5, message: 'unknown key "x"' } as const;

  it('prints place, hint, source line and caret', () => {
    const hinted = { ...problem, sourceLine: '    x: 1', hint: 'did you mean "y"?' };
    assert.equal(
      formatConfigProblem(hinted),
      'a.yaml:7:5: unknown key "x"; did you mean "y"?\n    7 |     x: 1\n      |     ^',
    );
  });

  it('keeps the tabs of its line before the caret', () => {
    const tabbed = { ...problem, column: 4, sourceLine: 'a:\tx' };
    assert.equal(formatConfigProblem(tabbed), 'a.yaml:7:4: unknown key "x"\n    7 | a:\tx\n      |   \t^');
  });

  it('says when it is only a warning', () => {
    const warning = { ...problem, severity: 'warning', line: 0, sourceLine: '' } as const;
    assert.equal(formatConfigProblem(warning), 'a.yaml: warning: unknown key "x"');
  });

  it('stays in line with its source when the number is long', () => {
    const far = { ...problem, line: 123_456, column: 1, sourceLine: 'x: 1' };
    assert.equal(formatConfigProblem(far), 'a.yaml:123456:1: unknown key "x"\n123456 | x: 1\n       | ^');
  });

  it('is one of many in an error that prints them all', () => {
    const error = new ConfigError([
      { ...problem, sourceLine: '    x: 1' },
      { ...problem, line: 0, sourceLine: '' },
    ]);
    assert.equal(
      String(error),
      'a.yaml:7:5: unknown key "x"\n    7 |     x: 1\n      |     ^\na.yaml: unknown key "x"',
    );
    assert.equal(error.code, 'config');
  });
});
