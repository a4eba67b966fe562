// Where a region lies: a file in memory that workers map, or BPF maps pinned in a directory that the kernel's programs
// work on as well.

import type { Attachment } from './plane.ts';

export interface RegionPlace {
  readonly backing: 'file' | 'maps';
  readonly path: string;
}

export function backingFor(attachment: Attachment): RegionPlace['backing'] {
  return attachment === 'packet' ? 'file' : 'maps';
}

/** Names of pinned objects may hold no dot: the kernel keeps those for itself (kernel/bpf/inode.c, bpf_lookup). */
export function placeOfRegion(name: string, backing: RegionPlace['backing'], bpffs: string): RegionPlace {
  return backing === 'file'
    ? { backing, path: `/dev/shm/fairlead.${name}` }
    : { backing, path: `${bpffs}/fairlead-${name.replaceAll('.', '_')}` };
}

/** What a region of another layout or size is renamed to. */
export function setAsidePath({ backing, path }: RegionPlace): string {
  return `${path}${backing === 'file' ? '.old' : '_old'}`;
}
