/*
 * Region files: made, adopted, set aside, refused; and what a full file system gets. Needs root for a file system of its
 * own, which goes with the process.
 */
#define _GNU_SOURCE
#include "check.h"
#include "core-world.h"
#include "../engine/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 4096

static char folder[] = "/tmp/fairlead-region-XXXXXX";
static char path[64], aside[64];
static struct fl_sizes sizes;
static enum fl_open_outcome outcome;

static int open_file(struct fl_region *region)
{
	return fl_region_open(region, path, FL_OPEN_FILE, &sizes, 1, &outcome);
}

static void write_file(const void *octets, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	if (fd < 0 || write(fd, octets, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void clean(void)
{
	unlink(path);
	unlink(aside);
}

static int says(const char *words)
{
	if (strstr(fl_error(), words))
		return 1;
	printf("  it says: %s\n", fl_error());
	return 0;
}

/* One UDP datagram of a client, through the core. */
static u32 send_frame(struct fl_region *region)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_client(1, 0),
		.to = world_vip(WORLD_UDP),
		.from_port = 4000,
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_UDP,
		.ttl = 64,
	};
	struct fl_frame frame = { .data = data, .len = world_frame(data, &ends), .room = sizeof(data) };
	struct fl_result result = { 0 };

	fl_replay(region, &frame, 1000 * WORLD_TICK, &result);
	return result.reason;
}

static void test_life(void)
{
	struct fl_region first, second;
	u32 generations[WORLD_SERVERS];

	CASE("a region file is made, and whoever comes next adopts it with its flows");
	world_generations(generations);
	CHECK(!open_file(&first) && outcome == FL_OPEN_CREATED);
	CHECK(!world_commit(&first, generations));
	CHECK(send_frame(&first) == FL_REASON_NEW_FLOW);
	fl_region_close(&first);
	CHECK(!open_file(&first) && outcome == FL_OPEN_ADOPTED);
	CHECK(send_frame(&first) == FL_REASON_CLIENT_HIT);
	CHECK(!world_fault(&first));

	CASE("a second opener is refused, and the first works on");
	CHECK(open_file(&second) == -EBUSY && says("another fairlead works on the region"));
	CHECK(send_frame(&first) == FL_REASON_CLIENT_HIT);

	CASE("a reader sees what the writer does");
	CHECK(!fl_region_open(&second, path, FL_OPEN_READ, NULL, 0, &outcome));
	CHECK(second.header->generation == 1);
	CHECK(!world_commit(&first, generations));
	CHECK(second.header->generation == 2);
	CHECK(fl_region_commit(&second, "", 0) == -EROFS);
	fl_region_close(&second);
	fl_region_close(&first);

	CASE("a region of other sizes is set aside and a new one made");
	sizes = world_sizes(SLOTS * 2, 1);
	CHECK(!open_file(&first) && outcome == FL_OPEN_SET_ASIDE);
	CHECK(!access(aside, F_OK));
	CHECK(!first.header->generation);
	fl_region_close(&first);
	sizes = world_sizes(SLOTS, 1);
	clean();
}

static void test_killed(void)
{
	struct fl_region region;
	u32 generations[WORLD_SERVERS];
	int status;
	pid_t child;

	CASE("a region left by a killed process is adopted, also when it was killed in a batch");
	world_generations(generations);
	child = fork();
	if (!child) {
		if (open_file(&region) || world_commit(&region, generations) ||
		    send_frame(&region) != FL_REASON_NEW_FLOW)
			_exit(1);
		region.workers[0].half_in_use = 1;
		kill(getpid(), SIGKILL);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	CHECK(!open_file(&region) && outcome == FL_OPEN_ADOPTED);
	CHECK(send_frame(&region) == FL_REASON_CLIENT_HIT);
	CHECK(!world_commit(&region, generations) && !world_commit(&region, generations));
	CHECK(!world_fault(&region));
	fl_region_close(&region);
	clean();
}

static void test_foreign(void)
{
	static u8 garbage[10000];
	struct fl_region region;
	struct fl_header header = { .magic = FL_MAGIC, .layout_hash = 1 };
	struct stat status;

	CASE("a region of another layout is set aside, and kept");
	write_file(&header, sizeof(header));
	CHECK(!open_file(&region) && outcome == FL_OPEN_SET_ASIDE);
	CHECK(!stat(aside, &status) && status.st_size == sizeof(header));
	fl_region_close(&region);

	CASE("a truncated region is set aside");
	clean();
	CHECK(!open_file(&region));
	fl_region_close(&region);
	CHECK(!truncate(path, 100000));
	CHECK(fl_region_open(&region, path, FL_OPEN_READ, NULL, 0, &outcome) == -EINVAL);
	CHECK(!open_file(&region) && outcome == FL_OPEN_SET_ASIDE);
	fl_region_close(&region);

	CASE("what was never finished is made anew");
	clean();
	memset(garbage, 7, sizeof(garbage));
	write_file(garbage, sizeof(garbage));
	CHECK(!open_file(&region) && outcome == FL_OPEN_CREATED);
	fl_region_close(&region);
	write_file("", 0);
	CHECK(!open_file(&region) && outcome == FL_OPEN_CREATED);
	fl_region_close(&region);
	write_file("fai", 3);
	CHECK(!open_file(&region) && outcome == FL_OPEN_CREATED);
	fl_region_close(&region);

	CASE("a link is not followed: who may write in the folder must not choose the file");
	clean();
	CHECK(!symlink("/etc/passwd", path));
	CHECK(open_file(&region) < 0);
	clean();
}

/* As if another version had made it: with its own hash, another order of sections, and these laid out otherwise. */
static void make_foreign(const u32 *unlike, u32 count)
{
	struct fl_header header;
	struct fl_place first;
	int fd = open(path, O_RDWR);

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	header.layout_hash++;
	for (u32 i = 0; i < count; i++)
		header.place[unlike[i]].shape++;
	first = header.place[0];
	memmove(&header.place[0], &header.place[1], (FL_SECTIONS_MOST - 1) * sizeof(first));
	header.place[FL_SECTIONS_MOST - 1] = first;
	if (pwrite(fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	close(fd);
}

static int open_left(struct fl_region *region)
{
	enum fl_open_outcome none;

	return fl_region_open(region, aside, FL_OPEN_LEFT, NULL, 0, &none);
}

static void test_left(void)
{
	static const u32 workers[] = { FL_SECTION_WORKERS, FL_SECTION_TRAFFIC, FL_SECTION_HOPS },
			 flows[] = { FL_SECTION_FLOWS };
	struct fl_region region, left, again;
	u32 generations[WORLD_SERVERS];

	CASE("flows are carried over from another version's region, whatever of it is laid out otherwise but what "
	     "flows need");
	clean();
	world_generations(generations);
	CHECK(!open_file(&region) && !world_commit(&region, generations));
	CHECK(send_frame(&region) == FL_REASON_NEW_FLOW);
	CHECK(fl_age_sweep(&region, 1000 * WORLD_TICK) == 0 && region.header->live_flows == 1);
	fl_region_close(&region);
	make_foreign(workers, 3);
	sizes = world_sizes(SLOTS * 2, 1);
	CHECK(!open_file(&region) && outcome == FL_OPEN_SET_ASIDE);
	CHECK(!open_left(&left));
	CHECK(!left.workers && !left.count[FL_SECTION_WORKERS] && left.count[FL_SECTION_FLOWS] == SLOTS);
	CHECK(open_left(&again) == -EBUSY);
	CHECK(!fl_region_move(&region, &left));
	CHECK(left.settings[left.header->active_half].is_active == FL_FROZEN);
	fl_region_close(&left);
	CHECK(send_frame(&region) == FL_REASON_NO_NEIGHBOUR);
	CHECK(!world_commit(&region, generations));
	CHECK(send_frame(&region) == FL_REASON_CLIENT_HIT);
	CHECK(!world_fault(&region));
	fl_region_close(&region);

	CASE("flows that are laid out otherwise are lost, and it is said how many");
	make_foreign(flows, 1);
	sizes = world_sizes(SLOTS, 1);
	CHECK(!open_file(&region) && outcome == FL_OPEN_SET_ASIDE);
	CHECK(open_left(&left) == -EINVAL && says("with another layout of its flows: its connections, 0 when"));
	fl_region_close(&region);
	write_file("fai", 3);
	CHECK(!rename(path, aside));
	CHECK(open_left(&left) == -EINVAL && says("is no whole region"));
	clean();
}

static void test_commit_refusals(void)
{
	struct fl_region region;
	u32 block[8] = { FL_SECTION_SERVERS, WORLD_SERVERS, 1, 0 };
	u64 generation;
	u32 generations[WORLD_SERVERS];

	CASE("an image that is wrong anywhere changes nothing");
	world_generations(generations);
	world_open(&region, SLOTS, 1);
	generation = region.header->generation;
	CHECK(fl_region_commit(&region, block, sizeof(block)) == -ENOSPC);
	block[1] = 0;
	CHECK(fl_region_commit(&region, block, sizeof(block)) == -EINVAL); /* ends inside the element */
	block[1] = 0xffffffff;
	block[2] = 0xffffffff;
	CHECK(fl_region_commit(&region, block, sizeof(block)) == -ENOSPC);
	block[0] = FL_SECTION_FLOWS;
	CHECK(fl_region_commit(&region, block, sizeof(block)) == -EINVAL);
	block[0] = FL_SECTION_COUNT;
	CHECK(fl_region_commit(&region, block, sizeof(block)) == -EINVAL);
	for (u32 size = 1; size < 16; size++)
		CHECK(fl_region_commit(&region, block, size) == -EINVAL);
	CHECK(region.header->generation == generation);
	CHECK(send_frame(&region) == FL_REASON_NEW_FLOW);
	fl_region_close(&region);
}

/* Runs in a mount namespace of its own. */
static int fill_up(void)
{
	struct fl_region region;
	u32 generations[WORLD_SERVERS];

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("fairlead-test", folder, "tmpfs", 0, "size=5988k"))
		return 99;
	sizes = world_sizes(SLOTS * 4, 1);
	CHECK(open_file(&region) == -ENOSPC && says("lower flows"));
	CHECK(access(path, F_OK) && errno == ENOENT);

	/* Room for the flows, but not for the IPv6 half that the first IPv6 service wants. */
	sizes = world_sizes(SLOTS, 1);
	CHECK(!open_file(&region));
	world_generations(generations);
	CHECK(world_commit(&region, generations) == -ENOSPC);
	CHECK(!region.header->generation);
	fl_region_close(&region);
	return check_is_failed;
}

static void test_full(void)
{
	int status;
	pid_t child;

	CASE("a full file system is said at the start, never met in a packet, and nothing is left or half applied");
	fflush(stdout);
	child = fork();
	if (!child) {
		int code = fill_up();

		fflush(stdout);
		_exit(code);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

	CASE("more flows than the machine has memory for are refused politely");
	struct fl_region region;
	sizes = world_sizes(1ull << 36, 1);
	CHECK(fl_region_open(&region, "", FL_OPEN_MEMORY, &sizes, 1, &outcome) == -ENOMEM && says("lower flows"));
}

int main(void)
{
	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/region", folder);
	snprintf(aside, sizeof(aside), "%s/region.old", folder);
	sizes = world_sizes(SLOTS, 1);
	test_life();
	test_killed();
	test_foreign();
	test_left();
	test_commit_refusals();
	test_full();
	clean();
	rmdir(folder);
	return check_end();
}
