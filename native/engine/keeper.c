/*
 * The keeper: the thread that does what is due a few times a second, so that whoever forwards only forwards. Each TICK_MS
 *
 *   - the engine does what it has to do,
 *   - announcements that are due are sent,
 *   - an interface that was lost is looked for. When one of the same name is there and up again, the engine moves to it,
 *   - it is said when a flow was refused a slot,
 *
 * and a part of the flow table is swept: all of it once a second, unless it is so large that this took more than a 64th
 * of a processor. Whoever looks a flow up sees by itself that it has expired, so what waits is only its slot and its count.
 */
#include <errno.h>
#include <poll.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "runner.h"

#define TICK_MS 200
#define SWEEP_NS 1000000000ull
#define SWEEP_TICK_NS (TICK_MS * 1000000ull / 64) /* of processor time */
#define SWEEP_BUCKETS 1024

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

static u64 processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (u64)now.tv_sec * 1000000000ull + (u64)now.tv_nsec;
}

static void sweep_on(struct fl_region *region, struct fl_sweep *sweep, u64 now)
{
	u64 start = processor_ns();

	do
		fl_age_part(region, sweep, SWEEP_BUCKETS, now);
	while (sweep->bucket && processor_ns() - start < SWEEP_TICK_NS);
}

void *fl_keeper_run(void *argument)
{
	struct fl_runner *runner = argument;
	struct pollfd stop = { .fd = runner->keeper_fd, .events = POLLIN };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	u32 pressure = __atomic_load_n(&runner->region->header->pressure_tick, __ATOMIC_RELAXED);
	u32 carrier = carriers(runner, fd);
	struct fl_sweep sweep = { 0 };
	u64 swept = fl_now(); /* when the last sweep began */

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
		if (!sweep.bucket && now - swept < SWEEP_NS)
			continue;
		if (!sweep.bucket)
			swept = now;
		sweep_on(runner->region, &sweep, now);
	}
	close(fd);
	return NULL;
}
