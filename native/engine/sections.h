/*
 * What all share that make, take or fill a region (region.c, maps.c, commit.c, move.c): how sections are laid out, what a
 * header says, and what memory a section takes.
 */
#ifndef FL_SECTIONS_H
#define FL_SECTIONS_H

#include "engine.h"

struct fl_section_kind {
	const char *name;
	u32 element; /* octets */
	u32 halves;  /* 2: double-buffered */
};

extern const struct fl_section_kind fl_section_kinds[FL_SECTION_COUNT];

/* Where everything lies for these sizes; returns the whole size. */
u64 fl_region_plan(struct fl_place *place, const struct fl_sizes *sizes);
/* Fills the header of a region whose sections are in place, the magic last. */
int fl_region_make_header(struct fl_region *region, const struct fl_place *place, u32 workers);
/* The region has so many elements of the section there. */
void fl_region_point_at(struct fl_region *region, u32 section, void *memory, u64 count);
/* Where a region, of this version or another, has what is alike to our section; NULL when it has nothing like it. */
const struct fl_place *fl_region_find(const struct fl_header *header, u32 section);
/* 0: all that flows need is alike to ours. Else -EINVAL, and words that say what is lost. */
int fl_region_check_left(const struct fl_header *header, const char *path);
/* Is it a finished region of our layout, and, if sizes are given, of these sizes? */
int fl_region_is_alike(const struct fl_header *header, const struct fl_sizes *sizes, u32 workers);
/* commit.c: where a section's elements of a half begin. */
u64 fl_region_first(const struct fl_region *region, u32 section, u32 half);
/* Takes the memory of those sections that a file gets only when they are used, as far as `from` uses them. */
int fl_region_take(struct fl_region *to, const struct fl_region *from);
/* Has a service remembered clients, by either half? Else STICKIES may have no memory yet. */
bool fl_region_is_sticky(const struct fl_region *region);
/* 0, or -ENOMEM in words when the machine does not have so much memory free. */
int fl_region_afford(u64 octets);
/* Takes memory of a region's file, of which errors name the path; -1 is a region that has all its memory already. */
int fl_region_reserve(int fd, const char *path, u64 offset, u64 size);

#endif
