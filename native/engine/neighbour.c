/*
 * The neighbour thread: each server's next hop, as the kernel would send to it.
 *
 * The problem: the packet engine writes Ethernet headers itself, so it must know what the host's routes and neighbour
 * table know, and follow them within microseconds, without asking for each frame and without polling.
 *
 * The idea: ask the kernel, never imitate it. The route to a server is one RTM_GETROUTE for its address (rules, tables,
 * multipath and all), the MAC one RTM_GETNEIGH for the gateway or the server on that link. After that the kernel tells:
 * the thread subscribes to neighbours, routes, rules, links and addresses. A neighbour's change is applied to the
 * servers behind it at once. Anything that may move a route only says "ask again for all", and is waited out for a few
 * milliseconds, because routes change in crowds. Both socket and questions are drained in slices, so that ten thousand
 * servers never keep a MAC change waiting.
 *
 * The kernel itself sends nothing to these neighbours, so it would neither look for them nor notice that they died. The
 * thread says NTF_USE in its place: for an unknown one with back-off, for a known one every KEEP_MS. That is what a host
 * with traffic does: an entry goes STALE 15 to 45 s after it was last confirmed, the next use moves it to DELAY and
 * PROBE, and three probes later a dead MAC is FAILED. Probing by force (NUD_PROBE) would be faster and worse: after each
 * change of an entry Linux ignores other hosts' plain ARP for a second, and with it the news of a MAC change. An entry
 * that is PERMANENT or NOARP is left alone: kernels since 5.16 take NTF_USE as leave to make it ordinary.
 *
 * What each state of a neighbour does to its hop:
 *
 *     REACHABLE STALE DELAY PROBE PERMANENT NOARP   the MAC counts: STALE means unconfirmed, not wrong
 *     NONE INCOMPLETE                               the last MAC stays. The kernel is asking; after a flush the answer
 *                                                   is nearly always the same, and open flows should not stutter
 *     FAILED after PROBE or INCOMPLETE              nobody answers: the hop is unknown, frames count as no-neighbour
 *     FAILED from anything else, deleted            somebody flushed the table: the last MAC stays, and the kernel is
 *                                                   asked to look, after a moment in which `ip neigh flush` can finish
 *
 * By the same rule a route's new gateway takes over only when something was heard of it.
 *
 * Lost notifications (ENOBUFS) are made up for by asking for everything again. The kernel keeps at most
 * net.ipv4.neigh.default.gc_thresh3 neighbours (1024 unless raised): more servers than that on one link need it larger.
 */
#define _GNU_SOURCE /* pthread_setname_np */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resolve.h"

#define KEEP_MS 11000	       /* a known neighbour is used so often ... */
#define KEEP_SPREAD_MS 4000    /* ... and up to this much later, so that thousands do not come together */
#define RETRY_FIRST_MS 1000ull /* as long as the kernel waits between its own probes */
#define RETRY_LAST_MS 30000
#define SETTLE_MS 5	  /* routes change in crowds */
#define PASS_EVERY_MS 100 /* from the start of one pass over the routes to the next */
#define FLUSH_MS 10
#define SLICE 128 /* questions between two looks at the events: some 300 us */
#define DATAGRAMS 64

#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)
#define NEVER UINT64_MAX

struct fl_neighbour {
	struct fl_region *region;
	struct fl_nexthops nexthops;
	bool is_built;
	pthread_t thread;
	int events_fd; /* notifications */
	int ask_fd;
	int poke_fd; /* refresh or stop */
	bool is_stopping;
	u32 *events; /* the caller's, with its eventfd */
	int wake;
	u64 now;
	u64 pass_began;
	u64 pass_due;	  /* when to ask for all routes again, or NEVER */
	u32 route_at;	  /* the target to ask for next; done at target_count */
	u32 look_at;	  /* the hop to read again next; done at target_count */
	u64 use_due;	  /* when some hop is due, or earlier */
	u32 gone_ifindex; /* of ours, the last one that was removed; 0: none */
	u64 buffer[FL_ANSWER_ROOM / 8];
};

static u64 now_ms(void)
{
	return fl_now() / 1000000;
}

