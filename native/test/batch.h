/* Many frames at once through the core, which is compiled here for all tests: under sanitizers that takes the longest. */
#ifndef FL_TEST_BATCH_H
#define FL_TEST_BATCH_H

#include "../core/batch.h"

void replay_batch(const struct fl_region *region, struct fl_frame *frames, struct fl_result *results, u32 count,
		  u64 now);

#endif
