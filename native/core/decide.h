/*
 * What a frame is: looked at once, then decided, without touching a flow's state more than it must. A malformed frame is
 * dropped only when it is for us; anybody else's is the host's to judge.
 */
#ifndef FL_DECIDE_H
#define FL_DECIDE_H

#include "begin.h"
#include "fragment.h"
#include "icmp.h"
#include "refuse.h"

FL_INLINE int fl_is_balanced(const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	return look->kind == FL_KIND_TCP || look->kind == FL_KIND_UDP;
}

FL_INLINE void fl_look(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_vip *vip;

	__builtin_memset(look, 0, __builtin_offsetof(struct fl_look, source));
	look->malformed = fl_parse(frame);
	if (!look->l3 || look->kind == FL_KIND_ARP)
		return;
	vip = fl_vip_find(view, &look->target, look->is_v6);
	if (vip) {
		look->vip_flags = vip->flags;
		look->range_first = vip->range_first;
		look->range_count = vip->range_count;
	}
	if (look->malformed || !fl_is_balanced(frame))
		return;
	look->home = fl_home_of(view->header->seed, view->header->buckets, vip ? &look->source : &look->target,
				vip ? look->source_port : look->target_port, look->protocol, look->is_v6);
}

/* Can this be a client's address? RFC 1122 §3.2.1.3, RFC 4291 §2.5-2.7: no unspecified, loopback, group, mapped. */
FL_INLINE int fl_is_client(const struct fl_addr *addr, int is_v6)
{
	u32 first = FL_BE32(addr->word[0]) >> 24;

	if (!is_v6)
		return first != 0 && first != 127 && first < 224;
	if (first == 0xff)
		return 0;
	if (addr->word[0] | addr->word[1])
		return 1;
	return addr->word[2] != 0 && addr->word[2] != FL_BE32(0xffff);
}

/* Or was it seen in promiscuous mode, or flooded by a switch? */
FL_INLINE int fl_is_to_us(const struct fl_view *view, const struct fl_frame *frame)
{
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);

	return ether && interface && fl_get32(ether) == fl_get32(interface->mac) &&
	       fl_get16(ether + 4) == fl_get16(interface->mac + 4);
}

/* 0, or why a frame to one of our addresses must not be taken. */
FL_INLINE int fl_refuse(const struct fl_view *view, const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	u8 flags = look->tcp_flags;

	if (!ether)
		return FL_REASON_SHORT_FRAME;
	if (ether[6] & 1 || !fl_is_client(&look->source, look->is_v6))
		return FL_REASON_BAD_SOURCE;
	if (ether[0] & 1)
		return FL_REASON_BAD_DESTINATION;
	if (!fl_is_to_us(view, frame))
		return FL_REASON_NOT_OURS;
	if (fl_addr_same(&look->source, &look->target))
		return FL_REASON_LAND;
	if (fl_vip_find(view, &look->source, look->is_v6))
		return FL_REASON_BAD_SOURCE;
	if (look->kind == FL_KIND_TCP && (!(flags & (FL_TCP_SYN | FL_TCP_RST | FL_TCP_ACK)) ||
					  (flags & FL_TCP_SYN && flags & (FL_TCP_FIN | FL_TCP_RST)) ||
					  (flags & FL_TCP_FIN && !(flags & FL_TCP_ACK))))
		return FL_REASON_BAD_FLAGS;
	return 0;
}

/* A fragment without ports, to an address of ours. */
FL_INLINE int fl_decide_later(const struct fl_view *view, struct fl_look *look)
{
	u32 reason = fl_datagram_follow(view, look, FL_REASON_NONE, 0);

	return reason ? reason : fl_datagram_await(view, look, 0, 0);
}

