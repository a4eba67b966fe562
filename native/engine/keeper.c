/*
 * The keeper: the thread that does what is due a few times a second, so that workers only forward. Each TICK_MS it
 *
 *   - reads how many frames each ring had to drop (reading clears the kernel's counter),
 *   - sends announcements that are due,
 *   - looks whether an interface was lost. When one of the same name is there and up again, it opens the sockets of
 *     all workers on it (their order is the fan-out's) and hands each worker its own; the worker closes the old ones,
 *   - says when a flow was refused a slot,
 *
 * and once a second it sweeps the flow table.
 */
#define _GNU_SOURCE /* sendmmsg, thread names */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "packet.h"

#define TICK_MS 200
#define SWEEP_NS 1000000000ull

static void count_drops(struct fl_packet *packet)
{
	for (u32 i = 0; i < packet->interface_count; i++)
		for (u32 w = 0; w < packet->worker_count; w++) {
			u64 drops = fl_port_drops(packet->newest[i][w]);

			if (drops) /* the worker adds those its queue had no room for */
				__atomic_fetch_add(&fl_workers_at(packet->region, w)->ring_drops, drops,
						   __ATOMIC_RELAXED);
		}
}

/* The guard first, so that the host never sees a frame of ours on the new interface. */
static int reopen(struct fl_packet *packet, u32 interface, u32 ifindex)
{
	struct fl_port *ports[FL_WORKERS_MAX];
	u32 slots = packet->slots;
	int error;

	pthread_mutex_lock(&packet->lock);
	error = fl_guard_attach_link(packet->guard, ifindex);
	if (!error)
		error = fl_ports_open(ports, packet->worker_count, ifindex, interface, packet->name[interface],
				      packet->guard, &slots);
	if (!error)
		packet->ifindex[interface] = ifindex;
	pthread_mutex_unlock(&packet->lock);
	for (u32 w = 0; !error && w < packet->worker_count; w++) {
		struct fl_packet_worker *worker = &packet->worker[w];

		ports[w]->worker = fl_workers_at(packet->region, w);
		packet->newest[interface][w] = ports[w];
		/* A predecessor that the worker has not come to take is still ours to close. */
		fl_port_close(__atomic_exchange_n(&worker->next[interface], ports[w], __ATOMIC_ACQ_REL));
		fl_packet_wake(worker->wake_fd);
	}
	return error;
}

static void look_after_links(struct fl_packet *packet)
{
	for (u32 i = 0; i < packet->interface_count; i++) {
		int ifindex;

		if (FL_LIKELY(!fl_port_is_orphan(packet->newest[i][0])))
			continue;
		ifindex = fl_interface_find(packet->name[i]);
		if (ifindex > 0 && reopen(packet, i, (u32)ifindex) == 0)
			fl_packet_raise(packet, FL_EVENT_LINK);
	}
}

/* Bits of the interfaces that have a carrier. */
static u32 carriers(const struct fl_packet *packet, int fd)
{
	u32 bits = 0;

	for (u32 i = 0; i < packet->interface_count; i++) {
		struct ifreq request = { 0 };

		memcpy(request.ifr_name, packet->name[i], strlen(packet->name[i]));
		if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_RUNNING)
			bits |= 1u << i;
	}
	return bits;
}

static void announce(struct fl_packet *packet, bool has_link_come, u64 now)
{
	pthread_mutex_lock(&packet->lock);
	if (has_link_come)
		fl_announce_again(packet->announce);
	fl_announce_tick(packet->announce, now);
	pthread_mutex_unlock(&packet->lock);
}

void *fl_keeper_run(void *argument)
{
	struct fl_packet *packet = argument;
	struct pollfd stop = { .fd = packet->keeper_fd, .events = POLLIN };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	u32 pressure = __atomic_load_n(&packet->region->header->pressure_tick, __ATOMIC_RELAXED);
	u32 carrier = carriers(packet, fd);
	u64 swept = fl_now();

	while (poll(&stop, 1, TICK_MS) <= 0) {
		u64 now = fl_now();
		u32 carrier_now = carriers(packet, fd);
		u32 pressure_now = __atomic_load_n(&packet->region->header->pressure_tick, __ATOMIC_RELAXED);

		look_after_links(packet);
		count_drops(packet);
		announce(packet, (carrier_now & ~carrier) != 0, now);
		carrier = carrier_now;
		if (pressure_now != pressure)
			fl_packet_raise(packet, FL_EVENT_TABLE_FULL);
		pressure = pressure_now;
		if (now - swept >= SWEEP_NS) {
			fl_age_sweep(packet->region, now);
			swept = now;
		}
	}
	close(fd);
	return NULL;
}
