/*
 * See split.h. Segments of TCP count their sequence numbers on, only the last one has FIN and PSH, only the first CWR
 * (RFC 3168 §6.1.2), as a card does it. IPv4 packets count their ids on. Later fragments keep only the options that
 * are to be copied; the others become NOPs, so that all headers have one length.
 */
#include <string.h>

#include "split.h"

#define TCP_CWR 0x80

/* Ones' complement sum, 64 bits at a time. */
static u64 sum_octets(const u8 *at, u32 size)
{
	u64 sum = 0, word;

	for (; size >= 8; at += 8, size -= 8) {
		memcpy(&word, at, 8);
		sum += word;
		sum += sum < word;
	}
	word = 0;
	memcpy(&word, at, size);
	sum += word;
	return (sum & 0xffffffff) + (sum >> 32) + (sum < word);
}

static bool is_ipv6(const u8 *ip)
{
	return ip[0] >> 4 == 6;
}

static u64 pseudo_header(const u8 *ip, u8 protocol, u32 length)
{
	struct fl_addr source, target;

	fl_get_addr(&source, ip + (is_ipv6(ip) ? 8 : 12), is_ipv6(ip));
	fl_get_addr(&target, ip + (is_ipv6(ip) ? 24 : 16), is_ipv6(ip));
	return fl_pseudo_header(&source, &target, protocol, length);
}

static void finish_ipv4(u8 *ip)
{
	fl_put16(ip + 10, 0);
	fl_put16(ip + 10, (u16)~fl_fold(sum_octets(ip, (ip[0] & 15) * 4)));
}

/* `length` is the whole packet's. */
static void set_length(u8 *ip, u32 length)
{
	if (is_ipv6(ip)) {
		fl_put16(ip + 4, FL_BE16(length - FL_IPV6_HEADER));
		return;
	}
	fl_put16(ip + 2, FL_BE16(length));
	finish_ipv4(ip);
}

static void finish_l4(const u8 *ip, u8 *l4, u8 protocol, u32 length)
{
	u8 *checksum = l4 + (protocol == FL_PROTOCOL_TCP ? 16 : 6);
	u16 sum;

	fl_put16(checksum, 0);
	sum = (u16)~fl_fold(sum_octets(l4, length) + pseudo_header(ip, protocol, length));
	fl_put16(checksum, sum || protocol == FL_PROTOCOL_TCP ? sum : 0xffff);
}

/* Offset of the TCP or UDP header behind an IP header; 0: neither. IPv6 extensions are few, the core has walked them. */
static u32 find_l4(const u8 *data, u32 l3, u32 len, u8 *protocol)
{
	const u8 *ip = data + l3;
	u32 at = l3 + FL_IPV6_HEADER;

	if (!is_ipv6(ip)) {
		*protocol = ip[9];
		return l3 + (ip[0] & 15) * 4;
	}
	*protocol = ip[6];
	while (at + 8 <= len && *protocol != FL_PROTOCOL_TCP && *protocol != FL_PROTOCOL_UDP) {
		const u8 *extension = data + at;

		if (*protocol != FL_PROTOCOL_HOPOPTS && *protocol != FL_PROTOCOL_DSTOPTS &&
		    *protocol != FL_PROTOCOL_ROUTING)
			return 0;
		*protocol = extension[0];
		at += (extension[1] + 1) * 8;
	}
	return at;
}

