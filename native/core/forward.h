/*
 * fl_forward(): (region, frame, now) -> (verdict, rewritten frame). The whole decision, top to bottom:
 *
 *   short   nearly all frames: of a flow that stands, plain headers (short.h)
 *   look    parse; is the target an address of ours? where would the flow be?
 *   decide  ARP, NDP, echo -> answer; a flow's frame -> rewrite; a first frame for a service -> new flow; else pass
 *
 * Look and decide (decide.h) are apart so that a batch (batch.h) can look at all its frames first; what was decided is
 * carried out and counted here.
 */
#ifndef FL_FORWARD_H
#define FL_FORWARD_H

#include "decide.h"
#include "pass.h"
#include "short.h"

/* Each a function of its own, for the BPF verifier, which follows them anew from every call. */
FL_CALL int fl_to_server(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
			 struct fl_result *result)
{
	return fl_pass_to_server(view, frame, flow, result, 0);
}

FL_CALL int fl_to_client(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
			 struct fl_result *result)
{
	return fl_pass_to_client(view, frame, flow, result, 0);
}

/* To the server of a flow, or without one to the scratch's. */
FL_INLINE int fl_go_to_dsr_server(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
				  struct fl_result *result)
{
	struct fl_look *look = frame->look;
	u32 slot = flow ? flow->server_slot : view->scratch->server_slot;
	int is_error = look->kind == FL_KIND_ICMP || look->kind == FL_KIND_ICMP6, hindrance;

	if (look->kind == FL_KIND_TCP && look->tcp_flags & FL_TCP_SYN)
		fl_clamp(view, frame, slot);
	hindrance =
		fl_pass_dsr(view, frame, is_error ? NULL : flow, slot, flow ? flow->tag : look->home.tag, result, 0);
	/* About an error there is no error (RFC 1122 §3.2.2). */
	return is_error && hindrance == FL_REASON_TOO_BIG ? FL_REASON_OVERSIZE : hindrance;
}

/* An ICMP error about a nat flow, or without a flow a frame that has left a trail or follows one. */
FL_INLINE int fl_go_to_other_side(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
				  struct fl_result *result)
{
	return flow ? fl_pass_error(view, frame, flow, result) : fl_pass_untracked(view, frame, result);
}

#ifdef __bpf__
/* bpf/fairlead.bpf.c: the same in global functions. The verifier would follow them anew for each decision that leads here. */
static int fl_to_dsr_server(const struct fl_view *view, struct fl_frame *frame, const struct fl_flow *flow,
			    struct fl_result *result);
static int fl_to_other_side(const struct fl_view *view, struct fl_frame *frame, const struct fl_flow *flow,
			    struct fl_result *result);
static int fl_answer(const struct fl_view *view, struct fl_frame *frame, int reason);
#else
#define fl_to_dsr_server fl_go_to_dsr_server
#define fl_to_other_side fl_go_to_other_side
#define fl_answer fl_make_answer
#endif

/* Makes of the frame what was decided: the reason that holds in the end. One place for each kind of rewriting, since
 * the BPF verifier follows them anew from every call. */
FL_INLINE int fl_carry_out(const struct fl_view *view, struct fl_frame *frame, int reason, struct fl_result *result)
{
	int hindrance = 0;

	if (FL_LIKELY(reason == FL_REASON_CLIENT_HIT || reason == FL_REASON_NEW_FLOW ||
		      reason == FL_REASON_SERVER_HIT || reason == FL_REASON_ICMP_ERROR ||
		      reason == FL_REASON_UNTRACKED || reason == FL_REASON_UNTRACKED_ANSWER)) {
		int is_untracked = reason == FL_REASON_UNTRACKED || reason == FL_REASON_UNTRACKED_ANSWER;
		struct fl_flow *flow = is_untracked ? NULL : fl_flows_at(view->region, frame->look->index);

		if (!flow && !is_untracked)
			return FL_REASON_NO_FLOW;
		fl_cut_tail(frame, frame->look->end, FL_ETHER_LEAST);
		if (flow ? flow->flags & FL_FLOW_DSR : !fl_load(&view->scratch->trailing))
			hindrance = fl_to_dsr_server(view, frame, flow, result);
		else if (!flow || reason == FL_REASON_ICMP_ERROR)
			hindrance = fl_to_other_side(view, frame, flow, result);
		else if (reason == FL_REASON_SERVER_HIT)
			hindrance = fl_to_client(view, frame, flow, result);
		else
			hindrance = fl_to_server(view, frame, flow, result);
	} else if (reason == FL_REASON_ARP_REPLY) {
		return fl_answer_arp(view, frame);
	} else if (reason == FL_REASON_NDP_REPLY) {
		return fl_answer_ndp(view, frame);
	} else if (reason == FL_REASON_ECHO_REPLY) {
		return fl_answer_echo(view, frame);
	}
	if (FL_UNLIKELY(hindrance))
		reason = hindrance;
	if (FL_UNLIKELY(fl_is_told(reason)))
		reason = fl_answer(view, frame, reason);
	if (FL_UNLIKELY(reason == FL_REASON_SLOW_PATH))
		(void)fl_is_answerable(frame); /* user space must know whether it owes a checksum */
	return reason;
}

