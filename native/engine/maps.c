/*
 * A region whose sections are BPF arrays: the kernel's programs and this process work on the very same memory.
 *
 * Theory of operation. Every section is an array map made with BPF_F_MMAPABLE and mapped here; struct fl_region points
 * into the mappings, so all that works on a region file works on this. The maps are pinned in a directory of a bpffs,
 * which outlives the process as a file under /dev/shm does: PATH/header, PATH/flows, ... The directory is locked
 * (flock), so there is one writer; a directory whose header is of another layout or size is renamed to PATH_old.
 *
 * A commit must know that nobody decides by the half it is about to write. Workers of the packet engine say which half
 * they are in; programs in the kernel do not, as that would cost each frame a fence. They run inside an RCU read-side
 * section instead, and fl_maps_settle() waits for a grace period: an update of a map of maps returns only after one
 * (kernel/bpf/syscall.c, maybe_wait_bpf_programs; Linux 4.20).
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "maps.h"
#include "sections.h"
#include "words.h"

#define BPFFS_MAGIC 0xcafe4a11 /* linux/magic.h */
#define PATH_OCTETS 4096

/* Elements of the map for so many of the section: a direct one is a single element. */
static u64 entries_for(u32 section, u64 count)
{
	return section <= FL_SECTION_INTERFACES ? 1 : count;
}

static size_t mapped_size(u64 octets)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (octets + page - 1) / page * page;
}

/* The map's memory in this process, its fd kept in the region. */
static int take_map(struct fl_region *region, u32 section, int fd, u64 count, int protection)
{
	void *memory;

	region->map_fd[section] = fd;
	memory = mmap(NULL, mapped_size(count * fl_section_kinds[section].element), protection, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return fl_fail(-errno, "the map %s cannot be mapped: %s", fl_section_kinds[section].name,
			       strerror(errno));
	fl_region_point_at(region, section, memory, count);
	return 0;
}

static int make_map(struct fl_region *region, u32 section, u64 count)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	u64 room = count ? count : 1; /* an array without elements cannot be made */
	char name[BPF_OBJ_NAME_LEN];
	int fd;

	snprintf(name, sizeof(name), "fl_%.12s", fl_section_kinds[section].name);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(u32),
			    fl_section_kinds[section].element * (room / entries_for(section, room)),
			    entries_for(section, room), &options);
	if (fd < 0)
		return fl_fail(-errno, "the kernel makes no map of %llu MiB for %s: %s%s",
			       (unsigned long long)(room * fl_section_kinds[section].element >> 20),
			       fl_section_kinds[section].name, errno == EPERM ? fl_words_for(-EPERM) : strerror(errno),
			       errno == ENOMEM ? "; lower flows, or raise the memory limit of this control group" : "");
	return take_map(region, section, fd, room, PROT_READ | PROT_WRITE);
}

static int path_in(char *path, const char *directory, const char *name)
{
	return snprintf(path, PATH_OCTETS, "%s/%s", directory, name) < PATH_OCTETS
		       ? 0
		       : fl_fail(-ENAMETOOLONG, "%s: the path is too long", directory);
}

static int pin_maps(const struct fl_region *region, const char *directory)
{
	char path[PATH_OCTETS];

	for (u32 section = 0; section < FL_SECTION_COUNT; section++) {
		int code = path_in(path, directory, fl_section_kinds[section].name);

		if (code)
			return code;
		if (bpf_obj_pin(region->map_fd[section], path))
			return fl_fail(-errno, "%s: cannot pin a map: %s", path, strerror(errno));
	}
	return 0;
}

static int create(struct fl_region *region, const char *directory, const struct fl_sizes *sizes, u32 workers)
{
	struct fl_place place[FL_SECTION_COUNT];
	int code;

	region->size = fl_region_plan(place, sizes);
	if (sizes->count[FL_SECTION_INTERFACES] != FL_INTERFACES_MOST)
		return fl_fail(-EINVAL, "the programs in the kernel know %u interfaces", FL_INTERFACES_MOST);
	code = fl_region_afford(region->size);
	for (u32 section = 0; !code && section < FL_SECTION_COUNT; section++)
		code = make_map(region, section, place[section].count);
	if (!code && directory)
		code = pin_maps(region, directory);
	return code ? code : fl_region_make_header(region, place, workers);
}

