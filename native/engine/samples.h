/* Decisions that somebody asked to see, waiting to be fetched: any thread puts, the control plane's takes. */
#ifndef FL_SAMPLES_H
#define FL_SAMPLES_H

#include <pthread.h>

#include "../core/record.h"

#define FL_SAMPLES 2048 /* records; what comes while so many wait is lost, and only what is seen suffers */

struct fl_samples {
	pthread_mutex_t lock;
	struct fl_record *records; /* made with the first one */
	u32 count;
};

void fl_samples_open(struct fl_samples *samples);
void fl_samples_put(struct fl_samples *samples, const struct fl_record *records, u32 count);
/* Copies out what waits, at most FL_SAMPLES records; returns how many. */
u32 fl_samples_take(struct fl_samples *samples, struct fl_record *records);
void fl_samples_close(struct fl_samples *samples);

#endif
