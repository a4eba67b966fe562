/*
 * fl_forward(): (region, frame, now) -> (verdict, rewritten frame). The whole decision, top to bottom:
 *
 *   look    parse; is the target an address of ours? where would the flow be?
 *   decide  ARP, NDP, echo -> answer; a flow's frame -> rewrite; a first frame for a service -> new flow; else pass
 *
 * Look and decide are apart so that a batch can look at all its frames first and have the table's lines on their way.
 * A malformed frame is dropped only when it is for us; anybody else's is the host's to judge.
 */
#ifndef FL_FORWARD_H
#define FL_FORWARD_H

#include "answer.h"
#include "begin.h"
#include "state.h"

struct fl_result {
	u8 verdict;
	u8 reason;
	u8 out_interface;
	u8 reserved;
	u32 out_ifindex;
};

/* What a replay of the programs in the kernel tells them, and what they tell it. */
struct fl_replayed {
	u64 now; /* ns */
	struct fl_result result;
};

FL_INLINE int fl_is_balanced(const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	return (look->kind == FL_KIND_TCP || look->kind == FL_KIND_UDP) && !look->is_fragment;
}

/* The first fragment of a nat server's answer: the guard keeps it from the host, so it is ours to drop by name. */
FL_INLINE int fl_is_first_fragment(const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;

	return look->is_fragment == FL_FIRST_FRAGMENT &&
	       (look->protocol == FL_PROTOCOL_TCP || look->protocol == FL_PROTOCOL_UDP);
}

FL_INLINE void fl_look(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_vip *vip;

	__builtin_memset(look, 0, __builtin_offsetof(struct fl_look, source));
	look->malformed = fl_parse(frame);
	if (!look->l3 || look->kind == FL_KIND_ARP)
		return;
	vip = fl_vip_find(view, &look->target, look->is_v6);
	if (vip) {
		look->vip_flags = vip->flags;
		look->range_first = vip->range_first;
		look->range_count = vip->range_count;
	}
	if (look->malformed || (!fl_is_balanced(frame) && !fl_is_first_fragment(frame)))
		return;
	look->home = fl_home_of(view->header->seed, view->header->buckets, vip ? &look->source : &look->target,
				vip ? look->source_port : look->target_port, look->protocol, look->is_v6);
}

/* Can this be a client's address? RFC 1122 §3.2.1.3, RFC 4291 §2.5-2.7: no unspecified, loopback, group, mapped. */
FL_INLINE int fl_is_client(const struct fl_addr *addr, int is_v6)
{
	u32 first = FL_BE32(addr->word[0]) >> 24;

	if (!is_v6)
		return first != 0 && first != 127 && first < 224;
	if (first == 0xff)
		return 0;
	if (addr->word[0] | addr->word[1])
		return 1;
	return addr->word[2] != 0 && addr->word[2] != FL_BE32(0xffff);
}

/* 0, or why a frame to one of our addresses must not be taken. */
FL_INLINE int fl_refuse(const struct fl_view *view, const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface = fl_interface_of(view, frame->interface);
	const u8 *ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	u8 flags = look->tcp_flags;

	if (!ether || !interface)
		return FL_REASON_SHORT_FRAME;
	if (ether[6] & 1 || !fl_is_client(&look->source, look->is_v6))
		return FL_REASON_BAD_SOURCE;
	if (ether[0] & 1)
		return FL_REASON_BAD_DESTINATION;
	if (fl_get32(ether) != fl_get32(interface->mac) || fl_get16(ether + 4) != fl_get16(interface->mac + 4))
		return FL_REASON_NOT_OURS; /* seen in promiscuous mode or flooded by a switch */
	if (fl_addr_same(&look->source, &look->target))
		return FL_REASON_LAND;
	if (fl_vip_find(view, &look->source, look->is_v6))
		return FL_REASON_BAD_SOURCE;
	if (look->is_fragment)
		return FL_REASON_FRAGMENT;
	if (look->kind == FL_KIND_TCP && (!(flags & (FL_TCP_SYN | FL_TCP_RST | FL_TCP_ACK)) ||
					  (flags & FL_TCP_SYN && flags & (FL_TCP_FIN | FL_TCP_RST)) ||
					  (flags & FL_TCP_FIN && !(flags & FL_TCP_ACK))))
		return FL_REASON_BAD_FLAGS;
	return 0;
}

