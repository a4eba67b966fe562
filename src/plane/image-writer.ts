// An image under construction: a list of blocks { u32 section, first, count, 0 } and their elements, each block padded to
// 8 octets (native/engine/engine.h, fl_region_commit). Blocks come back as views to be filled in.

import { layout, sections } from '../native/layout.ts';
import type { SectionName } from './plane.ts';
import type { Words } from './config-hash.ts';

const BLOCK_HEADER = 16;

export class ImageWriter {
  readonly #blocks: Uint8Array[] = [];

  /** A zeroed block of `count` elements, to be filled in until finish(). `first` counts from 0 within the half. */
  block(section: SectionName, count: number, first = 0): DataView {
    const octets = (count * sections[section].element + 7) & ~7;
    const block = new Uint8Array(BLOCK_HEADER + octets);
    const header = new DataView(block.buffer);
    header.setUint32(0, sections[section].index, true);
    header.setUint32(4, first, true);
    header.setUint32(8, count, true);
    this.#blocks.push(block);
    return new DataView(block.buffer, BLOCK_HEADER, octets);
  }

  finish(): ArrayBuffer {
    const image = new Uint8Array(this.#blocks.reduce((sum, block) => sum + block.length, 0));
    let at = 0;
    for (const block of this.#blocks) {
      image.set(block, at);
      at += block.length;
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
