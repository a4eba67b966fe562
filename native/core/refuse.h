/*
 * A client that no server is there for is told so, as a host without a listener would: TCP by RST, UDP by ICMP port
 * unreachable (answer.h). Both are made of the client's own frame, within budgets. Nothing is told to a RST.
 */
#ifndef FL_REFUSE_H
#define FL_REFUSE_H

#include "answer.h"
#include "begin.h"

#define FL_TCP_HEADER 20

/* What becomes of a frame that was turned away for a reason: the refusal that fits, or the reason itself, where the
 * configuration or the frame forbids one. The service is the scratch's, unless there is none. */
FL_PART(fl_refusal_of, FL_REASON_NO_SERVICE, reason, nothing)
{
	const struct fl_service *service;

	if (look->tcp_flags & FL_TCP_RST || (look->is_fragment && look->kind == FL_KIND_TCP))
		return reason; /* what a fragment's segment would make of the sequence number is not known */
	if (reason == FL_REASON_NO_SERVICE)
		return view->settings->is_refusing ? FL_REASON_REFUSED_NO_SERVICE : reason;
	service = fl_services_at(view->region, view->settings->first[FL_SECTION_SERVICES] + view->scratch->service);
	if (!service)
		return reason;
	if (reason == FL_REASON_SERVERS_FULL)
		return service->flags & FL_SERVICE_REFUSES_FULL ? FL_REASON_REFUSED_FULL : reason;
	if (!(service->flags & FL_SERVICE_REFUSES))
		return reason;
	return reason == FL_REASON_NO_SERVER ? FL_REASON_REFUSED_NO_SERVER : FL_REASON_REFUSED_NO_FLOW;
}

/*
 * A frame of an orphan, if the scratch has one: FL_REASON_NONE and a new flow may begin with it, also in the middle of a
 * connection where that is to move; else both sides hear that their connection is no more.
 */
FL_PART(fl_orphan_look, FL_REASON_NO_FLOW, side, nothing)
{
	const struct fl_flow *flow = fl_flows_at(view->region, view->scratch->orphan);
	const struct fl_server *server;

	if (view->scratch->orphan == FL_NONE || !flow)
		return FL_REASON_NONE;
	if (look->tcp_flags & FL_TCP_RST || look->is_fragment)
		return FL_REASON_NO_FLOW;
	if (side == FL_SIDE_SERVER)
		return FL_REASON_REFUSED_GONE;
	server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + flow->server_slot);
	if ((look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) != FL_TCP_SYN) {
		if (!server || !(server->flags & FL_SERVER_MOVES) ||
		    !fl_server_owns(view, flow->server_slot, flow->server_generation))
			return FL_REASON_REFUSED_GONE;
		view->scratch->is_moved = 1;
	}
	fl_orphan_end(view);
	return FL_REASON_NONE;
}

/* Was the frame turned away for something that its client may be told? */
FL_INLINE int fl_is_refusable(u32 reason)
{
	return reason == FL_REASON_NO_SERVICE || reason == FL_REASON_NO_SERVER || reason == FL_REASON_SERVERS_FULL ||
	       reason == FL_REASON_NO_FLOW;
}

/* How far a segment moves its sender's sequence number on. */
FL_INLINE u32 fl_segment_length(const struct fl_look *look, const u8 *tcp)
{
	return look->end - look->l4 - (u32)(tcp[12] >> 4) * 4 + !!(tcp[13] & FL_TCP_SYN) + !!(tcp[13] & FL_TCP_FIN);
}