/* Can the frame go out by this interface? 0, or the reason why not. */
FL_INLINE int fl_hinder(const struct fl_view *view, struct fl_frame *frame, const struct fl_interface *out)
{
	struct fl_look *look = frame->look;
	u32 size = frame->len - look->l3;

	if (look->ttl <= 1)
		return FL_REASON_TIME_EXCEEDED;
	if (frame->gso_size) {
		const u8 *tcp = fl_bytes(frame, look->l4, 14);

		if (!tcp)
			return FL_REASON_SHORT_FRAME;
		size = look->l4 - look->l3 + frame->gso_size +
		       (look->kind == FL_KIND_TCP ? (u32)(tcp[12] >> 4) * 4 : 8);
	}
	if (FL_UNLIKELY(size > out->mtu)) {
		const u8 *ip = fl_bytes(frame, look->l3, 20);
		u32 total;

		if (!ip)
			return FL_REASON_SHORT_FRAME;
		/* Ethernet padding is not part of the packet. */
		total = look->is_v6 ? FL_IPV6_HEADER + FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2));
		if (!frame->gso_size && total <= out->mtu)
			return 0;
		if (!look->is_v6 && !(fl_get16(ip + 6) & FL_BE16(0x4000)))
			return FL_REASON_OVERSIZE;
		view->scratch->mtu = out->mtu;
		return FL_REASON_TOO_BIG;
	}
	return 0;
}

FL_INLINE struct fl_traffic *fl_traffic_of(const struct fl_view *view, u32 server_slot)
{
	return fl_traffic_at(view->region, view->worker_index * view->settings->server_capacity + server_slot);
}

/* A client's frame goes to its server: 0, or what hinders it. */
FL_CALL int fl_to_server(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	struct fl_look *look = frame->look;
	u32 index = look->index;
	struct fl_flow *flow = fl_flows_at(view->region, index);
	const u64 *hops;
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 len = frame->len;
	struct fl_ends *ends = &view->scratch->ends;
	const u8 *ether;
	union {
		u64 word;
		u8 octet[8];
	} hop;
	int hindrance;

	if (!flow)
		return FL_REASON_NO_FLOW;
	hops = fl_hops_at(view->region, flow->server_slot);
	if (!hops)
		return FL_REASON_NO_NEIGHBOUR;
	hop.word = fl_load(hops);
	out = fl_interface_of(view, hop.octet[6]);
	if (!fl_hop_is_known(hop.word) || !out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	hindrance = fl_hinder(view, frame, out);
	if (hindrance)
		return hindrance;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether)
		return FL_REASON_SHORT_FRAME;
	fl_flow_addr(view, flow, index, FL_WHICH_SERVER, &ends->target);
	ends->target_port = flow->server_port;
	ends->source = look->source;
	ends->source_port = look->source_port;
	if (flow->flags & FL_FLOW_FULL_NAT) {
		fl_flow_addr(view, flow, index, FL_WHICH_LOCAL, &ends->source);
		ends->source_port = flow->local_port;
	}
	if (FL_UNLIKELY(!fl_flow_is_same(flow, look)))
		return FL_REASON_NO_FLOW;
	/* The way back follows the client's router. */
	if (FL_UNLIKELY(fl_get32(ether + 6) != fl_get32(flow->client_mac) ||
			fl_get16(ether + 10) != fl_get16(flow->client_mac + 4) ||
			flow->client_interface != frame->interface)) {
		__builtin_memcpy(flow->client_mac, ether + 6, 6);
		flow->client_interface = frame->interface;
	}
	fl_flow_touch(view, flow, frame, FL_SIDE_CLIENT);
	if (!fl_rewrite_nat(frame, ends) || !fl_rewrite_macs(frame, hop.octet, out->mac))
		return FL_REASON_SHORT_FRAME;
	traffic = fl_traffic_of(view, flow->server_slot);
	if (traffic) {
		traffic->in_frames++;
		traffic->in_octets += len;
	}
	result->out_interface = hop.octet[6];
	result->out_ifindex = out->ifindex;
	return 0;
}

