/*
 * What fairlead answers itself, by turning the question into the answer where it lies: ARP and NDP for its addresses,
 * ICMP echo, and ICMP errors about frames it cannot send on. Each returns the reason to count. RSTs are in refuse.h.
 */
#ifndef FL_ANSWER_H
#define FL_ANSWER_H

#include "rewrite.h"

#define FL_QUOTE_MAX 128 /* octets of the offending packet in an ICMP error; RFC 792 asks for its header and 64 bits */

#define FL_ICMP_ECHO_REPLY 0
#define FL_ICMP_UNREACHABLE 3
#define FL_ICMP_UNREACHABLE_PORT 3
#define FL_ICMP_UNREACHABLE_TOO_BIG 4
#define FL_ICMP_ECHO 8
#define FL_ICMP_TIME_EXCEEDED 11
#define FL_ICMP6_UNREACHABLE 1
#define FL_ICMP6_UNREACHABLE_PORT 4
#define FL_ICMP6_TOO_BIG 2
#define FL_ICMP6_TIME_EXCEEDED 3
#define FL_ICMP6_ECHO 128
#define FL_ICMP6_ECHO_REPLY 129
#define FL_ICMP6_SOLICITATION 135
#define FL_ICMP6_ADVERTISEMENT 136

/* RFC 826; also a probe (sender 0.0.0.0) for our address is answered, as RFC 5227 §2.4 has a defender do. */
FL_INLINE int fl_answer_arp(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	u8 *arp = fl_bytes(frame, look->l3, 28);
	u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	struct fl_addr *target = &view->scratch->one;
	u32 sender;

	if (!arp || !ether || !interface)
		return FL_REASON_SHORT_FRAME;
	/* Ethernet and IPv4, request */
	if (fl_get32(arp) != FL_BE32(0x00010800) || fl_get32(arp + 4) != FL_BE32(0x06040001))
		return FL_REASON_NOT_OURS;
	fl_get_addr(target, arp + 24, 0);
	if (!fl_vip_find(view, target, 0))
		return FL_REASON_NOT_OURS;
	sender = fl_get32(arp + 14);
	if (sender == target->word[0] || arp[8] & 1 || ether[6] & 1)
		return FL_REASON_BAD_SOURCE;
	fl_put16(arp + 6, FL_BE16(2));
	__builtin_memcpy(arp + 18, arp + 8, 6);
	fl_put32(arp + 24, sender);
	__builtin_memcpy(arp + 8, interface->mac, 6);
	fl_put32(arp + 14, target->word[0]);
	__builtin_memcpy(ether, arp + 18, 6);
	__builtin_memcpy(ether + 6, interface->mac, 6);
	fl_cut_tail(frame, look->l3 + 28, FL_ETHER_LEAST);
	return FL_REASON_ARP_REPLY;
}

/* RFC 4861 §7.1.1 (what makes a solicitation valid), §7.2.4 (the advertisement), §7.2.4 also for sender ::. */
FL_CALL int fl_answer_ndp(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	u32 length, total = look->l4 + 32;
	struct fl_addr *wanted = &view->scratch->one, *to = &view->scratch->two;
	int ok = 1, is_probe;
	u8 *ip, *icmp, *ether;
	u64 sum;

	ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
	icmp = fl_bytes(frame, look->l4, 24);
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ip || !icmp || !ether || !interface)
		return FL_REASON_SHORT_FRAME;
	fl_get_addr(wanted, icmp + 8, 1);
	if (!fl_vip_find(view, wanted, 1))
		return FL_REASON_NOT_OURS;
	if (ether[6] & 1)
		return FL_REASON_BAD_SOURCE;
	length = FL_BE16(fl_get16(ip + 4)) - (look->l4 - look->l3 - FL_IPV6_HEADER);
	if (look->ttl != 255 || icmp[1] != 0 || length < 24 || look->l4 != look->l3 + FL_IPV6_HEADER)
		return FL_REASON_BAD_L4_HEADER;
	sum = fl_sum(frame, look->l4, length, FL_QUOTE_MAX, &ok) +
	      fl_pseudo_header(&look->source, &look->target, FL_PROTOCOL_ICMP6, length);
	if (!ok || length >= FL_QUOTE_MAX || fl_fold(sum) != 0xffff)
		return FL_REASON_BAD_L4_HEADER;
	is_probe = !(look->source.word[0] | look->source.word[1] | look->source.word[2] | look->source.word[3]);
	if (fl_resize(frame, total) < 0)
		return FL_REASON_NO_ROOM;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
	icmp = fl_bytes(frame, look->l4, 32);
	if (!ether || !ip || !icmp)
		return FL_REASON_SHORT_FRAME;
	*to = look->source;
	__builtin_memcpy(ether, ether + 6, 6);
	if (is_probe) {
		to->word[0] = FL_BE32(0xff020000);
		to->word[1] = to->word[2] = 0;
		to->word[3] = FL_BE32(1);
		fl_put16(ether, FL_BE16(0x3333));
		fl_put32(ether + 2, FL_BE32(1));
	}
	__builtin_memcpy(ether + 6, interface->mac, 6);
	fl_put16(ip + 4, FL_BE16(32));
	ip[6] = FL_PROTOCOL_ICMP6;
	ip[7] = 255;
	fl_put_addr(ip + 8, wanted, 1);
	fl_put_addr(ip + 24, to, 1);
	icmp[0] = FL_ICMP6_ADVERTISEMENT;
	icmp[1] = 0;
	fl_put16(icmp + 2, 0);
	fl_put32(icmp + 4, is_probe ? FL_BE32(0x20000000) : FL_BE32(0x60000000)); /* override; solicited */
	fl_put_addr(icmp + 8, wanted, 1);
	icmp[24] = 2; /* target link-layer address, one unit of 8 octets */
	icmp[25] = 1;
	__builtin_memcpy(icmp + 26, interface->mac, 6);
	sum = fl_sum(frame, look->l4, 32, 33, &ok) + fl_pseudo_header(wanted, to, FL_PROTOCOL_ICMP6, 32);
	icmp = fl_bytes(frame, look->l4, 4);
	if (!icmp)
		return FL_REASON_SHORT_FRAME;
	fl_put16(icmp + 2, (u16)~fl_fold(sum));
	return FL_REASON_NDP_REPLY;
}

