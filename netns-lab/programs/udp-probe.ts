// A UDP client: one datagram after another. Prints one JSON line.
//   node udp-probe.ts ADDRESS PORT COUNT FIRST-PORT [one-flow]
// Each datagram has a source port of its own, counted up, that is: is a new flow; with "one-flow" all have the first.
// (Ports that the kernel picks repeat now and then, and the second use would belong to the flow of the first.)
import { createSocket, type Socket } from 'node:dgram';

const [address = '', port = '', count = '1', firstPort = '', one] = process.argv.slice(2);
const isOneFlow = one === 'one-flow';
const waitMs = 1000;
const shares: Record<string, number> = {};
const latenciesMs: number[] = [];
const seenAs: string[] = [];
const wrong: string[] = [];
let lost = 0;

function open(localPort: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    // Connected, so that an answer from any other address than the one asked never arrives here.
    socket.bind(localPort, () => socket.connect(Number(port), address, () => resolve(socket)));
  });
}

function ask(socket: Socket, question: string): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), waitMs);
    const settle = (answer: string | null) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      resolve(answer);
    };
    socket.once('message', (message) => settle(message.toString()));
    socket.once('error', () => settle(null));
    socket.send(question);
  });
}

let socket: Socket | null = null;
for (let i = 0; i < Number(count); i++) {
  socket ??= await open(Number(firstPort) + i);
  const question = `question-${process.pid}-${i}.`;
  const start = performance.now();
  const answer = await ask(socket, question);
  if (answer === null) {
    lost += 1;
  } else {
    latenciesMs.push(performance.now() - start);
    const [name = '', from = '', fromPort = '', payload = ''] = answer.split(' ');
    shares[name] = (shares[name] ?? 0) + 1;
    seenAs.push(`${from} ${fromPort}`);
    if (payload !== question) {
      wrong.push(answer);
    }
  }
  if (!isOneFlow) {
    socket.close();
    socket = null;
  }
}
socket?.close();
console.log(JSON.stringify({ shares, lost, wrong, latenciesMs, seenAs }));
