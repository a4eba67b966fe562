/*
 * Persistence: which server a client of a service goes to is remembered, and its next flows go there.
 *
 * The problem: a memory that is bounded, that no frame of a standing flow pays for, and that is never in the way of health:
 * a server that takes nobody new takes none of its clients either.
 *
 * The idea: a table of buckets of 15 entries. An entry is the client (an address, a prefix, or an address and port) and
 * the server with its whole generation. So the entries of a server that was removed or had its flows ended are void at
 * once; of one that is drained, down, full or without a next hop the entry is passed over, the service chooses as ever,
 * and that is what is remembered from then on. Only frames that begin a flow or change its state come here. An entry lives
 * for a time that counts from when its client last began or ended a flow, so that who was connected for long finds back.
 *
 * Two flows of one client may begin at once with two workers. Whoever enters a client does so only if nobody has written
 * into the bucket since it looked, else it looks again, so that both go to one server.
 *
 * What makes room in a full bucket: what is void or expired; then clients of whom no flow came to stand, so that a flood
 * of SYNs drives nobody out who has been served; then the one whose time is longest ago.
 */
#ifndef FL_STICKY_H
#define FL_STICKY_H

#include "schedule.h"

#define FL_STICKY_PATIENCE 8   /* ticks, 1 s: a claim that is older is that of a dead process */
#define FL_STICKY_CANDIDATES 2 /* services with the same client in one bucket */

/* One word of a prefix's mask. */
FL_INLINE u32 fl_prefix_mask(u32 length, u32 word)
{
	u32 first = word * 32, bits = length > first ? length - first : 0;

	return FL_BE32((u32)(0xffffffff00000000ull >> (bits < 32 ? bits : 32)));
}

/* The bucket of a client of a service. */
FL_INLINE u32 fl_sticky_home(const struct fl_header *header, const struct fl_sticky *sticky, u64 service_id, int is_v6)
{
	u64 hash = fl_keyed_hash(header->seed, &sticky->client, sticky->port, sticky->by, is_v6);

	hash = fl_hash_round(hash + service_id * header->seed[1], header->seed[2]);
	return (u32)(((hash >> 32) * header->sticky_buckets) >> 32);
}

FL_INLINE struct fl_sticky *fl_sticky_way(struct fl_stickies *bucket, u32 way)
{
	return &bucket->way[way & (FL_STICKY_WAYS - 1)];
}

/* The entry of a client, into the scratch, and the bucket that it belongs to, or NULL. */
FL_INLINE struct fl_stickies *fl_sticky_name(const struct fl_view *view, const struct fl_service *service,
					     const struct fl_addr *client, u16 port, int is_v6)
{
	struct fl_sticky *sticky = &view->scratch->sticky;
	u32 by = service->sticky_by, length = by == FL_STICKY_PORT ? 128 : by;

	for (u32 word = 0; word < 4; word++)
		sticky->client.word[word] = client->word[word] & fl_prefix_mask(length, word);
	sticky->port = by == FL_STICKY_PORT ? port : 0;
	sticky->by = (u8)by;
	view->scratch->sticky_bucket = fl_sticky_home(view->header, sticky, service->id, is_v6);
	return fl_stickies_at(view->region, view->scratch->sticky_bucket);
}

/* Which entries are of this client, of whatever service: bit 1 for the first. No branches. */
FL_INLINE u32 fl_sticky_match(const struct fl_stickies *bucket, const struct fl_sticky *sticky)
{
	u32 ways = 0;

	for (u32 way = 1; way < FL_STICKY_WAYS; way++) {
		const struct fl_sticky *other = &bucket->way[way];
		u32 differs = (u32)(other->port ^ sticky->port) | (u32)(other->by ^ sticky->by);

		for (u32 word = 0; word < 4; word++)
			differs |= other->client.word[word] ^ sticky->client.word[word];
		ways |= fl_is_zero(differs) << way;
	}
	return ways;
}

/* The server that an entry names, if it is still that one. */
FL_INLINE const struct fl_server *fl_sticky_server(const struct fl_view *view, u64 server_word)
{
	u32 slot = (u32)server_word;

	if (!fl_server_stands(view, slot, (u32)(server_word >> 32)))
		return NULL;
	return fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);
}

FL_INLINE int fl_sticky_is_expired(const struct fl_view *view, const struct fl_service *service,
				   const struct fl_sticky *sticky)
{
	return fl_elapsed(view->now, sticky->seen) > service->sticky_ticks;
}

/* 1 when the entry is one that its service goes by. No branches. */
FL_INLINE u32 fl_sticky_holds(const struct fl_view *view, const struct fl_sticky *sticky,
			      const struct fl_server *server, const struct fl_service *service)
{
	u32 differs = (server->generation ^ (u32)(sticky->server >> 32)) | (~server->flags & FL_SERVER_USED) |
		      (u32)(service->sticky_by ^ sticky->by);
	u64 left = (u64)((long long)service->sticky_ticks - (int)(view->now - sticky->seen));

	fl_hide(left);
	return fl_is_zero(differs) & ((u32)(left >> 63) ^ 1);
}

/* Does the server take what its clients begin? A reserve does not: what it took was meant for others. */
FL_INLINE int fl_sticky_serves(const struct fl_view *view, const struct fl_server *server, u32 slot)
{
	return server->weight && !(server->flags & FL_SERVER_RESERVE) && fl_server_takes(view, slot);
}

/*
 * The server that is remembered for the frame's client and takes it, or FL_NONE. The scratch has what fl_sticky_enter()
 * needs. With `is_new` the client has begun a flow now.
 */
