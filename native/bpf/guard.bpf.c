/*
 * The guard: tells the kernel which frames are fairlead's.
 *
 * The problem: VIPs are not addresses of this host, and a nat server's answers are addressed to clients. Left alone, the
 * host would forward a copy of what fairlead handles too; and fairlead would be handed every frame of the host.
 * Both sides must agree on each frame, or it is handled twice or never.
 *
 * The idea: one question, is_ours(), asked at three places.
 *
 *     driver ─▶ packet tap ──────────▶ clsact ingress ──────▶ the host's stack
 *                  │ fl_steer: whose?      │ fairlead_guard: ours? drop
 *                  ▼ fl_filter: ours? copy
 *               worker's ring
 *
 * Ours is: ARP and neighbour solicitations for an owned address; anything to an owned address, fragments and ICMP
 * included; what a nat server sends to a client whose flow it serves. The last is a claim: for each nat flow user space
 * stores a 64-bit keyed hash of both ends at the flow's place in an array that both map, so it appears before the
 * flow's first frame goes out, and costs user space one store. A claim that matches by chance (2^-60 a frame) loses that
 * frame; everything else is the host's. What went without a flow claims its answer the same way, at its trail's place, for as
 * long as a trail lasts. Later fragments from a server name no port: they are ours when their first one was, which is
 * remembered when it passes. An ICMP error to a client that quotes what it sent to a server is claimed by what it quotes, read
 * as the core reads it; one that quotes too little of that is dropped by the core. What a router says to the host about a
 * tunnel to a server ("too big") both get to see.
 *
 * The tc program stays when the process dies, with its maps: the host stays quiet until the successor takes over.
 *
 * Both directions of a flow must meet the same worker, so fl_steer goes by the client's end: a nat server's frame is to
 * it. A full-nat server answers to a source port of ours, and the worker that chose it made it congruent to its number.
 * All fragments of a datagram meet one worker: they go by the address alone.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* Of the core only names and hashes serve here: frames are not resized, and the loader leaves its maps out. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"
#include "../core/flow.h"
#include "../core/fragment.h"
#include "../core/frame.h"
#pragma clang diagnostic pop
#include "../core/guard.h"

#define PACKET_HOST 0
#define PACKET_OTHERHOST 3 /* linux/if_packet.h, without its libc */
#define PACKET_OUTGOING 4

#define ARP_REQUEST 1
#define ICMP6_SOLICITATION 135
#define NO_NEXT_HEADER 59
#define TAGS_MAX 2

/* Sizes are the loader's: see engine/guard.c. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct fl_guard_address);
	__type(value, u32);
} guard_owned SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct fl_guard_address);
	__type(value, u32);
} guard_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fl_guard_claims);
} guard_claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FL_TRAILS);
	__type(key, u32);
	__type(value, struct fl_trail_claim);
} guard_trails SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fl_guard_parameters);
} guard_parameters SEC(".maps");

/* A datagram in fragments, as the first one named it. */
struct datagram {
	struct fl_guard_address source;
	struct fl_guard_address target;
	u32 id;
	u32 protocol;
};

/* When the first fragment of a nat server's answer was last seen, in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FL_DATAGRAMS);
	__type(key, struct datagram);
	__type(value, u64);
} guard_datagrams SEC(".maps");

#define DATAGRAM_NS ((u64)FL_DATAGRAM_TICKS << FL_TICK_SHIFT)

/* What is_ours() and fl_steer() need of a packet. */
struct packet {
	struct fl_guard_address source; /* of ARP: none */
	struct fl_guard_address target; /* of ARP and solicitations: whom they ask for */
	u32 l4;
	u16 source_port;
	u16 target_port;
	u8 protocol;
	u8 is_fragment;
	u8 is_later_fragment;
	u8 is_short; /* it ends before TCP or UDP could say its ports */
	u32 id;	     /* of a fragment's datagram */
	u32 end;     /* of the packet, by its own word */
};

static __always_inline int read_arp(struct __sk_buff *skb, u32 at, struct packet *packet)
{
	u8 arp[28];

	if (bpf_skb_load_bytes(skb, at, arp, sizeof(arp)) < 0)
		return 0;
	if (fl_get32(arp) != FL_BE32(0x00010800) || fl_get16(arp + 4) != FL_BE16(0x0604) ||
	    fl_get16(arp + 6) != FL_BE16(ARP_REQUEST))
		return 0;
	packet->target.addr.word[0] = fl_get32(arp + 24);
	return 1;
}