/* RFC 792, RFC 4443 §4.2: the same packet, ends swapped. */
FL_INLINE int fl_answer_echo(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	u8 *ether, *icmp, *ip;
	u16 before, checksum;

	fl_cut_tail(frame, look->end, FL_ETHER_LEAST);
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	icmp = fl_bytes(frame, look->l4, 8);
	if (!ether || !icmp || !interface)
		return FL_REASON_SHORT_FRAME;
	before = fl_get16(icmp);
	icmp[0] = look->is_v6 ? FL_ICMP6_ECHO_REPLY : FL_ICMP_ECHO_REPLY;
	/* A message of zeros sums to the other zero, whose complement is FFFF; for any other, FFFF is as good as 0. */
	checksum = fl_checksum_full(fl_get16(icmp + 2), fl_change16(before, fl_get16(icmp)));
	fl_put16(icmp + 2, checksum ? checksum : 0xffff);
	__builtin_memcpy(ether, ether + 6, 6);
	__builtin_memcpy(ether + 6, interface->mac, 6);
	if (look->is_v6) {
		ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
		if (!ip)
			return FL_REASON_SHORT_FRAME;
		ip[7] = 64;
		fl_put_addr(ip + 8, &look->target, 1);
		fl_put_addr(ip + 24, &look->source, 1);
	} else {
		ip = fl_bytes(frame, look->l3, 20);
		if (!ip)
			return FL_REASON_SHORT_FRAME;
		before = fl_get16(ip + 8);
		ip[8] = 64;
		fl_put16(ip + 10, fl_checksum_full(fl_get16(ip + 10), fl_change16(before, fl_get16(ip + 8))));
		fl_put_addr(ip + 12, &look->target, 0);
		fl_put_addr(ip + 16, &look->source, 0);
	}
	return FL_REASON_ECHO_REPLY;
}

/* Budgets for each worker and tick, so that fairlead cannot be made to flood a third party. The worker, and what it has
 * spent is of this tick. */
FL_INLINE struct fl_worker *fl_budget_of(const struct fl_view *view)
{
	struct fl_worker *worker = view->worker;

	if (worker->answer_tick != view->now) {
		worker->answer_tick = view->now;
		worker->icmp_spent = 0;
		worker->rst_spent = 0;
	}
	return worker;
}

FL_INLINE int fl_icmp_is_allowed(const struct fl_view *view)
{
	return fl_budget_of(view)->icmp_spent++ < view->settings->icmp_per_tick;
}

/* Type and code. */
FL_INLINE u16 fl_icmp_error_type(const struct fl_look *look, int reason)
{
	u16 type_and_code;

	if (FL_IS_REFUSAL(reason))
		type_and_code = look->is_v6 ? FL_ICMP6_UNREACHABLE << 8 | FL_ICMP6_UNREACHABLE_PORT
					    : FL_ICMP_UNREACHABLE << 8 | FL_ICMP_UNREACHABLE_PORT;
	else if (reason == FL_REASON_TIME_EXCEEDED)
		type_and_code = (look->is_v6 ? FL_ICMP6_TIME_EXCEEDED : FL_ICMP_TIME_EXCEEDED) << 8;
	else
		type_and_code =
			look->is_v6 ? FL_ICMP6_TOO_BIG << 8 : FL_ICMP_UNREACHABLE << 8 | FL_ICMP_UNREACHABLE_TOO_BIG;
	return FL_BE16(type_and_code);
}

/* How much of a frame's packet an ICMP error with `head` octets of headers quotes. A refusal can be had for any forged
 * datagram, so it is no longer than that, but for the header and 64 bits that are always quoted. */
