/*
 * The short way, which nearly all frames take: of a flow that stands, plain headers, nothing to change but when it was
 * last seen.
 *
 * The problem: the long way answers every question there is about a frame, and most frames raise none.
 *
 * The idea: read the headers with two checks, take the direction from the side the frame comes in by, and look at the
 * two places in the table where its flow most likely is. The whole tuple is confirmed there, and whoever made the flow
 * has asked all questions about its ends. Any doubt, and the frame is looked at as if nothing had been. What is decided
 * here is carried out as any decision.
 */
#ifndef FL_SHORT_H
#define FL_SHORT_H

#include "state.h"

/* Whole, unfragmented, with nothing behind it but the padding of a short frame, and with hops to go; TCP in the middle of a
 * connection, or UDP. Fills what the look says of it. */
FL_INLINE int fl_short_read(struct fl_frame *frame, const int is_v6)
{
	const u32 at = FL_ETHER_HEADER + (is_v6 ? FL_IPV6_HEADER : 20);
	struct fl_look *look = frame->look;
	const u8 *ip = fl_bytes(frame, FL_ETHER_HEADER, at - FL_ETHER_HEADER + 8), *l4, *tcp;
	u32 length;

	if (!ip)
		return 0;
	look->tcp_flags = 0;
	l4 = ip + (at - FL_ETHER_HEADER);
	if (is_v6) {
		length = FL_BE16(fl_get16(ip + 4));
		look->protocol = ip[6];
		look->ttl = ip[7];
		if (ip[0] >> 4 != 6)
			return 0;
	} else {
		u64 sum =
			(u64)fl_get32(ip) + fl_get32(ip + 4) + fl_get32(ip + 8) + fl_get32(ip + 12) + fl_get32(ip + 16);
		u32 total = FL_BE16(fl_get16(ip + 2));

		length = total - 20;
		look->protocol = ip[9];
		look->ttl = ip[8];
		if (ip[0] != 0x45 || fl_get16(ip + 6) & FL_BE16(0x3fff) || total < 20 || fl_fold(sum) != 0xffff)
			return 0;
	}
	look->end = at + length;
	if (frame->len != look->end && (frame->len < look->end || frame->len > FL_ETHER_LEAST))
		return 0;
	if (look->ttl <= 1 || length < 8)
		return 0;
	if (look->protocol == FL_PROTOCOL_TCP) {
		tcp = fl_bytes(frame, at, 20);
		if (!tcp || length < 20 || (tcp[12] >> 4) < 5 || (u32)(tcp[12] >> 4) * 4 > length ||
		    (tcp[13] & (FL_TCP_SYN | FL_TCP_FIN | FL_TCP_RST | FL_TCP_ACK)) != FL_TCP_ACK)
			return 0;
		look->kind = FL_KIND_TCP;
		look->tcp_flags = tcp[13];
		look->tcp_acknowledged = fl_get32(tcp + 8);
	} else if (look->protocol == FL_PROTOCOL_UDP) {
		if (FL_BE16(fl_get16(l4 + 4)) < 8 || FL_BE16(fl_get16(l4 + 4)) > length)
			return 0;
		look->kind = FL_KIND_UDP;
	} else {
		return 0;
	}
	fl_get_addr(&look->source, ip + (is_v6 ? 8 : 12), is_v6);
	fl_get_addr(&look->target, ip + (is_v6 ? 24 : 16), is_v6);
	look->is_v6 = is_v6;
	look->is_fragment = 0;
	look->malformed = 0;
	look->vip_flags = 0;
	look->l3 = FL_ETHER_HEADER;
	look->l4 = at;
	look->source_port = fl_get16(l4);
	look->target_port = fl_get16(l4 + 2);
	return 1;
}

/* Still a flow, and one that plain frames do not change? */
FL_INLINE int fl_short_stands(const struct fl_view *view, const struct fl_flow *flow, u32 control, enum fl_side side)
{
	u32 state = control & FL_STATE_MASK;

	if (state != FL_STATE_ESTABLISHED && state != FL_STATE_UDP_TWO_WAY &&
	    (state != FL_STATE_UDP_ONE_WAY || side == FL_SIDE_SERVER ||
	     (flow->flags & FL_FLOW_DSR && fl_elapsed(view->now, flow->created) >= FL_SETTLED)))
		return 0;
	return !fl_flow_is_expired(view, flow, control) && fl_flow_is_valid(view, flow);
}

