/*
 * Two hashes. The keyed one places flows and picks servers: multiply-shift (Dietzfelbinger et al., 1997) in rounds
 * with secret odd multipliers, so that who does not know the region's seed cannot aim at a bucket or a server. The
 * plain one places configuration, which only the operator chooses; TypeScript computes it as well.
 */
#ifndef FL_HASH_H
#define FL_HASH_H

#include "types.h"

FL_INLINE u64 fl_hash_round(u64 hash, u64 multiplier)
{
	hash *= multiplier;
	return hash ^ (hash >> 32);
}

/* 64 bits over an address (IPv4: word 0), a port and a protocol; every bit is usable. seed[1], seed[2] are odd. */
FL_INLINE u64 fl_keyed_hash(const u64 seed[4], const struct fl_addr *addr, u16 port, u8 protocol, int is_v6)
{
	u64 hash = ((u64)addr->word[0] | (u64)port << 32 | (u64)protocol << 48) + seed[0];

	hash = fl_hash_round(hash, seed[1]);
	if (is_v6) {
		hash = fl_hash_round(hash ^ ((u64)addr->word[1] << 32 | addr->word[2]), seed[2]);
		hash = fl_hash_round(hash ^ addr->word[3], seed[1]);
	}
	return fl_hash_round(hash + seed[3], seed[2]);
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
