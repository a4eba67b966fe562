/*
 * What a predecessor that was killed in the middle of a frame may have left: slots claimed by a worker that no longer
 * is, words in RETURNS without a flow, counts that one swap is missing from. All three are put right from the one thing
 * that is always whole, the live entries.
 */
#include "../core/forward.h"
#include "engine.h"

/* Live flows keep their slots and are counted anew; everything else gives its slot back. */
static void mend_flows(const struct fl_view *view, struct fl_region *region)
{
	for (u64 slot = 0; slot < region->count[FL_SECTION_SERVER_STATE]; slot++)
		region->server_state[slot].active = region->server_state[slot].inactive = 0;
	for (u64 index = 0; index < region->count[FL_SECTION_FLOWS]; index++) {
		u16 *tag = &region->tags[index / FL_WAYS].tag[index % FL_WAYS];
		struct fl_flow *flow = &region->flows[index];

		if (fl_state_is_live(flow->control)) {
			*tag = flow->tag;
			fl_server_count_state(view, flow, flow->control & FL_STATE_MASK, 1);
			continue;
		}
		*tag = 0;
		flow->control &= ~(FL_STATE_MASK | FL_FIN_MASK);
	}
}

/* A word stays only when it leads to the full-nat flow that entered it. */
static void mend_returns(const struct fl_view *view, struct fl_region *region)
{
	for (u64 bucket = 0; bucket < region->count[FL_SECTION_RETURNS]; bucket++) {
		for (int way = 0; way < FL_WAYS; way++) {
			u64 *word = &region->returns[bucket].slot[way];
			u32 index = (u32)*word - 1;
			struct fl_addr server, local;
			struct fl_flow *flow;
			u64 base;

			if (!*word)
				continue;
			flow = fl_flows_at(region, index);
			if (flow && fl_state_is_live(flow->control) && flow->flags & FL_FLOW_FULL_NAT) {
				fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &server);
				fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &local);
				base = fl_return_base(view, &server, flow->server_port, &local, flow->protocol,
						      flow->flags & FL_FLOW_V6 ? 1 : 0);
				if (*word == fl_return_word(fl_return_hash(view, base, flow->local_port), index))
					continue;
			}
			*word = 0;
		}
	}
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
}
