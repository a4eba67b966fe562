/*
 * What must hold of any frame that went through the core: its verdict is its reason's, what passes or is kept is as it
 * came, and what leaves has every checksum right that was right before, those of a packet that it quotes among them.
 */
#ifndef FL_FUZZ_CHECKS_H
#define FL_FUZZ_CHECKS_H

#include "../test/core-world.h"

#define MUST(condition, ...)                          \
	do {                                          \
		if (!(condition)) {                   \
			fprintf(stderr, __VA_ARGS__); \
			fprintf(stderr, "\n");        \
			abort();                      \
		}                                     \
	} while (0)

/* Where the IP header is, whole but for options and extensions; 0: nowhere. */
static u32 l3_of(const u8 *data, u32 len)
{
	u32 l3 = 14;

	for (int i = 0; len >= l3; i++, l3 += 4) {
		u16 type = fl_get16(data + l3 - 2);

		if (type == FL_BE16(0x0800))
			return len >= l3 + 20 && data[l3] >> 4 == 4 && (data[l3] & 15) >= 5 ? l3 : 0;
		if (type == FL_BE16(0x86dd))
			return len >= l3 + 40 && data[l3] >> 4 == 6 ? l3 : 0;
		if (i == 2 || (type != FL_BE16(0x8100) && type != FL_BE16(0x88a8)))
			return 0;
	}
	return 0;
}

/* Where L4 of a packet in `len` octets is, how long it is by its IP header, and what; 0: not all of it is there, or it is a
 * fragment. */
static u32 l4_of(const u8 *ip, u32 len, u32 *size, u8 *protocol)
{
	int is_v6 = ip[0] >> 4 == 6;
	u32 head = is_v6 ? 40 : (ip[0] & 15) * 4u, total = FL_BE16(fl_get16(ip + (is_v6 ? 4 : 2))) + (is_v6 ? 40 : 0);

	*protocol = ip[is_v6 ? 6 : 9];
	*size = 0;
	while (is_v6 && head + 8 <= len && head + 8 <= total) {
		u32 more = (ip[head + 1] + 1) * 8u;

		if (*protocol == FL_PROTOCOL_FRAGMENT && fl_get16(ip + head + 2) & FL_BE16(0xfff9))
			return 0;
		if (*protocol == FL_PROTOCOL_FRAGMENT)
			more = 8;
		else if (*protocol == FL_PROTOCOL_AH)
			more = (ip[head + 1] + 2) * 4u;
		else if (*protocol != FL_PROTOCOL_HOPOPTS && *protocol != FL_PROTOCOL_DSTOPTS &&
			 *protocol != FL_PROTOCOL_ROUTING)
			break;
		*protocol = ip[head];
		head += more;
	}
	if (total < head + 8 || total > len || (!is_v6 && (head < 20 || fl_get16(ip + 6) & FL_BE16(0x3fff))))
		return 0;
	*size = total - head;
	return head;
}

/* The same of a frame's packet, counted from the frame's start. */
static u32 plain_l4(const u8 *data, u32 len, u32 *l3, u32 *l4_size, u8 *protocol)
{
	u32 l4;

	*l3 = l3_of(data, len);
	*l4_size = *protocol = 0;
	l4 = *l3 ? l4_of(data + *l3, len - *l3, l4_size, protocol) : 0;
	return l4 ? *l3 + l4 : 0;
}

static u32 pseudo_sum(const u8 *ip, u32 size, u8 protocol)
{
	int is_v6 = ip[0] >> 4 == 6;

	return world_sum(ip + (is_v6 ? 8 : 12), is_v6 ? 32 : 8, protocol + size);
}

/* Does the L4 checksum of a whole packet verify? UDP's 0 counts as right. */
static int is_packet_right(const u8 *ip, u32 len)
{
	u32 size, l4;
	u8 protocol;

	l4 = l4_of(ip, len, &size, &protocol);
	if (!l4)
		return 0;
	if (protocol == FL_PROTOCOL_UDP) {
		u32 length = FL_BE16(fl_get16(ip + l4 + 4));

		if (!fl_get16(ip + l4 + 6))
			return 1;
		size = length <= size ? length : 0;
	}
	return size &&
	       world_sum(ip + l4, size, protocol == FL_PROTOCOL_ICMP ? 0 : pseudo_sum(ip, size, protocol)) == 0xffff;
}