FL_INLINE u32 fl_quote_size(const struct fl_frame *frame, u32 head, int reason)
{
	struct fl_look *look = frame->look;
	u32 quote = look->end - look->l3, least = look->l4 - look->l3 + 8;

	if (FL_IS_REFUSAL(reason))
		quote = quote > head + least ? quote - head : least;
	return quote > FL_QUOTE_MAX ? FL_QUOTE_MAX : quote;
}

/*
 * An ICMP error to the sender of a TCP or UDP frame, quoting it (RFC 792, RFC 1812 §4.3.2, RFC 4443 §3). From the
 * host's own address on the interface; where it has none, and when it refuses what was sent to a VIP, from the address
 * the frame was sent to (RFC 1122 §3.2.2, RFC 4443 §2.2).
 */
FL_CALL int fl_answer_icmp_error(const struct fl_view *view, struct fl_frame *frame, int reason)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	u32 head = 20 + 8 + look->is_v6 * (FL_IPV6_HEADER - 20);
	u32 quote = fl_quote_size(frame, head, reason);
	struct fl_addr *from = &view->scratch->one;
	u8 *ether, *ip, *icmp;
	u32 l4, total;
	int ok = 1;
	u64 sum;

	if (!interface || look->end < look->l3)
		return FL_REASON_SHORT_FRAME;
	if (!fl_is_answerable(frame))
		return FL_REASON_SLOW_PATH;
	if (!fl_icmp_is_allowed(view))
		return FL_REASON_ICMP_LIMITED;
	/* The verifier forgets what it knew of a number in memory, and so follows the loops once, not for each case. */
	fl_store(&view->scratch->quote, quote);
	quote = fl_load(&view->scratch->quote);
	total = look->l3 + head + quote;
	if (total > frame->len && fl_resize(frame, total) < 0)
		return FL_REASON_NO_ROOM;
	for (u32 i = 0; i < FL_QUOTE_MAX; i++) {
		u32 at = look->l3 + quote - 1 - i;
		u8 *old, *new;

		if (i >= quote)
			break;
		old = fl_bytes(frame, at, 1);
		new = fl_bytes(frame, at + head, 1);
		if (!old || !new)
			return FL_REASON_SHORT_FRAME;
		*new = *old;
	}
	if (total < frame->len && fl_resize(frame, total) < 0)
		return FL_REASON_OVERSIZE;
	*from = look->target;
	if (!FL_IS_REFUSAL(reason) && !look->is_v6 && interface->address4)
		from->word[0] = interface->address4;
	if (!FL_IS_REFUSAL(reason) && look->is_v6 && interface->address6.word[0])
		*from = interface->address6;
	l4 = look->l3 + head - 8;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	ip = fl_bytes(frame, look->l3, 20);
	icmp = fl_bytes(frame, l4, 8);
	if (!ether || !ip || !icmp)
		return FL_REASON_SHORT_FRAME;
	__builtin_memcpy(ether, ether + 6, 6);
	__builtin_memcpy(ether + 6, interface->mac, 6);
	fl_put16(icmp, fl_icmp_error_type(look, reason));
	fl_put16(icmp + 2, 0);
	fl_put32(icmp + 4, reason == FL_REASON_TOO_BIG ? FL_BE32(view->scratch->mtu) : 0);
	sum = fl_sum(frame, l4, 8 + quote, FL_QUOTE_MAX + 10, &ok);
	if (look->is_v6) {
		sum += fl_pseudo_header(from, &look->source, FL_PROTOCOL_ICMP6, 8 + quote);
		ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
		if (!ip)
			return FL_REASON_SHORT_FRAME;
		fl_put32(ip, FL_BE32(0x60000000));
		fl_put16(ip + 4, FL_BE16(8 + quote));
		ip[6] = FL_PROTOCOL_ICMP6;
		ip[7] = 64;
		fl_put_addr(ip + 8, from, 1);
		fl_put_addr(ip + 24, &look->source, 1);
	} else {
		fl_put32(ip, FL_BE32(0x45c00000 | (head + quote))); /* internetwork control, RFC 1812 §4.3.2.5 */
		fl_put32(ip + 4, FL_BE32(0x4000));
		fl_put16(ip + 8, FL_BE16(64 << 8 | FL_PROTOCOL_ICMP));
		fl_put16(ip + 10, 0);
		fl_put_addr(ip + 12, from, 0);
		fl_put_addr(ip + 16, &look->source, 0);
		fl_put16(ip + 10, (u16)~fl_fold((u64)fl_get32(ip) + fl_get32(ip + 4) + fl_get32(ip + 8) +
						fl_get32(ip + 12) + fl_get32(ip + 16)));
	}
	icmp = fl_bytes(frame, l4, 8);
	if (!icmp || !ok)
		return FL_REASON_SHORT_FRAME;
	fl_put16(icmp + 2, (u16)~fl_fold(sum));
	frame->csum_start = 0;
	frame->gso_size = 0;
	return reason;
}

#endif
