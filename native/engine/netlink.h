/*
 * The little of rtnetlink that fairlead speaks: a socket, one question with one answer, a dump, and a bounded walk over
 * messages and attributes. Nothing the kernel sends is read past its end.
 */
#ifndef FL_NETLINK_H
#define FL_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/neighbour.h>
#include <string.h>

#include "engine.h"

/* A request under construction; the family header follows nlmsghdr at once, attributes after that. */
struct fl_request {
	struct nlmsghdr header;
	union {
		struct rtgenmsg any;
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
		struct ndmsg neighbour;
		struct tcmsg tc;
		u8 room[128];
	};
};

#define FL_ANSWER_ROOM 32768 /* what the kernel fills at most into one datagram of a dump */

/* A socket with the given multicast groups (RTNLGRP_*, ended by 0), or a negative errno in words. */
int fl_netlink_open(const u32 *groups);

/* Starts a request of one type; body is the size of its family header. */
void fl_request_start(struct fl_request *request, u16 type, u16 flags, size_t body);
void fl_request_add(struct fl_request *request, u16 type, const void *data, size_t size);

/*
 * One question, one answer. With NLM_F_ACK in the request the answer may be empty. Answers to earlier questions that
 * timed out are skipped by their sequence number. Returns the octets of the answer in `answer`, 0 for a bare
 * acknowledgement, or the kernel's negative errno (without words: for a resolver a refusal is an everyday answer).
 */
ssize_t fl_netlink_ask(int fd, struct fl_request *request, void *answer, size_t room);

/* All that a dump request brings, in one piece to be freed; size 0 leaves it NULL. 0 or a negative errno in words. */
int fl_netlink_collect(struct fl_request *request, unsigned char **messages, size_t *size);

/* The family header of a message, or NULL when the message is too short to hold it. */
static inline const void *fl_message_body(const struct nlmsghdr *message, size_t body)
{
	return message->nlmsg_len >= NLMSG_SPACE(body) ? (const char *)message + NLMSG_HDRLEN : NULL;
}

/* Index of attributes by type, at most `count` types; those that are absent or cut short are NULL. */
static inline void fl_attributes(const struct nlmsghdr *message, size_t body, const struct nlattr **found, u16 count)
{
	size_t at = NLMSG_SPACE(body);

	memset(found, 0, count * sizeof(*found));
	while (at + NLA_HDRLEN <= message->nlmsg_len) {
		const struct nlattr *attribute = (const void *)((const char *)message + at);
		u16 type = attribute->nla_type & NLA_TYPE_MASK;

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > message->nlmsg_len - at)
			return;
		if (type < count)
			found[type] = attribute;
		at += NLA_ALIGN(attribute->nla_len);
	}
}

static inline const void *fl_attribute_data(const struct nlattr *attribute)
{
	return (const char *)attribute + NLA_HDRLEN;
}

/* Copies an attribute of exactly `size` octets. */
static inline bool fl_attribute_read(const struct nlattr *attribute, void *to, size_t size)
{
	if (!attribute || (size_t)attribute->nla_len - NLA_HDRLEN != size)
		return false;
	memcpy(to, fl_attribute_data(attribute), size);
	return true;
}

#endif
