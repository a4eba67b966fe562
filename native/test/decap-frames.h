/*
 * Tunnel packets for the decapsulator's test, built from the RFCs' pictures, right in all lengths and checksums except
 * where a test wants them wrong; and what shall be left of them.
 */
#ifndef FL_DECAP_FRAMES_H
#define FL_DECAP_FRAMES_H

#include <stdbool.h>

#include "../core/decap.h"
#include "frames.h"

#define VIP "203.0.113.10"
#define VIP6 "2001:db8::10"
#define CLIENT "198.51.100.7"
#define CLIENT6 "2001:db8:7::7"
#define BALANCER "192.0.2.1"
#define BALANCER6 "2001:db8:b::1"
#define LOCAL "10.9.0.1"
#define LOCAL6 "fd00:9::1"
#define KEY 0x0a0b0c0d
#define GUE_PORT 6080

/* A tunnel packet under construction: outer header, tunnel header, inner packet. */
struct wrap {
	u8 tunnel;
	bool is_outer_v6, is_inner_v6, has_key;
	const char *from, *to, *vip; /* by default the balancer, us, the VIP */
	u8 outer_tos, inner_tos;
	u32 options; /* octets of outer IPv4 options */
	u16 fragment;
	u16 gre_flags;
	u8 gue_first, gue_third;
	u16 port;
	int outer_extra, inner_extra; /* added to what the lengths say */
	u32 padding;
};

static inline u16 sum_of(const u8 *header, u32 size)
{
	u32 sum = 0;

	for (u32 i = 0; i < size; i += 2)
		sum += header[i] << 8 | header[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16) ~((sum & 0xffff) + (sum >> 16));
}

static inline void put16(u8 *at, u32 value)
{
	at[0] = value >> 8;
	at[1] = (u8)value;
}

/* An IP packet around a payload: RFC 791 and RFC 8200, with right lengths and checksum but for `extra`. */
static inline void add_packet(struct bytes *frame, const char *from, const char *to, u8 protocol, u8 tos, u16 fragment,
			      u32 options, const struct bytes *payload, int extra)
{
	struct fl_addr source = addr_of(from), target = addr_of(to);

	if (strchr(from, ':')) {
		u8 ip[40] = { 0x60 | tos >> 4, tos << 4, [6] = protocol, [7] = 63 };

		put16(ip + 4, payload->size + extra);
		memcpy(ip + 8, &source, 16);
		memcpy(ip + 24, &target, 16);
		add(frame, ip, 40);
	} else {
		u8 ip[60] = { 0x45 + options / 4, tos, [8] = 63, protocol, [20] = 1, 1, 1, 1 };

		put16(ip + 2, 20 + options + payload->size + extra);
		put16(ip + 6, fragment);
		memcpy(ip + 12, &source, 4);
		memcpy(ip + 16, &target, 4);
		put16(ip + 10, sum_of(ip, 20 + options));
		add(frame, ip, 20 + options);
	}
	add(frame, payload->data, payload->size);
}

static inline struct bytes inner_of(const struct wrap *wrap)
{
	static const u8 datagram[] = { 0x9c, 0x40, 0x07, 0x07, 0, 16, 0, 0, 'f', 'a', 'i', 'r', 'l', 'e', 'a', 'd' };
	struct bytes inner = { 0 }, payload = { 0 };

	add(&payload, datagram, sizeof(datagram));
	add_packet(&inner, wrap->is_inner_v6 ? CLIENT6 : CLIENT,
		   wrap->vip	       ? wrap->vip
		   : wrap->is_inner_v6 ? VIP6
				       : VIP,
		   17, wrap->inner_tos, 0, 0, &payload, wrap->inner_extra);
	return inner;
}

static inline void add_tunnel_header(struct bytes *tunnel, const struct wrap *wrap)
{
	const u16 type = wrap->is_inner_v6 ? 0x86dd : 0x0800;

	if (wrap->tunnel == FL_TUNNEL_GRE) {
		/* |C| |K|S| Reserved0 | Ver | Protocol Type |, then Key when K */
		add16(tunnel, wrap->gre_flags | (wrap->has_key ? 0x2000 : 0));
		add16(tunnel, type);
		if (wrap->has_key) {
			add16(tunnel, KEY >> 16);
			add16(tunnel, KEY & 0xffff);
		}
	}
	if (wrap->tunnel == FL_TUNNEL_GUE) {
		/* source port, destination port, length, checksum; | 0 |C| Hlen | Proto | Flags | */
		add16(tunnel, 50000);
		add16(tunnel, wrap->port ? wrap->port : GUE_PORT);
		add16(tunnel, 8 + 4 + inner_of(wrap).size);
		add16(tunnel, 0);
		add(tunnel, (u8[]){ wrap->gue_first, wrap->is_inner_v6 ? 41 : 4, wrap->gue_third, 0 }, 4);
	}
}

static inline struct bytes frame_of(const struct wrap *wrap)
{
	static const u8 macs[12] = { 2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb }, nothing[64];
	struct bytes frame = { 0 }, tunnel = { 0 }, inner = inner_of(wrap);
	u8 protocol = wrap->tunnel == FL_TUNNEL_GRE   ? 47
		      : wrap->tunnel == FL_TUNNEL_GUE ? 17
		      : wrap->is_inner_v6	      ? 41
						      : 4;

	add_tunnel_header(&tunnel, wrap);
	add(&tunnel, inner.data, inner.size);
	add(&frame, macs, sizeof(macs));
	add16(&frame, wrap->is_outer_v6 ? 0x86dd : 0x0800);
	add_packet(&frame,
		   wrap->from	       ? wrap->from
		   : wrap->is_outer_v6 ? BALANCER6
				       : BALANCER,
		   wrap->to	       ? wrap->to
		   : wrap->is_outer_v6 ? LOCAL6
				       : LOCAL,
		   protocol, wrap->outer_tos, wrap->fragment, wrap->options, &tunnel, wrap->outer_extra);
	add(&frame, nothing, wrap->padding);
	return frame;
}

/* What shall be left: the MACs, the inner packet's type, the inner packet, and what followed it. */
static inline struct bytes unwrapped(const struct wrap *wrap)
{
	struct bytes frame = frame_of(wrap), inner = inner_of(wrap), left = { 0 };
	u32 tail = inner.size + wrap->padding;

	add(&left, frame.data, 12);
	add16(&left, wrap->is_inner_v6 ? 0x86dd : 0x0800);
	add(&left, frame.data + frame.size - tail, tail);
	return left;
}

#endif
