/*
 * The flow table.
 *
 * The problem: find the flow of a frame from either side with one cache line, never match on a hash alone, never
 * break an established flow to make room, and stay bounded and lock-free.
 *
 * The idea: nat never changes the client's address and port, so both directions of a flow are found under the hash of
 * the *client's* end; the entry holds the VIP's end and the server's end, and confirms against whichever the frame
 * names. full-nat replaces the client's end towards the server, so its replies come in under a second, 8-byte entry in
 * RETURNS. A flow may live in either of two buckets of eight slots and takes the emptier; a bucket's tags (16 bits a
 * slot) are scanned first, so a hit costs the tags, mostly in cache, and one line.
 *
 * Because every service a client's port talks to lands in the same two buckets, the one real conflict that nat has
 * (two services putting one client's port on one server port, so that replies could not tell) is seen on insertion.
 *
 * Eviction, when both buckets are full: expired or invalid, closed, time-wait, half-open, each the longest unseen
 * first. Established, closing and two-way UDP flows are never evicted: the newcomer goes untracked or is refused.
 */
#ifndef FL_FLOW_H
#define FL_FLOW_H

#include "frame.h"
#include "hash.h"
#include "view.h"

#define FL_STATE_MASK 0xffu
#define FL_FIN_MASK 0xff00u
#define FL_INCARNATION 0x10000u

#define FL_PORT_FIRST 1024 /* full-nat's source ports */
#define FL_PORT_COUNT 64512
#define FL_PORT_TRIES 64

#define FL_FIRST_DATA 0x10000u /* what a server may send before its SYN+ACK is acknowledged (RFC 7413) */

enum fl_side { FL_SIDE_CLIENT, FL_SIDE_SERVER };

FL_INLINE struct fl_home fl_home_of(const u64 seed[4], u32 buckets, const struct fl_addr *client, u16 port,
				    u8 protocol, int is_v6)
{
	u64 hash = fl_keyed_hash(seed, client, port, protocol, is_v6);
	struct fl_home home = {
		.bucket = { (u32)(((hash >> 32) * buckets) >> 32), (u32)(((hash & 0xffffffffu) * buckets) >> 32) },
		/* The high bits of both halves choose buckets; these do not. */
		.tag = (u16)((hash & 0x7ff) | ((hash >> 32) & 0x1f) << 11),
	};

	if (!home.tag)
		home.tag = 1;
	return home;
}

/* Names a nat flow's replies for the guard: 64 keyed bits over both ends, never 0. */
FL_INLINE u64 fl_claim_of(const u64 seed[4], const struct fl_addr *client, u16 client_port,
			  const struct fl_addr *server, u16 server_port, u8 protocol, int is_v6)
{
	u64 claim = fl_keyed_hash(seed, client, client_port, protocol, is_v6) * seed[1] +
		    fl_keyed_hash(seed, server, server_port, protocol, is_v6);

	claim = fl_hash_round(claim, seed[2]);
	return claim ? claim : 1;
}

FL_INLINE int fl_state_is_live(u32 control)
{
	return (control & FL_STATE_MASK) > FL_STATE_CLAIMED;
}

FL_INLINE int fl_state_is_active(u32 state)
{
	return state == FL_STATE_ESTABLISHED || state == FL_STATE_UDP_TWO_WAY;
}

FL_INLINE void fl_flow_addr(const struct fl_view *view, const struct fl_flow *flow, u32 index, int which,
			    struct fl_addr *addr)
{
	const u32 *word = &flow->client + which;

	if (flow->flags & FL_FLOW_V6) {
		const struct fl_flow6 *wide = fl_flows6_at(view->region, index);

		if (wide) {
			const struct fl_addr *from = &wide->client + which;

			*addr = *from;
			return;
		}
	}
	addr->word[0] = *word;
	addr->word[1] = addr->word[2] = addr->word[3] = 0;
}

#define FL_WHICH_CLIENT 0
#define FL_WHICH_VIP 1
#define FL_WHICH_SERVER 2
#define FL_WHICH_LOCAL 3

