/*
 * Compute-only: how a service goes through a flood of SYNs.
 *
 * The problem: each SYN takes a slot, and a flood of them makes all that is half-open short-lived, the handshakes of honest
 * clients among it.
 *
 * The idea: a server is found by the client's hash alone, so a SYN needs no flow. While a service has too many unanswered
 * SYNs, SYNs go on by the hash and write nothing but one number, and unless it is dsr's the way back of the answer
 * (trail.h); the client's first ACK goes to the same server by the same hash, and enters the flow. Nothing else about the
 * service is decided otherwise, and its flows that stand are not asked.
 *
 * The number is how many SYNs no ACK has followed, as if each were forgotten within FL_HALF_OPEN_TICKS, so that it follows
 * the flood and not the table. The mode begins at the service's limit, and ends at half of it. For a while after that ACKs are
 * taken as before: their SYN may have gone by the hash.
 *
 * Whatever may differ between a SYN and its ACK is not asked: which server is the least busy, and which has its max_flows.
 */
#ifndef FL_COMPUTE_H
#define FL_COMPUTE_H

#include "view.h"

#define FL_SYN_CAME 1
#define FL_SYN_WAS_ANSWERED 2

/* What a half_open word says after so many ticks. */
FL_INLINE u32 fl_half_open_level(u64 word, u32 elapsed)
{
	u32 level = (u32)word;

	return elapsed >= FL_HALF_OPEN_TICKS ? 0 : level - (u32)((u64)level * elapsed / FL_HALF_OPEN_TICKS);
}

/* Does a service send SYNs on by the hash alone, or for ACKs, did it a moment ago? */
FL_INLINE int fl_is_computing(const struct fl_view *view, const struct fl_service *service,
			      const struct fl_service_state *state, int is_syn)
{
	u32 ended = fl_load(&state->computing_ended);

	if (!service->half_open)
		return 0;
	return fl_load(&state->computing_since) ||
	       (!is_syn && ended && fl_elapsed(view->now, ended) < FL_HALF_OPEN_TICKS);
}

/* A SYN of a service came or was answered (FL_SYN_*), or (0) time has passed: the mode begins or ends by that. */
FL_PART(fl_half_open_note, 0, service_index, event)
{
	const struct fl_service *service =
		fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + service_index);
	struct fl_service_state *state = fl_service_state_at(view->region, service_index);
	u32 level = 0, since;
	u64 most;

	if (!service || !state || !service->half_open)
		return 0;
	most = (u64)service->half_open * FL_HALF_OPEN_ONE;
	for (int attempt = 0; attempt < 4; attempt++) {
		u64 word = fl_load(&state->half_open);
		u32 elapsed = fl_elapsed(view->now, (u32)(word >> 32));

		level = fl_half_open_level(word, elapsed);
		if (event == FL_SYN_CAME && level < 2 * most)
			level += FL_HALF_OPEN_ONE;
		if (event == FL_SYN_WAS_ANSWERED)
			level -= level < FL_HALF_OPEN_ONE ? level : FL_HALF_OPEN_ONE;
		if (fl_swap_if(&state->half_open, word, (u64)((u32)(word >> 32) + elapsed) << 32 | level))
			break;
	}
	since = fl_load(&state->computing_since);
	if (!since && level >= most)
		fl_swap_if(&state->computing_since, 0U, view->now ? view->now : 1);
	if (since && level < most / 2 && fl_swap_if(&state->computing_since, since, 0U))
		fl_store(&state->computing_ended, view->now);
	return 0;
}

#endif
