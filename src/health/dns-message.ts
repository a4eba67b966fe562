// DNS messages as far as a check needs them (RFC 1035, section 4): one question, and the answers to it as text.

import type { DnsRcode, DnsRecord } from '../config/check.ts';
import { DNS_RCODES } from '../config/check.ts';

const TYPES: Readonly<Record<DnsRecord, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
};
const IN = 1;
const RECURSION_DESIRED = 0x0100;

export function encodeQuestion(id: number, name: string, record: DnsRecord): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(RECURSION_DESIRED, 2);
  head.writeUInt16BE(1, 4);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(TYPES[record], 0);
  tail.writeUInt16BE(IN, 2);
  return Buffer.concat([head, encodeName(name), tail]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.of(0)]);
}

export interface DnsReply {
  readonly rcode: DnsRcode | `RCODE ${number}`;
  /** Addresses as `192.0.2.1` or eight groups of hexadecimal digits, names and texts as they are, lower case. */
  readonly answers: readonly string[];
}

/** The reply to this very question, or null for whatever else it is. */
export function decodeReply(message: Buffer, question: Buffer): DnsReply | null {
  const isReply = message.length >= question.length && (message[2]! & 0x80) !== 0;
  if (!isReply || message.readUInt16BE(0) !== question.readUInt16BE(0)) return null;
  const asked = message.subarray(12, question.length).toString('latin1').toLowerCase();
  if (asked !== question.subarray(12).toString('latin1').toLowerCase()) return null;
  const code = message[3]! & 0x0f;
  try {
    return { rcode: DNS_RCODES[code] ?? `RCODE ${code}`, answers: readAnswers(message, question.length) };
  } catch {
    // Cut short, or lengths that point outside: whatever it says cannot be trusted.
    return null;
  }
}

function readAnswers(message: Buffer, start: number): string[] {
  const answers: string[] = [];
  let at = start;
  for (let left = Math.min(message.readUInt16BE(6), 100); left > 0; left--) {
    at = readName(message, at).next;
    const type = message.readUInt16BE(at);
    const length = message.readUInt16BE(at + 8);
    if (at + 10 + length > message.length) throw new RangeError('an answer ends outside of the message');
    answers.push(readData(message, type, at + 10, length).toLowerCase());
    at += 10 + length;
  }
  return answers;
}

function readData(message: Buffer, type: number, at: number, length: number): string {
  const data = message.subarray(at, at + length);
  switch (type) {
    case TYPES.A:
      return [...data].join('.');
    case TYPES.AAAA:
      return Array.from({ length: 8 }, (_, i) => data.readUInt16BE(2 * i).toString(16)).join(':');
    case TYPES.TXT:
      return data.subarray(1, 1 + (data[0] ?? 0)).toString('latin1');
    case TYPES.MX:
      return readName(message, at + 2).name;
    case TYPES.SRV:
      return readName(message, at + 6).name;
    default:
      return readName(message, at).name;
  }
}

/** Follows compression; a name of more than 128 steps is a loop. */
function readName(message: Buffer, start: number): { name: string; next: number } {
  const labels: string[] = [];
  let at = start;
  let next: number | null = null;
  for (let hops = 0; hops < 128; hops++) {
    const length = message.readUInt8(at);
    if (length === 0) return { name: labels.join('.'), next: next ?? at + 1 };
    if (length >= 0xc0) {
      next ??= at + 2;
      at = message.readUInt16BE(at) & 0x3fff;
    } else {
      labels.push(message.subarray(at + 1, at + 1 + length).toString('latin1'));
      at += 1 + length;
    }
  }
  throw new RangeError('a name without an end');
}
