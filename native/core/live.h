/*
 * The region's live state: what frames change. Flows and what finds them, datagrams under way, clients, counts. Conventions
 * are those of region.h.
 */
#ifndef FL_LIVE_H
#define FL_LIVE_H

#include "types.h"
#include "verdict.h"

#define FL_WAYS 8 /* slots of a bucket: one cache line of 64-bit words, 16 bytes of tags */

/* X(NAME, "name"): TCP states are driven by both directions; the order is the order of eviction interest. */
#define FL_STATES(X)                    \
	X(FREE, "free")                 \
	X(CLAIMED, "claimed")           \
	X(SYN_SENT, "syn-sent")         \
	X(SYN_RECEIVED, "syn-received") \
	X(ESTABLISHED, "established")   \
	X(CLOSING, "closing")           \
	X(TIME_WAIT, "time-wait")       \
	X(CLOSED, "closed")             \
	X(UDP_ONE_WAY, "udp-one-way")   \
	X(UDP_TWO_WAY, "udp-two-way")

enum fl_state {
#define X(NAME, text) FL_STATE_##NAME,
	FL_STATES(X)
#undef X
		FL_STATE_COUNT
};

/*
 * HOPS: a server's next hop in one word, so that it is always read whole: bytes 0-5 the MAC, byte 6 the interface id,
 * byte 7 FL_HOP_KNOWN or 0. Written by the neighbour thread.
 */
#define FL_HOP_KNOWN 1

#define FL_HALF_OPEN_TICKS 75 /* 10 s */
#define FL_HALF_OPEN_ONE 256  /* unanswered SYNs are counted in 1/256 */

struct fl_service_state {
	u32 cursor; /* of the sequence, or where the least-connection scan starts; any worker adds */
	u32 open;   /* of all its servers; a commit counts anew */
	u32 sticky; /* clients remembered, as last counted */
	u32 reserved;
	u64 bucket; /* of new flows, see limit.h */
	/* Any worker, see compute.h. */
	u64 half_open;	     /* tick << 32 | unanswered SYNs then, in 1/256 */
	u32 computing_since; /* tick since when it is compute-only; 0: it is not */
	u32 computing_ended; /* tick when it last was; 0: never */
};

#define FL_CLIENTS 16384

/* What a client prefix has at a VIP; any worker. */
struct fl_client {
	u64 name; /* keyed bits over both; 0: free */
	u64 bucket;
	u32 flows;
	u32 reserved[3];
};

#define FL_STICKY_WAYS 16   /* the first is the bucket's own */
#define FL_STICKY_CLIENTS 8 /* of a bucket: when they are so many, one in 500 finds it full (Poisson) */
#define FL_STICKY_CLAIMED 1u

/* A client, and the server that it goes to. A server is of one service, so it says which service remembers it. */
struct fl_sticky {
	struct fl_addr client; /* the rest of its prefix is zero */
	u64 server;	       /* slot, and generation << 32; 0: free */
	u32 seen;	       /* tick of its last new flow */
	u16 port;	       /* with FL_STICKY_PORT; else 0 */
	u8 by;		       /* as its service's sticky_by */
	u8 is_kept;	       /* a flow of its came to stand, so it makes room last */
};

/*
 * A bucket of remembered clients; any worker. control: FL_STICKY_CLAIMED while somebody writes, the rest counts writes. Who
 * writes claims the bucket by compare-and-swap from what it was when the client was looked for; who reads looks twice.
 * `seen` and is_kept are stored without a claim.
 */
struct fl_stickies {
	union {
		struct {
			u32 control;
			u32 claimed; /* tick of the last claim */
		};
		struct fl_sticky way[FL_STICKY_WAYS]; /* from 1 on */
	};
} __attribute__((aligned(64)));

/*
 * Of a server: any worker or the ageing thread, by atomic addition, when a flow changes state; the three of the
 * handshakes' time by plain stores, since a lost sample is no loss.
 *
 * Each flow of TCP waits until its SYN is answered or refused or until it is abandoned (it expired, made room, or its
 * client gave up), so of so many that waited at a moment, those that have ended since waited no longer.
 */
