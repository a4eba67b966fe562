/*
 * What the decapsulator's programs (bpf/decap.bpf.c) and its loader (engine/decap.c) share: its tables and the list of
 * what it counts.
 *
 * A service here is one of a balancer's l3-dsr services, as a real server sees it: which tunnel, to which address of
 * ours, from whom, with which VIPs inside. Each of at most 64 services on an interface has a bit; a packet is taken when
 * the three lookups (endpoint, source, VIP) share a bit, so one service's balancer cannot reach another service's VIP.
 */
#ifndef FL_CORE_DECAP_H
#define FL_CORE_DECAP_H

#include "region.h"

#define FL_DECAP_SERVICES 64
#define FL_DECAP_SOURCES 16 /* balancers, addresses or prefixes, of one service */
#define FL_DECAP_VIPS 64    /* of one service */
#define FL_DECAP_NAME 64    /* names are at most 63 octets, see src/config/shape.ts */

/* Where a tunnel ends. `local` is one of this host's addresses; IPv4 addresses are mapped (::ffff:a.b.c.d) throughout. */
struct fl_decap_endpoint {
	struct fl_addr local;
	u32 key;  /* GRE's, as it stands in the packet; 0 without */
	u16 port; /* GUE's UDP port, as it stands in the packet; 0 without */
	u8 tunnel;
	u8 has_key;
};

/* Key of a longest-prefix table: its length first, in bits of the mapped address. */
struct fl_decap_prefix {
	u32 length;
	struct fl_addr addr;
};

/* The loader's own record of a service, kept in the kernel beside the tables that are made of it. No name: not used. */
struct fl_decap_service {
	char name[FL_DECAP_NAME];
	struct fl_decap_endpoint endpoint;
	u32 source_count;
	u32 vip_count;
	struct fl_decap_prefix source[FL_DECAP_SOURCES];
	struct fl_addr vip[FL_DECAP_VIPS];
};

/* X(name, "name", "meaning"). The first three were taken, `congestion` was dropped, all others passed untouched. */
#define FL_DECAP_COUNTS(X)                                                                                        \
	X(GRE, "gre", "unwrapped from GRE")                                                                       \
	X(IPIP, "ipip", "unwrapped from IPIP")                                                                    \
	X(GUE, "gue", "unwrapped from GUE")                                                                       \
	X(CONGESTION, "congestion", "dropped: a router marked congestion on a packet that cannot carry the mark") \
	X(ENDPOINT, "endpoint", "GRE or IPIP that no service here expects: another key or another address")       \
	X(SOURCE, "source", "from an address that is no listed balancer")                                         \
	X(VIP, "vip", "the packet inside is for no listed VIP")                                                   \
	X(FRAGMENT, "fragment", "the outer packet is a fragment")                                                 \
	X(HEADER, "header", "a tunnel header with options that are not spoken here")                              \
	X(LENGTH, "length", "cut short, or a length that does not fit")                                           \
	X(REFUSED, "refused", "the kernel would not shorten the frame")

#define FL_DECAP_ENUM(name, text, meaning) FL_DECAP_##name,
enum fl_decap_count { FL_DECAP_COUNTS(FL_DECAP_ENUM) FL_DECAP_COUNT };
#undef FL_DECAP_ENUM

/* One for each CPU and count. */
struct fl_decap_counter {
	u64 frames;
	u64 octets; /* of the packets inside, where they were unwrapped; else of the frames */
};

#define FL_DECAP_PROGRAM_XDP "fl_decap_xdp"
#define FL_DECAP_PROGRAM_TC "fl_decap_tc"

#endif
