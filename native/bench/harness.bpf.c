/*
 * Makes the frame of another flow in the buffer for every test run, then calls what is measured. A test run repeats one
 * frame a million times; a flow table is not to be measured with one flow. What the making costs is measured with a
 * target that does nothing, and subtracted.
 *
 * A run begins with the frame that the one before left. What a tunnel put before it is taken off here; where nothing was,
 * nothing is, by the same call.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "../core/checksum.h"
#include "harness.h"

static int fl_resize(struct fl_frame *frame, u32 len)
{
	(void)frame;
	(void)len;
	return -1;
}

static int fl_is_answerable(struct fl_frame *frame)
{
	(void)frame;
	return 0;
}

static void fl_forget(struct fl_frame *frame)
{
	(void)frame;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct harness_order);
} orders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HARNESS_FLOWS);
	__type(key, u32);
	__type(value, struct harness_reply);
} replies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HARNESS_TARGETS);
	__type(key, u32);
	__type(value, u32);
} targets SEC(".maps");

static __always_inline void add_to_sum(u8 *field, u64 more)
{
	fl_put16(field, (u16)~fl_fold(fl_get16(field) + more));
}

static __always_inline u32 choose(struct harness_order *order)
{
	u64 random = order->random;

	if (!order->is_random) {
		u32 flow = order->next;

		order->next = flow + 1 < order->flows ? flow + 1 : 0;
		return flow;
	}
	random ^= random >> 12;
	random ^= random << 25;
	random ^= random >> 27;
	order->random = random;
	return (u32)((((random * 0x2545f4914f6cdd1dull) >> 32) * order->flows) >> 32);
}

static __always_inline int make(u8 *data, u8 *end, struct harness_order *order)
{
	u32 flow = choose(order), from, to;
	u16 from_port, to_port;

	if (data + HARNESS_FRAME > end)
		return -1;
	__builtin_memcpy(data, order->frame, HARNESS_FRAME);
	if (order->from_server) {
		const struct harness_reply *reply = bpf_map_lookup_elem(&replies, &flow);

		if (!reply)
			return -1;
		from = reply->server;
		from_port = FL_BE16(8080);
		to = reply->local;
		to_port = reply->local_port;
	} else {
		from = FL_BE32(order->client + flow / 1024);
		from_port = FL_BE16(1024 + flow % 1024);
		to = order->vip;
		to_port = order->vip_port;
	}
	fl_put32(data + 26, from);
	fl_put32(data + 30, to);
	fl_put16(data + 34, from_port);
	fl_put16(data + 36, to_port);
	add_to_sum(data + 24, (u64)from + to);
	add_to_sum(data + 50, (u64)from + to + from_port + to_port);
	return 0;
}

static __always_inline int unwrap(struct xdp_md *context, const struct harness_order *order)
{
	const u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;

	return order->is_growing ? bpf_xdp_adjust_head(context, (int)(end - data) - HARNESS_LENGTH) : 0;
}

SEC("xdp")
int harness_xdp(struct xdp_md *context)
{
	u32 zero = 0;
	struct harness_order *order = bpf_map_lookup_elem(&orders, &zero);

	if (order && unwrap(context, order) == 0 &&
	    make((u8 *)(long)context->data, (u8 *)(long)context->data_end, order) == 0)
		bpf_tail_call(context, &targets, order->target);
	return XDP_ABORTED;
}

SEC("tc")
int harness_tc(struct __sk_buff *context)
{
	u32 zero = 0;
	struct harness_order *order = bpf_map_lookup_elem(&orders, &zero);

	if (order && make((u8 *)(long)context->data, (u8 *)(long)context->data_end, order) == 0)
		bpf_tail_call(context, &targets, order->target);
	return TC_ACT_SHOT;
}

/* The least a balancer could do: both MACs, one address, two checksums, always the same. */
static __always_inline int rewrite(u8 *data, u8 *end)
{
	static const u8 macs[12] = { 2, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 2 };
	u64 change;

	if (data + HARNESS_FRAME > end)
		return -1;
	change =
		fl_change32(fl_get32(data + 30), FL_BE32(0x0a00010b)) + fl_change16(fl_get16(data + 36), FL_BE16(8080));
	__builtin_memcpy(data, macs, 12);
	fl_put32(data + 30, FL_BE32(0x0a00010b));
	fl_put16(data + 36, FL_BE16(8080));
	fl_put16(data + 24, fl_checksum_full(fl_get16(data + 24), change));
	fl_put16(data + 50, fl_checksum_full(fl_get16(data + 50), change));
	return 0;
}

SEC("xdp")
int rewrite_xdp(struct xdp_md *context)
{
	return rewrite((u8 *)(long)context->data, (u8 *)(long)context->data_end) ? XDP_DROP : XDP_TX;
}

SEC("tc")
int rewrite_tc(struct __sk_buff *context)
{
	return rewrite((u8 *)(long)context->data, (u8 *)(long)context->data_end) ? TC_ACT_SHOT : bpf_redirect(1, 0);
}

/* The least a tunnel could do: 24 octets, always the same, and the length. */
SEC("xdp")
int wrap_xdp(struct xdp_md *context)
{
	static const u8 outer[38] = { 2, 0,    0, 0,  2,  0,	2,    0,  0, 0, 0, 2,  8, 0, 0x45, 0, 0, 78, 0,
				      0, 0x40, 0, 64, 47, 0x27, 0x3e, 10, 0, 1, 1, 10, 0, 1, 11,   0, 0, 8,  0 };
	u8 *data, *end;

	if (bpf_xdp_adjust_head(context, -24))
		return XDP_DROP;
	data = (u8 *)(long)context->data;
	end = (u8 *)(long)context->data_end;
	if (data + sizeof(outer) > end)
		return XDP_DROP;
	__builtin_memcpy(data, outer, sizeof(outer));
	return XDP_TX;
}

SEC("xdp")
int nothing_xdp(struct xdp_md *context)
{
	(void)context;
	return XDP_DROP;
}

SEC("tc")
int nothing_tc(struct __sk_buff *context)
{
	(void)context;
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";