static int get_map(const char *directory, u32 section, struct bpf_map_info *info)
{
	char path[PATH_OCTETS];
	u32 size = sizeof(*info);
	int code = path_in(path, directory, fl_section_kinds[section].name), fd;

	if (code)
		return code;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	memset(info, 0, sizeof(*info));
	if (bpf_obj_get_info_by_fd(fd, info, &size) || info->type != BPF_MAP_TYPE_ARRAY ||
	    info->value_size % fl_section_kinds[section].element || !(info->map_flags & BPF_F_MMAPABLE)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

/* Negative without words: there is none of this version. */
static int adopt_map(struct fl_region *region, const char *directory, u32 section, int protection)
{
	struct bpf_map_info info;
	int fd = get_map(directory, section, &info);

	return fd < 0 ? fd
		      : take_map(region, section, fd,
				 (u64)info.max_entries * info.value_size / fl_section_kinds[section].element,
				 protection);
}

/* Takes the maps that are pinned there. Negative without words: not a whole region of this version. */
static int adopt(struct fl_region *region, const char *directory, int protection)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++) {
		int code = adopt_map(region, directory, section, protection);

		if (code)
			return code;
	}
	region->size = region->header->size;
	return 0;
}

static bool has_region(const char *directory)
{
	char path[PATH_OCTETS];

	return path_in(path, directory, fl_section_kinds[FL_SECTION_HEADER].name) == 0 && access(path, F_OK) == 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs system;

	return statfs(path, &system) == 0 && (u32)system.f_type == BPFFS_MAGIC;
}

/* mkdir -p */
static int make_directories(const char *path)
{
	char part[PATH_OCTETS];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(part, 0755);
		*slash = '/';
	}
	return mkdir(part, 0700) && errno != EEXIST ? -errno : 0;
}

int fl_bpffs(const char *path, bool may_mount)
{
	int code;

	if (is_bpffs(path))
		return 0;
	if (!may_mount)
		return fl_fail(-ENOENT, "%s is no bpffs", path);
	code = make_directories(path);
	if (!code && mount("bpffs", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		code = -errno;
	return code ? fl_fail(code, "no bpffs can be mounted on %s: %s%s", path, strerror(-code),
			      code == -ENODEV ? "; this kernel lacks CONFIG_BPF_SYSCALL" : "")
		    : 0;
}

/* Opens the directory, made if need be, and takes its lock; the directory the path names then is the locked one. */
static int open_locked(const char *path)
{
	struct stat opened, named;
	int fd;

	if (mkdir(path, 0700) && errno != EEXIST)
		return fl_fail(-errno, "cannot make the directory %s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fl_fail(-errno, "cannot open the region %s: %s", path, strerror(errno));
	if (fstat(fd, &opened) || opened.st_uid != geteuid() || opened.st_mode & 022) {
		close(fd);
		return fl_fail(-EPERM, "the region %s is not this user's alone: remove it", path);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) || stat(path, &named) || named.st_ino != opened.st_ino) {
		close(fd);
		return fl_fail(-EBUSY, "another fairlead works on the region %s: end it, or give this one another name",
			       path);
	}
	return fd;
}

static void unmap(struct fl_region *region)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++) {
		if (region->count[section])
			munmap(fl_region_section(region, section),
			       mapped_size(region->count[section] * fl_section_kinds[section].element));
		if (region->map_fd[section] >= 0)
			close(region->map_fd[section]);
		region->map_fd[section] = -1;
		region->count[section] = 0;
	}
}

