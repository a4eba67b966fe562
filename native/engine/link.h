/*
 * One program of ours on one interface, held so that it outlives the process: by a bpf_link pinned beside the region's
 * maps (xdp; tc where the kernel has tcx, Linux 6.6), or as a clsact filter, which stays by itself.
 *
 * The pins are called KIND_ID, by the interface's id: a successor finds what is attached and replaces the program in it
 * atomically. Beside each lies KIND_ID_further, the map by which the program goes on to its longer half: the kernel
 * empties such a map when nobody in user space holds it.
 */
#ifndef FL_LINK_H
#define FL_LINK_H

#include "program.h"

struct fl_spot {
	const char *directory; /* where the region's maps are pinned */
	const char *name;      /* of the interface */
	u32 interface;	       /* id */
	u32 ifindex;
	u32 instance;
};

/*
 * The program runs on the interface from now on, in place of whatever this instance had there by the same kind of
 * attachment. Gives how it is attached in *attached (FL_ATTACH_XDP asks for the driver, and takes the generic mode
 * where the driver has none). 0 or a negative errno in words; then nothing has changed. Another's XDP program is
 * -EBUSY, and named.
 */
int fl_link_attach(const struct fl_spot *spot, enum fl_attachment wanted, const struct fl_program *program,
		   enum fl_attachment *attached);

/* To attach so, would what is there have to go first? Then the interface would be without us for a moment. */
bool fl_link_changes_mode(const struct fl_spot *spot, enum fl_attachment wanted);

/* Takes off what is attached by this kind; nothing there is no failure. */
void fl_link_detach(const struct fl_spot *spot, bool is_tc);

#endif
