// Holds connections open, and asks on all of them when it is told to.
//   node holder.ts ADDRESS PORT COUNT
// Prints "open N" once they stand. For each line on its input it sends a request on every one and prints "alive N": how
// many are answered within a minute.

import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const [host = '', port = '', count = ''] = process.argv.slice(2);
const patienceMs = 60_000;

/** Null: it does not stand in time. */
function open(): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: patienceMs });
    socket.on('connect', () => resolve(socket));
    socket.on('timeout', () => resolve(null));
    socket.on('error', () => resolve(null));
  });
}

function ask(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), patienceMs);
    const settle = (isAlive: boolean) => {
      clearTimeout(timer);
      resolve(isAlive);
    };
    socket.once('data', () => settle(true));
    socket.once('close', () => settle(false));
    socket.write('GET / HTTP/1.1\r\nHost: lab\r\n\r\n');
  });
}

const sockets = (await Promise.all(Array.from({ length: Number(count) }, open))).filter((socket) => socket !== null);
for (const socket of sockets) socket.setTimeout(0);
console.log(`open ${sockets.length}`);
for await (const _ of createInterface({ input: process.stdin })) {
  const answers = await Promise.all(sockets.map(ask));
  console.log(`alive ${answers.filter(Boolean).length}`);
}
