/* Tells the neighbours where fairlead's addresses are now: see announce.c. */
#ifndef FL_ANNOUNCE_H
#define FL_ANNOUNCE_H

#include "engine.h"

#define FL_ANNOUNCE_ROOM 96 /* octets that the longest announcement fits in */

struct fl_announce;

int fl_announce_open(struct fl_announce **announce);
/* After a commit: takes over the addresses and interfaces of the active half; what is new is due at once. */
int fl_announce_update(struct fl_announce *announce, const struct fl_region *region);
/* Sends what is due. To be called a few times a second. */
void fl_announce_tick(struct fl_announce *announce, u64 now);
/* All of them are due again: a link came back, and what is behind it may have forgotten. */
void fl_announce_again(struct fl_announce *announce);
void fl_announce_close(struct fl_announce *announce);

/* The frames themselves; they return the length. */
u32 fl_announce_arp(u8 *frame, const u8 mac[6], u32 address, bool is_reply);
u32 fl_announce_na(u8 *frame, const u8 mac[6], const struct fl_addr *address);

#endif
