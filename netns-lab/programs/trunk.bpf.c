/* A switch port that carries one VLAN with its tag, for kernels whose bridge knows no VLANs: out with it, in without it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_PROTOCOL 0x8100
#define VLAN 100

SEC("tc")
int trunk_out(struct __sk_buff *frame)
{
	return bpf_skb_vlan_push(frame, bpf_htons(VLAN_PROTOCOL), VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

/* What comes without the tag is of no VLAN here. */
SEC("tc")
int trunk_in(struct __sk_buff *frame)
{
	if (!frame->vlan_present || (frame->vlan_tci & 0xfff) != VLAN || bpf_skb_vlan_pop(frame))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
