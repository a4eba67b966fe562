/*
 * A frame that the core decided outside the engine's own way leaves by a packet socket: the slow path's and probes'.
 */
#ifndef FL_LEAVE_H
#define FL_LEAVE_H

#include "../core/frame.h"
#include "../core/region.h"

/* A packet socket that hears nothing; or a negative errno in words. */
int fl_leave_open(void);

/* Sends it, as fragments where that is due. What is counted: frames that the interface refused, and such as cannot be cut. */
void fl_leave(int socket_fd, struct fl_frame *frame, u32 ifindex, struct fl_worker *counters);

#endif
