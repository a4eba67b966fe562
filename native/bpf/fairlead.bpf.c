/*
 * The core in the kernel, with two entries: context -> frame, maps -> region, verdict -> action. The loader
 * (engine/bpf.c) makes a copy for each interface, loads the one entry that is wanted there, and gives all copies the
 * same maps.
 *
 * Compiled with FL_REPLAY, time comes from whoever replays, and the decision goes back to them: see engine/replay.c.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "frame.h"
#include "../core/forward.h"

/* Where xdp sends by interface id. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u32);
} fl_ports SEC(".maps");

/* 1 MiB: three thousand records. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} fl_records SEC(".maps");

#ifdef FL_REPLAY

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct fl_replayed);
} fl_replay SEC(".maps");

static __always_inline u64 clock(void)
{
	u32 zero = 0;
	const struct fl_replayed *replayed = bpf_map_lookup_elem(&fl_replay, &zero);

	return replayed ? replayed->now : 0;
}

static __always_inline void tell(const struct fl_result *result)
{
	u32 zero = 0;
	struct fl_replayed *replayed = bpf_map_lookup_elem(&fl_replay, &zero);

	if (replayed)
		replayed->result = *result;
}

#else

/*
 * A tick is 0.134 s: the clock that the timer interrupt keeps is exact enough. And since it stands still between two
 * interrupts, it is asked once for each, which a load can tell; the asking costs as much as finding a flow.
 */
static __always_inline u64 clock(void)
{
	struct fl_scratch *scratch = fl_scratch_of_cpu();
	u64 jiffies = bpf_jiffies64();

	if (!scratch)
		return 0;
	if (FL_UNLIKELY(scratch->jiffies != jiffies)) {
		scratch->coarse_ns = bpf_ktime_get_coarse_ns();
		scratch->jiffies = jiffies;
	}
	return scratch->coarse_ns;
}

static __always_inline void tell(const struct fl_result *result)
{
	(void)result;
}

#endif

/* What is reported of the frame at hand, but for its octets. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fl_record);
} fl_report SEC(".maps");

static __always_inline struct fl_record *report_of_cpu(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&fl_report, &zero);
}

#ifdef FL_NO_SAMPLES

/* What the bench holds the question against. */
static __always_inline int is_sampling(void)
{
	return 0;
}

#else

static __always_inline int is_sampling(void)
{
	struct fl_header *header = fl_header_at(NULL, 0);

	return header && header->is_sampling;
}

#endif

static __always_inline void prepare_report(const struct fl_frame *frame, const struct fl_result *result, u32 kind)
{
	struct fl_record *report = report_of_cpu();

	if (!report)
		return;
	report->now_ns = bpf_ktime_get_ns();
	report->len = frame->len;
	report->gso_size = frame->gso_size;
	report->csum_start = frame->csum_start;
	report->worker = frame->worker;
	report->kind = kind;
	report->interface = frame->interface;
	report->verdict = result->verdict;
	report->reason = result->reason;
	report->out_interface = result->out_interface;
	report->flow = FL_NONE;
	if (fl_is_of_flow(result->reason))
		report->flow = frame->look->index;
}

/* `room` octets of the frame, a constant. */
static __always_inline int put_xdp(struct xdp_md *context, struct fl_record *record, const u32 room)
{
	const u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;
	const struct fl_record *report = report_of_cpu();
	u8 *octets = fl_record_octets(record);
	u32 size = 0;

	if (!record)
		return 0;
	if (!report) {
		bpf_ringbuf_discard(record, 0);
		return 0;
	}
	__builtin_memcpy(record, report, __builtin_offsetof(struct fl_record, data));
	for (u32 at = 0; at < room; at++) {
		if (data + at + 1 > end)
			break;
		octets[at] = data[at];
		size = at + 1;
	}
	record->size = size;
	bpf_ringbuf_submit(record, 0);
	return 1;
}

static __always_inline int put_tc(struct __sk_buff *context, struct fl_record *record, const u32 room)
{
	const struct fl_record *report = report_of_cpu();
	u32 size = context->len;

	if (!record)
		return 0;
	if (size > room)
		size = room;
	if (!report || !size || bpf_skb_load_bytes(context, 0, fl_record_octets(record), size)) {
		bpf_ringbuf_discard(record, 0);
		return 0;
	}
	__builtin_memcpy(record, report, __builtin_offsetof(struct fl_record, data));
	record->size = size;
	if (context->vlan_present) {
		record->vlan_protocol = FL_BE16(context->vlan_proto);
		record->vlan_tci = context->vlan_tci;
	}
	bpf_ringbuf_submit(record, 0);
	return 1;
}

static __always_inline int is_report_long(void)
{
	const struct fl_record *report = report_of_cpu();

	return report && report->kind == FL_RECORD_SLOW && report->len > FL_RECORD_DATA;
}