/* A frame to one of our addresses. */
FL_INLINE int fl_decide_ours(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	struct fl_flow *flow;
	struct fl_key *key = &view->scratch->key;
	int why = look->malformed;
	const u8 *ether;
	u32 begun, side;

	if (!why)
		why = fl_refuse(view, frame);
	if (why)
		return why;
	if (look->is_fragment && look->protocol != FL_PROTOCOL_TCP && look->protocol != FL_PROTOCOL_UDP)
		return FL_REASON_FRAGMENT;
	if (look->is_fragment == FL_LATER_FRAGMENT)
		return fl_decide_later(view, look);
	if (look->kind == FL_KIND_ICMP || look->kind == FL_KIND_ICMP6) {
		const u8 *icmp = fl_bytes(frame, look->l4, 8);

		if (!icmp)
			return FL_REASON_SHORT_FRAME;
		if (look->is_v6 && icmp[0] == FL_ICMP6_SOLICITATION)
			return FL_REASON_NDP_REPLY;
		if (icmp[0] == (look->is_v6 ? FL_ICMP6_ECHO : FL_ICMP_ECHO) && icmp[1] == 0)
			return FL_REASON_ECHO_REPLY;
		if (!fl_icmp_is_error(icmp[0], look->is_v6))
			return FL_REASON_UNSUPPORTED;
		return fl_decide_error(view, frame);
	}
	if (!fl_is_balanced(frame))
		return FL_REASON_UNSUPPORTED;
	key->client = look->source;
	key->client_port = look->source_port;
	key->other = look->target;
	key->other_port = look->target_port;
	key->protocol = look->protocol;
	key->is_v6 = look->is_v6;
	view->scratch->orphan = FL_NONE;
	view->scratch->is_moved = 0;
	flow = fl_flow_find(view, &look->home, key, FL_SIDE_CLIENT, look);
	if (flow) {
		u32 control = fl_load(&flow->control);

		if (FL_LIKELY(!fl_tcp_is_anew(flow, control, look) && !fl_is_stranded(view, flow, control, look)))
			return fl_reset_is_forged(flow, control, look) ? FL_REASON_BAD_RESET : FL_REASON_CLIENT_HIT;
		/* The client uses its port again, or has had no answer from a server that is out by now: a new
		 * connection, which may go elsewhere. */
		if (fl_flow_seize(view, flow, look->index, control))
			fl_flow_release(view, flow, look->index);
	}
	side = view->scratch->orphan == FL_NONE ? FL_SIDE_SERVER : FL_SIDE_CLIENT;
	if (side == FL_SIDE_SERVER && look->vip_flags & (FL_VIP_SOURCE | FL_VIP_HAIRPIN) &&
	    fl_flow_find_return(view, frame))
		return FL_REASON_SERVER_HIT;
	if (side == FL_SIDE_SERVER && look->vip_flags & (FL_VIP_SOURCE | FL_VIP_HAIRPIN) &&
	    view->scratch->orphan == FL_NONE && look->kind == FL_KIND_TCP && !look->is_fragment &&
	    look->tcp_flags & (FL_TCP_ACK | FL_TCP_RST)) {
		key->client = look->target;
		key->client_port = look->target_port;
		key->other = look->source;
		key->other_port = look->source_port;
		if (fl_trail_follow(view, look, 0, 0) == FL_REASON_UNTRACKED_ANSWER)
			return FL_REASON_UNTRACKED_ANSWER;
	}
	begun = fl_orphan_look(view, look, side, 0);
	if (begun)
		return begun;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether)
		return FL_REASON_SHORT_FRAME;
	view->scratch->interface = frame->interface;
	__builtin_memcpy(view->scratch->source_mac, ether + 6, 6);
	begun = fl_begin(view, look);
	if (fl_is_refusable(begun))
		return fl_refusal_of(view, look, begun, 0);
	/* What cannot move is lost. */
	return view->scratch->is_moved && begun != FL_REASON_NEW_FLOW ? FL_REASON_REFUSED_GONE : begun;
}