bool fl_split_plan(struct fl_split *split, struct fl_frame *frame)
{
	u32 ether = FL_ETHER_HEADER, packet;
	u8 *ip;

	while (ether + 20 <= frame->len && (fl_get16(frame->data + ether - 2) == FL_BE16(FL_ETHERTYPE_VLAN) ||
					    fl_get16(frame->data + ether - 2) == FL_BE16(FL_ETHERTYPE_QINQ)))
		ether += 4;
	*split = (struct fl_split){ .data = frame->data, .outer = ether, .l3 = ether + frame->outer };
	if (split->l3 + 20 > frame->len)
		return false;
	ip = frame->data + split->l3;
	if (is_ipv6(ip) && split->l3 + FL_IPV6_HEADER > frame->len)
		return false;
	packet = is_ipv6(ip) ? FL_IPV6_HEADER + FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2));
	split->l4 = find_l4(frame->data, split->l3, frame->len, &split->protocol);
	if (!split->l4 || split->l3 + packet > frame->len ||
	    split->l4 + (split->protocol == FL_PROTOCOL_TCP ? 20 : 8) > split->l3 + packet)
		return false;
	split->is_fragments = !frame->gso_size;
	if (split->is_fragments) {
		if (frame->csum_start)
			finish_l4(ip, frame->data + split->l4, split->protocol, split->l3 + packet - split->l4);
		split->head = split->l4;
		split->step =
			frame->split > split->l4 - split->l3 ? (frame->split - (split->l4 - split->l3)) / 8 * 8 : 0;
	} else {
		split->head =
			split->l4 + (split->protocol == FL_PROTOCOL_TCP ? (frame->data[split->l4 + 12] >> 4) * 4 : 8);
		split->step = frame->gso_size;
	}
	if (!split->step || split->head >= split->l3 + packet)
		return false;
	split->length = split->l3 + packet - split->head;
	split->pieces = (split->length + split->step - 1) / split->step;
	return true;
}

static u32 payload_of(const struct fl_split *split, u32 piece)
{
	u32 from = piece * split->step;

	return split->length - from < split->step ? split->length - from : split->step;
}

u32 fl_split_size(const struct fl_split *split, u32 piece)
{
	return split->head + payload_of(split, piece);
}

static void write_segment(const struct fl_split *split, u32 piece, u8 *to)
{
	u8 *ip = to + split->l3, *l4 = to + split->l4;
	u32 l4_length = fl_split_size(split, piece) - split->l4;

	if (split->protocol == FL_PROTOCOL_TCP) {
		fl_put32(l4 + 4, FL_BE32(FL_BE32(fl_get32(l4 + 4)) + piece * split->step));
		if (piece > 0)
			l4[13] &= (u8)~TCP_CWR;
		if (piece + 1 < split->pieces)
			l4[13] &= (u8) ~(FL_TCP_FIN | FL_TCP_PSH);
	} else {
		fl_put16(l4 + 4, FL_BE16(l4_length));
	}
	if (!is_ipv6(ip))
		fl_put16(ip + 4, FL_BE16(FL_BE16(fl_get16(ip + 4)) + piece));
	set_length(ip, split->l4 - split->l3 + l4_length);
	finish_l4(ip, l4, split->protocol, l4_length);
}

/* Options without the copied flag stay in the first fragment. */
static void blank_options(u8 *ip)
{
	u32 header = (ip[0] & 15) * 4;

	for (u32 at = 20; at < header && ip[at] != 0;) {
		u32 size = ip[at] == 1 || at + 1 >= header || ip[at + 1] < 2 ? 1 : ip[at + 1];

		if (at + size > header)
			return;
		if (!(ip[at] & 0x80))
			memset(ip + at, 1, size);
		at += size;
	}
}

static void write_fragment(const struct fl_split *split, u32 piece, u8 *to)
{
	u8 *ip = to + split->l3;
	u16 was = FL_BE16(fl_get16(ip + 6)); /* it may be a fragment itself */
	u16 more = piece + 1 < split->pieces ? 0x2000 : was & 0x2000;

	fl_put16(ip + 6, FL_BE16(more | ((was & 0x1fff) + piece * split->step / 8)));
	if (piece > 0)
		blank_options(ip);
	set_length(ip, fl_split_size(split, piece) - split->l3);
}

void fl_split_write(const struct fl_split *split, u32 piece, u8 *to)
{
	u32 size = fl_split_size(split, piece);

	memcpy(to, split->data, split->head);
	memcpy(to + split->head, split->data + split->head + piece * split->step, size - split->head);
	if (split->is_fragments)
		write_fragment(split, piece, to);
	else
		write_segment(split, piece, to);
	if (split->l3 == split->outer)
		return;
	set_length(to + split->outer, size - split->outer);
	if (to[split->outer + (is_ipv6(to + split->outer) ? 6 : 9)] == FL_PROTOCOL_UDP) {
		u32 udp = split->outer + (is_ipv6(to + split->outer) ? FL_IPV6_HEADER : 20);

		fl_put16(to + udp + 4, FL_BE16(size - udp));
	}
}
