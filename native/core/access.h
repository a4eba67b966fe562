/*
 * How the core reaches the region's sections: fl_<section>_at(region, index) is the element or NULL outside the array.
 * In user space a struct fl_region points into one mapping; in BPF each section is a map named fl_<section>.
 */
#ifndef FL_ACCESS_H
#define FL_ACCESS_H

#include "platform.h"
#include "region.h"

#ifdef __bpf__

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct fl_region {
	u32 unused;
};

/*
 * Sections that every frame reads and that have a fixed size are variables: each is one map with one element, whose address
 * is known when the program is loaded, and costs nothing. (libbpf makes a map of each .data section, and the loader puts
 * the region's in its place.)
 */
struct fl_header fl_direct_header[1] SEC(".data.header");
struct fl_settings fl_direct_settings[2] SEC(".data.settings");
struct fl_interface fl_direct_interfaces[2 * FL_INTERFACES_MOST] SEC(".data.interfaces");

#define FL_DIRECT(section, element, most)                                                           \
	FL_INLINE element *fl_##section##_at(const struct fl_region *region, u32 index)             \
	{                                                                                           \
		(void)region;                                                                       \
		if (index >= (most))                                                                \
			return NULL;                                                                \
		asm volatile("" : "+r"(index)); /* or clang checks one register and adds another */ \
		if (index >= (most))                                                                \
			return NULL;                                                                \
		return &fl_direct_##section[index];                                                 \
	}
FL_DIRECT(header, struct fl_header, 1)
FL_DIRECT(settings, struct fl_settings, 2)
FL_DIRECT(interfaces, struct fl_interface, 2 * FL_INTERFACES_MOST)
#undef FL_DIRECT

/* Sizes are set by the loader before load; 1 keeps the object valid by itself. */
#define X(NAME, section, element, halves)                                               \
	struct {                                                                        \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                       \
		__uint(map_flags, BPF_F_MMAPABLE);                                      \
		__uint(max_entries, 1);                                                 \
		__type(key, u32);                                                       \
		__type(value, element);                                                 \
	} fl_##section SEC(".maps");                                                    \
	FL_INLINE element *fl_##section##_at(const struct fl_region *region, u32 index) \
	{                                                                               \
		(void)region;                                                           \
		return bpf_map_lookup_elem(&fl_##section, &index);                      \
	}
FL_TABLE_SECTIONS(X)
#undef X

#else

struct fl_region {
	void *base;
	u64 size; /* octets of all sections */
	int fd;	  /* -1: memory only */
	int maps; /* 1: each section is a BPF map, and `base` is NULL */
	int map_fd[FL_SECTION_COUNT];
	int is_writable;
	int is_left; /* a predecessor's, maybe of another version: sections that are not alike are NULL, and have no elements */
	/* Packet engine, see bpf/guard.bpf.c: parallel to FLOWS and TRAILS, or NULL. */
	u64 *claims;
	struct fl_trail_claim *trail_claims;
#define X(NAME, section, type, halves) type *section;
	FL_SECTIONS(X)
#undef X
	u64 count[FL_SECTION_COUNT]; /* elements, both halves together */
};

#define X(NAME, section, type, halves)                                                                            \
	FL_INLINE type *fl_##section##_at(const struct fl_region *region, u32 index)                              \
	{                                                                                                         \
		return FL_LIKELY(index < region->count[FL_SECTION_##NAME]) ? region->section + index : (type *)0; \
	}
FL_SECTIONS(X)
#undef X

#endif

/* The server slot at an entry of TABLES, or NULL. */
FL_INLINE const u32 *fl_table_slot(const struct fl_region *region, u32 index)
{
	const struct fl_table_pair *pair = fl_tables_at(region, index / 2);

	if (!pair)
		return NULL;
	index &= 1;
#ifdef __bpf__
	asm volatile("" : "+r"(index)); /* or clang adds to the pointer before it is known not to be NULL */
#endif
	return &pair->slot[index];
}

#endif
