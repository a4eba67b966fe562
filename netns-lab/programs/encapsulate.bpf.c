/*
 * A stand-in for a balancer's tunnel, at tc egress: what goes to the VIP is wrapped and sent to one server. Frames keep
 * their GSO and checksum state, so super-frames are wrapped whole, as an engine at tc would do. All of it is fixed when
 * it is compiled (see lib/stand-in.ts):
 *
 *   INNER OUTER    4 or 6        VIP SOURCE TARGET   octets of addresses, "192, 0, 2, 1"
 *   GRE, KEY, GUE  defined for these tunnels (KEY and GUE with their value); none of them: IPIP
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;

#define ETHERNET 14
#define TYPE_OF(family) ((family) == 4 ? 0x0800 : 0x86dd)
#define IP_OF(family) ((family) == 4 ? 20 : 40)
#define HALF(number) (u8)((number) >> 8), (u8)(number)
#define INNER_PROTOCOL (INNER == 4 ? 4 : 41)

#if defined(KEY)
#define TUNNEL HALF(0x2000), HALF(TYPE_OF(INNER)), HALF(KEY >> 16), HALF(KEY & 0xffff)
#define TUNNEL_SIZE 8
#elif defined(GRE)
#define TUNNEL HALF(0), HALF(TYPE_OF(INNER))
#define TUNNEL_SIZE 4
#elif defined(GUE)
#define TUNNEL HALF(50000), HALF(GUE), HALF(length), HALF(0), 0, INNER_PROTOCOL, HALF(0)
#define TUNNEL_SIZE 12
#else
#define TUNNEL_SIZE 0
#endif

#if defined(KEY) || defined(GRE)
#define PROTOCOL 47
#define FLAGS BPF_F_ADJ_ROOM_ENCAP_L4_GRE
#elif defined(GUE)
#define PROTOCOL 17
#define FLAGS BPF_F_ADJ_ROOM_ENCAP_L4_UDP
#else
#define PROTOCOL INNER_PROTOCOL
#define FLAGS 0
#endif

/* The outer header around `length` octets. */
static __always_inline void write_outer(u8 *ip, __u32 length)
{
	const u8 source[] = { SOURCE }, target[] = { TARGET };

#if OUTER == 4
	const u8 start[] = { 0x45, 0, HALF(length + 20), HALF(0), HALF(0x4000), 63, PROTOCOL, HALF(0) };
	__u32 sum = 0;

	__builtin_memcpy(ip, start, sizeof(start));
	__builtin_memcpy(ip + 12, source, 4);
	__builtin_memcpy(ip + 16, target, 4);
	for (int i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = 0xffff ^ ((sum & 0xffff) + (sum >> 16));
	ip[10] = sum >> 8;
	ip[11] = sum;
#else
	const u8 start[] = { 0x60, 0, HALF(0), HALF(length), PROTOCOL, 63 };

	__builtin_memcpy(ip, start, sizeof(start));
	__builtin_memcpy(ip + 8, source, 16);
	__builtin_memcpy(ip + 24, target, 16);
#endif
}

SEC("tc")
int encapsulate(struct __sk_buff *skb)
{
	const __u32 outer = IP_OF(OUTER) + TUNNEL_SIZE;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | FLAGS |
		      (OUTER == 4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
	const u8 vip[] = { VIP };
	__u16 type = bpf_htons(TYPE_OF(OUTER));
	__u32 length = skb->len - ETHERNET + TUNNEL_SIZE;
	u8 head[IP_OF(OUTER) + TUNNEL_SIZE + 1], target[sizeof(vip)];

	if (skb->protocol != bpf_htons(TYPE_OF(INNER)) ||
	    bpf_skb_load_bytes(skb, ETHERNET + (INNER == 4 ? 16 : 24), target, sizeof(target)) < 0)
		return TC_ACT_OK;
	for (unsigned i = 0; i < sizeof(vip); i++)
		if (target[i] != vip[i])
			return TC_ACT_OK;
	write_outer(head, length);
#if TUNNEL_SIZE
	const u8 tunnel[] = { TUNNEL };

	__builtin_memcpy(head + IP_OF(OUTER), tunnel, sizeof(tunnel));
#endif
	if (bpf_skb_adjust_room(skb, outer, BPF_ADJ_ROOM_MAC, flags) < 0 ||
	    bpf_skb_store_bytes(skb, ETHERNET, head, outer, 0) < 0 ||
	    bpf_skb_store_bytes(skb, 12, &type, sizeof(type), 0) < 0)
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
