/*
 * Picks a server for a new flow. TypeScript built the tables; here is only an index or a comparison. A server whose
 * next hop is unknown is passed over for its neighbours in the table, as far as FL_SCHEDULE_TRIES.
 */
#ifndef FL_SCHEDULE_H
#define FL_SCHEDULE_H

#include "flow.h"

#define FL_SCHEDULE_TRIES 32 /* with half of the servers unknown, 8 would still end at one for a flow in 256 */
#define FL_LEAST_SCAN 256    /* lc and wlc are exact up to here; of more members, a window that moves with every flow */

FL_INLINE int fl_hop_is_known(u64 hop)
{
	return (hop >> 56) == FL_HOP_KNOWN;
}

FL_INLINE u64 fl_client_hash(const struct fl_view *view, const struct fl_service *service, const struct fl_look *look)
{
	u64 seed = view->header->schedule_seed;
	u64 *keys = view->scratch->schedule_keys;
	u16 port = service->hash_by == FL_HASH_CLIENT_PORT ? look->source_port : 0;

	keys[0] = seed;
	keys[1] = seed << 1 | 1;
	keys[2] = (seed ^ (seed << 23)) | 1;
	keys[3] = ~seed;
	return fl_keyed_hash(keys, &look->source, port, 0, look->is_v6);
}

/* The first server with a known next hop at or after a position of the service's table. */
FL_INLINE u32 fl_schedule_from(const struct fl_view *view, const struct fl_service *service, u32 position)
{
	u32 first = FL_NONE;

	if (!service->table_count)
		return FL_NONE;
	for (u32 attempt = 0; attempt < FL_SCHEDULE_TRIES; attempt++) {
		u32 at = (position + attempt) % service->table_count;
		const u32 *slot = fl_table_slot(view->region, service->table_first + at);
		const u64 *hop;

		if (!slot)
			return FL_NONE;
		hop = fl_hops_at(view->region, *slot);
		if (hop && fl_hop_is_known(fl_load(hop)))
			return *slot;
		if (first == FL_NONE)
			first = *slot;
	}
	return first;
}

/* Stateless: the same client gets the same server for as long as the table stands. */
FL_INLINE u32 fl_schedule_by_hash(const struct fl_view *view, const struct fl_service *service,
				  const struct fl_look *look)
{
	u64 hash = fl_client_hash(view, service, look);

	return fl_schedule_from(view, service, (u32)(((hash >> 32) * service->table_count) >> 32));
}

/* Least (256 * active + inactive + 1) / weight: the overhead that IPVS uses, and the new flow counted in. */
FL_INLINE u32 fl_schedule_least(const struct fl_view *view, const struct fl_service *service, u32 cursor)
{
	u32 best = FL_NONE, best_weight = 1;
	u64 best_load = 0;

	if (!service->member_count)
		return FL_NONE;
	for (u32 i = 0; i < FL_LEAST_SCAN; i++) {
		const u32 *slot;
		const struct fl_server *server;
		const struct fl_server_state *state;
		const u64 *hop;
		u64 load;

		if (i >= service->member_count)
			break;
		slot = fl_table_slot(view->region, service->member_first + (cursor + i) % service->member_count);
		if (!slot)
			break;
		server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + *slot);
		state = fl_server_state_at(view->region, *slot);
		hop = fl_hops_at(view->region, *slot);
		if (!server || !state || !hop || !fl_hop_is_known(fl_load(hop)))
			continue;
		load = (u64)state->active * 256 + state->inactive + 1;
		if (best == FL_NONE || load * best_weight < best_load * server->weight) {
			best = *slot;
			best_load = load;
			best_weight = server->weight;
		}
	}
	return best;
}

/* A server's slot, or FL_NONE when the service has none to give. */
FL_PART(fl_schedule, FL_NONE, service_index, nothing)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_service_state *state;
	u32 cursor, slot;

	if (!service)
		return FL_NONE;
	if (service->scheduler == FL_SCHEDULER_HASH)
		return fl_schedule_by_hash(view, service, look);
	state = fl_service_state_at(view->region, service_index);
	if (!state)
		return FL_NONE;
	cursor = fl_add(&state->cursor, 1);
	if (service->scheduler == FL_SCHEDULER_LEAST) {
		slot = fl_schedule_least(view, service, cursor);
		if (slot != FL_NONE)
			return slot;
	}
	return fl_schedule_from(view, service, cursor);
}

#endif
