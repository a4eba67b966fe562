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
#define _GNU_SOURCE /* sendmmsg, thread names */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "packet.h"

/* Slots of each ring in, 2 MiB of memory for each worker and interface. */
#define SLOTS 992

int fl_interface_find(const char *name)
{
	struct ifreq request = { 0 };
	int fd, ifindex = (int)if_nametoindex(name), error = 0;

	if (!ifindex || strlen(name) >= IFNAMSIZ)
		return fl_fail(-ENODEV, "%s: no such interface; `ip link` lists those there are", name);
	memcpy(request.ifr_name, name, strlen(name));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fl_fail(-errno, "cannot open a socket: %s", strerror(errno));
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		error = fl_fail(-errno, "%s: cannot read the hardware address: %s", name, strerror(errno));
	else if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		error = fl_fail(-EINVAL, "%s: not an Ethernet interface; fairlead works on Ethernet frames", name);
	else if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		error = fl_fail(-errno, "%s: cannot read the flags: %s", name, strerror(errno));
	else if (!(request.ifr_flags & IFF_UP))
		error = fl_fail(-ENETDOWN, "%s: the interface is down; `ip link set %s up` brings it up", name, name);
	close(fd);
	return error ? error : ifindex;
}

static int open_interfaces(struct fl_packet *packet)
{
	int error;

	packet->slots = SLOTS;
	for (u32 i = 0; i < packet->interface_count; i++) {
		int ifindex = fl_interface_find(packet->name[i]);

		if (ifindex < 0)
			return ifindex;
		error = fl_guard_attach_link(packet->guard, (u32)ifindex);
		if (error)
			return error;
		packet->ifindex[i] = (u32)ifindex;
	}
	for (u32 i = 0; i < packet->interface_count; i++) {
		error = fl_ports_open(packet->newest[i], packet->worker_count, packet->ifindex[i], i, packet->name[i],
				      packet->guard, &packet->slots);
		for (u32 w = 0; !error && w < packet->worker_count; w++) {
			packet->worker[w].port[i] = packet->newest[i][w];
			packet->worker[w].port[i]->worker = fl_workers_at(packet->region, w);
		}
		if (error)
			return error;
	}
	return 0;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *argument, const char *name)
{
	int error = pthread_create(thread, NULL, run, argument);

	if (error)
		return fl_fail(-error, "cannot start the thread %s: %s", name, strerror(error));
	pthread_setname_np(*thread, name);
	return 0;
}

static int start_threads(struct fl_packet *packet)
{
	sigset_t all, before;
	int error = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (u32 w = 0; !error && w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];
		char name[24];

		snprintf(name, sizeof(name), "fl-worker-%u", w);
		worker->packet = packet;
		worker->index = w;
		worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		error = worker->wake_fd < 0 ? fl_fail(-errno, "cannot make an eventfd: %s", strerror(errno))
					    : start_thread(&worker->thread, fl_worker_run, worker, name);
		worker->is_started = !error;
	}
	if (!error) {
		packet->keeper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		error = packet->keeper_fd < 0 ? fl_fail(-errno, "cannot make an eventfd: %s", strerror(errno))
					      : start_thread(&packet->keeper, fl_keeper_run, packet, "fl-age");
		packet->is_keeper_started = !error;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static int start(struct fl_packet *packet)
{
	int error;

	if ((error = fl_guard_open(&packet->guard, packet->region)) || (error = open_interfaces(packet)) ||
	    (error = fl_announce_open(&packet->announce)) ||
	    (error = fl_announce_update(packet->announce, packet->region)) ||
	    (error = fl_neighbour_start(&packet->neighbour, packet->region, packet->events, packet->wake)))
		return error;
	return start_threads(packet);
}

int fl_packet_start(struct fl_packet **packet, struct fl_region *region, const char *const *interfaces,
		    u32 interface_count, u32 workers, u32 *events, int wake)
{
	struct fl_packet *made;
	int error;

	if (interface_count < 1 || interface_count > FL_PORTS_MAX)
		return fl_fail(-EINVAL, "%u interfaces; the packet engine works on 1 to %u", interface_count,
			       FL_PORTS_MAX);
	if (workers < 1 || workers > FL_WORKERS_MAX || workers > region->count[FL_SECTION_WORKERS])
		return fl_fail(-EINVAL, "%u workers; the region has room for %llu, the packet engine for %u", workers,
			       (unsigned long long)region->count[FL_SECTION_WORKERS], FL_WORKERS_MAX);
	made = calloc(1, sizeof(*made));
	if (!made)
		return fl_fail(-ENOMEM, "no memory for the packet engine");
	made->region = region;
	made->events = events;
	made->wake = wake;
	made->worker_count = workers;
	made->interface_count = interface_count;
	made->keeper_fd = -1;
	pthread_mutex_init(&made->lock, NULL);
	for (u32 w = 0; w < workers; w++)
		made->worker[w].wake_fd = -1;
	for (u32 i = 0; i < interface_count; i++) {
		made->name[i] = strdup(interfaces[i]);
		if (!made->name[i]) {
			fl_packet_stop(made, false);
			return fl_fail(-ENOMEM, "no memory for the packet engine");
		}
	}
	error = start(made);
	if (error) {
		/* A region that was in use has clients, and the guard a predecessor left on the links: it stays. */
		fl_packet_stop(made, region->header->generation > 0);
		return error;
	}
	*packet = made;
	return made->slots == SLOTS
		       ? 0
		       : fl_fail(1, "memory is short: rings of %u slots instead of %u; bursts may be dropped",
				 made->slots, SLOTS);
}

int fl_packet_committed(struct fl_packet *packet)
{
	int error;

	pthread_mutex_lock(&packet->lock);
	error = fl_guard_update(packet->guard);
	if (!error)
		error = fl_announce_update(packet->announce, packet->region);
	pthread_mutex_unlock(&packet->lock);
	fl_neighbour_refresh(packet->neighbour);
	return error;
}

static void stop_threads(struct fl_packet *packet)
{
	__atomic_store_n(&packet->is_stopping, true, __ATOMIC_SEQ_CST);
	if (packet->is_keeper_started) {
		fl_packet_wake(packet->keeper_fd);
		pthread_join(packet->keeper, NULL);
	}
	for (u32 w = 0; w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];

		if (worker->is_started) {
			fl_packet_wake(worker->wake_fd);
			pthread_join(worker->thread, NULL);
		}
		if (worker->wake_fd >= 0)
			close(worker->wake_fd);
	}
	if (packet->keeper_fd >= 0)
		close(packet->keeper_fd);
}

void fl_packet_stop(struct fl_packet *packet, bool keep_guard)
{
	stop_threads(packet);
	if (packet->neighbour)
		fl_neighbour_stop(packet->neighbour);
	for (u32 i = 0; i < packet->interface_count; i++) {
		for (u32 w = 0; w < packet->worker_count; w++) {
			struct fl_packet_worker *worker = &packet->worker[w];

			if (worker->port[i] != packet->newest[i][w])
				fl_port_close(worker->port[i]);
			fl_port_close(packet->newest[i][w]);
		}
		if (packet->ifindex[i] && !keep_guard)
			fl_guard_detach_link(packet->guard, packet->ifindex[i]);
		free(packet->name[i]);
	}
	if (packet->guard)
		fl_guard_close(packet->guard);
	fl_announce_close(packet->announce);
	pthread_mutex_destroy(&packet->lock);
	free(packet);
}
