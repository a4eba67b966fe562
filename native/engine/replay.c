/* The core over a frame in memory, for tests, explanations and measurements. */
#include "../core/forward.h"
#include "engine.h"

int fl_replay(struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	return fl_forward(region, frame, now, result);
}