static __always_inline int read_ipv4(struct __sk_buff *skb, u32 at, struct packet *packet)
{
	u8 ip[20];

	if (bpf_skb_load_bytes(skb, at, ip, sizeof(ip)) < 0 || ip[0] >> 4 != 4)
		return 0;
	packet->source.addr.word[0] = fl_get32(ip + 12);
	packet->target.addr.word[0] = fl_get32(ip + 16);
	packet->protocol = ip[9];
	packet->is_fragment = (fl_get16(ip + 6) & FL_BE16(0x3fff)) != 0;
	packet->is_later_fragment = (fl_get16(ip + 6) & FL_BE16(0x1fff)) != 0;
	packet->id = fl_get16(ip + 4);
	packet->l4 = at + (ip[0] & 15) * 4;
	packet->end = at + FL_BE16(fl_get16(ip + 2));
	return 1;
}

/* Walks as far as the core does, and by its rules; beyond that the packet is judged by its addresses alone. */
static __attribute__((noinline)) int read_ipv6(struct __sk_buff *skb, u32 at, struct packet *packet)
{
	u8 ip[FL_IPV6_HEADER];
	u8 extension[8];
	u8 next;

	if (bpf_skb_load_bytes(skb, at, ip, sizeof(ip)) < 0 || ip[0] >> 4 != 6)
		return 0;
	packet->source.is_v6 = packet->target.is_v6 = 1;
	fl_get_addr(&packet->source.addr, ip + 8, 1);
	fl_get_addr(&packet->target.addr, ip + 24, 1);
	next = ip[6];
	at += FL_IPV6_HEADER;
	packet->end = at + FL_BE16(fl_get16(ip + 4));
	for (int i = 0; i < FL_EXTENSIONS_MAX; i++) {
		u32 is_fragment, field;

		if (!fl_is_extension(next))
			break;
		packet->is_short = bpf_skb_load_bytes(skb, at, extension, sizeof(extension)) < 0;
		if (packet->is_short || !fl_extension_is_good(extension, next, i)) {
			next = NO_NEXT_HEADER; /* there are no ports to be had */
			break;
		}
		/* Without branches: who lacks CAP_PERFMON has a verifier that follows each way anew, turn by turn. */
		is_fragment = fl_is_zero(next ^ FL_PROTOCOL_FRAGMENT);
		field = fl_get16(extension + 2);
		packet->id |= fl_get32(extension + 4) * is_fragment;
		packet->is_fragment |= is_fragment & ~fl_is_zero(field & FL_BE16(0xfff9));
		packet->is_later_fragment |= is_fragment & ~fl_is_zero(field & FL_BE16(0xfff8));
		at += fl_extension_length(extension, next);
		next = extension[0];
		if (packet->is_fragment)
			break;
	}
	packet->protocol = next;
	packet->l4 = at;
	return 1;
}

/* Whom a neighbour solicitation asks for. */
static __always_inline void read_solicitation(struct __sk_buff *skb, u32 at, struct packet *packet)
{
	u8 ip[8], solicitation[24];

	if (packet->protocol != FL_PROTOCOL_ICMP6 || *(const u8 *)&packet->target.addr != 0xff ||
	    packet->is_later_fragment)
		return;
	/* RFC 4861 §7.1.1: a hop limit of 255 shows that it comes from this link. */
	if (bpf_skb_load_bytes(skb, at, ip, sizeof(ip)) == 0 && ip[7] == 255 &&
	    bpf_skb_load_bytes(skb, packet->l4, solicitation, sizeof(solicitation)) == 0 &&
	    solicitation[0] == ICMP6_SOLICITATION)
		fl_get_addr(&packet->target.addr, solicitation + 8, 1);
}

static __always_inline int read_ports(struct __sk_buff *skb, struct packet *packet)
{
	u16 ports[2];

	if (packet->is_later_fragment || (packet->protocol != FL_PROTOCOL_TCP && packet->protocol != FL_PROTOCOL_UDP) ||
	    bpf_skb_load_bytes(skb, packet->l4, ports, sizeof(ports)) < 0)
		return 0;
	packet->source_port = ports[0];
	packet->target_port = ports[1];
	return 1;
}

/* `at` is where the packet of this EtherType begins, or a tag's value. A tag that the card or the tap took off is not
 * in the data, and does not matter here. */