/* The frame's flow, seen from this side, if it is where it most likely is and stands; else NULL. */
FL_INLINE struct fl_flow *fl_short_find(const struct fl_view *view, struct fl_look *look, enum fl_side side,
					const int is_v6)
{
	const struct fl_addr *client = side == FL_SIDE_CLIENT ? &look->source : &look->target;
	const struct fl_addr *other = side == FL_SIDE_CLIENT ? &look->target : &look->source;
	u16 client_port = side == FL_SIDE_CLIENT ? look->source_port : look->target_port;
	u16 other_port = side == FL_SIDE_CLIENT ? look->target_port : look->source_port;
	struct fl_home home =
		fl_home_of(view->header->seed, view->header->buckets, client, client_port, look->protocol, is_v6);

	for (u32 choice = 0; choice < 2; choice++) {
		u32 index = fl_home_likely(&home, choice), control;
		struct fl_flow *flow = fl_flows_at(view->region, index);

		if (!flow)
			return NULL;
		if (flow->client_port != client_port ||
		    (side == FL_SIDE_CLIENT ? flow->vip_port : flow->server_port) != other_port ||
		    flow->client != client->word[0])
			continue;
		control = fl_load(&flow->control);
		if (flow->protocol != look->protocol || (flow->flags & FL_FLOW_V6 ? 1 : 0) != is_v6 ||
		    (side == FL_SIDE_SERVER && flow->flags & (FL_FLOW_FULL_NAT | FL_FLOW_DSR)) ||
		    (side == FL_SIDE_CLIENT ? flow->vip : flow->server) != other->word[0])
			continue;
		if (is_v6) {
			const struct fl_flow6 *wide = fl_flows6_at(view->region, index);

			if (!wide || !fl_addr_same(&wide->client, client) ||
			    !fl_addr_same(side == FL_SIDE_CLIENT ? &wide->vip : &wide->server, other))
				continue;
		}
		look->index = index;
		look->control = control;
		return fl_short_stands(view, flow, control, side) ? flow : NULL;
	}
	return NULL;
}

/* The full-nat flow of a server's frame, if it stands. */
FL_INLINE struct fl_flow *fl_short_find_return(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_flow *flow = fl_flow_match_return(view, frame);

	return flow && fl_short_stands(view, flow, frame->look->control, FL_SIDE_SERVER) ? flow : NULL;
}

FL_INLINE struct fl_flow *fl_short_way_of(const struct fl_view *view, struct fl_frame *frame,
					  const struct fl_interface *interface, u32 *reason, const int is_v6)
{
	u32 is_alone = view->settings->interface_count == 1, methods = view->settings->methods;
	struct fl_flow *flow = NULL;

	if (!fl_short_read(frame, is_v6))
		return NULL;
	*reason = FL_REASON_CLIENT_HIT;
	if (is_alone || !interface->is_inside)
		flow = fl_short_find(view, frame->look, FL_SIDE_CLIENT, is_v6);
	if (flow || (!is_alone && !interface->is_inside))
		return flow;
	*reason = FL_REASON_SERVER_HIT;
	if (methods & 1u << FL_METHOD_NAT)
		flow = fl_short_find(view, frame->look, FL_SIDE_SERVER, is_v6);
	if (!flow && methods & 1u << FL_METHOD_FULL_NAT)
		flow = fl_short_find_return(view, frame);
	return flow;
}

/* The frame's flow; *reason is FL_REASON_CLIENT_HIT or FL_REASON_SERVER_HIT, and the look says enough to carry that out.
 * NULL: the frame is to be looked at. */
FL_INLINE struct fl_flow *fl_short_way(const struct fl_view *view, struct fl_frame *frame, u32 *reason)
{
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);

	if (!ether || !interface || view->settings->is_active != FL_ACTIVE || ether[6] & 1 ||
	    fl_get32(ether) != fl_get32(interface->mac) || fl_get16(ether + 4) != fl_get16(interface->mac + 4))
		return NULL;
	if (fl_get16(ether + 12) == FL_BE16(FL_ETHERTYPE_IPV4))
		return fl_short_way_of(view, frame, interface, reason, 0);
	if (fl_get16(ether + 12) == FL_BE16(FL_ETHERTYPE_IPV6))
		return fl_short_way_of(view, frame, interface, reason, 1);
	return NULL;
}

#ifndef __bpf__

/* Has what fl_short_way() will read of the table on its way. False: nothing to be had in one step. */
FL_INLINE int fl_short_fetch(const struct fl_view *view, struct fl_frame *frame)
{
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	struct fl_look *look = frame->look;
	struct fl_home home;
	int is_from_server;

	if (!ether || !interface)
		return 0;
	is_from_server = interface->is_inside && view->settings->interface_count > 1;
	if (is_from_server && !(view->settings->methods & 1u << FL_METHOD_NAT))
		return 0;
	if (!(fl_get16(ether + 12) == FL_BE16(FL_ETHERTYPE_IPV6) ? fl_short_read(frame, 1) : fl_short_read(frame, 0)))
		return 0;
	home = fl_home_of(view->header->seed, view->header->buckets, is_from_server ? &look->target : &look->source,
			  is_from_server ? look->target_port : look->source_port, look->protocol, look->is_v6);
	for (u32 choice = 0; choice < 2; choice++) {
		fl_prefetch(fl_flows_at(view->region, fl_home_likely(&home, choice)));
		if (look->is_v6)
			fl_prefetch(fl_flows6_at(view->region, fl_home_likely(&home, choice)));
	}
	return 1;
}

#endif

#endif
