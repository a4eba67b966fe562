/*
 * Moves what one region holds into another: an engine hands over to the next. Sections that mean the same in both are
 * copied as they are. What workers count is added up under the first one, since the new engine has others.
 *
 * Who forwards over the old region goes on, but frozen: what is ours is dropped, and nothing changes any more. So the new
 * engine may start while the old one still keeps the host from touching what is ours.
 *
 * Flows keep their slots, because both tables have the same number of buckets and the same keys; else they are not
 * moved, and the caller is told.
 */
#include <errno.h>
#include <string.h>

#include "sections.h"

/* What is each worker's own, and what says how the region itself is made. */
static bool is_copied(u32 section)
{
	return section != FL_SECTION_HEADER && section != FL_SECTION_WORKERS && section != FL_SECTION_TRAFFIC;
}

static int check_sizes(const struct fl_region *to, const struct fl_region *from)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		if (is_copied(section) && to->header->place[section].count != from->header->place[section].count)
			return fl_fail(-EINVAL,
				       "the regions differ in size: flows and configuration stay where they are");
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

	for (u32 worker = 0; worker < from->header->worker_count; worker++) {
		add_worker(&to->workers[0], &from->workers[worker]);
		for (u64 slot = 0; slot < servers; slot++)
			add_traffic(&to->traffic[slot], &from->traffic[worker * servers + slot]);
	}
}

/* Sections that are holes in a file until they are needed stay so: reading a hole gives zeros, writing them takes room. */
static void copy_section(struct fl_region *to, const struct fl_region *from, u32 section)
{
	u64 octets = fl_region_octets(from, section);
	const u8 *source = fl_region_section(from, section);
	u8 *target = fl_region_section(to, section);
	static const u8 nothing[4096];

	for (u64 at = 0; at < octets; at += sizeof(nothing)) {
		u64 size = octets - at < sizeof(nothing) ? octets - at : sizeof(nothing);

		if (memcmp(source + at, nothing, size))
			memcpy(target + at, source + at, size);
	}
}

int fl_region_move(struct fl_region *to, struct fl_region *from)
{
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
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		if (is_copied(section))
			copy_section(to, from, section);
	to->settings[header->active_half & 1].is_active = FL_ACTIVE;
	add_counts(to, from);
	fl_region_mend(to);
	/* Last: who finds a region without a commit knows that nothing has come into it, or not all. */
	fl_store(&header->generation, from->header->generation);
	return 0;
}
