/*
 * How a flow lives: its TCP or UDP state, driven by the frames of both sides, and when it was last seen.
 */
#ifndef FL_STATE_H
#define FL_STATE_H

#include "flow.h"

#define FL_HANDSHAKE_MOST 1000000u /* microseconds: after that the client has asked again */
#define FL_FIRST_DATA 0x10000u	   /* what a server may send before its SYN+ACK is acknowledged (RFC 7413) */

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
FL_INLINE u32 fl_tcp_next_unanswered(struct fl_flow *flow, u32 control, const struct fl_look *look, int is_later)
{
	u32 state = control & FL_STATE_MASK;
	u32 rest = control & ~FL_STATE_MASK;

	if (look->tcp_flags & FL_TCP_RST)
		return rest | FL_STATE_CLOSED;
	if (look->tcp_flags & FL_TCP_SYN)
		return state == FL_STATE_SYN_SENT && is_later ? control | FL_SYN_AGAIN : control;
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
 *
 * `is_later`: the frame is not the one that the flow began with. (A SYN is repeated after a second, which is many ticks.)
 */
FL_INLINE u32 fl_tcp_next(struct fl_flow *flow, u32 control, const struct fl_look *look, enum fl_side side,
			  int is_later)
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
		if (state == FL_STATE_SYN_SENT && flags & FL_TCP_SYN && is_later)
			return control | FL_SYN_AGAIN;
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

/* How long a server took to answer a SYN that was sent once: of one sent twice nobody knows which was answered (Karn).
 * Smoothed as TCP smooths round trips (RFC 6298): a sample counts an eighth. */
FL_INLINE void fl_handshake_time(const struct fl_view *view, struct fl_server_state *state, u32 us)
{
	u32 smooth = fl_handshake_smooth(view, state);

	if (us > FL_HANDSHAKE_MOST)
		us = FL_HANDSHAKE_MOST;
	smooth = smooth ? smooth - smooth / 8 + us : us * 8;
	fl_store(&state->smooth_us8, smooth ? smooth : 1);
	fl_store(&state->handshake_tick, view->now);
	fl_add(&state->timed, 1);
	fl_add(&state->handshake_us, (u64)us);
}

/*
 * A flow that the scratch's `moved` names went from one state to another: its server's counts, and if it was in SYN_SENT
 * what became of its SYN: answered, refused, or given up by the client; or it was repeated. With methods whose answers are
 * never seen the client's first ACK is the answer.
 */
FL_PART(fl_flow_moved, 0, no, more)
{
	const struct fl_moved *moved = &view->scratch->moved;
	u32 from = moved->from & FL_STATE_MASK, to = moved->to & FL_STATE_MASK;
	struct fl_server_state *state = fl_server_count(view, moved->slot, moved->generation, from, to);

	if (!state || from != FL_STATE_SYN_SENT)
		return 0;
	if (to == FL_STATE_SYN_SENT) {
		fl_add(&state->unanswered, 1);
	} else if (to != FL_STATE_CLOSED) {
		fl_add(&state->answered, 1);
		if (!(moved->from & FL_SYN_AGAIN))
			fl_handshake_time(view, state, fl_view_us(view) - moved->since);
	} else if (moved->is_from_server) {
		fl_add(&state->refused, 1);
	} else {
		fl_add(&state->abandoned, 1);
	}
	return 0;
}

/* Notes that a live flow was seen: all there is to note of a frame that came the short way. */
FL_INLINE void fl_flow_see(const struct fl_view *view, struct fl_flow *flow)
{
	if (flow->seen != view->now)
		flow->seen = view->now;
}

/* Notes any frame of a live flow: when, and what it does to the state. What follows of that for its server is left in the
 * scratch's `moved`, for fl_flow_moved(): a BPF stack has no room for it here. */
FL_INLINE void fl_flow_touch(const struct fl_view *view, struct fl_flow *flow, const struct fl_frame *frame,
			     enum fl_side side)
{
	struct fl_look *look = frame->look;
	struct fl_moved *moved = &view->scratch->moved;

	fl_flow_see(view, flow);
	if (look->is_fragment == FL_LATER_FRAGMENT) /* its first one has said what there is to say */
		return;
	for (int attempt = 0; attempt < 4; attempt++) {
		u32 control = fl_load(&flow->control);
		u32 next = control;
		int is_later = flow->created != view->now;

		if (!fl_state_is_live(control))
			return;
		/* Read before the swap: after it another worker may give the entry to a flow of another server. */
		moved->slot = fl_load(&flow->server_slot);
		moved->generation = fl_load(&flow->server_generation);
		moved->since = flow->server_sequence;
		moved->is_from_server = side == FL_SIDE_SERVER;
		if (look->kind == FL_KIND_TCP)
			next = flow->flags & FL_FLOW_DSR ? fl_tcp_next_unanswered(flow, control, look, is_later)
							 : fl_tcp_next(flow, control, look, side, is_later);
		else if (side == FL_SIDE_SERVER ||
			 (flow->flags & FL_FLOW_DSR && view->now - flow->created >= FL_SETTLED))
			next = (control & ~FL_STATE_MASK) | FL_STATE_UDP_TWO_WAY;
		if (FL_LIKELY(next == control))
			return;
		if (!fl_swap_if(&flow->control, control, next))
			continue;
		moved->from = control;
		moved->to = next;
		return;
	}
}

#endif
