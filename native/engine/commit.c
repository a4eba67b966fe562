/*
 * Configurations into the region: a commit, and a region that is frozen for a move.
 *
 * A commit writes the half that no frame reads: workers say which half they decide by (half_in_use), and the commit
 * waits until none is in the half it wants.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "maps.h"
#include "sections.h"

#define COMMIT_WAIT_NS 2000000000ull /* a batch takes under a millisecond; a worker that needs more is stuck */
#define COMMIT_POLL_NS 20000

struct block {
	u32 section;
	u32 first;
	u32 count;
	u32 zero;
};

u64 fl_region_first(const struct fl_region *region, u32 section, u32 half)
{
	return fl_section_kinds[section].halves == 2 ? half * (region->count[section] / 2) : 0;
}

/* The block at an offset, checked; its length in *length. */
static int read_block(const struct fl_region *region, const u8 *image, size_t size, size_t at, struct block *block,
		      size_t *length)
{
	u64 capacity, octets;

	if (size - at < sizeof(*block))
		return fl_fail(-EINVAL, "the image ends inside a block header");
	memcpy(block, image + at, sizeof(*block));
	if (block->section >= FL_SECTION_COUNT)
		return fl_fail(-EINVAL, "the image names section %u, which is none", block->section);
	if (fl_section_kinds[block->section].halves != 2 && block->section != FL_SECTION_TABLES)
		return fl_fail(-EINVAL, "an image may not write %s", fl_section_kinds[block->section].name);
	capacity = region->count[block->section] / fl_section_kinds[block->section].halves;
	if ((u64)block->first + block->count > capacity)
		return fl_fail(-ENOSPC, "%llu %s do not fit the %llu of the region",
			       (unsigned long long)block->first + block->count, fl_section_kinds[block->section].name,
			       (unsigned long long)capacity);
	octets = (u64)block->count * fl_section_kinds[block->section].element;
	if (size - at - sizeof(*block) < octets)
		return fl_fail(-EINVAL, "the image ends inside a block of %s", fl_section_kinds[block->section].name);
	*length = sizeof(*block) + ((octets + 7) & ~7ull);
	if (*length > size - at)
		*length = size - at;
	return 0;
}

static int take_section(struct fl_region *region, u32 section)
{
	return fl_region_reserve(region->maps ? -1 : region->fd, "the region", region->header->place[section].offset,
				 fl_region_octets(region, section));
}

/* What only some services need. */
static int take_for_services(struct fl_region *region, const u8 *content, u32 count)
{
	bool has_v6 = false, is_sticky = false;
	int code = 0;

	for (u32 i = 0; i < count; i++) {
		struct fl_service service;

		memcpy(&service, content + (size_t)i * sizeof(service), sizeof(service));
		has_v6 |= service.is_v6;
		is_sticky |= service.sticky_ticks != 0;
	}
	if (has_v6)
		code = take_section(region, FL_SECTION_FLOWS6);
	if (!code && is_sticky)
		code = take_section(region, FL_SECTION_STICKIES);
	return code;
}

/* Checks every block and takes the memory that the image will touch. */
static int check_image(struct fl_region *region, const u8 *image, size_t size)
{
	int backing = region->maps ? -1 : region->fd;
	struct block block;
	size_t length;

	for (size_t at = 0; at < size; at += length) {
		const u8 *content = image + at + sizeof(block);
		int code = read_block(region, image, size, at, &block, &length);

		if (code)
			return code;
		if (block.section == FL_SECTION_TABLES)
			code = fl_region_reserve(backing, "the region",
						 region->header->place[FL_SECTION_TABLES].offset +
							 (u64)block.first * sizeof(struct fl_table_pair),
						 (u64)block.count * sizeof(struct fl_table_pair));
		if (!code && block.section == FL_SECTION_SERVICES)
			code = take_for_services(region, content, block.count);
		if (code)
			return code;
	}
	return 0;
}

static int wait_for_half(const struct fl_region *region, u32 half)
{
	const struct timespec pause = { .tv_nsec = COMMIT_POLL_NS };
	u64 deadline = fl_now() + COMMIT_WAIT_NS;

	for (u32 worker = 0; worker < region->header->worker_count; worker++)
		while (__atomic_load_n(&region->workers[worker].half_in_use, __ATOMIC_SEQ_CST) == 1 + half) {
			if (fl_now() > deadline)
				return fl_fail(-ETIMEDOUT, "worker %u has not left the old configuration for 2 s",
					       worker);
			nanosleep(&pause, NULL);
		}
	return region->maps ? fl_maps_settle(region) : 0; /* BPF programs name no half: see there */
}

/*
 * A slot given to another server starts without the former one's next hop and counts. The counts go when the slot is
 * taken, not when it is given up: until the next commit has waited for them, workers in the half that still has the
 * former server go on counting its flows.
 */