static __always_inline int read_packet(struct __sk_buff *skb, u32 at, u16 type, struct packet *packet)
{
	for (int i = 0; i < TAGS_MAX; i++) {
		u16 tag[2];

		if (type != FL_BE16(FL_ETHERTYPE_VLAN) && type != FL_BE16(FL_ETHERTYPE_QINQ))
			break;
		if (bpf_skb_load_bytes(skb, at, tag, sizeof(tag)) < 0)
			return 0;
		type = tag[1];
		at += sizeof(tag);
	}
	if (type == FL_BE16(FL_ETHERTYPE_IPV4))
		return read_ipv4(skb, at, packet);
	if (type == FL_BE16(FL_ETHERTYPE_IPV6)) {
		if (!read_ipv6(skb, at, packet))
			return 0;
		read_solicitation(skb, at, packet);
		return 1;
	}
	if (type == FL_BE16(FL_ETHERTYPE_ARP))
		return read_arp(skb, at, packet);
	return 0;
}

/* For a frame that begins with its Ethernet header. */
static __always_inline int read_frame(struct __sk_buff *skb, struct packet *packet)
{
	u16 type;

	if (bpf_skb_load_bytes(skb, FL_ETHER_HEADER - sizeof(type), &type, sizeof(type)) < 0)
		return 0;
	return read_packet(skb, FL_ETHER_HEADER, type, packet);
}

static __always_inline u64 claim_of(const struct packet *packet, const struct fl_guard_parameters *parameters)
{
	return fl_claim_of(parameters->seed, &packet->target.addr, packet->target_port, &packet->source.addr,
			   packet->source_port, packet->protocol, packet->source.is_v6);
}

static __always_inline int is_claimed(const struct packet *packet, const struct fl_guard_parameters *parameters)
{
	struct fl_home home = fl_home_of(parameters->seed, parameters->buckets, &packet->target.addr,
					 packet->target_port, packet->protocol, packet->source.is_v6);
	u64 claim = claim_of(packet, parameters);

	for (int choice = 0; choice < 2; choice++) {
		const struct fl_guard_claims *claims = bpf_map_lookup_elem(&guard_claims, &home.bucket[choice]);

		if (!claims)
			continue;
		for (int way = 0; way < FL_WAYS; way++)
			if (fl_load(&claims->claim[way]) == claim)
				return 1;
	}
	return 0;
}

/* Does it answer what went without a flow? */
static __always_inline int has_trail(const struct packet *packet, const struct fl_guard_parameters *parameters)
{
	u32 now = (u32)(bpf_ktime_get_ns() >> FL_TICK_SHIFT), place;
	const struct fl_trail_claim *trail;
	u64 claim;

	if (packet->protocol != FL_PROTOCOL_TCP || packet->is_fragment)
		return 0;
	claim = claim_of(packet, parameters);
	place = fl_trail_place(claim);
	trail = bpf_map_lookup_elem(&guard_trails, &place);
	return trail && fl_load(&trail->claim) == claim &&
	       fl_elapsed(now, (u32)fl_load(&trail->seen)) <= FL_TRAIL_TICKS;
}

static __always_inline void name_datagram(const struct packet *packet, struct datagram *datagram)
{
	datagram->source = packet->source;
	datagram->target = packet->target;
	datagram->id = packet->id;
	datagram->protocol = packet->source.is_v6 ? 0 : packet->protocol;
}

static __always_inline int is_first_claimed(const struct packet *packet)
{
	struct datagram datagram = { 0 };
	const u64 *seen;

	name_datagram(packet, &datagram);
	seen = bpf_map_lookup_elem(&guard_datagrams, &datagram);
	return seen && bpf_ktime_get_ns() - *seen < DATAGRAM_NS;
}

static __always_inline void claim_datagram(const struct packet *packet)
{
	struct datagram datagram = { 0 };
	u64 now = bpf_ktime_get_ns();

	name_datagram(packet, &datagram);
	bpf_map_update_elem(&guard_datagrams, &datagram, &now, BPF_ANY);
}

/* What an ICMP error quotes, as its answer would look: from the server to the client, to whom the error goes as well.
 * False when that cannot be read, or the core would not take it. */
static __always_inline int read_quote(struct __sk_buff *skb, const struct packet *error, struct packet *answer)
{
	int is_v6 = error->source.is_v6;
	struct fl_guard_address client;
	u16 ports[4];
	u8 type;

	if (error->is_fragment || error->protocol != (is_v6 ? FL_PROTOCOL_ICMP6 : FL_PROTOCOL_ICMP) ||
	    bpf_skb_load_bytes(skb, error->l4, &type, 1) < 0 || !fl_icmp_is_error(type, is_v6) ||
	    !(is_v6 ? read_ipv6(skb, error->l4 + 8, answer) : read_ipv4(skb, error->l4 + 8, answer)))
		return 0;
	if (!fl_addr_same(&answer->source.addr, &error->target.addr) ||
	    (!answer->is_short && answer->protocol != FL_PROTOCOL_TCP && answer->protocol != FL_PROTOCOL_UDP))
		return 0;
	answer->is_short |= answer->is_later_fragment || answer->l4 + sizeof(ports) > error->end ||
			    bpf_skb_load_bytes(skb, answer->l4, ports, sizeof(ports)) < 0;
	client = answer->source;
	answer->source = answer->target;
	answer->target = client;
	if (answer->is_short)
		return 1;
	answer->target_port = ports[0];
	answer->source_port = ports[1];
	return 1;
}