struct fl_server_state {
	u32 active;
	u32 inactive;
	u64 flows_total;
	/* l3-dsr: what a router on the way to it said, for FL_PATH_TICKS (RFC 1191 §6.3: ten minutes). Any worker. */
	u32 path_mtu; /* octets; 0: nothing */
	u32 path_tick;
	u32 open;     /* of active and inactive: neither closed nor in TIME_WAIT */
	u32 waiting;  /* of inactive: in SYN_SENT */
	u32 answered; /* SYNs, and so the four below */
	u32 refused;  /* by the server's RST */
	u32 abandoned;
	u32 unanswered;	    /* repeated by their client, or abandoned after a second: once for each flow */
	u32 timed;	    /* answers that handshake_us holds */
	u32 handshake_tick; /* of the last one */
	u64 handshake_us;   /* of all */
	u32 smooth_us8;	    /* smoothed, in eighths of a microsecond; 0: none yet */
	u32 reserved;
};

#define FL_PATH_TICKS 4471

/* One writer each: worker w at [w]. Frames and octets as they came in. */
struct fl_worker {
	u64 reasons[FL_REASON_COUNT];
	u32 half_in_use; /* 1 + half while frames are processed, else 0: a commit waits for it */
	u32 answer_tick; /* the tick that the two below are of */
	u32 icmp_spent;
	u32 rst_spent;
	u32 thread_id;
	u32 reserved_word;
	u64 alive_ns;	 /* when it last looked, CLOCK_MONOTONIC */
	u64 ring_drops;	 /* frames the kernel dropped because a ring was full */
	u64 send_errors; /* frames that the out interface refused */
	u64 wakeups;
	u32 early_tick; /* fragments kept for their first one in this tick */
	u32 early_kept;
	u64 reserved[3];
} __attribute__((aligned(64)));

/* [worker * servers + server]; one writer each. */
struct fl_traffic {
	u64 in_frames; /* from clients */
	u64 in_octets;
	u64 out_frames; /* from the server */
	u64 out_octets;
};

/* A bucket's tags: 16 bits of the hash, 0 where the slot is free. */
struct fl_tags {
	union {
		u16 tag[FL_WAYS];
		u64 word[2];
	};
};

#define FL_FLOW_V6 1
#define FL_FLOW_FULL_NAT 2
#define FL_FLOW_DSR 4	     /* l2-dsr, l3-dsr: its server answers past us */
#define FL_FLOW_OF_ADDRESS 8 /* it counts for its client's address, or for its network: see limit.h */
#define FL_FLOW_OF_NETWORK 16

#define FL_FIN_CLIENT 0x100
#define FL_FIN_SERVER 0x200
#define FL_SYN_AGAIN 0x400 /* the client repeated its SYN before an answer came */

/* CLOSED by a reset that may have ended nothing: what the flow is again when a frame that is no reset comes. */
#define FL_WAS_MASK 0x1800
#define FL_WAS_SYN_SENT 0x800
#define FL_WAS_SYN_RECEIVED 0x1000
#define FL_WAS_OPEN 0x1800	  /* ESTABLISHED, CLOSING or TIME_WAIT: its FINs tell */
#define FL_RESET_BY_SERVER 0x2000 /* and so only the server's own frame takes it back */

#define FL_PICKED_UP 0x4000 /* SYN_RECEIVED: begun by an ACK that nobody has spoken for yet, see trail.h */

/*
 * One flow, both directions, on one cache line; IPv6 addresses lie in FLOWS6 at the same index.
 *
 * control: bits 0-7 enum fl_state, 8-15 FL_FIN_* to FL_PICKED_UP, 16-31 incarnation (counts how often the slot was taken).
 * FREE -> CLAIMED by compare-and-swap (the inserting worker owns the slot), CLAIMED -> first state by release store
 * when all fields stand, state -> state by compare-and-swap of whoever sees the frame, any -> CLAIMED -> FREE by
 * whoever evicts, ages or finds it invalid. The winner of each swap adjusts the server's counts, so counts are exact.
 */
