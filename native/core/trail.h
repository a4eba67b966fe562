/*
 * Frames of nat and full-nat that go on without a flow: a SYN amid a flood (compute.h), and a frame of a connection that
 * nobody knows, where the client's hash chooses the server.
 *
 * The problem: the answer comes from a server, and only a flow says which VIP and which client it is for, and by which way
 * the client's frames come.
 *
 * The idea: just that is left behind, in a table that nobody has to look after: its place is by a keyed hash of both ends
 * as the server knows them, what was there is written over. A flood writes over everything in a moment, but an answer takes
 * a moment as well. And the server's answer leaves behind what it has said for the connection: when the client then
 * acknowledges that, the connection stands, and is entered as a flow. So a lone ACK makes none, and a connection that has
 * lost its flow gets another.
 *
 * To a full-nat server the client is a port of ours, one of the client's row (room.h): the one where its trail is, or else
 * the first that no flow has. Where two clients have the same port in their rows, that may be the wrong one for a connection
 * whose flow and trail are both lost: the server resets it, or, if it has the other's connection there, answers with that
 * one's numbers. So nobody guesses in a region too young for a flow to have been lost in it, which has other rows than the
 * one before. A SYN may meet what the server still holds of another client's; the RST by which the client answers goes on by
 * its trail, and ends that.
 *
 * An ACK amid a flood is entered in any case, because its trail may be gone by now. If it is, the flow makes room as any
 * half-open one does until the server has spoken (FL_PICKED_UP).
 */
#ifndef FL_TRAIL_H
#define FL_TRAIL_H

#include "room.h"

#define FL_TRAIL_NONE 0
#define FL_TRAIL_OUT 1	/* a client's frame, to the scratch's server_slot */
#define FL_TRAIL_BACK 2 /* its answer, by the scratch's trail */

FL_INLINE struct fl_trail *fl_trail_of(const struct fl_view *view, u64 claim)
{
	return fl_trails_at(view->region, fl_trail_place(claim));
}

/* What the words of a trail mix into its check. */
FL_INLINE u64 fl_trail_mix(const u64 seed[4], const struct fl_trail *trail)
{
	u64 hash = fl_hash_round(trail->hop + seed[0], seed[1]);

	hash = fl_hash_round(hash ^ trail->client[0], seed[2]);
	hash = fl_hash_round(hash ^ trail->client[1], seed[1]);
	hash = fl_hash_round(hash ^ trail->vip[0], seed[2]);
	hash = fl_hash_round(hash ^ trail->vip[1], seed[1]);
	hash = fl_hash_round(hash ^ trail->server, seed[2]);
	return fl_hash_round(hash ^ trail->ports, seed[1]);
}

/* Is there any that has not ended? */
FL_INLINE int fl_trails_are_left(const struct fl_view *view)
{
	u32 tick = view->header->trail_tick;

	return tick && fl_elapsed(view->now, tick) <= FL_TRAIL_TICKS;
}

/* Of the connection that the scratch's key says, as its server knows it. */
FL_INLINE u64 fl_trail_claim(const struct fl_view *view)
{
	const struct fl_key *key = &view->scratch->key;

	return fl_claim_of(view->header->seed, &key->client, key->client_port, &key->other, key->other_port,
			   key->protocol, key->is_v6);
}

/* A connection's trail into the scratch, and its place; NULL: it has none. */
FL_INLINE struct fl_trail *fl_trail_read(const struct fl_view *view, u64 claim)
{
	struct fl_trail *trail = fl_trail_of(view, claim), *own = &view->scratch->trail;

	if (!trail)
		return NULL;
	own->hop = fl_load(&trail->hop);
	own->client[0] = fl_load(&trail->client[0]);
	own->client[1] = fl_load(&trail->client[1]);
	own->vip[0] = fl_load(&trail->vip[0]);
	own->vip[1] = fl_load(&trail->vip[1]);
	own->server = fl_load(&trail->server);
	own->ports = fl_load(&trail->ports);
	if (fl_load(&trail->check) != (claim ^ fl_trail_mix(view->header->seed, own)) ||
	    fl_elapsed(view->now, fl_load(&trail->seen)) > FL_TRAIL_TICKS ||
	    !fl_server_stands(view, (u32)own->server, (u32)(own->server >> 32)))
		return NULL;
	return trail;
}

FL_INLINE void fl_trail_pack(u64 to[2], const struct fl_addr *addr)
{
	to[0] = addr->word[0] | (u64)addr->word[1] << 32;
	to[1] = addr->word[2] | (u64)addr->word[3] << 32;
}

FL_INLINE void fl_trail_unpack(struct fl_addr *addr, const u64 from[2])
{
	addr->word[0] = (u32)from[0];
	addr->word[1] = (u32)(from[0] >> 32);
	addr->word[2] = (u32)from[1];
	addr->word[3] = (u32)(from[1] >> 32);
}

FL_INLINE u64 fl_trail_ports(const struct fl_look *look)
{
	return look->target_port | (u32)look->source_port << 16;
}

/* The trail of the scratch's key, if the client and VIP are those of the client's frame. */
FL_INLINE struct fl_trail *fl_trail_recall(const struct fl_view *view, const struct fl_look *look)
{
	struct fl_trail *trail = fl_trail_read(view, fl_trail_claim(view)), *own = &view->scratch->trail;
	u64 client[2], vip[2];

	fl_trail_pack(client, &look->source);
	fl_trail_pack(vip, &look->target);
	if ((client[0] ^ own->client[0]) | (client[1] ^ own->client[1]) | (vip[0] ^ own->vip[0]) |
	    (vip[1] ^ own->vip[1]) | (fl_trail_ports(look) ^ own->ports))
		return NULL;
	return trail;
}

