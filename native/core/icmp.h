/*
 * ICMP errors about flows. What an error quotes is looked up in full, addresses, ports and protocol, so that nobody
 * reaches a server or moves an MTU without knowing a flow.
 *
 *   to a VIP, about a dsr server's answer     goes to that server, as its client's frames do
 *   to a tunnel's source, "too big"           noted for the server, and left to the host as well. The client learns of it
 *                                             by its next large packet, which is answered here, with all of it quoted
 */
#ifndef FL_ICMP_H
#define FL_ICMP_H

#include "answer.h"
#include "dsr.h"

/* RFC 792, RFC 4443 §3: destination unreachable, packet too big, time exceeded, parameter problem. */
FL_INLINE int fl_icmp_is_error(u8 type, u32 is_v6)
{
	if (is_v6)
		return type >= 1 && type <= 4;
	return type == FL_ICMP_UNREACHABLE || type == FL_ICMP_TIME_EXCEEDED || type == 12;
}

/* The ends of the TCP or UDP packet quoted at an offset, one from a client or one to it, into the scratch's key and
 * look->home. False: it is neither, or not enough of it is quoted. */
FL_CALL int fl_quote_read(const struct fl_view *view, struct fl_frame *frame, u32 at, u32 is_v6, u32 is_from_client)
{
	struct fl_key *key = &view->scratch->key;
	struct fl_addr *source = is_from_client ? &key->client : &key->other;
	struct fl_addr *target = is_from_client ? &key->other : &key->client;
	const u8 *ip = fl_bytes(frame, at, 20), *ports;
	u32 l4 = at + FL_IPV6_HEADER;

	if (!ip || ip[0] >> 4 != (is_v6 ? 6 : 4))
		return 0;
	key->protocol = is_v6 ? ip[6] : ip[9];
	if (is_v6) {
		ip = fl_bytes(frame, at, FL_IPV6_HEADER);
		if (!ip)
			return 0;
		fl_get_addr(source, ip + 8, 1);
		fl_get_addr(target, ip + 24, 1);
	} else {
		if ((ip[0] & 15) < 5 || fl_get16(ip + 6) & FL_BE16(0x1fff))
			return 0;
		l4 = at + (ip[0] & 15) * 4;
		fl_get_addr(source, ip + 12, 0);
		fl_get_addr(target, ip + 16, 0);
	}
	ports = fl_bytes(frame, l4, 4);
	if (!ports || (key->protocol != FL_PROTOCOL_TCP && key->protocol != FL_PROTOCOL_UDP))
		return 0;
	key->client_port = fl_get16(is_from_client ? ports : ports + 2);
	key->other_port = fl_get16(is_from_client ? ports + 2 : ports);
	key->is_v6 = (u8)is_v6;
	return 1;
}

/* The live flow of the scratch's key, or NULL. */
FL_INLINE struct fl_flow *fl_quote_flow(const struct fl_view *view, struct fl_look *look)
{
	const struct fl_key *key = &view->scratch->key;

	look->home = fl_home_of(view->header->seed, view->header->buckets, &key->client, key->client_port,
				key->protocol, key->is_v6);
	return fl_flow_find(view, &look->home, key, FL_SIDE_CLIENT, look);
}

/* FL_REASON_ICMP_ERROR when what was quoted belongs to a dsr flow, and look->index says to which. */
FL_PART(fl_quote_find, FL_REASON_UNSUPPORTED, no, more)
{
	const struct fl_flow *flow = fl_quote_flow(view, look);

	return flow && flow->flags & FL_FLOW_DSR ? FL_REASON_ICMP_ERROR : FL_REASON_UNSUPPORTED;
}

/* Where the packet lies that a quoted tunnel packet of a kind carries; 0: it is none of that kind. *key is GRE's, or 0. */
FL_INLINE u32 fl_quoted_inside(const struct fl_frame *frame, u32 at, u8 protocol, u8 tunnel, u32 *is_v6, u32 *key)
{
	const u8 *header = fl_bytes(frame, at, 12);

	*is_v6 = protocol == FL_PROTOCOL_IPV6;
	if (!header)
		return 0;
	if (tunnel == FL_TUNNEL_GRE && protocol == FL_PROTOCOL_GRE) {
		u16 flags = fl_get16(header);

		*is_v6 = fl_get16(header + 2) == FL_BE16(FL_ETHERTYPE_IPV6);
		if (flags & ~FL_BE16(FL_GRE_HAS_KEY))
			return 0;
		*key = flags ? fl_get32(header + 4) : 0;
		return at + (flags ? 8 : 4);
	}
	if (tunnel == FL_TUNNEL_GUE && protocol == FL_PROTOCOL_UDP) {
		*is_v6 = header[9] == FL_PROTOCOL_IPV6;
		return at + 8 + FL_GUE_HEADER;
	}
	return tunnel == FL_TUNNEL_IPIP && (protocol == FL_PROTOCOL_IPIP || protocol == FL_PROTOCOL_IPV6) ? at : 0;
}

