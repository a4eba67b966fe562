import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';

const folder = mkdtempSync(join(tmpdir(), 'fairlead-config-'));
after(() => rmSync(folder, { recursive: true }));

describe('loading a configuration', () => {
  it('reads a file', () => {
    const path = write('good.yaml', 'version: 1\ninterfaces: { outside: eth0 }\nservices: {}\n');
    assert.equal(loadConfig(path).interfaces.outside, 'eth0');
  });

  it('names the file in its problems', () => {
    const path = write('bad.yaml', 'version: 3\n');
    const place = `${path}:1:10: "version" must be 1`;
    assert.ok(outputOf(path).includes(place), outputOf(path));
  });

  it('says that a file is missing', () => {
    const path = join(folder, 'none.yaml');
    assert.equal(outputOf(path), `${path}: there is no such file; name the configuration with -c FILE`);
  });

  it('says that a folder of the path is a file', () => {
    const path = join(write('file', ''), 'fairlead.yaml');
    assert.equal(outputOf(path), `${path}: there is no such file, its folder is a file`);
  });

  it('says that a folder is no file', () => {
    assert.equal(outputOf(folder), `${folder}: this is a folder; name the file in it`);
  });

  it('says that a file is empty', () => {
    const path = write('empty.yaml', '');
    assert.equal(outputOf(path), `${path}: there is nothing in this file`);
  });

  it('says where a file is not UTF-8', () => {
    const path = write('latin.yaml', Buffer.from('version: 1\r\nname: fr\u00FCh # ok\r\n', 'latin1'));
    assert.equal(
      outputOf(path),
      `${path}:2:9: this byte is not UTF-8; save the file as UTF-8\n    2 | name: fr\uFFFDh # ok\n      |         ^`,
    );
  });
});

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function outputOf(path: string): string {
  try {
    loadConfig(path);
  } catch (error) {
    return String(error);
  }
  return 'no problem';
}
