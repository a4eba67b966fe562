// An image under construction: a list of blocks { u32 section, first, count, 0 } and their elements, each block padded to
// 8 octets (native/engine/engine.h, fl_region_commit). Blocks are views to be filled in until finish(), and never after:
// the next image may take them over as they are, or begin with what is in them.

import { constants, layout, sections } from '../native/layout.ts';
import type { SectionName } from './plane.ts';
import type { Words } from './config-hash.ts';

const BLOCK_HEADER = 16;

/** The elements of a block; what is before them in its buffer is its header. */
export type Block = DataView<ArrayBuffer>;

export class ImageWriter {
  readonly #blocks: Block[] = [];

  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** A zeroed block of `count` elements. `first` counts from 0 within the half. */
  block(section: SectionName, count: number, first = 0): Block {
    const octets = (count * sections[section].element + 7) & ~7;
    const buffer = new ArrayBuffer(BLOCK_HEADER + octets);
    const header = new DataView(buffer);
    header.setUint32(0, sections[section].index, true);
    header.setUint32(4, first, true);
    header.setUint32(8, count, true);
    return this.take(new DataView(buffer, BLOCK_HEADER));
  }

  /** A block that begins as this one. */
  copy(block: Block): Block {
    return this.take(new DataView(Uint8Array.from(new Uint8Array(block.buffer)).buffer, BLOCK_HEADER));
  }

  /** This one as it is. */
  take(block: Block): Block {
    this.#blocks.push(block);
    return block;
  }

  finish(): ArrayBuffer {
    const image = new Uint8Array(this.#blocks.reduce((sum, { buffer }) => sum + buffer.byteLength, 0));
    let at = 0;
    for (const { buffer } of this.#blocks) {
      image.set(new Uint8Array(buffer), at);
      at += buffer.byteLength;
    }
    return image.buffer;
  }
}

/** Writes a struct fl_addr. */
export function setWords(view: DataView, offset: number, words: Words): void {
  for (let index = 0; index < words.length; index++) view.setUint32(offset + 4 * index, words[index]!, true);
}

type StructName = keyof typeof layout;

/** Where element `index` of a block of these structs has each field: absolute offsets in the block's view. */
export type FieldsAt<S extends StructName> = (field: keyof (typeof layout)[S]) => number;

export function fieldsAt<S extends StructName>(struct: S, index: number): FieldsAt<S> {
  const offsets: Readonly<Record<PropertyKey, number>> & { readonly octets: number } = layout[struct];
  const base = offsets.octets * index;
  return (field) => base + (offsets[field] ?? 0);
}

/** Ticks of 2^27 ns, rounded up: an idle flow lives at least as long as it was promised. */
export function ticksFor(ms: number): number {
  return Math.ceil((ms * 1e6) / 2 ** constants.tickShift);
}
