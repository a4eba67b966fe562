// A UDP server that says who it is and whom it sees: each datagram is answered with "NAME ADDRESS PORT PAYLOAD".
//   node udp-server.ts NAME PORT [ADDRESS...]
// Without addresses it listens on all. Answers of such a socket leave from the host's own address: whoever shall answer
// from a VIP listens on it.
import { createSocket } from 'node:dgram';

const [name = 'server', port = '5353', ...addresses] = process.argv.slice(2);

for (const address of addresses.length > 0 ? addresses : ['0.0.0.0', '::']) {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 4 << 20, reuseAddr: true });
  socket.on('message', (payload, from) => {
    socket.send(`${name} ${from.address} ${from.port} ${payload.toString()}`, from.port, from.address);
  });
  socket.bind(Number(port), address, () => console.log(`listening on ${type} port ${port}`));
}
