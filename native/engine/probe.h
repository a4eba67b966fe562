/*
 * Raw sockets for health checks: echo requests (ICMP, ICMPv6) and half-open TCP connections (SYN, SYN-ACK, RST).
 *
 * One thread hears all answers, keeps the time-outs and stamps both: what a busy event loop does later cannot make an
 * answer late. A handful of descriptors serves any number of questions; each open question is a slot in a table of fixed
 * size.
 *
 *     ask ─▶ slot: asked ─┬─ an answer that matches in full ─▶ answered | refused | unreachable ─┐
 *                         └─ its time is up ─────────────────▶ silent ───────────────────────────┴▶ answers, slot free
 *
 * What matches in full: of an echo reply its sender, id, sequence and the 64 random bits of its payload; of a TCP answer
 * both addresses' ends, both ports and the acknowledged sequence number; of an ICMP error the same in the packet it
 * quotes, as far as errors must quote.
 *
 * Ownership: fl_probe_start makes it, fl_probe_stop ends the thread and frees it. fl_probe_ask and fl_probe_take may be
 * called from any thread; `wake` is called by the thread whenever there are answers to take.
 */
#ifndef FL_PROBE_H
#define FL_PROBE_H

#include "engine.h"

#define FL_PROBE_SLOTS 16384 /* open questions at a time: 14 bits of an echo's sequence number */
#define FL_PROBE_PORTS 8     /* source ports of half-open connections, held so that nobody else gets them */

enum fl_probe_kind { FL_PROBE_ECHO, FL_PROBE_HALF_OPEN, FL_PROBE_KIND_COUNT };

enum fl_probe_outcome { FL_PROBE_ANSWERED, FL_PROBE_REFUSED, FL_PROBE_UNREACHABLE, FL_PROBE_SILENT };

/* As src/plane/raw-prober.ts reads it. */
struct fl_probe_answer {
	u32 id;
	u8 outcome;
	u8 icmp_type; /* of an error, else 0 */
	u8 icmp_code;
	u8 family; /* of `from`: 4 or 6; 0 without an error */
	u32 microseconds;
	u32 mtu; /* of "packet too big", else 0 */
	u8 from[16];
};

_Static_assert(sizeof(struct fl_probe_answer) == 32, "TypeScript reads it in steps of 32 octets");

struct fl_probe;

/* 0, or a negative errno in words. */
int fl_probe_start(struct fl_probe **probe, void (*wake)(void *), void *context);
void fl_probe_stop(struct fl_probe *probe);

/*
 * Asks. `address` has 4 octets for family 4 and 16 for family 6; port is for FL_PROBE_HALF_OPEN. Returns the id that the
 * answer will carry, above 0, or a negative errno in words: -EAGAIN when all slots are taken, or what sending met.
 */
long long fl_probe_ask(struct fl_probe *probe, u32 kind, u32 family, const u8 *address, u16 port, u32 timeout_ms);

/* Moves up to `room` answers out; returns how many. */
size_t fl_probe_take(struct fl_probe *probe, struct fl_probe_answer *answers, size_t room);

#endif
