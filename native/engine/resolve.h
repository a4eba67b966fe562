/*
 * Questions to the kernel about one address: where would you send it, what is its MAC, look for it please. And how to
 * read what the kernel says of neighbours unasked. Answers come back as values; sockets are fl_netlink_open()'s.
 */
#ifndef FL_RESOLVE_H
#define FL_RESOLVE_H

#include "netlink.h"
#include "nexthop.h"

/* What the kernel says of a neighbour. */
struct fl_heard {
	struct fl_link_address at;
	u16 type;     /* RTM_NEWNEIGH, RTM_DELNEIGH */
	u16 state;    /* NUD_* */
	bool has_mac; /* a unicast one of Ethernet's size */
	u8 mac[6];
};

/* Reads a neighbour message; false when it is none, or of another kind of address. */
bool fl_heard_read(const struct nlmsghdr *message, struct fl_heard *heard);

/* The link and the address on it (a gateway's, or its own) that the kernel would send to. 0 or a negative errno;
 * -EHOSTUNREACH when the route leads nowhere or to this host. */
int fl_resolve_route(int fd, const struct fl_addr *addr, bool is_v6, struct fl_link_address *at);

/* The entry in the neighbour table; -ENOENT when there is none. */
int fl_resolve_look(int fd, const struct fl_link_address *at, struct fl_heard *heard);

/* Has the kernel send to this neighbour in its mind: an unknown one is looked for, a stale one confirmed. */
int fl_resolve_use(int fd, const struct fl_link_address *at);

/* Can frames leave by this link now: up, with carrier? */
bool fl_resolve_link_is_up(int fd, u32 ifindex);

#endif
