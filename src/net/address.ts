// IP addresses of both families as values: parsed strictly, printed in one canonical way, compared by their bytes.
// The canonical text (RFC 5952 for IPv6) doubles as a map key. Zone ids ("fe80::1%eth0") are refused: a balancer's
// addresses belong to a network, not to a link of one host.

export interface Address {
  readonly family: 4 | 6;
  /** Canonical: two equal addresses have equal texts. */
  readonly text: string;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
}

/** Reads an IPv4 dotted quad or an RFC 4291 IPv6 address; null when it is neither. */
export function parseAddress(text: string): Address | null {
  const bytes = text.includes(':') ? parseV6(text) : parseV4(text);
  return bytes === null ? null : addressFromBytes(bytes);
}

/** Makes an address of 4 or 16 bytes in network order; the bytes are copied. Throws RangeError on any other length. */
export function addressFromBytes(bytes: Uint8Array): Address {
  const copy = Uint8Array.from(bytes);
  if (copy.length === 4) return { family: 4, text: copy.join('.'), bytes: copy };
  if (copy.length === 16) return { family: 6, text: formatV6(copy), bytes: copy };
  throw new RangeError(`an address has 4 or 16 bytes, not ${copy.length}`);
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.text === b.text;
}

/** Orders by family, then by value: below zero when a comes first. */
export function compareAddresses(a: Address, b: Address): number {
  return a.family - b.family || Buffer.compare(a.bytes, b.bytes);
}

/** Its bits as a number. */
export function numberOf({ bytes }: Address): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

/** Prints "10.0.0.1:80" or "[2001:db8::1]:80". */
export function formatEndpoint(address: Address, port: number): string {
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}

/** A decimal octet without leading zeros: some readers take "010" for eight, so nobody may write it. */
const OCTET = /^(?:0|[1-9]\d{0,2})$/;

function parseV4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const octets = parts.map((part) => (OCTET.test(part) ? Number(part) : Number.NaN));
  return octets.every((octet) => octet <= 255) ? Uint8Array.from(octets) : null;
}

const GROUP = /^[0-9a-fA-F]{1,4}$/;

/** RFC 4291 §2.2: eight groups, at most one "::" for one or more zero groups, the last 32 bits possibly dotted. */
function parseV6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = parseGroups(halves[1] ?? '', true);
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...head, ...Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function parseGroups(text: string, mayEndDotted: boolean): number[] | null {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const [a, b, c, d] = (mayEndDotted && index === parts.length - 1 ? parseV4(part) : null) ?? [];
    if (a === undefined || b === undefined || c === undefined || d === undefined) return null;
    groups.push((a << 8) | b, (c << 8) | d);
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as "::", mapped IPv4 dotted. */
function formatV6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes.subarray(12).join('.')}`;
  }
  const run = longestZeroRun(groups);
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  }
  return best;
}
