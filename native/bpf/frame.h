/*
 * The frame in the kernel: what the core asks of it, for both entries. xdp has the driver's buffer, tc a socket buffer
 * that may still owe a checksum or be a super-frame. fl_entry is constant when a program is loaded, so the verifier and
 * the JIT see only one side of each question.
 *
 * The asm differs between the two sides, or clang would merge them into one load at a computed offset of the context,
 * which the verifier refuses.
 */
#ifndef FL_BPF_FRAME_H
#define FL_BPF_FRAME_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../core/checksum.h"
#include "../core/frame.h"
#include "../core/record.h"
#include "../core/region.h"

const volatile struct fl_entry fl_entry SEC(".rodata.entry") = { 0 };

#define FL_TC_LINEAR 192 /* octets: headers of a plain frame, and what an ICMP error quotes of it */

static __always_inline void point_at(struct fl_frame *frame)
{
	if (fl_entry.is_tc) {
		struct __sk_buff *skb = frame->context;
		u8 *data = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;

		asm volatile("" : "+r"(data));
		asm volatile("" : "+r"(end));
		frame->data = data;
		frame->end = end;
	} else {
		struct xdp_md *xdp = frame->context;
		u8 *data = (u8 *)(long)xdp->data, *end = (u8 *)(long)xdp->data_end;

		asm volatile("" : "+r"(data), "+r"(end));
		frame->data = data;
		frame->end = end;
	}
}

static __always_inline void fl_forget(struct fl_frame *frame)
{
	point_at(frame);
}

FL_INLINE int fl_cut(struct fl_frame *frame, u32 len)
{
	long code;

	if (fl_entry.is_tc)
		code = bpf_skb_change_tail(frame->context, len, 0);
	else
		code = bpf_xdp_adjust_tail(frame->context, (int)len - (int)frame->len);
	point_at(frame);
	if (code)
		return -1;
	frame->len = len;
	return 0;
}

static int fl_resize(struct fl_frame *frame, u32 len)
{
	return fl_cut(frame, len);
}

/* tc: the kernel notes what lies outside of what, so that it can still cut a super-frame into segments: their size stays
 * as the sender chose it, since the core has seen that they fit. */
