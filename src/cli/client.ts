// Asks the daemon over its control socket. Every failure becomes a FairleadError, so that it prints and exits like any
// other.

import { type IncomingMessage, request } from 'node:http';
import { type ErrorCode, FairleadError } from '../base/errors.ts';

export interface Client {
  readonly socket: string;
  get<T>(path: string, query?: Query): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  /** An answer in lines, each one JSON. With `isEndless` it may be silent for as long as it likes. */
  lines(path: string, query?: Query, isEndless?: boolean): AsyncGenerator<string>;
}

export type Query = Readonly<Record<string, string | number | undefined>>;

/** A reload may wait for first checks of new servers; nothing else takes a second. */
const TIMEOUT_MS = 30_000;

export function makeClient(socket: string): Client {
  return {
    socket,
    get: async <T>(path: string, query: Query = {}) =>
      JSON.parse(await text(await ask(socket, 'GET', path + queryText(query)))) as T,
    post: async <T>(path: string, body?: unknown) => JSON.parse(await text(await ask(socket, 'POST', path, body))) as T,
    lines: (path, query = {}, isEndless = false) => linesOf(socket, path + queryText(query), isEndless),
  };
}

async function* linesOf(socket: string, path: string, isEndless: boolean): AsyncGenerator<string> {
  let rest = '';
  const answer = await ask(socket, 'GET', path);
  if (isEndless) answer.socket.setTimeout(0);
  answer.setEncoding('utf8');
  for await (const chunk of answer) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  // Each line ends: a rest means that the daemon ended in the middle of one.
  if (rest !== '') throw new FairleadError('failed', `fairlead on ${socket} ended in the middle of its answer`);
}

/** Resolves with a good answer whose body is still to be read. */
async function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const asked = request({ socketPath, method, path, headers, timeout: TIMEOUT_MS, agent: false }, resolve);
    asked.once('timeout', () => {
      const message = `fairlead on ${socketPath} did not answer within ${TIMEOUT_MS / 1000} seconds`;
      asked.destroy(new FairleadError('timeout', message));
    });
    asked.once('error', (error) => reject(explain(error, socketPath)));
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
  if (answer.statusCode === 200) return answer;
  throw refusalOf(await text(answer));
}

async function text(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function refusalOf(body: string): FairleadError {
  const { error } = JSON.parse(body) as { error: { code: ErrorCode; message: string; mend?: string } };
  return new FairleadError(error.code, error.message, error.mend === undefined ? {} : { mend: error.mend });
}

function explain(error: NodeJS.ErrnoException, socket: string): Error {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new FairleadError('unreachable', `no fairlead answers on ${socket}`, {
        mend: 'start it with "fairlead up -c FILE", or name its socket with -s PATH',
      });
    case 'EACCES':
      return new FairleadError('unreachable', `this user may not use ${socket}`, {
        mend: 'run as root, or as a member of the group that control.group names',
      });
    case 'ECONNRESET':
      return new FairleadError('unreachable', `fairlead on ${socket} ended before it answered`);
    default:
      return error;
  }
}

function queryText(query: Query): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, String(value));
  return given.size === 0 ? '' : `?${given.toString()}`;
}
