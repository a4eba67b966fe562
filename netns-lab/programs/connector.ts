// Clients that only connect: one connection to each target every so many milliseconds, whatever becomes of the others.
//   node connector.ts EVERY_MS ADDRESS PORT [ADDRESS PORT]...
// A connection that stands is closed at once; one that does not stand in five seconds is given up.

import { connect } from 'node:net';

const [every, ...ends] = process.argv.slice(2);
const targets = Array.from({ length: ends.length / 2 }, (_, i) => ({
  host: ends[2 * i]!,
  port: Number(ends[2 * i + 1]),
}));

setInterval(() => {
  for (const target of targets) {
    const socket = connect({ ...target, timeout: 5000 });
    socket.on('connect', () => socket.destroy());
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => undefined);
  }
}, Number(every));
