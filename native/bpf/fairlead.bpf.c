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
	if (result->reason == FL_REASON_CLIENT_HIT || result->reason == FL_REASON_SERVER_HIT ||
	    result->reason == FL_REASON_NEW_FLOW)
		report->flow = frame->look->index;
}

static __always_inline struct fl_record *begin_record(void)
{
	struct fl_record *report = report_of_cpu();
	struct fl_record *record = report ? bpf_ringbuf_reserve(&fl_records, sizeof(*record), 0) : NULL;

	if (record)
		__builtin_memcpy(record, report, __builtin_offsetof(struct fl_record, data));
	return record;
}

/* Reports are global functions, which the verifier follows once and not anew for all that may have been decided. They
 * return 0 when user space is not there or far behind. */
__attribute__((noinline)) int report_xdp(struct xdp_md *context)
{
	struct fl_record *record = begin_record();
	const u8 *data = (u8 *)(long)context->data, *end = (u8 *)(long)context->data_end;
	u32 size = 0;

	if (!record)
		return 0;
	for (u32 at = 0; at < FL_RECORD_DATA; at++) {
		if (data + at + 1 > end)
			break;
		record->data[at] = data[at];
		size = at + 1;
	}
	record->size = size;
	bpf_ringbuf_submit(record, 0);
	return 1;
}

__attribute__((noinline)) int report_tc(struct __sk_buff *context)
{
	struct fl_record *record = begin_record();
	u32 size = context->len;

	if (!record)
		return 0;
	if (size > FL_RECORD_DATA)
		size = FL_RECORD_DATA;
	record->size = size;
	if (context->vlan_present) {
		record->vlan_protocol = FL_BE16(context->vlan_proto);
		record->vlan_tci = context->vlan_tci;
	}
	if (!size || bpf_skb_load_bytes(context, 0, record->data, size)) {
		bpf_ringbuf_discard(record, 0);
		return 0;
	}
	bpf_ringbuf_submit(record, 0);
	return 1;
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
