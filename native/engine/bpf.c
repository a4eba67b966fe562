/*
 * Engines `tc` and `xdp`: the core as programs in the kernel, over a region of BPF maps.
 *
 * Theory of operation. Each interface gets a copy of the programs made for it (program.c) and attached by a pinned link
 * (link.c). They forward by themselves: this process only ages flows, follows next hops, announces addresses, and does
 * what programs cannot (slow.c). When it dies nothing stops. A successor opens the same maps, and puts its own programs
 * into the links that are there, one atomic exchange each.
 *
 * An interface changes between tc and xdp by being attached both ways for a moment. That is no trouble: whichever comes
 * first takes what is ours, and what it passes is not ours for the other either. The one gap there would be, between the
 * two modes of xdp, is covered by tc meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <net/if.h>

#include "clsact.h"
#include "link.h"
#include "program.h"
#include "runner.h"
#include "slow.h"

struct fl_bpf {
	struct fl_runner runner; /* first */
	char *directory;
	u32 instance;
	u32 attachment[FL_PORTS_MAX]; /* how each interface is worked on */
	struct fl_program program[FL_PORTS_MAX];
	struct fl_slow slow;
	bool has_frags;
};

static struct fl_bpf *bpf_of(struct fl_runner *runner)
{
	return (struct fl_bpf *)runner;
}

static struct fl_spot spot_of(const struct fl_bpf *bpf, u32 interface, u32 ifindex)
{
	return (struct fl_spot){
		.directory = bpf->directory,
		.name = bpf->runner.name[interface],
		.interface = interface,
		.ifindex = ifindex,
		.instance = bpf->instance,
	};
}

static struct fl_entry entry_of(const struct fl_bpf *bpf, u32 interface, bool is_tc)
{
	char driver[32];

	fl_driver_of(bpf->runner.name[interface], driver, sizeof(driver));
	return (struct fl_entry){
		.interface = (u8)interface,
		.is_tc = is_tc,
		.has_frags = !is_tc && bpf->has_frags,
		.is_veth = strcmp(driver, "veth") == 0,
	};
}

/* The interface gets a tc program while xdp changes its mode. */
static int attach_covered(struct fl_bpf *bpf, const struct fl_spot *spot, u32 wanted, enum fl_attachment *attached)
{
	enum fl_attachment cover;
	struct fl_program program;
	int code = fl_program_load(&program, bpf->runner.region, entry_of(bpf, spot->interface, true), &bpf->program[0],
				   false);

	if (!code)
		code = fl_link_attach(spot, FL_ATTACH_TC, &program, &cover);
	if (!code)
		code = fl_link_attach(spot, wanted, &bpf->program[spot->interface], attached);
	fl_program_close(&program);
	return code;
}

/* Programs run on this interface, and xdp frames may be sent to it. */
static int attach(struct fl_bpf *bpf, u32 interface, u32 ifindex)
{
	struct fl_spot spot = spot_of(bpf, interface, ifindex);
	u32 wanted = bpf->attachment[interface];
	enum fl_attachment attached = FL_ATTACH_NONE;
	int code;

	/* The kernel wants to know where xdp sends; an interface that cannot be sent to so is found out by doctor. */
	if (bpf_map_update_elem(bpf->program[0].ports_fd, &interface, &ifindex, 0) && wanted != FL_ATTACH_TC)
		return fl_fail(-errno, "%s: xdp cannot send there: %s", spot.name, strerror(errno));
	code = fl_link_changes_mode(&spot, wanted) ? attach_covered(bpf, &spot, wanted, &attached)
						   : fl_link_attach(&spot, wanted, &bpf->program[interface], &attached);
	if (code)
		return code;
	fl_link_detach(&spot, attached != FL_ATTACH_TC); /* the other way it may have been attached before */
	bpf->attachment[interface] = attached;
	return 0;
}

static int load_programs(struct fl_bpf *bpf)
{
	for (u32 i = 0; i < bpf->runner.interface_count; i++) {
		bool is_tc = bpf->attachment[i] == FL_ATTACH_TC;
		int code = fl_program_load(&bpf->program[i], bpf->runner.region, entry_of(bpf, i, is_tc),
					   i ? &bpf->program[0] : NULL, false);

		if (code)
			return code;
	}
	return 0;
}

