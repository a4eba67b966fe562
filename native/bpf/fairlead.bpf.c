/*
 * The core as an XDP program: context -> frame, maps -> region, verdict -> action. Every build loads it, so that
 * nothing enters the core that the kernel's verifier would refuse.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../core/forward.h"

static __always_inline void point_at(struct fl_frame *frame, struct xdp_md *context)
{
	frame->data = (u8 *)(long)context->data;
	frame->end = (u8 *)(long)context->data_end;
}

static int fl_resize(struct fl_frame *frame, u32 len)
{
	struct xdp_md *context = frame->context;

	if (bpf_xdp_adjust_tail(context, (int)len - (int)frame->len))
		return -1;
	point_at(frame, context);
	frame->len = len;
	return 0;
}

SEC("xdp")
int fairlead_xdp(struct xdp_md *context)
{
	struct fl_region region = { 0 };
	struct fl_frame frame = { 0 };
	struct fl_result result = { 0 };

	frame.context = context;
	point_at(&frame, context);
	frame.len = context->data_end - context->data;
	switch (fl_forward(&region, &frame, bpf_ktime_get_ns(), &result)) {
	case FL_PASS:
		return XDP_PASS;
	case FL_FORWARD:
	case FL_ANSWER:
		return XDP_TX;
	}
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