/* A fragment without ports, to somebody else: a nat server's, if its first one was. */
FL_INLINE int fl_decide_others_later(const struct fl_view *view, struct fl_frame *frame)
{
	u32 reason;

	if (!(view->settings->methods & 1u << FL_METHOD_NAT) || !fl_is_to_us(view, frame))
		return FL_REASON_NOT_OURS;
	reason = fl_datagram_follow(view, frame->look, FL_REASON_NONE, 0);
	if (reason)
		return reason;
#ifndef __bpf__
	/* The guard has seen the first one, and lets only those come here that belong to it: another worker has it yet. */
	if (view->region->claims)
		return fl_datagram_await(view, frame->look, 0, 0);
#endif
	return FL_REASON_NOT_OURS;
}

/* An ICMP error from the servers' side: to a nat flow's client, or with too little to say to whose. */
FL_INLINE int fl_decide_nat_error(const struct fl_view *view, struct fl_frame *frame)
{
	int why = fl_quote_read(view, frame, frame->look->l4 + 8, frame->look->is_v6, 1);

	if (why == FL_REASON_SHORT_QUOTE && fl_quote_is_to_server(view, frame->look, 0, 0))
		return FL_REASON_SHORT_QUOTE;
	return why ? FL_REASON_NOT_OURS : (int)fl_quote_find_client(view, frame->look, 0, 0);
}

/* ICMP to somebody else: an error to a nat flow's client from the servers' side, or word of a narrower way. */
FL_CALL int fl_decide_others_error(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const u8 *icmp = fl_bytes(frame, look->l4, 8);
	u32 methods = view->settings->methods;

	if (!icmp || !fl_icmp_is_error(icmp[0], look->is_v6))
		return FL_REASON_NOT_OURS;
	if (methods & 1u << FL_METHOD_NAT && fl_is_to_us(view, frame)) {
		int why = fl_decide_nat_error(view, frame);

		if (why != FL_REASON_NOT_OURS)
			return why;
	}
	if (!(methods & 1u << FL_METHOD_L3_DSR) || !fl_path_read(view, frame))
		return FL_REASON_NOT_OURS;
	return fl_path_note(view, look, 0, 0);
}

/* A frame to somebody else: a nat server's answer, or none of our business. */
FL_INLINE int fl_decide_others(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	struct fl_key *key = &view->scratch->key;
	const u8 *ether;

	if (look->malformed)
		return FL_REASON_NOT_OURS;
	if (look->is_fragment == FL_LATER_FRAGMENT)
		return fl_decide_others_later(view, frame);
	if (look->kind == FL_KIND_ICMP6) {
		const u8 *icmp = fl_bytes(frame, look->l4, 8);

		if (icmp && icmp[0] == FL_ICMP6_SOLICITATION)
			return FL_REASON_NDP_REPLY;
	}
	if (look->kind == FL_KIND_ICMP || look->kind == FL_KIND_ICMP6)
		return fl_decide_others_error(view, frame);
	if (!fl_is_balanced(frame))
		return FL_REASON_NOT_OURS;
	key->client = look->target;
	key->client_port = look->target_port;
	key->other = look->source;
	key->other_port = look->source_port;
	key->protocol = look->protocol;
	key->is_v6 = look->is_v6;
	view->scratch->orphan = FL_NONE;
	if (!fl_flow_find(view, &look->home, key, FL_SIDE_SERVER, look) && view->scratch->orphan == FL_NONE) {
		if (!(view->settings->methods & 1u << FL_METHOD_NAT) || look->kind != FL_KIND_TCP ||
		    look->is_fragment || !fl_is_to_us(view, frame))
			return FL_REASON_NOT_OURS;
		return fl_trail_follow(view, look, 0, 0);
	}
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether || !fl_is_to_us(view, frame))
		return FL_REASON_NOT_OURS;
	if (ether[6] & 1) /* an ICMP error would go to a group */
		return FL_REASON_BAD_SOURCE;
	return view->scratch->orphan == FL_NONE ? FL_REASON_SERVER_HIT : fl_orphan_look(view, look, FL_SIDE_SERVER, 0);
}

