/*
 * Direct server return: the client's packet goes to its server as it came, and the server answers past us.
 *
 * l2-dsr changes MACs and nothing else. l3-dsr puts outer headers before the packet, which stays as it is, octet for
 * octet, but for the segment size that a SYN announces:
 *
 *     Ethernet | IPv4 or IPv6 | GRE, with or without key | packet        RFC 2784, RFC 2890
 *              | IPv4 or IPv6                            | packet        RFC 2003, RFC 4213, RFC 2473
 *              | IPv4 or IPv6 | UDP, GUE                 | packet        draft-ietf-intarea-gue-09, version 0
 *
 * The outer header: never fragmented on the way (DF, id 0: RFC 6864 §4.1), the packet's ECN and, unless the service has
 * its own, its DSCP (RFC 6040 §4.1, normal mode) and TTL. What spreads flows over queues and paths (GUE's source port,
 * IPv6's flow label, the low bits of the source) comes from the flow's tag. GUE's checksum is 0: RFC 6935 lets a tunnel
 * have none over IPv6 too, the packet inside has its own.
 *
 * A server that does not own the VIP may send the packet back by its gateway, which may be us. With l2-dsr it comes from
 * the MAC it went to. In a tunnel's case it may come by the client's own router, so a flow remembers its last frame while
 * no more than a question is out (a SYN; for UDP any frame): the same frame with fewer hops to go has come back.
 */
#ifndef FL_DSR_H
#define FL_DSR_H

#include "fit.h"
#include "rewrite.h"
#include "state.h"

#define FL_PROTOCOL_IPIP 4
#define FL_PROTOCOL_IPV6 41
#define FL_PROTOCOL_GRE 47

#define FL_GRE_HAS_KEY 0x2000
#define FL_GUE_HEADER 4
#define FL_PORT_DYNAMIC 49152 /* RFC 6335; RFC 7510 §3.1 has tunnels take their entropy from there */

#define FL_PATH_LEAST 576  /* RFC 791 §3.2: what every host takes, and so the least that a router is believed */
#define FL_SURELY_FITS 512 /* octets: a frame that with any tunnel is no longer than that */
#define FL_IPV6_LEAST 1280

FL_INLINE u32 fl_tunnel_overhead(const struct fl_server *server)
{
	u32 octets = server->flags & FL_SERVER_V6 ? FL_IPV6_HEADER : 20;

	if (server->tunnel == FL_TUNNEL_GRE)
		octets += server->tunnel_flags & FL_TUNNEL_KEY ? 8 : 4;
	else if (server->tunnel == FL_TUNNEL_GUE)
		octets += 8 + FL_GUE_HEADER;
	return octets;
}

/* The largest packet that a tunnel takes to its server out of this interface. IPv6 has a least: a path that carries less
 * must mend that itself. */
FL_INLINE u32 fl_tunnel_room(const struct fl_view *view, const struct fl_server *server, u32 server_slot,
			     const struct fl_interface *out, u32 is_v6)
{
	const struct fl_server_state *state = fl_server_state_at(view->region, server_slot);
	u32 room = out->mtu, overhead = fl_tunnel_overhead(server);

	if (state && state->path_mtu && state->path_mtu < room &&
	    fl_elapsed(view->now, state->path_tick) < FL_PATH_TICKS)
		room = state->path_mtu;
	room = room > overhead ? room - overhead : 0;
	return is_v6 && room < FL_IPV6_LEAST ? FL_IPV6_LEAST : room;
}

/* The address that a flow's tunnel leaves from. False: the region lacks it. */
FL_INLINE int fl_tunnel_source(const struct fl_view *view, const struct fl_server *server, u16 tag,
			       struct fl_addr *addr)
{
	const struct fl_addr *source =
		fl_sources_at(view->region, view->settings->first[FL_SECTION_SOURCES] + server->source);
	u32 bits = FL_BE32(tag & ((1u << (server->source_bits & 31)) - 1));

	if (!source)
		return 0;
	*addr = *source;
	if (server->flags & FL_SERVER_V6)
		addr->word[3] |= bits;
	else
		addr->word[0] |= bits;
	return 1;
}

/* What stands between the outer IP header and the packet. Returns its protocol. */
FL_INLINE u8 fl_put_tunnel(u8 *at, const struct fl_server *server, u32 is_v6, u32 length, u16 tag)
{
	u8 inner = is_v6 ? FL_PROTOCOL_IPV6 : FL_PROTOCOL_IPIP;

	if (server->tunnel == FL_TUNNEL_GRE) {
		fl_put16(at, server->tunnel_flags & FL_TUNNEL_KEY ? FL_BE16(FL_GRE_HAS_KEY) : 0);
		fl_put16(at + 2, is_v6 ? FL_BE16(FL_ETHERTYPE_IPV6) : FL_BE16(FL_ETHERTYPE_IPV4));
		if (server->tunnel_flags & FL_TUNNEL_KEY)
			fl_put32(at + 4, server->tunnel_key);
		return FL_PROTOCOL_GRE;
	}
	if (server->tunnel == FL_TUNNEL_GUE) {
		fl_put16(at, FL_BE16(FL_PORT_DYNAMIC | (tag & 0x3fff)));
		fl_put16(at + 2, server->tunnel_port);
		fl_put16(at + 4, FL_BE16(8 + FL_GUE_HEADER + length));
		fl_put16(at + 6, 0);
		fl_put32(at + 8, FL_BE32((u32)inner << 16));
		return FL_PROTOCOL_UDP;
	}
	return inner;
}

