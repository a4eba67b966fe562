/*
 * One frame of the core becomes the frames that go out: the segments of a super-frame in a tunnel, which no card and no
 * packet socket cuts for us, and the fragments of a packet that is too big and may be cut (RFC 791 §3.2). Pure functions
 * over memory.
 */
#ifndef FL_SPLIT_H
#define FL_SPLIT_H

#include <stdbool.h>

#include "../core/frame.h"

struct fl_split {
	const u8 *data;
	u32 outer;  /* offsets: of the outer IP header, or of the only one */
	u32 l3;	    /* of the packet's own IP header */
	u32 l4;	    /* of its TCP or UDP header */
	u32 head;   /* octets that every piece begins with */
	u32 length; /* octets behind them */
	u32 step;   /* of those in each piece but the last */
	u32 pieces;
	u8 protocol;
	bool is_fragments;
};

/* Must the frame be split before it is sent? */
static inline bool fl_split_is_due(const struct fl_frame *frame)
{
	return frame->split || (frame->outer && frame->gso_size);
}

/*
 * Plans it. A checksum that the sender left unfinished is finished in the frame, when pieces are fragments. False: the
 * frame is not what the core made it.
 */
bool fl_split_plan(struct fl_split *split, struct fl_frame *frame);

/* Octets of one piece. */
u32 fl_split_size(const struct fl_split *split, u32 piece);

/* Writes one piece, with every length and checksum in it, to `to`, which has room for its octets. */
void fl_split_write(const struct fl_split *split, u32 piece, u8 *to);

#endif