FL_INLINE u8 fl_tunnel_of_protocol(u8 protocol)
{
	if (protocol == FL_PROTOCOL_GRE)
		return FL_TUNNEL_GRE;
	return protocol == FL_PROTOCOL_UDP ? FL_TUNNEL_GUE : FL_TUNNEL_IPIP;
}

/*
 * Reads "fragmentation needed" or "packet too big" about a tunnel (RFC 1191, RFC 8201) from the frame's own target: its
 * MTU, other end, kind and key into the scratch, and what it carried. False: it is something else, or the packet was no
 * larger than that (RFC 5927 §7.2).
 */
FL_CALL int fl_path_read(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const u8 *icmp = fl_bytes(frame, look->l4, 8);
	u32 at = look->l4 + 8, header = look->is_v6 ? FL_IPV6_HEADER : 20, inside, is_v6 = 0, length;
	const u8 *ip = fl_bytes(frame, at, 20);
	struct fl_scratch *scratch = view->scratch;
	u8 protocol;

	if (!icmp || !ip)
		return 0;
	if (look->is_v6) {
		ip = fl_bytes(frame, at, FL_IPV6_HEADER);
		if (!ip || icmp[0] != FL_ICMP6_TOO_BIG)
			return 0;
		protocol = ip[6];
		scratch->mtu = FL_BE32(fl_get32(icmp + 4));
		length = FL_IPV6_HEADER + FL_BE16(fl_get16(ip + 4));
	} else {
		if (icmp[0] != FL_ICMP_UNREACHABLE || icmp[1] != FL_ICMP_UNREACHABLE_TOO_BIG || ip[0] != 0x45)
			return 0;
		protocol = ip[9];
		scratch->mtu = FL_BE16(fl_get16(icmp + 6));
		length = FL_BE16(fl_get16(ip + 2));
	}
	fl_get_addr(&scratch->one, ip + (look->is_v6 ? 8 : 12), look->is_v6);
	fl_get_addr(&scratch->two, ip + (look->is_v6 ? 24 : 16), look->is_v6);
	scratch->tunnel = fl_tunnel_of_protocol(protocol);
	scratch->tunnel_key = 0;
	inside = fl_quoted_inside(frame, at + header, protocol, scratch->tunnel, &is_v6, &scratch->tunnel_key);
	return inside && length > scratch->mtu && fl_addr_same(&scratch->one, &look->target) &&
	       fl_quote_read(view, frame, inside, is_v6, 1);
}

/*
 * FL_REASON_PATH_MTU when what was read is about a tunnel of ours: the server's way is known to be narrower from now on.
 * Else FL_REASON_NOT_OURS. An MTU below the least that its family may have is taken for that least.
 */
FL_PART(fl_path_note, FL_REASON_NOT_OURS, no, more)
{
	u32 least = look->is_v6 ? FL_IPV6_LEAST : FL_PATH_LEAST, mtu = view->scratch->mtu;
	struct fl_addr *target = &view->scratch->two, *source = &view->scratch->one;
	const struct fl_flow *flow = fl_quote_flow(view, look);
	const struct fl_server *server;
	struct fl_server_state *state;

	if (!flow || !(flow->flags & FL_FLOW_DSR))
		return FL_REASON_NOT_OURS;
	server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + flow->server_slot);
	state = fl_server_state_at(view->region, flow->server_slot);
	if (!server || !state || server->tunnel != view->scratch->tunnel ||
	    (server->tunnel_flags & FL_TUNNEL_KEY ? server->tunnel_key : 0) != view->scratch->tunnel_key ||
	    !fl_addr_same(&server->addr, target) || !fl_tunnel_source(view, server, flow->tag, source) ||
	    !fl_addr_same(source, &look->target))
		return FL_REASON_NOT_OURS;
	mtu = mtu < least ? least : mtu;
	if (!state->path_mtu || mtu <= state->path_mtu || view->now - state->path_tick >= FL_PATH_TICKS) {
		state->path_mtu = mtu;
		state->path_tick = view->now;
	}
	return FL_REASON_PATH_MTU;
}

#endif