struct fl_flow {
	u32 control;
	u32 seen; /* tick of the last frame */
	u32 client;
	u32 vip;
	u32 server;
	u32 local; /* full-nat's source towards the server */
	u16 client_port;
	u16 vip_port;
	u16 server_port;
	u16 local_port; /* nat: the client's */
	u32 server_slot;
	u32 server_generation;
	u8 protocol;
	u8 flags;
	u8 client_interface;
	u8 worker;
	u8 client_mac[6]; /* whence the client's frames come: the way back */
	u16 tag;
	u32 created; /* tick */
	/* TCP: the sequence number that its client uses next. nat: as the server acknowledged it; dsr: as it follows what
	 * the client sent, and in SYN_SENT when the SYN came, in microseconds. */
	u32 expected_host;
	union {
		/* nat: in SYN_SENT when the SYN came, in microseconds; then the number of the server's SYN+ACK, in
		 * network order, which only the client has seen. */
		u32 handshake;
		struct {
			u16 mark; /* l3-dsr: of the last frame that may come back, see dsr.h */
			u8 mark_ttl;
			u8 reserved;
		};
	};
} __attribute__((aligned(64)));

struct fl_flow6 {
	struct fl_addr client;
	struct fl_addr vip;
	struct fl_addr server;
	struct fl_addr local;
} __attribute__((aligned(64)));

/* full-nat's way back: hash tag of (server, server port, local, local port, protocol) << 32 | flow index + 1; 0: free */
struct fl_returns {
	u64 slot[FL_WAYS];
} __attribute__((aligned(64)));

#define FL_DATAGRAMS 4096 /* under way at once */

/*
 * A datagram that comes in fragments: where they go. Made by whoever sees the first one, see fragment.h.
 *
 * control: bits 0-7 enum fl_datagram_state, 16-31 incarnation. FREE or KNOWN -> CLAIMED by compare-and-swap, CLAIMED ->
 * KNOWN by release store when all fields stand.
 */
struct fl_datagram {
	u32 control;
	u32 seen; /* tick of the first fragment, or of the claim */
	struct fl_addr source;
	struct fl_addr target;
	u32 id;
	u32 flow;	  /* index; FL_NONE: it has none */
	u32 flow_control; /* the flow's incarnation; without a flow, the tag of the frame's hash */
	u32 server_slot;  /* without a flow */
	u32 span;	  /* bits 0-13: so many units of 8 octets have come without a gap; FL_SPAN_* */
	u8 protocol;	  /* IPv4: tells datagrams apart (RFC 791); IPv6: 0 (RFC 8200 §4.5) */
	u8 is_v6;
	u8 reason; /* of the first fragment, and so of the others */
	u8 reserved;
} __attribute__((aligned(64)));

#define FL_TRAILS 65536
#define FL_TRAIL_TICKS 1788 /* 4 min: RFC 5382 REQ-5, of a connection that does not stand */

/*
 * The way back of what went to a server without a flow, see trail.h. Any worker, in the place of whoever hashes there too.
 * Nobody claims it: `check` is the connection's claim with the words up to `ports` mixed in, so what two have written at
 * once is nobody's. The last two are stored by themselves.
 */
struct fl_trail {
	u64 check;
	u64 hop; /* the client's, as in HOPS */
	u64 client[2];
	u64 vip[2];
	u64 server;	 /* slot, and generation << 32 */
	u64 ports;	 /* in network order: the VIP's, and the client's << 16 */
	u32 seen;	 /* tick of the client's last frame */
	u32 spoken_host; /* the first number that the server's client has to acknowledge; 0: the server has not spoken */
};

/* What the guard knows of one, see bpf/guard.bpf.c. */
struct fl_trail_claim {
	u64 claim;
	u64 seen;
};

enum fl_datagram_state { FL_DATAGRAM_FREE, FL_DATAGRAM_CLAIMED, FL_DATAGRAM_KNOWN };

#define FL_SPAN_MASK 0x3fffu
#define FL_SPAN_GAP 0x4000u    /* some came out of order: which are missing is not known */
#define FL_SPAN_BROKEN 0x8000u /* some overlap: no more go on (RFC 5722) */
#define FL_SPAN_WHOLE 0x10000u /* all have come */

#endif
