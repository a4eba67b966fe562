/*
 * ICMP errors about flows. What an error quotes is looked up in full, addresses, ports and protocol, so that nobody
 * reaches a server or moves an MTU without knowing a flow.
 *
 *   to a VIP, about a dsr server's answer     goes to that server, as its client's frames do
 *   to a VIP, about a nat server's answer     goes to that server, translated
 *   to a nat flow's client or to full-nat's   goes to that client, translated. Routers on the servers' side send it, about
 *   source, about what went to its server     packets that we sent there
 *   to a tunnel's source, "too big"           noted for the server, and left to the host as well. The client learns of it
 *                                             by its next large packet, which is answered here, with all of it quoted
 *
 * Translated means (RFC 5508 §4): the outer addresses; in the quoted packet addresses, ports and every checksum that is
 * quoted, by what changed and so never repaired; and the ICMP checksum, by all of that. With nat a router keeps its own
 * address, and a server is the VIP to its client. With full-nat the VIP is everybody to the client, and the source to the
 * server: often one router has all of them around it, and drops what comes from elsewhere in its own name. No error
 * changes its flow (RFC 5382 REQ-10), and none is made about one.
 *
 * What quotes too little to find its flow goes nowhere. A quoted packet is read by the parser's rules: behind IPv4 options
 * and IPv6 extension headers, and of fragments the first, which alone has ports.
 */
#ifndef FL_ICMP_H
#define FL_ICMP_H

#include "answer.h"
#include "dsr.h"
#include "limit.h"

/*
 * Walks the extension headers of a quoted IPv6 packet, from the one that the scratch says: in the end quote_l4 and
 * key.protocol are what comes behind them. 0, or why a flow cannot be found by it. By way of memory, or the verifier would
 * follow each sum of lengths that may be.
 */
FL_INLINE int fl_quote_walk(const struct fl_frame *frame, struct fl_scratch *scratch)
{
	for (u32 i = 0; i < FL_EXTENSIONS_MAX + 1; i++) {
		u32 at = fl_load(&scratch->quote_l4);
		u8 number = fl_load(&scratch->key.protocol);
		const u8 *extension;

		if (!fl_is_extension(number))
			return 0;
		extension = fl_bytes(frame, at, 8);
		if (!extension || at + 8 > frame->look->end)
			return FL_REASON_SHORT_QUOTE;
		if (i == FL_EXTENSIONS_MAX || !fl_extension_is_good(extension, number, i))
			return FL_REASON_UNSUPPORTED;
		fl_store(&scratch->quote_l4, at + fl_extension_length(extension, number));
		fl_store(&scratch->key.protocol, extension[0]);
		if (number != FL_PROTOCOL_FRAGMENT || !fl_extension_is_fragment(extension))
			continue;
		scratch->is_quote_later = (fl_get16(extension + 2) & FL_BE16(0xfff8)) != 0;
		return 0;
	}
	return 0;
}

/*
 * The ends of the TCP or UDP packet quoted at an offset, one from a client or one to it, into the scratch's key, and where its
 * ports are. 0, or why not: it is neither, or not the 8 octets behind its IP header are quoted, which a fragment that is not
 * its datagram's first does not even have.
 */
FL_INLINE int fl_read_quote(const struct fl_frame *frame, struct fl_scratch *scratch, u32 at, u32 is_v6,
			    u32 is_from_client)
{
	struct fl_key *key = &scratch->key;
	struct fl_addr *source = is_from_client ? &key->client : &key->other;
	struct fl_addr *target = is_from_client ? &key->other : &key->client;
	const u8 *ip = fl_bytes(frame, at, 20), *ports;
	int why = 0;
	u32 l4;

	fl_store(&scratch->quote_l4, 0U);
	if (!ip || at + 20 > frame->look->end)
		return FL_REASON_SHORT_QUOTE;
	if (ip[0] >> 4 != (is_v6 ? 6 : 4))
		return FL_REASON_UNSUPPORTED;
	if (is_v6) {
		ip = fl_bytes(frame, at, FL_IPV6_HEADER);
		if (!ip || at + FL_IPV6_HEADER > frame->look->end)
			return FL_REASON_SHORT_QUOTE;
		fl_get_addr(source, ip + 8, 1);
		fl_get_addr(target, ip + 24, 1);
		scratch->is_quote_later = 0;
		fl_store(&scratch->quote_l4, at + FL_IPV6_HEADER);
		fl_store(&key->protocol, ip[6]);
		why = fl_quote_walk(frame, scratch);
	} else {
		if ((ip[0] & 15) < 5)
			return FL_REASON_UNSUPPORTED;
		fl_get_addr(source, ip + 12, 0);
		fl_get_addr(target, ip + 16, 0);
		scratch->is_quote_later = (fl_get16(ip + 6) & FL_BE16(0x1fff)) != 0;
		fl_store(&scratch->quote_l4, at + (ip[0] & 15) * 4);
		fl_store(&key->protocol, ip[9]);
	}
	key->is_v6 = (u8)is_v6;
	if (why)
		return why;
	if (key->protocol != FL_PROTOCOL_TCP && key->protocol != FL_PROTOCOL_UDP)
		return FL_REASON_UNSUPPORTED;
	l4 = fl_load(&scratch->quote_l4);
	ports = fl_bytes(frame, l4, 8);
	if (!ports || l4 + 8 > frame->look->end || scratch->is_quote_later)
		return FL_REASON_SHORT_QUOTE;
	key->client_port = fl_get16(is_from_client ? ports : ports + 2);
	key->other_port = fl_get16(is_from_client ? ports + 2 : ports);
	return 0;
}

