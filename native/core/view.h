/*
 * What the core works with besides the frame: the region opened for one moment, and room for what a BPF stack cannot
 * hold.
 *
 * FL_PART: a step of the work that needs no octet of the frame, only the view, the look and two numbers.
 *
 * The problem: the BPF verifier follows a static function anew from every call and for every state of its caller, so
 * that the whole core would be beyond its million instructions. The idea: in BPF a part is a global function, which
 * the verifier follows once, by itself, for any arguments (kernel 5.6). Such a function may be given numbers but no
 * map pointers, so it opens the view again, at the moment that fl_view_open() left in the scratch map. In user space a
 * part is an inline function like any other.
 */
#ifndef FL_VIEW_H
#define FL_VIEW_H

#include "access.h"
#include "cursor.h"

/* A flow as seen from its client: the client's end, and the other end the frame names. */
struct fl_key {
	struct fl_addr client;
	struct fl_addr other;
	u16 client_port;
	u16 other_port;
	u8 protocol;
	u8 is_v6;
};

/* The ends of a frame after NAT. */
struct fl_ends {
	struct fl_addr source;
	struct fl_addr target;
	u16 source_port;
	u16 target_port;
};

struct fl_result {
	u8 verdict;
	u8 reason;
	u8 out_interface;
	u8 reserved;
	u32 out_ifindex;
};

/* A flow on its way from one state to another. */
struct fl_moved {
	u32 slot;
	u32 generation;
	u32 since; /* SYN_SENT: when the SYN came, in microseconds */
	u32 is_from_server;
	u32 from; /* control words; `to` is 0 when nothing moved */
	u32 to;
};

/* In BPF it lies in a per-CPU map, because 512 octets of stack are soon spent on addresses. */
struct fl_scratch {
	struct fl_key key;
	struct fl_ends ends;
	struct fl_addr one;
	struct fl_addr two;
	u64 schedule_keys[4];
	u32 mtu;      /* what the frame is too big for */
	u8 interface; /* a first frame: where it came in, and from whom */
	u8 source_mac[6];
	u8 tunnel;	   /* that an ICMP error is about */
	u8 error_side;	   /* enum fl_side: whence an ICMP error about a nat flow comes */
	u8 is_quote_later; /* what an ICMP error quotes is a fragment, and not its datagram's first */
	u32 tunnel_key;	   /* and that one's, or 0 */
	u32 option;	   /* where the next option of a SYN or of an IPv4 header lies */
	u32 is_routed;	   /* an IPv4 source route is in the frame */
	u32 quote;	   /* octets of the frame in an ICMP error */
	u32 quote_l4; /* where TCP or UDP, key.protocol, lies of the packet that an ICMP error quotes; 0: no address is */
	u32 client;   /* in CLIENTS: for whom a new flow counts */
	u32 service;	       /* that a first frame is for */
	u32 server_slot;       /* chosen for it */
	u32 refusal;	       /* why no server takes it */
	u32 is_untracked;      /* it is of a connection that has no flow: a full server takes it too */
	u32 orphan;	       /* the flow found that its server has lost, or FL_NONE */
	u32 is_local;	       /* its server takes us for its client: full-nat, or it would answer around us */
	u32 is_moved;	       /* a first frame: of a connection that another server had */
	u32 is_computed;       /* a SYN or its ACK, whose server the hash alone chooses (compute.h) */
	u32 is_trailing;       /* its server answers through us: without a flow it needs a trail (trail.h) */
	u32 is_confirmed;      /* the server has spoken for its connection (trail.h) */
	u32 trailing;	       /* FL_TRAIL_*: it goes by a trail, and then whose frame it is */
	u32 port_try;	       /* full-nat: which of its client's ports it leaves by, see room.h */
	struct fl_trail trail; /* the way back that was found */
	u32 is_sticky;	       /* its service remembers clients: sticky.h */
	u32 sticky_bucket;
	u32 sticky_control;	 /* the bucket's, when the client was looked for */
	u32 sticky_way;		 /* where the client was found, or FL_NONE */
	struct fl_sticky sticky; /* the client's entry, but for the server */
	struct fl_moved moved;
	u64 now_ns;
	struct fl_look look;
#ifdef __bpf__
	struct fl_result result; /* of a part that has the frame */
	u32 now;
	u32 worker_index;
	u32 half;
	u64 jiffies; /* when coarse_ns was asked for */
	u64 coarse_ns;
#endif
};