#define RESERVE(type) bpf_ringbuf_reserve(&fl_records, sizeof(struct type), 0)

/* Reports are global functions, which the verifier follows once and not anew for all that may have been decided. They
 * return 0 when user space is not there or far behind. */
__attribute__((noinline)) int report_xdp(struct xdp_md *context)
{
	if (is_report_long())
		return put_xdp(context, RESERVE(fl_record_whole), FL_RECORD_WHOLE);
	return put_xdp(context, RESERVE(fl_record), FL_RECORD_DATA);
}

__attribute__((noinline)) int report_tc(struct __sk_buff *context)
{
	if (is_report_long())
		return put_tc(context, RESERVE(fl_record_whole), FL_RECORD_WHOLE);
	return put_tc(context, RESERVE(fl_record), FL_RECORD_DATA);
}

static __always_inline int go_to_dsr_server(void *context, u32 index)
{
	struct fl_frame frame = { 0 };
	struct fl_view view;

	if (!fl_view_again(&view))
		return FL_REASON_NO_FLOW;
	frame.look = &view.scratch->look;
	describe_frame(&frame, context);
	return fl_go_to_dsr_server(&view, &frame, index == FL_NONE ? NULL : fl_flows_at(view.region, index),
				   &view.scratch->result);
}

__attribute__((noinline)) int dsr_xdp(struct xdp_md *context, u32 index)
{
	return go_to_dsr_server(context, index);
}

__attribute__((noinline)) int dsr_tc(struct __sk_buff *context, u32 index)
{
	return go_to_dsr_server(context, index);
}

static __always_inline int fl_to_dsr_server(const struct fl_view *view, struct fl_frame *frame,
					    const struct fl_flow *flow, struct fl_result *result)
{
	u32 index = flow ? frame->look->index : FL_NONE;
	int hindrance = fl_entry.is_tc ? dsr_tc(frame->context, index) : dsr_xdp(frame->context, index);

	describe_frame(frame, frame->context);
	*result = view->scratch->result;
	return hindrance;
}

static __always_inline int read_quote(void *context, u32 at, u32 is_v6, u32 is_from_client)
{
	struct fl_scratch *scratch = fl_scratch_of_cpu();
	struct fl_frame frame = { .context = context };

	if (!scratch)
		return FL_REASON_SHORT_QUOTE;
	frame.look = &scratch->look;
	point_at(&frame);
	return fl_read_quote(&frame, scratch, at, is_v6, is_from_client);
}

__attribute__((noinline)) int quote_xdp(struct xdp_md *context, u32 at, u32 is_v6, u32 is_from_client)
{
	return read_quote(context, at, is_v6, is_from_client);
}

__attribute__((noinline)) int quote_tc(struct __sk_buff *context, u32 at, u32 is_v6, u32 is_from_client)
{
	return read_quote(context, at, is_v6, is_from_client);
}

static __always_inline int fl_quote_read(const struct fl_view *view, struct fl_frame *frame, u32 at, u32 is_v6,
					 u32 is_from_client)
{
	(void)view;
	return fl_entry.is_tc ? quote_tc(frame->context, at, is_v6, is_from_client)
			      : quote_xdp(frame->context, at, is_v6, is_from_client);
}

static __always_inline int go_to_other_side(void *context, u32 index)
{
	struct fl_frame frame = { 0 };
	struct fl_view view;

	if (!fl_view_again(&view))
		return FL_REASON_NO_FLOW;
	frame.look = &view.scratch->look;
	describe_frame(&frame, context);
	return fl_go_to_other_side(&view, &frame, index == FL_NONE ? NULL : fl_flows_at(view.region, index),
				   &view.scratch->result);
}

__attribute__((noinline)) int other_side_xdp(struct xdp_md *context, u32 index)
{
	return go_to_other_side(context, index);
}

__attribute__((noinline)) int other_side_tc(struct __sk_buff *context, u32 index)
{
	return go_to_other_side(context, index);
}

static __always_inline int fl_to_other_side(const struct fl_view *view, struct fl_frame *frame,
					    const struct fl_flow *flow, struct fl_result *result)
{
	u32 index = flow ? frame->look->index : FL_NONE;
	int hindrance = fl_entry.is_tc ? other_side_tc(frame->context, index) : other_side_xdp(frame->context, index);

	describe_frame(frame, frame->context);
	*result = view->scratch->result;
	return hindrance;
}

static __always_inline int make_answer(void *context, int reason)
{
	struct fl_frame frame = { 0 };
	struct fl_view view;

	if (!fl_view_again(&view))
		return FL_REASON_NO_FLOW;
	frame.look = &view.scratch->look;
	describe_frame(&frame, context);
	return fl_make_answer(&view, &frame, reason);
}

