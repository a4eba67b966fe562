/*
 * What the decapsulator's program is told: read back from the kernel, changed by one service, and made into tables for
 * a new program. bpf/decap.bpf.c travels inside this object file.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "decap.h"
#include "words.h"

__asm__(".section .rodata\n"
	".balign 16\n"
	"decap_object:\n"
	".incbin \"build/decap.bpf.o\"\n"
	"decap_object_end:\n"
	".previous\n");
extern const char decap_object[], decap_object_end[];

#define MAPS_MAX 16
#define MAPPED_BITS 96 /* of an IPv4 address before its own */

bool fl_decap_parse_address(const char *text, struct fl_addr *addr)
{
	*addr = (struct fl_addr){ { 0, 0, FL_BE32(0xffff), 0 } };
	return strchr(text, ':') ? inet_pton(AF_INET6, text, addr) == 1 : inet_pton(AF_INET, text, &addr->word[3]) == 1;
}

static bool prefix_holds(const struct fl_decap_prefix *prefix, const struct fl_addr *addr)
{
	const u8 *wanted = (const u8 *)&prefix->addr, *given = (const u8 *)addr;
	u32 octets = prefix->length / 8, bits = prefix->length % 8;

	if (memcmp(wanted, given, octets) != 0)
		return false;
	return !bits || ((wanted[octets] ^ given[octets]) & (0xff00 >> bits & 0xff)) == 0;
}

bool fl_decap_parse_prefix(const char *text, struct fl_decap_prefix *prefix)
{
	char address[64], *slash, *end;
	u8 *octet = (u8 *)&prefix->addr;
	unsigned long most, length;

	if (strlen(text) >= sizeof(address))
		return false;
	strcpy(address, text);
	slash = strchr(address, '/');
	if (slash)
		*slash = 0;
	if (!fl_decap_parse_address(address, &prefix->addr))
		return false;
	most = strchr(address, ':') ? 128 : 32;
	length = slash ? strtoul(slash + 1, &end, 10) : most;
	if (slash && (slash[1] < '0' || slash[1] > '9' || *end || length > most))
		return false;
	prefix->length = most == 32 ? MAPPED_BITS + length : length;
	for (u32 bit = prefix->length; bit < 128; bit++)
		octet[bit / 8] &= ~(0x80 >> bit % 8);
	return true;
}

/* Opens the map of this name that a program uses; a negative errno when there is none of this size. */
static int map_of(int program_fd, const char *name, u32 value_size)
{
	u32 ids[MAPS_MAX] = { 0 };
	struct bpf_prog_info program = { .nr_map_ids = MAPS_MAX, .map_ids = (u64)(size_t)ids };
	u32 size = sizeof(program);

	if (bpf_obj_get_info_by_fd(program_fd, &program, &size) < 0)
		return -errno;
	for (u32 i = 0; i < program.nr_map_ids && i < MAPS_MAX; i++) {
		struct bpf_map_info map = { 0 };
		int fd = bpf_map_get_fd_by_id(ids[i]);

		size = sizeof(map);
		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &map, &size) == 0 && strcmp(map.name, name) == 0 &&
		    map.value_size == value_size)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

/* The services that a program of ours was told of. */
static int services_read(int program_fd, struct fl_decap_view *view)
{
	int fd = map_of(program_fd, "decap_services", sizeof(struct fl_decap_service));

	view->service_count = 0;
	if (fd < 0)
		return fl_fail(-EBUSY, "the decapsulator that is there is of another version of fairlead; "
				       "take it off with that version's fairlead-decap, or with ip and tc");
	for (u32 i = 0; i < FL_DECAP_SERVICES; i++) {
		struct fl_decap_service *service = &view->service[view->service_count];

		if (bpf_map_lookup_elem(fd, &i, service) == 0 && service->name[0])
			view->service_count++;
	}
	close(fd);
	return 0;
}

static void counters_read(int program_fd, struct fl_decap_counter *counter)
{
	int cpus = libbpf_num_possible_cpus(), fd = map_of(program_fd, "decap_counts", sizeof(*counter));
	struct fl_decap_counter *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));

	memset(counter, 0, sizeof(*counter) * FL_DECAP_COUNT);
	for (u32 what = 0; each && fd >= 0 && what < FL_DECAP_COUNT; what++) {
		if (bpf_map_lookup_elem(fd, &what, each) < 0)
			continue;
		for (int cpu = 0; cpu < cpus; cpu++) {
			counter[what].frames += each[cpu].frames;
			counter[what].octets += each[cpu].octets;
		}
	}
	if (fd >= 0)
		close(fd);
	free(each);
}

