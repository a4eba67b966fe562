// ICMP errors in words (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3).

const UNREACHABLE4: Readonly<Record<number, string>> = {
  0: 'network unreachable',
  1: 'host unreachable',
  2: 'protocol unreachable',
  3: 'port unreachable',
  6: 'network unknown',
  7: 'host unknown',
  9: 'forbidden by a router',
  10: 'forbidden by a router',
  13: 'forbidden by a firewall',
};
const UNREACHABLE6: Readonly<Record<number, string>> = {
  0: 'no route to the host',
  1: 'forbidden by a firewall',
  2: 'outside of the scope of the source address',
  3: 'host unreachable',
  4: 'port unreachable',
  5: 'source address refused by a policy',
  6: 'route refused',
};

export function unreachableWords(family: 4 | 6, type: number, code: number, mtu: number): string {
  if (family === 4) {
    if (type === 11) return 'lost on the way: its time to live ended';
    if (code === 4) return `MTU too small: ${mtu} octets pass`;
    return UNREACHABLE4[code] ?? `unreachable (code ${code})`;
  }
  if (type === 2) return `MTU too small: ${mtu} octets pass`;
  if (type === 3) return 'lost on the way: its hop limit ended';
  return type === 1 ? (UNREACHABLE6[code] ?? `unreachable (code ${code})`) : `refused (type ${type}, code ${code})`;
}