/* A server's frame goes back to its client, by the way the client's came: 0, or what hinders it. */
FL_CALL int fl_to_client(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	u32 index = frame->look->index;
	struct fl_flow *flow = fl_flows_at(view->region, index);
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 len = frame->len;
	struct fl_ends *ends = &view->scratch->ends;
	u8 client_interface, mac[6];
	int hindrance;

	if (!flow)
		return FL_REASON_NO_FLOW;
	client_interface = flow->client_interface;
	out = fl_interface_of(view, client_interface);
	if (!out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	hindrance = fl_hinder(view, frame, out);
	if (hindrance)
		return hindrance;
	fl_flow_addr(view, flow, index, FL_WHICH_VIP, &ends->source);
	fl_flow_addr(view, flow, index, FL_WHICH_CLIENT, &ends->target);
	ends->source_port = flow->vip_port;
	ends->target_port = flow->client_port;
	__builtin_memcpy(mac, flow->client_mac, 6);
	if (FL_UNLIKELY(!fl_flow_is_same(flow, frame->look)))
		return FL_REASON_NO_FLOW;
	fl_flow_touch(view, flow, frame, FL_SIDE_SERVER);
	if (!fl_rewrite_nat(frame, ends) || !fl_rewrite_macs(frame, mac, out->mac))
		return FL_REASON_SHORT_FRAME;
	traffic = fl_traffic_of(view, flow->server_slot);
	if (traffic) {
		traffic->out_frames++;
		traffic->out_octets += len;
	}
	result->out_interface = client_interface;
	result->out_ifindex = out->ifindex;
	return 0;
}

/* A frame to one of our addresses. */
FL_INLINE int fl_decide_ours(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	struct fl_flow *flow;
	struct fl_key *key = &view->scratch->key;
	int why = look->malformed;
	const u8 *ether;

	if (!why)
		why = fl_refuse(view, frame);
	if (why)
		return why;
	if (look->kind == FL_KIND_ICMP || look->kind == FL_KIND_ICMP6) {
		const u8 *icmp = fl_bytes(frame, look->l4, 8);

		if (!icmp)
			return FL_REASON_SHORT_FRAME;
		if (look->is_v6 && icmp[0] == FL_ICMP6_SOLICITATION)
			return FL_REASON_NDP_REPLY;
		if (icmp[0] == (look->is_v6 ? FL_ICMP6_ECHO : FL_ICMP_ECHO) && icmp[1] == 0)
			return FL_REASON_ECHO_REPLY;
		return FL_REASON_UNSUPPORTED;
	}
	if (!fl_is_balanced(frame))
		return FL_REASON_UNSUPPORTED;
	key->client = look->source;
	key->client_port = look->source_port;
	key->other = look->target;
	key->other_port = look->target_port;
	key->protocol = look->protocol;
	key->is_v6 = look->is_v6;
	flow = fl_flow_find(view, &look->home, key, FL_SIDE_CLIENT, look);
	if (flow) {
		u32 control = fl_load(&flow->control);
		u32 state = control & FL_STATE_MASK;

		if (FL_LIKELY(!(look->kind == FL_KIND_TCP &&
				(look->tcp_flags & (FL_TCP_SYN | FL_TCP_ACK)) == FL_TCP_SYN &&
				(state == FL_STATE_TIME_WAIT || state == FL_STATE_CLOSED))))
			return FL_REASON_CLIENT_HIT;
		/* The client uses its port again: a new connection, which may go elsewhere. */
		if (fl_flow_seize(view, flow, look->index, control))
			fl_flow_release(view, flow, look->index);
	}
	if (look->vip_flags & FL_VIP_SOURCE && fl_flow_find_return(view, frame))
		return FL_REASON_SERVER_HIT;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether)
		return FL_REASON_SHORT_FRAME;
	view->scratch->interface = frame->interface;
	__builtin_memcpy(view->scratch->source_mac, ether + 6, 6);
	return fl_begin(view, look, 0, 0);
}

