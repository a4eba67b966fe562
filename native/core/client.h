/*
 * What each client prefix has at each VIP: flows, and a bucket of new ones. A client is an IPv4 address or an IPv6 /64, or
 * the network of either (FL_CLIENT_*).
 *
 * New flows are metered by token buckets of a second's worth, each in one word that all workers share.
 *
 * The table has one size. A place that has no flow and a full bucket says nothing that a new one would not, so it may be
 * taken; when none is to be had, the client is let in, and only its service's limits hold.
 */
#ifndef FL_CLIENT_H
#define FL_CLIENT_H

#include "hash.h"
#include "view.h"

#define FL_BUCKET_TICKS 8  /* a bucket holds what comes in so many ticks, 1.07 s */
#define FL_BUCKET_FLOW 256 /* rates and buckets count in 1/256 of a flow */

/* Takes one out of a token bucket: tick << 32 | tokens. 0: it is empty. Who loses the race too often is let in. */
FL_INLINE int fl_bucket_take(u64 *bucket, u32 now, u32 rate)
{
	u32 most = rate * FL_BUCKET_TICKS > FL_BUCKET_FLOW ? rate * FL_BUCKET_TICKS : FL_BUCKET_FLOW;

	for (int attempt = 0; attempt < 4; attempt++) {
		u64 old = fl_load(bucket);
		u32 elapsed = fl_elapsed(now, (u32)(old >> 32)), tokens = (u32)old, tick = (u32)(old >> 32) + elapsed;

		if (!old || elapsed >= FL_BUCKET_TICKS || tokens + elapsed * rate > most)
			tokens = most;
		else
			tokens += elapsed * rate;
		if (tokens < FL_BUCKET_FLOW)
			return 0;
		if (fl_swap_if(bucket, old, (u64)tick << 32 | (tokens - FL_BUCKET_FLOW)))
			return 1;
	}
	return 1;
}

/* Has nothing been taken for as long as it takes to fill it? */
FL_INLINE int fl_bucket_is_full(u64 bucket, u32 now)
{
	return !bucket || fl_elapsed(now, (u32)(bucket >> 32)) >= FL_BUCKET_TICKS;
}

/* What names a client prefix at a VIP: keyed bits, never 0. `of`: FL_CLIENT_ADDRESS or FL_CLIENT_NETWORK. */
FL_INLINE u64 fl_client_name(const struct fl_view *view, struct fl_addr *client, const struct fl_addr *vip, u32 of,
			     int is_v6)
{
	const u64 *seed = view->header->seed;
	u32 is_network = of == FL_CLIENT_NETWORK;
	u64 name;

	if (is_v6) {
		client->word[3] = client->word[2] = 0;
		client->word[1] &= is_network ? FL_BE32(0xffff0000) : 0xffffffff;
	} else {
		client->word[0] &= is_network ? FL_BE32(0xffffff00) : 0xffffffff;
	}
	name = fl_keyed_hash(seed, client, (u16)of, 0, is_v6) * seed[1] + fl_keyed_hash(seed, vip, 0, 0, is_v6);
	name = fl_hash_round(name, seed[2]);
	return name ? name : 1;
}

/* The place of this name, or FL_NONE; with `room` the place that it may take when it has none. */
FL_INLINE u32 fl_client_find(const struct fl_view *view, u64 name, u32 *room)
{
	u32 home = (u32)(name >> 32) % (FL_CLIENTS / FL_WAYS) * FL_WAYS, found = FL_NONE;

	*room = FL_NONE;
	for (u32 way = 0; way < FL_WAYS; way++) {
		const struct fl_client *client = fl_clients_at(view->region, home + way);

		if (!client)
			break;
		if (fl_load(&client->name) == name)
			found = home + way;
		if (!client->flows && fl_bucket_is_full(client->bucket, view->now))
			*room = home + way;
	}
	return found;
}

#endif