/* Nothing may change any more, nor may the host take what is ours: it is dropped, and nothing else is touched. */
FL_CALL int fl_decide_frozen(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;

	if (look->vip_flags)
		return FL_REASON_HANDOVER;
	if (look->malformed || !look->l3 || !fl_is_balanced(frame))
		return FL_REASON_NOT_OURS;
	return fl_home_match(view, &look->home, look->home.tag) ? FL_REASON_HANDOVER : FL_REASON_NOT_OURS;
}

/* The first fragment goes on, and so do the others then. */
FL_INLINE int fl_decide_first(const struct fl_view *view, struct fl_look *look, int reason)
{
	if (reason != FL_REASON_CLIENT_HIT && reason != FL_REASON_NEW_FLOW && reason != FL_REASON_SERVER_HIT &&
	    reason != FL_REASON_UNTRACKED)
		return reason;
	return fl_datagram_enter(view, look, reason, 0);
}

#define FL_OPTION_LOOSE_ROUTE 131
#define FL_OPTION_STRICT_ROUTE 137

/* Does an IPv4 header have an option by which its sender chooses the way (RFC 791 §3.1, RFC 7126 §4.3)? One that cannot be
 * walked to its end is judged by what comes before. */
FL_CALL int fl_has_source_route(const struct fl_view *view, struct fl_frame *frame)
{
	const struct fl_look *look = frame->look;
	u32 at = look->l3 + 20;

	for (int i = 0; i < 40; i++) {
		const u8 *option;

		/* By way of memory, or the verifier would follow each sum of lengths that may be. */
		fl_store(&view->scratch->option, at);
		at = fl_load(&view->scratch->option);
		option = at < look->l4 ? fl_bytes(frame, at, 2) : NULL;
		if (!option || option[0] == 0 || (option[0] != 1 && option[1] < 2))
			return 0;
		if (option[0] == FL_OPTION_LOOSE_ROUTE || option[0] == FL_OPTION_STRICT_ROUTE)
			return 1;
		at += option[0] == 1 ? 1 : option[1];
	}
	return 0;
}

/* What the frame is. A reason whose verdict is to forward or to answer still has to be carried out. */
FL_INLINE int fl_decide(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	int reason;

	if (FL_UNLIKELY(view->settings->is_active != FL_ACTIVE))
		return view->settings->is_active == FL_FROZEN ? fl_decide_frozen(view, frame) : FL_REASON_STANDBY;
	if (look->kind == FL_KIND_ARP)
		return FL_REASON_ARP_REPLY;
	if (!look->l3)
		return look->malformed ? look->malformed : FL_REASON_NOT_OURS;
	/* By way of memory, or the verifier would follow the rest once for each way the answer is found. */
	fl_store(&view->scratch->is_routed, 0U);
	fl_store(&view->scratch->trailing, (u32)FL_TRAIL_NONE);
	if (!look->is_v6 && look->l4 > look->l3 + 20 && !look->malformed)
		fl_store(&view->scratch->is_routed, (u32)fl_has_source_route(view, frame));
	if (look->vip_flags && fl_load(&view->scratch->is_routed) && fl_is_to_us(view, frame))
		return FL_REASON_SOURCE_ROUTE;
	reason = look->vip_flags ? fl_decide_ours(view, frame) : fl_decide_others(view, frame);
	if ((reason == FL_REASON_SERVER_HIT || reason == FL_REASON_UNTRACKED_ANSWER ||
	     reason == FL_REASON_ICMP_ERROR) &&
	    fl_load(&view->scratch->is_routed))
		return FL_REASON_SOURCE_ROUTE;
	return look->is_fragment == FL_FIRST_FRAGMENT ? fl_decide_first(view, look, reason) : reason;
}

#endif
