/* A region of BPF maps: see maps.c. */
#ifndef FL_MAPS_H
#define FL_MAPS_H

#include "engine.h"

/* As fl_region_open(), for FL_OPEN_MAPS and for reading a directory. */
int fl_maps_open(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers,
		 enum fl_open_outcome *outcome);
int fl_maps_read(struct fl_region *region, const char *path);
/* For FL_OPEN_LEFT: those maps that are alike to ours. */
int fl_maps_left(struct fl_region *region, const char *path);
void fl_maps_close(struct fl_region *region);
/* Returns when every program that was running has ended: nobody reads by what was before. */
int fl_maps_settle(const struct fl_region *region);

#endif
