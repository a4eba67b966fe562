// Reads an HTTP/1 answer as far as a check needs it: the status, and of the body the first 64 KiB. Text in, what is known
// so far out; nothing is kept beyond the bounds.

export interface HttpAnswer {
  /** What is wrong with it, or null. */
  problem(): string | null;
  /** Null until the status line is whole. */
  status(): number | null;
  headersAreWhole(): boolean;
  /** Of the body, chunks taken apart. */
  body(): string;
  bodyIsWhole(): boolean;
  bodyIsFull(): boolean;
  /** Octets read, as characters of Latin-1. */
  add(text: string): void;
  /** Something has come. */
  hasBegun(): boolean;
}

const HEAD_LIMIT = 16_384;
export const BODY_LIMIT = 65_536;
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n/;

export function makeHttpAnswer(isHead: boolean): HttpAnswer {
  let head = '';
  let raw = '';
  let length: number | null = null;
  let isChunked = false;
  let headEnd = -1;
  let status: number | null = null;
  let problem: string | null = null;

  const readHead = (): void => {
    const match = STATUS_LINE.exec(head);
    status = match === null ? null : Number(match[1]);
    const lineEnd = head.indexOf('\n');
    if (status === null && (lineEnd !== -1 || !couldBeStatus(head))) problem = 'the answer is not HTTP';
    const end = /\r?\n\r?\n/.exec(head);
    if (end === null) {
      if (head.length > HEAD_LIMIT) problem = `the answer's headers are longer than ${HEAD_LIMIT / 1024} KiB`;
      return;
    }
    headEnd = end.index;
    raw = head.slice(end.index + end[0].length);
    head = head.slice(0, end.index);
    isChunked = /^transfer-encoding:.*\bchunked/im.test(head);
    const written = /^content-length:\s*(\d{1,15})\s*$/im.exec(head)?.[1];
    length = isHead || status === 204 || status === 304 ? 0 : written === undefined ? null : Number(written);
    // An interim answer (RFC 9110, section 15.2) is followed by the real one.
    if (status !== null && status < 200 && status !== 101) {
      head = raw;
      raw = '';
      headEnd = -1;
      status = null;
      if (head !== '') readHead();
    }
  };

  const chunks = (): { body: string; isWhole: boolean } => (isChunked ? unchunk(raw) : { body: raw, isWhole: false });

  return {
    problem: () => problem,
    status: () => status,
    headersAreWhole: () => headEnd !== -1,
    body: () => chunks().body,
    bodyIsWhole: () => (length === 0 ? true : isChunked ? chunks().isWhole : length !== null && raw.length >= length),
    bodyIsFull: () => raw.length >= BODY_LIMIT,
    hasBegun: () => head !== '',
    add: (text) => {
      if (headEnd !== -1) {
        raw = (raw + text).slice(0, BODY_LIMIT);
        return;
      }
      head += text;
      readHead();
    },
  };
}

/** Whether more text may still make it a status line: "v" stands for 0 or 1, "d" for a digit. */
function couldBeStatus(head: string): boolean {
  return 'HTTP/1.v ddd'.split('').every((wanted, at) => {
    const letter = head[at];
    if (letter === undefined) return true;
    if (wanted === 'v') return letter === '0' || letter === '1';
    return wanted === 'd' ? letter >= '0' && letter <= '9' : letter === wanted;
  });
}

function unchunk(raw: string): { body: string; isWhole: boolean } {
  let body = '';
  let at = 0;
  for (;;) {
    const end = raw.indexOf('\n', at);
    const size = end === -1 ? Number.NaN : Number.parseInt(raw.slice(at, end), 16);
    if (Number.isNaN(size)) return { body, isWhole: false };
    if (size === 0) return { body, isWhole: true };
    body += raw.slice(end + 1, end + 1 + size);
    at = end + 1 + size + 2;
  }
}
