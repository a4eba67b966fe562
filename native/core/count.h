/*
 * What a server's flows are counted as, in its own state and its service's: one word more or less for each change of a
 * flow's state, so that they are what the table holds.
 */
#ifndef FL_COUNT_H
#define FL_COUNT_H

#include "view.h"

#define FL_STATE_MASK 0xffu
#define FL_FIN_MASK 0xff00u
#define FL_INCARNATION 0x10000u

FL_INLINE int fl_state_is_live(u32 control)
{
	return (control & FL_STATE_MASK) > FL_STATE_CLAIMED;
}

FL_INLINE int fl_state_is_active(u32 state)
{
	return state == FL_STATE_ESTABLISHED || state == FL_STATE_UDP_TWO_WAY;
}

/* Has its client not acknowledged its server's SYN+ACK yet? */
FL_INLINE int fl_state_is_half_open(u32 state)
{
	return state == FL_STATE_SYN_SENT || state == FL_STATE_SYN_RECEIVED;
}

/* Does it keep its server busy? */
FL_INLINE int fl_state_is_open(u32 state)
{
	return state > FL_STATE_CLAIMED && state != FL_STATE_TIME_WAIT && state != FL_STATE_CLOSED;
}

/* Is this server still the one in its slot? */
FL_INLINE int fl_server_stands(const struct fl_view *view, u32 slot, u32 generation)
{
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);

	return server && server->flags & FL_SERVER_USED && server->generation == generation;
}

/* The same, or has only had its flows ended since? */
FL_INLINE int fl_server_owns(const struct fl_view *view, u32 slot, u32 generation)
{
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);

	return server && server->flags & FL_SERVER_USED && !((server->generation ^ generation) & ~FL_GENERATION_EPOCH);
}

FL_INLINE int fl_flow_is_expired(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	u32 state = control & FL_STATE_MASK;

	if (state >= FL_STATE_COUNT)
		return 1;
	return (int)(view->now - flow->seen) > (int)view->settings->timeout[state];
}

/* The service of the server in a slot, or FL_NONE. */
FL_INLINE u32 fl_server_service(const struct fl_view *view, u32 slot)
{
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);

	return server ? server->service : FL_NONE;
}

/* So many more open flows of a server's service. */
FL_INLINE void fl_service_count(const struct fl_view *view, u32 slot, u32 open)
{
	struct fl_service_state *state = fl_service_state_at(view->region, fl_server_service(view, slot));

	if (state)
		fl_add(&state->open, open);
}

/* A flow of the server goes from one state to another: from FREE when it begins, to FREE when it ends. The server's state,
 * or NULL when it no longer stands. */
FL_INLINE struct fl_server_state *fl_server_count(const struct fl_view *view, u32 slot, u32 generation, u32 from,
						  u32 to)
{
	u32 active = fl_state_is_active(to) - fl_state_is_active(from);
	u32 live = (to != FL_STATE_FREE) - (from != FL_STATE_FREE);
	u32 open = fl_state_is_open(to) - fl_state_is_open(from);
	u32 waiting = (to == FL_STATE_SYN_SENT) - (from == FL_STATE_SYN_SENT);
	struct fl_server_state *state;

	if (!fl_server_owns(view, slot, generation))
		return NULL;
	state = fl_server_state_at(view->region, slot);
	if (!state)
		return NULL;
	if (active)
		fl_add(&state->active, active);
	if (live != active)
		fl_add(&state->inactive, live - active);
	if (open)
		fl_add(&state->open, open);
	if (waiting)
		fl_add(&state->waiting, waiting);
	if (open)
		fl_service_count(view, slot, open);
	return state;
}

#define FL_HANDSHAKE_HALVES 64 /* ticks, 8.6 s: who is slow gets no flows, so what is known of it must age */

/* How long handshakes with a server take, smoothed, in eighths of a microsecond; half after each while without one. */
FL_INLINE u32 fl_handshake_smooth(const struct fl_view *view, const struct fl_server_state *state)
{
	u32 age = fl_elapsed(view->now, state->handshake_tick) / FL_HANDSHAKE_HALVES;

	return state->smooth_us8 >> ((age | (fl_is_zero(age >> 5) ^ 1) * 31) & 31);
}

#define FL_PATIENCE 8 /* ticks, 1.07 s: after a second a client repeats its SYN (RFC 6298) */

/* A flow ends, claimed by whoever ends it. One that was still waiting says something of its server, if it waited long. */
FL_INLINE void fl_server_lose(const struct fl_view *view, const struct fl_flow *flow, u32 control)
{
	u32 from = control & FL_STATE_MASK;
	struct fl_server_state *state =
		fl_server_count(view, flow->server_slot, flow->server_generation, from, FL_STATE_FREE);

	if (!state || from != FL_STATE_SYN_SENT)
		return;
	fl_add(&state->abandoned, 1);
	if (!(control & FL_SYN_AGAIN) &&
	    (fl_elapsed(view->now, flow->created) >= FL_PATIENCE || fl_flow_is_expired(view, flow, control)))
		fl_add(&state->unanswered, 1);
}

#endif