/* What was there gives way, together with the links pinned beside it: who replaces them finds them under PATH_old. */
static int set_aside(struct fl_region *region, const char *path)
{
	char aside[PATH_OCTETS];

	if (snprintf(aside, sizeof(aside), "%s_old", path) >= (int)sizeof(aside))
		return fl_fail(-ENAMETOOLONG, "%s: the path is too long", path);
	fl_maps_remove(aside);
	if (rename(path, aside))
		return fl_fail(-errno, "cannot set the region %s aside: %s", path, strerror(errno));
	close(region->fd);
	region->fd = open_locked(path);
	return region->fd < 0 ? region->fd : 0;
}

static void prepare(struct fl_region *region)
{
	region->maps = 1;
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		region->map_fd[section] = -1;
}

int fl_maps_open(struct fl_region *region, const char *path, const struct fl_sizes *sizes, u32 workers,
		 enum fl_open_outcome *outcome)
{
	int code;

	prepare(region);
	if (!path[0])
		return create(region, NULL, sizes, workers);
	region->fd = open_locked(path);
	if (region->fd < 0)
		return region->fd;
	if (has_region(path)) {
		if (adopt(region, path, PROT_READ | PROT_WRITE) == 0 &&
		    fl_region_is_alike(region->header, sizes, workers)) {
			*outcome = FL_OPEN_ADOPTED;
			return 0;
		}
		unmap(region);
		*outcome = FL_OPEN_SET_ASIDE;
		code = set_aside(region, path);
		if (code)
			return code;
	}
	code = create(region, path, sizes, workers);
	if (code)
		fl_maps_remove(path);
	return code;
}

int fl_maps_read(struct fl_region *region, const char *path)
{
	int code;

	prepare(region);
	code = adopt(region, path, PROT_READ);
	if (code || !fl_region_is_alike(region->header, NULL, 0))
		return fl_fail(-EINVAL, "%s is not a region of this version's layout", path);
	return 0;
}

int fl_maps_left(struct fl_region *region, const char *path)
{
	int code;

	prepare(region);
	region->fd = open_locked(path);
	if (region->fd < 0)
		return region->fd;
	code = adopt_map(region, path, FL_SECTION_HEADER, PROT_READ | PROT_WRITE);
	if (code)
		return fl_fail(-EINVAL,
			       "%s is of another version, with another layout of its header: its connections are lost",
			       path);
	code = fl_region_check_left(region->header, path);
	for (u32 section = FL_SECTION_HEADER + 1; !code && section < FL_SECTION_COUNT; section++)
		if (fl_region_find(region->header, section))
			code = adopt_map(region, path, section, PROT_READ | PROT_WRITE);
	if (code == -ENOENT)
		return fl_fail(code, "%s is no whole region", path);
	region->size = region->header->size;
	return code;
}

void fl_maps_close(struct fl_region *region)
{
	unmap(region);
	region->maps = 0;
}

int fl_maps_remove(const char *path)
{
	char file[PATH_OCTETS];
	struct dirent *entry;
	DIR *directory = opendir(path);

	if (!directory)
		return errno == ENOENT ? 0 : fl_fail(-errno, "%s: %s", path, strerror(errno));
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.' && path_in(file, path, entry->d_name) == 0)
			unlink(file);
	closedir(directory);
	return rmdir(path) ? fl_fail(-errno, "cannot remove %s: %s", path, strerror(errno)) : 0;
}

int fl_maps_settle(const struct fl_region *region)
{
	static const u32 zero;
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "fl_settle", sizeof(u32), sizeof(u32), 1, NULL), outer = -1,
	    code;
	LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = inner);

	(void)region;
	if (inner >= 0)
		outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "fl_settle", sizeof(u32), sizeof(u32), 1, &options);
	code = outer < 0 || bpf_map_update_elem(outer, &zero, &inner, 0)
		       ? fl_fail(-errno, "cannot wait for the kernel's programs: %s", strerror(errno))
		       : 0;
	if (inner >= 0)
		close(inner);
	if (outer >= 0)
		close(outer);
	return code;
}
