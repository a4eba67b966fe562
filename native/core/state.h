/*
 * How a flow lives: its TCP or UDP state, driven by the frames of both sides, and when it was last seen.
 */
#ifndef FL_STATE_H
#define FL_STATE_H

#include "compute.h"
#include "flow.h"

#define FL_HANDSHAKE_MOST 1000000u /* microseconds: after that the client has asked again */
#define FL_FIRST_DATA 0x10000u	   /* what a server may send before its SYN+ACK is acknowledged (RFC 7413) */

#define FL_SETTLED 16 /* ticks, 2 s: so long must a flow have been used that anybody could have made with two frames */

/*
 * Which reset is believed (RFC 5961 §3: who is not on the path must guess the number, and a reset in the window is not
 * enough). A flow knows the number that its client uses next, and a client's RST:
 *
 *   has just it            ends the flow: CLOSED. With dsr the number is the last segment's, and the RST may be as far
 *                          ahead as a segment is long; and since it is only what somebody sent in the client's name,
 *                          another frame of the client's takes that back
 *   is a little ahead      nat: of data that its server has not acknowledged yet. CLOSED too, but whatever comes after
 *                          it from either side takes it back; a server that has the connection still answers with a
 *                          challenge ACK. The window of "a little" is smaller than the ones that servers begin with,
 *                          since beyond its window a server is silent
 *   is within FL_WINDOW    goes to its server, who will know, and changes nothing
 *   is anything else       is dropped
 *
 * Before a connection stands, each RST but the last kind makes it CLOSED, and is taken back by what completes the
 * handshake. A server's RST is believed, and taken back by the server.
 */
#define FL_WINDOW 0x400000u   /* 4 MiB: more than may be under way unacknowledged, unless somebody has tuned for it */
#define FL_RESET_NEAR 0x8000u /* octets */
#define FL_SEGMENT_MOST 0x10000u

/* Can both numbers be of one connection at one moment? */
FL_INLINE int fl_is_near(u32 number, u32 other)
{
	return number - other + FL_WINDOW <= 2 * FL_WINDOW;
}

/* A server acknowledged what its client has sent. An acknowledgement that comes late changes nothing, one from farther
 * back is of another connection. */
FL_INLINE void fl_follow_server(struct fl_flow *flow, u32 acknowledged)
{
	u32 next = FL_BE32(acknowledged);

	if (flow->expected_host - next > FL_WINDOW)
		flow->expected_host = next;
}

/* dsr: a segment that begins with this number was sent as its client's. Each of a client's octets comes by here, so one
 * far ahead is somebody else's. */
FL_INLINE void fl_follow_client(struct fl_flow *flow, u32 sequence)
{
	if (sequence - flow->expected_host - 1 < FL_WINDOW)
		flow->expected_host = sequence;
}

/* Is it a client's RST that no client can have sent? While dsr knows the number for sure only: ESTABLISHED. */
FL_INLINE int fl_reset_is_forged(const struct fl_flow *flow, u32 control, const struct fl_look *look)
{
	if (look->kind != FL_KIND_TCP || !(look->tcp_flags & FL_TCP_RST))
		return 0;
	if (flow->flags & FL_FLOW_DSR && (control & FL_STATE_MASK) != FL_STATE_ESTABLISHED)
		return 0;
	return !fl_is_near(FL_BE32(look->tcp_sequence), flow->expected_host);
}

/* What a reset of a flow in this state would have to be taken back to. */
FL_INLINE u32 fl_was_of(u32 control)
{
	u32 state = control & FL_STATE_MASK;

	if (state == FL_STATE_CLOSED)
		return control & FL_WAS_MASK;
	if (state == FL_STATE_SYN_SENT)
		return FL_WAS_SYN_SENT;
	return state == FL_STATE_SYN_RECEIVED ? FL_WAS_SYN_RECEIVED : FL_WAS_OPEN;
}

/* The control word behind an RST of a nat flow. */
FL_INLINE u32 fl_tcp_reset(const struct fl_flow *flow, u32 control, const struct fl_look *look, enum fl_side side)
{
	u32 was = fl_was_of(control), ahead = FL_BE32(look->tcp_sequence) - flow->expected_host;
	u32 rest = control & ~(FL_STATE_MASK | FL_WAS_MASK);

	if (side == FL_SIDE_SERVER)
		return rest | was | FL_RESET_BY_SERVER | FL_STATE_CLOSED;
	if (was == FL_WAS_OPEN && !ahead)
		return (rest & ~FL_RESET_BY_SERVER) | FL_STATE_CLOSED;
	if (was == FL_WAS_OPEN && ahead > FL_RESET_NEAR)
		return control;
	return rest | was | FL_STATE_CLOSED;
}

