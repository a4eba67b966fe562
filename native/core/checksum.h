/*
 * Internet checksums, updated instead of recomputed: RFC 1624 eqn. 3, HC' = ~(~HC + ~m + m').
 *
 * A change is gathered in a u64 as the sum of ~old + new over 32-bit words as they lie in the frame; ones' complement
 * sums do not care about word size or byte order (RFC 1071 §2). Since ~m + m' is never zero, neither is the folded
 * sum, so a result is never the "other zero" that eqn. 4 can yield.
 *
 * A partial checksum (offloaded: the card is to finish it) holds the folded sum over the pseudo-header, not its
 * complement. Addresses belong to the pseudo-header, ports do not: the card sums those itself.
 */
#ifndef FL_CHECKSUM_H
#define FL_CHECKSUM_H

#include "cursor.h"

FL_INLINE u16 fl_fold(u64 sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

FL_INLINE u64 fl_change32(u32 old, u32 new)
{
	return (u64)(u32)~old + new;
}

FL_INLINE u64 fl_change16(u16 old, u16 new)
{
	return (u64)(u16)~old + new;
}

FL_INLINE u64 fl_change_addr(const struct fl_addr *old, const struct fl_addr *new, int is_v6)
{
	u64 change = fl_change32(old->word[0], new->word[0]);

	if (is_v6)
		for (int i = 1; i < 4; i++)
			change += fl_change32(old->word[i], new->word[i]);
	return change;
}

FL_INLINE u16 fl_checksum_full(u16 checksum, u64 change)
{
	return (u16)~fl_fold((u64)(u16)~checksum + change);
}

FL_INLINE u16 fl_checksum_partial(u16 checksum, u64 pseudo_header_change)
{
	return fl_fold((u64)checksum + pseudo_header_change);
}

/* RFC 768: over IPv4 a checksum of 0 means there is none, so a computed 0 is sent as FFFF. */
FL_INLINE u16 fl_checksum_udp(u16 checksum, u64 change)
{
	if (checksum == 0)
		return 0;
	checksum = fl_checksum_full(checksum, change);
	return checksum ? checksum : 0xffff;
}

/* Sum over `size` octets at an offset, bounded by limit (a constant). *ok is cleared when the frame ends before. */
FL_INLINE u64 fl_sum(const struct fl_frame *frame, u32 offset, u32 size, const u32 limit, int *ok)
{
	u64 sum = 0;

	for (u32 i = 0; i + 1 < limit; i += 2) {
		const u8 *at;

		if (i >= size)
			break;
		if (i + 1 == size) {
			at = fl_bytes(frame, offset + i, 1);
			if (!at)
				goto short_frame;
			sum += *at;
			break;
		}
		at = fl_bytes(frame, offset + i, 2);
		if (!at)
			goto short_frame;
		sum += fl_get16(at);
	}
	return sum;
short_frame:
	*ok = 0;
	return 0;
}

/* The pseudo-header of RFC 793 §3.1 and RFC 8200 §8.1. */
FL_INLINE u64 fl_pseudo_header(const struct fl_addr *source, const struct fl_addr *target, u8 protocol, u32 length)
{
	u64 sum = (u64)FL_BE32(length) + ((u32)protocol << 24);

	for (int i = 0; i < 4; i++)
		sum += (u64)source->word[i] + target->word[i];
	return sum;
}

#endif
