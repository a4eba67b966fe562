/*
 * Room for a new flow: a slot in the table, and with full-nat a port to leave by.
 *
 * Eviction, when both buckets are full: expired or invalid, closed, time-wait, half-open, each the longest unseen
 * first; a UDP question that was answered just now counts as half-open. Established, closing and settled UDP flows are
 * never evicted: the newcomer is refused. The same flows give way when full-nat has no port left.
 */
#ifndef FL_ROOM_H
#define FL_ROOM_H

#include "state.h"

#define FL_PORT_FIRST 1024 /* full-nat's source ports */
#define FL_PORT_COUNT 64512
#define FL_PORT_TRIES 64
#define FL_PORTS_OF_ROW 8 /* that are looked through for a port that was lost */

/* A table in place of a switch: the verifier would follow each case through all turns of the loop that ranks. */
static const u8 fl_rank_of_state[FL_STATE_COUNT] = {
	[FL_STATE_SYN_SENT] = 1,  [FL_STATE_SYN_RECEIVED] = 1, [FL_STATE_UDP_ONE_WAY] = 1,
	[FL_STATE_TIME_WAIT] = 2, [FL_STATE_CLOSED] = 3,
};

/* How readily a flow makes room: 0 never, higher sooner. */
FL_INLINE u32 fl_flow_rank(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	u32 state = control & FL_STATE_MASK;

	if (!fl_state_is_live(control))
		return 0;
	if (state >= FL_STATE_COUNT || fl_flow_is_expired(view, flow, control) || !fl_flow_is_valid(view, flow))
		return 4;
	/* A question and its answer, or with dsr any two frames: as easily had as half a handshake. */
	if (state == FL_STATE_UDP_TWO_WAY || (state == FL_STATE_ESTABLISHED && flow->flags & FL_FLOW_DSR))
		return fl_elapsed(flow->seen, flow->created) < FL_SETTLED;
	return fl_rank_of_state[state];
}

