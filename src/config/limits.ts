// Bounds of what a configuration may ask for. The data plane sizes its tables by the same figures: whoever raises one
// here raises it in native/core/region.h.

export const LIMITS = {
  services: 16_384,
  /** Over all services together. */
  servers: 65_536,
  /** Over all services together. */
  listens: 32_768,
  /** Port ranges of one VIP, TCP and UDP together: a lookup tries them one after the other, so they must stay few. */
  rangesPerVip: 16,
  /** Addresses of one full-nat source pool. */
  sources: 256,
  weight: 65_535,
  port: 65_535,
  /** Fewer flows than this are no balancer; more would need 4 GiB (at 64 bytes each) and more of shared memory. */
  flows: { least: 4096, most: 67_108_864 },
  /** 64 bytes each. */
  stickyClients: { least: 1024, most: 67_108_864 },
  workers: 64,
  /** Of an allow or a deny list: each makes two ranges at most (FL_ACCESS_MOST). */
  clientPrefixes: 1000,
  /** A day. The longest time-out in use anywhere is a few hours; what is longer is a slip of the pen. */
  durationMs: 86_400_000,
} as const;
