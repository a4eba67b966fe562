/*
 * Turns a frame into the frame that leaves: MACs, TTL or hop limit, addresses, ports, and every checksum over them.
 */
#ifndef FL_REWRITE_H
#define FL_REWRITE_H

#include "flow.h"

#define FL_TCP_CHECKSUM 16
#define FL_UDP_CHECKSUM 6

/*
 * Takes away what follows the packet, which ends at `end`, unless the frame is no longer than `padded`. A super-frame has no
 * such thing: it was never on a wire, and the kernel would forget the size of its segments. One branch, and nothing is learned
 * of the length by it, or the verifier would follow everything once for each case.
 */
FL_INLINE void fl_cut_tail(struct fl_frame *frame, u32 end, u32 padded)
{
	u32 is_cut = ((end - frame->len) & (padded - frame->len)) >> 31 & fl_is_zero(frame->gso_size);

	fl_hide(is_cut);
	if (FL_UNLIKELY(is_cut))
		(void)fl_cut(frame, end);
	fl_forget(frame);
}

FL_INLINE int fl_rewrite_macs(struct fl_frame *frame, const u8 target[6], const u8 source[6])
{
	u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);

	if (!ether)
		return 0;
	__builtin_memcpy(ether, target, 6);
	__builtin_memcpy(ether + 6, source, 6);
	return 1;
}

#ifndef __bpf__

/*
 * What NAT changed of a frame's addresses and ports, in the TCP or UDP checksum at an offset. `hop` is what changed in
 * an IPv6 header besides, for who keeps a sum over the whole packet. False when the frame is too short.
 */
FL_INLINE int fl_change_l4_checksum(struct fl_frame *frame, u32 at, u64 addresses, u64 ports, u64 hop)
{
	struct fl_look *look = frame->look;
	u8 *checksum = fl_bytes(frame, at, 2);

	(void)hop;
	if (!checksum)
		return 0;
	if (frame->csum_start == look->l4)
		fl_put16(checksum, fl_checksum_partial(fl_get16(checksum), addresses));
	else if (look->kind == FL_KIND_UDP)
		fl_put16(checksum, fl_checksum_udp(fl_get16(checksum), addresses + ports));
	else
		fl_put16(checksum, fl_checksum_full(fl_get16(checksum), addresses + ports));
	return 1;
}

/* The same for a frame without such a checksum, for who keeps a sum over the whole packet. */
#define fl_change_packet(frame, change) ((void)(change))

#else

static void fl_change_packet(struct fl_frame *frame, u64 change);
static int fl_change_l4_checksum(struct fl_frame *frame, u32 at, u64 addresses, u64 ports, u64 hop);

#endif

/* A fragment goes on under the id that its datagram has been given: what that changes in the IP header. The fragment header
 * is the last one before l4. */
FL_INLINE u64 fl_rewrite_id(struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	u8 *id = look->is_v6 ? fl_bytes(frame, look->l4 - 4, 4) : fl_bytes(frame, look->l3 + 4, 4);
	u64 change;

	if (!id)
		return 0;
	if (look->is_v6) {
		change = fl_change32(fl_get32(id), look->fragment_id);
		fl_put32(id, look->fragment_id);
	} else {
		change = fl_change16(fl_get16(id), (u16)look->fragment_id);
		fl_put16(id, (u16)look->fragment_id);
	}
	return change;
}

/* The IP header of NAT: other addresses, one hop less to live, and what else of it has changed by this much. False when the
 * frame is too short. */
FL_INLINE int fl_rewrite_ip(struct fl_frame *frame, const struct fl_ends *ends, u64 change)
{
	struct fl_look *look = frame->look;
	u16 before;
	u8 *ip;

	if (look->is_v6) {
		ip = fl_bytes(frame, look->l3, FL_IPV6_HEADER);
		if (!ip)
			return 0;
		ip[7]--;
		fl_put_addr(ip + 8, &ends->source, 1);
		fl_put_addr(ip + 24, &ends->target, 1);
		return 1;
	}
	ip = fl_bytes(frame, look->l3, 20);
	if (!ip)
		return 0;
	before = fl_get16(ip + 8);
	ip[8]--;
	fl_put16(ip + 10, fl_checksum_full(fl_get16(ip + 10), change + fl_change16(before, fl_get16(ip + 8))));
	fl_put_addr(ip + 12, &ends->source, 0);
	fl_put_addr(ip + 16, &ends->target, 0);
	return 1;
}

/* NAT of a parsed TCP or UDP frame, with one hop less to live. `is_plain`: it is no fragment. False when the frame is
 * shorter than it was parsed. */
FL_INLINE int fl_rewrite_nat(struct fl_frame *frame, const struct fl_ends *ends, const int is_plain)
{
	struct fl_look *look = frame->look;
	u64 addresses = fl_change_addr(&look->source, &ends->source, look->is_v6) +
			fl_change_addr(&look->target, &ends->target, look->is_v6);
	u64 ports =
		fl_change16(look->source_port, ends->source_port) + fl_change16(look->target_port, ends->target_port);
	u32 at = look->l4 + (look->kind == FL_KIND_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM);
	u64 hop = fl_change16((u16)(look->ttl << 8), (u16)((look->ttl - 1) << 8)); /* where it lies in an IPv6 header */
	u32 fragment = is_plain ? 0 : look->is_fragment;
	u64 id = fragment ? fl_rewrite_id(frame) : 0;
	u8 *l4;

	/* First, because a program in the kernel loses its pointers into the frame by it. */
	if (fragment == FL_LATER_FRAGMENT)
		fl_change_packet(frame, addresses + hop + id);
	else if (!fl_change_l4_checksum(frame, at, addresses, ports, hop + id))
		return 0;
	if (!fl_rewrite_ip(frame, ends, addresses + id))
		return 0;
	if (fragment == FL_LATER_FRAGMENT)
		return 1;
	l4 = fl_bytes(frame, look->l4, 8);
	if (!l4)
		return 0;
	fl_put16(l4, ends->source_port);
	fl_put16(l4 + 2, ends->target_port);
	return 1;
}

#endif
