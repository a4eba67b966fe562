/*
 * What frames of world_frame() may carry besides: IPv4 options, IPv6 extension headers, another packet that an ICMP error
 * is about.
 */
#ifndef FL_CORE_ODD_H
#define FL_CORE_ODD_H

#include "core-world.h"

#define ODD_MOST 40 /* octets: the most of IPv4's options */

/* The IPv4 header's checksum, made anew. */
static inline void odd_mend(u8 *ip)
{
	fl_put16(ip + 10, 0);
	fl_put16(ip + 10, FL_BE16(~world_sum(ip, (ip[0] & 15) * 4u, 0)));
}

/* Options, or as much as there is room for, behind an IPv4 header that has none; a multiple of 4. The frame's length. */
static inline u32 odd_add_options(u8 *data, u32 len, const u8 *options, u32 size)
{
	u8 *ip = data + FL_ETHER_HEADER;
	u32 head = 20 + size;

	memmove(ip + head, ip + 20, len - FL_ETHER_HEADER - 20);
	memcpy(ip + 20, options, size);
	ip[0] = (u8)(0x40 | head / 4);
	fl_put16(ip + 2, FL_BE16(FL_BE16(fl_get16(ip + 2)) + size));
	odd_mend(ip);
	return len + size;
}

/* An extension header of this number, a multiple of 8 octets, right behind the IPv6 header; its first octet is
 * overwritten. The frame's length. */
static inline u32 odd_add_extension(u8 *data, u32 len, u8 number, const u8 *extension, u32 size)
{
	u8 *ip = data + FL_ETHER_HEADER, *at = ip + FL_IPV6_HEADER;

	memmove(at + size, at, len - FL_ETHER_HEADER - FL_IPV6_HEADER);
	memcpy(at, extension, size);
	at[0] = ip[6];
	ip[6] = number;
	fl_put16(ip + 4, FL_BE16(FL_BE16(fl_get16(ip + 4)) + size));
	return len + size;
}

/*
 * The n-th of the odd things that a packet of its family may have. IPv4: a record route, source routes in front and behind
 * others, a timestamp, no operations, an end with more behind it, options without an end or of no length. IPv6: hop-by-hop
 * and destination options, routing headers of the forbidden type and of another, an atomic fragment, an authentication
 * header, one that is longer than the packet, fragments of which one is a datagram's first.
 */
static inline u32 odd_add(u8 *data, u32 len, u32 n)
{
	static const u8 options[][12] = {
		{ 7, 11, 4, 10, 0, 0, 1, 0, 0, 0, 0, 0 },   { 131, 7, 4, 10, 0, 0, 1, 0 },
		{ 1, 1, 1, 137, 7, 4, 10, 0, 0, 9, 0, 0 },  { 68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },	    { 0, 131, 7, 4, 10, 0, 0, 1, 0, 0, 0, 0 },
		{ 7, 200, 4, 10, 0, 0, 1, 0, 0, 0, 0, 0 },  { 7, 0, 131, 7, 4, 10, 0, 0, 1, 0, 0, 0 },
		{ 148, 4, 0, 0, 131, 3, 4, 0, 0, 0, 0, 0 },
	};
	static const struct {
		u8 number, octets[16], size;
	} extensions[] = {
		{ FL_PROTOCOL_HOPOPTS, { 0, 0, 1, 4 }, 8 },
		{ FL_PROTOCOL_DSTOPTS, { 0, 1, 1, 12 }, 16 },
		{ FL_PROTOCOL_ROUTING, { 0, 0, 0, 0 }, 8 },
		{ FL_PROTOCOL_ROUTING, { 0, 0, 2, 0 }, 8 },
		{ FL_PROTOCOL_FRAGMENT, { 0, 0, 0, 0, 1, 2, 3, 4 }, 8 },
		{ FL_PROTOCOL_AH, { 0, 2 }, 16 },
		{ FL_PROTOCOL_DSTOPTS, { 0, 200 }, 8 },
		{ FL_PROTOCOL_FRAGMENT, { 0, 0, 0, 1, 1, 2, 3, 4 }, 8 },
		{ FL_PROTOCOL_FRAGMENT, { 0, 0, 0, 8, 1, 2, 3, 4 }, 8 },
	};
	const u32 option_count = sizeof(options) / sizeof(options[0]);
	const u32 extension_count = sizeof(extensions) / sizeof(extensions[0]);
	const u8 *ip = data + FL_ETHER_HEADER;

	if (ip[0] == 0x45)
		return odd_add_options(data, len, options[n % option_count], sizeof(options[0]));
	if (ip[0] >> 4 != 6)
		return len;
	n %= extension_count;
	return odd_add_extension(data, len, extensions[n].number, extensions[n].octets, extensions[n].size);
}

/* An ICMP error between these ends (whose protocol and ports are nobody's), with right checksums; the frame's length. */
static inline u32 odd_icmp(u8 *data, const struct world_ends *ends, u16 type_and_code, u32 rest, const u8 *quoted,
			   u32 size)
{
	struct world_ends outer = *ends;
	u32 head = ends->is_v6 ? FL_IPV6_HEADER : 20, length = 8 + size;
	u8 *ip = data + FL_ETHER_HEADER, *icmp = ip + head;
	u8 protocol = ends->is_v6 ? FL_PROTOCOL_ICMP6 : FL_PROTOCOL_ICMP;

	outer.protocol = FL_PROTOCOL_UDP;
	outer.payload = size; /* behind as many octets as ICMP's header has */
	world_frame(data, &outer);
	ip[ends->is_v6 ? 6 : 9] = protocol;
	memset(icmp, 0, 8);
	fl_put16(icmp, FL_BE16(type_and_code));
	fl_put32(icmp + 4, FL_BE32(rest));
	memcpy(icmp + 8, quoted, size);
	if (ends->is_v6) {
		fl_put16(icmp + 2, FL_BE16(~world_l4_sum(ip, length, 1, protocol)));
	} else {
		fl_put16(icmp + 2, FL_BE16(~world_sum(icmp, length, 0)));
		odd_mend(ip);
	}
	return FL_ETHER_HEADER + head + length;
}

/* What routers and hosts say, by family; type and code. */
static inline u16 odd_error_kind(u32 n, int is_v6)
{
	static const u16 kinds[2][8] = {
		{ 0x300, 0x301, 0x303, 0x304, 0x30d, 0xb00, 0xb01, 0xc00 },
		{ 0x100, 0x101, 0x104, 0x200, 0x300, 0x301, 0x400, 0x404 },
	};

	return kinds[is_v6][n % 8];
}

#endif
