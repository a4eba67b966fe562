/*
 * The region as memory: made, adopted or set aside.
 *
 * A region file belongs to the process that holds its flock; the lock goes with the process, however it ends, and the
 * file stays, so a successor adopts the flows. Memory is taken up front, because a hole in a file under a full
 * /dev/shm is a SIGBUS in the middle of a packet. Three sections are taken later, by the commit that first needs them:
 * TABLES by the extent, FLOWS6 with the first IPv6 service, STICKIES with the first service that remembers clients.
 */
#define _GNU_SOURCE
#include "maps.h"
#include "sections.h"

#include <errno.h>
#include <fcntl.h>
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

const struct fl_section_kind fl_section_kinds[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) [FL_SECTION_##NAME] = { #name, sizeof(type), halves },
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
	return region->count[section] * fl_section_kinds[section].element;
}

u64 fl_region_plan(struct fl_place *place, const struct fl_sizes *sizes)
{
	u64 at = 0;

	for (int section = 0; section < FL_SECTION_COUNT; section++) {
		u64 count = sizes->count[section] * fl_section_kinds[section].halves;

		place[section] = (struct fl_place){
			.shape = fl_layout_shape(section),
			.offset = at,
			.count = count,
			.element = fl_section_kinds[section].element,
			.halves = fl_section_kinds[section].halves,
		};
		at = (at + count * fl_section_kinds[section].element + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	return at;
}

void fl_region_point_at(struct fl_region *region, u32 section, void *memory, u64 count)
{
	region->count[section] = count;
	switch (section) {
#define X(NAME, name, type, halves)    \
	case FL_SECTION_##NAME:        \
		region->name = memory; \
		break;
		FL_SECTIONS(X)
#undef X
	}
}

static void point_at(struct fl_region *region, const struct fl_place *place)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		fl_region_point_at(region, section, (u8 *)region->base + place[section].offset, place[section].count);
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
	header->sticky_buckets = place[FL_SECTION_STICKIES].count;
	memcpy(header->place, place, FL_SECTION_COUNT * sizeof(*place));
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

int fl_region_reserve(int fd, const char *path, u64 offset, u64 size)
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

bool fl_region_is_sticky(const struct fl_region *region)
{
	for (u64 i = 0; i < region->count[FL_SECTION_SERVICES]; i++)
		if (region->services[i].sticky_ticks)
			return true;
	return false;
}

/* A file's holes are found by what is in them: tables up to the last entry, IPv6 addresses and clients all or none. */
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
	code = fl_region_reserve(to->fd, "the region", place[FL_SECTION_TABLES].offset,
				 tables * sizeof(struct fl_table_pair));
	for (u64 i = 0; i < from->count[FL_SECTION_SERVICES]; i++)
		has_v6 |= from->services[i].is_v6;
	if (!code && has_v6)
		code = fl_region_reserve(to->fd, "the region", place[FL_SECTION_FLOWS6].offset,
					 to->count[FL_SECTION_FLOWS6] * sizeof(struct fl_flow6));
	if (!code && fl_region_is_sticky(from))
		code = fl_region_reserve(to->fd, "the region", place[FL_SECTION_STICKIES].offset,
					 to->count[FL_SECTION_STICKIES] * sizeof(struct fl_stickies));
	return code;
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

static bool is_taken_later(int section)
{
	return section == FL_SECTION_TABLES || section == FL_SECTION_FLOWS6 || section == FL_SECTION_STICKIES;
}

static int create(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers)
{
	struct fl_place place[FL_SECTION_COUNT];
	u64 needed = 0;
	int code;

	region->size = fl_region_plan(place, sizes);
	for (int section = 0; section < FL_SECTION_COUNT; section++)
		if (!is_taken_later(section))
			needed += place[section].count * place[section].element;
	code = fl_region_afford(needed);
	if (code)
		return code;
	if (region->fd >= 0) {
		if (ftruncate(region->fd, 0) || ftruncate(region->fd, region->size))
			return fl_fail(-errno, "%s: cannot grow to %llu MiB: %s", path,
				       (unsigned long long)(region->size >> 20), strerror(errno));
		for (int section = 0; section < FL_SECTION_COUNT; section++) {
			if (is_taken_later(section))
				continue;
			code = fl_region_reserve(region->fd, path, place[section].offset,
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

/* What a region has of its own, and what a move does without: counts begin anew, next hops are asked for again. */
static bool may_be_unlike(u32 section)
{
	static const u32 sections[] = { FL_SECTION_HOPS,    FL_SECTION_SERVICE_STATE, FL_SECTION_SERVER_STATE,
					FL_SECTION_WORKERS, FL_SECTION_TRAFFIC,	      FL_SECTION_DATAGRAMS,
					FL_SECTION_CLIENTS, FL_SECTION_STICKIES,      FL_SECTION_TRAILS };

	for (u32 i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		if (sections[i] == section)
			return true;
	return false;
}

const struct fl_place *fl_region_find(const struct fl_header *header, u32 section)
{
	u64 shape = fl_layout_shape(section);

	for (u32 i = 0; i < FL_SECTIONS_MOST; i++) {
		const struct fl_place *place = &header->place[i];

		if (place->shape != shape || place->element != fl_section_kinds[section].element ||
		    place->halves != fl_section_kinds[section].halves || place->count % place->halves ||
		    place->offset % ALIGNMENT)
			continue;
		if (place->offset > header->size || place->count > (header->size - place->offset) / place->element)
			return NULL;
		return place;
	}
	return NULL;
}

int fl_region_check_left(const struct fl_header *header, const char *path)
{
	if (header->magic != FL_MAGIC)
		return fl_fail(-EINVAL, "%s is no region", path);
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		if (!may_be_unlike(section) && !fl_region_find(header, section))
			return fl_fail(-EINVAL,
				       "%s is of another version, with another layout of its %s: its connections, %llu "
				       "when they were last counted, are lost",
				       path, fl_section_kinds[section].name, (unsigned long long)header->live_flows);
	return 0;
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

static int open_left(struct fl_region *region, const char *path)
{
	struct fl_header header = { 0 };
	struct stat status;
	int code;

	if (stat(path, &status))
		return fl_fail(-errno, "cannot open the region %s: %s", path, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return fl_maps_left(region, path);
	region->fd = open_locked(path);
	if (region->fd < 0)
		return region->fd;
	if (pread(region->fd, &header, sizeof(header), 0) != sizeof(header) || fstat(region->fd, &status) ||
	    header.size != (u64)status.st_size)
		return fl_fail(-EINVAL, "%s is no whole region", path);
	code = fl_region_check_left(&header, path);
	if (code)
		return code;
	region->size = header.size;
	code = map(region, path, PROT_READ | PROT_WRITE);
	for (u32 section = 0; !code && section < FL_SECTION_COUNT; section++) {
		const struct fl_place *place = fl_region_find(&header, section);

		if (place)
			fl_region_point_at(region, section, (u8 *)region->base + place->offset, place->count);
	}
	return code;
}

int fl_region_open(struct fl_region *region, const char *path, enum fl_open_mode mode, const struct fl_sizes *sizes,
		   u32 workers, enum fl_open_outcome *outcome)
{
	int code;

	*region = (struct fl_region){ .fd = -1, .is_writable = mode != FL_OPEN_READ, .is_left = mode == FL_OPEN_LEFT };
	*outcome = FL_OPEN_CREATED;
	if (mode == FL_OPEN_MEMORY)
		code = create(region, "memory", sizes, workers);
	else if (mode == FL_OPEN_FILE)
		code = open_file(region, path, sizes, workers, outcome);
	else if (mode == FL_OPEN_MAPS)
		code = fl_maps_open(region, path, sizes, workers, outcome);
	else if (mode == FL_OPEN_LEFT)
		code = open_left(region, path);
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
