/* The common part of every engine that forwards: see runner.h. */
#define _GNU_SOURCE /* thread names */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "inherit.h"
#include "runner.h"

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

int fl_thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return fl_fail(-error, "cannot start the thread %s: %s", name, strerror(error));
	pthread_setname_np(*thread, name);
	return 0;
}

int fl_runner_prepare(struct fl_runner *runner, const struct fl_ways *ways, struct fl_region *region,
		      const char *const *interfaces, u32 interface_count, u32 *events, int wake)
{
	runner->ways = ways;
	runner->region = region;
	runner->events = events;
	runner->wake = wake;
	runner->keeper_fd = -1;
	runner->heir = -1;
	pthread_mutex_init(&runner->lock, NULL);
	fl_samples_open(&runner->samples);
	if (interface_count < 1 || interface_count > FL_PORTS_MAX)
		return fl_fail(-EINVAL, "%u interfaces; an engine works on 1 to %u", interface_count, FL_PORTS_MAX);
	for (u32 i = 0; i < interface_count; i++) {
		runner->name[i] = strdup(interfaces[i]);
		if (!runner->name[i])
			return fl_fail(-ENOMEM, "no memory for an engine");
		runner->interface_count++;
	}
	return 0;
}

int fl_runner_start(struct fl_runner *runner)
{
	int error;

	if ((error = fl_announce_open(&runner->announce)) ||
	    (error = fl_announce_update(runner->announce, runner->region)) ||
	    (error = fl_neighbour_start(&runner->neighbour, runner->region, runner->events, runner->wake)))
		return error;
	runner->keeper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = runner->keeper_fd < 0 ? fl_fail(-errno, "cannot make an eventfd: %s", strerror(errno))
				      : fl_thread_start(&runner->keeper, fl_keeper_run, runner, "fl-age");
	runner->is_keeper_started = !error;
	return error;
}

int fl_runner_committed(struct fl_runner *runner)
{
	int error;

	pthread_mutex_lock(&runner->lock);
	error = runner->ways->committed ? runner->ways->committed(runner) : 0;
	if (!error)
		error = fl_announce_update(runner->announce, runner->region);
	pthread_mutex_unlock(&runner->lock);
	fl_neighbour_refresh(runner->neighbour);
	return error;
}

u32 fl_runner_samples(struct fl_runner *runner, struct fl_record *records)
{
	return fl_samples_take(&runner->samples, records);
}

void fl_runner_stop(struct fl_runner *runner, bool keep, const char *path)
{
	int heir = path ? fl_bequeath_open(path) : -1;

	if (runner->is_keeper_started) {
		fl_wake(runner->keeper_fd);
		pthread_join(runner->keeper, NULL);
	}
	runner->ways->halt(runner);
	if (runner->keeper_fd >= 0)
		close(runner->keeper_fd);
	if (runner->neighbour)
		fl_neighbour_stop(runner->neighbour);
	fl_announce_close(runner->announce);
	pthread_mutex_destroy(&runner->lock);
	fl_samples_close(&runner->samples);
	for (u32 i = 0; i < runner->interface_count; i++)
		free(runner->name[i]);
	runner->heir = heir;
	runner->ways->close(runner, keep);
	if (heir >= 0)
		close(heir);
}