static void raise_event(struct fl_neighbour *n, u32 event)
{
	const u64 one = 1;

	__atomic_fetch_or(n->events, event, __ATOMIC_SEQ_CST);
	/* A full eventfd has been written already. */
	if (n->wake >= 0 && write(n->wake, &one, sizeof(one)) < 0)
		return;
}

/* Brings a hop's turn forward. */
static void hop_due(struct fl_neighbour *n, struct fl_hop *hop, u64 due)
{
	if (due < hop->due)
		hop->due = due;
	if (hop->due < n->use_due)
		n->use_due = hop->due;
}

/* Deleted or flushed: the MAC stays, the kernel looks again, but not more often than it can answer. */
static void hop_lose(struct fl_neighbour *n, struct fl_hop *hop)
{
	u64 soonest = hop->asked + RETRY_FIRST_MS;

	hop->is_static = false;
	if (hop->is_known)
		hop_due(n, hop, soonest < n->now + FLUSH_MS ? n->now + FLUSH_MS : soonest);
}

static void hop_hear(struct fl_neighbour *n, struct fl_hop *hop, const struct fl_heard *heard)
{
	if (heard->state & NUD_USABLE && heard->has_mac) {
		memcpy(hop->mac, heard->mac, sizeof(hop->mac));
		hop->is_pending = false;
		hop->is_known = true;
		hop->is_static = heard->state & (NUD_PERMANENT | NUD_NOARP);
		hop->attempts = 0;
		hop_due(n, hop, hop->asked + KEEP_MS);
	} else if (heard->state & NUD_FAILED && hop->is_known && !hop->is_doubted) {
		hop_lose(n, hop);
	} else if (heard->state & NUD_FAILED) {
		if (hop->is_known)
			hop_due(n, hop, n->now);
		hop->is_pending = hop->is_known = hop->is_static = false;
	}
	hop->is_doubted = heard->state & (NUD_PROBE | NUD_INCOMPLETE | NUD_FAILED);
	if (fl_hop_publish(&n->nexthops, hop))
		raise_event(n, FL_EVENT_NEIGHBOUR);
}

static void neighbour_notice(struct fl_neighbour *n, const struct fl_heard *heard)
{
	struct fl_hop *hop = fl_nexthops_find(&n->nexthops, &heard->at);

	if (!hop)
		return;
	if (heard->type == RTM_DELNEIGH)
		hop_lose(n, hop);
	else
		hop_hear(n, hop, heard);
}

/* Reads a hop's entry in the kernel's table, and has it used soon. */
static void hop_look(struct fl_neighbour *n, struct fl_hop *hop)
{
	struct fl_heard heard;
	int code = fl_resolve_look(n->ask_fd, &hop->at, &heard);

	if (code == 0)
		neighbour_notice(n, &heard);
	else if (code == -ENOENT)
		hop_lose(n, hop);
	hop_due(n, hop, n->now);
}

/* Has the kernel look for a hop, or confirm it. A refusal (link down, table full) only means the next try is due. */
static void hop_use(struct fl_neighbour *n, struct fl_hop *hop)
{
	u64 wait = RETRY_FIRST_MS << hop->attempts;

	/* On a dead link the first probe would be lost and the next come a second after the link's return. That return
	 * makes the routes stale, and then unknown hops are due again. */
	if (hop->is_known || fl_resolve_link_is_up(n->ask_fd, hop->at.ifindex))
		fl_resolve_use(n->ask_fd, &hop->at);
	if (hop->is_known)
		wait = KEEP_MS + (hop - n->nexthops.hops) * 7919 % KEEP_SPREAD_MS;
	else if (wait < RETRY_LAST_MS)
		hop->attempts++;
	else
		wait = RETRY_LAST_MS;
	hop->asked = n->now;
	hop->due = n->now + wait;
}

static void hops_use(struct fl_neighbour *n)
{
	u32 spent = 0;

	n->use_due = NEVER;
	for (u32 i = 0; i < n->nexthops.target_count; i++) {
		struct fl_hop *hop = n->nexthops.hops + i;

		if (hop->targets == FL_NONE || hop->is_static)
			continue;
		if (hop->due <= n->now && spent < SLICE) {
			hop_use(n, hop);
			spent++;
		}
		if (hop->due < n->use_due)
			n->use_due = hop->due;
	}
}

