/*
 * What must hold of a region at rest; the first thing that does not, in words, or NULL: every live flow has its tag, in
 * a bucket of its own, and a full-nat one exactly one way back, to it; nothing else has a tag or a way back; counts of
 * each server, and all clients' together, are what the table holds.
 */
#ifndef FL_CORE_FAULT_H
#define FL_CORE_FAULT_H

#include "core-world.h"

/* The first thing that is wrong, in words, or NULL. */
static inline const char *world_fault(const struct fl_region *region)
{
	const struct fl_settings *settings = &region->settings[region->header->active_half];
	const struct fl_server *servers = region->servers + settings->first[FL_SECTION_SERVERS];
	u64 live_full_nat = 0, returns = 0;
	u32 clients_flows = 0;
	u32 active[WORLD_SERVERS] = { 0 }, inactive[WORLD_SERVERS] = { 0 }, open[WORLD_SERVERS] = { 0 },
	    waiting[WORLD_SERVERS] = { 0 };

	for (u64 index = 0; index < region->count[FL_SECTION_FLOWS]; index++) {
		const struct fl_flow *flow = &region->flows[index];
		u32 state = flow->control & FL_STATE_MASK;
		u16 tag = region->tags[index / FL_WAYS].tag[index % FL_WAYS];

		if (state == FL_STATE_CLAIMED)
			return "a slot is claimed by nobody";
		if (state == FL_STATE_FREE && tag)
			return "a free slot has a tag";
		if (state == FL_STATE_FREE)
			continue;
		if (state >= FL_STATE_COUNT)
			return "a flow has a state that is none";
		if (!tag || tag != flow->tag)
			return "a flow has not its tag";
		live_full_nat += (flow->flags & FL_FLOW_FULL_NAT) != 0;
		clients_flows += (flow->flags & (FL_FLOW_OF_ADDRESS | FL_FLOW_OF_NETWORK)) != 0;
		if (flow->server_slot >= WORLD_SERVERS)
			return "a flow's server is beyond the section";
		if (!(servers[flow->server_slot].flags & FL_SERVER_USED) ||
		    (servers[flow->server_slot].generation ^ flow->server_generation) & ~FL_GENERATION_EPOCH)
			continue;
		if (fl_state_is_active(state))
			active[flow->server_slot]++;
		else
			inactive[flow->server_slot]++;
		open[flow->server_slot] += state != FL_STATE_TIME_WAIT && state != FL_STATE_CLOSED;
		waiting[flow->server_slot] += state == FL_STATE_SYN_SENT;
	}
	for (u64 bucket = 0; bucket < region->count[FL_SECTION_RETURNS]; bucket++)
		for (int way = 0; way < FL_WAYS; way++) {
			u64 word = region->returns[bucket].slot[way];
			const struct fl_flow *flow = &region->flows[(u32)word - 1];

			if (!word)
				continue;
			if ((u32)word - 1 >= region->count[FL_SECTION_FLOWS])
				return "a way back leads beyond the table";
			if (!fl_state_is_live(flow->control) || !(flow->flags & FL_FLOW_FULL_NAT))
				return "a way back leads to no full-nat flow";
			returns++;
		}
	for (u64 i = 0; i < region->count[FL_SECTION_CLIENTS]; i++)
		clients_flows -= region->clients[i].flows;
	if (clients_flows)
		return "clients have not as many flows as the table";
	if (returns != live_full_nat)
		return "full-nat flows and ways back are not equally many";
	for (u32 slot = 0; slot < WORLD_SERVERS; slot++) {
		const struct fl_server_state *state = &region->server_state[slot];

		if (servers[slot].flags & FL_SERVER_USED &&
		    (active[slot] != state->active || inactive[slot] != state->inactive || open[slot] != state->open ||
		     waiting[slot] != state->waiting))
			return "a server's counts are not what the table holds";
	}
	return NULL;
}

#endif