/* A frame to somebody else: a nat server's answer, or none of our business. */
FL_INLINE int fl_decide_others(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	const struct fl_interface *interface;
	struct fl_key *key = &view->scratch->key;
	const u8 *ether;

	if (look->malformed)
		return FL_REASON_NOT_OURS;
	if (look->kind == FL_KIND_ICMP6) {
		const u8 *icmp = fl_bytes(frame, look->l4, 8);

		if (icmp && icmp[0] == FL_ICMP6_SOLICITATION)
			return FL_REASON_NDP_REPLY;
	}
	if (!fl_is_balanced(frame) && !fl_is_first_fragment(frame))
		return FL_REASON_NOT_OURS;
	key->client = look->target;
	key->client_port = look->target_port;
	key->other = look->source;
	key->other_port = look->source_port;
	key->protocol = look->protocol;
	key->is_v6 = look->is_v6;
	if (!fl_flow_find(view, &look->home, key, FL_SIDE_SERVER, look))
		return FL_REASON_NOT_OURS;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	interface = fl_interface_of(view, frame->interface);
	if (!ether || !interface || fl_get32(ether) != fl_get32(interface->mac) ||
	    fl_get16(ether + 4) != fl_get16(interface->mac + 4))
		return FL_REASON_NOT_OURS;
	if (ether[6] & 1) /* an ICMP error would go to a group */
		return FL_REASON_BAD_SOURCE;
	return look->is_fragment ? FL_REASON_FRAGMENT : FL_REASON_SERVER_HIT;
}

/* Nothing may change any more, nor may the host take what is ours: it is dropped, and nothing else is touched. */
FL_CALL int fl_decide_frozen(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;

	if (look->vip_flags)
		return FL_REASON_HANDOVER;
	if (look->malformed || !look->l3 || (!fl_is_balanced(frame) && !fl_is_first_fragment(frame)))
		return FL_REASON_NOT_OURS;
	return fl_home_match(view, &look->home, look->home.tag) ? FL_REASON_HANDOVER : FL_REASON_NOT_OURS;
}

/* What the frame is. A reason whose verdict is to forward or to answer still has to be carried out. */
FL_INLINE int fl_decide(const struct fl_view *view, struct fl_frame *frame)
{
	struct fl_look *look = frame->look;

	if (FL_UNLIKELY(view->settings->is_active != FL_ACTIVE))
		return view->settings->is_active == FL_FROZEN ? fl_decide_frozen(view, frame) : FL_REASON_STANDBY;
	if (look->kind == FL_KIND_ARP)
		return FL_REASON_ARP_REPLY;
	if (look->vip_flags)
		return fl_decide_ours(view, frame);
	if (look->l3)
		return fl_decide_others(view, frame);
	return look->malformed ? look->malformed : FL_REASON_NOT_OURS;
}

/* Makes of the frame what was decided: the reason that holds in the end. One place for each kind of rewriting, since
 * the BPF verifier follows them anew from every call. */
FL_INLINE int fl_carry_out(const struct fl_view *view, struct fl_frame *frame, int reason, struct fl_result *result)
{
	int hindrance = 0;

	if (FL_LIKELY(reason == FL_REASON_CLIENT_HIT || reason == FL_REASON_NEW_FLOW))
		hindrance = fl_to_server(view, frame, result);
	else if (reason == FL_REASON_SERVER_HIT)
		hindrance = fl_to_client(view, frame, result);
	else if (reason == FL_REASON_ARP_REPLY)
		return fl_answer_arp(view, frame);
	else if (reason == FL_REASON_NDP_REPLY)
		return fl_answer_ndp(view, frame);
	else if (reason == FL_REASON_ECHO_REPLY)
		return fl_answer_echo(view, frame);
	if (FL_UNLIKELY(hindrance))
		reason = hindrance;
	if (FL_UNLIKELY(reason == FL_REASON_TIME_EXCEEDED || reason == FL_REASON_TOO_BIG))
		return fl_answer_icmp_error(view, frame, reason);
	return reason;
}

FL_INLINE u8 fl_verdict_of(int reason)
{
	switch (reason) {
#define X(NAME, text, verdict, meaning) \
	case FL_REASON_##NAME:          \
		return FL_##verdict;
		FL_REASONS(X)
#undef X
	}
	return FL_DROP;
}