/* Finds out by which hop a server is reached: none when there is no route, or only through links that are not ours. */
static void target_resolve(struct fl_neighbour *n, struct fl_target *target)
{
	struct fl_link_address at;
	u32 before = target->hop;
	bool is_reached = fl_resolve_route(n->ask_fd, &target->addr, target->is_v6, &at) == 0 &&
			  fl_nexthops_interface(&n->nexthops, at.ifindex) >= 0;
	struct fl_hop *hop = fl_target_lead(&n->nexthops, target, is_reached ? &at : NULL);

	if (hop && (target->hop != before || !hop->is_known)) {
		/* New, or the change that brought us here may help it: the back-off starts anew. */
		hop->attempts = 0;
		hop_look(n, hop);
	}
	if (fl_target_publish(&n->nexthops, target))
		raise_event(n, FL_EVENT_NEIGHBOUR);
}

static void routes_stale(struct fl_neighbour *n)
{
	u64 due = n->now + SETTLE_MS;

	if (due < n->pass_began + PASS_EVERY_MS)
		due = n->pass_began + PASS_EVERY_MS;
	if (due < n->pass_due)
		n->pass_due = due;
}

static void all_stale(struct fl_neighbour *n)
{
	routes_stale(n);
	n->look_at = 0;
	raise_event(n, FL_EVENT_LINK);
}

/* A link came, went or changed. One that is not ours matters while one of ours is gone: it may be the one. */
static void link_notice(struct fl_neighbour *n, u32 ifindex, bool is_gone)
{
	const struct fl_nexthops *nexthops = &n->nexthops;
	bool is_ours = fl_nexthops_interface(nexthops, ifindex) >= 0;

	if (is_ours && is_gone)
		n->gone_ifindex = ifindex;
	for (u32 i = 0; i < nexthops->interface_count && !is_ours; i++)
		is_ours = !nexthops->ifindex[i] || nexthops->ifindex[i] == n->gone_ifindex;
	if (is_ours)
		raise_event(n, FL_EVENT_LINK);
}

static void message_notice(struct fl_neighbour *n, const struct nlmsghdr *message)
{
	const struct ifinfomsg *link = fl_message_body(message, sizeof(*link));
	const struct ifaddrmsg *address = fl_message_body(message, sizeof(*address));
	struct fl_heard heard;

	switch (message->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (fl_heard_read(message, &heard))
			neighbour_notice(n, &heard);
		return;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (link)
			link_notice(n, link->ifi_index, message->nlmsg_type == RTM_DELLINK);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (address)
			link_notice(n, address->ifa_index, false);
		break;
	}
	routes_stale(n);
}

static void events_read(struct fl_neighbour *n)
{
	for (int i = 0; i < DATAGRAMS; i++) {
		const struct nlmsghdr *message = (const void *)n->buffer;
		ssize_t received = recv(n->events_fd, n->buffer, sizeof(n->buffer), MSG_DONTWAIT | MSG_TRUNC);
		size_t size = received;

		if (received < 0 && errno == ENOBUFS)
			all_stale(n);
		if (received < 0)
			return;
		if (size > sizeof(n->buffer)) {
			all_stale(n);
			continue;
		}
		for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size))
			message_notice(n, message);
	}
}

/* After a commit. Without memory what stands goes on standing, and it is tried again with the next pass. */
static void rebuild(struct fl_neighbour *n)
{
	struct fl_nexthops built;

	if (fl_nexthops_build(&built, n->region, n->is_built ? &n->nexthops : NULL) < 0) {
		routes_stale(n);
		return;
	}
	if (n->is_built)
		fl_nexthops_free(&n->nexthops);
	n->nexthops = built;
	n->is_built = true;
	n->look_at = built.target_count;
	n->route_at = 0;
	n->pass_began = n->now;
	n->pass_due = NEVER;
	n->use_due = n->now;
}

