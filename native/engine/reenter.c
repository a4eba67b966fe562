/*
 * Flows, and remembered clients, from one table into another with another number of buckets: each has another home there. Those that are open go
 * first, so that a table that is smaller keeps what its clients would miss most.
 */
#include "../core/sticky.h"
#include "reenter.h"

static u32 free_ways(const struct fl_region *region, u32 bucket)
{
	return fl_tags_match(&region->tags[bucket], 0);
}

/* The place that is asked for first when it is free, else any in the emptier bucket. FL_NONE: there is none. */
static u32 choose(const struct fl_region *to, const struct fl_home *home)
{
	u32 ways[2] = { free_ways(to, home->bucket[0]), free_ways(to, home->bucket[1]) };
	u32 choice = __builtin_popcount(ways[1]) > __builtin_popcount(ways[0]);

	if (!ways[choice])
		return FL_NONE;
	if (ways[choice] & 1u << home->way)
		return fl_home_likely(home, choice);
	return home->bucket[choice] * FL_WAYS + fl_lowest_bit(ways[choice]);
}

/* False: its bucket is full. */
static bool enter_return(const struct fl_view *view, const struct fl_flow *flow, u32 index)
{
	struct fl_addr server, local;
	struct fl_returns *bucket;
	u64 hash;

	fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &server);
	fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &local);
	hash = fl_return_hash(view,
			      fl_return_base(view, &server, flow->server_port, &local, flow->protocol,
					     flow->flags & FL_FLOW_V6 ? 1 : 0),
			      flow->local_port);
	bucket = fl_return_bucket(view, hash);
	for (u32 way = 0; bucket && way < FL_WAYS; way++)
		if (!bucket->slot[way]) {
			bucket->slot[way] = fl_return_word(hash, index);
			return true;
		}
	return false;
}

/* False: there is no room for it. */
static bool enter(const struct fl_view *view, struct fl_region *to, const struct fl_region *from, u32 source)
{
	const struct fl_flow *flow = &from->flows[source];
	int is_v6 = flow->flags & FL_FLOW_V6 ? 1 : 0;
	struct fl_addr client = { { flow->client } };
	struct fl_home home;
	u32 index;

	if (is_v6)
		client = from->flows6[source].client;
	home = fl_home_of(to->header->seed, to->header->buckets, &client, flow->client_port, flow->protocol, is_v6);
	index = choose(to, &home);
	if (index == FL_NONE)
		return false;
	if (is_v6)
		to->flows6[index] = from->flows6[source];
	to->flows[index] = *flow;
	if (flow->flags & FL_FLOW_FULL_NAT && !enter_return(view, &to->flows[index], index)) {
		to->flows[index].control = FL_STATE_FREE;
		return false;
	}
	to->tags[index / FL_WAYS].tag[index % FL_WAYS] = home.tag;
	return true;
}

u64 fl_region_reenter(struct fl_region *to, const struct fl_region *from)
{
	const struct fl_view view = { .region = to, .header = to->header };
	u64 lost = 0;

	for (int is_open = 1; is_open >= 0; is_open--) {
		for (u64 i = 0; i < from->count[FL_SECTION_FLOWS]; i++) {
			u32 control = from->flows[i].control;

			if (fl_state_is_live(control) && fl_state_is_active(control & FL_STATE_MASK) == is_open &&
			    !enter(&view, to, from, (u32)i))
				lost++;
		}
	}
	return lost;
}

/* The place for an entry: a free one, else the longest unseen. */
static struct fl_sticky *sticky_room(struct fl_stickies *bucket, u32 now)
{
	struct fl_sticky *room = &bucket->way[1];

	for (u32 way = 1; way < FL_STICKY_WAYS; way++) {
		struct fl_sticky *sticky = &bucket->way[way];

		if (!sticky->server)
			return sticky;
		if (now - sticky->seen > now - room->seen)
			room = sticky;
	}
	return room;
}

static void remember(const struct fl_view *view, struct fl_region *to, const struct fl_sticky *sticky)
{
	const struct fl_server *server = fl_sticky_server(view, sticky->server);
	const struct fl_service *service = NULL;
	struct fl_sticky *room;

	if (server)
		service = fl_services_at(to, view->settings->first[FL_SECTION_SERVICES] + server->service);
	if (!service || !fl_sticky_holds(view, sticky, server, service))
		return;
	room = sticky_room(&to->stickies[fl_sticky_home(to->header, sticky, service->id, service->is_v6)], view->now);
	if (!room->server || view->now - sticky->seen < view->now - room->seen)
		*room = *sticky;
}

void fl_region_remember(struct fl_region *to, const struct fl_region *from)
{
	struct fl_scratch scratch;
	struct fl_view view = { .scratch = &scratch };

	if (!fl_view_open(&view, to, 0, fl_now()))
		return;
	for (u64 i = 0; i < from->count[FL_SECTION_STICKIES]; i++)
		for (u32 way = 1; way < FL_STICKY_WAYS; way++)
			remember(&view, to, &from->stickies[i].way[way]);
}
