/*
 * Fragments that came before their first one, kept by whoever took them until that one has come, for a second at most.
 * Memory is bounded, and taken with the first.
 */
#ifndef FL_KEEP_H
#define FL_KEEP_H

#include "../core/forward.h"

#define FL_KEPT_MOST 64
#define FL_KEEP_POLL_MS 2 /* how often is looked whether it has come */

struct fl_kept;

struct fl_keep {
	struct fl_kept *kept; /* FL_KEPT_MOST; NULL until the first */
	u32 count;
};

/* Keeps a copy of a frame that the core said to keep. What there is no room for is dropped, and counted as a fragment. */
void fl_keep_put(struct fl_keep *keep, const struct fl_frame *frame, u64 now, struct fl_worker *counters);

/* Has the core decide on those whose first fragment has come, and hands those that go on to `leave`. What has waited long
 * enough is dropped, and counted. The caller says before which half of the configuration is in use. */
void fl_keep_try(struct fl_keep *keep, const struct fl_region *region, u32 worker, u64 now,
		 void (*leave)(void *context, struct fl_frame *frame, const struct fl_result *result), void *context);

void fl_keep_free(struct fl_keep *keep);

#endif
