/*
 * Frames of nat that go on without a flow: a SYN amid a flood (compute.h), and a frame of a connection that nobody knows, where
 * the client's hash chooses the server.
 *
 * The problem: the answer comes from a server, to a client, and only a flow says which VIP it is from, and by which way the
 * client's frames come.
 *
 * The idea: just that is left behind, in a table that nobody has to look after: its place is by a keyed hash of both ends,
 * what was there is written over. A flood writes over everything in a moment, but an answer takes a moment as well. And the
 * server's answer leaves behind what it has said for the connection: when the client then acknowledges that, the
 * connection stands, and is entered as a flow. So a lone ACK makes none, and a connection that has lost its flow gets
 * another.
 *
 * An ACK amid a flood is entered in any case, because its trail may be gone by now. If it is, the flow makes room as any
 * half-open one does until the server has spoken (FL_PICKED_UP).
 */
#ifndef FL_TRAIL_H
#define FL_TRAIL_H

#include "state.h"

#define FL_TRAIL_NONE 0
#define FL_TRAIL_OUT 1	/* a client's frame, to the scratch's server_slot */
#define FL_TRAIL_BACK 2 /* its answer, by the scratch's trail */

_Static_assert(FL_TRAILS == 1 << 16, "a place is 16 bits of a claim");

FL_INLINE u32 fl_trail_place(u64 claim)
{
	return (u32)(claim >> 48);
}

FL_INLINE struct fl_trail *fl_trail_of(const struct fl_view *view, u64 claim)
{
	return fl_trails_at(view->region, fl_trail_place(claim));
}

/* What the words of a trail mix into its check. */
FL_INLINE u64 fl_trail_mix(const u64 seed[4], const struct fl_trail *trail)
{
	u64 hash = fl_hash_round(trail->hop + seed[0], seed[1]);

	hash = fl_hash_round(hash ^ trail->vip[0], seed[2]);
	hash = fl_hash_round(hash ^ trail->vip[1], seed[1]);
	hash = fl_hash_round(hash ^ trail->server, seed[2]);
	return fl_hash_round(hash ^ trail->vip_port, seed[1]);
}

/* Of the connection that the scratch's key says, seen from its client. */
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
	own->vip[0] = fl_load(&trail->vip[0]);
	own->vip[1] = fl_load(&trail->vip[1]);
	own->server = fl_load(&trail->server);
	own->vip_port = fl_load(&trail->vip_port);
	if (fl_load(&trail->check) != (claim ^ fl_trail_mix(view->header->seed, own)) ||
	    (int)(view->now - fl_load(&trail->seen)) > FL_TRAIL_TICKS ||
	    !fl_server_stands(view, (u32)own->server, (u32)(own->server >> 32)))
		return NULL;
	return trail;
}

/* Does the client's frame acknowledge what the server of the scratch's key has said? */
FL_PART(fl_trail_confirms, 0, no, more)
{
	const struct fl_trail *trail = fl_trail_read(view, fl_trail_claim(view));
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
	own->vip[0] = look->target.word[0] | (u64)look->target.word[1] << 32;
	own->vip[1] = look->target.word[2] | (u64)look->target.word[3] << 32;
	own->server = (u64)server->generation << 32 | server_slot;
	own->vip_port = look->target_port;
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
		fl_store(&trail->vip[0], own->vip[0]);
		fl_store(&trail->vip[1], own->vip[1]);
		fl_store(&trail->server, own->server);
		fl_store(&trail->vip_port, own->vip_port);
		fl_store(&trail->spoken_host, 0U);
	}
	fl_store(&trail->seen, view->now);
	fl_store(&trail->check, check);
	return FL_REASON_UNTRACKED;
}

/* A server's frame to a client, without a flow, whose ends are in the scratch's key: FL_REASON_UNTRACKED_ANSWER when it has a
 * trail to go back by. */
FL_PART(fl_trail_follow, FL_REASON_NOT_OURS, no, more)
{
	struct fl_trail *own = &view->scratch->trail, *trail;
	struct fl_addr *vip = &view->scratch->one;

	if ((int)(view->now - view->header->trail_tick) > FL_TRAIL_TICKS || !view->header->trail_tick)
		return FL_REASON_NOT_OURS;
	trail = fl_trail_read(view, fl_trail_claim(view));
	if (!trail)
		return FL_REASON_NOT_OURS;
	vip->word[0] = (u32)own->vip[0];
	vip->word[1] = (u32)(own->vip[0] >> 32);
	vip->word[2] = (u32)own->vip[1];
	vip->word[3] = (u32)(own->vip[1] >> 32);
	if (!fl_vip_find(view, vip, look->is_v6))
		return FL_REASON_NOT_OURS;
	view->scratch->server_slot = (u32)own->server;
	view->scratch->trailing = FL_TRAIL_BACK;
	fl_store(&trail->spoken_host,
		 look->tcp_flags & FL_TCP_RST ? 0 : FL_BE32(look->tcp_sequence) + !!(look->tcp_flags & FL_TCP_SYN));
	return FL_REASON_UNTRACKED_ANSWER;
}

#endif
