/*
 * What a predecessor that was killed in the middle of a frame may have left: slots claimed by a worker that no longer
 * is, words in RETURNS without a flow, counts that one swap is missing from. All three are put right from the one thing
 * that is always whole, the live entries. Claimed buckets of remembered clients are released: an entry half written names
 * no server.
 */
#include "../core/forward.h"
#include "maps.h"
#include "sections.h"

static void count_for_client(const struct fl_view *view, const struct fl_flow *flow, u32 index)
{
	struct fl_client *client = NULL;

	if (flow->flags & (FL_FLOW_OF_ADDRESS | FL_FLOW_OF_NETWORK))
		client = fl_client_of(view, flow, index);
	if (client)
		client->flows++;
}

/* Live flows keep their slots and are counted anew; everything else gives its slot back. */
static void mend_flows(const struct fl_view *view, struct fl_region *region)
{
	for (u64 slot = 0; slot < region->count[FL_SECTION_SERVER_STATE]; slot++)
		region->server_state[slot].active = region->server_state[slot].inactive =
			region->server_state[slot].open = region->server_state[slot].waiting = 0;
	for (u64 service = 0; service < region->count[FL_SECTION_SERVICE_STATE]; service++)
		region->service_state[service].open = 0;
	for (u64 client = 0; client < region->count[FL_SECTION_CLIENTS]; client++)
		region->clients[client].flows = 0;
	for (u64 index = 0; index < region->count[FL_SECTION_FLOWS]; index++) {
		u16 *tag = &region->tags[index / FL_WAYS].tag[index % FL_WAYS];
		struct fl_flow *flow = &region->flows[index];

		if (fl_state_is_live(flow->control)) {
			*tag = flow->tag;
			fl_server_count(view, flow->server_slot, flow->server_generation, FL_STATE_FREE,
					flow->control & FL_STATE_MASK);
			count_for_client(view, flow, (u32)index);
			continue;
		}
		*tag = 0;
		flow->control &= ~(FL_STATE_MASK | FL_FIN_MASK);
	}
}

/* Does this word lead to the full-nat flow that entered it? */
static bool is_way_back(const struct fl_view *view, u64 word)
{
	u32 index = (u32)word - 1;
	struct fl_flow *flow = fl_flows_at(view->region, index);
	struct fl_addr server, local;
	u64 base;

	if (!flow || !fl_state_is_live(flow->control) || !(flow->flags & FL_FLOW_FULL_NAT))
		return false;
	fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &server);
	fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &local);
	base = fl_return_base(view, &server, flow->server_port, &local, flow->protocol,
			      flow->flags & FL_FLOW_V6 ? 1 : 0);
	return word == fl_return_word(fl_return_hash(view, base, flow->local_port), index);
}

/* A word stays only when it leads to the full-nat flow that entered it. */
static void mend_returns(const struct fl_view *view, struct fl_region *region)
{
	for (u64 bucket = 0; bucket < region->count[FL_SECTION_RETURNS]; bucket++) {
		for (int way = 0; way < FL_WAYS; way++) {
			u64 *word = &region->returns[bucket].slot[way];

			if (*word && !is_way_back(view, *word))
				*word = 0;
		}
	}
}

static void mend_stickies(struct fl_region *region)
{
	if (!fl_region_is_sticky(region))
		return;
	for (u64 i = 0; i < region->count[FL_SECTION_STICKIES]; i++)
		region->stickies[i].control &= ~FL_STICKY_CLAIMED;
}

#define ORPHANS_MOST 64 /* ageing holds one slot at a time, the slow path another */

/* Gives slots back that were claimed before a grace period and still are, by the same claim: whoever claimed them is no
 * more. Their ways back, which name them, are found by walking. */
static void free_orphans(struct fl_region *region, const u32 *index, const u32 *control, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		struct fl_flow *flow = &region->flows[index[i]];

		if (fl_load(&flow->control) != control[i])
			continue;
		for (u64 bucket = 0; bucket < region->count[FL_SECTION_RETURNS]; bucket++)
			for (int way = 0; way < FL_WAYS; way++)
				if ((u32)fl_load(&region->returns[bucket].slot[way]) == index[i] + 1)
					fl_store(&region->returns[bucket].slot[way], (u64)0);
		fl_store(&region->tags[index[i] / FL_WAYS].tag[index[i] % FL_WAYS], (u16)0);
		fl_store(&flow->control, control[i] & ~(FL_STATE_MASK | FL_FIN_MASK));
	}
}

void fl_region_mend_live(struct fl_region *region)
{
	u32 index[ORPHANS_MOST], control[ORPHANS_MOST], count = 0;

	for (u32 worker = 0; worker < region->header->worker_count; worker++)
		region->workers[worker].half_in_use = 0; /* only a slow path that is gone wrote one */
	for (u64 i = 0; i < region->count[FL_SECTION_FLOWS] && count < ORPHANS_MOST; i++) {
		u32 now = fl_load(&region->flows[i].control);

		if ((now & FL_STATE_MASK) != FL_STATE_CLAIMED)
			continue;
		index[count] = (u32)i;
		control[count++] = now;
	}
	if (count && fl_maps_settle(region) == 0)
		free_orphans(region, index, control, count);
}

void fl_region_mend(struct fl_region *region)
{
	struct fl_scratch scratch;
	struct fl_view view = { .scratch = &scratch };

	for (u32 worker = 0; worker < region->header->worker_count; worker++)
		region->workers[worker].half_in_use = 0;
	if (!fl_view_open(&view, region, 0, fl_now()))
		return;
	mend_flows(&view, region);
	mend_returns(&view, region);
	mend_stickies(region);
}
