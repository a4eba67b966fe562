/* See samples.h. */
#include <stdlib.h>
#include <string.h>

#include "samples.h"

void fl_samples_open(struct fl_samples *samples)
{
	pthread_mutex_init(&samples->lock, NULL);
}

void fl_samples_put(struct fl_samples *samples, const struct fl_record *records, u32 count)
{
	pthread_mutex_lock(&samples->lock);
	if (!samples->records)
		samples->records = calloc(FL_SAMPLES, sizeof(*records));
	/* All or none: a frame's before and after stay together. */
	if (samples->records && samples->count + count <= FL_SAMPLES) {
		memcpy(samples->records + samples->count, records, count * sizeof(*records));
		samples->count += count;
	}
	pthread_mutex_unlock(&samples->lock);
}

u32 fl_samples_take(struct fl_samples *samples, struct fl_record *records)
{
	u32 count;

	pthread_mutex_lock(&samples->lock);
	count = samples->count;
	if (count)
		memcpy(records, samples->records, count * sizeof(*records));
	samples->count = 0;
	pthread_mutex_unlock(&samples->lock);
	return count;
}

void fl_samples_close(struct fl_samples *samples)
{
	free(samples->records);
	pthread_mutex_destroy(&samples->lock);
}