FL_PART(fl_sticky_find, FL_NONE, service_index, is_new)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_stickies *bucket;
	u32 control, ways;

	if (!service || !service->sticky_ticks)
		return FL_NONE;
	view->scratch->sticky_way = FL_NONE;
	bucket = fl_sticky_name(view, service, &look->source, look->source_port, look->is_v6);
	if (!bucket)
		return FL_NONE;
	control = fl_load(&bucket->control);
	view->scratch->sticky_control = control;
	ways = fl_sticky_match(bucket, &view->scratch->sticky);
	for (int candidate = 0; candidate < FL_STICKY_CANDIDATES; candidate++) {
		u32 way = fl_lowest_bit(ways);
		struct fl_sticky *sticky = fl_sticky_way(bucket, way);
		const struct fl_server *server;
		u64 word;

		if (!ways)
			break;
		ways &= ways - 1;
		word = fl_load(&sticky->server);
		server = fl_sticky_server(view, word);
		if (!server || server->service != service_index)
			continue;
		fl_reads_before();
		if (control & FL_STICKY_CLAIMED || fl_load(&bucket->control) != control)
			break;
		view->scratch->sticky_way = way;
		if (fl_sticky_is_expired(view, service, sticky) || !fl_sticky_serves(view, server, (u32)word))
			break;
		if (is_new && sticky->seen != view->now)
			fl_store(&sticky->seen, view->now);
		return (u32)word;
	}
	return FL_NONE;
}

/* The entry that makes room most readily. */
FL_INLINE u32 fl_sticky_room(const struct fl_view *view, const struct fl_stickies *bucket)
{
	u32 servers = view->settings->first[FL_SECTION_SERVERS], services = view->settings->first[FL_SECTION_SERVICES];
	u64 best_rank = 0;
	u32 best = 1;

	for (u32 way = 1; way < FL_STICKY_WAYS; way++) {
		const struct fl_sticky *sticky = &bucket->way[way];
		const struct fl_server *server = fl_servers_at(view->region, servers + (u32)sticky->server);
		const struct fl_service *service =
			server ? fl_services_at(view->region, services + server->service) : NULL;
		u32 age = fl_elapsed(view->now, sticky->seen);
		u64 rank, differs;

		if (!service)
			break;
		rank = 3 - fl_sticky_holds(view, sticky, server, service) * (1 + (u64)sticky->is_kept);
		rank = rank << 32 | (age & ((age >> 31) - 1)); /* another worker may be a tick ahead */
		differs = -((best_rank - rank) >> 63);
		fl_hide(differs);
		best ^= (best ^ way) & (u32)differs;
		best_rank ^= (best_rank ^ rank) & differs;
	}
	return best;
}

/* The client that was looked for goes to this server from now on. 0: somebody else has written into its bucket since. */
FL_PART(fl_sticky_enter, 0, service_index, server_slot)
{
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	struct fl_stickies *bucket = fl_stickies_at(view->region, view->scratch->sticky_bucket);
	const struct fl_sticky *own = &view->scratch->sticky;
	u32 control = view->scratch->sticky_control, claim = (control | FL_STICKY_CLAIMED) + (control & 1) * 2, way;
	struct fl_sticky *sticky;

	if (!server || !bucket)
		return 1;
	if (control & FL_STICKY_CLAIMED && fl_elapsed(view->now, bucket->claimed) <= FL_STICKY_PATIENCE)
		return 0;
	way = view->scratch->sticky_way;
	sticky = fl_sticky_way(bucket, way == FL_NONE ? fl_sticky_room(view, bucket) : way);
	bucket->claimed = view->now;
	if (!fl_swap_if(&bucket->control, control, claim))
		return 0;
	fl_store(&sticky->server, (u64)0);
	sticky->client = own->client;
	sticky->port = own->port;
	sticky->by = own->by;
	sticky->is_kept = 0;
	sticky->seen = view->now;
	fl_store(&sticky->server, (u64)server->generation << 32 | server_slot);
	fl_store(&bucket->control, claim + 1);
	return 1;
}

/* The flow that the scratch's `moved` names has come to stand, or ended: so its client's entry, if it names the flow's
 * server, is kept, or its time begins anew. */
FL_PART(fl_sticky_note, 0, no, more)
{
	const struct fl_moved *moved = &view->scratch->moved;
	u32 to = moved->to & FL_STATE_MASK, first = view->settings->first[FL_SECTION_SERVERS];
	const struct fl_flow *flow = fl_flows_at(view->region, look->index);
	const struct fl_server *server = fl_servers_at(view->region, first + moved->slot);
	const struct fl_service *service;
	struct fl_stickies *bucket;
	u32 ways;

	if (!flow || !server || (fl_state_is_open(to) && !fl_state_is_active(to)))
		return 0;
	service = fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + server->service);
	if (!service || !service->sticky_ticks)
		return 0;
	fl_flow_addr(view, flow, look->index, FL_WHICH_CLIENT, &view->scratch->one);
	bucket =
		fl_sticky_name(view, service, &view->scratch->one, flow->client_port, flow->flags & FL_FLOW_V6 ? 1 : 0);
	if (!bucket)
		return 0;
	ways = fl_sticky_match(bucket, &view->scratch->sticky);
	for (int candidate = 0; candidate < FL_STICKY_CANDIDATES; candidate++) {
		struct fl_sticky *sticky = fl_sticky_way(bucket, fl_lowest_bit(ways));

		if (!ways)
			break;
		ways &= ways - 1;
		if (fl_load(&sticky->server) != ((u64)moved->generation << 32 | moved->slot))
			continue;
		sticky->seen = view->now;
		sticky->is_kept = 1;
	}
	return 0;
}

#endif
