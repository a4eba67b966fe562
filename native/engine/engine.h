/*
 * What the addon sees of the engines, and what the engines share: a region held open, an image committed into it,
 * workers that forward, a thread that ages flows, a thread that follows neighbours.
 *
 * Actions return 0 or a negative errno; when they fail, fl_error() says what and why in words.
 */
#ifndef FL_ENGINE_H
#define FL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "../core/access.h"

/* Elements of each section, one half; 0 takes no room. */
struct fl_sizes {
	u64 count[FL_SECTION_COUNT];
};

enum fl_open_mode {
	FL_OPEN_MEMORY, /* anonymous memory: replay */
	FL_OPEN_FILE,	/* made or adopted, locked against a second writer */
	FL_OPEN_READ,	/* another process's region, read-only; a file or a directory of maps */
	FL_OPEN_MAPS,	/* BPF maps pinned in a directory: made or adopted, locked; "": pinned nowhere, for replay */
	FL_OPEN_LEFT, /* what a predecessor left, a file or a directory, of this version or another, to be moved from; locked */
};

enum fl_open_outcome {
	FL_OPEN_CREATED,
	FL_OPEN_ADOPTED,
	FL_OPEN_SET_ASIDE, /* another layout or size was there and set aside as PATH.old (PATH_old for maps); a new one made */
};

/* Events a control plane may want to know of, coalesced. */
#define FL_EVENT_NEIGHBOUR 1  /* a server's next hop became known, changed or got lost */
#define FL_EVENT_LINK 2	      /* an interface of ours came, went, or changed address, MAC or MTU */
#define FL_EVENT_TABLE_FULL 4 /* a flow was refused a slot */
#define FL_EVENT_WORKER_DIED 8

/* ns, CLOCK_MONOTONIC */
static inline u64 fl_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* words.c: words for the last failure of this thread. */
const char *fl_error(void);
int fl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* region.c */
int fl_region_open(struct fl_region *region, const char *path, enum fl_open_mode mode, const struct fl_sizes *sizes,
		   u32 workers, enum fl_open_outcome *outcome);
void fl_region_close(struct fl_region *region);
void *fl_region_section(const struct fl_region *region, u32 section);
u64 fl_region_octets(const struct fl_region *region, u32 section); /* both halves */
/*
 * commit.c. An image is a list of blocks { u32 section, u32 first, u32 count, u32 zero } each followed by count elements padded
 * to 8 octets, ended by the buffer's end. Blocks of double-buffered sections count from 0 and go to the inactive half;
 * the only live section an image may write is TABLES. Nothing is written unless all blocks fit. Then the halves flip.
 * -EINVAL, -ENOSPC (no memory for what it needs), -ETIMEDOUT (a worker is stuck in the old half).
 */
int fl_region_commit(struct fl_region *region, const void *image, size_t size);

/* layout.c: hash of sizes, offsets, names and constants of the region; TypeScript holds the same. */
u64 fl_layout_hash(void);
/* The same of one section: where its fields lie, what states are called, and FL_REGION_VERSION. */
u64 fl_layout_shape(u32 section);

/* adopt.c: puts right what a killed predecessor left half done. Nobody else may be at work. */
void fl_region_mend(struct fl_region *region);
/* The same where programs in the kernel are at work: only slots that nobody can be at work on. */
void fl_region_mend_live(struct fl_region *region);
/* move.c: another region's configuration, flows and counts come into a new one, whatever either is made of and however
 * many workers and slots each has; flows that find no slot are lost. Nobody may be at work on `to`; `from` is frozen, and stays so. */
int fl_region_move(struct fl_region *to, struct fl_region *from);
/* commit.c: from now on what is ours is dropped, and no flow changes; or again not so. */
int fl_region_freeze(struct fl_region *region);
void fl_region_thaw(struct fl_region *region);

/* age.c: frees expired and invalidated flows. One sweep over the whole table; returns flows freed. */
u64 fl_age_sweep(struct fl_region *region, u64 now);

/* A sweep in parts; all zeroes before the first one. */
struct fl_sweep {
	u64 bucket; /* the next one; 0: a sweep begins */
	u64 generation;
	u64 live; /* flows that were met */
	bool asks_for_vips;
};

/* The same for the next so many buckets, at most up to the table's end. */
u64 fl_age_part(struct fl_region *region, struct fl_sweep *sweep, u64 buckets, u64 now);

/*
 * An engine at work (runner.h): it forwards, ages, follows neighbours. `wake` is written (eventfd) after events were
 * or-ed into *events. Starting gives 1 when it forwards but fl_error() has a warning for the operator.
 */
struct fl_runner;

/* packet.c: workers over AF_PACKET rings; `inherit` is where a predecessor has left its own (inherit.c), or -1. */
int fl_packet_start(struct fl_runner **runner, struct fl_region *region, const char *const *interfaces,
		    u32 interface_count, u32 workers, u32 *events, int wake, int inherit);
/* inherit.c: listens for what a predecessor leaves when it stops. A file descriptor, or negative in words. */
int fl_inherit_listen(const char *path);

/* How an interface is worked on. */
enum fl_attachment {
	FL_ATTACH_NONE,
	FL_ATTACH_PACKET,
	FL_ATTACH_TC,	       /* by tcx where the kernel has it, else by clsact */
	FL_ATTACH_XDP,	       /* in the driver */
	FL_ATTACH_XDP_GENERIC, /* in the stack, as xdp */
	FL_ATTACH_COUNT
};

/* bpf.c: programs in the kernel, over a region of maps. One attachment for each interface: what is wanted goes in, what
 * was had comes out. */
int fl_bpf_start(struct fl_runner **runner, struct fl_region *region, const char *const *interfaces, u32 *attachments,
		 u32 interface_count, u32 *events, int wake);
/* Copies out at most FL_SAMPLES records that have come since last asked; returns how many. None comes unless the
 * header's is_sampling says so. */
struct fl_record;
u32 fl_runner_samples(struct fl_runner *runner, struct fl_record *records);

/* Takes off interfaces what a process that is no more left there for this region: the guard, or programs. */
void fl_detach(const struct fl_region *region, const char *const *interfaces, u32 interface_count);

/* To be called after each commit: announcements and next hops follow the new image. */
int fl_runner_committed(struct fl_runner *runner);
/*
 * With `keep` frames of ours are kept from the host, or forwarded on by the kernel's programs, for a successor. With `heir`
 * that one listens there for rings, and gets them with all that is in them; else NULL.
 */
void fl_runner_stop(struct fl_runner *runner, bool keep, const char *heir);

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

/* The driver's name, as ethtool -i says it; "" when it does not say. */
void fl_driver_of(const char *interface, char *driver, size_t room);

/* netlink.c: one dump (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH), messages as the kernel sent them. */
int fl_netlink_dump(u16 type, u8 family, unsigned char **messages, size_t *size);

/* maps.c: is it a bpffs? With may_mount one is mounted there, its directories made, when it is none. */
int fl_bpffs(const char *path, bool may_mount);

/* maps.c: removes a directory with all that is pinned in it, maps and links, which then end. Nothing there is no failure. */
int fl_maps_remove(const char *path);

#endif
