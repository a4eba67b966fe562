/*
 * bench-limit IN OUT BEFORE AFTER MAC: frames that come in by IN for the address BEFORE leave by OUT for AFTER, whose MAC
 * is given, as fast as XDP can: by XDP_TX when OUT is IN. bench-limit IN: all frames pass a program that does nothing.
 * Says "ready", and ends when its input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "limit.h"

static void die(const char *what)
{
	fprintf(stderr, "bench-limit: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void read_mac(const char *interface, u8 *mac)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		die(interface);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
}

int main(int count, char **arguments)
{
	struct limit_rewrite rewrite = { 0 };
	struct bpf_object *object;
	struct bpf_map *constants;
	const char *name;
	u32 zero = 0, out;
	int program;
	char rest;

	if (count != 2 &&
	    (count != 6 || inet_pton(AF_INET, arguments[3], &rewrite.before) != 1 ||
	     inet_pton(AF_INET, arguments[4], &rewrite.after) != 1 ||
	     sscanf(arguments[5], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &rewrite.to_mac[0], &rewrite.to_mac[1],
		    &rewrite.to_mac[2], &rewrite.to_mac[3], &rewrite.to_mac[4], &rewrite.to_mac[5]) != 6)) {
		fprintf(stderr, "usage: bench-limit IN [OUT BEFORE AFTER MAC]\n");
		return 2;
	}
	if (count == 6)
		read_mac(arguments[2], rewrite.from_mac);
	object = bpf_object__open(LIMIT_OBJECT);
	constants = object ? bpf_object__find_map_by_name(object, ".rodata.limit") : NULL;
	if (!constants || bpf_map__set_initial_value(constants, &rewrite, sizeof(rewrite)) || bpf_object__load(object))
		die("the program does not load");
	name = count == 2 ? "limit_pass" : strcmp(arguments[1], arguments[2]) ? "limit_redirect" : "limit_tx";
	program = bpf_program__fd(bpf_object__find_program_by_name(object, name));
	out = if_nametoindex(arguments[count == 6 ? 2 : 1]);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "limit_out"), &zero, &out, 0))
		die("limit_out");
	if (bpf_xdp_attach((int)if_nametoindex(arguments[1]), program, XDP_FLAGS_DRV_MODE, NULL))
		die(arguments[1]);
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &rest, 1) > 0)
		;
	pause();
	return 0;
}