struct fl_view {
	const struct fl_region *region;
	struct fl_header *header;
	struct fl_settings *settings;
	struct fl_worker *worker;
	struct fl_scratch *scratch;
	u32 now; /* tick */
	u32 worker_index;
};

/* view->scratch is the caller's. False when the region lacks what every frame needs. */
FL_INLINE int fl_view_open(struct fl_view *view, const struct fl_region *region, u32 worker, u64 now)
{
	u32 half;

	view->region = region;
	view->now = (u32)(now >> FL_TICK_SHIFT);
	view->worker_index = worker;
	view->header = fl_header_at(region, 0);
	view->worker = fl_workers_at(region, worker);
	if (!view->header || !view->worker || !view->scratch)
		return 0;
	view->scratch->now_ns = now;
	half = fl_load(&view->header->active_half) & 1;
	view->settings = fl_settings_at(region, half);
#ifdef __bpf__
	view->scratch->now = view->now;
	view->scratch->worker_index = worker;
	view->scratch->half = half;
#endif
	return view->settings != NULL;
}

/* Ticks from `then` to `now`; 0 when `then` is the later one, of a processor whose clock was read a moment after ours. No
 * branches. */
FL_INLINE u32 fl_elapsed(u32 now, u32 then)
{
	u32 elapsed = now - then, is_later = elapsed >> 31;

	fl_hide(is_later);
	return elapsed & (is_later - 1);
}

/* Microseconds of the same clock, for what a tick is too coarse for: asked on the long way only. In the kernel `now` is
 * the coarse clock of the timer interrupt, and stands still for milliseconds. */
FL_INLINE u32 fl_view_us(const struct fl_view *view)
{
#if defined(__bpf__) && !defined(FL_REPLAY)
	(void)view;
	return (u32)(bpf_ktime_get_ns() / 1000);
#else
	return (u32)(view->scratch->now_ns / 1000);
#endif
}

FL_INLINE const struct fl_interface *fl_interface_of(const struct fl_view *view, u32 id)
{
	return fl_interfaces_at(view->region, view->settings->first[FL_SECTION_INTERFACES] + id);
}

#ifdef __bpf__

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fl_scratch);
} fl_scratch_map SEC(".maps");

FL_INLINE struct fl_scratch *fl_scratch_of_cpu(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&fl_scratch_map, &zero);
}

/* The view of this frame, for a part: also a commit in between does not change the half. */
FL_INLINE int fl_view_again(struct fl_view *view)
{
	view->region = NULL;
	view->scratch = fl_scratch_of_cpu();
	if (!view->scratch)
		return 0;
	view->now = view->scratch->now;
	view->worker_index = view->scratch->worker_index;
	view->header = fl_header_at(view->region, 0);
	view->worker = fl_workers_at(view->region, view->worker_index);
	view->settings = fl_settings_at(view->region, view->scratch->half);
	return view->header && view->worker && view->settings;
}

#define FL_PART(name, otherwise, a, b)                                                                             \
	FL_INLINE u32 name##_body(const struct fl_view *view, struct fl_look *look, u32 a, u32 b);                 \
	__attribute__((noinline)) u32 name##_part(u32 a, u32 b)                                                    \
	{                                                                                                          \
		struct fl_view view;                                                                               \
                                                                                                                   \
		asm volatile("" : "+r"(a), "+r"(b)); /* or clang leaves out an argument that the verifier wants */ \
		return fl_view_again(&view) ? name##_body(&view, &view.scratch->look, a, b) : (otherwise);         \
	}                                                                                                          \
	FL_INLINE u32 name(const struct fl_view *view, struct fl_look *look, u32 a, u32 b)                         \
	{                                                                                                          \
		(void)view;                                                                                        \
		(void)look;                                                                                        \
		return name##_part(a, b);                                                                          \
	}                                                                                                          \
	FL_INLINE u32 name##_body(const struct fl_view *view, __attribute__((unused)) struct fl_look *look,        \
				  __attribute__((unused)) u32 a, __attribute__((unused)) u32 b)

#else

#define FL_PART(name, otherwise, a, b)                                                               \
	static inline __attribute__((unused)) u32 name(const struct fl_view *view,                   \
						       __attribute__((unused)) struct fl_look *look, \
						       __attribute__((unused)) u32 a, __attribute__((unused)) u32 b)

#endif

#endif