/* Puts a server's tunnel before the packet: 0, or what hinders it, and then nothing has changed. */
FL_INLINE int fl_wrap(const struct fl_view *view, struct fl_frame *frame, const struct fl_server *server, u16 tag)
{
	struct fl_look *look = frame->look;
	u32 is_outer_v6 = server->flags & FL_SERVER_V6 ? 1 : 0, l3 = look->l3;
	u32 header = is_outer_v6 ? FL_IPV6_HEADER : 20, overhead = fl_tunnel_overhead(server);
	u8 ttl = server->tunnel_ttl ? server->tunnel_ttl : look->ttl, protocol;
	struct fl_addr *source = &view->scratch->ends.source;
	u8 *ip = fl_bytes(frame, l3, 20), *tunnel, *type;
	u32 length, class;

	if (!ip)
		return FL_REASON_SHORT_FRAME;
	length = look->is_v6 ? FL_IPV6_HEADER + FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2));
	class = look->is_v6 ? FL_BE16(fl_get16(ip)) >> 4 & 0xff : ip[1];
	if (server->tunnel_dscp != FL_TUNNEL_INNER)
		class = (u32)server->tunnel_dscp << 2 | (class & 3);
	if (length + overhead > 0xffff)
		return FL_REASON_OVERSIZE;
	if (!fl_tunnel_source(view, server, tag, source))
		return FL_REASON_NO_SERVER;
	fl_cut_tail(frame, look->end, 0);
	if (fl_push(frame, l3, overhead, server->tunnel, is_outer_v6) < 0)
		return FL_REASON_NO_ROOM;
	tunnel = fl_bytes(frame, l3 + header, 12);
	if (!tunnel)
		return FL_REASON_SHORT_FRAME;
	protocol = fl_put_tunnel(tunnel, server, look->is_v6, length, tag);
	type = fl_bytes(frame, l3 - 2, 2);
	ip = fl_bytes(frame, l3, 20);
	if (!type || !ip)
		return FL_REASON_SHORT_FRAME;
	if (is_outer_v6) {
		ip = fl_bytes(frame, l3, FL_IPV6_HEADER);
		if (!ip)
			return FL_REASON_SHORT_FRAME;
		fl_put16(type, FL_BE16(FL_ETHERTYPE_IPV6));
		fl_put32(ip, FL_BE32(0x60000000 | class << 20 | (u32)(tag & 15) << 16 | tag));
		fl_put16(ip + 4, FL_BE16(length + overhead - FL_IPV6_HEADER));
		ip[6] = protocol;
		ip[7] = ttl;
		fl_put_addr(ip + 8, source, 1);
		fl_put_addr(ip + 24, &server->addr, 1);
		return 0;
	}
	fl_put16(type, FL_BE16(FL_ETHERTYPE_IPV4));
	fl_put32(ip, FL_BE32(0x45000000 | class << 16 | (length + overhead)));
	fl_put32(ip + 4, FL_BE32(0x4000));
	fl_put16(ip + 8, FL_BE16(ttl << 8 | protocol));
	fl_put16(ip + 10, 0);
	fl_put_addr(ip + 12, source, 0);
	fl_put_addr(ip + 16, &server->addr, 0);
	fl_put16(ip + 10, (u16)~fl_fold((u64)fl_get32(ip) + fl_get32(ip + 4) + fl_get32(ip + 8) + fl_get32(ip + 12) +
					fl_get32(ip + 16)));
	return 0;
}

/* Has a SYN announce segments of `most` octets, if it announces larger ones (RFC 9293 §3.7.1). */
FL_INLINE void fl_clamp_segments(const struct fl_view *view, struct fl_frame *frame, u32 most)
{
	struct fl_look *look = frame->look;
	const u8 *tcp = fl_bytes(frame, look->l4, 20);
	u32 header = tcp ? (u32)(tcp[12] >> 4) * 4 : 0, at = 20;
	u64 change;
	u8 *option;

	for (int i = 0; i < 40; i++) {
		/* By way of memory, or the verifier would follow each sum of lengths that may be. */
		fl_store(&view->scratch->option, at);
		at = fl_load(&view->scratch->option);
		option = at + 4 <= header ? fl_bytes(frame, look->l4 + at, 4) : NULL;
		if (!option || option[0] == 0)
			return;
		if (option[0] == 2 && option[1] == 4)
			break;
		if (option[0] != 1 && option[1] < 2)
			return;
		at += option[0] == 1 ? 1 : option[1];
	}
	option = fl_bytes(frame, look->l4 + at, 4);
	if (!option || option[0] != 2 || FL_BE16(fl_get16(option + 2)) <= most)
		return;
	change = fl_change16(fl_get16(option + 2), FL_BE16(most));
	fl_put16(option + 2, FL_BE16(most));
	/* A word at an odd place counts with its octets swapped. */
	fl_change_l4_checksum(frame, look->l4 + FL_TCP_CHECKSUM, 0, at & 1 ? FL_BE16(fl_fold(change)) : change, 0);
}

