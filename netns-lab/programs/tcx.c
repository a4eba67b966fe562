/*
 * Programs at tcx, which the tools of a Debian 12 do not know yet: tc and bpftool came before Linux 6.6.
 *
 *   tcx list DEVICE               names of the programs at its ingress, in the order in which they run
 *   tcx attach DEVICE PROGRAM PIN the pinned program, after those that are there; the link is pinned at PIN
 *
 * Ends with 3 where the kernel has no tcx.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <net/if.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS */
#define PROGRAMS_MOST 64

static int fail(const char *what)
{
	fprintf(stderr, "tcx: %s: %s\n", what, strerror(errno));
	return errno == EINVAL ? 3 : 1;
}

static int print_name(__u32 id)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return fail("a program");
	puts(info.name);
	return close(fd);
}

static int list(unsigned int device)
{
	__u32 ids[PROGRAMS_MOST], count = PROGRAMS_MOST, flags = 0;
	int code = 0;

	if (bpf_prog_query((int)device, TCX_INGRESS, 0, &flags, ids, &count))
		return fail("the list");
	for (__u32 i = 0; !code && i < count; i++)
		code = print_name(ids[i]);
	return code;
}

static int attach(unsigned int device, const char *program, const char *pin)
{
	int fd = bpf_obj_get(program), link;

	if (fd < 0)
		return fail(program);
	link = bpf_link_create(fd, (int)device, TCX_INGRESS, NULL);
	if (link < 0)
		return fail("attach");
	return bpf_obj_pin(link, pin) ? fail(pin) : 0;
}

int main(int count, char **words)
{
	unsigned int device = count > 2 ? if_nametoindex(words[2]) : 0;

	if (device && count == 3 && strcmp(words[1], "list") == 0)
		return list(device);
	if (device && count == 5 && strcmp(words[1], "attach") == 0)
		return attach(device, words[3], words[4]);
	fprintf(stderr, "usage: tcx list DEVICE | tcx attach DEVICE PROGRAM PIN, of a device that is there\n");
	return 2;
}