static int is_l4_right(const u8 *data, u32 len)
{
	u32 l3 = l3_of(data, len);

	return l3 && is_packet_right(data + l3, len - l3);
}

/* A partial checksum is the pseudo-header's sum. */
static int is_partial_right(const u8 *data, u32 len)
{
	u32 l3, size, l4;
	u8 protocol;

	l4 = plain_l4(data, len, &l3, &size, &protocol);
	if (!l4 || (protocol != FL_PROTOCOL_TCP && protocol != FL_PROTOCOL_UDP))
		return 0;
	if (protocol == FL_PROTOCOL_TCP && size < 20)
		return 0;
	return pseudo_sum(data + l3, size, protocol) ==
	       FL_BE16(fl_get16(data + l4 + (protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM)));
}

static int is_ipv4_right(const u8 *data, u32 len)
{
	u32 l3 = l3_of(data, len);

	if (!l3 || data[l3] >> 4 != 4 || l3 + (data[l3] & 15) * 4u > len)
		return 1;
	return world_sum(data + l3, (data[l3] & 15) * 4u, 0) == 0xffff;
}

/* A refusal goes back to where the frame came from, answers no RST, and is longer than the frame only where that was too
 * short for the least that is quoted. */
static void check_refusal(const struct fl_frame *before, const struct fl_frame *after)
{
	u32 l3 = l3_of(before->data, before->len), at = l3_of(after->data, after->len), size, l4;
	int is_v6 = before->data[l3] >> 4 == 6;
	u32 length = is_v6 ? 16 : 4, source = l3 + (is_v6 ? 8 : 12), target = at + (is_v6 ? 24 : 16);
	u8 protocol;

	l4 = plain_l4(before->data, before->len, &l3, &size, &protocol);
	MUST(!memcmp(before->data + 6, after->data, 6), "a refusal to another station");
	MUST(!memcmp(before->data + source, after->data + target, length), "a refusal to another address");
	MUST(after->len <= before->len || after->len - at <= (is_v6 ? 2 : 1) * 128u, "a refusal that amplifies");
	if (after->data[at + (is_v6 ? 6 : 9)] != FL_PROTOCOL_TCP)
		return;
	MUST(after->len <= before->len, "a RST longer than what it answers");
	MUST(!l4 || !(before->data[l4 + 13] & FL_TCP_RST), "a RST in answer to a RST");
}

/* How long a frame is without what follows its packet, but for the padding that it may keep. */
static u32 length_of(const struct fl_frame *frame, int is_wrapped)
{
	u32 l3 = l3_of(frame->data, frame->len);
	u32 end = l3 + (frame->data[l3] >> 4 == 6 ? 40 + FL_BE16(fl_get16(frame->data + l3 + 4))
						  : FL_BE16(fl_get16(frame->data + l3 + 2)));

	return frame->gso_size || (frame->len <= FL_ETHER_LEAST && !is_wrapped) ? frame->len : end;
}

/* What an error quotes: bit 0 its IPv4 header verifies, or it has none; bit 1 all of it is there and right. */
static int quote_of(const u8 *data, u32 len)
{
	u32 l3, size, l4;
	const u8 *ip;
	u8 protocol;

	l4 = plain_l4(data, len, &l3, &size, &protocol);
	ip = data + l4 + 8;
	if (!l4 || size < 8 + 20 || (ip[0] >> 4 == 6 && size < 8 + 40))
		return 0;
	if (ip[0] >> 4 == 4 && ((ip[0] & 15) < 5 || size < 8 + (ip[0] & 15) * 4u))
		return 0;
	return (ip[0] >> 4 == 6 || world_sum(ip, (ip[0] & 15) * 4u, 0) == 0xffff) | is_packet_right(ip, size - 8) << 1;
}