static int attach_all(struct fl_bpf *bpf)
{
	struct fl_runner *runner = &bpf->runner;
	int ifindex[FL_PORTS_MAX];

	for (u32 i = 0; i < runner->interface_count; i++) {
		ifindex[i] = fl_interface_find(runner->name[i]);
		if (ifindex[i] < 0)
			return ifindex[i];
	}
	for (u32 i = 0; i < runner->interface_count; i++) {
		int code = attach(bpf, i, (u32)ifindex[i]);

		if (code)
			return code;
		runner->ifindex[i] = (u32)ifindex[i];
	}
	/* Interfaces that a predecessor worked on and this one does not. */
	for (u32 i = runner->interface_count; i < FL_PORTS_MAX; i++) {
		struct fl_spot spot = { .directory = bpf->directory, .interface = i, .instance = bpf->instance };

		fl_link_detach(&spot, true);
		fl_link_detach(&spot, false);
	}
	return 0;
}

static bool is_orphan(struct fl_runner *runner, u32 interface)
{
	return if_nametoindex(runner->name[interface]) != runner->ifindex[interface];
}

static int reopen(struct fl_runner *runner, u32 interface, u32 ifindex)
{
	return attach(bpf_of(runner), interface, ifindex);
}

static void halt(struct fl_runner *runner)
{
	fl_slow_stop(&bpf_of(runner)->slow);
}

static void close_bpf(struct fl_runner *runner, bool keep)
{
	struct fl_bpf *bpf = bpf_of(runner);

	for (u32 i = 0; i < FL_PORTS_MAX; i++) {
		struct fl_spot spot = spot_of(bpf, i, runner->ifindex[i]);

		if (!keep) {
			fl_link_detach(&spot, true);
			fl_link_detach(&spot, false);
		}
		fl_program_close(&bpf->program[i]);
	}
	free(bpf->directory);
	free(bpf);
}

static const struct fl_ways ways = {
	.is_orphan = is_orphan,
	.reopen = reopen,
	.halt = halt,
	.close = close_bpf,
};

static int start(struct fl_bpf *bpf)
{
	struct fl_runner *runner = &bpf->runner;
	int code = load_programs(bpf);

	if (code)
		return code;
	bpf->slow.region = runner->region;
	bpf->slow.ifindex = runner->ifindex;
	bpf->slow.worker = runner->region->header->worker_count - 1;
	bpf->slow.samples = &runner->samples;
	if ((code = fl_slow_start(&bpf->slow, bpf->program[0].records_fd)) || (code = attach_all(bpf)))
		return code;
	return fl_runner_start(runner);
}

/* The directory that the region's maps are pinned in. */
static char *directory_of(const struct fl_region *region)
{
	char link[64], path[4096];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", region->fd);
	length = region->fd < 0 ? -1 : readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return NULL;
	path[length] = 0;
	return strdup(path);
}

int fl_bpf_start(struct fl_runner **runner, struct fl_region *region, const char *const *interfaces, u32 *attachments,
		 u32 interface_count, u32 *events, int wake)
{
	struct fl_bpf *made;
	int code;

	if (!region->maps)
		return fl_fail(-EINVAL, "the programs in the kernel work on a region of maps");
	made = calloc(1, sizeof(*made));
	if (!made)
		return fl_fail(-ENOMEM, "no memory for an engine");
	made->slow.socket_fd = -1;
	made->directory = directory_of(region);
	made->instance = fl_instance_of(region);
	made->has_frags = fl_kernel_has_frags();
	for (u32 i = 0; i < interface_count && i < FL_PORTS_MAX; i++)
		made->attachment[i] = attachments[i];
	code = fl_runner_prepare(&made->runner, &ways, region, interfaces, interface_count, events, wake);
	if (!code && !made->directory)
		code = fl_fail(-EINVAL, "the region's maps are pinned nowhere");
	if (!code)
		code = start(made);
	if (code) {
		fl_runner_stop(&made->runner, region->header->generation > 0, NULL);
		return code;
	}
	for (u32 i = 0; i < interface_count; i++)
		attachments[i] = made->attachment[i];
	*runner = &made->runner;
	return 0;
}