#ifdef __bpf__
/* bpf/fairlead.bpf.c: the same in a global function. The verifier would follow it anew from each of those that ask. */
static int fl_quote_read(const struct fl_view *view, struct fl_frame *frame, u32 at, u32 is_v6, u32 is_from_client);
#else
#define fl_quote_read(view, frame, at, is_v6, is_from_client) \
	fl_read_quote(frame, (view)->scratch, at, is_v6, is_from_client)
#endif

/* The live flow of the scratch's key, as seen from a side, or NULL. */
FL_INLINE struct fl_flow *fl_quote_flow(const struct fl_view *view, struct fl_look *look, enum fl_side side)
{
	const struct fl_key *key = &view->scratch->key;

	look->home = fl_home_of(view->header->seed, view->header->buckets, &key->client, key->client_port,
				key->protocol, key->is_v6);
	return fl_flow_find(view, &look->home, key, side, look);
}

/* FL_REASON_ICMP_ERROR when the packet quoted to one of our addresses came from there for a flow: a VIP's answer to its
 * client. look->index says which flow, the scratch's error_side whence the error comes. */
FL_PART(fl_quote_find, FL_REASON_UNSUPPORTED, no, more)
{
	view->scratch->error_side = FL_SIDE_CLIENT;
	if (!fl_addr_same(&view->scratch->key.other, &look->target))
		return FL_REASON_UNSUPPORTED;
	return fl_quote_flow(view, look, FL_SIDE_CLIENT) ? FL_REASON_ICMP_ERROR : FL_REASON_UNSUPPORTED;
}

/* The same for what full-nat's source sent to a server. */
FL_PART(fl_quote_find_local, FL_REASON_UNSUPPORTED, no, more)
{
	const struct fl_key *key = &view->scratch->key;
	struct fl_flow *flow;

	view->scratch->error_side = FL_SIDE_SERVER;
	if (!fl_addr_same(&key->other, &look->target))
		return FL_REASON_UNSUPPORTED;
	flow = fl_flow_match_local(view, look, &key->client, key->client_port, &key->other, key->other_port,
				   key->protocol);
	if (!flow || !fl_flow_if_alive(view, flow, look->index, look->control))
		return FL_REASON_UNSUPPORTED;
	return FL_REASON_ICMP_ERROR;
}

/* The same for what a nat flow's client sent to its server. */
FL_PART(fl_quote_find_client, FL_REASON_NOT_OURS, no, more)
{
	view->scratch->error_side = FL_SIDE_SERVER;
	if (!fl_addr_same(&view->scratch->key.client, &look->target))
		return FL_REASON_NOT_OURS;
	return fl_quote_flow(view, look, FL_SIDE_SERVER) ? FL_REASON_ICMP_ERROR : FL_REASON_NOT_OURS;
}

/* Does what is quoted, too little of it, say at least that the frame's target sent it to a nat server? Nobody who gets it can
 * tell what it is about either, and as it is it would show the server's address. */
FL_PART(fl_quote_is_to_server, 0, no, more)
{
	const struct fl_settings *settings = view->settings;
	u32 family = look->is_v6 & 1;

	if (!view->scratch->quote_l4 || !fl_addr_same(&view->scratch->key.client, &look->target))
		return 0;
	view->scratch->one = view->scratch->key.other;
	return settings->nat_count[family] &&
	       fl_access_is_allowed(view, look, settings->nat_first[family], settings->nat_count[family]);
}

