/*
 * The octets of probes: echo requests and TCP headers to send, and what a received packet says. Pure: no sockets, no
 * clock; whatever comes from outside is read within its bounds.
 */
#ifndef FL_PROBE_WIRE_H
#define FL_PROBE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "../core/types.h"

#define FL_WIRE_ECHO_SIZE 16 /* the ICMP header and 8 octets of payload, the nonce */
#define FL_WIRE_TCP_SIZE 24  /* a TCP header with one option, the MSS */

enum fl_wire_what {
	FL_WIRE_NOTHING, /* none of ours, or cut short */
	FL_WIRE_ECHO_REPLY,
	FL_WIRE_SYN_ACK,
	FL_WIRE_RST,
	FL_WIRE_ECHO_ERROR, /* an ICMP error that quotes an echo request */
	FL_WIRE_TCP_ERROR,  /* one that quotes a SYN */
};

struct fl_wire_heard {
	enum fl_wire_what what;
	struct fl_addr to; /* of errors: whom the quoted packet was for */
	u16 id, sequence;  /* of echoes */
	u64 nonce;	   /* of replies */
	u16 local_port, remote_port;
	u32 isn; /* that our SYN had: acknowledged less one, or as quoted */
	u32 peer_sequence;
	u8 icmp_type, icmp_code;
	u32 mtu; /* of "packet too big" */
};

/* ICMPv6's checksum is the kernel's work. */
void fl_wire_echo(u8 *octets, bool is_v6, u16 id, u16 sequence, u64 nonce);

struct fl_wire_tcp {
	u16 local_port, remote_port;
	u32 sequence;
	u8 flags;
};

#define FL_WIRE_SYN 0x02
#define FL_WIRE_FLAG_RST 0x04

/* Returns the octets written, FL_WIRE_TCP_SIZE for a SYN and 20 for the rest, with a checksum for IPv4; for IPv6
 * (`source` is NULL) the kernel's. */
size_t fl_wire_tcp(u8 *octets, const struct fl_wire_tcp *tcp, const u32 *source, const u32 *target);

/* A packet of a raw IPv4 socket, which begins with its IP header. */
struct fl_wire_heard fl_wire_read4(const u8 *packet, size_t size);
/* Of a raw IPv6 socket, which begins behind the headers. */
struct fl_wire_heard fl_wire_read_icmp6(const u8 *message, size_t size);
struct fl_wire_heard fl_wire_read_tcp(const u8 *segment, size_t size);

#endif
