/*
 * A copy of the core's programs in the kernel, over a region of maps: one for each interface, because what is constant
 * for it (struct fl_entry) is made so before the verifier and the JIT see it.
 */
#ifndef FL_PROGRAM_H
#define FL_PROGRAM_H

#include "../core/record.h"
#include "engine.h"

struct fl_program {
	struct bpf_object *object;
	int fd; /* of the entry that was loaded: what an interface runs */
	int further_fd; /* the map by which it goes on to its longer half: empty when no process holds it and it is not pinned */
	int ports_fd;	/* interface id -> ifindex, for xdp */
	int records_fd; /* ring buffer of struct fl_record */
	int replay_fd;	/* struct fl_replayed, in a replay's copy; else negative */
};

/* Loads the entry. `first` is another copy whose maps this one shares, or NULL. 0 or a negative errno in words. */
int fl_program_load(struct fl_program *program, const struct fl_region *region, struct fl_entry entry,
		    const struct fl_program *first, bool is_replay);
/* The same of an object file in memory, which the core was compiled to in another way. */
int fl_program_load_build(struct fl_program *program, const struct fl_region *region, struct fl_entry entry,
			  const struct fl_program *first, const char *object, size_t size);
void fl_program_close(struct fl_program *program);

/* Frames in several buffers need Linux 5.18. */
bool fl_kernel_has_frags(void);

#endif