static void forget_former_servers(struct fl_region *region, u32 old_first, u32 new_first, u32 capacity)
{
	for (u32 slot = 0; slot < capacity; slot++) {
		const struct fl_server *old = &region->servers[old_first + slot],
				       *new = &region->servers[new_first + slot];
		bool is_other = (old->generation ^ new->generation) & ~FL_GENERATION_EPOCH;
		bool is_taken = new->flags &FL_SERVER_USED && (is_other || !(old->flags & FL_SERVER_USED));

		if (is_other || is_taken)
			fl_store(&region->hops[slot], (u64)0);
		if (!is_taken)
			continue;
		region->server_state[slot] = (struct fl_server_state){ 0 };
		for (u32 worker = 0; worker < region->header->worker_count; worker++)
			region->traffic[(u64)worker * capacity + slot] = (struct fl_traffic){ 0 };
	}
}

/* Open flows of each service: those of its servers. What workers count meanwhile may be lost, until the next commit. */
static void count_services(struct fl_region *region, u32 first, u32 capacity)
{
	u64 services = region->count[FL_SECTION_SERVICE_STATE];
	u32 *open = calloc(services, sizeof(*open));

	if (!open)
		return;
	for (u32 slot = 0; slot < capacity; slot++) {
		const struct fl_server *server = &region->servers[first + slot];

		if (server->flags & FL_SERVER_USED && server->service < services)
			open[server->service] += fl_load(&region->server_state[slot].open);
	}
	for (u64 i = 0; i < services; i++)
		fl_store(&region->service_state[i].open, open[i]);
	free(open);
}

/* A slot that another service has by now, or one that does so no more, is not compute-only. */
static void end_computing(struct fl_region *region, const struct fl_settings *from, const struct fl_settings *to)
{
	const struct fl_service *old = region->services + from->first[FL_SECTION_SERVICES];
	const struct fl_service *new = region->services + to->first[FL_SECTION_SERVICES];

	for (u64 i = 0; i < region->count[FL_SECTION_SERVICE_STATE]; i++) {
		struct fl_service_state *state = &region->service_state[i];

		if (new[i].half_open &&new[i].id == old[i].id)
			continue;
		fl_store(&state->half_open, (u64)0);
		fl_store(&state->computing_since, 0U);
		fl_store(&state->computing_ended, 0U);
	}
}

/* A commit of what stands, but for is_active: all who decide do so by it when this returns. */
int fl_region_freeze(struct fl_region *region)
{
	u32 old = region->header->active_half & 1, half = 1 - old;
	struct fl_settings *settings = &region->settings[half];
	int code;

	if (region->is_left) { /* only programs in the kernel may be at work, of another version even: by one word of theirs */
		fl_store(&region->settings[old].is_active, (u32)FL_FROZEN);
		return region->maps ? fl_maps_settle(region) : 0;
	}
	code = wait_for_half(region, half);
	if (code)
		return code;
	for (u32 section = 0; section < FL_SECTION_COUNT; section++) {
		u64 octets = fl_region_octets(region, section) / 2;
		u8 *first = fl_region_section(region, section);

		if (fl_section_kinds[section].halves == 2)
			memcpy(first + half * octets, first + old * octets, octets);
	}
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		settings->first[section] = fl_region_first(region, section, half);
	settings->is_active = FL_FROZEN;
	fl_store(&region->header->active_half, half);
	return wait_for_half(region, old);
}

void fl_region_thaw(struct fl_region *region)
{
	fl_store(&region->settings[region->header->active_half & 1].is_active, (u32)FL_ACTIVE);
}

int fl_region_commit(struct fl_region *region, const void *image, size_t size)
{
	struct fl_header *header = region->header;
	u32 half = 1 - (header->active_half & 1);
	struct fl_settings *settings = &region->settings[half];
	u32 capacity = region->count[FL_SECTION_SERVERS] / 2;
	struct block block;
	size_t length;
	int code;

	if (!region->is_writable)
		return fl_fail(-EROFS, "this region was opened for reading");
	code = check_image(region, image, size);
	if (!code)
		code = wait_for_half(region, half);
	if (code)
		return code;
	for (size_t at = 0; at < size; at += length) {
		u64 first;

		read_block(region, image, size, at, &block, &length);
		first = fl_region_first(region, block.section, half) + block.first;
		memcpy((u8 *)fl_region_section(region, block.section) + first * fl_section_kinds[block.section].element,
		       (const u8 *)image + at + sizeof(block),
		       (size_t)block.count * fl_section_kinds[block.section].element);
	}
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		settings->first[section] = fl_region_first(region, section, half);
	settings->server_capacity = capacity;
	settings->methods = 0;
	for (u64 i = 0; i < region->count[FL_SECTION_SERVICES] / 2; i++) {
		const struct fl_service *service = &region->services[settings->first[FL_SECTION_SERVICES] + i];

		settings->methods |= 1u << service->method;
		if (service->flags & FL_SERVICE_HAIRPIN) /* whose answers are found as full-nat's */
			settings->methods |= 1u << FL_METHOD_FULL_NAT;
	}
	forget_former_servers(region, (1 - half) * capacity, half * capacity, capacity);
	count_services(region, half * capacity, capacity);
	end_computing(region, &region->settings[1 - half], &region->settings[half]);
	fl_store(&header->generation, header->generation + 1);
	fl_store(&header->active_half, half);
	return 0;
}