static int map_fd(const struct bpf_object *object, const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

/* Sets bits of a value besides those it has. */
static int bits_add(int fd, const void *key, u64 bits)
{
	u64 before = 0;

	if (bpf_map_lookup_elem(fd, key, &before) < 0)
		before = 0;
	bits |= before;
	return bpf_map_update_elem(fd, key, &bits, BPF_ANY) < 0 ? -errno : 0;
}

/*
 * A longest-prefix table answers with one prefix only, so each carries the bits of all those it lies in. Every one is held
 * against every other: there are at most a thousand.
 */
static u64 bits_around(const struct fl_decap_view *view, const struct fl_decap_prefix *prefix)
{
	u64 bits = 0;

	for (u32 i = 0; i < view->service_count; i++)
		for (u32 j = 0; j < view->service[i].source_count; j++) {
			const struct fl_decap_prefix *other = &view->service[i].source[j];

			if (other->length <= prefix->length && prefix_holds(other, &prefix->addr))
				bits |= 1ull << i;
		}
	return bits;
}

static int tables_fill(const struct bpf_object *object, const struct fl_decap_view *view)
{
	int endpoints = map_fd(object, "decap_endpoints"), sources = map_fd(object, "decap_sources");
	int vips = map_fd(object, "decap_vips"), services = map_fd(object, "decap_services");
	int code = 0;

	for (u32 i = 0; i < view->service_count && code == 0; i++) {
		const struct fl_decap_service *service = &view->service[i];

		code = bpf_map_update_elem(services, &i, service, BPF_ANY) < 0 ? -errno : 0;
		if (code == 0)
			code = bits_add(endpoints, &service->endpoint, 1ull << i);
		for (u32 j = 0; j < service->source_count && code == 0; j++)
			code = bits_add(sources, &service->source[j], bits_around(view, &service->source[j]));
		for (u32 j = 0; j < service->vip_count && code == 0; j++)
			code = bits_add(vips, &service->vip[j], 1ull << i);
	}
	return code;
}

static int object_size(struct bpf_object *object, const struct fl_decap_view *view)
{
	u32 sources = 0, vips = 0;

	for (u32 i = 0; i < view->service_count; i++) {
		sources += view->service[i].source_count;
		vips += view->service[i].vip_count;
	}
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "decap_endpoints"), view->service_count);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "decap_vips"), vips);
	return bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "decap_sources"), sources);
}

/* A program for one place, with its tables filled; counters are those of `old_fd`, unless that is 0. */
static int object_load(struct bpf_object **loaded, enum fl_decap_place place, const struct fl_decap_view *view,
		       int old_fd)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "fairlead_decap");
	const char *own = place == FL_DECAP_AT_XDP ? FL_DECAP_PROGRAM_XDP : FL_DECAP_PROGRAM_TC;
	const char *other = place == FL_DECAP_AT_XDP ? FL_DECAP_PROGRAM_TC : FL_DECAP_PROGRAM_XDP;
	int counts = old_fd ? map_of(old_fd, "decap_counts", sizeof(struct fl_decap_counter)) : -1;
	struct bpf_object *object;
	int code;

	object = bpf_object__open_mem(decap_object, decap_object_end - decap_object, &options);
	if (!object)
		return fl_fail(-errno, "the decapsulator's BPF object does not open: %s", strerror(errno));
	code = object_size(object, view);
	bpf_program__set_autoload(bpf_object__find_program_by_name(object, other), false);
	/* One of another size is another version's: then counting starts anew. */
	if (counts >= 0)
		bpf_map__reuse_fd(bpf_object__find_map_by_name(object, "decap_counts"), counts);
	if (code == 0)
		code = bpf_object__load(object);
	if (code == 0)
		code = bpf_prog_bind_map(bpf_program__fd(bpf_object__find_program_by_name(object, own)),
					 map_fd(object, "decap_services"), NULL);
	if (code == 0)
		code = tables_fill(object, view);
	if (counts >= 0)
		close(counts);
	if (code == 0) {
		*loaded = object;
		return bpf_program__fd(bpf_object__find_program_by_name(object, own));
	}
	bpf_object__close(object);
	return fl_fail(code, "the kernel did not load the decapsulator%s: %s", fl_words_of_lack(code, ""),
		       fl_words_for(code));
}