/*
 * full-nat: makes of the client in the scratch's key what its server takes for it, see above, and notes which of the row's
 * ports that is. False when the first few are all in use, or it would be a guess about a connection that was lost otherwise
 * than by its time.
 */
FL_PART(fl_trail_localize, 0, service_index, is_lost)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_key *key = &view->scratch->key;
	u64 row = fl_port_row(view, look), base;
	const struct fl_addr *local = service ? fl_port_address(view, look, service, row) : NULL;
	u32 first = FL_NONE;

	if (!local)
		return 0;
	key->client = *local;
	base = fl_return_base(view, &key->other, key->other_port, &key->client, key->protocol, key->is_v6);
	for (u32 attempt = 0; attempt < FL_PORTS_OF_ROW; attempt++) {
		u16 port = fl_port_at(view, row, attempt);
		u64 hash = fl_return_hash(view, base, port);
		struct fl_returns *bucket = fl_return_bucket(view, hash);

		if (!port || !bucket || !fl_return_room(bucket, hash))
			continue;
		if (first == FL_NONE)
			first = attempt;
		key->client_port = port;
		if (fl_trail_recall(view, look)) {
			view->scratch->port_try = attempt;
			return 1;
		}
	}
	if (first == FL_NONE || (is_lost && fl_elapsed(view->now, view->header->first_tick) <
						    view->settings->timeout[FL_STATE_ESTABLISHED]))
		return 0;
	key->client_port = fl_port_at(view, row, first);
	view->scratch->port_try = first;
	return 1;
}

/* Has the client's frame a trail? */
FL_PART(fl_trail_is_left, 0, no, more)
{
	return fl_trail_recall(view, look) != NULL;
}

/* Does the client's frame acknowledge what the server of the scratch's key has said? */
FL_PART(fl_trail_confirms, 0, no, more)
{
	const struct fl_trail *trail = fl_trail_recall(view, look);
	u32 spoken = trail ? fl_load(&trail->spoken_host) : 0;

	view->scratch->trail.spoken_host = spoken;
	return spoken && FL_BE32(look->tcp_acknowledged) - spoken < FL_FIRST_DATA;
}

/* Leaves the trail of a client's frame to the server of the scratch's key, or leaves it as it is: FL_REASON_UNTRACKED. */
FL_PART(fl_trail_leave, FL_REASON_NO_FLOW, server_slot, nothing)
{
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	struct fl_trail *own = &view->scratch->trail, *trail;
	u64 claim = fl_trail_claim(view), check;
	union {
		u64 word;
		u8 octet[8];
	} hop;

	trail = fl_trail_of(view, claim);
	if (!server || !trail)
		return FL_REASON_NO_FLOW;
	__builtin_memcpy(hop.octet, view->scratch->source_mac, 6);
	hop.octet[6] = view->scratch->interface;
	hop.octet[7] = FL_HOP_KNOWN;
	own->hop = hop.word;
	fl_trail_pack(own->client, &look->source);
	fl_trail_pack(own->vip, &look->target);
	own->server = (u64)server->generation << 32 | server_slot;
	own->ports = fl_trail_ports(look);
	check = claim ^ fl_trail_mix(view->header->seed, own);
	view->scratch->trailing = FL_TRAIL_OUT;
	if (view->header->trail_tick != view->now)
		view->header->trail_tick = view->now;
#ifndef __bpf__
	if (view->region->trail_claims) {
		struct fl_trail_claim *known = &view->region->trail_claims[trail - view->region->trails];

		fl_store(&known->seen, (u64)view->now);
		fl_store(&known->claim, claim);
	}
#endif
	if (fl_load(&trail->check) != check) {
		fl_store(&trail->check, (u64)0);
		fl_store(&trail->hop, own->hop);
		fl_store(&trail->client[0], own->client[0]);
		fl_store(&trail->client[1], own->client[1]);
		fl_store(&trail->vip[0], own->vip[0]);
		fl_store(&trail->vip[1], own->vip[1]);
		fl_store(&trail->server, own->server);
		fl_store(&trail->ports, own->ports);
		fl_store(&trail->spoken_host, 0U);
	}
	fl_store(&trail->seen, view->now);
	fl_store(&trail->check, check);
	return FL_REASON_UNTRACKED;
}

/* A server's frame without a flow, whose ends are in the scratch's key: FL_REASON_UNTRACKED_ANSWER when it has a trail to go
 * back by, and then the VIP is in the scratch's `one`. */
FL_PART(fl_trail_follow, FL_REASON_NOT_OURS, no, more)
{
	struct fl_trail *own = &view->scratch->trail, *trail;
	struct fl_addr *vip = &view->scratch->one;

	if (!fl_trails_are_left(view))
		return FL_REASON_NOT_OURS;
	trail = fl_trail_read(view, fl_trail_claim(view));
	if (!trail)
		return FL_REASON_NOT_OURS;
	fl_trail_unpack(vip, own->vip);
	if (!fl_vip_find(view, vip, look->is_v6))
		return FL_REASON_NOT_OURS;
	view->scratch->server_slot = (u32)own->server;
	view->scratch->trailing = FL_TRAIL_BACK;
	fl_store(&trail->spoken_host,
		 look->tcp_flags & FL_TCP_RST ? 0 : FL_BE32(look->tcp_sequence) + !!(look->tcp_flags & FL_TCP_SYN));
	return FL_REASON_UNTRACKED_ANSWER;
}

#endif
