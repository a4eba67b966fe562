/*
 * Ageing: frees flows that expired, or whose server or VIP is gone, so that counts are right and slots are free before
 * they are wanted. TCP that its server has lost stays a while (orphans, core/flow.h). The tags are walked first, eight
 * slots to a load, so that an empty table costs nothing much; VIPs are asked for only in the sweep after a commit.
 */
#include "../core/forward.h"
#include "sections.h"

#include <stdlib.h>

#define STICKY_TICKS 37 /* 5 s */

/* Which configuration is in force. */
static u64 stamp_of(const struct fl_region *region)
{
	return fl_load(&region->header->generation) << 1 | (fl_load(&region->header->active_half) & 1);
}

/* The view is of the configuration in force, also when a commit comes in the middle of the sweep: what the former one
 * says of a slot is wrong for flows that were made since. True when it was of the former one. */
static int view_renew(struct fl_view *view, struct fl_region *region, u64 *stamp, u64 now)
{
	u64 current;

	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* the flow was read before */
	current = stamp_of(region);
	if (current == *stamp)
		return 0;
	*stamp = current;
	fl_view_open(view, region, 0, now);
	return 1;
}

/* A flow to an address that is no longer ours, though its service and server stay: nobody is to answer from there. */
static int is_vip_gone(const struct fl_view *view, const struct fl_flow *flow, u32 index)
{
	struct fl_addr vip;

	fl_flow_addr(view, flow, index, FL_WHICH_VIP, &vip);
	return !fl_vip_find(view, &vip, flow->flags & FL_FLOW_V6 ? 1 : 0);
}

/* Is there nothing to do about the flow? An orphan that is known as one waits for its time. */
static int stands(const struct fl_view *view, const struct fl_flow *flow, u32 index, u32 control, int asks_for_vip)
{
	int is_orphan = (control & FL_STATE_MASK) == FL_STATE_TIME_WAIT && fl_flow_is_orphan(view, flow, control);

	return !fl_flow_is_expired(view, flow, control) && (is_orphan || fl_flow_is_valid(view, flow)) &&
	       !(asks_for_vip && is_vip_gone(view, flow, index));
}

/* Has the flow become an orphan? Not one to an address that is no longer ours. */
static int is_lost(const struct fl_view *view, const struct fl_flow *flow, u32 index, u32 control, int asks_for_vip)
{
	return fl_flow_is_orphan(view, flow, control) && !(asks_for_vip && is_vip_gone(view, flow, index));
}

/* Clients that services remember, for who asks how many. */
static void count_stickies(const struct fl_view *view, struct fl_region *region)
{
	u64 services = region->count[FL_SECTION_SERVICE_STATE];
	u32 first = view->settings->first[FL_SECTION_SERVICES];
	u32 *clients = calloc(services, sizeof(*clients));

	for (u64 i = 0; clients && i < region->count[FL_SECTION_STICKIES]; i++)
		for (u32 way = 1; way < FL_STICKY_WAYS; way++) {
			const struct fl_sticky *sticky = &region->stickies[i].way[way];
			const struct fl_server *server = fl_sticky_server(view, sticky->server);

			if (server && server->service < services &&
			    fl_sticky_holds(view, sticky, server, fl_services_at(region, first + server->service)))
				clients[server->service]++;
		}
	for (u64 i = 0; clients && i < services; i++)
		fl_store(&region->service_state[i].sticky, clients[i]);
	free(clients);
}

/* Each few seconds: the table may be large, and nobody waits for its count. Where no service remembers clients, in either
 * half, it may have no memory. */
static void count_stickies_when_due(const struct fl_view *view, struct fl_region *region)
{
	if (view->now - region->header->sticky_tick < STICKY_TICKS)
		return;
	region->header->sticky_tick = view->now;
	if (fl_region_is_sticky(region))
		count_stickies(view, region);
}

u64 fl_age_part(struct fl_region *region, struct fl_sweep *sweep, u64 buckets, u64 now)
{
	u64 stamp = stamp_of(region), count = region->count[FL_SECTION_TAGS];
	u64 end = buckets < count - sweep->bucket ? sweep->bucket + buckets : count;
	struct fl_scratch scratch;
	struct fl_view view = { .scratch = &scratch };
	u64 freed = 0;

	if (!fl_view_open(&view, region, 0, now))
		return 0;
	if (sweep->bucket == 0) {
		sweep->generation = stamp >> 1;
		sweep->asks_for_vips = region->header->swept_generation != sweep->generation;
		sweep->live = 0;
	}
	for (u64 bucket = sweep->bucket; bucket < end; bucket++) {
		const struct fl_tags *tags = &region->tags[bucket];

		if (!(fl_load(&tags->word[0]) | fl_load(&tags->word[1])))
			continue;
		for (u32 way = 0; way < FL_WAYS; way++) {
			u32 index = bucket * FL_WAYS + way, control;
			struct fl_flow *flow = &region->flows[index];

			if (!tags->tag[way])
				continue;
			control = fl_load(&flow->control);
			if (!fl_state_is_live(control))
				continue;
			sweep->live++;
			if (stands(&view, flow, index, control, sweep->asks_for_vips))
				continue;
			if (view_renew(&view, region, &stamp, now)) {
				way--; /* once more, by what holds now */
				sweep->live--;
				continue;
			}
			if (is_lost(&view, flow, index, control, sweep->asks_for_vips)) {
				fl_flow_orphan(&view, NULL, index, control);
				continue;
			}
			if (fl_flow_seize(&view, flow, index, control)) {
				fl_flow_release(&view, flow, index);
				sweep->live--;
				freed++;
			}
		}
	}
	sweep->bucket = end == count ? 0 : end;
	if (end < count)
		return freed;
	region->header->swept_generation = sweep->generation;
	region->header->live_flows = sweep->live;
	count_stickies_when_due(&view, region);
	for (u32 service = 0; service < region->count[FL_SECTION_SERVICE_STATE]; service++)
		fl_half_open_note(&view, NULL, service, 0);
	return freed;
}

u64 fl_age_sweep(struct fl_region *region, u64 now)
{
	struct fl_sweep sweep = { 0 };

	return fl_age_part(region, &sweep, ~0ull, now);
}
