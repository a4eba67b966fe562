/*
 * The host's side of probes through the path: a TUN device, and for packets with the mark a rule and a default route to
 * it, in both families. See path.h.
 *
 * The device is as large as IP allows, so that what is too big for the way to a server is said by the core, as to a
 * client. It needs no address: sockets bring their own. What the core answers has one of this host's as its source, which
 * the kernel takes only where it is told to (accept_local).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/fib_rules.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "netlink.h"
#include "path.h"

#define PRIORITY 100 /* of the rules: before those that operators usually have */
#define QUEUE 4096   /* packets: thousands of checks may begin at once */
#define RULES_MOST 64

int fl_path_device(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int code;

	if (fd < 0)
		return fl_fail(-errno, "checks through the path need /dev/net/tun (%s): `modprobe tun`",
			       strerror(errno));
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (ioctl(fd, TUNSETIFF, &request) == 0)
		return fd;
	code = -errno;
	close(fd);
	return fl_fail(code, "the device %s for checks through the path cannot be made: %s", name, strerror(-code));
}

/* What a kernel or a container does not have is no reason to do without the rest. */
static void set(const char *family, const char *device, const char *setting, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, device, setting);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0) { /* as above */
	}
	close(fd);
}

static int ask(int fd, struct fl_request *request)
{
	u8 answer[1024];

	return (int)fl_netlink_ask(fd, request, answer, sizeof(answer));
}

static int bring_up(int fd, u32 ifindex)
{
	struct fl_request request;
	const u32 mtu = 65535, queue = QUEUE;

	fl_request_start(&request, RTM_NEWLINK, NLM_F_ACK, sizeof(request.link));
	request.link.ifi_index = (int)ifindex;
	request.link.ifi_flags = request.link.ifi_change = IFF_UP;
	fl_request_add(&request, IFLA_MTU, &mtu, sizeof(mtu));
	fl_request_add(&request, IFLA_TXQLEN, &queue, sizeof(queue));
	return ask(fd, &request);
}

static int add_route(int fd, u8 family, u32 ifindex, u32 table)
{
	struct fl_request request;

	fl_request_start(&request, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(request.route));
	request.route.rtm_family = family;
	request.route.rtm_protocol = RTPROT_STATIC;
	request.route.rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	request.route.rtm_type = RTN_UNICAST;
	fl_request_add(&request, RTA_TABLE, &table, sizeof(table));
	fl_request_add(&request, RTA_OIF, &ifindex, sizeof(ifindex));
	return ask(fd, &request);
}

static int change_rule(int fd, u16 type, u8 family, u32 mark)
{
	const struct fib_rule_hdr rule = { .family = family, .action = FR_ACT_TO_TBL };
	const u32 priority = PRIORITY, mask = 0xffffffff;
	struct fl_request request;

	fl_request_start(&request, type, NLM_F_ACK | (type == RTM_NEWRULE ? NLM_F_CREATE : 0), sizeof(rule));
	memcpy(request.room, &rule, sizeof(rule));
	fl_request_add(&request, FRA_PRIORITY, &priority, sizeof(priority));
	fl_request_add(&request, FRA_FWMARK, &mark, sizeof(mark));
	fl_request_add(&request, FRA_FWMASK, &mask, sizeof(mask));
	fl_request_add(&request, FRA_TABLE, &mark, sizeof(mark));
	return ask(fd, &request);
}

bool fl_path_unroute(u32 mark)
{
	static const u8 families[] = { AF_INET, AF_INET6 };
	int fd = fl_netlink_open(NULL);
	bool had = false;

	if (fd < 0)
		return false;
	for (int i = 0; i < 2; i++)
		for (int count = 0; count < RULES_MOST && change_rule(fd, RTM_DELRULE, families[i], mark) == 0; count++)
			had = true;
	close(fd);
	return had;
}

int fl_path_route(const char *name, u32 mark)
{
	u32 ifindex = if_nametoindex(name);
	int fd = fl_netlink_open(NULL), code;

	if (fd < 0)
		return fd;
	fl_path_unroute(mark);
	set("ipv4", name, "accept_local", "1");
	set("ipv4", name, "rp_filter", "0");
	/* No address of its own making, and no search for routers. */
	set("ipv6", name, "addr_gen_mode", "1");
	set("ipv6", name, "accept_ra", "0");
	code = bring_up(fd, ifindex);
	if (!code && !(code = add_route(fd, AF_INET, ifindex, mark)))
		code = change_rule(fd, RTM_NEWRULE, AF_INET, mark);
	/* A host may do without IPv6. */
	if (!code && add_route(fd, AF_INET6, ifindex, mark) == 0)
		change_rule(fd, RTM_NEWRULE, AF_INET6, mark);
	close(fd);
	return code ? fl_fail(code, "checks through the path cannot be routed to %s: %s", name, strerror(-code)) : 0;
}