__attribute__((noinline)) int answer_xdp(struct xdp_md *context, int reason)
{
	return make_answer(context, reason);
}

__attribute__((noinline)) int answer_tc(struct __sk_buff *context, int reason)
{
	return make_answer(context, reason);
}

static __always_inline int fl_answer(const struct fl_view *view, struct fl_frame *frame, int reason)
{
	int answered = fl_entry.is_tc ? answer_tc(frame->context, reason) : answer_xdp(frame->context, reason);

	(void)view;
	describe_frame(frame, frame->context);
	return answered;
}

static __always_inline void count_lost(const struct fl_frame *frame)
{
	struct fl_worker *worker = fl_workers_at(NULL, frame->worker);

	if (worker)
		worker->reasons[FL_REASON_SLOW_PATH_FULL]++;
}

/*
 * Each entry is two programs. The short one is what an interface runs: it has everything inlined, because on many machines
 * a return costs as much as half the rest, and so takes nearly all of a BPF stack. What it does not do, the long one does
 * from the start, on a stack of its own, after a tail call.
 */
enum { LONG_XDP, LONG_TC, LONG_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LONG_COUNT);
	__type(key, u32);
	__type(value, u32);
} fl_long SEC(".maps");

static __always_inline int go_short(void *context, struct fl_frame *frame, struct fl_result *result)
{
	struct fl_region region = { 0 };
	struct fl_view view;

	take_frame(frame, context);
	if (is_sampling() || !fl_forward_open(&view, &region, frame, fl_scratch_of_cpu(), clock()) ||
	    !fl_forward_short(&view, frame, result))
		return 0;
	tell(result);
	return 1;
}

#define GO_LONG(context, frame, result, report)                                           \
	do {                                                                              \
		struct fl_region region = { 0 };                                          \
		struct fl_view view;                                                      \
		int is_sampled;                                                           \
                                                                                          \
		take_frame(frame, context);                                               \
		is_sampled = is_sampling();                                               \
		if (FL_UNLIKELY(is_sampled)) {                                            \
			prepare_report(frame, result, FL_RECORD_BEFORE);                  \
			report(context);                                                  \
		}                                                                         \
		if (fl_forward_open(&view, &region, frame, fl_scratch_of_cpu(), clock())) \
			fl_forward_long(&view, frame, result);                            \
		if (FL_UNLIKELY((result)->verdict == FL_HAND_UP)) {                       \
			prepare_report(frame, result, FL_RECORD_SLOW);                    \
			if (!report(context))                                             \
				count_lost(frame);                                        \
		} else if (FL_UNLIKELY(is_sampled)) {                                     \
			prepare_report(frame, result, FL_RECORD_AFTER);                   \
			report(context);                                                  \
		}                                                                         \
		tell(result);                                                             \
	} while (0)

static __always_inline int leave_xdp(const struct fl_result *result)
{
	if (result->out_interface == fl_entry.interface && !fl_entry.is_veth)
		return XDP_TX;
	return bpf_redirect_map(&fl_ports, result->out_interface, XDP_DROP);
}

/* Multi-buffer frames are declared by the loader, where the kernel knows them. */
SEC("xdp")
int fairlead_xdp(struct xdp_md *context)
{
	struct fl_frame frame = { 0 };
	struct fl_result result = { 0 };

	if (go_short(context, &frame, &result))
		return leave_xdp(&result);
	bpf_tail_call_static(context, &fl_long, LONG_XDP);
	return XDP_DROP;
}

SEC("xdp")
int fairlead_xdp_long(struct xdp_md *context)
{
	struct fl_frame frame = { 0 };
	struct fl_result result = { 0 };

	GO_LONG(context, &frame, &result, report_xdp);
	switch (result.verdict) {
	case FL_PASS:
		return XDP_PASS;
	case FL_ANSWER:
	case FL_FORWARD:
		return leave_xdp(&result);
	}
	return XDP_DROP;
}

SEC("tc")
int fairlead_tc(struct __sk_buff *context)
{
	struct fl_frame frame = { 0 };
	struct fl_result result = { 0 };

	if (go_short(context, &frame, &result))
		return bpf_redirect(result.out_ifindex, 0);
	bpf_tail_call_static(context, &fl_long, LONG_TC);
	return TC_ACT_SHOT;
}

SEC("tc")
int fairlead_tc_long(struct __sk_buff *context)
{
	struct fl_frame frame = { 0 };
	struct fl_result result = { 0 };

	GO_LONG(context, &frame, &result, report_tc);
	switch (result.verdict) {
	case FL_PASS:
		return TC_ACT_UNSPEC;
	case FL_ANSWER:
		return bpf_redirect(context->ifindex, 0);
	case FL_FORWARD:
		return bpf_redirect(result.out_ifindex, 0);
	}
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";
