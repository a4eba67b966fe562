// How a running daemon and its successor speak while one takes over from the other: lines over a Unix socket that the
// successor opens. It ends with either process, however that ends, so each of them knows that the other is gone.
//
//   successor                                predecessor
//       │ POST /v1/handover {successor: PATH}    │   control socket
//       │ ◀────────────── connects to PATH ───── │
//       │                                        │   ends checks, commits, control socket, engine; lets go of the region
//       │ ◀── PATH.rings: packet sockets (inherit.c) │
//       │ ◀──────────────────────────── yours ── │
//   adopts the region, forwards, checks servers  │   waits
//       │ ── alive, once a second ─────────────▶ │
//       │ ── ready ────────────────────────────▶ │   exits with 0
//
// A successor that ends, or is silent, before it said "ready" has failed: the predecessor takes the region up again.

import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { FairleadError } from '../base/errors.ts';

/** Of who hands over. */
export interface Successor {
  /** The region and the control socket are free. */
  letGo(): void;
  /** Null: it is ready. Else why it will never be, in words. */
  readonly outcome: Promise<string | null>;
  close(): void;
}

/** Of who takes over. */
export interface Predecessor {
  /** Throws when the other one waits no more, and wants its region back. */
  requireWaiting(): void;
  /** Has the other one end; resolves when it has heard it. */
  ready(): Promise<void>;
  close(): void;
}

/** A large region takes seconds to map, in which a process says nothing. */
const SILENCE_MS = 30_000;
const ALIVE_EVERY_MS = 1000;

export function handoverPath(controlSocket: string): string {
  return `${controlSocket}.next`;
}

/** Where the successor waits for packet sockets. */
export function ringsPath(successor: string): string {
  return `${successor}.rings`;
}

/** Throws `refused` when nobody listens there. */
export async function reachSuccessor(path: string, silenceMs: number = SILENCE_MS): Promise<Successor> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) =>
      reject(new FairleadError('refused', `the successor is not to be reached: ${error.message}`)),
    );
  });
  const { promise: outcome, resolve: settle } = Promise.withResolvers<string | null>();
  const fail = (why: string): void => {
    settle(why);
    socket.destroy();
  };
  socket.setTimeout(silenceMs, () => fail(`it was silent for ${silenceMs / 1000} s`));
  onLine(socket, (line) => {
    if (line === 'ready') settle(null);
  });
  socket.on('error', () => undefined);
  socket.once('close', () => fail('it ended'));
  return {
    letGo: () => socket.write('yours\n'),
    outcome,
    close: () => socket.destroy(),
  };
}

/**
 * Has the daemon that `ask` reaches hand over, and resolves when it has let go. Throws what `ask` throws, and `failed`
 * when the other one ends or is silent on the way.
 */
export async function takeOver(path: string, ask: () => Promise<unknown>): Promise<Predecessor> {
  const { promise: connected, resolve: sayConnected } = Promise.withResolvers<Socket>();
  const server = createServer(sayConnected);
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  try {
    chmodSync(path, 0o600);
    await ask();
    const socket = await within(connected, () => undefined);
    const freed = new Promise<void>((resolve, reject) => {
      onLine(socket, (line) => {
        if (line === 'yours') resolve();
      });
      socket.on('error', () => undefined);
      socket.once('close', () => reject(new FairleadError('failed', 'the predecessor ended before it handed over')));
    });
    await within(freed, () => socket.destroy());
    return predecessorOn(socket);
  } finally {
    server.close();
  }
}

function predecessorOn(socket: Socket): Predecessor {
  const beat = setInterval(() => socket.write('alive\n'), ALIVE_EVERY_MS);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  void closed.then(() => clearInterval(beat));
  return {
    requireWaiting: () => {
      if (!socket.destroyed) return;
      throw new FairleadError('failed', 'the predecessor waits no more; the region is left to it');
    },
    ready: async () => {
      socket.write('ready\n');
      await within(closed, () => socket.destroy());
    },
    close: () => socket.destroy(),
  };
}

async function within<T>(awaited: Promise<T>, giveUp: () => void): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    giveUp();
    reject(new FairleadError('timeout', `the predecessor did not answer within ${SILENCE_MS / 1000} s`));
  }, SILENCE_MS);
  try {
    return await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
  }
}

function onLine(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  });
}
