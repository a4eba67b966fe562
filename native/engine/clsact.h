/*
 * One BPF filter of ours at an interface's clsact ingress, among filters of others.
 *
 * Ours is told by its program's name and by its handle, which carries the instance: two instances of fairlead may share
 * an interface. The handle's lowest bit says that clsact itself was made for it. So a successor, even one after a kill,
 * knows what to replace and what to remove.
 */
#ifndef FL_CLSACT_H
#define FL_CLSACT_H

#include "engine.h"

/* Attaches a program of this name, or replaces this instance's older one atomically. 0 or a negative errno in words. */
int fl_clsact_attach(u32 ifindex, const char *program, u32 instance, int program_fd);

/* Removes this instance's program, and clsact with it if it was made for one of ours and nobody uses it any more. */
void fl_clsact_detach(u32 ifindex, const char *program, u32 instance);

/* Names the instance by its region. */
u32 fl_instance_of(const struct fl_region *region);

#endif
