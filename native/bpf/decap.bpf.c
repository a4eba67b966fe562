/*
 * The decapsulator: the real server's half of l3-dsr, where the kernel has no tunnel device or the operator wants none.
 *
 *     outer IPv4 or IPv6 │ GRE [key] │ inner IPv4 or IPv6         IPv4 protocol 47, 4, 41 or UDP to the service's port,
 *                        │  (IPIP)   │                            IPv6 next header the same
 *                        │ UDP, GUE  │
 *
 * The idea: look before touching. All headers up to the inner one are read and judged first; what is not a listed
 * balancer's packet with a listed VIP inside is passed on as it came, octet for octet, and counted if it was a tunnel's.
 * Only then are the octets between the Ethernet header and the inner packet cut out, and the frame goes up the host's
 * stack as if it had come like this: the VIP is on lo, so the host takes it.
 *
 * One judge, two entries. At tc ingress the frame keeps its GSO and checksum state: super-frames are unwrapped whole. In
 * the driver (xdp) there are no super-frames, and VLAN tags may stand in the frame.
 *
 * Passed: fragments of outer packets (the inner header may be in another one), IPv6 extension headers in front of the
 * tunnel, GRE with checksum, sequence number or routing (RFC 2784 wants flags 0; the checksum would cover what need not
 * lie in memory), GUE with options or control messages.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "decap-read.h"

/* linux/bpf.h of Debian 12 does not name them: kernel 6.3 brought them. */
#define DECAP_L3_IPV4 (1ull << 7)
#define DECAP_L3_IPV6 (1ull << 8)

/* Sizes are the loader's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct fl_decap_endpoint);
	__type(value, u64);
} decap_endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct fl_decap_prefix);
	__type(value, u64);
} decap_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct fl_addr);
	__type(value, u64);
} decap_vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FL_DECAP_COUNT);
	__type(key, u32);
	__type(value, struct fl_decap_counter);
} decap_counts SEC(".maps");

/* Read by the loader alone. It is bound to the programs so that whoever finds a program finds what it was told. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FL_DECAP_SERVICES);
	__type(key, u32);
	__type(value, struct fl_decap_service);
} decap_services SEC(".maps");

/* Reads all, touches nothing. */
static __always_inline int judge(struct frame *frame, struct packet *packet)
{
	int found = read_ethernet(frame, packet);
	u64 services, *bits;

	if (found == TAKEN)
		found = packet->outer_type == ETHERTYPE_IPV4 ? read_outer_ipv4(frame, packet)
							     : read_outer_ipv6(frame, packet);
	if (found != TAKEN)
		return found;
	if (packet->protocol == PROTOCOL_GRE) {
		found = read_gre(frame, packet);
	} else if (packet->protocol == PROTOCOL_UDP) {
		found = read_udp(frame, packet);
	} else {
		packet->endpoint.tunnel = FL_TUNNEL_IPIP;
		packet->inner_type = type_of(packet->protocol);
	}
	if (found == NOT_OURS)
		return NOT_OURS;
	bits = bpf_map_lookup_elem(&decap_endpoints, &packet->endpoint);
	if (!bits && packet->protocol == PROTOCOL_UDP)
		return NOT_OURS;
	if (packet->is_first_fragment)
		return FL_DECAP_FRAGMENT;
	if (found != TAKEN)
		return found;
	if (!bits)
		return FL_DECAP_ENDPOINT;
	services = *bits;
	bits = bpf_map_lookup_elem(&decap_sources, &packet->source);
	services &= bits ? *bits : 0;
	if (!services)
		return FL_DECAP_SOURCE;
	if (packet->protocol == PROTOCOL_UDP) {
		found = read_gue(frame, packet);
		if (found != TAKEN)
			return found;
	}
	found = read_inner(frame, packet);
	if (found != TAKEN)
		return found;
	bits = bpf_map_lookup_elem(&decap_vips, &packet->target);
	services &= bits ? *bits : 0;
	return services ? TAKEN : FL_DECAP_VIP;
}

/*
 * RFC 6040, section 4.2: the inner packet's ECN field after decapsulation, from both fields; -1: to be dropped, for the
 * mark of a congested router would be lost on a transport that does not know it.
 */
static __always_inline int merge_ecn(u32 outer, u32 inner)
{
	if (outer == 3)
		return inner == 0 ? -1 : 3;
	return outer == 1 && inner == 2 ? 1 : (int)inner;
}

static __always_inline u32 ecn_of(u16 type, const u8 *ip)
{
	return type == ETHERTYPE_IPV4 ? ip[1] & 3 : ip[1] >> 4 & 3;
}

/* Puts the field into the first 12 octets of an inner header; the IPv4 checksum by RFC 1624, equation 3. */
static __always_inline void set_ecn(u16 type, u8 *ip, u32 ecn)
{
	u32 sum;

	if (type == ETHERTYPE_IPV6) {
		ip[1] = (ip[1] & 0xcf) | ecn << 4;
		return;
	}
	sum = (0xffff ^ number(ip + 10)) + (0xffff ^ number(ip));
	ip[1] = (ip[1] & 0xfc) | ecn;
	sum += number(ip);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = 0xffff ^ ((sum & 0xffff) + (sum >> 16));
	ip[10] = sum >> 8;
	ip[11] = sum;
}

static __always_inline void count(u32 what, u64 octets)
{
	struct fl_decap_counter *counter = bpf_map_lookup_elem(&decap_counts, &what);

	if (!counter)
		return;
	counter->frames++;
	counter->octets += octets;
}

