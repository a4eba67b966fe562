// The framing of a netlink dump, as native/engine/netlink.c hands it over: messages in a row, each with a header of its
// family and then attributes (type, length, value, padded to four). Lengths that reach beyond what holds them end the
// walk: nothing is read past the end. Host byte order, which is little-endian wherever fairlead runs.

export interface NetlinkMessage {
  /** RTM_NEWLINK and the like. */
  readonly type: number;
  /** The family header, then attributes. */
  readonly body: DataView;
}

export type Attributes = ReadonlyMap<number, DataView>;

const MESSAGE_HEADER = 16;
const ATTRIBUTE_HEADER = 4;

/** The upper two bits of an attribute's type are flags (nested, network byte order). */
const TYPE_MASK = 0x3fff;

/** The messages of one type. */
export function* messagesOf(dump: ArrayBuffer | ArrayBufferView, type: number): Generator<NetlinkMessage> {
  const view = viewOf(dump);
  for (let at = 0; at + MESSAGE_HEADER <= view.byteLength; ) {
    const length = view.getUint32(at, true);
    if (length < MESSAGE_HEADER || at + length > view.byteLength) return;
    if (view.getUint16(at + 4, true) === type) yield { type, body: part(view, at + MESSAGE_HEADER, at + length) };
    at += aligned(length);
  }
}

/** Attributes of a message's body from `offset` on, or of a nested attribute from 0; of two with one type the last. */
export function attributesOf(view: DataView, offset: number): Attributes {
  const found = new Map<number, DataView>();
  for (let at = offset; at + ATTRIBUTE_HEADER <= view.byteLength; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER || at + length > view.byteLength) break;
    found.set(view.getUint16(at + 2, true) & TYPE_MASK, part(view, at + ATTRIBUTE_HEADER, at + length));
    at += aligned(length);
  }
  return found;
}

/** Undefined when the attribute is absent or too short. */
export function u32Of(attribute: DataView | undefined): number | undefined {
  return attribute !== undefined && attribute.byteLength >= 4 ? attribute.getUint32(0, true) : undefined;
}

/** Text up to its terminating zero. */
export function textOf(attribute: DataView | undefined): string | undefined {
  if (attribute === undefined) return undefined;
  const [text] = Buffer.from(bytesOf(attribute)).toString('utf8').split('\0', 1);
  return text;
}

/** A window onto the attribute, not a copy. */
export function bytesOf(attribute: DataView): Uint8Array {
  return new Uint8Array(attribute.buffer, attribute.byteOffset, attribute.byteLength);
}

function viewOf(dump: ArrayBuffer | ArrayBufferView): DataView {
  return ArrayBuffer.isView(dump) ? new DataView(dump.buffer, dump.byteOffset, dump.byteLength) : new DataView(dump);
}

function part(view: DataView, from: number, to: number): DataView {
  return new DataView(view.buffer, view.byteOffset + from, to - from);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