/* What becomes of an ICMP error to one of our addresses. */
FL_CALL int fl_decide_error(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	int why = fl_quote_read(view, frame, look->l4 + 8, look->is_v6, 0);

	if (why)
		return why;
	why = fl_quote_find(view, look, 0, 0);
	if (why != FL_REASON_ICMP_ERROR && look->vip_flags & (FL_VIP_SOURCE | FL_VIP_HAIRPIN))
		why = fl_quote_find_local(view, look, 0, 0);
	return why;
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
	       !fl_quote_read(view, frame, inside, is_v6, 1);
}

/*
 * FL_REASON_PATH_MTU when what was read is about a tunnel of ours: the server's way is known to be narrower from now on.
 * Else FL_REASON_NOT_OURS. An MTU below the least that its family may have is taken for that least.
 */
FL_PART(fl_path_note, FL_REASON_NOT_OURS, no, more)
{
	u32 least = look->is_v6 ? FL_IPV6_LEAST : FL_PATH_LEAST, mtu = view->scratch->mtu;
	struct fl_addr *target = &view->scratch->two, *source = &view->scratch->one;
	const struct fl_flow *flow = fl_quote_flow(view, look, FL_SIDE_CLIENT);
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
	if (!state->path_mtu || mtu <= state->path_mtu || fl_elapsed(view->now, state->path_tick) >= FL_PATH_TICKS) {
		state->path_mtu = mtu;
		state->path_tick = view->now;
	}
	return FL_REASON_PATH_MTU;
}

/* The packet that an error quotes: from the scratch's `one` and source port to its `two` and target port from now on. In
 * *change what that is to a sum over the octets. False when the frame is shorter than it was read. */
FL_INLINE int fl_rewrite_quote(const struct fl_view *view, struct fl_frame *frame, u64 *change)
{
	struct fl_look *look = frame->look;
	const struct fl_ends *ends = &view->scratch->ends;
	const struct fl_addr *source = &view->scratch->one, *target = &view->scratch->two;
	u32 at = look->l4 + 8, l4, field;
	u8 protocol;
	struct fl_addr before;
	u8 *ip, *ports, *checksum;
	u64 addresses, changed;
	u16 old, new;

	if (look->is_v6) {
		ip = fl_bytes(frame, at, FL_IPV6_HEADER);
		if (!ip)
			return 0;
		fl_get_addr(&before, ip + 8, 1);
		addresses = fl_change_addr(&before, source, 1);
		fl_get_addr(&before, ip + 24, 1);
		addresses += fl_change_addr(&before, target, 1);
		fl_hide(addresses); /* summed up now, or clang keeps all octets of before on its stack */
		fl_put_addr(ip + 8, source, 1);
		fl_put_addr(ip + 24, target, 1);
		*change = addresses;
	} else {
		ip = fl_bytes(frame, at, 20);
		if (!ip)
			return 0;
		addresses = fl_change32(fl_get32(ip + 12), source->word[0]) +
			    fl_change32(fl_get32(ip + 16), target->word[0]);
		fl_put_addr(ip + 12, source, 0);
		fl_put_addr(ip + 16, target, 0);
		old = fl_get16(ip + 10);
		new = fl_checksum_full(old, addresses);
		fl_put16(ip + 10, new);
		*change = addresses + fl_change16(old, new);
	}
	l4 = view->scratch->quote_l4;
	protocol = view->scratch->key.protocol;
	ports = fl_bytes(frame, l4, 8);
	if (!ports)
		return 0;
	changed = fl_change16(fl_get16(ports), ends->source_port) + fl_change16(fl_get16(ports + 2), ends->target_port);
	fl_put16(ports, ends->source_port);
	fl_put16(ports + 2, ends->target_port);
	*change += changed;
	field = l4 + (protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM);
	checksum = field + 2 <= look->end ? fl_bytes(frame, field, 2) : NULL;
	if (!checksum)
		return 1;
	old = fl_get16(checksum);
	new = protocol == FL_PROTOCOL_TCP ? fl_checksum_full(old, addresses + changed)
					  : fl_checksum_udp(old, addresses + changed);
	fl_put16(checksum, new);
	*change += fl_change16(old, new);
	return 1;
}

