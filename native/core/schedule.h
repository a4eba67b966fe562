/*
 * Picks a server for a new flow. TypeScript built the tables; here is only an index or a comparison. A server whose next
 * hop is unknown, or which has its max_flows, is passed over for its neighbours in the table, as far as
 * FL_SCHEDULE_TRIES; then for the least busy member, and then for the least busy of the reserves.
 *
 * max_flows is looked at here and counted when the flow is entered, so that a server has at most one flow more for each
 * other processor that was between the two at that moment.
 */
#ifndef FL_SCHEDULE_H
#define FL_SCHEDULE_H

#include "flow.h"

#define FL_SCHEDULE_TRIES 32 /* with half of the servers unknown, 8 would still end at one for a flow in 256 */
#define FL_LEAST_SCAN 256    /* comparing all is exact up to here; of more, a window that moves with every flow */

FL_INLINE int fl_hop_is_known(u64 hop)
{
	return (hop >> 56) == FL_HOP_KNOWN;
}

/*
 * The hash that chooses a client's server. Where any scheduler goes by it, between a SYN and its ACK (compute.h), the client's
 * port is in it; and of a service that remembers clients it is of whom that takes for one client, or one of its flows would be
 * remembered for another that went elsewhere.
 */
FL_INLINE u64 fl_client_hash(const struct fl_view *view, const struct fl_service *service, const struct fl_look *look)
{
	u64 seed = view->header->schedule_seed;
	u64 *keys = view->scratch->schedule_keys;
	int is_by_port = service->hash_by == FL_HASH_CLIENT_PORT || service->scheduler != FL_SCHEDULER_HASH;
	const struct fl_addr *client = &look->source;
	u16 port = is_by_port ? look->source_port : 0;

	if (view->scratch->is_computed && view->scratch->is_sticky) {
		client = &view->scratch->sticky.client;
		port = view->scratch->sticky.port;
	}
	keys[0] = seed;
	keys[1] = seed << 1 | 1;
	keys[2] = (seed ^ (seed << 23)) | 1;
	keys[3] = ~seed;
	return fl_keyed_hash(keys, client, port, 0, look->is_v6);
}

/* Shall nobody new go to this server? */
FL_INLINE int fl_server_is_out(const struct fl_view *view, u32 slot)
{
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);

	return !server || !server->weight;
}

/* Has a SYN had no answer from a server that takes nobody new by now? */
FL_INLINE int fl_is_stranded(const struct fl_view *view, const struct fl_flow *flow, u32 control,
			     const struct fl_look *look)
{
	return look->kind == FL_KIND_TCP && (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) == FL_TCP_SYN &&
	       (control & FL_STATE_MASK) == FL_STATE_SYN_SENT && fl_server_is_out(view, flow->server_slot);
}

/* 1 when it has its max_flows. Without a branch, and 0 is one more than any number. Signed: who ends a flow may be counted
 * before who began it. */
FL_INLINE u32 fl_server_is_full(const struct fl_server *server, const struct fl_server_state *state)
{
	u64 room = (u64)((long long)(u32)(server->max_flows - 1) - (int)fl_load(&state->open));

	fl_hide(room);
	return (u32)(room >> 63);
}

/* Can the server in this slot take one flow more? */
FL_INLINE int fl_server_takes(const struct fl_view *view, u32 slot)
{
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);
	const struct fl_server_state *state = fl_server_state_at(view->region, slot);
	const u64 *hop = fl_hops_at(view->region, slot);

	return server && state && hop && fl_hop_is_known(fl_load(hop)) &&
	       (view->scratch->is_untracked || !fl_server_is_full(server, state));
}

/* The first server that takes a flow at or after a position of the service's table, or of its members where it has none. */
FL_PART(fl_schedule_from, FL_NONE, service_index, position)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	u32 first, count;

	if (!service)
		return FL_NONE;
	first = service->table_count ? service->table_first : service->member_first;
	count = service->table_count ? service->table_count : service->member_count;
	for (u32 attempt = 0; attempt < FL_SCHEDULE_TRIES; attempt++) {
		const u32 *slot;

		if (!count)
			break;
		slot = fl_table_slot(view->region, first + (position + attempt) % count);
		if (!slot)
			break;
		if (fl_server_takes(view, *slot))
			return *slot;
	}
	return FL_NONE;
}

/*
 * How long its handshakes take, in steps of 16 us and 64 us more: below that the difference between two servers is noise.
 * One that was never asked is taken to be fast, and until it has answered to be slow. 65,539 at most.
 */
FL_INLINE u64 fl_server_response(const struct fl_view *view, const struct fl_server_state *state)
{
	u32 is_unheard = fl_is_zero(state->smooth_us8) & ~fl_is_zero(state->waiting);

	return (fl_handshake_smooth(view, state) >> 7 | (is_unheard & 1) * 0xffff) + 4;
}

/*
 * 256 * active + inactive + 1: the overhead that IPVS uses, and the new flow counted in. A flow that waits for its server
 * counts as active, or one that does not answer would seem to be idle. With `by_response` 1, times what a handshake takes:
 * with a weight to be compared with 62 bits, for four million flows of one server.
 */
