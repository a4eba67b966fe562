/*
 * What a program in the kernel tells user space, through one ring buffer: a frame it leaves to the slow path, or a
 * sample of what it decided. Of a frame as much is copied as an ICMP error quotes and a person reads; of a longer one for
 * the slow path as much as it may have to make fragments of.
 */
#ifndef FL_RECORD_H
#define FL_RECORD_H

#include "types.h"

#define FL_RECORD_DATA 256 /* octets: all headers there are in practice, and FL_QUOTE_MAX behind a VLAN tag */

enum fl_record_kind {
	FL_RECORD_SLOW,	  /* a frame for user space to decide and to send */
	FL_RECORD_BEFORE, /* a sample: as it came in; its after is the next one of the same processor */
	FL_RECORD_AFTER,  /* a sample: as it left, with the decision */
	FL_RECORD_COUNT
};

struct fl_record {
	u64 now_ns; /* CLOCK_MONOTONIC */
	u32 len;    /* of the frame */
	u32 size;   /* octets of it in data */
	u32 flow;   /* index, when the decision was about one; else FL_NONE */
	u16 gso_size;
	u16 csum_start; /* as in struct fl_frame */
	u16 worker;
	u8 kind;
	u8 interface;
	u8 verdict;
	u8 reason;
	u8 out_interface;
	u8 reserved;
	u16 vlan_protocol; /* of a tag that lies beside the frame; 0: none. Both in host order */
	u16 vlan_tci;
	u8 data[FL_RECORD_DATA];
};

#define FL_RECORD_WHOLE 2048 /* octets: a frame of a link with an MTU of 1500, and some jumbo ones are lost */

struct fl_record_whole {
	struct fl_record record;
	u8 rest[FL_RECORD_WHOLE - FL_RECORD_DATA];
};

/* The frame's octets: FL_RECORD_DATA of a record, FL_RECORD_WHOLE of a long one. */
FL_INLINE u8 *fl_record_octets(const struct fl_record *record)
{
	return (u8 *)record + __builtin_offsetof(struct fl_record, data);
}

/* How the loader sets up one copy of the programs, before the verifier sees it: what is constant costs nothing. */
struct fl_entry {
	u8 interface; /* id of the one it is attached to */
	u8 is_tc;     /* a socket buffer behind the driver; else a frame in the driver */
	u8 has_frags; /* xdp: the frame may lie in several buffers (Linux 5.18) */
	/* xdp on veth: what leaves where it came goes by redirection too, because XDP_TX wakes only a receiver that has a
	 * program of its own (veth_xdp_flush, Linux 6.18), and any other gets the frame with the next one, if one comes. */
	u8 is_veth;
};

#endif
