/*
 * What the addon sees of the engines, and what the engines share: a region held open, an image committed into it,
 * workers that forward, a thread that ages flows, a thread that follows neighbours.
 *
 * Actions return 0 or a negative errno; when they fail, fl_error() says what and why in words.
 */
#ifndef FL_ENGINE_H
#define FL_ENGINE_H

#include <stddef.h>
#include <stdbool.h>

#include "../core/access.h"

/* Elements of each section, one half; 0 takes no room. */
struct fl_sizes {
	u64 count[FL_SECTION_COUNT];
};

enum fl_open_mode {
	FL_OPEN_MEMORY, /* anonymous memory: replay */
	FL_OPEN_FILE,	/* made or adopted, locked against a second writer */
	FL_OPEN_READ,	/* another process's region, read-only */
};

enum fl_open_outcome {
	FL_OPEN_CREATED,
	FL_OPEN_ADOPTED,
	FL_OPEN_SET_ASIDE, /* a file of another layout or size was renamed to PATH.old; a new one made */
};

/* Events a control plane may want to know of, coalesced. */
#define FL_EVENT_NEIGHBOUR 1  /* a server's next hop became known, changed or got lost */
#define FL_EVENT_LINK 2	      /* an interface of ours came, went, or changed address, MAC or MTU */
#define FL_EVENT_TABLE_FULL 4 /* a flow was refused a slot */
#define FL_EVENT_WORKER_DIED 8

struct fl_engine;

/* Words for the last failure of this thread. */
const char *fl_error(void);
int fl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* region.c */
int fl_region_open(struct fl_region *region, const char *path, enum fl_open_mode mode, const struct fl_sizes *sizes,
		   u32 workers, enum fl_open_outcome *outcome);
void fl_region_close(struct fl_region *region);
/*
 * An image is a list of blocks { u32 section, u32 first, u32 count, u32 zero } each followed by count elements padded
 * to 8 octets, ended by the buffer's end. Blocks of double-buffered sections count from 0 and go to the inactive half;
 * the only live section an image may write is TABLES. Nothing is written unless all blocks fit. Then the halves flip.
 * -EINVAL, -ENOSPC (no memory for what it needs), -ETIMEDOUT (a worker is stuck in the old half).
 */
int fl_region_commit(struct fl_region *region, const void *image, size_t size);
u64 fl_now(void); /* ns, CLOCK_MONOTONIC */

/* layout.c: hash of sizes, offsets, names and constants of the region; TypeScript holds the same. */
u64 fl_layout_hash(void);

/* adopt.c: puts right what a killed predecessor left half done. Nobody else may be at work. */
void fl_region_mend(struct fl_region *region);

/* age.c: sweeps expired and invalidated flows. One sweep over the whole table; returns flows freed. */
u64 fl_age_sweep(struct fl_region *region, u64 now);

/* packet.c: workers over AF_PACKET rings; also starts ageing and neighbours. `wake` is written (eventfd) after
 * events were or-ed into *events. 1: forwards, but fl_error() has a warning for the operator. */
struct fl_packet;
int fl_packet_start(struct fl_packet **packet, struct fl_region *region, const char *const *interfaces,
		    u32 interface_count, u32 workers, u32 *events, int wake);
/* To be called after each commit: guard, announcements and next hops follow the new image. */
int fl_packet_committed(struct fl_packet *packet);
/* keep_guard: the host goes on ignoring the VIPs' frames, for a successor. */
void fl_packet_stop(struct fl_packet *packet, bool keep_guard);

/* guard.c: BPF programs that tell the kernel which frames are fairlead's (see bpf/guard.bpf.c) */
struct fl_guard;
int fl_guard_open(struct fl_guard **guard, struct fl_region *region);
int fl_guard_update(struct fl_guard *guard); /* from the active half */
int fl_guard_attach_socket(struct fl_guard *guard, int socket_fd);
int fl_guard_attach_fanout(struct fl_guard *guard, int socket_fd, u32 workers);
int fl_guard_attach_link(struct fl_guard *guard, u32 ifindex);
void fl_guard_detach_link(struct fl_guard *guard, u32 ifindex);
void fl_guard_close(struct fl_guard *guard);

/* neighbour.c: a thread that resolves each server's next hop with the kernel's routes and neighbours */
struct fl_neighbour;
int fl_neighbour_start(struct fl_neighbour **neighbour, struct fl_region *region, u32 *events, int wake);
void fl_neighbour_refresh(struct fl_neighbour *neighbour); /* after a commit */
void fl_neighbour_stop(struct fl_neighbour *neighbour);

/* netlink.c: one dump (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH), messages as the kernel sent them. */
int fl_netlink_dump(u16 type, u8 family, unsigned char **messages, size_t *size);

/* replay.c: one frame through the core, in memory. Grows at most to capacity. Returns the verdict. */
struct fl_frame;
struct fl_result;
int fl_replay(struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result);

#endif
