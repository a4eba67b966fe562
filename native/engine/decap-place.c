/*
 * The decapsulator's program at its interface: as XDP program or as a filter at clsact ingress.
 *
 * Both hang there by the interface's own reference, not by a pinned link: they outlive the process without a bpffs
 * (which a container often lacks), go with the interface, and `ip link set dev IF xdp off` or `tc` can take them off on
 * a host that has nothing else of fairlead. What a link would give, that nobody replaces the program by accident, is had
 * for XDP by asking for the swap of exactly the program that was seen.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "decap.h"
#include "netlink.h"

/* A filter's handle says whose it is; its lowest bit, that clsact was made for it. */
#define HANDLE 0x666c6464u
#define MADE_CLSACT 1u
#define PRIORITY_LAST 32

static const char *name_of(u32 ifindex, char name[IF_NAMESIZE])
{
	return if_indextoname(ifindex, name) ? name : "?";
}

/* Opens a program when it bears our name; else 0, with the name it does bear. */
static int open_own(u32 id, const char *own, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = { 0 };
	u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	strcpy(name, "?");
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	if (strcmp(name, own) == 0)
		return fd;
	close(fd);
	return 0;
}

static int xdp_find(u32 ifindex, bool *is_generic)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, seen);
	char name[BPF_OBJ_NAME_LEN], link[IF_NAMESIZE];
	int code = bpf_xdp_query(ifindex, 0, &seen), fd;
	u32 id;

	*is_generic = false;
	if (code < 0)
		return fl_fail(code, "the kernel does not say which XDP program %s has: %s", name_of(ifindex, link),
			       strerror(-code));
	id = seen.hw_prog_id ? seen.hw_prog_id : seen.drv_prog_id ? seen.drv_prog_id : seen.skb_prog_id;
	if (!id)
		return 0;
	*is_generic = id == seen.skb_prog_id;
	fd = open_own(id, FL_DECAP_PROGRAM_XDP, name);
	if (fd != 0)
		return fd > 0 ? fd
			      : fl_fail(fd, "the XDP program of %s cannot be opened: %s", name_of(ifindex, link),
					strerror(-fd));
	return fl_fail(-EBUSY,
		       "%s has an XDP program of somebody else already: %s (id %u); take it off, or unwrap at tc",
		       name_of(ifindex, link), name, id);
}

static int xdp_set(u32 ifindex, int program_fd, int old_fd, u32 mode)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = old_fd);

	return bpf_xdp_attach(ifindex, program_fd, mode | (old_fd ? XDP_FLAGS_REPLACE : XDP_FLAGS_UPDATE_IF_NOEXIST),
			      &options);
}

static int xdp_put(u32 ifindex, int program_fd, int old_fd, bool is_generic)
{
	char link[IF_NAMESIZE];
	int native, code;

	code = native = xdp_set(ifindex, program_fd, old_fd, is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	if (code < 0 && !old_fd && code != -EPERM && code != -EBUSY && code != -EEXIST)
		code = xdp_set(ifindex, program_fd, 0, XDP_FLAGS_SKB_MODE);
	if (code < 0)
		return fl_fail(code, "the XDP program was not taken by %s: %s", name_of(ifindex, link),
			       code == -EEXIST || code == -EBUSY ? "somebody else's came first" : strerror(-code));
	if (native == 0)
		return 0;
	fl_fail(1, "the driver of %s takes no XDP program (%s): it runs behind the driver, slower",
		name_of(ifindex, link), strerror(-native));
	return 1;
}

/* The kernel's list of filters at ingress or egress of clsact; nothing when there is no clsact. */
static int filters_dump(u32 ifindex, u32 minor, unsigned char **messages, size_t *size)
{
	struct fl_request request;

	*messages = NULL;
	*size = 0;
	fl_request_start(&request, RTM_GETTFILTER, NLM_F_DUMP, sizeof(struct tcmsg));
	request.tc.tcm_ifindex = ifindex;
	request.tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, minor);
	return fl_netlink_collect(&request, messages, size);
}

/* Where our filter is: its priority, 0 for nowhere. The handle comes with the note. */
static u32 filter_find(u32 ifindex, u32 *handle)
{
	unsigned char *messages;
	u32 priority = 0;
	size_t size;

	if (filters_dump(ifindex, TC_H_MIN_INGRESS, &messages, &size) < 0)
		return 0;
	for (const struct nlmsghdr *message = (void *)messages; NLMSG_OK(message, size);
	     message = NLMSG_NEXT(message, size)) {
		const struct tcmsg *filter = fl_message_body(message, sizeof(*filter));

		if (!filter || message->nlmsg_type != RTM_NEWTFILTER || (filter->tcm_handle & ~MADE_CLSACT) != HANDLE)
			continue;
		*handle = filter->tcm_handle;
		priority = TC_H_MAJ(filter->tcm_info) >> 16;
	}
	free(messages);
	return priority;
}

