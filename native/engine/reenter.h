/* See reenter.c. */
#ifndef FL_REENTER_H
#define FL_REENTER_H

#include "engine.h"

/* All live flows of `from` into the empty table of `to`, which has the same keys and nobody at work on it. Returns how many
 * found no room. */
u64 fl_region_reenter(struct fl_region *to, const struct fl_region *from);
/* All remembered clients of `from` likewise, by the configuration that `to` has; where there is no room those last seen stay. */
void fl_region_remember(struct fl_region *to, const struct fl_region *from);

#endif
