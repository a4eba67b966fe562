/*
 * The decapsulator's loader: which services one interface unwraps, at one of two places.
 *
 * Nothing of it lives in a process. A program hangs on its interface until it is taken off or the interface goes, and
 * what it was told (struct fl_decap_service) lies in a map bound to it. So every call starts by asking the kernel what is
 * there, builds a whole new set of program and tables beside it, and swaps the two in one step; the counters go over.
 * Called twice with the same words nothing changes. No file remembers anything, and bpffs is not needed.
 *
 * Ours is told by the program's name and by its map of services. Another's XDP program is never replaced.
 */
#ifndef FL_DECAP_H
#define FL_DECAP_H

#include "../core/decap.h"
#include "engine.h"

enum fl_decap_place {
	FL_DECAP_AT_NONE,
	FL_DECAP_AT_XDP, /* in the driver, or behind it where the driver cannot */
	FL_DECAP_AT_TC,	 /* clsact ingress */
	FL_DECAP_AT_COUNT,
};

/* What hangs at one place of one interface. */
struct fl_decap_view {
	u32 service_count; /* 0: nothing of ours is there */
	bool is_generic;   /* xdp, but behind the driver */
	struct fl_decap_service service[FL_DECAP_SERVICES];
	struct fl_decap_counter counter[FL_DECAP_COUNT]; /* sums over CPUs */
};

/*
 * Adds a service to what the interface unwraps, or changes the one of this name; it then hangs nowhere else on this
 * interface. 0, 1 with a warning in fl_error(), or a negative errno in words: -EBUSY when another's XDP program is there,
 * -ENOSPC when 64 services are.
 */
int fl_decap_attach(u32 ifindex, enum fl_decap_place place, const struct fl_decap_service *service);

/* Takes a service off an interface, and the program with the last one. 1 when it was there, 0 when not, or an error. */
int fl_decap_detach(u32 ifindex, const char *name);

int fl_decap_look(u32 ifindex, enum fl_decap_place place, struct fl_decap_view *view);

/* Writes ::ffff:a.b.c.d for IPv4. False when the text is no address. */
bool fl_decap_parse_address(const char *text, struct fl_addr *addr);

/* An address or ADDRESS/LENGTH; host bits behind the length are cleared. */
bool fl_decap_parse_prefix(const char *text, struct fl_decap_prefix *prefix);

/* decap-place.c: a program at its place. */

/* A program of ours: its fd, 0 for none, or a negative errno in words. Another's XDP program is -EBUSY. */
int fl_decap_find(u32 ifindex, enum fl_decap_place place, bool *is_generic);
/* Puts a program there, instead of `old_fd` unless that is 0. 1: with a warning. */
int fl_decap_put(u32 ifindex, enum fl_decap_place place, int program_fd, int old_fd);
int fl_decap_clear(u32 ifindex, enum fl_decap_place place, int old_fd);

#endif