/* An ICMP error whose quoted packet has changed by this much: its own checksum, then the outer header with the scratch's
 * ends, and one hop less to live. False when the frame is too short. */
FL_INLINE int fl_rewrite_error(const struct fl_view *view, struct fl_frame *frame, u64 quote)
{
	struct fl_look *look = frame->look;
	const struct fl_ends *ends = &view->scratch->ends;
	u64 addresses = fl_change_addr(&look->source, &ends->source, look->is_v6) +
			fl_change_addr(&look->target, &ends->target, look->is_v6);
	u16 old = (u16)(look->ttl << 8), new = (u16)((look->ttl - 1) << 8);
	u8 *icmp;

	if (look->is_v6) /* all else is in the ICMP checksum */
		fl_change_packet(frame, fl_change16(old, new));
	icmp = fl_bytes(frame, look->l4, 8);
	if (!icmp)
		return 0;
	fl_put16(icmp + 2, fl_checksum_full(fl_get16(icmp + 2), quote + (look->is_v6 ? addresses : 0)));
	return fl_rewrite_ip(frame, ends, addresses);
}

/* What an error from the servers' side becomes for the client, or one from the clients' side for the server. */
FL_INLINE void fl_translate_error(const struct fl_view *view, struct fl_look *look, const struct fl_flow *flow)
{
	struct fl_ends *ends = &view->scratch->ends;
	struct fl_addr *source = &view->scratch->one, *target = &view->scratch->two;
	int is_full_nat = flow->flags & FL_FLOW_FULL_NAT;

	ends->source = look->source;
	if (view->scratch->error_side == FL_SIDE_SERVER) {
		fl_flow_addr(view, flow, look->index, FL_WHICH_SERVER, source);
		fl_flow_addr(view, flow, look->index, FL_WHICH_VIP, target);
		if (is_full_nat || fl_addr_same(source, &look->source))
			ends->source = *target;
		fl_flow_addr(view, flow, look->index, FL_WHICH_CLIENT, source);
		ends->target = *source;
		ends->source_port = flow->client_port;
		ends->target_port = flow->vip_port;
		return;
	}
	fl_flow_addr(view, flow, look->index, FL_WHICH_SERVER, source);
	fl_flow_addr(view, flow, look->index, is_full_nat ? FL_WHICH_LOCAL : FL_WHICH_CLIENT, target);
	if (is_full_nat)
		ends->source = *target;
	ends->target = *source;
	ends->source_port = flow->server_port;
	ends->target_port = flow->local_port;
}

/* An ICMP error about a nat flow goes to the flow's other side: 0, or what hinders it, and then nothing has changed. */
FL_INLINE int fl_pass_error(const struct fl_view *view, struct fl_frame *frame, const struct fl_flow *flow,
			    struct fl_result *result)
{
	struct fl_look *look = frame->look;
	int is_to_client = view->scratch->error_side == FL_SIDE_SERVER;
	const u64 *hops = fl_hops_at(view->region, flow->server_slot);
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 len = look->end;
	union {
		u64 word;
		u8 octet[8];
	} hop;
	u64 change;

	if (!hops)
		return FL_REASON_NO_NEIGHBOUR;
	hop.word = fl_load(hops);
	if (is_to_client) {
		__builtin_memcpy(hop.octet, flow->client_mac, 6);
		hop.octet[6] = flow->client_interface;
		hop.octet[7] = FL_HOP_KNOWN;
	}
	out = fl_interface_of(view, hop.octet[6]);
	if (!fl_hop_is_known(hop.word) || !out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	if (look->ttl <= 1)
		return FL_REASON_EXPIRED;
	if (fl_hinder(view, frame, out->mtu))
		return FL_REASON_OVERSIZE;
	fl_translate_error(view, look, flow);
	if (FL_UNLIKELY(!fl_flow_is_same(flow, look)))
		return FL_REASON_NO_FLOW;
	if (!fl_rewrite_quote(view, frame, &change) || !fl_rewrite_error(view, frame, change) ||
	    !fl_rewrite_macs(frame, hop.octet, out->mac))
		return FL_REASON_SHORT_FRAME;
	traffic = fl_traffic_of(view, flow->server_slot);
	if (traffic) {
		*(is_to_client ? &traffic->out_frames : &traffic->in_frames) += 1;
		*(is_to_client ? &traffic->out_octets : &traffic->in_octets) += len;
	}
	result->out_interface = hop.octet[6];
	result->out_ifindex = out->ifindex;
	return 0;
}

#endif
