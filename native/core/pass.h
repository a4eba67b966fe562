/*
 * A frame goes on by nat: to its server, or back to its client. (dsr.h: the other way.) What is in the way is found before
 * anything changes.
 */
#ifndef FL_PASS_H
#define FL_PASS_H

#include "fit.h"
#include "rewrite.h"
#include "state.h"
#include "trail.h"

/* What a replay of the programs in the kernel tells them, and what they tell it. */
struct fl_replayed {
	u64 now; /* ns */
	struct fl_result result;
};

/* A client's frame goes to its server: 0, or what hinders it, and then nothing has changed. `is_plain`: it came the short
 * way, and so changes no state. */
FL_INLINE int fl_pass_to_server(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
				struct fl_result *result, const int is_plain)
{
	struct fl_look *look = frame->look;
	u32 index = look->index;
	const u64 *hops;
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 len = frame->look->end;
	struct fl_ends *ends = &view->scratch->ends;
	const u8 *ether;
	union {
		u64 word;
		u8 octet[8];
	} hop;
	int hindrance;

	hops = fl_hops_at(view->region, flow->server_slot);
	if (!hops)
		return FL_REASON_NO_NEIGHBOUR;
	hop.word = fl_load(hops);
	out = fl_interface_of(view, hop.octet[6]);
	if (!fl_hop_is_known(hop.word) || !out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	if (frame->look->ttl <= 1)
		return FL_REASON_TIME_EXCEEDED;
	hindrance = fl_hinder(view, frame, out->mtu);
	if (hindrance)
		return hindrance;
	ether = fl_bytes(frame, 0, FL_ETHER_HEADER);
	if (!ether)
		return FL_REASON_SHORT_FRAME;
	fl_flow_words(view, flow, index, FL_WHICH_SERVER, &ends->target);
	ends->target_port = flow->server_port;
	ends->source.word[0] = look->source.word[0];
	if (look->is_v6)
		ends->source = look->source;
	ends->source_port = look->source_port;
	if (flow->flags & FL_FLOW_FULL_NAT) {
		fl_flow_words(view, flow, index, FL_WHICH_LOCAL, &ends->source);
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
	if (is_plain)
		fl_flow_note(view, flow, frame, FL_SIDE_CLIENT, 0);
	else
		fl_flow_touch(view, flow, frame, FL_SIDE_CLIENT);
	if (!fl_rewrite_nat(frame, ends, is_plain) || !fl_rewrite_macs(frame, hop.octet, out->mac))
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
FL_INLINE int fl_pass_to_client(const struct fl_view *view, struct fl_frame *frame, struct fl_flow *flow,
				struct fl_result *result, const int is_plain)
{
	u32 index = frame->look->index;
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	u32 len = frame->look->end;
	struct fl_ends *ends = &view->scratch->ends;
	u8 client_interface, mac[6];
	int hindrance;

	client_interface = flow->client_interface;
	out = fl_interface_of(view, client_interface);
	if (!out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	if (frame->look->ttl <= 1)
		return FL_REASON_TIME_EXCEEDED;
	hindrance = fl_hinder(view, frame, out->mtu);
	if (hindrance)
		return hindrance;
	fl_flow_words(view, flow, index, FL_WHICH_VIP, &ends->source);
	fl_flow_words(view, flow, index, FL_WHICH_CLIENT, &ends->target);
	ends->source_port = flow->vip_port;
	ends->target_port = flow->client_port;
	__builtin_memcpy(mac, flow->client_mac, 6);
	if (FL_UNLIKELY(!fl_flow_is_same(flow, frame->look)))
		return FL_REASON_NO_FLOW;
	if (is_plain)
		fl_flow_note(view, flow, frame, FL_SIDE_SERVER, 0);
	else
		fl_flow_touch(view, flow, frame, FL_SIDE_SERVER);
	if (!fl_rewrite_nat(frame, ends, is_plain) || !fl_rewrite_macs(frame, mac, out->mac))
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

/* A frame without a flow goes to the scratch's server, or by its trail back to the client: 0, or what hinders it. */
FL_INLINE int fl_pass_untracked(const struct fl_view *view, struct fl_frame *frame, struct fl_result *result)
{
	struct fl_look *look = frame->look;
	int is_to_client = view->scratch->trailing == FL_TRAIL_BACK, hindrance;
	u32 slot = view->scratch->server_slot, len = look->end;
	const struct fl_server *server = fl_servers_at(view->region, view->settings->first[FL_SECTION_SERVERS] + slot);
	const u64 *hops = fl_hops_at(view->region, slot);
	struct fl_ends *ends = &view->scratch->ends;
	const struct fl_interface *out;
	struct fl_traffic *traffic;
	union {
		u64 word;
		u8 octet[8];
	} hop;

	if (!server || !hops)
		return FL_REASON_NO_SERVER;
	hop.word = is_to_client ? view->scratch->trail.hop : fl_load(hops);
	out = fl_interface_of(view, hop.octet[6]);
	if (!fl_hop_is_known(hop.word) || !out || !out->ifindex)
		return FL_REASON_NO_NEIGHBOUR;
	if (look->ttl <= 1)
		return FL_REASON_TIME_EXCEEDED;
	hindrance = fl_hinder(view, frame, out->mtu);
	if (hindrance)
		return hindrance;
	if (is_to_client) {
		ends->source = view->scratch->one;
		ends->source_port = (u16)view->scratch->trail.ports;
		fl_trail_unpack(&ends->target, view->scratch->trail.client);
		ends->target_port = (u16)(view->scratch->trail.ports >> 16);
	} else {
		ends->source = view->scratch->key.client;
		ends->source_port = view->scratch->key.client_port;
		ends->target = view->scratch->key.other;
		ends->target_port = view->scratch->key.other_port;
	}
	if (!fl_rewrite_nat(frame, ends, 0) || !fl_rewrite_macs(frame, hop.octet, out->mac))
		return FL_REASON_SHORT_FRAME;
	traffic = fl_traffic_of(view, slot);
	if (traffic) {
		*(is_to_client ? &traffic->out_frames : &traffic->in_frames) += 1;
		*(is_to_client ? &traffic->out_octets : &traffic->in_octets) += len;
	}
	result->out_interface = hop.octet[6];
	result->out_ifindex = out->ifindex;
	return 0;
}

#endif