/* Does this entry belong to the key, seen from this side? */
FL_INLINE int fl_flow_confirms(const struct fl_view *view, const struct fl_flow *flow, u32 index,
			       const struct fl_key *key, enum fl_side side)
{
	if (flow->client_port != key->client_port || flow->protocol != key->protocol ||
	    (flow->flags & FL_FLOW_V6 ? 1 : 0) != key->is_v6)
		return 0;
	if (side == FL_SIDE_SERVER && flow->flags & FL_FLOW_FULL_NAT)
		return 0;
	if ((side == FL_SIDE_CLIENT ? flow->vip_port : flow->server_port) != key->other_port)
		return 0;
	if (key->is_v6) {
		const struct fl_flow6 *wide = fl_flows6_at(view->region, index);

		return wide && fl_addr_same(&wide->client, &key->client) &&
		       fl_addr_same(side == FL_SIDE_CLIENT ? &wide->vip : &wide->server, &key->other);
	}
	return flow->client == key->client.word[0] &&
	       (side == FL_SIDE_CLIENT ? flow->vip : flow->server) == key->other.word[0];
}

/* A flow whose server slot was given to another server, or whose server is gone, is no flow. */
FL_INLINE int fl_flow_is_valid(const struct fl_view *view, const struct fl_flow *flow)
{
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + flow->server_slot);

	return server && server->flags & FL_SERVER_USED && server->generation == flow->server_generation;
}

FL_INLINE int fl_flow_is_expired(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	u32 state = control & FL_STATE_MASK;

	if (state >= FL_STATE_COUNT)
		return 1;
	return (int)(view->now - flow->seen) > (int)view->settings->timeout[state];
}

/* Everything of a full-nat reply but the port it comes in by, so that many ports can be tried at the price of one. */
FL_INLINE u64 fl_return_base(const struct fl_view *view, const struct fl_addr *server, u16 server_port,
			     const struct fl_addr *local, u8 protocol, int is_v6)
{
	return fl_claim_of(view->header->seed, local, 0, server, server_port, protocol, is_v6);
}

FL_INLINE u64 fl_return_hash(const struct fl_view *view, u64 base, u16 local_port)
{
	return fl_hash_round(base + local_port, view->header->seed[1]);
}

FL_INLINE struct fl_returns *fl_return_bucket(const struct fl_view *view, u64 hash)
{
	return fl_returns_at(view->region, (u32)(((hash >> 32) * view->header->buckets) >> 32));
}

/* The tag is the low half: the bucket came from the high one. */
FL_INLINE u64 fl_return_word(u64 hash, u32 index)
{
	return hash << 32 | (index + 1);
}

FL_INLINE void fl_server_count(const struct fl_view *view, const struct fl_flow *flow, u32 active, u32 inactive)
{
	struct fl_server_state *state;

	if (!fl_flow_is_valid(view, flow))
		return;
	state = fl_server_state_at(view->region, flow->server_slot);
	if (!state)
		return;
	if (active)
		fl_add(&state->active, active);
	if (inactive)
		fl_add(&state->inactive, inactive);
}

/* One flow more (1) or less (-1) in a state. */
FL_INLINE void fl_server_count_state(const struct fl_view *view, const struct fl_flow *flow, u32 state, u32 change)
{
	int is_active = fl_state_is_active(state);

	fl_server_count(view, flow, is_active ? change : 0, is_active ? 0 : change);
}

FL_PART(fl_flow_seize_at, 0, index, control)
{
	u32 claimed = ((control & ~(FL_STATE_MASK | FL_FIN_MASK)) + FL_INCARNATION) | FL_STATE_CLAIMED;
	struct fl_flow *flow = fl_flows_at(view->region, index);

	if (!flow || !fl_swap_if(&flow->control, control, claimed))
		return 0;
	fl_server_count_state(view, flow, control & FL_STATE_MASK, (u32)-1);
	if (flow->flags & FL_FLOW_FULL_NAT) {
		struct fl_addr *server = &view->scratch->one, *local = &view->scratch->two;
		struct fl_returns *bucket;
		u64 hash;

		fl_flow_addr(view, flow, index, FL_WHICH_SERVER, server);
		fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, local);
		hash = fl_return_hash(view,
				      fl_return_base(view, server, flow->server_port, local, flow->protocol,
						     flow->flags & FL_FLOW_V6 ? 1 : 0),
				      flow->local_port);
		bucket = fl_return_bucket(view, hash);
		if (bucket)
			for (int way = 0; way < FL_WAYS; way++)
				if (fl_load(&bucket->slot[way]) == fl_return_word(hash, index))
					fl_store(&bucket->slot[way], (u64)0);
	}
