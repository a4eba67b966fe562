/*
 * The frame, and the only way to touch its octets: fl_bytes() gives a pointer to `size` octets at an offset, or NULL
 * when the frame does not have them. Offsets reach at most FL_REACH into a frame: no sane header chain is longer, and
 * the BPF verifier wants a bound.
 */
#ifndef FL_CURSOR_H
#define FL_CURSOR_H

#include "platform.h"

#define FL_REACH 1023

enum fl_kind { FL_KIND_OTHER, FL_KIND_ARP, FL_KIND_TCP, FL_KIND_UDP, FL_KIND_ICMP, FL_KIND_ICMP6 };

struct fl_home {
	u32 bucket[2];
	u16 tag;
	u8 way; /* the slot of a bucket that a flow takes when it is free */
};

/*
 * What is read from a frame, once. Apart from struct fl_frame because a BPF stack is small, and because the verifier
 * then follows one path behind the parser instead of one for each combination of headers.
 */
struct fl_look {
	u8 kind;
	u8 is_v6;
	u8 protocol;
	u8 is_fragment;
	u8 tcp_flags;
	u8 ttl;
	u8 malformed; /* a reason, or 0 */
	u8 reserved;
	u16 l3; /* offsets; 0 where there is none */
	u16 l4;
	u16 source_port; /* network order; 0 where there is none */
	u16 target_port;
	u32 vip_flags; /* of the target, when it is ours; else 0 */
	u32 range_first;
	u32 range_count;
	/* fl_look() zeroes what is above; what follows is set before it is read. Zeroing all takes gcc a `rep stos`, 9 ns. */
	struct fl_addr source;
	struct fl_addr target;
	u32 end;	  /* where the packet ends: Ethernet padding may follow */
	u32 index;	  /* of the flow found or entered */
	u32 control;	  /* and its control word then */
	u32 tcp_sequence; /* in network order */
	u32 tcp_acknowledged;
	u32 tcp_next_host;   /* the number that follows this segment */
	struct fl_home home; /* where the flow of this frame would be */
	/* of a fragment */
	u32 fragment_id;   /* its datagram's; once that is found, the one it goes on with */
	u16 fragment_from; /* in units of 8 octets */
	u16 fragment_to;
	u8 fragment_is_last;
};

struct fl_frame {
	u8 *data;	/* first octet of the Ethernet header; VLAN tags are in the data */
	u32 len;	/* octets in the frame */
	u32 room;	/* octets usable from data on: an answer may be longer than its question */
	u16 head;	/* octets usable before data: what a tunnel adds goes there */
	u16 csum_start; /* offset of an L4 header whose checksum holds only the pseudo-header's sum; 0: full */
	u16 gso_size;	/* payload of each segment of a super-frame; 0: not one */
	u16 worker;
	u8 interface; /* id of the interface it came in by */
	u8 outer;     /* octets of outer headers that the core put before the packet; 0: none */
	u16 split; /* whoever sends it makes fragments of it first, the packet in each at most this long; 0: it fits */

	struct fl_look *look; /* what the core sees in it; set by fl_forward() */

#ifdef __bpf__
	u8 *end;
	void *context;
#endif
};

#ifdef __bpf__

/* The asm keeps the compiler from checking one register and using another, which the verifier cannot follow. */
FL_INLINE u8 *fl_bytes(const struct fl_frame *frame, u32 offset, u32 size)
{
	u8 *at = frame->data;

	if (offset > FL_REACH)
		return NULL;
	asm volatile("" : "+r"(offset));
	if (offset > FL_REACH)
		return NULL;
	at += offset;
	if (at + size > frame->end)
		return NULL;
	return at;
}

/* bpf/frame.h has them for both entries: what a driver's frame and a socket buffer do differently. */

/* 0 or negative. After it, pointers into the frame are to be had anew. */
static int fl_resize(struct fl_frame *frame, u32 len);
/* Makes room for `octets` of outer headers between the Ethernet header, with its tags `l3` octets long, and the packet.
 * 0 or negative. After it, pointers into the frame are to be had anew. */
FL_INLINE int fl_push(struct fl_frame *frame, u32 l3, u32 octets, u32 tunnel, u32 is_outer_v6);
/* The same for who knows that it gets shorter; inlined. */
FL_INLINE int fl_cut(struct fl_frame *frame, u32 len);
/* May the frame become an answer here? Not when its checksum is still owed: the kernel would pay it into the answer. */
static int fl_is_answerable(struct fl_frame *frame);

/* Has the verifier forget what it knows of the frame, so that what follows is walked once and not for each way here. */
static void fl_forget(struct fl_frame *frame);

#define FL_REASON_NO_ROOM FL_REASON_SLOW_PATH
#define FL_SPLITS 0 /* a program makes one frame of one */

#else

#define FL_REASON_NO_ROOM FL_REASON_OVERSIZE
#define FL_SPLITS 1
#define fl_is_answerable(frame) 1
#define fl_forget(frame) ((void)(frame))

FL_INLINE u8 *fl_bytes(const struct fl_frame *frame, u32 offset, u32 size)
{
	if (FL_UNLIKELY(offset > FL_REACH || offset + size > frame->len))
		return NULL;
	return frame->data + offset;
}

FL_INLINE int fl_resize(struct fl_frame *frame, u32 len)
{
	if (len > frame->room)
		return -1;
	frame->len = len;
	return 0;
}

#define fl_cut fl_resize

FL_INLINE int fl_push(struct fl_frame *frame, u32 l3, u32 octets, u32 tunnel, u32 is_outer_v6)
{
	(void)tunnel;
	(void)is_outer_v6;
	if (FL_UNLIKELY(octets > frame->head))
		return -1;
	__builtin_memmove(frame->data - octets, frame->data, l3);
	frame->data -= octets;
	frame->head -= octets;
	frame->len += octets;
	frame->room += octets;
	if (frame->csum_start)
		frame->csum_start += octets;
	frame->outer = (u8)octets;
	return 0;
}

#endif

/* Unaligned words, as they lie in the frame. */
FL_INLINE u16 fl_get16(const u8 *at)
{
	u16 value;

	__builtin_memcpy(&value, at, 2);
	return value;
}

FL_INLINE u32 fl_get32(const u8 *at)
{
	u32 value;

	__builtin_memcpy(&value, at, 4);
	return value;
}

FL_INLINE void fl_put16(u8 *at, u16 value)
{
	__builtin_memcpy(at, &value, 2);
}

FL_INLINE void fl_put32(u8 *at, u32 value)
{
	__builtin_memcpy(at, &value, 4);
}

FL_INLINE void fl_get_addr(struct fl_addr *addr, const u8 *at, int is_v6)
{
	addr->word[0] = fl_get32(at);
	addr->word[1] = is_v6 ? fl_get32(at + 4) : 0;
	addr->word[2] = is_v6 ? fl_get32(at + 8) : 0;
	addr->word[3] = is_v6 ? fl_get32(at + 12) : 0;
}

FL_INLINE void fl_put_addr(u8 *at, const struct fl_addr *addr, int is_v6)
{
	fl_put32(at, addr->word[0]);
	if (is_v6) {
		fl_put32(at + 4, addr->word[1]);
		fl_put32(at + 8, addr->word[2]);
		fl_put32(at + 12, addr->word[3]);
	}
}

#endif
