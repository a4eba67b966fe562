/*
 * Probes through the path: sockets of this host whose packets go to a VIP, each by the method's own rewriting to the
 * server that it is pinned to, whatever a scheduler would choose and whatever engine forwards.
 *
 *     socket: marked, pinned ─▶ rule: mark ─▶ table: default ─▶ TUN ─▶ "fl-path": the core ─▶ packet socket ─▶ server
 *         ▲                                                       ▲         └─ an answer of the core (too big) ─┐
 *         │                                                       └──────────────────────────────────────────────┘
 *         └─────── the host's stack ◀──────────── from the VIP, past the balancer's engine ◀──────────── server
 *
 * The problem: a check must meet what a client meets, at a server that gets no clients perhaps, and so neither the host's
 * own routes nor the scheduler may decide where it goes. The idea: the kernel's own TCP speaks, and only its packets take
 * another way. A pin (protocol, both ends, server) says whose they are; what it leads to is decided by the same core, over
 * the same region, as for a frame of a client that has no flow. A probe enters no flow: so a full table or a flood fails
 * no check, the counts of flows and traffic are those of clients, and an engine that is exchanged disturbs nothing.
 *
 * A half-open pin is a TCP socket that is never anybody's connection: from the SYN-ACK on all that its kernel says leaves
 * as RST. The socket has its answer, and the server drops what it had begun before its program could see it.
 *
 * A packet whose next hop is not known yet waits for it, one for each pin. An ended pin is kept a little longer for its
 * last packets, the RST among them by which these sockets close: that leaves no TIME_WAIT behind, of which some hundred
 * checks a second would use up all ports towards one VIP.
 *
 * Made and used by the control plane's thread; `lock` lies over pins and region, and the thread holds it for one packet at
 * a time. The device goes with its descriptor, whoever dies; rules stay in the kernel after a kill, lead nowhere, and are
 * replaced by the next one.
 */
#ifndef FL_PATH_H
#define FL_PATH_H

#include "engine.h"

#define FL_PATH_PINS 16384 /* open at a time, with those that end: more than there are sockets for checks */

struct fl_path;

struct fl_path_question {
	struct fl_addr vip;
	struct fl_addr server; /* decides which address of this host asks */
	bool is_v6;	       /* the VIP */
	bool is_server_v6;
	u8 protocol;	   /* FL_PROTOCOL_TCP or FL_PROTOCOL_UDP */
	bool is_half_open; /* TCP: the SYN-ACK is answered with RST */
	u16 port;	   /* of the VIP, in network order */
	u32 server_slot;
	u32 server_generation;
};

/* Device, rules and routes, and the thread. `mark` is also the table's number. 0, or a negative errno in words. */
int fl_path_open(struct fl_path **path, const char *device, u32 mark);
void fl_path_close(struct fl_path *path);

/* The region that packets are decided over from now on; NULL: none, and they are lost. */
void fl_path_use(struct fl_path *path, struct fl_region *region);
/* While it is held nothing is decided: for a commit, which must not find a reader in the half it writes. */
void fl_path_hold(struct fl_path *path);
void fl_path_let(struct fl_path *path);

/* A non-blocking socket, bound and pinned, to be connected to the VIP and closed by the caller, and its pin; or a negative
 * errno in words. */
int fl_path_socket(struct fl_path *path, const struct fl_path_question *question, u32 *pin);
/* The socket is closed. What became of its last packet: a reason, or FL_REASON_NONE when none came. */
u32 fl_path_end(struct fl_path *path, u32 pin);

/* path-host.c: the host's side of it. */
int fl_path_device(const char *name);	       /* the TUN's descriptor, its routing not yet set up */
int fl_path_route(const char *name, u32 mark); /* up, with routes and rules that lead marked packets there */
bool fl_path_unroute(u32 mark);		       /* Takes the rules away; says whether there were any. */

#endif