#ifndef __bpf__
	if (view->region->claims)
		fl_store(&view->region->claims[index], (u64)0);
#endif
	return 1;
}

/* Claims a live flow that was seen in `control`, and takes it out of all indexes. The slot stays CLAIMED, the
 * caller's. False when somebody else changed the flow first. */
FL_INLINE int fl_flow_seize(const struct fl_view *view, struct fl_flow *flow, u32 index, u32 control)
{
	(void)flow;
	return fl_flow_seize_at(view, NULL, index, control);
}

/* Gives a claimed slot back. */
FL_INLINE void fl_flow_release(const struct fl_view *view, struct fl_flow *flow, u32 index)
{
	struct fl_tags *tags = fl_tags_at(view->region, index / FL_WAYS);

	if (tags)
		fl_store(&tags->tag[index % FL_WAYS], (u16)0);
	fl_store(&flow->control, (flow->control & ~(FL_STATE_MASK | FL_FIN_MASK)) | FL_STATE_FREE);
}

/* Which of the eight tags equal this one: bit 0 for the first. No branches: four 16-bit lanes at a time. */
FL_INLINE u32 fl_tags_match(const struct fl_tags *tags, u16 tag)
{
	const u64 low = 0x7fff7fff7fff7fffull;
	u32 ways = 0;

	for (int half = 0; half < 2; half++) {
		u64 lanes = fl_load(&tags->word[half]) ^ tag * 0x0001000100010001ull;

		lanes = ~(((lanes & low) + low) | lanes | low); /* the top bit of each lane that is zero */
		ways |= (u32)((lanes >> 15 & 1) | (lanes >> 30 & 2) | (lanes >> 45 & 4) | (lanes >> 60 & 8))
			<< (half * 4);
	}
	return ways;
}

/* The slots of both buckets that carry a tag: bits 0-7 the first bucket, 8-15 the second. */
FL_INLINE u32 fl_home_match(const struct fl_view *view, const struct fl_home *home, u16 tag)
{
	const struct fl_tags *first = fl_tags_at(view->region, home->bucket[0]);
	const struct fl_tags *second = fl_tags_at(view->region, home->bucket[1]);

	if (!first || !second)
		return 0;
	return fl_tags_match(first, tag) | fl_tags_match(second, tag) << FL_WAYS;
}

FL_INLINE u32 fl_home_slot(const struct fl_home *home, u32 way)
{
	return home->bucket[way / FL_WAYS & 1] * FL_WAYS + way % FL_WAYS;
}

/* An expired or invalid flow is freed when it is found, and is no flow. */
FL_CALL struct fl_flow *fl_flow_if_alive(const struct fl_view *view, struct fl_flow *flow, u32 index)
{
	u32 control = fl_load(&flow->control);

	if (FL_LIKELY(fl_state_is_live(control) && !fl_flow_is_expired(view, flow, control) &&
		      fl_flow_is_valid(view, flow)))
		return flow;
	if (fl_state_is_live(control) && fl_flow_seize(view, flow, index, control))
		fl_flow_release(view, flow, index);
	return NULL;
}

/* Of 16 slots, seldom more than one carries the tag; that five do is a matter of 1 in 10^16. */
#define FL_CANDIDATES 4

