/*
 * The region as memory: made, adopted or set aside, and committed into.
 *
 * A region file belongs to the process that holds its flock; the lock goes with the process, however it ends, and the
 * file stays, so a successor adopts the flows. Memory is taken up front, because a hole in a file under a full
 * /dev/shm is a SIGBUS in the middle of a packet. Two sections are taken later, by the commit that first needs them:
 * TABLES by the extent, FLOWS6 with the first IPv6 service.
 *
 * A commit writes the half that no frame reads: workers say which half they decide by (half_in_use), and the commit
 * waits until none is in the half it wants.
 */
#define _GNU_SOURCE
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ALIGNMENT 4096
#define COMMIT_WAIT_NS 2000000000ull /* a batch takes under a millisecond; a worker that needs more is stuck */
#define COMMIT_POLL_NS 20000

static _Thread_local char words[512];

const char *fl_error(void)
{
	return words[0] ? words : "no failure noted";
}

int fl_fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return code;
}

u64 fl_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000ull + now.tv_nsec;
}

static const u32 element_of[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = sizeof(type),
	FL_SECTIONS(X)
#undef X
};

static const u32 halves_of[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = halves,
	FL_SECTIONS(X)
#undef X
};

static const char *const name_of[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = #name,
	FL_SECTIONS(X)
#undef X
};

void *fl_region_section(const struct fl_region *region, u32 section)
{
	void *const sections[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = region->name,
		FL_SECTIONS(X)
#undef X
	};

	return sections[section];
}

u64 fl_region_octets(const struct fl_region *region, u32 section)
{
	return region->count[section] * element_of[section];
}

