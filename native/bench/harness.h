/* What the harness in the kernel and bench-kernel share. */
#ifndef FL_BENCH_HARNESS_H
#define FL_BENCH_HARNESS_H

#include "../core/types.h"

#define HARNESS_FRAME 54 /* Ethernet, IPv4, TCP */
#define HARNESS_LENGTH 64
#define HARNESS_FLOWS (1u << 22)

/* What a flow's frames carry on the servers' side: last words of addresses, and the port. */
struct harness_reply {
	u32 server;
	u32 local;
	u16 local_port;
	u16 reserved[3]; /* elements of BPF arrays are multiples of eight octets */
};

enum harness_target { HARNESS_NOTHING, HARNESS_REWRITE, HARNESS_WRAP, HARNESS_CORE, HARNESS_KATRAN, HARNESS_TARGETS };

struct harness_order {
	u64 random;   /* state of the sequence */
	u32 flows;    /* choose among so many */
	u32 next;     /* is_random 0: the next flow, going round */
	u32 client;   /* the first client's address, in host order */
	u32 vip;      /* in network order */
	u16 vip_port; /* in network order */
	u8 is_random;
	u8 from_server;
	u32 target;
	u8 frame[HARNESS_FRAME]; /* addresses and ports still 0, checksum fields hold sums: see packets.h */
	u8 is_growing;		 /* xdp: what is measured puts headers before the frame */
	u8 reserved[1];
};

#endif
