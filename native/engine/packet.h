/*
 * What the files of the packet engine share: who owns what.
 *
 *   packet.c    start, commit, stop; called by the control plane's thread
 *   worker.c    N threads "fl-worker-n": frames in, fl_forward_batch, frames out
 *   keeper.c    one thread "fl-age": ageing, lost interfaces, announcements, drops of the rings
 *   ring.c      opens a worker's ports; egress.c: their way out; slot.h: a frame in its slot
 *   announce.c  gratuitous ARP and unsolicited neighbour advertisements
 */
#ifndef FL_PACKET_H
#define FL_PACKET_H

#include <pthread.h>
#include <unistd.h>

#include "announce.h"
#include "ring.h"

#define FL_PORTS_MAX 8
#define FL_WORKERS_MAX 64

struct fl_packet_worker {
	struct fl_packet *packet;
	u32 index;
	pthread_t thread;
	bool is_started;
	int wake_fd;			    /* written after `next` was filled, and to stop */
	struct fl_port *port[FL_PORTS_MAX]; /* by interface id; the worker's own once it runs */
	struct fl_port *next[FL_PORTS_MAX]; /* newer ones, put by the keeper, taken by atomic exchange */
};

struct fl_packet {
	struct fl_region *region;
	u32 *events;
	int wake;
	u32 worker_count;
	u32 interface_count;
	char *name[FL_PORTS_MAX];
	u32 ifindex[FL_PORTS_MAX]; /* where the guard is attached; 0: nowhere */
	u32 slots;		   /* of each ring in, after refusals */
	bool is_stopping;	   /* atomic */
	struct fl_guard *guard;
	struct fl_neighbour *neighbour;
	struct fl_announce *announce;
	pthread_mutex_t lock; /* guard and announce: a commit and the keeper meet there */
	struct fl_packet_worker worker[FL_WORKERS_MAX];

	pthread_t keeper;
	bool is_keeper_started;
	int keeper_fd;					      /* written to stop */
	struct fl_port *newest[FL_PORTS_MAX][FL_WORKERS_MAX]; /* the keeper's view of who has which sockets */
};

void *fl_worker_run(void *worker);
void *fl_keeper_run(void *packet);

/* The interface's index, if it is there, up and an Ethernet; else a negative errno and words. */
int fl_interface_find(const char *name);

FL_INLINE void fl_packet_wake(int eventfd)
{
	u64 one = 1;

	if (write(eventfd, &one, sizeof(one)) < 0)
		return; /* the counter is at its limit: the reader is awake already */
}

FL_INLINE void fl_packet_raise(struct fl_packet *packet, u32 event)
{
	__atomic_fetch_or(packet->events, event, __ATOMIC_SEQ_CST);
	fl_packet_wake(packet->wake);
}

#endif
