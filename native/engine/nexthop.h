/*
 * Which addresses must be resolved to which MAC, and for which server slots: the neighbour thread's own tables, with no
 * netlink in them.
 *
 *     target   one real server's address, however many services use it; knows its server slots (HOPS indexes)
 *        │ n:1, by the kernel's route
 *     hop      an address on a link (the gateway, or the server itself), with the MAC last heard of
 *
 * A hop lives as long as a target points to it. A commit builds a new set of tables beside the old one and carries over
 * what is known, so that a reload costs no server its next hop.
 */
#ifndef FL_NEXTHOP_H
#define FL_NEXTHOP_H

#include "engine.h"

#define FL_INTERFACES_MAX 64

/* An address, and the link it is reached by. */
struct fl_link_address {
	struct fl_addr addr;
	u32 ifindex;
	u32 is_v6;
};

struct fl_hop {
	struct fl_link_address at;
	u8 mac[6];
	bool is_pending; /* nothing heard of it yet: its servers keep the hop they had before */
	bool is_known;	 /* mac may be used */
	bool is_doubted; /* the kernel is probing it, or gave up */
	bool is_static;	 /* the kernel never probes it: PERMANENT or NOARP */
	u8 attempts;	 /* asked for in vain so often */
	u64 asked;	 /* ms */
	u64 due;	 /* ms: when to ask the kernel to look again */
	u32 targets;	 /* first of its list */
	u32 chain;	 /* next in its hash bucket, or in the free list */
};

struct fl_target {
	struct fl_addr addr;
	u32 is_v6;
	u32 slot_first; /* in slots */
	u32 slot_count;
	u32 hop; /* FL_NONE: no route, or none through our interfaces */
	u32 next, previous;
};

struct fl_nexthops {
	struct fl_region *region;
	u32 ifindex[FL_INTERFACES_MAX]; /* by interface id; 0: gone */
	u32 interface_count;
	struct fl_target *targets; /* sorted by family and address */
	u32 target_count;
	u32 *slots;
	struct fl_hop *hops; /* as many as targets */
	u32 hop_free;
	u32 *heads;
	u32 head_mask;
};

/*
 * Builds tables for the servers of the active half. `before` gives what is known already and is untouched; NULL at the
 * start, and then the words of an adopted region stand until each target is resolved. 0 or -ENOMEM.
 */
int fl_nexthops_build(struct fl_nexthops *nexthops, struct fl_region *region, const struct fl_nexthops *before);
void fl_nexthops_free(struct fl_nexthops *nexthops);

/* The hop at an address, or NULL when no target uses it. */
struct fl_hop *fl_nexthops_find(const struct fl_nexthops *nexthops, const struct fl_link_address *at);

/* Leads a target by a hop (made if there is none) or, with NULL, by none. Returns the hop. */
struct fl_hop *fl_target_lead(struct fl_nexthops *nexthops, struct fl_target *target, const struct fl_link_address *at);

/* Position of one of our interfaces in INTERFACES, -1 when the link is not ours. */
int fl_nexthops_interface(const struct fl_nexthops *nexthops, u32 ifindex);

/* Write the words of a target's slots, of all targets of a hop. True when a word changed. */
bool fl_target_publish(const struct fl_nexthops *nexthops, const struct fl_target *target);
bool fl_hop_publish(const struct fl_nexthops *nexthops, const struct fl_hop *hop);

#endif