/* Decides, counts, and says where an answer leaves. */
FL_INLINE int fl_conclude(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	u32 reason = fl_carry_out(view, frame, fl_decide(view, frame), result);

	result->reason = reason;
	result->verdict = fl_verdict_of(reason);
	if (reason < FL_REASON_COUNT)
		view->worker->reasons[reason]++;
	if (result->verdict == FL_ANSWER) {
		result->out_interface = frame->interface;
		frame->csum_start = 0;
		frame->gso_size = 0;
	}
	return result->verdict;
}

/* One frame. The parsed part of struct fl_frame must be zero. Returns the verdict. */
FL_INLINE int fl_forward(const struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	struct fl_view view;
#ifdef __bpf__
	view.scratch = fl_scratch_of_cpu();
	if (!view.scratch)
		return FL_PASS;
	frame->look = &view.scratch->look;
#else
	struct fl_scratch scratch;

	view.scratch = &scratch;
	frame->look = &scratch.look;
#endif
	if (!fl_view_open(&view, region, frame->worker, now)) {
		result->verdict = FL_PASS;
		return FL_PASS;
	}
	fl_look(&view, frame);
	return fl_conclude(&view, frame, result);
}

#ifndef __bpf__

#define FL_BATCH 32

/* What a frame's flow will be read from: its tags, and for a full-nat reply also its place among the returns. */
FL_INLINE u64 fl_fetch_home(const struct fl_view *view, const struct fl_look *look)
{
	u64 hash;

	fl_prefetch(fl_tags_at(view->region, look->home.bucket[0]));
	fl_prefetch(fl_tags_at(view->region, look->home.bucket[1]));
	if (!(look->vip_flags & FL_VIP_SOURCE))
		return 0;
	hash = fl_return_hash(
		view,
		fl_return_base(view, &look->source, look->source_port, &look->target, look->protocol, look->is_v6),
		look->target_port);
	fl_prefetch(fl_return_bucket(view, hash));
	return hash;
}

FL_INLINE void fl_fetch_flow(const struct fl_view *view, const struct fl_look *look, u32 index)
{
	fl_prefetch(fl_flows_at(view->region, index));
	if (look->is_v6)
		fl_prefetch(fl_flows6_at(view->region, index));
}

FL_INLINE void fl_fetch_flows(const struct fl_view *view, const struct fl_look *look, u64 return_hash)
{
	u32 ways = fl_home_match(view, &look->home, look->home.tag);
	const struct fl_returns *bucket;

	for (; ways; ways &= ways - 1)
		fl_fetch_flow(view, look, fl_home_slot(&look->home, fl_lowest_bit(ways)));
	if (!(look->vip_flags & FL_VIP_SOURCE))
		return;
	bucket = fl_return_bucket(view, return_hash);
	for (int way = 0; bucket && way < FL_WAYS; way++)
		if (bucket->slot[way] && bucket->slot[way] >> 32 == (return_hash & 0xffffffffu))
			fl_fetch_flow(view, look, (u32)bucket->slot[way] - 1);
}

/* Up to FL_BATCH frames of one worker: the lines of all their flows are fetched while the first is decided. */
static inline void fl_forward_batch(const struct fl_region *region, struct fl_frame *frames, struct fl_result *results,
				    u32 count, u64 now)
{
	struct fl_look looks[FL_BATCH];
	struct fl_scratch scratch;
	u64 return_hash[FL_BATCH];
	struct fl_view view = { .scratch = &scratch };

	if (!count || !fl_view_open(&view, region, frames[0].worker, now))
		return;
	for (u32 i = 0; i < count; i++) {
		frames[i].look = &looks[i];
		fl_look(&view, &frames[i]);
		if (fl_is_balanced(&frames[i]) && !looks[i].malformed)
			return_hash[i] = fl_fetch_home(&view, &looks[i]);
	}
	for (u32 i = 0; i < count; i++)
		if (fl_is_balanced(&frames[i]) && !looks[i].malformed)
			fl_fetch_flows(&view, &looks[i], return_hash[i]);
	for (u32 i = 0; i < count; i++)
		fl_conclude(&view, &frames[i], &results[i]);
}

#endif

#endif