/* Finds the key's live flow; its index goes to *at. */
FL_INLINE struct fl_flow *fl_flow_find(const struct fl_view *view, const struct fl_home *home,
				       const struct fl_key *key, enum fl_side side, u32 *at)
{
	u32 ways = fl_home_match(view, home, home->tag);

	for (int candidate = 0; candidate < FL_CANDIDATES; candidate++) {
		struct fl_flow *flow;
		u32 index;

		if (!ways)
			break;
		index = fl_home_slot(home, fl_lowest_bit(ways));
		ways &= ways - 1;
		flow = fl_flows_at(view->region, index);
		if (flow && fl_flow_confirms(view, flow, index, key, side)) {
			*at = index;
			return fl_flow_if_alive(view, flow, index);
		}
	}
	return NULL;
}

/* Finds the full-nat flow of a reply: server -> local. */
FL_INLINE struct fl_flow *fl_flow_find_return(const struct fl_view *view, const struct fl_frame *frame, u32 *at)
{
	struct fl_look *look = frame->look;
	u64 base = fl_return_base(view, &look->source, look->source_port, &look->target, look->protocol, look->is_v6);
	u64 hash = fl_return_hash(view, base, look->target_port);
	struct fl_returns *bucket = fl_return_bucket(view, hash);

	if (!bucket)
		return NULL;
	for (int way = 0; way < FL_WAYS; way++) {
		u64 word = fl_load(&bucket->slot[way]);
		struct fl_flow *flow;
		u32 index;

		if (!word || word >> 32 != (hash & 0xffffffffu))
			continue;
		index = (u32)word - 1;
		flow = fl_flows_at(view->region, index);
		if (!flow || !(flow->flags & FL_FLOW_FULL_NAT) || (flow->flags & FL_FLOW_V6 ? 1 : 0) != look->is_v6 ||
		    flow->protocol != look->protocol || flow->server_port != look->source_port ||
		    flow->local_port != look->target_port)
			continue;
		fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &view->scratch->one);
		fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &view->scratch->two);
		if (!fl_addr_same(&view->scratch->one, &look->source) ||
		    !fl_addr_same(&view->scratch->two, &look->target))
			continue;
		*at = index;
		return fl_flow_if_alive(view, flow, index);
	}
	return NULL;
}

/*
 * TCP states from both directions, as netfilter's and IPVS's NAT tables see them:
 *
 *   SYN_SENT      the client's SYN went to the server
 *   SYN_RECEIVED  the server answered SYN+ACK
 *   ESTABLISHED   the client acknowledged just that SYN+ACK. Who only pretends to be the client never saw its number, and
 *                 so cannot make flows that nothing may evict
 *   CLOSING       one side sent FIN, once established
 *   TIME_WAIT     both did
 *   CLOSED        RST
 */
FL_INLINE u32 fl_tcp_next(struct fl_flow *flow, u32 control, const struct fl_look *look, enum fl_side side)
{
	u32 state = control & FL_STATE_MASK;
	u32 rest = control & ~FL_STATE_MASK;
	u8 flags = look->tcp_flags;

	if (flags & FL_TCP_RST)
		return rest | FL_STATE_CLOSED;
	if (state == FL_STATE_SYN_SENT || state == FL_STATE_SYN_RECEIVED) {
		if (side == FL_SIDE_SERVER) {
			if (!(flags & FL_TCP_SYN))
				return control;
			flow->server_sequence = look->tcp_sequence;
			return rest | FL_STATE_SYN_RECEIVED;
		}
		if (state == FL_STATE_SYN_SENT || !(flags & FL_TCP_ACK) || flags & FL_TCP_SYN ||
		    FL_BE32(look->tcp_acknowledged) - FL_BE32(flow->server_sequence) - 1 >= FL_FIRST_DATA)
			return control;
		state = FL_STATE_ESTABLISHED;
	}
	if (flags & FL_TCP_FIN) {
		rest |= side == FL_SIDE_CLIENT ? FL_FIN_CLIENT : FL_FIN_SERVER;
		if ((rest & (FL_FIN_CLIENT | FL_FIN_SERVER)) == (FL_FIN_CLIENT | FL_FIN_SERVER))
			return rest | (state == FL_STATE_CLOSED ? FL_STATE_CLOSED : FL_STATE_TIME_WAIT);
		return rest | (state == FL_STATE_CLOSED ? FL_STATE_CLOSED : FL_STATE_CLOSING);
	}
	return rest | state;
}

