/*
 * Attaching to clsact without disturbing others. libbpf speaks the requests; what is there already is read from the
 * kernel's own list of filters.
 *
 * Filters run in order of priority, lowest first, until one gives a verdict; ours gives one only for its own frames.
 * It takes the first priority that will have it: a priority belongs to one kind of classifier and one protocol.
 */
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/libbpf.h>

#include "clsact.h"
#include "netlink.h"

#define PRIORITY_LAST 32
#define MADE_CLSACT 1u

struct place {
	u32 handle; /* 0: nowhere */
	u32 priority;
};

/* Filters of ours on one link. */
struct survey {
	struct place own; /* this instance's */
	bool made_clsact; /* clsact was made for one of ours */
};

/* The same instance has the same region file, whatever process serves it. */
u32 fl_instance_of(const struct fl_region *region)
{
	char link[64], path[256];
	u32 hash = 0x811c9dc5; /* FNV-1a */
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", region->fd);
	length = region->fd < 0 ? 0 : readlink(link, path, sizeof(path));
	for (ssize_t i = 0; i < length; i++)
		hash = (hash ^ (u8)path[i]) * 0x01000193;
	return hash;
}

static u32 parent_of(enum bpf_tc_attach_point point)
{
	return TC_H_MAKE(TC_H_CLSACT, point == BPF_TC_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

static int filters_dump(u32 ifindex, enum bpf_tc_attach_point point, unsigned char **messages, size_t *size)
{
	struct fl_request request;

	*messages = NULL;
	*size = 0;
	fl_request_start(&request, RTM_GETTFILTER, NLM_F_DUMP, sizeof(struct tcmsg));
	request.tc.tcm_ifindex = ifindex;
	request.tc.tcm_parent = parent_of(point);
	return fl_netlink_collect(&request, messages, size);
}

/* libbpf gives a filter the name "program:[id]". */
static bool is_our_program(const struct nlmsghdr *message, const char *name)
{
	size_t length = strlen(name);
	const struct nlattr *found[TCA_OPTIONS + 1];
	const struct nlattr *options;
	size_t at = NLA_HDRLEN;

	fl_attributes(message, sizeof(struct tcmsg), found, TCA_OPTIONS + 1);
	options = found[TCA_OPTIONS];
	while (options && at + NLA_HDRLEN <= options->nla_len) {
		const struct nlattr *option = (const void *)((const char *)options + at);

		if (option->nla_len < NLA_HDRLEN || option->nla_len > options->nla_len - at)
			return false;
		if ((option->nla_type & NLA_TYPE_MASK) == TCA_BPF_NAME)
			return option->nla_len > NLA_HDRLEN + length + 2 &&
			       memcmp(fl_attribute_data(option), name, length) == 0 &&
			       memcmp((const char *)fl_attribute_data(option) + length, ":[", 2) == 0;
		at += NLA_ALIGN(option->nla_len);
	}
	return false;
}

static struct survey survey(u32 ifindex, const char *name, u32 handle)
{
	struct survey seen = { 0 };
	unsigned char *messages;
	size_t size;

	if (filters_dump(ifindex, BPF_TC_INGRESS, &messages, &size) < 0)
		return seen;
	for (const struct nlmsghdr *message = (void *)messages; NLMSG_OK(message, size);
	     message = NLMSG_NEXT(message, size)) {
		const struct tcmsg *filter = fl_message_body(message, sizeof(*filter));

		if (!filter || message->nlmsg_type != RTM_NEWTFILTER || !is_our_program(message, name))
			continue;
		seen.made_clsact |= filter->tcm_handle & MADE_CLSACT;
		if ((filter->tcm_handle & ~MADE_CLSACT) != handle)
			continue;
		seen.own.handle = filter->tcm_handle;
		seen.own.priority = TC_H_MAJ(filter->tcm_info) >> 16;
	}
	free(messages);
	return seen;
}

static bool is_empty(u32 ifindex, enum bpf_tc_attach_point point)
{
	unsigned char *messages;
	size_t size;
	int code = filters_dump(ifindex, point, &messages, &size);

	free(messages);
	return code == 0 && size == 0;
}

static int program_attach(u32 ifindex, struct place place, u32 flags, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = place.handle, .priority = place.priority, .prog_fd = program_fd,
		    .flags = flags);

	return bpf_tc_attach(&hook, &options);
}

/* Handles are 32 bits of which zero means none; ours are even, the lowest bit is a note. */
static u32 handle_of(u32 instance)
{
	return (instance & ~MADE_CLSACT) ? instance & ~MADE_CLSACT : 2;
}

int fl_clsact_attach(u32 ifindex, const char *program, u32 instance, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	char name[IF_NAMESIZE] = "?";
	struct survey seen;
	struct place place;
	int code, made;

	if_indextoname(ifindex, name);
	made = bpf_tc_hook_create(&hook);
	if (made < 0 && made != -EEXIST)
		return fl_fail(made, "no clsact on %s: %s", name,
			       made == -ENOENT	? "this kernel lacks sch_ingress (CONFIG_NET_SCH_INGRESS)"
			       : made == -EPERM ? "not permitted, it takes CAP_NET_ADMIN"
						: strerror(-made));
	seen = survey(ifindex, program, handle_of(instance));
	place = seen.own;
	if (place.handle) {
		code = program_attach(ifindex, place, BPF_TC_F_REPLACE, program_fd);
	} else {
		place.handle = handle_of(instance) | (made == 0 || seen.made_clsact ? MADE_CLSACT : 0);
		do {
			place.priority++;
			code = program_attach(ifindex, place, 0, program_fd);
		} while ((code == -EINVAL || code == -EEXIST) && place.priority < PRIORITY_LAST);
	}
	if (code == 0)
		return 0;
	if (made == 0) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	return fl_fail(code, "%s could not be attached to %s: %s", program, name,
		       code == -ENOENT ? "this kernel lacks BPF classifiers (CONFIG_NET_CLS_BPF)" : strerror(-code));
}

void fl_clsact_detach(u32 ifindex, const char *program, u32 instance)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options);
	struct survey seen = survey(ifindex, program, handle_of(instance));

	if (!seen.own.handle)
		return;
	options.handle = seen.own.handle;
	options.priority = seen.own.priority;
	bpf_tc_detach(&hook, &options);
	if (!seen.made_clsact || !is_empty(ifindex, BPF_TC_INGRESS) || !is_empty(ifindex, BPF_TC_EGRESS))
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
}