/* The slot whose flow makes room most readily, seized; or FL_NONE. */
FL_PART(fl_slot_evict, FL_NONE, no, more)
{
	const struct fl_home *home = &look->home;
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
		age = fl_elapsed(view->now, flow->seen);
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

/* Takes a free slot for a new flow, in the emptier bucket: the index of a CLAIMED slot, or FL_NONE. */
FL_PART(fl_slot_take, FL_NONE, no, more)
{
	const struct fl_home *home = &look->home;
	u32 ways = fl_home_match(view, home, 0);
	u32 first = ways & 0xff, second = ways >> FL_WAYS;
	u32 own = 0x101u << home->way;
	int is_second_emptier = fl_popcount16(second) > fl_popcount16(first);

	for (int candidate = 0; candidate < FL_CANDIDATES; candidate++) {
		u32 preferred = is_second_emptier ? ways & 0xff00 : ways & 0xff;
		u32 way, index, control;
		struct fl_flow *flow;

		if (!ways)
			break;
		if (!preferred)
			preferred = ways;
		way = fl_lowest_bit(preferred & own ? preferred & own : preferred);
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
	return FL_NONE;
}

/* The orphan found, if there is one, makes room. */
FL_INLINE void fl_orphan_end(const struct fl_view *view)
{
	u32 index = view->scratch->orphan;
	struct fl_flow *flow = fl_flows_at(view->region, index);

	if (index == FL_NONE || !flow)
		return;
	if (fl_flow_seize(view, flow, index, fl_load(&flow->control)))
		fl_flow_release(view, flow, index);
}

/* nat: does another live flow of this client's port already use this server port? (a reply could not tell them) */
FL_INLINE int fl_flow_conflicts(const struct fl_view *view, struct fl_look *look, const struct fl_home *home,
				const struct fl_key *reply)
{
	struct fl_flow *flow;
	u32 control;

	view->scratch->orphan = FL_NONE;
	flow = fl_flow_find(view, home, reply, FL_SIDE_SERVER, look);
	if (!flow) {
		fl_orphan_end(view);
		return 0;
	}
	control = fl_load(&flow->control);
	if ((control & FL_STATE_MASK) == FL_STATE_CLOSED || (control & FL_STATE_MASK) == FL_STATE_TIME_WAIT) {
		if (fl_flow_seize(view, flow, look->index, control))
			fl_flow_release(view, flow, look->index);
		return 0;
	}
	return 1;
}

/*
 * full-nat: what a client's port leaves by is not chosen by chance but by a keyed hash of the client's end (RFC 6056
 * §3.3.3), so that who has lost the flow finds it again (trail.h): an address of the service's pool, and one of a row of
 * ports, the first that no flow uses towards the server. When the first few are all in use it is chosen by chance, so that who
 * finds none may find one by trying again.
 */
FL_INLINE u64 fl_port_row(const struct fl_view *view, const struct fl_look *look)
{
	const u64 *seed = view->header->seed;

	return fl_hash_round(
		fl_keyed_hash(seed, &look->source, look->source_port, look->protocol, look->is_v6) + seed[2], seed[1]);
}

/* The address that belongs to a row; NULL: there is none. */
FL_INLINE const struct fl_addr *fl_port_address(const struct fl_view *view, const struct fl_look *look,
						const struct fl_service *service, u64 row)
{
	if (!service->source_count)
		return &look->target;
	return fl_sources_at(view->region, view->settings->first[FL_SECTION_SOURCES] + service->source_first +
						   (u32)(row >> 32) % service->source_count);
}

/* A port of a row, in network order; 0: none. Where frames are steered to workers, ports are congruent to the worker's
 * number, so that the fan-out can bring replies to the one that has the flow in its cache. */
FL_INLINE u16 fl_port_at(const struct fl_view *view, u64 row, u32 attempt)
{
	u32 workers = FL_STEERS && view->header->worker_count ? view->header->worker_count : 1;
	u32 stride = ((u32)(row >> 32) % (FL_PORT_COUNT / 2)) * 2 + 1;
	u32 port = FL_PORT_FIRST + ((u32)row % FL_PORT_COUNT + attempt * stride) % FL_PORT_COUNT;

	port = port - port % workers + view->worker_index % workers;
	return port < FL_PORT_FIRST || port > 0xffff ? 0 : FL_BE16(port);
}

/* Where a way back can be entered: bit 0 for the bucket's first slot. 0: a flow has it, or the bucket is full. */
FL_INLINE u32 fl_return_room(const struct fl_returns *bucket, u64 hash)
{
	u32 free_ways = 0, taken = 0;

	for (int way = 0; way < FL_WAYS; way++) {
		u64 word = fl_load(&bucket->slot[way]);

		free_ways |= fl_is_zero(word) << way;
		taken |= fl_is_zero(word >> 32 ^ (hash & 0xffffffffu));
	}
	return free_ways & (taken - 1);
}

/* Ends the flow that has this port of the client's row, if it makes room: 1, and the port is the next to be tried. */
FL_PART(fl_port_evict, 0, service_index, attempt)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_key *key = &view->scratch->key;
	u64 row = fl_port_row(view, look), hash;
	const struct fl_addr *local = service ? fl_port_address(view, look, service, row) : NULL;
	struct fl_returns *bucket;
	u32 found = 0, control;
	struct fl_flow *flow;

	if (!local)
		return 0;
	view->scratch->one = *local;
	hash = fl_return_hash(
		view,
		fl_return_base(view, &key->other, key->other_port, &view->scratch->one, key->protocol, key->is_v6),
		fl_port_at(view, row, attempt));
	bucket = fl_return_bucket(view, hash);
	for (int way = 0; bucket && way < FL_WAYS; way++) {
		u64 word = fl_load(&bucket->slot[way]);

		found |= (u32)word * fl_is_zero(word >> 32 ^ (hash & 0xffffffffu));
	}
	flow = found ? fl_flows_at(view->region, found - 1) : NULL;
	if (!flow)
		return 0;
	control = fl_load(&flow->control);
	if (!fl_flow_rank(view, flow, control) || !fl_flow_seize(view, flow, found - 1, control))
		return 0;
	fl_flow_release(view, flow, found - 1);
	view->scratch->port_try = attempt;
	return 1;
}

/*
 * Takes the first port of the client's row, from the scratch's port_try on, that no flow uses towards the scratch's
 * key.other, and enters the way back. Two workers may try the same tuple at once: each enters its word, then looks again,
 * and whoever sees the other's withdraws, so two flows never share one. The port in network order, with the address in
 * the scratch's `one`; or 0.
 */
FL_PART(fl_port_take, 0, index, service_index)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	const struct fl_key *key = &view->scratch->key;
	u64 row = fl_port_row(view, look), base;
	const struct fl_addr *local = service ? fl_port_address(view, look, service, row) : NULL;

	if (!local)
		return 0;
	view->scratch->one = *local;
	base = fl_return_base(view, &key->other, key->other_port, &view->scratch->one, key->protocol, key->is_v6);
	for (u32 attempt = 0; attempt < FL_PORT_TRIES; attempt++) {
		u32 free_ways, place, taken = 0;
		struct fl_returns *bucket;
		u16 local_port;
		u64 hash;

		if (attempt == FL_PORTS_OF_ROW)
			row = fl_hash_round(row + view->now, view->header->seed[1]);
		local_port = fl_port_at(view, row, view->scratch->port_try + attempt);
		hash = fl_return_hash(view, base, local_port);
		bucket = fl_return_bucket(view, hash);
		if (!bucket)
			return 0;
		free_ways = fl_return_room(bucket, hash);
		if (!local_port || !free_ways)
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