u64 fl_region_plan(struct fl_place *place, const struct fl_sizes *sizes)
{
	u64 at = 0;

	for (int section = 0; section < FL_SECTION_COUNT; section++) {
		u64 count = sizes->count[section] * halves_of[section];

		place[section] = (struct fl_place){
			.offset = at,
			.count = count,
			.element = element_of[section],
			.halves = halves_of[section],
		};
		at = (at + count * element_of[section] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	return at;
}

static void point_at(struct fl_region *region, const struct fl_place *place)
{
	u8 *base = region->base;

#define X(NAME, name, type, halves)                                      \
	region->name = (type *)(base + place[FL_SECTION_##NAME].offset); \
	region->count[FL_SECTION_##NAME] = place[FL_SECTION_##NAME].count;
	FL_SECTIONS(X)
#undef X
}

int fl_region_make_header(struct fl_region *region, const struct fl_place *place, u32 workers)
{
	struct fl_header *header = region->header;
	struct timespec now;

	if (getrandom(header->seed, sizeof(header->seed), 0) != sizeof(header->seed) ||
	    getrandom(&header->schedule_seed, sizeof(u64), 0) != sizeof(u64))
		return fl_fail(-EIO, "the kernel gives no random numbers: %s", strerror(errno));
	header->seed[1] |= 1;
	header->seed[2] |= 1;
	clock_gettime(CLOCK_REALTIME, &now);
	header->created_ns = (u64)now.tv_sec * 1000000000ull + now.tv_nsec;
	header->layout_hash = fl_layout_hash();
	header->size = region->size;
	header->worker_count = workers;
	header->buckets = place[FL_SECTION_TAGS].count;
	memcpy(header->place, place, sizeof(header->place));
	/* The magic comes last: a file without it was never finished. */
	fl_store(&header->magic, (u64)FL_MAGIC);
	return 0;
}

int fl_region_afford(u64 octets)
{
	unsigned long long kilobytes = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1)
			break;
	fclose(file);
	if (!kilobytes || octets <= kilobytes * 1024)
		return 0;
	return fl_fail(-ENOMEM, "the region needs %llu MiB and the machine has %llu MiB free: lower flows",
		       (unsigned long long)(octets >> 20), kilobytes >> 10);
}

static int reserve(int fd, const char *path, u64 offset, u64 size)
{
	if (fd < 0 || !size || !fallocate(fd, 0, offset, size)) /* BPF arrays are there whole from the start */
		return 0;
	if (errno == ENOSPC)
		return fl_fail(-ENOSPC,
			       "%s needs %llu MiB more than the file system has: free some, make it larger "
			       "(mount -o remount,size=... /dev/shm) or lower flows",
			       path, (unsigned long long)(size >> 20) + 1);
	return fl_fail(-errno, "%s: cannot take %llu MiB: %s", path, (unsigned long long)(size >> 20) + 1,
		       strerror(errno));
}

static int map(struct fl_region *region, const char *path, int protection)
{
	int flags = region->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;

	region->base = mmap(NULL, region->size, protection, flags, region->fd, 0);
	if (region->base == MAP_FAILED) {
		region->base = NULL;
		return fl_fail(-errno, "cannot map %llu MiB of %s: %s", (unsigned long long)(region->size >> 20), path,
			       strerror(errno));
	}
	/* A random flow costs a TLB miss on small pages; the kernel may refuse, then it does. */
	madvise(region->base, region->size, MADV_HUGEPAGE);
	return 0;
}

static int create(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers)
{
	struct fl_place place[FL_SECTION_COUNT];
	u64 needed = 0;
	int code;

	region->size = fl_region_plan(place, sizes);
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		if (section != FL_SECTION_TABLES && section != FL_SECTION_FLOWS6)
			needed += place[section].count * place[section].element;
	code = fl_region_afford(needed);
	if (code)
		return code;
	if (region->fd >= 0) {
		if (ftruncate(region->fd, 0) || ftruncate(region->fd, region->size))
			return fl_fail(-errno, "%s: cannot grow to %llu MiB: %s", path,
				       (unsigned long long)(region->size >> 20), strerror(errno));
		for (int section = 0; section < FL_SECTION_COUNT; section++) {
			if (section == FL_SECTION_TABLES || section == FL_SECTION_FLOWS6)
				continue;
			code = reserve(region->fd, path, place[section].offset,
				       place[section].count * place[section].element);
			if (code)
				return code;
		}
	}
	code = map(region, path, PROT_READ | PROT_WRITE);
	if (code)
		return code;
	point_at(region, place);
	return fl_region_make_header(region, place, workers);
}

int fl_region_is_alike(const struct fl_header *header, const struct fl_sizes *sizes, u32 workers)
{
	struct fl_place place[FL_SECTION_COUNT];

	if (header->magic != FL_MAGIC || header->layout_hash != fl_layout_hash())
		return 0;
	if (!sizes)
		return 1;
	return fl_region_plan(place, sizes) == header->size && !memcmp(place, header->place, sizeof(place)) &&
	       header->worker_count == workers;
}

static int is_alike(int fd, const struct fl_sizes *sizes, u32 workers, struct fl_header *header)
{
	struct stat status;

	return pread(fd, header, sizeof(*header), 0) == sizeof(*header) && fstat(fd, &status) == 0 &&
	       header->size == (u64)status.st_size && fl_region_is_alike(header, sizes, workers);
}

/* Who can write a region decides where frames go and what this process reads: nobody but ourselves may. */
static int check_owner(int fd, const char *path)
{
	struct stat status;

	if (fstat(fd, &status))
		return fl_fail(-errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || status.st_nlink > 1 || status.st_mode & 022)
		return fl_fail(-EPERM, "the region %s is not a file of this user alone (owner %u, mode %o): remove it",
			       path, status.st_uid, status.st_mode & 07777);
	return 0;
}

/* Opens the file and takes its lock; the file that the path names then is the one that is locked. */
static int open_locked(const char *path)
{
	for (int attempt = 0; attempt < 10; attempt++) {
		struct stat opened, named;
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640), refused;

		if (fd < 0)
			return fl_fail(-errno, "cannot open the region %s: %s", path, strerror(errno));
		refused = check_owner(fd, path);
		if (refused) {
			close(fd);
			return refused;
		}
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			int code = errno == EWOULDBLOCK ? -EBUSY : -errno;

			close(fd);
			return code == -EBUSY ? fl_fail(code,
							"another fairlead works on the region %s: end it, or give "
							"this one another name",
							path)
					      : fl_fail(code, "cannot lock %s: %s", path, strerror(-code));
		}
		if (!fstat(fd, &opened) && !stat(path, &named) && opened.st_ino == named.st_ino &&
		    opened.st_dev == named.st_dev)
			return fd;
		close(fd);
	}
	return fl_fail(-EBUSY, "the region %s is being replaced over and over", path);
}

static int open_file(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers,
		     enum fl_open_outcome *outcome)
{
	struct fl_header header = { 0 }; /* a short file has none */
	struct stat status;
	int code;

	*outcome = FL_OPEN_CREATED;
	region->fd = open_locked(path);
	if (region->fd < 0)
		return region->fd;
	if (is_alike(region->fd, sizes, workers, &header)) {
		*outcome = FL_OPEN_ADOPTED;
		region->size = header.size;
		code = map(region, path, PROT_READ | PROT_WRITE);
		if (!code)
			point_at(region, header.place);
		return code;
	}
	if (fstat(region->fd, &status))
		return fl_fail(-errno, "%s: %s", path, strerror(errno));
	if (status.st_size && header.magic == FL_MAGIC) {
		char aside[4096];

		snprintf(aside, sizeof(aside), "%s.old", path);
		if (rename(path, aside))
			return fl_fail(-errno, "cannot set the region %s aside: %s", path, strerror(errno));
		*outcome = FL_OPEN_SET_ASIDE;
		close(region->fd);
		region->fd = open_locked(path);
		if (region->fd < 0)
			return region->fd;
	}
	code = create(region, path, sizes, workers);
	if (code)
		unlink(path);
	return code;
}

static int open_read(struct fl_region *region, const char *path)
{
	struct fl_header header;
	struct stat status;
	int code;

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return fl_maps_read(region, path);
	region->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (region->fd < 0)
		return fl_fail(-errno, "cannot open the region %s: %s", path, strerror(errno));
	if (!is_alike(region->fd, NULL, 0, &header))
		return fl_fail(-EINVAL, "%s is not a region of this version's layout", path);
	region->size = header.size;
	code = map(region, path, PROT_READ);
	if (!code)
		point_at(region, header.place);
	return code;
}

int fl_region_open(struct fl_region *region, const char *path, enum fl_open_mode mode, const struct fl_sizes *sizes,
		   u32 workers, enum fl_open_outcome *outcome)
{
	int code;

	*region = (struct fl_region){ .fd = -1, .is_writable = mode != FL_OPEN_READ };
	*outcome = FL_OPEN_CREATED;
	if (mode == FL_OPEN_MEMORY)
		code = create(region, "memory", sizes, workers);
	else if (mode == FL_OPEN_FILE)
		code = open_file(region, path, sizes, workers, outcome);
	else if (mode == FL_OPEN_MAPS)
		code = fl_maps_open(region, path, sizes, workers, outcome);
	else
		code = open_read(region, path);
	if (code)
		fl_region_close(region);
	else if (*outcome == FL_OPEN_ADOPTED && !region->maps)
		fl_region_mend(region);
	else if (*outcome == FL_OPEN_ADOPTED)
		fl_region_mend_live(region);
	return code;
}

void fl_region_close(struct fl_region *region)
{
	if (region->maps)
		fl_maps_close(region);
	if (region->base)
		munmap(region->base, region->size);
	if (region->fd >= 0)
		close(region->fd);
	region->base = NULL;
	region->fd = -1;
}

struct block {
	u32 section;
	u32 first;
	u32 count;
	u32 zero;
};

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
	if (halves_of[block->section] != 2 && block->section != FL_SECTION_TABLES)
		return fl_fail(-EINVAL, "an image may not write %s", name_of[block->section]);
	capacity = region->count[block->section] / halves_of[block->section];
	if ((u64)block->first + block->count > capacity)
		return fl_fail(-ENOSPC, "%llu %s do not fit the %llu of the region",
			       (unsigned long long)block->first + block->count, name_of[block->section],
			       (unsigned long long)capacity);
	octets = (u64)block->count * element_of[block->section];
	if (size - at - sizeof(*block) < octets)
		return fl_fail(-EINVAL, "the image ends inside a block of %s", name_of[block->section]);
	*length = sizeof(*block) + ((octets + 7) & ~7ull);
	if (*length > size - at)
		*length = size - at;
	return 0;
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
			code = reserve(backing, "the region",
				       region->header->place[FL_SECTION_TABLES].offset +
					       (u64)block.first * sizeof(struct fl_table_pair),
				       (u64)block.count * sizeof(struct fl_table_pair));
		for (u32 i = 0; !code && block.section == FL_SECTION_SERVICES && i < block.count; i++) {
			struct fl_service service;

			memcpy(&service, content + (size_t)i * sizeof(service), sizeof(service));
			if (!service.is_v6)
				continue;
			code = reserve(backing, "the region", region->header->place[FL_SECTION_FLOWS6].offset,
				       region->count[FL_SECTION_FLOWS6] * sizeof(struct fl_flow6));
			break;
		}
		if (code)
			return code;
	}
	return 0;
}

