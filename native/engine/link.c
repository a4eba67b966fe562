/* See link.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include "clsact.h"
#include "link.h"
#include "words.h"

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS of linux/bpf.h, Linux 6.6 */
#define PATH_OCTETS 4096
#define TC_PROGRAM "fairlead_tc"

static const char *kind_name(bool is_tc)
{
	return is_tc ? "tc" : "xdp";
}

/* `suffix` is "" or "_old": what belonged to a region that was set aside. */
static void pin_path(char *path, const struct fl_spot *spot, const char *suffix, bool is_tc)
{
	snprintf(path, PATH_OCTETS, "%s%s/%s_%u", spot->directory, suffix, kind_name(is_tc), spot->interface);
}

static void further_path(char *path, const struct fl_spot *spot, bool is_tc, const char *suffix)
{
	snprintf(path, PATH_OCTETS, "%s/%s_%u_further%s", spot->directory, kind_name(is_tc), spot->interface, suffix);
}

/* The interface's index, or 0 when it is gone. For xdp and tcx it lies at the same place. */
static u32 link_ifindex(int fd)
{
	struct bpf_link_info info = { 0 };
	u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.xdp.ifindex;
}

/* The link of this kind on this interface, or -1. One whose interface is gone is removed. */
static int find_link(const struct fl_spot *spot, bool is_tc, char *path)
{
	static const char *const suffixes[] = { "", "_old" };

	for (u32 i = 0; i < 2; i++) {
		int fd;

		pin_path(path, spot, suffixes[i], is_tc);
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		if (link_ifindex(fd) == spot->ifindex)
			return fd;
		close(fd);
		unlink(path);
	}
	return -1;
}

/* Keeps the link under its own name. */
static int pin_link(const struct fl_spot *spot, bool is_tc, int fd)
{
	char path[PATH_OCTETS];

	pin_path(path, spot, "", is_tc);
	if (access(path, F_OK) == 0)
		return 0;
	return bpf_obj_pin(fd, path) ? fl_fail(-errno, "%s: cannot pin a link: %s", path, strerror(errno)) : 0;
}

/* At once, whoever else still holds it. */
static void detach_pinned(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
}

static void forget_old(const struct fl_spot *spot, bool is_tc)
{
	char path[PATH_OCTETS + 16];

	pin_path(path, spot, "_old", is_tc);
	unlink(path); /* the link itself may be the one that was taken over */
	strcat(path, "_further");
	unlink(path);
}

static bool is_generic(u32 ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	return bpf_xdp_query((int)ifindex, 0, &query) == 0 && query.attach_mode == XDP_ATTACHED_SKB;
}

/* Whose program is there, in words. */
static int foreign_xdp(const struct fl_spot *spot)
{
	struct bpf_prog_info info = { 0 };
	u32 id = 0, size = sizeof(info);
	int fd;

	bpf_xdp_query_id((int)spot->ifindex, 0, &id);
	fd = id ? bpf_prog_get_fd_by_id(id) : -1;
	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &size);
		close(fd);
	}
	return fl_fail(
		-EBUSY,
		"%s carries another's XDP program, %s (id %u), which fairlead does not replace: use engine: tc, or "
		"take it off (ip link set dev %s xdp off)",
		spot->name, info.name[0] ? info.name : "without a name", id, spot->name);
}

static int refused(const struct fl_spot *spot, const char *what, int code)
{
	return fl_fail(code, "%s: no %s: %s", spot->name, what,
		       code == -EOPNOTSUPP ? "the driver has no XDP" : fl_words_for(code));
}

static int create_link(const struct fl_spot *spot, bool is_tc, u32 flags, int program_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	int fd = bpf_link_create(program_fd, (int)spot->ifindex, is_tc ? TCX_INGRESS : BPF_XDP, &options), code;

	if (fd < 0)
		return -errno;
	code = pin_link(spot, is_tc, fd);
	close(fd); /* the pin holds it */
	return code;
}

