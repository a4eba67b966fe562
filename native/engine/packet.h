/*
 * What the files of the packet engine share: who owns what.
 *
 *   packet.c    start, stop, and what the keeper (keeper.c) asks of it
 *   worker.c    N threads "fl-worker-n": frames in, fl_forward_batch, frames out
 *   ring.c      opens a worker's ports; egress.c: their way out; slot.h: a frame in its slot
 */
#ifndef FL_PACKET_H
#define FL_PACKET_H

#include "inherit.h"
#include "keep.h"
#include "runner.h"

#define FL_WORKERS_MAX 64

struct fl_packet_worker {
	struct fl_packet *packet;
	u32 index;
	pthread_t thread;
	bool is_started;
	int wake_fd;			    /* written after `next` was filled, and to stop */
	struct fl_port *port[FL_PORTS_MAX]; /* by interface id; the worker's own once it runs */
	struct fl_port *next[FL_PORTS_MAX]; /* newer ones, put by the keeper, taken by atomic exchange */
	struct fl_keep keep;
};

struct fl_packet {
	struct fl_runner runner; /* first */
	u32 worker_count;
	u32 slots;	  /* of each ring in, after refusals */
	bool is_stopping; /* atomic */
	struct fl_guard *guard;
	struct fl_packet_worker worker[FL_WORKERS_MAX];
	struct fl_port *newest[FL_PORTS_MAX][FL_WORKERS_MAX]; /* the keeper's view of who has which sockets */
};

void *fl_worker_run(void *worker);

#endif
