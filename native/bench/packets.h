/*
 * Small TCP and UDP frames of many flows, with right checksums, cheap enough to make one for each measured packet: a
 * template whose sums are known, then addresses and ports are put in and the sums follow (RFC 1624).
 *
 * Flow i's client is address i / 1024 of a range and port 1024 + i % 1024.
 */
#ifndef FL_BENCH_PACKETS_H
#define FL_BENCH_PACKETS_H

#include <string.h>

#include "../core/checksum.h"

#define PACKET_ROOM 128
#define PORTS_OF_A_CLIENT 1024

struct end {
	struct fl_addr addr;
	u16 port;
};

struct packet_kind {
	u8 is_v6;
	u8 protocol;
	u8 tcp_flags;
	u8 payload; /* octets */
	u8 from_mac[6];
	u8 to_mac[6];
};

static inline u32 packet_length(const struct packet_kind *kind)
{
	return 14 + (kind->is_v6 ? 40 : 20) + (kind->protocol == 6 ? 20 : 8) + kind->payload;
}

static inline u64 sum_words(const void *data, u32 octets)
{
	const u8 *at = data;
	u64 sum = 0;

	for (u32 i = 0; i + 1 < octets; i += 2)
		sum += (u16)(at[i] | at[i + 1] << 8);
	return octets & 1 ? sum + at[octets - 1] : sum;
}

/* Sums with addresses and ports still 0 lie in the checksum fields, as sums and not as complements. */
static inline void packet_template(u8 *frame, const struct packet_kind *kind)
{
	u32 l4 = kind->is_v6 ? 54 : 34, segment = packet_length(kind) - l4;
	u16 ethertype = kind->is_v6 ? FL_BE16(0x86dd) : FL_BE16(0x0800), size_be = FL_BE16(segment), sum;

	memset(frame, 0, PACKET_ROOM);
	memcpy(frame, kind->to_mac, 6);
	memcpy(frame + 6, kind->from_mac, 6);
	memcpy(frame + 12, &ethertype, 2);
	if (kind->is_v6) {
		frame[14] = 0x60;
		memcpy(frame + 18, &size_be, 2);
		frame[20] = kind->protocol;
		frame[21] = 64;
	} else {
		u16 total_be = FL_BE16(20 + segment);

		frame[14] = 0x45;
		memcpy(frame + 16, &total_be, 2);
		frame[20] = 0x40; /* do not fragment */
		frame[22] = 64;
		frame[23] = kind->protocol;
		sum = fl_fold(sum_words(frame + 14, 20));
		memcpy(frame + 24, &sum, 2);
	}
	if (kind->protocol == 6) {
		frame[l4 + 12] = 5 << 4;
		frame[l4 + 13] = kind->tcp_flags;
		frame[l4 + 14] = 0x20; /* window */
		/* Either side's sequence numbers begin at 0, and the other's SYN is what is acknowledged. */
		frame[l4 + 11] = kind->tcp_flags & 0x10 ? 1 : 0;
	} else {
		memcpy(frame + l4 + 4, &size_be, 2);
	}
	sum = fl_fold(sum_words(frame + l4, segment) + FL_BE16(kind->protocol) + size_be);
	memcpy(frame + l4 + (kind->protocol == 6 ? 16 : 6), &sum, 2);
}

static inline void add_to_sum(u8 *field, u64 more)
{
	u16 sum;

	memcpy(&sum, field, 2);
	sum = (u16)~fl_fold(sum + more);
	memcpy(field, &sum, 2);
}

/* Copies the template and gives it its ends. */
static inline void packet_fill(u8 *frame, const u8 *template, const struct packet_kind *kind, const struct end *from,
			       const struct end *to)
{
	u32 l4 = kind->is_v6 ? 54 : 34, words = kind->is_v6 ? 4 : 1;
	u64 sum = (u64)from->port + to->port;

	memcpy(frame, template, PACKET_ROOM);
	memcpy(frame + (kind->is_v6 ? 22 : 26), &from->addr, words * 4);
	memcpy(frame + (kind->is_v6 ? 38 : 30), &to->addr, words * 4);
	memcpy(frame + l4, &from->port, 2);
	memcpy(frame + l4 + 2, &to->port, 2);
	for (u32 i = 0; i < words; i++)
		sum += (u64)from->addr.word[i] + to->addr.word[i];
	add_to_sum(frame + l4 + (kind->protocol == 6 ? 16 : 6), sum);
	if (!kind->is_v6)
		add_to_sum(frame + 24, (u64)from->addr.word[0] + to->addr.word[0]);
}

/* Flow i's client; `first` is the first address of the range. */
static inline struct end client_of(const struct fl_addr *first, u32 flow, int is_v6)
{
	struct end client = { .addr = *first, .port = FL_BE16(1024 + flow % PORTS_OF_A_CLIENT) };
	u32 *last = &client.addr.word[is_v6 ? 3 : 0];

	*last = FL_BE32(FL_BE32(*last) + flow / PORTS_OF_A_CLIENT);
	return client;
}

#endif
