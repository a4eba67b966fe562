/*
 * The flow table.
 *
 * The problem: find the flow of a frame from either side with one cache line, never match on a hash alone, never
 * break an established flow to make room, and stay bounded and lock-free.
 *
 * The idea: nat never changes the client's address and port, so both directions of a flow are found under the hash of
 * the *client's* end; the entry holds the VIP's end and the server's end, and confirms against whichever the frame
 * names. full-nat replaces the client's end towards the server, so its replies come in under a second, 8-byte entry in
 * RETURNS. A flow may live in either of two buckets of eight slots and takes the emptier, and there a slot of its own
 * choice if that is free. So most flows are found at once (short.h); for the others a bucket's tags (16 bits a slot) are
 * scanned first, and a hit costs the tags and one line.
 *
 * Because every service a client's port talks to lands in the same two buckets, the one real conflict that nat has
 * (two services putting one client's port on one server port, so that replies could not tell) is seen on insertion.
 *
 * How a flow lives is in state.h, how it begins in begin.h, what makes room for it in room.h.
 */
#ifndef FL_FLOW_H
#define FL_FLOW_H

#include "client.h"
#include "count.h"
#include "frame.h"
#include "hash.h"
#include "view.h"

enum fl_side { FL_SIDE_CLIENT, FL_SIDE_SERVER };

FL_INLINE struct fl_home fl_home_of(const u64 seed[4], u32 buckets, const struct fl_addr *client, u16 port, u8 protocol,
				    int is_v6)
{
	u64 hash = fl_keyed_hash(seed, client, port, protocol, is_v6);
	struct fl_home home = {
		.bucket = { (u32)(((hash >> 32) * buckets) >> 32), (u32)(((hash & 0xffffffffu) * buckets) >> 32) },
		/* The high bits of both halves choose buckets; these do not. */
		.tag = (u16)((hash & 0x7ff) | ((hash >> 32) & 0x1f) << 11),
	};

	home.way = hash >> 37 & (FL_WAYS - 1);
	if (!home.tag)
		home.tag = 1;
	return home;
}

/* Names a flow's replies for the guard and for its trail: 64 keyed bits over both ends, never 0. */
FL_INLINE u64 fl_claim_of(const u64 seed[4], const struct fl_addr *client, u16 client_port,
			  const struct fl_addr *server, u16 server_port, u8 protocol, int is_v6)
{
	u64 claim = fl_keyed_hash(seed, client, client_port, protocol, is_v6) * seed[1] +
		    fl_keyed_hash(seed, server, server_port, protocol, is_v6);

	claim = fl_hash_round(claim, seed[2]);
	return claim ? claim : 1;
}

_Static_assert(FL_TRAILS == 1 << 16, "a place is 16 bits of a claim");

/* Where among the trails the one of what has this claim is, see trail.h. */
FL_INLINE u32 fl_trail_place(u64 claim)
{
	return (u32)(claim >> 48);
}

/* The VIP or full-nat source at this address, or NULL. */
FL_INLINE const struct fl_vip *fl_vip_find(const struct fl_view *view, const struct fl_addr *addr, int is_v6)
{
	u32 hash = fl_config_hash(addr, 0);

	for (u32 i = 0; i < FL_PROBES; i++) {
		const struct fl_vip *vip = fl_vips_at(view->region, view->settings->first[FL_SECTION_VIPS] +
									    ((hash + i) & view->settings->vip_mask));

		if (!vip || !(vip->flags & FL_VIP_USED))
			return NULL;
		if ((vip->flags & FL_VIP_V6 ? 1 : 0) == is_v6 && fl_addr_same(&vip->addr, addr))
			return vip;
	}
	return NULL;
}

