/*
 * The keeper: the thread that does what is due a few times a second, so that whoever forwards only forwards. Each TICK_MS
 *
 *   - the engine does what it has to do,
 *   - announcements that are due are sent,
 *   - an interface that was lost is looked for. When one of the same name is there and up again, the engine moves to it,
 *   - it is said when a flow was refused a slot,
 *
 * and once a second the flow table is swept.
 */
#include <errno.h>
#include <poll.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <string.h>

#include "runner.h"

#define TICK_MS 200
#define SWEEP_NS 1000000000ull

static void look_after_links(struct fl_runner *runner)
{
	for (u32 i = 0; i < runner->interface_count; i++) {
		int ifindex, error;

		if (FL_LIKELY(!runner->ways->is_orphan(runner, i)))
			continue;
		ifindex = fl_interface_find(runner->name[i]);
		if (ifindex <= 0)
			continue;
		pthread_mutex_lock(&runner->lock);
		error = runner->ways->reopen(runner, i, (u32)ifindex);
		if (!error)
			runner->ifindex[i] = (u32)ifindex;
		pthread_mutex_unlock(&runner->lock);
		if (!error)
			fl_runner_raise(runner, FL_EVENT_LINK);
	}
}

/* Bits of the interfaces that have a carrier. */
static u32 carriers(const struct fl_runner *runner, int fd)
{
	u32 bits = 0;

	for (u32 i = 0; i < runner->interface_count; i++) {
		struct ifreq request = { 0 };

		memcpy(request.ifr_name, runner->name[i], strlen(runner->name[i]));
		if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_RUNNING)
			bits |= 1u << i;
	}
	return bits;
}

static void announce(struct fl_runner *runner, bool has_link_come, u64 now)
{
	pthread_mutex_lock(&runner->lock);
	if (has_link_come)
		fl_announce_again(runner->announce);
	fl_announce_tick(runner->announce, now);
	pthread_mutex_unlock(&runner->lock);
}

void *fl_keeper_run(void *argument)
{
	struct fl_runner *runner = argument;
	struct pollfd stop = { .fd = runner->keeper_fd, .events = POLLIN };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	u32 pressure = __atomic_load_n(&runner->region->header->pressure_tick, __ATOMIC_RELAXED);
	u32 carrier = carriers(runner, fd);
	u64 swept = fl_now();

	while (poll(&stop, 1, TICK_MS) <= 0) {
		u64 now = fl_now();
		u32 carrier_now = carriers(runner, fd);
		u32 pressure_now = __atomic_load_n(&runner->region->header->pressure_tick, __ATOMIC_RELAXED);

		look_after_links(runner);
		if (runner->ways->tick)
			runner->ways->tick(runner);
		announce(runner, (carrier_now & ~carrier) != 0, now);
		carrier = carrier_now;
		if (pressure_now != pressure)
			fl_runner_raise(runner, FL_EVENT_TABLE_FULL);
		pressure = pressure_now;
		if (now - swept >= SWEEP_NS) {
			fl_age_sweep(runner->region, now);
			swept = now;
		}
	}
	close(fd);
	return NULL;
}
