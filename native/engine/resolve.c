/*
 * The questions of the neighbour thread, each one small netlink request with at most one answer.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "resolve.h"

#define ANSWER_OCTETS \
	8192 /* of one route, neighbour or link without its counters: the kernel builds them within a page */

static u8 family_of(bool is_v6)
{
	return is_v6 ? AF_INET6 : AF_INET;
}

static size_t octets_of(bool is_v6)
{
	return is_v6 ? 16 : 4;
}

static bool is_unicast(const u8 mac[6])
{
	return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

bool fl_heard_read(const struct nlmsghdr *message, struct fl_heard *heard)
{
	const struct ndmsg *body = fl_message_body(message, sizeof(*body));
	const struct nlattr *found[NDA_LLADDR + 1];

	if (!body || (message->nlmsg_type != RTM_NEWNEIGH && message->nlmsg_type != RTM_DELNEIGH) ||
	    (body->ndm_family != AF_INET && body->ndm_family != AF_INET6))
		return false;
	fl_attributes(message, sizeof(*body), found, NDA_LLADDR + 1);
	*heard = (struct fl_heard){
		.at = { .ifindex = body->ndm_ifindex, .is_v6 = body->ndm_family == AF_INET6 },
		.type = message->nlmsg_type,
		.state = body->ndm_state,
	};
	heard->has_mac = fl_attribute_read(found[NDA_LLADDR], heard->mac, 6) && is_unicast(heard->mac);
	return fl_attribute_read(found[NDA_DST], &heard->at.addr, octets_of(heard->at.is_v6));
}

static int route_read(const struct nlmsghdr *message, const struct fl_addr *addr, bool is_v6,
		      struct fl_link_address *at)
{
	const struct rtmsg *body = fl_message_body(message, sizeof(*body));
	const struct nlattr *found[RTA_VIA + 1];

	if (!body || message->nlmsg_type != RTM_NEWROUTE || body->rtm_type != RTN_UNICAST)
		return -EHOSTUNREACH;
	fl_attributes(message, sizeof(*body), found, RTA_VIA + 1);
	*at = (struct fl_link_address){ .is_v6 = is_v6 };
	if (!fl_attribute_read(found[RTA_OIF], &at->ifindex, sizeof(at->ifindex)))
		return -EHOSTUNREACH;
	if (found[RTA_VIA]) { /* an IPv4 route by an IPv6 gateway (RFC 8950) */
		struct {
			u16 family;
			u8 addr[16];
		} via;

		if (!fl_attribute_read(found[RTA_VIA], &via, sizeof(via)) || via.family != AF_INET6)
			return -EHOSTUNREACH;
		at->is_v6 = 1;
		memcpy(&at->addr, via.addr, sizeof(via.addr));
		return 0;
	}
	if (!fl_attribute_read(found[RTA_GATEWAY], &at->addr, octets_of(is_v6)))
		at->addr = *addr;
	return 0;
}

int fl_resolve_route(int fd, const struct fl_addr *addr, bool is_v6, struct fl_link_address *at)
{
	u64 answer[ANSWER_OCTETS / 8];
	struct fl_request request;
	ssize_t size;

	fl_request_start(&request, RTM_GETROUTE, 0, sizeof(struct rtmsg));
	request.route.rtm_family = family_of(is_v6);
	request.route.rtm_dst_len = 8 * octets_of(is_v6);
	fl_request_add(&request, RTA_DST, addr, octets_of(is_v6));
	size = fl_netlink_ask(fd, &request, answer, sizeof(answer));
	if (size <= 0)
		return size < 0 ? (int)size : -EHOSTUNREACH;
	return route_read((const void *)answer, addr, is_v6, at);
}

static void request_start(struct fl_request *request, const struct fl_link_address *at, u16 type, u16 flags)
{
	fl_request_start(request, type, flags, sizeof(struct ndmsg));
	request->neighbour.ndm_family = family_of(at->is_v6);
	request->neighbour.ndm_ifindex = at->ifindex;
	fl_request_add(request, NDA_DST, &at->addr, octets_of(at->is_v6));
}

int fl_resolve_look(int fd, const struct fl_link_address *at, struct fl_heard *heard)
{
	u64 answer[ANSWER_OCTETS / 8];
	struct fl_request request;
	ssize_t size;

	request_start(&request, at, RTM_GETNEIGH, 0);
	size = fl_netlink_ask(fd, &request, answer, sizeof(answer));
	if (size < 0)
		return size;
	return size > 0 && fl_heard_read((const void *)answer, heard) ? 0 : -ENOENT;
}

int fl_resolve_use(int fd, const struct fl_link_address *at)
{
	u64 answer[ANSWER_OCTETS / 8];
	struct fl_request request;

	request_start(&request, at, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK);
	request.neighbour.ndm_state = NUD_NONE;
	request.neighbour.ndm_flags = NTF_USE;
	return fl_netlink_ask(fd, &request, answer, sizeof(answer));
}

bool fl_resolve_link_is_up(int fd, u32 ifindex)
{
	const u32 without_counters = RTEXT_FILTER_SKIP_STATS;
	u64 answer[ANSWER_OCTETS / 8];
	const struct ifinfomsg *link;
	struct fl_request request;

	fl_request_start(&request, RTM_GETLINK, 0, sizeof(*link));
	request.link.ifi_index = ifindex;
	fl_request_add(&request, IFLA_EXT_MASK, &without_counters, sizeof(without_counters));
	if (fl_netlink_ask(fd, &request, answer, sizeof(answer)) <= 0)
		return false;
	link = fl_message_body((const void *)answer, sizeof(*link));
	return link && link->ifi_flags & IFF_UP && link->ifi_flags & IFF_RUNNING;
}
