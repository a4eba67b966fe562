/*
 * Reading a tunnel packet, for both entries of decap.bpf.c: bounded copies of headers, one after the other, into what the
 * judge needs. Nothing here writes to a frame or looks into a table.
 */
#ifndef FL_DECAP_READ_H
#define FL_DECAP_READ_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../core/decap.h"

#define ETHERNET 14
#define VLAN_TAG 4
#define IPV4 20
#define IPV6 40
#define GRE 4
#define UDP 8
#define GUE 4

#define ETHERTYPE_IPV4 FL_BE16(0x0800)
#define ETHERTYPE_IPV6 FL_BE16(0x86dd)
#define PROTOCOL_IPIP 4
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41
#define PROTOCOL_GRE 47

#define GRE_KEY FL_BE16(0x2000)

/* A frame of either entry. `at` runs along the headers while they are read. */
struct frame {
	struct __sk_buff *skb; /* tc, else NULL */
	struct xdp_md *xdp;    /* xdp, else NULL */
	u32 length;
	u32 at;
};

/* What the judge found. */
struct packet {
	struct fl_decap_endpoint endpoint;
	struct fl_decap_prefix source;
	struct fl_addr target; /* of the inner packet */
	u32 l2;		       /* octets of the Ethernet header with its tags */
	u32 end;	       /* where the outer packet ends, by its own word */
	u32 inner;	       /* where the inner packet starts */
	u32 inner_length;
	u16 outer_type, inner_type; /* Ethertypes */
	u8 protocol;
	u8 is_first_fragment;
	u8 outer_ecn;
};

/* Copies `size` octets at frame->at, and moves on; 0 when the frame ends before. */
static __always_inline int take(struct frame *frame, void *to, const u32 size)
{
	u32 at = frame->at;

	if (frame->skb) {
		if (bpf_skb_load_bytes(frame->skb, at, to, size) < 0)
			return 0;
	} else {
		const u8 *data = (const u8 *)(long)frame->xdp->data;
		const u8 *end = (const u8 *)(long)frame->xdp->data_end;

		/* All that is read lies below: 22 octets of Ethernet, 60 of IPv4, 12 of UDP and GUE, 40 of IPv6. */
		if (at > 255)
			return 0;
		data += at;
		if (data + size > end)
			return 0;
		__builtin_memcpy(to, data, size);
	}
	frame->at = at + size;
	return 1;
}

static __always_inline u16 half(const u8 *at)
{
	return (u16)(at[0] | at[1] << 8); /* as it lies in memory */
}

static __always_inline u32 word(const u8 *at)
{
	return (u32)half(at) | (u32)half(at + 2) << 16;
}

static __always_inline u32 number(const u8 *at)
{
	return (u32)at[0] << 8 | at[1];
}

static __always_inline void map_ipv4(struct fl_addr *addr, const u8 *at)
{
	addr->word[0] = 0;
	addr->word[1] = 0;
	addr->word[2] = FL_BE32(0xffff);
	addr->word[3] = word(at);
}

static __always_inline void copy_ipv6(struct fl_addr *addr, const u8 *at)
{
	addr->word[0] = word(at);
	addr->word[1] = word(at + 4);
	addr->word[2] = word(at + 8);
	addr->word[3] = word(at + 12);
}

static __always_inline int is_tunnel(u8 protocol)
{
	return protocol == PROTOCOL_GRE || protocol == PROTOCOL_IPIP || protocol == PROTOCOL_IPV6;
}

/* What happens to a frame: one of enum fl_decap_count, or one of these. */
#define TAKEN (-1)    /* so far: go on */
#define NOT_OURS (-2) /* no tunnel's frame: passes uncounted */

static __always_inline int read_ethernet(struct frame *frame, struct packet *packet)
{
	u8 ethernet[ETHERNET], tag[VLAN_TAG];
	u16 type;

	if (!take(frame, ethernet, sizeof(ethernet)))
		return NOT_OURS;
	type = half(ethernet + 12);
	/* At tc the kernel has taken the tag off; a second one is somebody else's network. */
	for (int i = 0; !frame->skb && i < 2 && (type == FL_BE16(0x8100) || type == FL_BE16(0x88a8)); i++) {
		if (!take(frame, tag, sizeof(tag)))
			return NOT_OURS;
		type = half(tag + 2);
	}
	packet->l2 = frame->at;
	packet->outer_type = type;
	return type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6 ? TAKEN : NOT_OURS;
}