FL_INLINE u64 fl_server_load(const struct fl_view *view, const struct fl_server_state *state, u32 by_response)
{
	u64 load = ((u64)state->active + state->waiting) * 256 + (state->inactive - state->waiting) + 1;

	return load * (1 + by_response * (fl_server_response(view, state) - 1));
}

#define FL_AMONG_MEMBERS 0
#define FL_AMONG_RESERVES 1

/* The least load for its weight; or FL_NONE, and the scratch's refusal says why. */
FL_PART(fl_schedule_least, FL_NONE, service_index, among)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_service_state *cursor = fl_service_state_at(view->region, service_index);
	u32 best = FL_NONE, full = 0, by_response, is_reserve, first, count, start;
	u64 best_load = 1, best_weight = 0; /* worse than any */

	if (!service || !cursor)
		return FL_NONE;
	is_reserve = fl_is_zero(among ^ FL_AMONG_RESERVES);
	first = service->member_first + is_reserve * service->member_count;
	count = is_reserve * service->reserve_count + (is_reserve ^ 1) * service->member_count;
	if (!count)
		return FL_NONE;
	by_response = fl_is_zero(service->scheduler ^ FL_SCHEDULER_RESPONSE);
	fl_hide(by_response);
	start = fl_add(&cursor->cursor, 1);
	for (u32 i = 0; i < FL_LEAST_SCAN; i++) {
		const u32 *slot;
		const struct fl_server *server;
		const struct fl_server_state *state;
		const u64 *hop;
		u32 is_known, is_full;
		u64 load, chosen;

		if (i >= count)
			break;
		slot = fl_table_slot(view->region, first + (start + i) % count);
		if (!slot)
			break;
		server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + *slot);
		state = fl_server_state_at(view->region, *slot);
		hop = fl_hops_at(view->region, *slot);
		if (!server || !state || !hop)
			break;
		/* No branch: the verifier would follow both its ways through all other turns. */
		is_known = fl_is_zero(fl_load(hop) >> 56 ^ FL_HOP_KNOWN);
		is_full = fl_server_is_full(server, state);
		full |= is_known & is_full;
		load = fl_server_load(view, state, by_response);
		chosen = -((load * best_weight - best_load * server->weight) >> 63 & is_known & ~is_full);
		fl_hide(chosen);
		best ^= (best ^ *slot) & (u32)chosen;
		best_load ^= (best_load ^ load) & chosen;
		best_weight ^= (best_weight ^ server->weight) & chosen;
	}
	if (full)
		view->scratch->refusal = FL_REASON_SERVERS_FULL;
	else if (view->scratch->refusal != FL_REASON_SERVERS_FULL)
		view->scratch->refusal = FL_REASON_NO_NEIGHBOUR;
	return best;
}

/* The better of two servers that the service's table has at random places; places are as many as the weight says. */
FL_PART(fl_schedule_choice, FL_NONE, one, other)
{
	u32 first = view->settings->first[FL_SECTION_SERVERS];
	const struct fl_server *server = fl_servers_at(view->region, first + one);
	const struct fl_server *rival = fl_servers_at(view->region, first + other);
	const struct fl_server_state *state = fl_server_state_at(view->region, one);
	const struct fl_server_state *rivals = fl_server_state_at(view->region, other);

	if (one == FL_NONE || !server || !state)
		return other;
	if (other == FL_NONE || !rival || !rivals)
		return one;
	return fl_server_load(view, rivals, 0) * server->weight < fl_server_load(view, state, 0) * rival->weight ? other
														 : one;
}

/* Stateless: the same client gets the same server for as long as the table stands. */
FL_PART(fl_schedule_hash, FL_NONE, service_index, nothing)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	u32 count;

	if (!service)
		return FL_NONE;
	count = service->table_count ? service->table_count : service->member_count;
	return fl_schedule_from(view, look, service_index,
				(u32)(((fl_client_hash(view, service, look) >> 32) * count) >> 32));
}

/* A server's slot by the service's table; FL_NONE when there is none near, or when all members are to be compared. */
FL_PART(fl_schedule, FL_NONE, service_index, nothing)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_service_state *state = fl_service_state_at(view->region, service_index);
	u32 count, cursor, one, other;
	u64 random;

	if (!service || !state || !service->table_count || service->scheduler == FL_SCHEDULER_LEAST ||
	    service->scheduler == FL_SCHEDULER_RESPONSE)
		return FL_NONE;
	count = service->table_count;
	if (service->scheduler == FL_SCHEDULER_HASH)
		return fl_schedule_hash(view, look, service_index, 0);
	cursor = fl_add(&state->cursor, 1);
	if (service->scheduler != FL_SCHEDULER_CHOICE || count < 2)
		return fl_schedule_from(view, look, service_index, cursor);
	random = fl_hash_round(fl_hash_round(cursor + view->header->seed[0], view->header->seed[1]),
			       view->header->seed[2]);
	one = (u32)random % count;
	other = one + 1 + (u32)(random >> 32) % (count - 1);
	return fl_schedule_choice(view, look, fl_schedule_from(view, look, service_index, one),
				  fl_schedule_from(view, look, service_index, other));
}

#endif
