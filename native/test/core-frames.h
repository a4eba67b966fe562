/*
 * Frames for tests of the core: from ends to octets, with every checksum computed octet by octet, as the core never does it.
 */
#ifndef FL_CORE_FRAMES_H
#define FL_CORE_FRAMES_H

#include <string.h>

#include "../core/batch.h"

/* Sums, octet by octet. */
static inline u32 world_sum(const u8 *at, u32 size, u32 sum)
{
	for (u32 i = 0; i < size; i++)
		sum += i & 1 ? at[i] : (u32)at[i] << 8;
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

struct world_ends {
	struct fl_addr from, to;
	u16 from_port, to_port; /* host order */
	u8 protocol, flags, is_v6, ttl;
	u32 payload;
	u32 acknowledged; /* TCP */
	u32 sequence;
	u8 interface;
};

/* Of the address octets and L4 of an IP packet without extension headers. */
static inline u32 world_l4_sum(const u8 *ip, u32 l4_size, int is_v6, u8 protocol)
{
	const u8 *addresses = ip + (is_v6 ? 8 : 12);
	u32 head = is_v6 ? 40 : (ip[0] & 15) * 4u;

	return world_sum(ip + head, l4_size, world_sum(addresses, is_v6 ? 32 : 8, protocol + l4_size));
}

/* Writes the frame, returns its length. The target MAC is fairlead's on the interface. */
static inline u32 world_frame(u8 *data, const struct world_ends *ends)
{
	u32 l4_size = (ends->protocol == FL_PROTOCOL_TCP ? 20 : 8) + ends->payload;
	u32 head = ends->is_v6 ? 40 : 20;
	const u8 macs[12] = { 2, 0, 0, 0, 0, 1 + ends->interface, 2, 0, 0, 0, 9, 9 };
	u8 *ip = data + 14, *l4 = ip + head;
	u32 at = ends->protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM;
	u16 sum;

	memset(data, 0, 14 + head + l4_size);
	memcpy(data, macs, 12);
	fl_put16(data + 12, ends->is_v6 ? FL_BE16(0x86dd) : FL_BE16(0x0800));
	if (ends->is_v6) {
		ip[0] = 0x60;
		fl_put16(ip + 4, FL_BE16(l4_size));
		ip[6] = ends->protocol;
		ip[7] = ends->ttl;
		memcpy(ip + 8, &ends->from, 16);
		memcpy(ip + 24, &ends->to, 16);
	} else {
		ip[0] = 0x45;
		fl_put16(ip + 2, FL_BE16(20 + l4_size));
		ip[6] = 0x40;
		ip[8] = ends->ttl;
		ip[9] = ends->protocol;
		memcpy(ip + 12, &ends->from, 4);
		memcpy(ip + 16, &ends->to, 4);
		fl_put16(ip + 10, FL_BE16(~world_sum(ip, 20, 0)));
	}
	fl_put16(l4, FL_BE16(ends->from_port));
	fl_put16(l4 + 2, FL_BE16(ends->to_port));
	if (ends->protocol == FL_PROTOCOL_TCP) {
		l4[12] = 0x50;
		l4[13] = ends->flags;
		fl_put32(l4 + 4, FL_BE32(ends->sequence));
		fl_put32(l4 + 8, FL_BE32(ends->acknowledged));
	} else {
		fl_put16(l4 + 4, FL_BE16(l4_size));
	}
	for (u32 i = 0; i < ends->payload; i++)
		l4[l4_size - ends->payload + i] = i * 7 + 1;
	sum = ~world_l4_sum(ip, l4_size, ends->is_v6, ends->protocol);
	if (!sum && ends->protocol == FL_PROTOCOL_UDP)
		sum = 0xffff;
	fl_put16(l4 + at, FL_BE16(sum));
	return 14 + head + l4_size;
}

/* Makes of a frame that world_frame() wrote the fragment with `size` octets from octet `from` of its L4 on; its length. */
static inline u32 world_cut(u8 *data, u32 len, u32 id, u32 from, u32 size, int is_last)
{
	u8 *ip = data + 14;
	int is_v6 = ip[0] >> 4 == 6;
	u32 head = is_v6 ? 40 : 20, l4_size = len - 14 - head;

	if (from > l4_size)
		from = l4_size;
	if (size > l4_size - from)
		size = l4_size - from;
	if (!is_v6) {
		memmove(ip + head, ip + head + from, size);
		fl_put16(ip + 2, FL_BE16(head + size));
		fl_put16(ip + 4, (u16)id);
		fl_put16(ip + 6, FL_BE16(from / 8 | (is_last ? 0 : 0x2000)));
		fl_put16(ip + 10, 0);
		fl_put16(ip + 10, FL_BE16(~world_sum(ip, 20, 0)));
		return 14 + head + size;
	}
	memmove(ip + head + 8, ip + head + from, size);
	memset(ip + head, 0, 8);
	ip[head] = ip[6];
	ip[6] = FL_PROTOCOL_FRAGMENT;
	fl_put16(ip + head + 2, FL_BE16(from | (is_last ? 0 : 1)));
	fl_put32(ip + head + 4, id);
	fl_put16(ip + 4, FL_BE16(8 + size));
	return 14 + head + 8 + size;
}

#endif