/* A file's holes are found by what is in them: tables up to the last entry, and IPv6 addresses all or none. */
int fl_region_take(struct fl_region *to, const struct fl_region *from)
{
	const struct fl_place *place = to->header->place;
	u64 tables = from->count[FL_SECTION_TABLES];
	bool has_v6 = false;
	int code;

	if (to->fd < 0 || to->maps)
		return 0;
	while (tables && !(from->tables[tables - 1].slot[0] | from->tables[tables - 1].slot[1]))
		tables--;
	code = reserve(to->fd, "the region", place[FL_SECTION_TABLES].offset, tables * sizeof(struct fl_table_pair));
	for (u64 i = 0; i < from->count[FL_SECTION_SERVICES]; i++)
		has_v6 |= from->services[i].is_v6;
	if (!code && has_v6)
		code = reserve(to->fd, "the region", place[FL_SECTION_FLOWS6].offset,
			       to->count[FL_SECTION_FLOWS6] * sizeof(struct fl_flow6));
	return code;
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
		bool is_other = old->generation != new->generation;
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

/* A commit of what stands, but for is_active: all who decide do so by it when this returns. */
int fl_region_freeze(struct fl_region *region)
{
	u32 old = region->header->active_half & 1, half = 1 - old;
	struct fl_settings *settings = &region->settings[half];
	int code = wait_for_half(region, half);

	if (code)
		return code;
	for (u32 section = 0; section < FL_SECTION_COUNT; section++) {
		u64 octets = fl_region_octets(region, section) / 2;
		u8 *first = fl_region_section(region, section);

		if (halves_of[section] == 2)
			memcpy(first + half * octets, first + old * octets, octets);
	}
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		settings->first[section] = halves_of[section] == 2 ? half * (region->count[section] / 2) : 0;
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
		first = block.first + (halves_of[block.section] == 2 ? half * (region->count[block.section] / 2) : 0);
		memcpy((u8 *)fl_region_section(region, block.section) + first * element_of[block.section],
		       (const u8 *)image + at + sizeof(block), (size_t)block.count * element_of[block.section]);
	}
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		settings->first[section] = halves_of[section] == 2 ? half * (region->count[section] / 2) : 0;
	settings->server_capacity = capacity;
	settings->methods = 0;
	for (u64 i = 0; i < region->count[FL_SECTION_SERVICES] / 2; i++)
		settings->methods |= 1u << region->services[settings->first[FL_SECTION_SERVICES] + i].method;
	forget_former_servers(region, (1 - half) * capacity, half * capacity, capacity);
	fl_store(&header->generation, header->generation + 1);
	fl_store(&header->active_half, half);
	return 0;
}
