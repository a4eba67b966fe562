import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';

const MODULE = new URL('../../src/base/log.ts', import.meta.url);

describe('the log', () => {
  it('is JSON lines on stdout with level, time and instance, down to its level', () => {
    const program = `import { makeLogger } from ${JSON.stringify(MODULE.href)};
      const log = makeLogger('info', 'edge-1');
      log.debug('unseen');
      log.info({ service: 'web' }, 'server is up');
      log.level = 'debug';
      log.debug('seen');`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    const lines = stdout.trim().split('\n').map(parseLine);
    assert.deepEqual(
      lines.map(({ time: _time, ...line }) => line),
      [
        { level: 'info', instance: 'edge-1', service: 'web', msg: 'server is up' },
        { level: 'debug', instance: 'edge-1', msg: 'seen' },
      ],
    );
    assert.match(String(lines[0]?.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });
});

function parseLine(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}
