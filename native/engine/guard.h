/*
 * The guard, opened: one BPF object in the kernel and this process's hold on it.
 *
 * Owned by the control plane's thread, which opens it before the workers start and closes it after they ended, because
 * region->claims points into it in between. What it left attached to links outlives it: fl_guard_detach_link is a
 * decision of its own.
 */
#ifndef FL_GUARD_H
#define FL_GUARD_H

#include "../core/guard.h"
#include "engine.h"

#define FL_GUARD_PROGRAM "fairlead_guard"

struct fl_guard_entry {
	struct fl_guard_address key;
	u32 flags;
};

/* A map's wanted contents, sorted by key; what the map holds, unless a change failed half-way. */
struct fl_guard_set {
	int fd;
	bool is_uncertain;
	struct fl_guard_entry *entries;
	u32 count;
};

struct fl_guard {
	struct fl_region *region;
	struct bpf_object *object;
	int filter_fd, drop_fd, steer_fd; /* programs */
	u32 instance;
	struct fl_guard_set owned;
	struct fl_guard_set servers;
	struct fl_guard_claims *claims;
	size_t claims_size;
	struct fl_trail_claim *trails;
	size_t trails_size;
	struct fl_guard_parameters *parameters;
	size_t parameters_size;
};

#endif
