/*
 * Engine `packet`: the core over AF_PACKET rings, in user space, on any kernel from 5.10 on.
 *
 * Theory of operation. The guard tells the kernel which frames are fairlead's: its drop at tc ingress keeps the host
 * from handling them, its socket filter keeps everything else out of the rings, and its steering program sends both
 * directions of a flow to the same worker. That is why start goes guard, sockets, threads; and why with keep_guard the
 * drop stays behind for a successor: in between the host must not answer for a VIP.
 *
 * Every thread here is native, blocks all signals and ends with the process; nothing forks. The region outlives them.
 */
#define _GNU_SOURCE /* sendmmsg */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "packet.h"

/* Slots of each ring in, 2 MiB of memory for each worker and interface. */
#define SLOTS 992

static int open_interfaces(struct fl_packet *packet, struct fl_inheritance *inheritance)
{
	int error;

	packet->slots = SLOTS;
	for (u32 i = 0; i < packet->runner.interface_count; i++) {
		int ifindex = fl_interface_find(packet->runner.name[i]);

		if (ifindex < 0)
			return ifindex;
		error = fl_guard_attach_link(packet->guard, (u32)ifindex);
		if (error)
			return error;
		packet->runner.ifindex[i] = (u32)ifindex;
	}
	for (u32 i = 0; i < packet->runner.interface_count; i++) {
		error = fl_ports_open(packet->newest[i], packet->worker_count, packet->runner.ifindex[i], i,
				      packet->runner.name[i], packet->guard, &packet->slots, inheritance);
		for (u32 w = 0; !error && w < packet->worker_count; w++) {
			packet->worker[w].port[i] = packet->newest[i][w];
			packet->worker[w].port[i]->worker = fl_workers_at(packet->runner.region, w);
		}
		if (error)
			return error;
	}
	return 0;
}

static int start_workers(struct fl_packet *packet)
{
	int error = 0;

	for (u32 w = 0; !error && w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];
		char name[24];

		snprintf(name, sizeof(name), "fl-worker-%u", w);
		worker->packet = packet;
		worker->index = w;
		worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		error = worker->wake_fd < 0 ? fl_fail(-errno, "cannot make an eventfd: %s", strerror(errno))
					    : fl_thread_start(&worker->thread, fl_worker_run, worker, name);
		worker->is_started = !error;
	}
	return error;
}

static struct fl_packet *packet_of(struct fl_runner *runner)
{
	return (struct fl_packet *)runner;
}

static bool is_orphan(struct fl_runner *runner, u32 interface)
{
	return fl_port_is_orphan(packet_of(runner)->newest[interface][0]);
}

/*
 * Opens the sockets of all workers on the interface (their order is the fan-out's) and hands each worker its own; the
 * worker closes the old ones. The guard first, so that the host never sees a frame of ours on the new interface.
 */
static int reopen(struct fl_runner *runner, u32 interface, u32 ifindex)
{
	struct fl_packet *packet = packet_of(runner);
	struct fl_port *ports[FL_WORKERS_MAX];
	u32 slots = packet->slots;
	int error = fl_guard_attach_link(packet->guard, ifindex);

	if (!error)
		error = fl_ports_open(ports, packet->worker_count, ifindex, interface, runner->name[interface],
				      packet->guard, &slots, NULL);
	for (u32 w = 0; !error && w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];

		ports[w]->worker = fl_workers_at(runner->region, w);
		packet->newest[interface][w] = ports[w];
		/* A predecessor that the worker has not come to take is still ours to close. */
		fl_port_close(__atomic_exchange_n(&worker->next[interface], ports[w], __ATOMIC_ACQ_REL));
		fl_wake(worker->wake_fd);
	}
	return error;
}

/* How many frames each ring had to drop; reading clears the kernel's counter. */
static void count_drops(struct fl_runner *runner)
{
	struct fl_packet *packet = packet_of(runner);

	for (u32 i = 0; i < runner->interface_count; i++)
		for (u32 w = 0; w < packet->worker_count; w++) {
			u64 drops = fl_port_drops(packet->newest[i][w]);

			if (drops) /* the worker adds those its queue had no room for */
				__atomic_fetch_add(&fl_workers_at(runner->region, w)->ring_drops, drops,
						   __ATOMIC_RELAXED);
		}
}

