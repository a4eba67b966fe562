/*
 * Moves what one region holds into another: an engine hands over to the next, or a region is made anew in other sizes.
 * Sections that mean the same in both are copied as they are. What workers count is added up under the first one, since the
 * new engine has others.
 *
 * Who forwards over the old region goes on, but frozen: what is ours is dropped, and nothing changes any more. So the new
 * engine may start while the old one still keeps the host from touching what is ours.
 *
 * What another version left is moved from as well, as far as its sections are alike to ours: without those that are not,
 * counts begin anew and next hops are asked for again. When what flows need is not alike, there is nothing to move.
 *
 * Flows keep their slots where both tables have the same number of buckets, else each is entered anew (reenter.c), and
 * those that find no room are lost; and so do remembered clients. Sections of the configuration may have grown; into
 * smaller ones nothing is moved.
 */
#include <errno.h>
#include <string.h>

#include "reenter.h"
#include "sections.h"

/* What is each worker's own, and what says how the region itself is made. */
static bool is_copied(u32 section)
{
	return section != FL_SECTION_HEADER && section != FL_SECTION_WORKERS && section != FL_SECTION_TRAFFIC &&
	       section != FL_SECTION_STICKIES;
}

/* What flows are found by, and what names them by their place. */
static bool is_of_flows(u32 section)
{
	return section == FL_SECTION_TAGS || section == FL_SECTION_FLOWS || section == FL_SECTION_FLOWS6 ||
	       section == FL_SECTION_RETURNS || section == FL_SECTION_DATAGRAMS;
}

static int check_sizes(const struct fl_region *to, const struct fl_region *from)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		if (is_copied(section) && !is_of_flows(section) && to->count[section] < from->count[section])
			return fl_fail(
				-EINVAL,
				"the new region has room for fewer %s: flows and configuration stay where they are",
				fl_section_kinds[section].name);
	return 0;
}

static void add_worker(struct fl_worker *sum, const struct fl_worker *worker)
{
	for (u32 reason = 0; reason < FL_REASON_COUNT; reason++)
		sum->reasons[reason] += worker->reasons[reason];
	sum->ring_drops += worker->ring_drops;
	sum->send_errors += worker->send_errors;
}

static void add_traffic(struct fl_traffic *sum, const struct fl_traffic *traffic)
{
	sum->in_frames += traffic->in_frames;
	sum->in_octets += traffic->in_octets;
	sum->out_frames += traffic->out_frames;
	sum->out_octets += traffic->out_octets;
}

static void add_counts(struct fl_region *to, const struct fl_region *from)
{
	u64 servers = from->count[FL_SECTION_SERVERS] / 2;

	for (u64 worker = 0; worker < from->count[FL_SECTION_WORKERS]; worker++)
		add_worker(&to->workers[0], &from->workers[worker]);
	for (u64 i = 0; i < from->count[FL_SECTION_TRAFFIC]; i++)
		add_traffic(&to->traffic[i % servers], &from->traffic[i]);
}

/* Sections that are holes in a file until they are needed stay so: reading a hole gives zeros, writing them takes room. */
static void copy(u8 *target, const u8 *source, u64 octets)
{
	static const u8 nothing[4096];

	for (u64 at = 0; at < octets; at += sizeof(nothing)) {
		u64 size = octets - at < sizeof(nothing) ? octets - at : sizeof(nothing);

		if (memcmp(source + at, nothing, size))
			memcpy(target + at, source + at, size);
	}
}

/* Each half begins where it does in its own region. */
static void copy_section(struct fl_region *to, const struct fl_region *from, u32 section)
{
	u32 halves = fl_section_kinds[section].halves;
	u64 octets = fl_region_octets(from, section) / halves, stride = fl_region_octets(to, section) / halves;

	for (u32 half = 0; half < halves; half++)
		copy((u8 *)fl_region_section(to, section) + half * stride,
		     (const u8 *)fl_region_section(from, section) + half * octets, octets);
}

/* Where the half in use begins in each section, now that it may begin elsewhere. */
static void point_at_half(struct fl_region *region)
{
	u32 half = region->header->active_half & 1;
	struct fl_settings *settings = &region->settings[half];

	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		settings->first[section] = (u32)fl_region_first(region, section, half);
	settings->server_capacity = (u32)(region->count[FL_SECTION_SERVERS] / 2);
	settings->is_active = FL_ACTIVE;
}

int fl_region_move(struct fl_region *to, struct fl_region *from)
{
	bool is_same_table = to->header->buckets == from->header->buckets;
	struct fl_header *header = to->header;
	int code = check_sizes(to, from);

	if (!code)
		code = fl_region_take(to, from);
	if (!code)
		code = fl_region_freeze(from);
	if (code)
		return code;
	memcpy(header->seed, from->header->seed, sizeof(header->seed));
	header->schedule_seed = from->header->schedule_seed;
	header->active_half = from->header->active_half;
	header->pressure_tick = from->header->pressure_tick;
	header->first_tick = from->header->first_tick;
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		if (is_copied(section) && (is_same_table || !is_of_flows(section)))
			copy_section(to, from, section);
	point_at_half(to);
	if (fl_region_is_sticky(from)) {
		if (to->count[FL_SECTION_STICKIES] == from->count[FL_SECTION_STICKIES])
			copy_section(to, from, FL_SECTION_STICKIES);
		else
			fl_region_remember(to, from);
	}
	if (!is_same_table)
		fl_region_reenter(to, from);
	add_counts(to, from);
	fl_region_mend(to);
	/* Last: who finds a region without a commit knows that nothing has come into it, or not all. */
	fl_store(&header->generation, from->header->generation);
	return 0;
}
