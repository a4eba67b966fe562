/*
 * A region with one service on one VIP, as the control plane would commit it, and its frames: every client's first
 * packet, its answers, and packets of flows at random from either side.
 */
#ifndef FL_BENCH_WORLD_H
#define FL_BENCH_WORLD_H

#include <stdbool.h>
#include <stdio.h>

#include "../core/batch.h"
#include "../engine/engine.h"
#include "packets.h"

#define WORLD_FLOWS 1048576 /* the default of the configuration */
#define WORLD_SERVERS 8
#define WORLD_SOURCES 32 /* full-nat's pool: 2 M source ports towards each server */
/* About one table of a million flows in twenty has a flow that finds both its buckets full. */
#define WORLD_STRAYS 8
#define WORLD_HASH 64 /* entries of each configuration table */
#define SERVICE_PORT FL_BE16(80)
#define SERVER_PORT FL_BE16(8080)

/* What a flow's frames carry on the servers' side: last words of addresses, and the port. */
struct reply {
	u32 server;
	u32 local;
	u16 local_port;
};

/* What the service does with its frames. */
struct world_kind {
	const char *name;
	enum fl_method method;
	enum fl_tunnel tunnel;
	bool is_outer_v6;
};

#define WORLD_KINDS 6
extern const struct world_kind world_kinds[WORLD_KINDS];

struct world {
	struct fl_region region;
	const struct world_kind *kind;
	bool is_v6;
	u32 flows;
	struct reply *reply;
	struct fl_addr vip, client, server, source; /* the first of each range */
};

/* With room for WORLD_FLOWS, or for so many if they are more. */
int world_open(struct world *world, const char *file, const struct world_kind *kind, bool is_v6, u32 flows);
/* The same over BPF maps, with room for so many flows, for programs in the kernel. */
int world_open_maps(struct world *world, const struct world_kind *kind, u32 flows);
void world_close(struct world *world);
/* The servers answer past us: there are no frames from them. */
bool world_is_one_way(const struct world *world);
/* No flows, memory touched. */
void world_empty(struct world *world);

/* Frames made ahead, so that only the core's work on them is timed. */
#define BLOCK 2048
#define BLOCK_HEAD 64 /* octets before a frame, for a tunnel's headers */

struct block {
	struct fl_frame frame[BLOCK];
	u8 data[BLOCK][BLOCK_HEAD + PACKET_ROOM] __attribute__((aligned(64)));
	u32 flow[BLOCK];
};

enum side { FROM_CLIENT, FROM_SERVER };

/* Frames of the flows named in block->flow. */
void world_frames(const struct world *world, struct block *block, enum side side, u8 tcp_flags);
/* One frame whose addresses and ports are 0, and whose checksum fields hold sums; 54 octets over IPv4. */
void world_frame_template(const struct world *world, enum side side, u8 tcp_flags, u8 *frame);
/* Every flow of the world, established by the core in user space. */
void world_establish(struct world *world);
/* After a block of first frames was forwarded: notes how its flows look to their servers. */
void world_learn(struct world *world, const struct block *block);

#endif