static __always_inline void count_unwrapped(const struct packet *packet)
{
	count(packet->endpoint.tunnel - FL_TUNNEL_GRE + FL_DECAP_GRE, packet->inner_length);
}

/*
 * Takes `cut` octets out behind the MAC header. FIXED_GSO, because segments inside were cut to the inner packet's measure
 * already. When both families differ the kernel must be told which one is left: a flag since 6.3. Older kernels can
 * only translate the family, which makes room or takes it as their headers differ (20 octets), and would give segments
 * another type: there a super-frame passes.
 */
static __always_inline int shorten(struct __sk_buff *skb, const struct packet *packet, u32 cut)
{
	u64 flags = packet->inner_type == ETHERTYPE_IPV4 ? DECAP_L3_IPV4 : DECAP_L3_IPV6;

	if (packet->inner_type == packet->outer_type)
		return bpf_skb_adjust_room(skb, -(int)cut, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
	if (skb->gso_size)
		return bpf_skb_adjust_room(skb, -(int)cut, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | flags);
	if (bpf_skb_change_proto(skb, packet->inner_type, 0) < 0)
		return -1;
	cut += packet->inner_type == ETHERTYPE_IPV6 ? IPV6 - IPV4 : IPV4 - IPV6;
	return cut ? bpf_skb_adjust_room(skb, -(int)cut, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) : 0;
}

SEC("tc")
int fl_decap_tc(struct __sk_buff *skb)
{
	struct frame frame = { .skb = skb, .length = skb->len };
	struct packet packet = { 0 };
	u8 ip[12];
	int found = judge(&frame, &packet), ecn;

	if (found == NOT_OURS)
		return TC_ACT_UNSPEC;
	if (found != TAKEN) {
		count(found, frame.length);
		return TC_ACT_UNSPEC;
	}
	if (bpf_skb_load_bytes(skb, packet.inner, ip, sizeof(ip)) < 0)
		return TC_ACT_UNSPEC;
	ecn = merge_ecn(packet.outer_ecn, ecn_of(packet.inner_type, ip));
	if (ecn < 0) {
		count(FL_DECAP_CONGESTION, frame.length);
		return TC_ACT_SHOT;
	}
	if (shorten(skb, &packet, packet.inner - packet.l2) < 0) {
		count(FL_DECAP_REFUSED, frame.length);
		return TC_ACT_UNSPEC;
	}
	bpf_skb_store_bytes(skb, ETHERNET - 2, &packet.inner_type, 2, 0);
	if ((u32)ecn != ecn_of(packet.inner_type, ip)) {
		set_ecn(packet.inner_type, ip, ecn);
		bpf_skb_store_bytes(skb, ETHERNET, ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
	bpf_set_hash_invalid(skb); /* the outer packet's: all of one balancer's flows would share a CPU */
	count_unwrapped(&packet);
	return TC_ACT_UNSPEC;
}

/* MACs and tags move up to the inner packet. Sizes are constants, for the verifier. */
static __always_inline int cut_out(struct xdp_md *xdp, const struct packet *packet, const u32 l2)
{
	u8 ethernet[ETHERNET + 2 * VLAN_TAG];
	u8 *data = (u8 *)(long)xdp->data;

	if (data + l2 > (u8 *)(long)xdp->data_end)
		return -1;
	__builtin_memcpy(ethernet, data, l2);
	ethernet[l2 - 2] = packet->inner_type;
	ethernet[l2 - 1] = packet->inner_type >> 8;
	if (bpf_xdp_adjust_head(xdp, packet->inner - l2))
		return -1;
	data = (u8 *)(long)xdp->data;
	if (data + l2 > (u8 *)(long)xdp->data_end)
		return -1;
	__builtin_memcpy(data, ethernet, l2);
	return 0;
}

SEC("xdp")
int fl_decap_xdp(struct xdp_md *xdp)
{
	struct frame frame = { .xdp = xdp, .length = xdp->data_end - xdp->data };
	struct packet packet = { 0 };
	int found = judge(&frame, &packet), ecn, code;
	u8 ip[12], *inner;

	if (found == NOT_OURS)
		return XDP_PASS;
	if (found != TAKEN) {
		count(found, frame.length);
		return XDP_PASS;
	}
	frame.at = packet.inner;
	if (!take(&frame, ip, sizeof(ip)))
		return XDP_PASS;
	ecn = merge_ecn(packet.outer_ecn, ecn_of(packet.inner_type, ip));
	if (ecn < 0) {
		count(FL_DECAP_CONGESTION, frame.length);
		return XDP_DROP;
	}
	if ((u32)ecn != ecn_of(packet.inner_type, ip)) {
		set_ecn(packet.inner_type, ip, ecn);
		inner = (u8 *)(long)xdp->data + (packet.inner & 0xff);
		if (inner + sizeof(ip) <= (u8 *)(long)xdp->data_end)
			__builtin_memcpy(inner, ip, sizeof(ip));
	}
	switch (packet.l2) {
	case ETHERNET:
		code = cut_out(xdp, &packet, ETHERNET);
		break;
	case ETHERNET + VLAN_TAG:
		code = cut_out(xdp, &packet, ETHERNET + VLAN_TAG);
		break;
	default:
		code = cut_out(xdp, &packet, ETHERNET + 2 * VLAN_TAG);
	}
	if (code) {
		count(FL_DECAP_REFUSED, frame.length);
		return XDP_PASS;
	}
	count_unwrapped(&packet);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
