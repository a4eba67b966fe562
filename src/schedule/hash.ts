// A 32-bit hash of a string, after MurmurHash3 x86_32 with one UTF-16 unit in place of each four-byte block. Two seeds
// give two independent values. It places servers, so its results are part of what two balancers must agree on: do not
// change it without saying so in the changelog.

export function hash32(text: string, seed: number): number {
  let h = seed | 0;
  for (let i = 0; i < text.length; i++) {
    const mixed = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    h ^= Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