static int attach_tc(const struct fl_spot *spot, int program_fd)
{
	char path[PATH_OCTETS];
	int fd = find_link(spot, true, path), code;

	if (fd >= 0) {
		code = bpf_link_update(fd, program_fd, NULL) ? -errno : pin_link(spot, true, fd);
		close(fd);
		return code ? refused(spot, "new program at tcx", code) : 0;
	}
	code = create_link(spot, true, 0, program_fd);
	if (code == -EINVAL) /* before Linux 6.6 */
		return fl_clsact_attach(spot->ifindex, TC_PROGRAM, spot->instance, program_fd);
	return code ? refused(spot, "program at tcx", code) : 0;
}

static int make_xdp(const struct fl_spot *spot, bool may_be_driver, int program_fd)
{
	int code = may_be_driver ? create_link(spot, false, XDP_FLAGS_DRV_MODE, program_fd) : -EOPNOTSUPP;

	/* What a driver says when it has no XDP, or not for an interface set up like this (MTU, queues). */
	if (code == -EOPNOTSUPP || code == -ENOTSUP || code == -EINVAL || code == -ERANGE || code == -E2BIG)
		code = create_link(spot, false, XDP_FLAGS_SKB_MODE, program_fd);
	if (code == -EBUSY || code == -EEXIST)
		return foreign_xdp(spot);
	return code ? refused(spot, "XDP program", code) : 0;
}

static int attach_xdp(const struct fl_spot *spot, bool is_generic_wanted, int program_fd)
{
	char path[PATH_OCTETS];
	int fd = find_link(spot, false, path), code;

	if (fd < 0)
		return make_xdp(spot, !is_generic_wanted, program_fd);
	if (is_generic(spot->ifindex) == is_generic_wanted) {
		code = bpf_link_update(fd, program_fd, NULL) ? -errno : pin_link(spot, false, fd);
		close(fd);
		return code ? refused(spot, "new XDP program", code) : 0;
	}
	/* An interface has one of the two modes at a time. */
	bpf_link_detach(fd);
	close(fd);
	unlink(path);
	return make_xdp(spot, !is_generic_wanted, program_fd);
}

bool fl_link_changes_mode(const struct fl_spot *spot, enum fl_attachment wanted)
{
	char path[PATH_OCTETS];
	int fd = wanted == FL_ATTACH_TC ? -1 : find_link(spot, false, path);

	if (fd < 0)
		return false;
	close(fd);
	return is_generic(spot->ifindex) != (wanted == FL_ATTACH_XDP_GENERIC);
}

/* The map is pinned before a program that needs it runs, and the former program's goes after that. */
static int pin_further(const struct fl_spot *spot, bool is_tc, int further_fd)
{
	char path[PATH_OCTETS];

	further_path(path, spot, is_tc, "_new");
	unlink(path);
	return bpf_obj_pin(further_fd, path) ? fl_fail(-errno, "%s: cannot pin a map: %s", path, strerror(errno)) : 0;
}

static void settle_further(const struct fl_spot *spot, bool is_tc, bool is_attached)
{
	char fresh[PATH_OCTETS], path[PATH_OCTETS];

	further_path(fresh, spot, is_tc, "_new");
	further_path(path, spot, is_tc, "");
	if (!is_attached || rename(fresh, path))
		unlink(fresh);
}

int fl_link_attach(const struct fl_spot *spot, enum fl_attachment wanted, const struct fl_program *program,
		   enum fl_attachment *attached)
{
	bool is_tc = wanted == FL_ATTACH_TC;
	int code;

	fl_words_listen();
	code = pin_further(spot, is_tc, program->further_fd);
	if (code)
		return code;
	code = is_tc ? attach_tc(spot, program->fd) : attach_xdp(spot, wanted == FL_ATTACH_XDP_GENERIC, program->fd);
	settle_further(spot, is_tc, code == 0);
	if (code)
		return code;
	forget_old(spot, is_tc);
	*attached = is_tc ? FL_ATTACH_TC : is_generic(spot->ifindex) ? FL_ATTACH_XDP_GENERIC : FL_ATTACH_XDP;
	return 0;
}

void fl_link_detach(const struct fl_spot *spot, bool is_tc)
{
	char path[PATH_OCTETS];

	pin_path(path, spot, "", is_tc);
	detach_pinned(path);
	further_path(path, spot, is_tc, "");
	unlink(path);
	forget_old(spot, is_tc);
	if (is_tc && spot->ifindex)
		fl_clsact_detach(spot->ifindex, TC_PROGRAM, spot->instance);
}
