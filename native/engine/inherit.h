/*
 * Rings in that go from one process to the next with all that is in them: see inherit.c.
 */
#ifndef FL_INHERIT_H
#define FL_INHERIT_H

#include "ring.h"

#define FL_INHERIT_MOST 512 /* ports: 64 workers on 8 interfaces */

struct fl_inheritance {
	u32 count;
	struct fl_heirloom {
		u32 ifindex;
		u32 worker;
		u32 workers;
		u32 slots;
		u32 head;
		int fd; /* -1: somebody has taken it */
	} ring[FL_INHERIT_MOST];
};

/* The predecessor's: a connection to its successor, or -1 without one. */
int fl_bequeath_open(const char *path);
/* The port's ring and its socket stay with whoever takes them; the port is closed as ever. */
void fl_bequeath(int fd, const struct fl_port *port, u32 worker, u32 workers);

/* The successor's: all that has been bequeathed to what listens there (fl_inherit_listen); nothing is no failure. */
void fl_inherit_take(struct fl_inheritance *inheritance, int fd);
/* Do all workers' rings of the interface lie there? */
bool fl_inherit_has(const struct fl_inheritance *inheritance, u32 ifindex, u32 workers);
/* The port gets its socket and its ring. */
int fl_inherit_ring(struct fl_inheritance *inheritance, u32 ifindex, u32 worker, u32 workers, struct fl_port *port);
/* Closes what nobody has taken. */
void fl_inherit_drop(struct fl_inheritance *inheritance);

#endif
