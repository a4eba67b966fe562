// Reading a configuration file: everything that can be wrong before its first character is understood.

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import type { Config } from './config.ts';
import { parseConfig } from './parse.ts';
import { fileProblem } from './positions.ts';

/** Reads and parses the file at `path`. Throws ConfigError for whatever is wrong with it. */
export function loadConfig(path: string): Config {
  return parseConfig(readText(path), path);
}

function readText(path: string): string {
  const bytes = readBytes(path);
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw new ConfigError([findBadLine(bytes, path)]);
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError([explainUnread(path, (error as NodeJS.ErrnoException).code ?? String(error))]);
  }
}

function explainUnread(path: string, code: string): ConfigProblem {
  switch (code) {
    case 'ENOENT':
      return fileProblem(path, 'there is no such file', 'name the configuration with -c FILE');
    case 'ENOTDIR':
      return fileProblem(path, 'there is no such file, its folder is a file');
    case 'EISDIR':
      return fileProblem(path, 'this is a folder', 'name the file in it');
    case 'EACCES':
      return fileProblem(path, 'this file may not be read by this user', 'run as root, or mend its permissions');
    default:
      return fileProblem(path, `this file cannot be read: ${code}`);
  }
}

/** UTF-8 has no newline byte inside a character, so the lines can be tried one by one. */
function findBadLine(bytes: Buffer, path: string): ConfigProblem {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    const text = bytes.subarray(start, end);
    if (!isUtf8(text)) {
      const sourceLine = text.toString('utf8').replace(/\r$/, '');
      const column = sourceLine.indexOf('\uFFFD') + 1;
      return { ...fileProblem(path, 'this byte is not UTF-8', 'save the file as UTF-8'), line, column, sourceLine };
    }
    start = end + 1;
  }
  return fileProblem(path, 'this file is not UTF-8', 'save the file as UTF-8');
}