/* Is this a frame by which its flow would notice that it comes back? */
FL_INLINE int fl_is_question(const struct fl_look *look)
{
	return look->kind == FL_KIND_UDP || look->tcp_flags & FL_TCP_SYN;
}

/* Tells a flow's frames apart: their checksum and, of IPv4, the packet's id. */
FL_INLINE u16 fl_mark_of(const struct fl_frame *frame)
{
	const struct fl_look *look = frame->look;
	const u8 *checksum =
		fl_bytes(frame, look->l4 + (look->kind == FL_KIND_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM), 2);
	const u8 *ip = fl_bytes(frame, look->l3, 6);

	if (!checksum || !ip)
		return 0;
	return (u16)(fl_get16(checksum) ^ (look->is_v6 ? 0 : fl_get16(ip + 4)));
}

/*
 * A client's frame goes to its server: 0, or what hinders it, and then nothing has changed but that its flow was seen.
 * `flow` is NULL for a frame that only passes on a flow's account (an ICMP error), or has none.
 */
FL_INLINE int fl_pass_dsr(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow, u32 server_slot,
			  u16 tag, struct fl_result *result, const int is_plain)
{
	struct fl_look *look = frame->look;
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	const u64 *hops = fl_hops_at(view->region, server_slot);
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 room, len = look->end;
	const u8 *ether;
	u16 mark = 0;
	union {
		u64 word;
		u8 octet[8];
	} hop;
	int hindrance;

	if (!hops || !server)
		return FL_REASON_NO_SERVER;
	hop.word = fl_load(hops);
	out = fl_interface_of(view, hop.octet[6]);
	if (!fl_hop_is_known(hop.word) || !out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether)
		return FL_REASON_SHORT_FRAME;
	room = out->mtu;
	if (!server->tunnel) {
		if (FL_UNLIKELY(fl_get32(ether + 6) == (u32)hop.word && fl_get16(ether + 10) == (u16)(hop.word >> 32)))
			return FL_REASON_CAME_BACK;
	} else {
		room = FL_PATH_LEAST;
		if (len > FL_SURELY_FITS || frame->gso_size)
			room = fl_tunnel_room(view, server, server_slot, out, look->is_v6);
		if (flow && fl_is_question(look)) {
			mark = fl_mark_of(frame);
			if (FL_UNLIKELY(look->ttl < flow->mark_ttl && mark == flow->mark))
				return FL_REASON_CAME_BACK;
		}
	}
	hindrance = fl_hinder(view, frame, room);
	if (FL_UNLIKELY(hindrance == FL_REASON_OVERSIZE && server->tunnel_flags & FL_TUNNEL_FRAGMENT &&
			!frame->gso_size)) {
		if (!FL_SPLITS)
			return FL_REASON_SLOW_PATH;
		frame->split = (u16)room;
		hindrance = 0;
	}
	if (FL_UNLIKELY(hindrance))
		return hindrance;
	if (flow) {
		if (FL_UNLIKELY(!fl_flow_is_same(flow, look)))
			return FL_REASON_NO_FLOW;
		if (is_plain)
			fl_flow_note(view, flow, frame, FL_SIDE_CLIENT, 1);
		else
			fl_flow_touch(view, flow, frame, FL_SIDE_CLIENT);
		if (server->tunnel && fl_is_question(look)) {
			flow->mark = mark;
			flow->mark_ttl = look->ttl;
		}
	}
	if (server->tunnel) {
		hindrance = fl_wrap(view, frame, server, tag);
		if (FL_UNLIKELY(hindrance))
			return hindrance;
	}
	if (!fl_rewrite_macs(frame, hop.octet, out->mac))
		return FL_REASON_SHORT_FRAME;
	traffic = fl_traffic_of(view, server_slot);
	if (traffic) {
		traffic->in_frames++;
		traffic->in_octets += len;
	}
	result->out_interface = hop.octet[6];
	result->out_ifindex = out->ifindex;
	return 0;
}

/* A SYN through a tunnel: what it announces must fit. */
FL_INLINE void fl_clamp(const struct fl_view *view, struct fl_frame *frame, u32 server_slot)
{
	const struct fl_server *server =
		fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + server_slot);
	const u64 *hop = fl_hops_at(view->region, server_slot);
	const struct fl_interface *out = hop ? fl_interface_of(view, (u32)(fl_load(hop) >> 48) & 0xff) : NULL;
	u32 headers = (frame->look->is_v6 ? FL_IPV6_HEADER : 20) + 20, room;

	if (!server || !out || !server->tunnel || !(server->tunnel_flags & FL_TUNNEL_CLAMP))
		return;
	room = fl_tunnel_room(view, server, server_slot, out, frame->look->is_v6);
	fl_clamp_segments(view, frame, room > headers ? room - headers : 0);
}

#endif