/* The IP header of a RST, back to the frame's sender. False when the frame is too short. */
FL_INLINE int fl_put_rst_ip(struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	u8 *ip = fl_bytes(frame, look->l3, 20);

	if (!ip)
		return 0;
	if (look->is_v6) {
		ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
		if (!ip)
			return 0;
		fl_put32(ip, FL_BE32(0x60000000));
		fl_put16(ip + 4, FL_BE16(FL_TCP_HEADER));
		ip[6] = FL_PROTOCOL_TCP;
		ip[7] = 64;
		fl_put_addr(ip + 8, &look->target, 1);
		fl_put_addr(ip + 24, &look->source, 1);
		return 1;
	}
	fl_put32(ip, FL_BE32(0x45000000 | (20 + FL_TCP_HEADER)));
	fl_put32(ip + 4, FL_BE32(0x4000));
	fl_put16(ip + 8, FL_BE16(64 << 8 | FL_PROTOCOL_TCP));
	fl_put16(ip + 10, 0);
	fl_put_addr(ip + 12, &look->target, 0);
	fl_put_addr(ip + 16, &look->source, 0);
	fl_put16(ip + 10, (u16)~fl_fold((u64)fl_get32(ip) + fl_get32(ip + 4) + fl_get32(ip + 8) + fl_get32(ip + 12) +
					fl_get32(ip + 16)));
	return 1;
}

/*
 * Turns a TCP frame into the RST that its sender takes for the other end's (RFC 9293 §3.10.7.1): with the number that it
 * awaits when it acknowledged one, else acknowledging all it sent. Without options, and so never longer than the frame.
 */
FL_CALL int fl_answer_rst(const struct fl_view *view, struct fl_frame *frame, int reason)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	u32 l4 = look->l3 + (look->is_v6 ? FL_IPV6_HEADER : 20), total = l4 + FL_TCP_HEADER;
	u8 *ether, *tcp = fl_bytes(frame, look->l4, FL_TCP_HEADER);
	u32 sequence = look->tcp_acknowledged, acknowledged = 0, flags = FL_TCP_RST;

	if (!interface || !tcp)
		return FL_REASON_SHORT_FRAME;
	if (!fl_is_answerable(frame))
		return FL_REASON_SLOW_PATH;
	if (fl_budget_of(view)->rst_spent++ >= view->settings->rst_per_tick)
		return FL_REASON_RST_LIMITED;
	tcp = fl_bytes(frame, look->l4, FL_TCP_HEADER);
	if (!tcp)
		return FL_REASON_SHORT_FRAME;
	if (!(look->tcp_flags & FL_TCP_ACK)) {
		sequence = 0;
		acknowledged = FL_BE32(FL_BE32(look->tcp_sequence) + fl_segment_length(look, tcp));
		flags |= FL_TCP_ACK;
	}
	if (total < frame->len && fl_resize(frame, total) < 0)
		return FL_REASON_OVERSIZE;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	tcp = fl_bytes(frame, l4, FL_TCP_HEADER);
	if (!ether || !tcp)
		return FL_REASON_SHORT_FRAME;
	__builtin_memcpy(ether, ether + 6, 6);
	__builtin_memcpy(ether + 6, interface->mac, 6);
	fl_put16(tcp, look->target_port);
	fl_put16(tcp + 2, look->source_port);
	fl_put32(tcp + 4, sequence);
	fl_put32(tcp + 8, acknowledged);
	fl_put32(tcp + 12, FL_BE32(0x50000000 | flags << 16));
	fl_put16(tcp + 16,
		 (u16)~fl_fold(fl_pseudo_header(&look->target, &look->source, FL_PROTOCOL_TCP, FL_TCP_HEADER) +
			       look->source_port + look->target_port + (u64)sequence + acknowledged +
			       fl_get32(tcp + 12)));
	fl_put16(tcp + 18, 0);
	return fl_put_rst_ip(frame) ? reason : FL_REASON_SHORT_FRAME;
}

/* Is what a frame meets told to its sender, by an ICMP error or a RST? */
FL_INLINE int fl_is_told(int reason)
{
	return reason == FL_REASON_TIME_EXCEEDED || reason == FL_REASON_TOO_BIG || FL_IS_REFUSAL(reason);
}

/* Makes of the frame what its sender is told: the reason to count. */
FL_INLINE int fl_make_answer(const struct fl_view *view, struct fl_frame *frame, int reason)
{
	if (frame->look->is_fragment == FL_LATER_FRAGMENT) /* RFC 1122 §3.2.2 */
		return FL_REASON_FRAGMENT;
	if (FL_IS_REFUSAL(reason) && frame->look->kind == FL_KIND_TCP)
		return fl_answer_rst(view, frame, reason);
	return fl_answer_icmp_error(view, frame, reason);
}

#endif