static int committed(struct fl_runner *runner)
{
	return fl_guard_update(packet_of(runner)->guard);
}

static void halt(struct fl_runner *runner)
{
	struct fl_packet *packet = packet_of(runner);

	__atomic_store_n(&packet->is_stopping, true, __ATOMIC_SEQ_CST);
	for (u32 w = 0; w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];

		if (worker->is_started) {
			fl_wake(worker->wake_fd);
			pthread_join(worker->thread, NULL);
		}
		if (worker->wake_fd >= 0)
			close(worker->wake_fd);
	}
}

/* Workers have ended between two batches. An interface that changed at that very moment is left out. */
static void bequeath(struct fl_packet *packet)
{
	for (u32 i = 0; i < packet->runner.interface_count; i++) {
		bool is_whole = true;

		for (u32 w = 0; w < packet->worker_count; w++)
			is_whole &= packet->newest[i][w] && packet->worker[w].port[i] == packet->newest[i][w] &&
				    packet->worker[w].is_started;
		for (u32 w = 0; is_whole && w < packet->worker_count; w++)
			fl_bequeath(packet->runner.heir, packet->newest[i][w], w, packet->worker_count);
	}
}

static void close_packet(struct fl_runner *runner, bool keep)
{
	struct fl_packet *packet = packet_of(runner);

	if (keep && runner->heir >= 0)
		bequeath(packet);
	for (u32 i = 0; i < runner->interface_count; i++) {
		for (u32 w = 0; w < packet->worker_count; w++) {
			struct fl_packet_worker *worker = &packet->worker[w];

			if (worker->port[i] != packet->newest[i][w])
				fl_port_close(worker->port[i]);
			fl_port_close(packet->newest[i][w]);
		}
		if (runner->ifindex[i] && !keep)
			fl_guard_detach_link(packet->guard, runner->ifindex[i]);
	}
	if (packet->guard)
		fl_guard_close(packet->guard);
	free(packet);
}

static const struct fl_ways ways = {
	.is_orphan = is_orphan,
	.reopen = reopen,
	.tick = count_drops,
	.committed = committed,
	.halt = halt,
	.close = close_packet,
};

static int start(struct fl_packet *packet, struct fl_inheritance *inheritance)
{
	int error;

	if ((error = fl_guard_open(&packet->guard, packet->runner.region)) ||
	    (error = open_interfaces(packet, inheritance)) || (error = fl_runner_start(&packet->runner)))
		return error;
	return start_workers(packet);
}

int fl_packet_start(struct fl_runner **runner, struct fl_region *region, const char *const *interfaces,
		    u32 interface_count, u32 workers, u32 *events, int wake, int inherit)
{
	static struct fl_inheritance inheritance;
	struct fl_packet *made;
	int error;

	if (workers < 1 || workers > FL_WORKERS_MAX || workers > region->count[FL_SECTION_WORKERS])
		return fl_fail(-EINVAL, "%u workers; the region has room for %llu, the packet engine for %u", workers,
			       (unsigned long long)region->count[FL_SECTION_WORKERS], FL_WORKERS_MAX);
	made = calloc(1, sizeof(*made));
	if (!made)
		return fl_fail(-ENOMEM, "no memory for the packet engine");
	made->worker_count = workers;
	for (u32 w = 0; w < workers; w++)
		made->worker[w].wake_fd = -1;
	error = fl_runner_prepare(&made->runner, &ways, region, interfaces, interface_count, events, wake);
	fl_inherit_take(&inheritance, inherit);
	if (!error)
		error = start(made, &inheritance);
	fl_inherit_drop(&inheritance);
	if (error) {
		/* A region that was in use has clients, and the guard a predecessor left on the links: it stays. */
		fl_runner_stop(&made->runner, region->header->generation > 0, NULL);
		return error;
	}
	*runner = &made->runner;
	return made->slots == SLOTS
		       ? 0
		       : fl_fail(1, "memory is short: rings of %u slots instead of %u; bursts may be dropped",
				 made->slots, SLOTS);
}