/* Makes the place unwrap exactly what the view says. `old_fd` (0: none) is what hangs there now. */
static int place_become(u32 ifindex, enum fl_decap_place place, const struct fl_decap_view *view, int old_fd)
{
	struct bpf_object *object = NULL;
	int code;

	if (!view->service_count)
		return old_fd ? fl_decap_clear(ifindex, place, old_fd) : 0;
	code = object_load(&object, place, view, old_fd);
	if (code < 0)
		return code;
	code = fl_decap_put(ifindex, place, code, old_fd);
	bpf_object__close(object);
	return code;
}

static u32 service_find(const struct fl_decap_view *view, const char *name)
{
	u32 i = 0;

	while (i < view->service_count && strcmp(view->service[i].name, name) != 0)
		i++;
	return i;
}

/* What hangs at a place: the fd of its program, 0 for nothing, or an error. */
static int place_open(u32 ifindex, enum fl_decap_place place, struct fl_decap_view *view)
{
	int fd, code;

	fl_words_listen(); /* every call comes by here first */
	view->service_count = 0;
	fd = fl_decap_find(ifindex, place, &view->is_generic);
	if (fd <= 0)
		return fd;
	code = services_read(fd, view);
	if (code == 0)
		return fd;
	close(fd);
	return code;
}

static int service_remove(u32 ifindex, enum fl_decap_place place, const char *name)
{
	struct fl_decap_view *view = calloc(1, sizeof(*view));
	int fd, code = 0;
	u32 at;

	if (!view)
		return fl_fail(-ENOMEM, "no memory for the decapsulator's services");
	fd = place_open(ifindex, place, view);
	at = service_find(view, name);
	if (fd > 0 && at < view->service_count) {
		view->service_count--;
		memmove(&view->service[at], &view->service[at + 1],
			(view->service_count - at) * sizeof(view->service[0]));
		code = place_become(ifindex, place, view, fd);
		code = code < 0 ? code : 1;
	}
	if (fd > 0)
		close(fd);
	free(view);
	/* Another's program is no error to whoever wants to be gone from there. */
	return fd < 0 && fd != -EBUSY ? fd : code;
}

static int service_put(u32 ifindex, enum fl_decap_place place, const struct fl_decap_service *service)
{
	struct fl_decap_view *view = calloc(1, sizeof(*view));
	int fd, code;
	u32 at;

	if (!view)
		return fl_fail(-ENOMEM, "no memory for the decapsulator's services");
	fd = code = place_open(ifindex, place, view);
	at = service_find(view, service->name);
	if (code >= 0 && at == FL_DECAP_SERVICES)
		code = fl_fail(-ENOSPC, "%u services are unwrapped there, which is the most", at);
	if (code >= 0) {
		view->service[at] = *service;
		view->service_count += at == view->service_count;
		code = place_become(ifindex, place, view, fd);
	}
	if (fd > 0)
		close(fd);
	free(view);
	return code;
}

int fl_decap_attach(u32 ifindex, enum fl_decap_place place, const struct fl_decap_service *service)
{
	int code = service_put(ifindex, place, service), removed;

	if (code < 0)
		return code;
	removed = service_remove(ifindex, place == FL_DECAP_AT_XDP ? FL_DECAP_AT_TC : FL_DECAP_AT_XDP, service->name);
	return removed < 0 ? removed : code;
}

int fl_decap_detach(u32 ifindex, const char *name)
{
	int xdp = service_remove(ifindex, FL_DECAP_AT_XDP, name);
	int tc = xdp < 0 ? xdp : service_remove(ifindex, FL_DECAP_AT_TC, name);

	return tc < 0 ? tc : xdp | tc;
}

int fl_decap_look(u32 ifindex, enum fl_decap_place place, struct fl_decap_view *view)
{
	int fd;

	memset(view, 0, sizeof(*view));
	fd = place_open(ifindex, place, view);
	if (fd <= 0)
		return fd;
	counters_read(fd, view->counter);
	close(fd);
	return 0;
}
