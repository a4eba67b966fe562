/*
 * Who has these addresses on this link? Asked as a host does that wants one for itself: ARP probes (RFC 5227, no sender
 * address) and neighbour solicitations from the unspecified address (RFC 4862, section 5.4), so that nobody learns
 * anything of the asker. Whoever answers is another host: a card does not hear its own questions.
 */
#ifndef FL_ASK_H
#define FL_ASK_H

#include "engine.h"

struct fl_asked {
	struct fl_addr addr;
	u32 is_v6;
};

struct fl_asked_answer {
	u32 index; /* of what was asked */
	u8 mac[6];
	u8 zero[2];
};

/*
 * Asks for all of them twice within wait_ms, and writes each pair of address and MAC once. Returns how many answers there
 * are, at most `room`, or a negative errno in words.
 */
int fl_ask(u32 ifindex, const struct fl_asked *asked, u32 count, u32 wait_ms, struct fl_asked_answer *answers,
	   u32 room);

#endif
