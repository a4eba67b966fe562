/*
 * Who may begin a flow with a service, and how many. Asked on the long way only, of first frames.
 *
 *   access    the service's allow and deny lists, as ranges in ascending order that TypeScript made of the prefixes: the
 *             range that begins last at or before the client says whether it may
 *   service   open flows, and new ones a second
 *   client    the same for each client prefix (an address, or its network) and VIP, in the table CLIENTS
 */
#ifndef FL_LIMIT_H
#define FL_LIMIT_H

#include "flow.h"

#define FL_ACCESS_STEPS 18 /* a binary search in the ranges of 65,536 nat servers; a service has FL_ACCESS_MOST */

/* Is `addr`, as it lies in frames, before one whose words are in host order? */
FL_INLINE int fl_addr_is_before(const struct fl_addr *addr, const struct fl_addr *other_host, int is_v6)
{
	for (int i = 0; i < 4; i++) {
		u32 word = FL_BE32(addr->word[i]);

		if (word != other_host->word[i])
			return word < other_host->word[i];
		if (!is_v6)
			break;
	}
	return 0;
}

/* Does the range of these that the scratch's `one` lies in let it in? */
FL_PART(fl_access_is_allowed, 0, first, count)
{
	u32 low = 0, high = count; /* the range sought begins in [low, high) */
	const struct fl_access *access;

	for (int step = 0; step < FL_ACCESS_STEPS; step++) {
		u32 middle = (low + high) / 2;

		if (high - low <= 1)
			break;
		access = fl_access_at(view->region, view->settings->first[FL_SECTION_ACCESS] + first + middle);
		if (!access)
			return 0;
		if (fl_addr_is_before(&view->scratch->one, &access->first_host, look->is_v6))
			high = middle;
		else
			low = middle;
	}
	access = fl_access_at(view->region, view->settings->first[FL_SECTION_ACCESS] + first + low);
	return access && access->is_allowed;
}

/* The place of the frame's client, made when there is none; FL_NONE: there is no room. */
FL_PART(fl_client_take, FL_NONE, of, nothing)
{
	struct fl_addr *prefix = &view->scratch->one;
	u32 room, found;
	struct fl_client *client;
	u64 name, former;

	*prefix = look->source;
	name = fl_client_name(view, prefix, &look->target, of, look->is_v6);
	found = fl_client_find(view, name, &room);
	if (found != FL_NONE || room == FL_NONE)
		return found;
	client = fl_clients_at(view->region, room);
	if (!client)
		return FL_NONE;
	former = fl_load(&client->name);
	return fl_swap_if(&client->name, former, name) ? room : FL_NONE;
}

/* What its flows remember of a service's client_of. */
FL_INLINE u8 fl_client_flag(const struct fl_view *view, const struct fl_service *service)
{
	const struct fl_limit *limit =
		fl_limits_at(view->region, view->settings->first[FL_SECTION_LIMITS] + service->limit - 1);

	return limit && limit->client_of == FL_CLIENT_NETWORK ? FL_FLOW_OF_NETWORK : FL_FLOW_OF_ADDRESS;
}

#define FL_BEGINS_NOTHING 0 /* only the lists are asked */
#define FL_BEGINS_FLOW 1    /* what a service or client has, and what it has begun */
#define FL_JOINS_FLOW 2	    /* what they have: that it has begun, its SYN was asked */

/* May the frame's client begin a flow with the service whose limits these are? 0, or why not. The scratch's client is the
 * place where the flow then counts. */
FL_PART(fl_limit_look, 0, service_index, does)
{
	int is_new = does == FL_BEGINS_FLOW;
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_service_state *state = fl_service_state_at(view->region, service_index);
	const struct fl_limit *limit;
	struct fl_client *client;

	view->scratch->client = FL_NONE;
	if (!service || !state || !service->limit)
		return 0;
	limit = fl_limits_at(view->region, view->settings->first[FL_SECTION_LIMITS] + service->limit - 1);
	if (!limit)
		return 0;
	view->scratch->one = look->source;
	if (limit->access_count && !fl_access_is_allowed(view, look, limit->access_first, limit->access_count))
		return FL_REASON_DENIED;
	if (does == FL_BEGINS_NOTHING)
		return 0;
	if (limit->client_rate || limit->client_flows)
		view->scratch->client = fl_client_take(view, look, limit->client_of, 0);
	client = fl_clients_at(view->region, view->scratch->client);
	/* Signed: who ends a flow may be counted before who began it. */
	if (client && limit->client_flows && (int)fl_load(&client->flows) >= (int)limit->client_flows)
		return FL_REASON_CLIENT_LIMITED;
	if (client && !limit->client_rate)
		fl_store(&client->bucket, (u64)view->now << 32); /* until the flow counts, nobody takes the place */
	if (client && is_new && limit->client_rate && !fl_bucket_take(&client->bucket, view->now, limit->client_rate))
		return FL_REASON_CLIENT_LIMITED;
	if ((limit->flows && (int)fl_load(&state->open) >= (int)limit->flows) ||
	    (is_new && limit->rate && !fl_bucket_take(&state->bucket, view->now, limit->rate)))
		return FL_REASON_SERVICE_LIMITED;
	return 0;
}

#endif
