/*
 * What every engine that forwards has in common: interfaces by name, next hops, announcements, ageing, and a thread that
 * sees to them a few times a second (keeper.c). How frames are moved is the engine's: its struct begins with the runner,
 * and `ways` are its answers to the keeper and the control plane.
 *
 * Made and ended by the control plane's thread: fl_runner_prepare, the engine's own opening, fl_runner_start; then
 * fl_runner_stop, which calls ways->close last.
 */
#ifndef FL_RUNNER_H
#define FL_RUNNER_H

#include <pthread.h>
#include <unistd.h>

#include "announce.h"
#include "samples.h"

#define FL_PORTS_MAX 8

struct fl_runner;

struct fl_ways {
	/* The interface this engine works on is gone, or another one has its name. Called by the keeper. */
	bool (*is_orphan)(struct fl_runner *runner, u32 interface);
	/* Works on the new interface from now on. Called by the keeper, with the lock held. */
	int (*reopen)(struct fl_runner *runner, u32 interface, u32 ifindex);
	/* What is due each tick besides; may be NULL. */
	void (*tick)(struct fl_runner *runner);
	/* After a commit, with the lock held; may be NULL. */
	int (*committed)(struct fl_runner *runner);
	/* Ends the engine's threads; the keeper has ended. Nothing forwards in this process after it. */
	void (*halt)(struct fl_runner *runner);
	/* Takes the engine off the interfaces, or with `keep` leaves there what a successor needs, and frees it. */
	void (*close)(struct fl_runner *runner, bool keep);
};

struct fl_runner {
	const struct fl_ways *ways;
	struct fl_region *region;
	u32 *events;
	int wake;
	u32 interface_count;
	char *name[FL_PORTS_MAX];
	u32 ifindex[FL_PORTS_MAX]; /* where the engine is attached; 0: nowhere */
	struct fl_neighbour *neighbour;
	struct fl_announce *announce;
	pthread_mutex_t
		lock; /* ifindex, announce and what engines keep by interface: a commit and the keeper meet there */
	pthread_t keeper;
	bool is_keeper_started;
	int keeper_fd; /* written to stop */
	struct fl_samples samples;
	int heir; /* a connection to the process that gets the rings, while the engine is being closed; -1: none */
};

/* The interface's index, if it is there, up and an Ethernet; else a negative errno and words. */
int fl_interface_find(const char *name);

/* Copies the names; 0 or a negative errno in words. After a failure fl_runner_stop cleans up. */
int fl_runner_prepare(struct fl_runner *runner, const struct fl_ways *ways, struct fl_region *region,
		      const char *const *interfaces, u32 interface_count, u32 *events, int wake);
/* Starts announcements, next hops and the keeper, once the engine forwards. */
int fl_runner_start(struct fl_runner *runner);

/* A thread that takes no signals. */
int fl_thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name);

void *fl_keeper_run(void *runner);

FL_INLINE void fl_wake(int eventfd)
{
	u64 one = 1;

	if (write(eventfd, &one, sizeof(one)) < 0)
		return; /* the counter is at its limit: the reader is awake already */
}

FL_INLINE void fl_runner_raise(struct fl_runner *runner, u32 event)
{
	__atomic_fetch_or(runner->events, event, __ATOMIC_SEQ_CST);
	fl_wake(runner->wake);
}

#endif