/* One slice of what is due. True when more is. */
static bool work(struct fl_neighbour *n)
{
	u32 count = n->nexthops.target_count;

	if (n->route_at >= count && n->pass_due <= n->now) {
		n->pass_due = NEVER;
		n->pass_began = n->now;
		n->route_at = 0;
	}
	for (u32 i = 0; i < SLICE && n->route_at < count; i++)
		target_resolve(n, n->nexthops.targets + n->route_at++);
	for (u32 i = 0; i < SLICE && n->look_at < count; i++, n->look_at++)
		if (n->nexthops.hops[n->look_at].targets != FL_NONE)
			hop_look(n, n->nexthops.hops + n->look_at);
	if (n->use_due <= n->now)
		hops_use(n);
	return n->route_at < count || n->look_at < count;
}

static int patience(const struct fl_neighbour *n)
{
	u64 due = n->use_due < n->pass_due ? n->use_due : n->pass_due;

	if (due == NEVER)
		return -1;
	return due <= n->now ? 0 : (int)(due - n->now < 60000 ? due - n->now : 60000);
}

static void *follow(void *argument)
{
	struct fl_neighbour *n = argument;
	struct pollfd watched[] = {
		{ .fd = n->poke_fd, .events = POLLIN },
		{ .fd = n->events_fd, .events = POLLIN },
	};
	bool is_busy = true;

	n->now = now_ms();
	rebuild(n);
	for (;;) {
		u64 pokes;

		poll(watched, 2, is_busy ? 0 : patience(n));
		n->now = now_ms();
		if (watched[0].revents && read(n->poke_fd, &pokes, sizeof(pokes)) > 0) {
			if (__atomic_load_n(&n->is_stopping, __ATOMIC_ACQUIRE))
				return NULL;
			rebuild(n);
		}
		if (watched[1].revents)
			events_read(n);
		is_busy = work(n);
	}
}

static void neighbour_free(struct fl_neighbour *n)
{
	if (n->events_fd >= 0)
		close(n->events_fd);
	if (n->ask_fd >= 0)
		close(n->ask_fd);
	if (n->poke_fd >= 0)
		close(n->poke_fd);
	fl_nexthops_free(&n->nexthops);
	free(n);
}

static int thread_start(struct fl_neighbour *n)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	code = pthread_create(&n->thread, NULL, follow, n);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code)
		return fl_fail(-code, "no thread to follow neighbours: %s", strerror(code));
	pthread_setname_np(n->thread, "fl-neighbour");
	return 0;
}

int fl_neighbour_start(struct fl_neighbour **neighbour, struct fl_region *region, u32 *events, int wake)
{
	static const u32 groups[] = {
		RTNLGRP_NEIGH,	    RTNLGRP_LINK,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP,	 0,
	};
	struct fl_neighbour *n = calloc(1, sizeof(*n));
	int code = 0;

	if (!n)
		return fl_fail(-ENOMEM, "no memory to follow neighbours");
	n->region = region;
	n->events = events;
	n->wake = wake;
	n->pass_due = n->use_due = NEVER;
	n->ask_fd = n->poke_fd = -1;
	n->events_fd = fl_netlink_open(groups);
	if (n->events_fd < 0)
		code = n->events_fd;
	if (code == 0) {
		n->ask_fd = fl_netlink_open(NULL);
		if (n->ask_fd < 0)
			code = n->ask_fd;
	}
	if (code == 0) {
		n->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (n->poke_fd < 0)
			code = fl_fail(-errno, "no eventfd to follow neighbours: %s", strerror(errno));
	}
	if (code == 0)
		code = thread_start(n);
	if (code < 0) {
		neighbour_free(n);
		return code;
	}
	*neighbour = n;
	return 0;
}

static void poke(const struct fl_neighbour *n)
{
	const u64 one = 1;

	/* Only a full counter refuses, and that has poked already. */
	if (write(n->poke_fd, &one, sizeof(one)) < 0)
		return;
}

void fl_neighbour_refresh(struct fl_neighbour *neighbour)
{
	poke(neighbour);
}

void fl_neighbour_stop(struct fl_neighbour *neighbour)
{
	if (!neighbour)
		return;
	__atomic_store_n(&neighbour->is_stopping, true, __ATOMIC_RELEASE);
	poke(neighbour);
	pthread_join(neighbour->thread, NULL);
	neighbour_free(neighbour);
}
