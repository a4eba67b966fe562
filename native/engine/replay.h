/* The core over frames in memory, in user space or in the kernel: see replay.c. */
#ifndef FL_REPLAY_H
#define FL_REPLAY_H

#include "../core/forward.h"
#include "engine.h"

/* One frame through the core in user space. Grows at most to its room. Returns the verdict. */
int fl_replay(struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result);

/* The same through the kernel's programs, over a region of maps. */
struct fl_replayer;
int fl_replayer_open(struct fl_replayer **replayer, struct fl_region *region, bool is_tc);
/* 0 and the result, or a negative errno in words: what the kernel cannot be given (-EOPNOTSUPP), or refuses. */
int fl_replayer_run(struct fl_replayer *replayer, struct fl_frame *frame, u64 now, struct fl_result *result);
void fl_replayer_close(struct fl_replayer *replayer);

#endif