FL_INLINE int fl_method_is_dsr(u32 method)
{
	return method == FL_METHOD_L2_DSR || method == FL_METHOD_L3_DSR;
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

/* The same for who reads as many words as the family has. */
FL_INLINE void fl_flow_words(const struct fl_view *view, const struct fl_flow *flow, u32 index, int which,
			     struct fl_addr *addr)
{
	if (flow->flags & FL_FLOW_V6)
		fl_flow_addr(view, flow, index, which, addr);
	else
		addr->word[0] = *(&flow->client + which);
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
	if (side == FL_SIDE_SERVER && flow->flags & (FL_FLOW_FULL_NAT | FL_FLOW_DSR))
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

/* A flow whose server slot was given to another server, whose server is gone or had its flows ended, is no flow. */
FL_INLINE int fl_flow_is_valid(const struct fl_view *view, const struct fl_flow *flow)
{
	return fl_server_stands(view, flow->server_slot, flow->server_generation);
}

/* Everything of a full-nat reply but the port it comes in by, so that many ports can be tried at the price of one. */
FL_INLINE u64 fl_return_base(const struct fl_view *view, const struct fl_addr *server, u16 server_port,
			     const struct fl_addr *local, u8 protocol, int is_v6)
{
	return fl_claim_of(view->header->seed, local, 0, server, server_port, protocol, is_v6);
}

/* Two rounds: the ports tried are neighbours, and one multiplication lays neighbours out in a lattice, which for one seed
 * in some tens is so coarse that a quarter of all ports found their buckets full. */
FL_INLINE u64 fl_return_hash(const struct fl_view *view, u64 base, u16 local_port)
{
	return fl_hash_round(fl_hash_round(base + local_port, view->header->seed[1]), view->header->seed[2]);
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

/* Where a flow that counts for its client does so, or NULL. */
FL_INLINE struct fl_client *fl_client_of(const struct fl_view *view, const struct fl_flow *flow, u32 index)
{
	u32 of = flow->flags & FL_FLOW_OF_NETWORK ? FL_CLIENT_NETWORK : FL_CLIENT_ADDRESS, room;
	struct fl_addr *prefix = &view->scratch->one, *vip = &view->scratch->two;
	u64 name;

	fl_flow_addr(view, flow, index, FL_WHICH_CLIENT, prefix);
	fl_flow_addr(view, flow, index, FL_WHICH_VIP, vip);
	name = fl_client_name(view, prefix, vip, of, flow->flags & FL_FLOW_V6 ? 1 : 0);
	return fl_clients_at(view->region, fl_client_find(view, name, &room));
}

/* A flow that counts for its client ends. */
FL_PART(fl_client_lose, 0, index, nothing)
{
	const struct fl_flow *flow = fl_flows_at(view->region, index);
	struct fl_client *client = flow ? fl_client_of(view, flow, index) : NULL;

	if (client)
		fl_add(&client->flows, -1u);
	return 0;
}

FL_PART(fl_flow_seize_at, 0, index, control)
{
	u32 claimed = ((control & ~(FL_STATE_MASK | FL_FIN_MASK)) + FL_INCARNATION) | FL_STATE_CLAIMED;
	struct fl_flow *flow = fl_flows_at(view->region, index);

	if (!flow || !fl_swap_if(&flow->control, control, claimed))
		return 0;
	fl_server_lose(view, flow, control);
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
	if (!fl_flow_seize_at(view, NULL, index, control))
		return 0;
	if (flow->flags & (FL_FLOW_OF_ADDRESS | FL_FLOW_OF_NETWORK)) /* not there: a BPF stack has no room for it */
		fl_client_lose(view, NULL, index, 0);
	return 1;
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

/* Where a flow is as likely as not, so that it can be had without a look at the tags. */
FL_INLINE u32 fl_home_likely(const struct fl_home *home, u32 choice)
{
	return home->bucket[choice & 1] * FL_WAYS + home->way;
}

FL_INLINE u32 fl_home_slot(const struct fl_home *home, u32 way)
{
	return home->bucket[way / FL_WAYS & 1] * FL_WAYS + way % FL_WAYS;
}

/*
 * Orphans: TCP flows that their server has lost, because it was removed or its flows were ended. Neither side shall be
 * left to guess, so such a flow stays for as long as TIME_WAIT lasts, and whoever speaks hears of it (decide.h).
 */
FL_INLINE int fl_flow_is_orphan(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	return flow->protocol == FL_PROTOCOL_TCP && (control & FL_STATE_MASK) > FL_STATE_SYN_SENT &&
	       !fl_flow_is_expired(view, flow, control) && !fl_flow_is_valid(view, flow);
}

/* Notes an orphan that was seen in `control`. False when somebody else changed it first. */
FL_PART(fl_flow_orphan, 0, index, control)
{
	u32 state = control & FL_STATE_MASK, next = (control & ~FL_STATE_MASK) | FL_STATE_TIME_WAIT;
	struct fl_flow *flow = fl_flows_at(view->region, index);

	if (!flow)
		return 0;
	view->scratch->orphan = index;
	if (state == FL_STATE_TIME_WAIT)
		return 1;
	flow->seen = view->now;
	if (!fl_swap_if(&flow->control, control, next))
		return 0;
	fl_server_count(view, flow->server_slot, flow->server_generation, state, FL_STATE_TIME_WAIT);
	return 1;
}

/* An expired or invalid flow is freed when it is found, unless it is an orphan, and is no flow. `before` is its control
 * from before it was confirmed: a slot that was taken anew in between holds another flow than the one that was. */
FL_CALL struct fl_flow *fl_flow_if_alive(const struct fl_view *view, struct fl_flow *flow, u32 index, u32 before)
{
	u32 control = fl_load(&flow->control);

	if (FL_UNLIKELY((control ^ before) & ~(FL_STATE_MASK | FL_FIN_MASK)))
		return NULL;
	if (FL_LIKELY(fl_state_is_live(control) && !fl_flow_is_expired(view, flow, control) &&
		      fl_flow_is_valid(view, flow)))
		return flow;
	if (!fl_state_is_live(control))
		return NULL;
	if (fl_flow_is_orphan(view, flow, control))
		fl_flow_orphan(view, NULL, index, control);
	else if (fl_flow_seize(view, flow, index, control))
		fl_flow_release(view, flow, index);
	return NULL;
}

/* What was read from a flow holds only if the slot has not changed hands since the flow was found: with a full table and
 * several workers it may have, in the middle of a frame. */
FL_INLINE int fl_flow_is_same(const struct fl_flow *flow, const struct fl_look *look)
{
	u32 control;

	fl_reads_before();
	control = fl_load(&flow->control);
	return fl_state_is_live(control) && !((control ^ look->control) & ~(FL_STATE_MASK | FL_FIN_MASK));
}

/* Of 16 slots, seldom more than one carries the tag; that five do is a matter of 1 in 10^16. */
#define FL_CANDIDATES 4

/* Finds the key's live flow; look->index and look->control say where and as what. */
FL_INLINE struct fl_flow *fl_flow_find(const struct fl_view *view, const struct fl_home *home, const struct fl_key *key,
				       enum fl_side side, struct fl_look *look)
{
	u32 ways = fl_home_match(view, home, home->tag);

	for (int candidate = 0; candidate < FL_CANDIDATES; candidate++) {
		struct fl_flow *flow;
		u32 index, control;

		if (!ways)
			break;
		index = fl_home_slot(home, fl_lowest_bit(ways));
		ways &= ways - 1;
		flow = fl_flows_at(view->region, index);
		if (!flow)
			break;
		control = fl_load(&flow->control);
		if (fl_flow_confirms(view, flow, index, key, side)) {
			look->index = index;
			look->control = control;
			return fl_flow_if_alive(view, flow, index, control);
		}
	}
	return NULL;
}

/* The full-nat flow whose server and local end these are, alive or not; look->index and look->control say where and as
 * what. */
FL_INLINE struct fl_flow *fl_flow_match_local(const struct fl_view *view, struct fl_look *look,
					      const struct fl_addr *server, u16 server_port,
					      const struct fl_addr *local, u16 local_port, u8 protocol)
{
	u64 base = fl_return_base(view, server, server_port, local, protocol, look->is_v6);
	u64 hash = fl_return_hash(view, base, local_port);
	struct fl_returns *bucket = fl_return_bucket(view, hash);

	if (!bucket)
		return NULL;
	for (int way = 0; way < FL_WAYS; way++) {
		u64 word = fl_load(&bucket->slot[way]);
		struct fl_flow *flow;
		u32 index, control;

		if (!word || word >> 32 != (hash & 0xffffffffu))
			continue;
		index = (u32)word - 1;
		flow = fl_flows_at(view->region, index);
		if (!flow)
			continue;
		control = fl_load(&flow->control);
		if (!(flow->flags & FL_FLOW_FULL_NAT) || (flow->flags & FL_FLOW_V6 ? 1 : 0) != look->is_v6 ||
		    flow->protocol != protocol || flow->server_port != server_port || flow->local_port != local_port)
			continue;
		fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &view->scratch->one);
		fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &view->scratch->two);
		if (!fl_addr_same(&view->scratch->one, server) || !fl_addr_same(&view->scratch->two, local))
			continue;
		look->index = index;
		look->control = control;
		return flow;
	}
	return NULL;
}

/* The full-nat flow whose reply this frame is, alive or not. */
FL_INLINE struct fl_flow *fl_flow_match_return(const struct fl_view *view, const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;

	return fl_flow_match_local(view, look, &look->source, look->source_port, &look->target, look->target_port,
				   look->protocol);
}

/* The same, if it is a flow still. */
FL_INLINE struct fl_flow *fl_flow_find_return(const struct fl_view *view, const struct fl_frame *frame)
{
	struct fl_flow *flow = fl_flow_match_return(view, frame);

	return flow ? fl_flow_if_alive(view, flow, frame->look->index, frame->look->control) : NULL;
}

#endif