static __always_inline int is_nat_server(const struct fl_guard_address *address)
{
	const u32 *server = bpf_map_lookup_elem(&guard_servers, address);

	return server && *server & FL_GUARD_NAT;
}

static __always_inline int is_ours(struct __sk_buff *skb)
{
	const struct fl_guard_parameters *parameters;
	struct packet packet = { 0 }, answer = { 0 };
	u32 zero = 0;

	/* Flooded by a switch or seen in promiscuous mode: the host does not take it, and neither do we. */
	if (skb->pkt_type == PACKET_OTHERHOST || !read_frame(skb, &packet))
		return 0;
	if (bpf_map_lookup_elem(&guard_owned, &packet.target))
		return 1;
	parameters = bpf_map_lookup_elem(&guard_parameters, &zero);
	if (!parameters)
		return 0;
	if (read_quote(skb, &packet, &answer))
		return is_nat_server(&answer.source) && (answer.is_short || is_claimed(&answer, parameters));
	if (!is_nat_server(&packet.source))
		return 0;
	if (packet.is_later_fragment)
		return is_first_claimed(&packet);
	if (!read_ports(skb, &packet) || !(is_claimed(&packet, parameters) || has_trail(&packet, parameters)))
		return 0;
	if (packet.is_fragment)
		claim_datagram(&packet);
	return 1;
}

/* An ICMP error that quotes a packet to a server in a tunnel. The core reads it whole; here its address will do. */
static __always_inline int is_about_tunnel(struct __sk_buff *skb)
{
	struct packet packet = { 0 };
	struct fl_guard_address to = { 0 };
	const u32 *server;
	u8 addr[16];
	u32 quoted;

	if (skb->pkt_type != PACKET_HOST || !read_frame(skb, &packet))
		return 0;
	to.is_v6 = packet.source.is_v6;
	if (packet.protocol != (to.is_v6 ? FL_PROTOCOL_ICMP6 : FL_PROTOCOL_ICMP))
		return 0;
	quoted = packet.l4 + 8 + (to.is_v6 ? 24 : 16);
	if (bpf_skb_load_bytes(skb, quoted, addr, to.is_v6 ? 16 : 4) < 0)
		return 0;
	fl_get_addr(&to.addr, addr, to.is_v6);
	server = bpf_map_lookup_elem(&guard_servers, &to);
	return server && *server & FL_GUARD_TUNNEL;
}

SEC("socket")
int fl_filter(struct __sk_buff *skb)
{
	return skb->pkt_type != PACKET_OUTGOING && (is_ours(skb) || is_about_tunnel(skb)) ? -1 : 0;
}

SEC("tc")
int fairlead_guard(struct __sk_buff *skb)
{
	return is_ours(skb) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* Runs before the tap puts the Ethernet header back: the data begins with what skb->protocol says. */
SEC("socket")
int fl_steer(struct __sk_buff *skb)
{
	const struct fl_guard_parameters *parameters;
	struct packet packet = { 0 };
	const u32 *owned, *server;
	u32 zero = 0;
	u64 hash;

	parameters = bpf_map_lookup_elem(&guard_parameters, &zero);
	if (!parameters || !parameters->workers || !read_packet(skb, 0, skb->protocol, &packet))
		return 0;
	owned = bpf_map_lookup_elem(&guard_owned, &packet.target);
	if (!packet.is_fragment)
		read_ports(skb, &packet);
	if (owned && *owned & FL_VIP_SOURCE) {
		server = bpf_map_lookup_elem(&guard_servers, &packet.source);
		if (server && *server & FL_GUARD_FULL_NAT)
			return FL_BE16(packet.target_port) % parameters->workers;
	}
	hash = owned ? fl_keyed_hash(parameters->seed, &packet.source.addr, packet.source_port, packet.protocol,
				     packet.source.is_v6)
		     : fl_keyed_hash(parameters->seed, &packet.target.addr, packet.target_port, packet.protocol,
				     packet.target.is_v6);
	return ((hash >> 32) * parameters->workers) >> 32;
}

char _license[] SEC("license") = "Dual MIT/GPL";
