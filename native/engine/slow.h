/*
 * What programs in the kernel report: frames for the slow path, which are decided and answered here, and samples, which
 * are kept for whoever asked for them. One thread, "fl-slow".
 */
#ifndef FL_SLOW_H
#define FL_SLOW_H

#include <pthread.h>

#include "../core/forward.h"
#include "../core/record.h"
#include "engine.h"

#define FL_SAMPLES 1024

struct fl_slow {
	struct fl_region *region;
	const u32 *ifindex; /* by interface id; the runner's */
	u32 worker;	    /* whose counters it writes: the last one of the region */
	struct ring_buffer *records;
	int socket_fd;
	u8 *room; /* for the frame at work */
	pthread_t thread;
	bool is_started;
	bool is_stopping; /* atomic */
	u32 *events;
	int wake;

	/* Samples not fetched yet: written by the thread, taken by the control plane's. */
	pthread_mutex_t lock;
	struct fl_record *samples;
	u32 sample_count;
};

int fl_slow_start(struct fl_slow *slow, int records_fd);
void fl_slow_stop(struct fl_slow *slow);
/* Copies out at most FL_SAMPLES records that have come since last asked; returns how many. */
u32 fl_slow_samples(struct fl_slow *slow, struct fl_record *samples);

/* What becomes of a frame that the kernel left to user space: the decision, on `room` octets of memory at frame->data. */
int fl_slow_decide(struct fl_region *region, u32 worker, const struct fl_record *record, struct fl_frame *frame,
		   u64 now, struct fl_result *result);

#endif
