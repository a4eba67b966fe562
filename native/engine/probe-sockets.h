/*
 * The descriptors of probes: four raw sockets (ICMP and TCP, in both families), the bound ones that hold source ports,
 * and one that tells the source address towards a target. A classic BPF filter on each raw socket lets the kernel copy
 * only what may be an answer to us, whatever else this host receives.
 */
#ifndef FL_PROBE_SOCKETS_H
#define FL_PROBE_SOCKETS_H

#include "probe.h"

enum { FL_PROBE_ICMP4, FL_PROBE_ICMP6, FL_PROBE_TCP4, FL_PROBE_TCP6, FL_PROBE_RAW_COUNT };

struct fl_probe_sockets {
	int raw[FL_PROBE_RAW_COUNT]; /* -1: this host does not have IPv6 */
	int held[FL_PROBE_PORTS];
	u16 ports[FL_PROBE_PORTS];
	int route; /* a UDP socket whose connect() asks the routing table */
	u16 id;	   /* of our echo requests */
};

/* 0, or a negative errno in words, and then nothing is open. */
int fl_probe_sockets_open(struct fl_probe_sockets *sockets);
void fl_probe_sockets_close(struct fl_probe_sockets *sockets);

/* The IPv4 address this host would send from. 0 or a negative errno. */
int fl_probe_source(struct fl_probe_sockets *sockets, const u32 *target, u32 *source);

/* Sends to a target from `source` (IPv4; NULL: the kernel chooses). 0 or a negative errno. */
int fl_probe_send(int fd, u32 family, const u8 *target, const u32 *source, const u8 *octets, size_t size);

#endif