static __always_inline int read_outer_ipv4(struct frame *frame, struct packet *packet)
{
	u32 start = frame->at, header, total, fragment;
	u8 ip[IPV4];

	if (!take(frame, ip, sizeof(ip)))
		return NOT_OURS;
	packet->protocol = ip[9];
	header = (ip[0] & 15) * 4;
	total = number(ip + 2);
	fragment = number(ip + 6);
	if (packet->protocol != PROTOCOL_UDP && !is_tunnel(packet->protocol))
		return NOT_OURS;
	if (fragment & 0x1fff) /* names no port: of UDP nobody knows whose it is */
		return is_tunnel(packet->protocol) ? FL_DECAP_FRAGMENT : NOT_OURS;
	if (ip[0] >> 4 != 4 || header < IPV4 || total < header || total > frame->length - start)
		return is_tunnel(packet->protocol) ? FL_DECAP_LENGTH : NOT_OURS;
	packet->is_first_fragment = (fragment & 0x2000) != 0;
	packet->outer_ecn = ip[1] & 3;
	packet->end = start + total;
	packet->source.length = 128;
	map_ipv4(&packet->source.addr, ip + 12);
	map_ipv4(&packet->endpoint.local, ip + 16);
	frame->at = start + header;
	return TAKEN;
}

static __always_inline int read_outer_ipv6(struct frame *frame, struct packet *packet)
{
	u32 start = frame->at, payload;
	u8 ip[IPV6];

	if (!take(frame, ip, sizeof(ip)))
		return NOT_OURS;
	packet->protocol = ip[6];
	payload = number(ip + 4);
	if (packet->protocol != PROTOCOL_UDP && !is_tunnel(packet->protocol))
		return NOT_OURS;
	if (ip[0] >> 4 != 6 || payload > frame->length - start - IPV6)
		return is_tunnel(packet->protocol) ? FL_DECAP_LENGTH : NOT_OURS;
	packet->outer_ecn = ip[1] >> 4 & 3;
	packet->end = start + IPV6 + payload;
	packet->source.length = 128;
	copy_ipv6(&packet->source.addr, ip + 8);
	copy_ipv6(&packet->endpoint.local, ip + 24);
	return TAKEN;
}

static __always_inline int read_gre(struct frame *frame, struct packet *packet)
{
	u8 gre[GRE], key[4];

	packet->endpoint.tunnel = FL_TUNNEL_GRE;
	if (!take(frame, gre, sizeof(gre)))
		return FL_DECAP_LENGTH;
	if (half(gre) & (u16)~GRE_KEY)
		return FL_DECAP_HEADER;
	if (half(gre) & GRE_KEY) {
		if (!take(frame, key, sizeof(key)))
			return FL_DECAP_LENGTH;
		packet->endpoint.has_key = 1;
		packet->endpoint.key = word(key);
	}
	packet->inner_type = half(gre + 2);
	return packet->inner_type == ETHERTYPE_IPV4 || packet->inner_type == ETHERTYPE_IPV6 ? TAKEN : FL_DECAP_HEADER;
}

static __always_inline u16 type_of(u8 protocol)
{
	return protocol == PROTOCOL_IPIP ? ETHERTYPE_IPV4 : protocol == PROTOCOL_IPV6 ? ETHERTYPE_IPV6 : 0;
}

/* Whether the port is one of ours shows only in the table: until then nothing is said of the frame. */
static __always_inline int read_udp(struct frame *frame, struct packet *packet)
{
	u8 udp[UDP];

	if (!take(frame, udp, sizeof(udp)))
		return NOT_OURS;
	packet->endpoint.tunnel = FL_TUNNEL_GUE;
	packet->endpoint.port = half(udp + 2);
	/* A super-frame's UDP length is one segment's. */
	if (!frame->skb && number(udp + 4) > packet->end - frame->at + UDP)
		return FL_DECAP_LENGTH;
	return TAKEN;
}

static __always_inline int read_gue(struct frame *frame, struct packet *packet)
{
	u8 gue[GUE];

	if (!take(frame, gue, sizeof(gue)))
		return FL_DECAP_LENGTH;
	/* Version 0, data, no optional fields, no flags. */
	if (gue[0] || half(gue + 2))
		return FL_DECAP_HEADER;
	packet->inner_type = type_of(gue[1]);
	return packet->inner_type ? TAKEN : FL_DECAP_HEADER;
}

/* The inner packet must be whole inside the outer one. */
static __always_inline int read_inner(struct frame *frame, struct packet *packet)
{
	u32 room = packet->end - frame->at;
	u8 ip[IPV6];

	packet->inner = frame->at;
	if (packet->end < frame->at)
		return FL_DECAP_LENGTH;
	if (packet->inner_type == ETHERTYPE_IPV4) {
		u32 header;

		if (!take(frame, ip, IPV4))
			return FL_DECAP_LENGTH;
		header = (ip[0] & 15) * 4;
		packet->inner_length = number(ip + 2);
		if (ip[0] >> 4 != 4 || header < IPV4 || packet->inner_length < header)
			return FL_DECAP_LENGTH;
		map_ipv4(&packet->target, ip + 16);
	} else {
		if (!take(frame, ip, IPV6))
			return FL_DECAP_LENGTH;
		packet->inner_length = IPV6 + number(ip + 4);
		if (ip[0] >> 4 != 6)
			return FL_DECAP_LENGTH;
		copy_ipv6(&packet->target, ip + 24);
	}
	return packet->inner_length > room ? FL_DECAP_LENGTH : TAKEN;
}

#endif
