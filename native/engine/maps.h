/*
 * A region of BPF maps, and what region.c and maps.c share: how sections are laid out and what a header says.
 */
#ifndef FL_MAPS_H
#define FL_MAPS_H

#include "engine.h"

/* maps.c. As fl_region_open(), for FL_OPEN_MAPS and for reading a directory. */
int fl_maps_open(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers,
		 enum fl_open_outcome *outcome);
int fl_maps_read(struct fl_region *region, const char *path);
void fl_maps_close(struct fl_region *region);
/* Returns when every program that was running has ended: nobody reads by what was before. */
int fl_maps_settle(const struct fl_region *region);

/* region.c: where everything lies for these sizes; returns the whole size. */
u64 fl_region_plan(struct fl_place *place, const struct fl_sizes *sizes);
/* Fills the header of a region whose sections are in place, the magic last. */
int fl_region_make_header(struct fl_region *region, const struct fl_place *place, u32 workers);
/* Is it a finished region of our layout, and, if sizes are given, of these sizes? */
int fl_region_is_alike(const struct fl_header *header, const struct fl_sizes *sizes, u32 workers);
/* Takes the memory of those sections that a file gets only when they are used, as far as `from` uses them. */
int fl_region_take(struct fl_region *to, const struct fl_region *from);
/* 0, or -ENOMEM in words when the machine does not have so much memory free. */
int fl_region_afford(u64 octets);

#endif
