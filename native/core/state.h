/*
 * How a flow lives: its TCP or UDP state, driven by the frames of both sides, and when it was last seen.
 */
#ifndef FL_STATE_H
#define FL_STATE_H

#include "flow.h"

#define FL_FIRST_DATA 0x10000u /* what a server may send before its SYN+ACK is acknowledged (RFC 7413) */

#define FL_SETTLED 16 /* ticks, 2 s: so long must a flow have been used that anybody could have made with two frames */

/*
 * TCP states of a dsr flow, whose server is never heard:
 *
 *   SYN_SENT      the client's SYN went to the server
 *   ESTABLISHED   the client sent something that is no SYN. Anybody can, so such a flow makes room until it has settled
 *   CLOSING       the client sent FIN. It goes on as long as the client acknowledges what the server still sends; its
 *                 last acknowledgement cannot be told from another, so the time-out of closing ends it
 *   CLOSED        RST
 */
FL_INLINE u32 fl_tcp_next_unanswered(struct fl_flow *flow, u32 control, const struct fl_look *look)
{
	u32 state = control & FL_STATE_MASK;
	u32 rest = control & ~FL_STATE_MASK;

	if (look->tcp_flags & FL_TCP_RST)
		return rest | FL_STATE_CLOSED;
	if (look->tcp_flags & FL_TCP_SYN)
		return control;
	if (look->tcp_flags & FL_TCP_FIN && state != FL_STATE_CLOSED) {
		flow->server_sequence = look->tcp_sequence;
		return rest | FL_FIN_CLIENT | FL_STATE_CLOSING;
	}
	return state == FL_STATE_SYN_SENT ? rest | FL_STATE_ESTABLISHED : control;
}

/* Does a SYN to a flow's ends begin another connection? With dsr also while closing, if its number lies beyond the FIN
 * (RFC 9293 §3.10.7.4, TIME-WAIT; RFC 6191): an old duplicate does not. */
FL_INLINE int fl_tcp_is_anew(const struct fl_flow *flow, u32 control, const struct fl_look *look)
{
	u32 state = control & FL_STATE_MASK;

	if (look->kind != FL_KIND_TCP || (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) != FL_TCP_SYN)
		return 0;
	if (state == FL_STATE_CLOSING && flow->flags & FL_FLOW_DSR)
		return (int)(FL_BE32(look->tcp_sequence) - FL_BE32(flow->server_sequence)) > 0;
	return state == FL_STATE_TIME_WAIT || state == FL_STATE_CLOSED;
}

/*
 * TCP states from both directions, as netfilter's and IPVS's NAT tables see them:
 *
 *   SYN_SENT      the client's SYN went to the server
 *   SYN_RECEIVED  the server answered SYN+ACK
 *   ESTABLISHED   the client acknowledged just that SYN+ACK. Who only pretends to be the client never saw its number, and
 *                 so cannot make flows that nothing may evict
 *   CLOSING       one side sent FIN, once established
 *   TIME_WAIT     both did
 *   CLOSED        RST
 */
FL_INLINE u32 fl_tcp_next(struct fl_flow *flow, u32 control, const struct fl_look *look, enum fl_side side)
{
	u32 state = control & FL_STATE_MASK;
	u32 rest = control & ~FL_STATE_MASK;
	u8 flags = look->tcp_flags;

	if (flags & FL_TCP_RST)
		return rest | FL_STATE_CLOSED;
	if (state == FL_STATE_SYN_SENT || state == FL_STATE_SYN_RECEIVED) {
		if (side == FL_SIDE_SERVER) {
			if (!(flags & FL_TCP_SYN))
				return control;
			flow->server_sequence = look->tcp_sequence;
			return rest | FL_STATE_SYN_RECEIVED;
		}
		if (state == FL_STATE_SYN_SENT || !(flags & FL_TCP_ACK) || flags & FL_TCP_SYN ||
		    FL_BE32(look->tcp_acknowledged) - FL_BE32(flow->server_sequence) - 1 >= FL_FIRST_DATA)
			return control;
		state = FL_STATE_ESTABLISHED;
	}
	if (flags & FL_TCP_FIN) {
		rest |= side == FL_SIDE_CLIENT ? FL_FIN_CLIENT : FL_FIN_SERVER;
		if ((rest & (FL_FIN_CLIENT | FL_FIN_SERVER)) == (FL_FIN_CLIENT | FL_FIN_SERVER))
			return rest | (state == FL_STATE_CLOSED ? FL_STATE_CLOSED : FL_STATE_TIME_WAIT);
		return rest | (state == FL_STATE_CLOSED ? FL_STATE_CLOSED : FL_STATE_CLOSING);
	}
	return rest | state;
}

/* Notes a frame of a live flow: when, and what it does to the state. */
FL_INLINE void fl_flow_touch(const struct fl_view *view, struct fl_flow *flow, const struct fl_frame *frame,
			     enum fl_side side)
{
	struct fl_look *look = frame->look;
	if (flow->seen != view->now)
		flow->seen = view->now;
	for (int attempt = 0; attempt < 4; attempt++) {
		u32 control = fl_load(&flow->control);
		u32 next = control;
		u32 slot, generation;

		if (!fl_state_is_live(control))
			return;
		if (look->kind == FL_KIND_TCP)
			next = flow->flags & FL_FLOW_DSR ? fl_tcp_next_unanswered(flow, control, look)
							 : fl_tcp_next(flow, control, look, side);
		else if (side == FL_SIDE_SERVER ||
			 (flow->flags & FL_FLOW_DSR && view->now - flow->created >= FL_SETTLED))
			next = (control & ~FL_STATE_MASK) | FL_STATE_UDP_TWO_WAY;
		if (FL_LIKELY(next == control))
			return;
		/* Read before the swap: after it another worker may give the entry to a flow of another server. */
		slot = fl_load(&flow->server_slot);
		generation = fl_load(&flow->server_generation);
		if (!fl_swap_if(&flow->control, control, next))
			continue;
		if (fl_state_is_active(control & FL_STATE_MASK) != fl_state_is_active(next & FL_STATE_MASK)) {
			u32 change = fl_state_is_active(next & FL_STATE_MASK) ? 1 : (u32)-1;

			fl_server_count(view, slot, generation, change, -change);
		}
		return;
	}
}

#endif
