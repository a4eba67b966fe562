/* What a process that is no more left on interfaces, taken off by whoever holds its region now. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "clsact.h"
#include "guard.h"
#include "link.h"

static void detach_links(const struct fl_region *region, const char *name, u32 interface)
{
	char link[64], directory[4096];
	struct fl_spot spot = {
		.directory = directory,
		.name = name,
		.interface = interface,
		.ifindex = if_nametoindex(name),
		.instance = fl_instance_of(region),
	};
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", region->fd);
	length = readlink(link, directory, sizeof(directory) - 1);
	if (length < 0)
		return;
	directory[length] = 0;
	fl_link_detach(&spot, true);
	fl_link_detach(&spot, false);
}

void fl_detach(const struct fl_region *region, const char *const *interfaces, u32 interface_count)
{
	for (u32 i = 0; i < interface_count; i++) {
		u32 ifindex = if_nametoindex(interfaces[i]);

		if (region->maps)
			detach_links(region, interfaces[i], i);
		else if (ifindex)
			fl_clsact_detach(ifindex, FL_GUARD_PROGRAM, fl_instance_of(region));
	}
}

void fl_driver_of(const char *interface, char *driver, size_t room)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (char *)&info };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	driver[0] = 0;
	if (fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0)
		snprintf(driver, room, "%s", info.driver);
	if (fd >= 0)
		close(fd);
}