/* Behind the outer headers is the packet, which but for a SYN's MSS is what came. */
static void check_wrapped(const struct fl_frame *before, const struct fl_frame *after, int was_right)
{
	u32 l3 = l3_of(before->data, before->len), len = length_of(before, 1);
	u8 *unwrapped = malloc(len);

	MUST(unwrapped, "no memory");
	memcpy(unwrapped, after->data + after->outer, len);
	memcpy(unwrapped, before->data, l3);
	MUST(!was_right || is_l4_right(unwrapped, len), "wrong checksum in a tunnel");
	for (u32 i = 0, changed = 0; i < len; i++) {
		changed += unwrapped[i] != before->data[i];
		MUST(changed <= 4, "the packet in a tunnel is another");
	}
	free(unwrapped);
}

static void check_result(const struct fl_frame *before, const struct fl_frame *after, const struct fl_result *result)
{
	int was_right = is_l4_right(before->data, before->len),
	    was_partial = is_partial_right(before->data, before->len);

	MUST(result->reason < FL_REASON_COUNT, "reason %u is none", result->reason);
	MUST(result->verdict == fl_verdict_of(result->reason), "verdict %u of reason %u", result->verdict,
	     result->reason);
	MUST(result->reason != FL_REASON_NONE, "a frame without a decision");
	if (result->verdict == FL_PASS)
		MUST(after->len == before->len && !memcmp(after->data, before->data, before->len),
		     "a passed frame was changed, reason %u", result->reason);
	if (result->verdict == FL_KEEP)
		MUST(after->len == before->len && !memcmp(after->data, before->data, before->len),
		     "a kept fragment was changed");
	if (result->verdict != FL_FORWARD && result->verdict != FL_ANSWER)
		return;
	MUST(result->out_interface < 2, "out by interface %u", result->out_interface);
	MUST(!(after->data[0] & 1) || (result->reason == FL_REASON_NDP_REPLY && after->data[0] == 0x33),
	     "to a group MAC, reason %u", result->reason);
	MUST(after->data[6] == 2 && after->data[11] == 1 + result->out_interface, "not from the out interface's MAC");
	MUST(is_ipv4_right(after->data, after->len), "wrong IPv4 checksum, reason %u", result->reason);
	if (result->verdict == FL_FORWARD) {
		MUST(after->len == length_of(before, after->outer) + after->outer,
		     "a forwarded frame changed its length");
		MUST(after->csum_start == (before->csum_start ? before->csum_start + after->outer : 0) &&
			     after->gso_size == before->gso_size,
		     "offload state lost");
		if (after->outer) {
			check_wrapped(before, after, was_right);
			return;
		}
		if (before->csum_start && after->look && before->csum_start == after->look->l4)
			MUST(!was_partial || is_partial_right(after->data, after->len), "wrong partial checksum");
		else
			MUST(!was_right || is_l4_right(after->data, after->len), "wrong checksum, reason %u",
			     result->reason);
		if (result->reason == FL_REASON_ICMP_ERROR) {
			int lost = quote_of(before->data, before->len) & ~quote_of(after->data, after->len);

			MUST(!lost, "what an error quotes is not right any more, %d", lost);
		}
		return;
	}
	MUST(after->len <= after->room, "an answer beyond its room");
	MUST(!after->csum_start && !after->gso_size, "an answer with offload state");
	MUST(result->out_interface == before->interface, "an answer by another interface");
	if (FL_IS_REFUSAL(result->reason))
		check_refusal(before, after);
	if (result->reason == FL_REASON_TIME_EXCEEDED || result->reason == FL_REASON_TOO_BIG ||
	    FL_IS_REFUSAL(result->reason) || result->reason == FL_REASON_NDP_REPLY ||
	    (result->reason == FL_REASON_ECHO_REPLY && was_right))
		MUST(is_l4_right(after->data, after->len), "wrong checksum of an answer, reason %u", result->reason);
}

#endif