static int tc_find(u32 ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter);
	char name[BPF_OBJ_NAME_LEN], link[IF_NAMESIZE];
	int fd;

	filter.priority = filter_find(ifindex, &filter.handle);
	if (!filter.priority)
		return 0;
	fd = bpf_tc_query(&hook, &filter);
	fd = fd < 0 ? fd : open_own(filter.prog_id, FL_DECAP_PROGRAM_TC, name);
	return fd >= 0 ? fd
		       : fl_fail(fd, "the decapsulator's filter on %s cannot be opened: %s", name_of(ifindex, link),
				 strerror(-fd));
}

static int tc_put(u32 ifindex, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program_fd);
	char link[IF_NAMESIZE];
	int made = bpf_tc_hook_create(&hook), code;

	if (made < 0 && made != -EEXIST)
		return fl_fail(made, "no clsact on %s: %s", name_of(ifindex, link),
			       made == -ENOENT ? "this kernel lacks sch_ingress (CONFIG_NET_SCH_INGRESS)"
					       : strerror(-made));
	filter.priority = filter_find(ifindex, &filter.handle);
	if (filter.priority) {
		filter.flags = BPF_TC_F_REPLACE;
		code = bpf_tc_attach(&hook, &filter);
	} else {
		filter.handle = HANDLE | (made == 0 ? MADE_CLSACT : 0);
		/* A priority belongs to one kind of filter and one protocol: the first that will have ours. */
		do {
			filter.priority++;
			code = bpf_tc_attach(&hook, &filter);
		} while ((code == -EINVAL || code == -EEXIST) && filter.priority < PRIORITY_LAST);
	}
	if (code == 0)
		return 0;
	if (made == 0) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return fl_fail(code, "the decapsulator's filter was not taken by %s: %s", name_of(ifindex, link),
		       code == -ENOENT ? "this kernel lacks BPF classifiers (CONFIG_NET_CLS_BPF)" : strerror(-code));
}

static bool has_filters(u32 ifindex, u32 minor)
{
	unsigned char *messages;
	size_t size;
	int code = filters_dump(ifindex, minor, &messages, &size);

	free(messages);
	return code < 0 || size > 0;
}

static int tc_clear(u32 ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter);
	char link[IF_NAMESIZE];
	bool made_clsact;
	int code;

	filter.priority = filter_find(ifindex, &filter.handle);
	if (!filter.priority)
		return 0;
	made_clsact = filter.handle & MADE_CLSACT;
	code = bpf_tc_detach(&hook, &filter);
	if (code < 0)
		return fl_fail(code, "the decapsulator's filter does not go from %s: %s", name_of(ifindex, link),
			       strerror(-code));
	if (made_clsact && !has_filters(ifindex, TC_H_MIN_INGRESS) && !has_filters(ifindex, TC_H_MIN_EGRESS)) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return 0;
}

int fl_decap_find(u32 ifindex, enum fl_decap_place place, bool *is_generic)
{
	*is_generic = false;
	return place == FL_DECAP_AT_XDP ? xdp_find(ifindex, is_generic) : tc_find(ifindex);
}

int fl_decap_put(u32 ifindex, enum fl_decap_place place, int program_fd, int old_fd)
{
	bool is_generic = false;
	int fd = 0, code;

	if (place == FL_DECAP_AT_TC)
		return tc_put(ifindex, program_fd);
	if (old_fd)
		fd = xdp_find(ifindex, &is_generic);
	code = xdp_put(ifindex, program_fd, old_fd, is_generic);
	if (fd > 0)
		close(fd);
	return code;
}

int fl_decap_clear(u32 ifindex, enum fl_decap_place place, int old_fd)
{
	char link[IF_NAMESIZE];
	bool is_generic;
	int fd, code;

	if (place == FL_DECAP_AT_TC)
		return tc_clear(ifindex);
	fd = xdp_find(ifindex, &is_generic);
	if (fd <= 0)
		return fd;
	close(fd);
	code = xdp_set(ifindex, -1, old_fd, is_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	return code < 0 ? fl_fail(code, "the XDP program does not go from %s: %s", name_of(ifindex, link),
				  strerror(-code))
			: 0;
}