static __always_inline u64 room_flags(u32 tunnel, u32 is_outer_v6)
{
	u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	flags |= is_outer_v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (tunnel == FL_TUNNEL_GRE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	if (tunnel == FL_TUNNEL_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	return flags;
}

/* xdp: the Ethernet header, which has moved away from the packet by so many octets, back before it. */
static __always_inline int close_gap(struct fl_frame *frame, u32 l3, u32 octets)
{
	u8 *to = fl_bytes(frame, 0, FL_ETHER_HEADER), *from = fl_bytes(frame, octets, FL_ETHER_HEADER);

	if (!to || !from)
		return -1;
	__builtin_memcpy(to, from, FL_ETHER_HEADER);
	for (u32 at = FL_ETHER_HEADER; at < FL_ETHER_HEADER + 8; at += 4) {
		if (at >= l3)
			break;
		to = fl_bytes(frame, at, 4);
		from = fl_bytes(frame, octets + at, 4);
		if (!to || !from)
			return -1;
		fl_put32(to, fl_get32(from));
	}
	return 0;
}

FL_INLINE int fl_push(struct fl_frame *frame, u32 l3, u32 octets, u32 tunnel, u32 is_outer_v6)
{
	long code;

	if (fl_entry.is_tc)
		code = bpf_skb_adjust_room(frame->context, (int)octets, BPF_ADJ_ROOM_MAC,
					   room_flags(tunnel, is_outer_v6));
	else
		code = bpf_xdp_adjust_head(frame->context, -(int)octets);
	point_at(frame);
	if (code)
		return -1;
	frame->len += octets;
	return fl_entry.is_tc ? 0 : close_gap(frame, l3, octets);
}

/* Where the frame's TCP or UDP checksum is. */
static __always_inline u32 checksum_at(const struct fl_frame *frame)
{
	return frame->look->l4 + (frame->look->kind == FL_KIND_TCP ? 16 : 6);
}

/*
 * tc: is the checksum only the pseudo-header's sum, the rest to be added on the way out? The kernel does not say; but
 * it updates the two kinds by different rules, so one update shows which it is. Then it is undone.
 */
static __attribute__((noinline)) int owes_checksum(struct fl_frame *frame)
{
	u32 at = checksum_at(frame);
	u16 before, after;
	u8 *checksum = fl_bytes(frame, at, 2);
	long code;

	if (!checksum)
		return 0;
	before = fl_get16(checksum);
	code = bpf_l4_csum_replace(frame->context, at, 0, 1, BPF_F_PSEUDO_HDR);
	point_at(frame);
	checksum = fl_bytes(frame, at, 2);
	if (code || !checksum)
		return 0;
	after = fl_get16(checksum);
	bpf_l4_csum_replace(frame->context, at, 0, ~1u, BPF_F_PSEUDO_HDR);
	point_at(frame);
	checksum = fl_bytes(frame, at, 2);
	if (!checksum)
		return 0;
	fl_put16(checksum, before);
	return after == fl_checksum_partial(before, 1);
}

static int fl_is_answerable(struct fl_frame *frame)
{
	if (!fl_entry.is_tc || !owes_checksum(frame))
		return 1;
	frame->csum_start = frame->look->l4; /* for the slow path to know */
	return 0;
}

/* As many of 32 bits as a ones' complement sum needs. */
static __always_inline u32 fold32(u64 sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	return (u32)((sum & 0xffffffffu) + (sum >> 32));
}

static void fl_change_packet(struct fl_frame *frame, u64 change)
{
	/* An IPv4 header's own checksum compensates what changes in it. */
	if (fl_entry.is_tc && frame->look->is_v6)
		bpf_csum_update(frame->context, fold32(change));
}

/*
 * tc: bpf_l4_csum_replace knows what kind of checksum it is, and keeps a sum that the card made over the whole packet
 * (CHECKSUM_COMPLETE) in step, as if the IP header had a checksum to compensate the addresses. IPv6 has none, so there
 * it is put right again.
 */
static int fl_change_l4_checksum(struct fl_frame *frame, u32 at, u64 addresses, u64 ports, u64 hop)
{
	struct fl_look *look = frame->look;
	u8 *checksum;

	if (fl_entry.is_tc) {
		u64 zero_is_none = look->kind == FL_KIND_UDP ? BPF_F_MARK_MANGLED_0 : 0;
		long code =
			bpf_l4_csum_replace(frame->context, at, 0, fold32(addresses), BPF_F_PSEUDO_HDR | zero_is_none);

		code |= bpf_l4_csum_replace(frame->context, at, 0, fold32(ports), zero_is_none);
		if (look->is_v6)
			bpf_csum_update(frame->context, fold32(addresses + hop));
		point_at(frame);
		return code == 0;
	}
	checksum = fl_bytes(frame, at, 2);
	if (!checksum)
		return 0;
	if (look->kind == FL_KIND_UDP)
		fl_put16(checksum, fl_checksum_udp(fl_get16(checksum), addresses + ports));
	else
		fl_put16(checksum, fl_checksum_full(fl_get16(checksum), addresses + ports));
	return 1;
}

/* Is it Ethernet, IP without options or extensions, TCP or UDP? */
static __always_inline int is_plain(const struct fl_frame *frame)
{
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER + 20);
	u8 next;

	if (!ether)
		return 0;
	if (fl_get16(ether + 12) == FL_BE16(FL_ETHERTYPE_IPV4) && ether[14] == 0x45)
		next = ether[23];
	else if (fl_get16(ether + 12) == FL_BE16(FL_ETHERTYPE_IPV6))
		next = ether[20];
	else
		return 0;
	return next == FL_PROTOCOL_TCP || next == FL_PROTOCOL_UDP;
}

static __always_inline void pull(struct fl_frame *frame, u32 size)
{
	if (size > frame->len)
		size = frame->len;
	if (frame->data + size <= frame->end)
		return;
	bpf_skb_pull_data(frame->context, size);
	point_at(frame);
}

/* Describes the frame to the core. */
static __always_inline void describe_frame(struct fl_frame *frame, void *context)
{
	frame->context = context;
	frame->interface = fl_entry.interface;
	frame->worker = bpf_get_smp_processor_id();
	point_at(frame);
	if (fl_entry.is_tc) {
		struct __sk_buff *skb = context;

		frame->len = skb->len;
		frame->gso_size = skb->gso_size;
		return;
	}
	frame->len = fl_entry.has_frags ? bpf_xdp_get_buff_len(context) : frame->end - frame->data;
}

/* The same, and what the core will read of it is in one piece. */
static __always_inline void take_frame(struct fl_frame *frame, void *context)
{
	describe_frame(frame, context);
	if (!fl_entry.is_tc)
		return;
	pull(frame, FL_TC_LINEAR);
	if (!is_plain(frame))
		pull(frame, FL_REACH);
}

#endif
