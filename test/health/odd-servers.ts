// Servers that behave, until they are told to break, each in a way of its own; on loopback, with real sockets.

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Certificates } from './certificates.ts';

export interface OddServer {
  readonly port: number;
  break(): void | Promise<void>;
  mend(): void | Promise<void>;
  close(): void;
}

const GOOD_HTTP = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready';

/** Answers each connection with `good`, and once broken does `bad` to it. */
export async function streamServer(bad: (socket: Socket) => void, good: string = GOOD_HTTP): Promise<OddServer> {
  let isBroken = false;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    if (isBroken) bad(socket);
    else socket.write(good);
  });
  return {
    port: await portOf(server),
    break: () => void (isBroken = true),
    mend: () => void (isBroken = false),
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Is not there any more once broken. */
export async function vanishingServer(): Promise<OddServer> {
  const make = (): Server => createServer((socket) => socket.on('error', () => undefined).resume());
  let server = make();
  const port = await portOf(server);
  return {
    port,
    break: () => void server.close(),
    mend: async () => {
      server = make().listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    close: () => void server.close(),
  };
}

/** Shows one certificate, and another once broken. */
export async function certificateServer(
  certificates: Certificates,
  good: { name: string; days: number },
  bad: { name: string; days: number },
): Promise<OddServer> {
  const [goodPair, badPair] = [good, bad].map(({ name, days }) => certificates.make(name, days));
  const server = createTlsServer({ ...goodPair, ca: [] }, (socket) => {
    socket.on('error', () => undefined);
    socket.end(GOOD_HTTP);
  });
  server.on('tlsClientError', () => undefined);
  return {
    port: await portOf(server),
    break: () => server.setSecureContext({ ...badPair }),
    mend: () => server.setSecureContext({ ...goodPair }),
    close: () => void server.close(),
  };
}

/** Answers datagrams by `answer`, which is asked whether it is broken. */
export async function datagramServer(
  answer: (question: Buffer, isBroken: boolean) => Buffer | null,
): Promise<OddServer> {
  let isBroken = false;
  const socket = createSocket('udp4', (question, from) => {
    const reply = answer(question, isBroken);
    if (reply !== null) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    break: () => void (isBroken = true),
    mend: () => void (isBroken = false),
    close: () => socket.close(),
  };
}

export async function vanishingDatagramServer(): Promise<OddServer> {
  let socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  return {
    port,
    break: () => void socket.close(),
    mend: async () => {
      socket = createSocket('udp4').bind(port, '127.0.0.1');
      await once(socket, 'listening');
    },
    close: () => void socket.close(),
  };
}

/** A process of its own, which is stopped (SIGSTOP): the kernel goes on taking connections for it. */
export async function stoppedServer(): Promise<OddServer> {
  const program = `
    const server = require('node:http').createServer((question, answer) => answer.end('ready'));
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));`;
  const child: ChildProcess = spawn(process.execPath, ['--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  const port = Number(line.toString());
  return {
    port,
    break: () => void child.kill('SIGSTOP'),
    mend: async () => {
      child.kill('SIGCONT');
      // It has a queue of connections to see to first.
      await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text());
    },
    close: () => void child.kill('SIGKILL'),
  };
}

/** Writes for as long as it is listened to, at full speed. */
export function pour(head: string): (socket: Socket) => void {
  return (socket) => {
    const block = 'x'.repeat(65_536);
    const more = (): void => {
      while (!socket.destroyed && socket.write(block));
    };
    socket.write(head);
    socket.on('drain', more);
    more();
  };
}

/** Writes an x now and then. */
export function drip(head: string): (socket: Socket) => void {
  return (socket) => {
    socket.write(head);
    const timer = setInterval(() => socket.write('x'), 20);
    socket.once('close', () => clearInterval(timer));
  };
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