/* The control word before a frame that is no RST: a reset that may be taken back is. */
FL_INLINE u32 fl_tcp_revived(u32 control, enum fl_side side)
{
	u32 was = control & FL_WAS_MASK, fins = control & (FL_FIN_CLIENT | FL_FIN_SERVER);
	u32 rest = control & ~(FL_STATE_MASK | FL_WAS_MASK | FL_RESET_BY_SERVER);

	if (!was || (control & FL_RESET_BY_SERVER && side != FL_SIDE_SERVER))
		return control;
	if (was == FL_WAS_SYN_SENT)
		return rest | FL_STATE_SYN_SENT;
	if (was == FL_WAS_SYN_RECEIVED)
		return rest | FL_STATE_SYN_RECEIVED;
	if (fins == (FL_FIN_CLIENT | FL_FIN_SERVER))
		return rest | FL_STATE_TIME_WAIT;
	return rest | (fins ? FL_STATE_CLOSING : FL_STATE_ESTABLISHED);
}

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
	u32 sequence = FL_BE32(look->tcp_sequence);

	if (look->tcp_flags & FL_TCP_RST) {
		if (state != FL_STATE_SYN_SENT && sequence - flow->expected_host > FL_SEGMENT_MOST)
			return control;
		return (rest & ~FL_WAS_MASK) | fl_was_of(control) | FL_STATE_CLOSED;
	}
	if (look->tcp_flags & FL_TCP_SYN) {
		/* The server will judge whether it opens another connection. (How long that takes is not asked of a SYN
		 * that was repeated, so the number may stand in the place of the time.) */
		if (state == FL_STATE_CLOSED) {
			flow->expected_host = sequence + 1;
			return (rest & ~(FL_FIN_CLIENT | FL_WAS_MASK)) | FL_SYN_AGAIN | FL_STATE_SYN_SENT;
		}
		return state == FL_STATE_SYN_SENT && is_later ? control | FL_SYN_AGAIN : control;
	}
	control = fl_tcp_revived(control, FL_SIDE_CLIENT);
	state = control & FL_STATE_MASK;
	rest = control & ~FL_STATE_MASK;
	if (state == FL_STATE_SYN_SENT)
		flow->expected_host = sequence;
	fl_follow_client(flow, sequence);
	if (look->tcp_flags & FL_TCP_FIN && fl_is_near(sequence, flow->expected_host)) {
		rest |= FL_FIN_CLIENT;
		fl_follow_client(flow, look->tcp_next_host);
	}
	if (rest & FL_FIN_CLIENT)
		return rest | FL_STATE_CLOSING;
	return rest | FL_STATE_ESTABLISHED;
}

/*
 * Does a SYN to a flow's ends begin another connection? When the one before is over, and with dsr while it is closing, if
 * its number lies beyond what that one used (RFC 9293 §3.10.7.4, TIME-WAIT; RFC 6191); and always when it was refused or
 * given up before it was answered.
 * Where nobody knows yet whether it is over, and where the SYN looks like an old duplicate, the server of the flow judges.
 */
FL_INLINE int fl_tcp_is_anew(const struct fl_flow *flow, u32 control, const struct fl_look *look)
{
	u32 state = control & FL_STATE_MASK;

	if (look->kind != FL_KIND_TCP || (look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) != FL_TCP_SYN)
		return 0;
	if ((control & FL_WAS_MASK) == FL_WAS_SYN_SENT)
		return 1;
	if (!(flow->flags & FL_FLOW_DSR) && control & FL_WAS_MASK && !(control & FL_RESET_BY_SERVER))
		return 0;
	if (state == FL_STATE_TIME_WAIT || state == FL_STATE_CLOSED ||
	    (state == FL_STATE_CLOSING && flow->flags & FL_FLOW_DSR))
		return (int)(FL_BE32(look->tcp_sequence) - flow->expected_host) >= 0;
	return 0;
}

/* Does a server's SYN+ACK to a flow beyond its handshake begin another connection? The server has forgotten the one that
 * we know, and accepted a SYN that we took for a duplicate. */