/* Notes a frame of a live flow: when, and what it does to the state. */
FL_INLINE void fl_flow_touch(const struct fl_view *view, struct fl_flow *flow, const struct fl_frame *frame,
			     enum fl_side side)
{
	struct fl_look *look = frame->look;
	if (flow->seen != view->now)
		flow->seen = view->now;
	for (int attempt = 0; attempt < 4; attempt++) {
		u32 control = fl_load(&flow->control);
		u32 next = control;

		if (!fl_state_is_live(control))
			return;
		if (look->kind == FL_KIND_TCP)
			next = fl_tcp_next(flow, control, look, side);
		else if (side == FL_SIDE_SERVER)
			next = (control & ~FL_STATE_MASK) | FL_STATE_UDP_TWO_WAY;
		if (FL_LIKELY(next == control))
			return;
		if (!fl_swap_if(&flow->control, control, next))
			continue;
		if (fl_state_is_active(control & FL_STATE_MASK) != fl_state_is_active(next & FL_STATE_MASK)) {
			u32 change = fl_state_is_active(next & FL_STATE_MASK) ? 1 : (u32)-1;

			fl_server_count(view, flow, change, -change);
		}
		return;
	}
}

#define FL_UDP_SETTLED 16 /* ticks, 2 s */

/* How readily a flow makes room: 0 never, higher sooner. */
FL_INLINE u32 fl_flow_rank(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	if (!fl_state_is_live(control))
		return 0;
	if (fl_flow_is_expired(view, flow, control) || !fl_flow_is_valid(view, flow))
		return 4;
	switch (control & FL_STATE_MASK) {
	case FL_STATE_CLOSED:
		return 3;
	case FL_STATE_TIME_WAIT:
		return 2;
	case FL_STATE_SYN_SENT:
	case FL_STATE_SYN_RECEIVED:
	case FL_STATE_UDP_ONE_WAY:
		return 1;
	case FL_STATE_UDP_TWO_WAY: /* a question and its answer: as easily had as half a handshake */
		return flow->seen - flow->created < FL_UDP_SETTLED;
	}
	return 0;
}

/* The slot whose flow makes room most readily, seized; or FL_NONE. */
FL_INLINE u32 fl_slot_evict(const struct fl_view *view, const struct fl_home *home)
{
	u32 best = FL_NONE, best_rank = 0, best_control = 0, best_age = 0;
	struct fl_flow *flow;

	for (u32 way = 0; way < 2 * FL_WAYS; way++) {
		u32 index = fl_home_slot(home, way);
		u32 control, rank, age;

		flow = fl_flows_at(view->region, index);
		if (!flow)
			break;
		control = fl_load(&flow->control);
		rank = fl_flow_rank(view, flow, control);
		age = view->now - flow->seen;
		if (rank > best_rank || (rank && rank == best_rank && age > best_age)) {
			best = index;
			best_rank = rank;
			best_control = control;
			best_age = age;
		}
	}
	flow = fl_flows_at(view->region, best);
	if (best == FL_NONE || !flow)
		return FL_NONE;
	return fl_flow_seize(view, flow, best, best_control) ? best : FL_NONE;
}

/* Takes a slot for a new flow, in the emptier bucket: the index of a CLAIMED slot, or FL_NONE. */
FL_PART(fl_slot_take, FL_NONE, no, more)
{
	const struct fl_home *home = &look->home;
	u32 ways = fl_home_match(view, home, 0);
	u32 first = ways & 0xff, second = ways >> FL_WAYS;
	int is_second_emptier = fl_popcount16(second) > fl_popcount16(first);

	for (int candidate = 0; candidate < FL_CANDIDATES; candidate++) {
		u32 preferred = is_second_emptier ? ways & 0xff00 : ways & 0xff;
		u32 way, index, control;
		struct fl_flow *flow;

		if (!ways)
			break;
		way = fl_lowest_bit(preferred ? preferred : ways);
		ways &= ~(1u << way);
		index = fl_home_slot(home, way);
		flow = fl_flows_at(view->region, index);
		if (!flow)
			return FL_NONE;
		control = fl_load(&flow->control);
		if ((control & FL_STATE_MASK) == FL_STATE_FREE &&
		    fl_swap_if(&flow->control, control, (control + FL_INCARNATION) | FL_STATE_CLAIMED))
			return index;
	}
	return fl_slot_evict(view, home);
}

