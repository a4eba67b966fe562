/*
 * Katran's own program, built from a checkout of it (scripts/bench/katran.ts) and set up as its library would for one
 * VIP with WORLD_SERVERS servers behind IPIP: for bench-kernel to measure beside the core.
 *
 * The types are those of its katran/lib/bpf/balancer_structs.h, as far as they are needed. Its flows are entered from
 * here, because the program itself stops at a number of new ones a second. They have room for half as many more: a table
 * of the kind that it uses (BPF_MAP_TYPE_LRU_HASH) begins to evict before it is full.
 */
#ifndef FL_BENCH_KATRAN_H
#define FL_BENCH_KATRAN_H

#include "world.h"

struct katran {
	struct bpf_object *object; /* NULL: not to be measured */
	int fd;			   /* of the program */
	int flows_fd;		   /* of the table that every processor uses */
};

/* 0, or an error in words at stderr. */
int katran_open(struct katran *katran, const char *object);
/* The world's VIP and servers, and each of its flows. */
int katran_establish(struct katran *katran, const struct world *world);
/* Frames that found no flow so far. */
u64 katran_misses(const struct katran *katran);
void katran_close(struct katran *katran);

#endif