FL_INLINE int fl_tcp_is_accepted_anew(const struct fl_flow *flow, u32 state, const struct fl_look *look)
{
	if ((look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) != (FL_TCP_SYN | FL_TCP_ACK) ||
	    look->tcp_sequence == flow->handshake)
		return 0;
	return state == FL_STATE_TIME_WAIT || state == FL_STATE_CLOSED ||
	       !fl_is_near(FL_BE32(look->tcp_acknowledged), flow->expected_host);
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
	u8 flags = look->tcp_flags;
	u32 state, rest;

	if (flags & FL_TCP_RST)
		return fl_tcp_reset(flow, control, look, side);
	control = fl_tcp_revived(control, side);
	state = control & FL_STATE_MASK;
	rest = control & ~FL_STATE_MASK;
	if (side == FL_SIDE_SERVER) {
		int is_half_open = fl_state_is_half_open(state);
		int is_accepted = is_half_open ? flags & FL_TCP_SYN : fl_tcp_is_accepted_anew(flow, state, look);

		if (flags & FL_TCP_ACK)
			fl_follow_server(flow, look->tcp_acknowledged);
		if (is_accepted) {
			flow->handshake = look->tcp_sequence;
			return (rest &
				~(FL_FIN_CLIENT | FL_FIN_SERVER | FL_WAS_MASK | FL_RESET_BY_SERVER | FL_PICKED_UP)) |
			       FL_STATE_SYN_RECEIVED;
		}
		/* What it sends for a connection that it does not have is a RST. */
		if (is_half_open && !(control & FL_PICKED_UP))
			return control;
		if (is_half_open) {
			rest &= ~FL_PICKED_UP;
			state = FL_STATE_ESTABLISHED;
		}
	} else if (fl_state_is_half_open(state)) {
		if (state == FL_STATE_SYN_SENT && flags & FL_TCP_SYN) {
			flow->expected_host = FL_BE32(look->tcp_sequence) + 1;
			return is_later ? control | FL_SYN_AGAIN : control;
		}
		if (state == FL_STATE_SYN_SENT || control & FL_PICKED_UP || !(flags & FL_TCP_ACK) ||
		    flags & FL_TCP_SYN ||
		    FL_BE32(look->tcp_acknowledged) - FL_BE32(flow->handshake) - 1 >= FL_FIRST_DATA)
			return control;
		state = FL_STATE_ESTABLISHED;
	}
	if (state == FL_STATE_CLOSED)
		return control;
	if (flags & FL_TCP_FIN &&
	    (side == FL_SIDE_SERVER || fl_is_near(FL_BE32(look->tcp_sequence), flow->expected_host)))
		rest |= side == FL_SIDE_CLIENT ? FL_FIN_CLIENT : FL_FIN_SERVER;
	if (!(rest & (FL_FIN_CLIENT | FL_FIN_SERVER)))
		return rest | state;
	return rest | (~rest & (FL_FIN_CLIENT | FL_FIN_SERVER) ? FL_STATE_CLOSING : FL_STATE_TIME_WAIT);
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

	if (!state)
		return 0;
	/* A server's RST to an ACK that nobody has sent a SYN for answers none. */
	if (fl_state_is_half_open(from) && !fl_state_is_half_open(to) &&
	    !(moved->from & FL_PICKED_UP && to == FL_STATE_CLOSED))
		fl_half_open_note(view, look, fl_server_service(view, moved->slot), FL_SYN_WAS_ANSWERED);
	if (from != FL_STATE_SYN_SENT)
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

FL_INLINE void fl_flow_see(const struct fl_view *view, struct fl_flow *flow)
{
	if (flow->seen != view->now)
		flow->seen = view->now;
}

/* All there is to note of a frame that came the short way: that its flow was seen, and how far the client has come. */
FL_INLINE void fl_flow_note(const struct fl_view *view, struct fl_flow *flow, const struct fl_frame *frame,
			    const enum fl_side side, const int is_dsr)
{
	const struct fl_look *look = frame->look;
	const u8 *tcp;

	fl_flow_see(view, flow);
	if (look->kind != FL_KIND_TCP)
		return;
	if (side == FL_SIDE_SERVER)
		fl_follow_server(flow, look->tcp_acknowledged);
	if (!is_dsr)
		return;
	tcp = fl_bytes(frame, look->l4, 8);
	if (tcp)
		fl_follow_client(flow, FL_BE32(fl_get32(tcp + 4)));
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
		moved->since = flow->flags & FL_FLOW_DSR ? flow->expected_host : flow->handshake;
		moved->is_from_server = side == FL_SIDE_SERVER;
		if (look->kind == FL_KIND_TCP)
			next = flow->flags & FL_FLOW_DSR ? fl_tcp_next_unanswered(flow, control, look, is_later)
							 : fl_tcp_next(flow, control, look, side, is_later);
		else if (side == FL_SIDE_SERVER ||
			 (flow->flags & FL_FLOW_DSR && fl_elapsed(view->now, flow->created) >= FL_SETTLED))
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
