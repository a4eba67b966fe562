/*
 * The limit that xdp can come near: the least a NAT balancer could do with a frame, always the same, and off by
 * redirection to the other interface or, as with one arm, back by the same. What bench-limit attaches.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "limit.h"

const volatile struct limit_rewrite rewrite SEC(".rodata.limit") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} limit_out SEC(".maps");

static __always_inline u16 fold(u64 sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

/* UDP over IPv4 from the flood to the address before is rewritten; everything else is the host's. */
static __always_inline int is_rewritten(u8 *data, u8 *end)
{
	u32 *target = (u32 *)(data + 30);
	u16 *ip_sum = (u16 *)(data + 24), *udp_sum = (u16 *)(data + 40);
	u64 change;

	if (data + 42 > end || data[12] != 8 || data[13] != 0 || data[23] != 17 || *target != rewrite.before)
		return 0;
	change = (u64)(u32)~rewrite.before + rewrite.after;
	__builtin_memcpy(data, (const void *)rewrite.to_mac, 6);
	__builtin_memcpy(data + 6, (const void *)rewrite.from_mac, 6);
	*target = rewrite.after;
	*ip_sum = (u16)~fold((u16) ~*ip_sum + change);
	if (*udp_sum)
		*udp_sum = (u16)~fold((u16) ~*udp_sum + change);
	return 1;
}

SEC("xdp")
int limit_redirect(struct xdp_md *context)
{
	if (!is_rewritten((u8 *)(long)context->data, (u8 *)(long)context->data_end))
		return XDP_PASS;
	return bpf_redirect_map(&limit_out, 0, XDP_DROP);
}

SEC("xdp")
int limit_tx(struct xdp_md *context)
{
	return is_rewritten((u8 *)(long)context->data, (u8 *)(long)context->data_end) ? XDP_TX : XDP_PASS;
}

/* A veth hands on what came by XDP_TX only when there is a program at its end too. */
SEC("xdp")
int limit_pass(struct xdp_md *context)
{
	(void)context;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
