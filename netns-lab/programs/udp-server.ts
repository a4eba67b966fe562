// A UDP server that says who it is and whom it sees: each datagram is answered with "NAME ADDRESS PORT PAYLOAD".
//   node udp-server.ts NAME PORT
import { createSocket } from 'node:dgram';

const [name = 'server', port = '5353'] = process.argv.slice(2);

for (const type of ['udp4', 'udp6'] as const) {
  const socket = createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 4 << 20 });
  socket.on('message', (payload, from) => {
    socket.send(`${name} ${from.address} ${from.port} ${payload.toString()}`, from.port, from.address);
  });
  socket.bind(Number(port), () => console.log(`listening on ${type} port ${port}`));
}
