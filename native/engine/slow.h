/*
 * What programs in the kernel report: frames for the slow path, which are decided and sent here, and samples, which
 * go to whoever asked for them. One thread, "fl-slow".
 */
#ifndef FL_SLOW_H
#define FL_SLOW_H

#include <pthread.h>

#include "../core/forward.h"
#include "../core/record.h"
#include "engine.h"
#include "keep.h"
#include "samples.h"

struct fl_slow {
	struct fl_region *region;
	const u32 *ifindex; /* by interface id; the runner's */
	u32 worker;	    /* whose counters it writes: the last one of the region */
	struct ring_buffer *records;
	int socket_fd;
	u8 *room; /* for the frame at work */
	struct fl_keep keep;
	pthread_t thread;
	bool is_started;
	bool is_stopping;	    /* atomic */
	struct fl_samples *samples; /* the runner's */
};

int fl_slow_start(struct fl_slow *slow, int records_fd);
void fl_slow_stop(struct fl_slow *slow);

/* What becomes of a frame that the kernel left to user space: the decision, on `room` octets of memory at frame->data. */
int fl_slow_decide(struct fl_region *region, u32 worker, const struct fl_record *record, struct fl_frame *frame,
		   u64 now, struct fl_result *result);

#endif
