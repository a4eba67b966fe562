/*
 * Reads a frame's headers into struct fl_frame: Ethernet, up to two VLAN tags, ARP, IPv4 with options, IPv6 with
 * extension headers, TCP, UDP, ICMP, ICMPv6. Returns FL_REASON_NONE or why the frame is malformed. The addresses are
 * set as soon as they are known (`l3` is not 0), because a malformed frame that is not for us is not ours to drop.
 *
 * What follows a packet is none of it: it is not counted, quoted or wrapped, and goes no further. Only a frame that is no longer
 * than Ethernet's shortest keeps its padding, if it is sent on as it is: whoever puts it on a wire would have to pad it again.
 * Plain acknowledgements are such frames, and cutting costs a program in the kernel a call.
 */
#ifndef FL_FRAME_H
#define FL_FRAME_H

#include "checksum.h"
#include "verdict.h"

#define FL_ETHER_HEADER 14
#define FL_ETHER_LEAST 60u /* octets: what is shorter is padded on the wire */
#define FL_ETHERTYPE_ARP 0x0806
#define FL_ETHERTYPE_IPV4 0x0800
#define FL_ETHERTYPE_IPV6 0x86dd
#define FL_ETHERTYPE_VLAN 0x8100
#define FL_ETHERTYPE_QINQ 0x88a8

#define FL_PROTOCOL_HOPOPTS 0
#define FL_PROTOCOL_ICMP 1
#define FL_PROTOCOL_TCP 6
#define FL_PROTOCOL_UDP 17
#define FL_PROTOCOL_ROUTING 43
#define FL_PROTOCOL_FRAGMENT 44
#define FL_PROTOCOL_AH 51
#define FL_PROTOCOL_ICMP6 58
#define FL_PROTOCOL_DSTOPTS 60

#define FL_FIRST_FRAGMENT 1
#define FL_LATER_FRAGMENT 2

#define FL_TCP_FIN 0x01
#define FL_TCP_SYN 0x02
#define FL_TCP_RST 0x04
#define FL_TCP_PSH 0x08
#define FL_TCP_ACK 0x10
#define FL_TCP_URG 0x20

#define FL_IPV4_MAX_HEADER 60
#define FL_IPV6_HEADER 40

