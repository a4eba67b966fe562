/*
 * Two hashes. The keyed one places flows: multiply-shift (Dietzfelbinger et al., 1997) twice with secret odd
 * multipliers, so that who does not know the region's seed cannot aim at a bucket or a server. The plain one places
 * configuration, which only the operator chooses; TypeScript computes it as well (src/plane/image.ts).
 */
#ifndef FL_HASH_H
#define FL_HASH_H

#include "types.h"

/* 64 bits over a client's address, port and protocol; all bits usable. seed[1] and seed[2] are odd. */
FL_INLINE u64 fl_keyed_hash(const u64 seed[4], u64 low, u64 high, u32 port_and_protocol, u32 is_v6)
{
	u64 hash = (low + seed[0]) * seed[1];

	hash ^= hash >> 32;
	hash += (u64)port_and_protocol << 17;
	if (is_v6) {
		hash = (hash ^ high) * seed[2];
		hash ^= hash >> 32;
	}
	hash = (hash + seed[3]) * seed[2];
	hash ^= hash >> 29;
	return hash;
}

/* 32 bits over an address, and port (network order) | protocol << 16. */
FL_INLINE u32 fl_config_hash(const struct fl_addr *addr, u32 port_and_protocol)
{
	u32 hash = 0x9e3779b9u ^ port_and_protocol;

	for (int i = 0; i < 4; i++) {
		hash = (hash ^ addr->word[i]) * 0x85ebca6bu;
		hash ^= hash >> 15;
	}
	hash *= 0xc2b2ae35u;
	return hash ^ (hash >> 16);
}

#endif