/* nat: does another live flow of this client's port already use this server port? (a reply could not tell them) */
FL_INLINE int fl_flow_conflicts(const struct fl_view *view, const struct fl_home *home, const struct fl_key *reply)
{
	u32 index;
	struct fl_flow *flow = fl_flow_find(view, home, reply, FL_SIDE_SERVER, &index);
	u32 control;

	if (!flow)
		return 0;
	control = fl_load(&flow->control);
	if ((control & FL_STATE_MASK) == FL_STATE_CLOSED || (control & FL_STATE_MASK) == FL_STATE_TIME_WAIT) {
		if (fl_flow_seize(view, flow, index, control))
			fl_flow_release(view, flow, index);
		return 0;
	}
	return 1;
}

/*
 * full-nat: finds a source port (and of a pool, an address) that no flow uses towards the scratch's key.other, and
 * enters the way back. Two workers may try the same tuple at once: each enters its word, then looks again, and whoever
 * sees the other's withdraws, so two flows never share one. Ports are congruent to the worker's number, so that the
 * fan-out can bring replies to the worker that has the flow in its cache. The port in network order, with the address
 * in the scratch's `one`; or 0.
 */
FL_PART(fl_port_take, 0, index, service_index)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_key *key = &view->scratch->key;
	struct fl_addr *local = &view->scratch->one;
	u32 workers = view->header->worker_count ? view->header->worker_count : 1;
	u64 random = fl_hash_round(fl_keyed_hash(view->header->seed, &look->source, look->source_port, look->protocol,
						 look->is_v6) +
					   view->now,
				   view->header->seed[1]);
	u32 start = (u32)random % FL_PORT_COUNT;
	u32 stride = ((u32)(random >> 32) % (FL_PORT_COUNT / 2)) * 2 + 1;
	u64 base;

	if (!service)
		return 0;
	*local = look->target;
	if (service->source_count) {
		const struct fl_addr *source =
			fl_sources_at(view->region, view->settings->first[FL_SECTION_SOURCES] + service->source_first +
							    start % service->source_count);

		if (!source)
			return 0;
		*local = *source;
	}
	base = fl_return_base(view, &key->other, key->other_port, local, key->protocol, key->is_v6);
	for (u32 attempt = 0; attempt < FL_PORT_TRIES; attempt++) {
		u32 port = FL_PORT_FIRST + (start + attempt * stride) % FL_PORT_COUNT;
		u32 free_ways = 0, taken = 0, place;
		struct fl_returns *bucket;
		u64 hash;
		u16 local_port;

		port = port - port % workers + view->worker_index % workers;
		if (port < FL_PORT_FIRST || port > 0xffff)
			continue;
		local_port = FL_BE16(port);
		hash = fl_return_hash(view, base, local_port);
		bucket = fl_return_bucket(view, hash);
		if (!bucket)
			return 0;
		for (int way = 0; way < FL_WAYS; way++) {
			u64 word = fl_load(&bucket->slot[way]);

			free_ways |= fl_is_zero(word) << way;
			taken += fl_is_zero(word >> 32 ^ (hash & 0xffffffffu));
		}
		if (taken || !free_ways)
			continue;
		place = fl_lowest_bit(free_ways) & (FL_WAYS - 1);
		if (!fl_swap_if(&bucket->slot[place], (u64)0, fl_return_word(hash, index)))
			continue;
		for (int way = 0; way < FL_WAYS; way++)
			taken += fl_is_zero(fl_load(&bucket->slot[way]) >> 32 ^ (hash & 0xffffffffu));
		if (taken == 1) /* mine alone */
			return local_port;
		fl_store(&bucket->slot[place], (u64)0);
	}
	return 0;
}

#endif