/* RFC 792, RFC 4443 §3: destination unreachable, packet too big, time exceeded, parameter problem. */
FL_INLINE int fl_icmp_is_error(u8 type, u32 is_v6)
{
	if (is_v6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

/*
 * IPv6's extension headers, for whoever walks them: a frame's, those of a packet that an ICMP error quotes, the guard. All
 * go by the same rules, or what one sends on another would not know again.
 */
#define FL_EXTENSIONS_MAX 6 /* RFC 8200 §4.1 recommends at most seven, two of which cannot precede a transport header */

#define FL_EXTENSIONS                                                                              \
	(1ull << FL_PROTOCOL_HOPOPTS | 1ull << FL_PROTOCOL_ROUTING | 1ull << FL_PROTOCOL_DSTOPTS | \
	 1ull << FL_PROTOCOL_FRAGMENT | 1ull << FL_PROTOCOL_AH)

FL_INLINE int fl_is_extension(u8 number)
{
	return number < 64 && FL_EXTENSIONS >> number & 1;
}

/* May a packet have an extension header of this number in that place, counted from 0? Without branches, which verifiers
 * follow each by itself, some also those that no frame can take. RFC 8200 §4.1; RFC 5095: no routing header of type 0. */
FL_INLINE u32 fl_extension_is_good(const u8 *extension, u8 number, u32 place)
{
	return 1 ^ ((fl_is_zero(number ^ FL_PROTOCOL_HOPOPTS) & (fl_is_zero(place) ^ 1)) |
		    (fl_is_zero(number ^ FL_PROTOCOL_ROUTING) & fl_is_zero(extension[2])));
}

FL_INLINE u32 fl_extension_length(const u8 *extension, u8 number)
{
	return 8 + extension[1] * (8 - 4 * fl_is_zero(number ^ FL_PROTOCOL_AH) -
				   8 * fl_is_zero(number ^ FL_PROTOCOL_FRAGMENT));
}

/* Of a fragment header: is it of a fragment? RFC 6946: offset 0 and nothing to follow is a whole packet. */
FL_INLINE u16 fl_extension_is_fragment(const u8 *extension)
{
	return fl_get16(extension + 2) & FL_BE16(0xfff9);
}

FL_INLINE int fl_parse_l4(struct fl_frame *frame, u32 length)
{
	struct fl_look *look = frame->look;
	int too_short = look->is_fragment ? FL_REASON_BAD_FRAGMENT : FL_REASON_SHORT_FRAME;
	const u8 *at;

	/* Only the first fragment has ports, and a header that has to be whole (RFC 1858, RFC 7112). */
	if (look->is_fragment == FL_LATER_FRAGMENT)
		return FL_REASON_NONE;
	switch (look->protocol) {
	case FL_PROTOCOL_TCP:
		at = fl_bytes(frame, look->l4, 20);
		if (!at || length < 20)
			return too_short;
		if ((at[12] >> 4) < 5)
			return FL_REASON_BAD_L4_HEADER;
		if ((u32)(at[12] >> 4) * 4 > length)
			return look->is_fragment ? FL_REASON_BAD_FRAGMENT : FL_REASON_BAD_L4_HEADER;
		look->tcp_flags = at[13];
		look->tcp_sequence = fl_get32(at + 4);
		look->tcp_acknowledged = fl_get32(at + 8);
		look->tcp_next_host = FL_BE32(look->tcp_sequence) + length - (u32)(at[12] >> 4) * 4 +
				      (at[13] & FL_TCP_FIN) + (at[13] >> 1 & 1);
		look->kind = FL_KIND_TCP;
		break;
	case FL_PROTOCOL_UDP:
		at = fl_bytes(frame, look->l4, 8);
		if (!at || length < 8)
			return too_short;
		if (FL_BE16(fl_get16(at + 4)) < 8 || (FL_BE16(fl_get16(at + 4)) > length && !look->is_fragment))
			return FL_REASON_BAD_L4_HEADER;
		look->kind = FL_KIND_UDP;
		break;
	case FL_PROTOCOL_ICMP:
	case FL_PROTOCOL_ICMP6:
		if ((look->protocol == FL_PROTOCOL_ICMP6) != look->is_v6 || look->is_fragment)
			return FL_REASON_NONE;
		at = fl_bytes(frame, look->l4, 8);
		if (!at || length < 8)
			return FL_REASON_SHORT_FRAME;
		look->kind = look->is_v6 ? FL_KIND_ICMP6 : FL_KIND_ICMP;
		return FL_REASON_NONE;
	default:
		return FL_REASON_NONE;
	}
	look->source_port = fl_get16(at);
	look->target_port = fl_get16(at + 2);
	return FL_REASON_NONE;
}

/* What is a fragment's own: which octets of its datagram it has. */
FL_INLINE int fl_parse_fragment(struct fl_look *look, u32 id, u32 from, int is_last, u32 length)
{
	look->fragment_id = id;
	look->fragment_from = (u16)from;
	look->fragment_to = (u16)(from + (length + 7) / 8);
	look->fragment_is_last = (u8)is_last;
	look->is_fragment = from ? FL_LATER_FRAGMENT : FL_FIRST_FRAGMENT;
	/* RFC 791 §3.2, RFC 8200 §4.5: all but the last are multiples of 8; and no datagram is longer than it can say. */
	return !length || (!is_last && length % 8) || from * 8 + length > 0xffff ? FL_REASON_BAD_FRAGMENT
										 : FL_REASON_NONE;
}

FL_INLINE int fl_parse_ipv4(struct fl_frame *frame, u32 l3)
{
	struct fl_look *look = frame->look;
	const u8 *ip = fl_bytes(frame, l3, 20);
	u32 header, total;
	int ok = 1, why = FL_REASON_NONE;

	if (!ip)
		return FL_REASON_SHORT_FRAME;
	look->l3 = l3;
	fl_get_addr(&look->source, ip + 12, 0);
	fl_get_addr(&look->target, ip + 16, 0);
	look->ttl = ip[8];
	look->protocol = ip[9];
	header = (ip[0] & 15) * 4;
	total = FL_BE16(fl_get16(ip + 2));
	if (fl_get16(ip + 6) & FL_BE16(0x3fff))
		why = fl_parse_fragment(look, fl_get16(ip + 4), FL_BE16(fl_get16(ip + 6)) & 0x1fff,
					!(fl_get16(ip + 6) & FL_BE16(0x2000)), total - header);
	if (ip[0] >> 4 != 4 || header < 20 || total < header || l3 + total > frame->len)
		return FL_REASON_BAD_IP_HEADER;
	look->l4 = l3 + header;
	look->end = l3 + total;
	if (header == 20) {
		u64 sum =
			(u64)fl_get32(ip) + fl_get32(ip + 4) + fl_get32(ip + 8) + fl_get32(ip + 12) + fl_get32(ip + 16);

		if (fl_fold(sum) != 0xffff)
			return FL_REASON_BAD_IP_CHECKSUM;
	} else if (fl_fold(fl_sum(frame, l3, header, FL_IPV4_MAX_HEADER + 1, &ok)) != 0xffff || !ok) {
		return FL_REASON_BAD_IP_CHECKSUM;
	}
	return why ? why : fl_parse_l4(frame, total - header);
}

FL_INLINE int fl_parse_ipv6(struct fl_frame *frame, u32 l3)
{
	struct fl_look *look = frame->look;
	const u8 *ip = fl_bytes(frame, l3, FL_IPV6_HEADER);
	u32 end, at = l3 + FL_IPV6_HEADER;
	int why = FL_REASON_NONE;
	u8 next;

	if (!ip)
		return FL_REASON_SHORT_FRAME;
	look->l3 = l3;
	look->is_v6 = 1;
	fl_get_addr(&look->source, ip + 8, 1);
	fl_get_addr(&look->target, ip + 24, 1);
	look->ttl = ip[7];
	next = ip[6];
	end = at + FL_BE16(fl_get16(ip + 4));
	if (ip[0] >> 4 != 6 || end > frame->len)
		return FL_REASON_BAD_IP_HEADER;
	look->end = end;
	for (int i = 0; i < FL_EXTENSIONS_MAX + 1; i++) {
		const u8 *extension;

		if (!fl_is_extension(next))
			break;
		extension = fl_bytes(frame, at, 8);
		if (!extension || at + 8 > end || i == FL_EXTENSIONS_MAX || !fl_extension_is_good(extension, next, i))
			return FL_REASON_BAD_EXTENSION;
		at += fl_extension_length(extension, next);
		if (next == FL_PROTOCOL_FRAGMENT && fl_extension_is_fragment(extension)) {
			why = fl_parse_fragment(look, fl_get32(extension + 4), FL_BE16(fl_get16(extension + 2)) >> 3,
						!(fl_get16(extension + 2) & FL_BE16(1)), end - at);
			next = extension[0];
			break;
		}
		next = extension[0];
	}
	if (at > end || at > FL_REACH)
		return FL_REASON_BAD_EXTENSION;
	look->protocol = next;
	look->l4 = at;
	return why ? why : fl_parse_l4(frame, end - at);
}

FL_INLINE int fl_parse(struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	u32 l3 = FL_ETHER_HEADER;
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	u16 type;

	if (!ether)
		return FL_REASON_SHORT_FRAME;
	type = fl_get16(ether + 12);
	for (int i = 0; i < 2; i++) {
		const u8 *tag;

		if (type != FL_BE16(FL_ETHERTYPE_VLAN) && type != FL_BE16(FL_ETHERTYPE_QINQ))
			break;
		tag = fl_bytes(frame, l3, 4);
		if (!tag)
			return FL_REASON_SHORT_FRAME;
		type = fl_get16(tag + 2);
		l3 += 4;
	}
	if (type == FL_BE16(FL_ETHERTYPE_IPV4))
		return fl_parse_ipv4(frame, l3);
	if (type == FL_BE16(FL_ETHERTYPE_IPV6))
		return fl_parse_ipv6(frame, l3);
	if (type == FL_BE16(FL_ETHERTYPE_ARP)) {
		look->kind = FL_KIND_ARP;
		look->l3 = l3;
	}
	return FL_REASON_NONE;
}

#endif