/* Was the frame sent on for a flow, which look->index says? */
FL_INLINE int fl_is_of_flow(u32 reason)
{
	return reason == FL_REASON_CLIENT_HIT || reason == FL_REASON_SERVER_HIT || reason == FL_REASON_NEW_FLOW ||
	       reason == FL_REASON_ICMP_ERROR;
}

FL_INLINE u8 fl_verdict_of(int reason)
{
	switch (reason) {
#define X(NAME, text, verdict, meaning) \
	case FL_REASON_##NAME:          \
		return FL_##verdict;
		FL_REASONS(X)
#undef X
	}
	return FL_DROP;
}

/* Carries out what was decided, counts, and says where an answer leaves. */
FL_INLINE int fl_conclude(const struct fl_view *view, struct fl_frame *frame, int decided, struct fl_result *result)
{
	u32 reason;

	view->scratch->moved.to = 0;
	reason = fl_carry_out(view, frame, decided, result);
	if (view->scratch->moved.to) {
		fl_flow_moved(view, frame->look, 0, 0);
		fl_sticky_note(view, frame->look, 0, 0);
	}
	result->reason = reason;
	result->verdict = fl_verdict_of(reason);
	if (reason < FL_REASON_COUNT)
		view->worker->reasons[reason]++;
	if (result->verdict == FL_ANSWER) {
		result->out_interface = frame->interface;
		frame->csum_start = 0;
		frame->gso_size = 0;
	}
	return result->verdict;
}

/* The view of this moment, with the memory that a frame needs. False: there is no region. */
FL_INLINE int fl_forward_open(struct fl_view *view, const struct fl_region *region, struct fl_frame *frame,
			      struct fl_scratch *scratch, u64 now)
{
	view->scratch = scratch;
	if (!scratch)
		return 0;
	frame->look = &scratch->look;
	return fl_view_open(view, region, frame->worker, now);
}

/* A frame of this flow goes on, as was decided the short way. False: something is in the way, and nothing has changed. */
FL_INLINE int fl_forward_flow(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow, u32 reason,
			      struct fl_result *result)
{
	if (reason == FL_REASON_CLIENT_HIT) {
		if (flow->flags & FL_FLOW_DSR ? fl_pass_dsr(view, frame, flow, flow->server_slot, flow->tag, result, 1)
					      : fl_pass_to_server(view, frame, flow, result, 1))
			return 0;
		view->worker->reasons[FL_REASON_CLIENT_HIT]++;
	} else {
		if (fl_pass_to_client(view, frame, flow, result, 1))
			return 0;
		view->worker->reasons[FL_REASON_SERVER_HIT]++;
	}
	result->verdict = FL_FORWARD;
	result->reason = reason;
	return 1;
}

/* True: the frame has gone the short way, and the result says where. False: nothing has changed. */
FL_INLINE int fl_forward_short(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	u32 reason = FL_REASON_NONE;
	struct fl_flow *flow = fl_short_way(view, frame, &reason);

	return flow && fl_forward_flow(view, frame, flow, reason, result);
}

FL_INLINE int fl_forward_long(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	int decided;

	fl_look(view, frame);
	decided = fl_decide(view, frame);
	fl_forget(frame);
	return fl_conclude(view, frame, decided, result);
}

#ifndef __bpf__

/* What becomes of a fragment that was kept: FL_KEEP, and nothing is counted, as long as its first one has not come. */
FL_INLINE int fl_forward_kept(const struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	struct fl_scratch scratch;
	struct fl_view view;

	result->verdict = FL_KEEP;
	if (!fl_forward_open(&view, region, frame, &scratch, now))
		return FL_KEEP;
	fl_look(&view, frame);
	if (fl_datagram_find(&view, frame->look) == FL_NONE)
		return FL_KEEP;
	return fl_conclude(&view, frame, fl_decide(&view, frame), result);
}

/* A looked-at frame goes to this dsr server, without a flow: whoever calls has chosen. */
FL_INLINE int fl_forward_to(const struct fl_view *view, struct fl_frame *frame, u32 server_slot,
			    struct fl_result *result)
{
	view->scratch->server_slot = server_slot;
	view->scratch->trailing = FL_TRAIL_NONE;
	return fl_conclude(view, frame, FL_REASON_UNTRACKED, result);
}

/* One frame. Returns the verdict; *flow is the index of the flow that a forwarded frame belongs to, if there is one. */
FL_INLINE int fl_forward_noting(const struct fl_region *region, struct fl_frame *frame, u64 now,
				struct fl_result *result, u32 *flow)
{
	struct fl_scratch scratch;
	struct fl_view view;

	result->verdict = FL_PASS;
	if (!fl_forward_open(&view, region, frame, &scratch, now))
		return result->verdict;
	if (!fl_forward_short(&view, frame, result))
		fl_forward_long(&view, frame, result);
	if (fl_is_of_flow(result->reason))
		*flow = scratch.look.index;
	return result->verdict;
}

FL_INLINE int fl_forward(const struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	u32 flow;

	return fl_forward_noting(region, frame, now, result, &flow);
}

#endif

#endif
