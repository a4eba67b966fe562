/*
 * Loads bpf/guard.bpf.c, which travels inside this object file, and keeps its maps as the active half says.
 *
 * The claims map is mapped into this process and handed to the core as region->claims; the core fills it while it makes
 * and ends flows. An adopted region's flows are entered here once. Addresses are few, so a commit compares what is
 * wanted with what was written last, writes what is new, and only then deletes what is gone: between two commits no
 * frame of a service that stays is ever the host's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../core/trail.h"
#include "clsact.h"
#include "guard.h"
#include "words.h"

__asm__(".section .rodata\n"
	".balign 16\n"
	"guard_object:\n"
	".incbin \"build/guard.bpf.o\"\n"
	"guard_object_end:\n"
	".previous\n");
extern const char guard_object[], guard_object_end[];

static int entry_compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct fl_guard_address));
}

/* Sorts, and joins the flags of equal addresses. */
static u32 entries_settle(struct fl_guard_entry *entries, u32 count)
{
	u32 kept = 0;

	qsort(entries, count, sizeof(*entries), entry_compare);
	for (u32 i = 0; i < count; i++) {
		if (kept && entry_compare(&entries[kept - 1], &entries[i]) == 0)
			entries[kept - 1].flags |= entries[i].flags;
		else
			entries[kept++] = entries[i];
	}
	return kept;
}

static u32 owned_list(const struct fl_region *region, const struct fl_settings *settings,
		      struct fl_guard_entry *entries)
{
	u32 count = 0;

	for (u32 i = 0; i <= settings->vip_mask; i++) {
		const struct fl_vip *vip = fl_vips_at(region, settings->first[FL_SECTION_VIPS] + i);

		if (vip && vip->flags & FL_VIP_USED)
			entries[count++] = (struct fl_guard_entry){
				.key = { vip->addr, vip->flags & FL_VIP_V6 ? 1 : 0 },
				.flags = vip->flags & (FL_VIP_LISTENS | FL_VIP_SOURCE),
			};
	}
	return entries_settle(entries, count);
}

/* What of a server's frames may be ours. */
static u32 server_flags(const struct fl_service *service)
{
	switch (service->method) {
	case FL_METHOD_NAT:
		return FL_GUARD_NAT;
	case FL_METHOD_FULL_NAT:
		return FL_GUARD_FULL_NAT;
	case FL_METHOD_L3_DSR:
		return FL_GUARD_TUNNEL;
	default:
		return 0;
	}
}

static u32 servers_list(const struct fl_region *region, const struct fl_settings *settings,
			struct fl_guard_entry *entries)
{
	u32 count = 0;

	for (u32 i = 0; i < settings->server_capacity; i++) {
		const struct fl_server *server = fl_servers_at(region, settings->first[FL_SECTION_SERVERS] + i);
		const struct fl_service *service;

		if (!server || !(server->flags & FL_SERVER_USED))
			continue;
		service = fl_services_at(region, settings->first[FL_SECTION_SERVICES] + server->service);
		if (!service)
			continue;
		entries[count++] = (struct fl_guard_entry){
			.key = { server->addr, server->flags & FL_SERVER_V6 ? 1 : 0 },
			.flags = server_flags(service),
		};
	}
	return entries_settle(entries, count);
}

/* Reads back what the map really holds. */
static int set_reread(struct fl_guard_set *set, u32 room)
{
	struct fl_guard_address *before = NULL;
	struct fl_guard_entry *entries = calloc(room, sizeof(*entries));
	u32 count = 0;

	if (!entries)
		return -ENOMEM;
	while (count < room && bpf_map_get_next_key(set->fd, before, &entries[count].key) == 0) {
		bpf_map_lookup_elem(set->fd, &entries[count].key, &entries[count].flags);
		before = &entries[count++].key;
	}
	free(set->entries);
	set->entries = entries;
	set->count = entries_settle(entries, count);
	set->is_uncertain = false;
	return 0;
}

static const struct fl_guard_entry *entry_find(const struct fl_guard_entry *entries, u32 count,
					       const struct fl_guard_entry *like)
{
	return count ? bsearch(like, entries, count, sizeof(*like), entry_compare) : NULL;
}

static int set_add(struct fl_guard_set *set, const struct fl_guard_entry *wanted, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		const struct fl_guard_entry *held = entry_find(set->entries, set->count, &wanted[i]);

		if (held && held->flags == wanted[i].flags)
			continue;
		if (bpf_map_update_elem(set->fd, &wanted[i].key, &wanted[i].flags, BPF_ANY) < 0) {
			set->is_uncertain = true;
			return fl_fail(-errno, "the guard takes no more addresses: %s", strerror(errno));
		}
	}
	return 0;
}

/* Deletes what is no longer wanted, and remembers `wanted` (which it owns from here on) as what is held. */
static void set_remove(struct fl_guard_set *set, struct fl_guard_entry *wanted, u32 count)
{
	for (u32 i = 0; i < set->count; i++)
		if (!entry_find(wanted, count, &set->entries[i]))
			bpf_map_delete_elem(set->fd, &set->entries[i].key);
	free(set->entries);
	set->entries = wanted;
	set->count = count;
}

static u32 room_for(const struct fl_region *region, enum fl_section section)
{
	/* Both halves: while a commit is applied, the old and the new addresses are there together. */
	return region->count[section] ? region->count[section] : 1;
}

int fl_guard_update(struct fl_guard *guard)
{
	struct fl_region *region = guard->region;
	const struct fl_settings *settings = fl_settings_at(region, region->header->active_half & 1);
	u32 owned_room = room_for(region, FL_SECTION_VIPS), server_room = room_for(region, FL_SECTION_SERVERS);
	struct fl_guard_entry *owned = calloc(owned_room, sizeof(*owned));
	struct fl_guard_entry *servers = calloc(server_room, sizeof(*servers));
	u32 owned_count = 0, server_count = 0;
	int code = owned && servers && settings ? 0 : fl_fail(-ENOMEM, "no memory for the guard's addresses");

	if (code == 0 && guard->owned.is_uncertain && set_reread(&guard->owned, owned_room) < 0)
		code = fl_fail(-ENOMEM, "no memory for the guard's addresses");
	if (code == 0 && guard->servers.is_uncertain && set_reread(&guard->servers, server_room) < 0)
		code = fl_fail(-ENOMEM, "no memory for the guard's addresses");
	if (code == 0 && settings->is_active) { /* a standby's VIPs are somebody else's */
		owned_count = owned_list(region, settings, owned);
		server_count = servers_list(region, settings, servers);
	}
	if (code == 0)
		code = set_add(&guard->servers, servers, server_count);
	if (code == 0)
		code = set_add(&guard->owned, owned, owned_count);
	if (code < 0) {
		free(owned);
		free(servers);
		return code;
	}
	set_remove(&guard->owned, owned, owned_count);
	set_remove(&guard->servers, servers, server_count);
	return 0;
}

/* Enters the nat flows of an adopted region. Nobody forwards yet. */
static void claims_fill(struct fl_guard *guard)
{
	const struct fl_region *region = guard->region;
	const struct fl_header *header = region->header;
	u64 *claims = (u64 *)guard->claims;

	for (u64 i = 0; i < (u64)header->buckets * FL_WAYS; i++) {
		const struct fl_flow *flow = fl_flows_at(region, i);
		struct fl_addr client, server;
		int is_v6;

		if (!flow || !fl_state_is_live(flow->control) || flow->flags & (FL_FLOW_FULL_NAT | FL_FLOW_DSR))
			continue;
		is_v6 = flow->flags & FL_FLOW_V6 ? 1 : 0;
		client = (struct fl_addr){ { flow->client } };
		server = (struct fl_addr){ { flow->server } };
		if (is_v6) {
			const struct fl_flow6 *wide = fl_flows6_at(region, i);

			if (!wide)
				continue;
			client = wide->client;
			server = wide->server;
		}
		claims[i] = fl_claim_of(header->seed, &client, flow->client_port, &server, flow->server_port,
					flow->protocol, is_v6);
	}
}

static void trails_fill(struct fl_guard *guard)
{
	const struct fl_region *region = guard->region;

	for (u64 i = 0; i < region->count[FL_SECTION_TRAILS]; i++) {
		const struct fl_trail *trail = fl_trails_at(region, i);

		if (trail && trail->check)
			guard->trails[i] = (struct fl_trail_claim){
				.claim = trail->check ^ fl_trail_mix(region->header->seed, trail),
				.seen = trail->seen,
			};
	}
}

static int size_map(struct bpf_object *object, const char *name, u32 entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__set_max_entries(map, entries) : -ENOENT;
}

static int object_prepare(struct bpf_object *object, const struct fl_region *region)
{
	struct bpf_map *map;
	int code = size_map(object, "guard_owned", room_for(region, FL_SECTION_VIPS));

	bpf_object__for_each_map(map, object) if (strncmp(bpf_map__name(map), "guard_", 6) != 0)
		bpf_map__set_autocreate(map, false); /* the core's sections, which the guard does not read */
	if (code == 0)
		code = size_map(object, "guard_servers", room_for(region, FL_SECTION_SERVERS));
	if (code == 0)
		code = size_map(object, "guard_claims", region->header->buckets);
	return code;
}

static int fd_of_program(const struct bpf_object *object, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, name));
}

static void *map_share(const struct bpf_object *object, const char *name, size_t size, size_t *mapped)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *memory;

	*mapped = (size + page - 1) / page * page;
	memory = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_object__find_map_fd_by_name(object, name),
		      0);
	return memory == MAP_FAILED ? NULL : memory;
}

static int object_load(struct fl_guard *guard)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "fairlead_guard");
	int code;

	guard->object = bpf_object__open_mem(guard_object, guard_object_end - guard_object, &options);
	if (!guard->object)
		return fl_fail(-errno, "the guard's BPF object does not open: %s", fl_words_for(-errno));
	code = object_prepare(guard->object, guard->region);
	if (code == 0)
		code = bpf_object__load(guard->object);
	if (code < 0)
		return fl_fail(code, "the kernel did not load the guard: %s", fl_words_for(code));
	guard->filter_fd = fd_of_program(guard->object, "fl_filter");
	guard->drop_fd = fd_of_program(guard->object, FL_GUARD_PROGRAM);
	guard->steer_fd = fd_of_program(guard->object, "fl_steer");
	guard->owned.fd = bpf_object__find_map_fd_by_name(guard->object, "guard_owned");
	guard->servers.fd = bpf_object__find_map_fd_by_name(guard->object, "guard_servers");
	guard->claims = map_share(guard->object, "guard_claims",
				  sizeof(*guard->claims) * guard->region->header->buckets, &guard->claims_size);
	guard->trails =
		map_share(guard->object, "guard_trails", sizeof(*guard->trails) * FL_TRAILS, &guard->trails_size);
	guard->parameters =
		map_share(guard->object, "guard_parameters", sizeof(*guard->parameters), &guard->parameters_size);
	if (!guard->claims || !guard->trails || !guard->parameters)
		return fl_fail(-errno, "the guard's tables cannot be mapped: %s", strerror(errno));
	return 0;
}

int fl_guard_open(struct fl_guard **opened, struct fl_region *region)
{
	struct fl_guard *guard = calloc(1, sizeof(*guard));
	int code;

	if (!guard)
		return fl_fail(-ENOMEM, "no memory for the guard");
	fl_words_listen();
	guard->region = region;
	guard->instance = fl_instance_of(region);
	code = object_load(guard);
	if (code == 0) {
		memcpy(guard->parameters->seed, region->header->seed, sizeof(guard->parameters->seed));
		guard->parameters->buckets = region->header->buckets;
		guard->parameters->workers = region->header->worker_count;
		claims_fill(guard);
		trails_fill(guard);
		region->claims = (u64 *)guard->claims;
		region->trail_claims = guard->trails;
		code = fl_guard_update(guard);
	}
	if (code < 0) {
		fl_guard_close(guard);
		return code;
	}
	*opened = guard;
	return 0;
}

int fl_guard_attach_socket(struct fl_guard *guard, int socket_fd)
{
	if (setsockopt(socket_fd, SOL_SOCKET, SO_ATTACH_BPF, &guard->filter_fd, sizeof(guard->filter_fd)) < 0)
		return fl_fail(-errno, "the guard could not be attached to a socket: %s", strerror(errno));
	return 0;
}

int fl_guard_attach_fanout(struct fl_guard *guard, int socket_fd, u32 workers)
{
	__atomic_store_n(&guard->parameters->workers, workers, __ATOMIC_RELAXED);
	if (setsockopt(socket_fd, SOL_PACKET, PACKET_FANOUT_DATA, &guard->steer_fd, sizeof(guard->steer_fd)) < 0)
		return fl_fail(-errno, "the guard could not be attached to a fan-out: %s", strerror(errno));
	return 0;
}

int fl_guard_attach_link(struct fl_guard *guard, u32 ifindex)
{
	return fl_clsact_attach(ifindex, FL_GUARD_PROGRAM, guard->instance, guard->drop_fd);
}

void fl_guard_detach_link(struct fl_guard *guard, u32 ifindex)
{
	fl_clsact_detach(ifindex, FL_GUARD_PROGRAM, guard->instance);
}

void fl_guard_close(struct fl_guard *guard)
{
	if (!guard)
		return;
	if (guard->claims) {
		guard->region->claims = NULL;
		munmap(guard->claims, guard->claims_size);
	}
	if (guard->trails) {
		guard->region->trail_claims = NULL;
		munmap(guard->trails, guard->trails_size);
	}
	if (guard->parameters)
		munmap(guard->parameters, guard->parameters_size);
	bpf_object__close(guard->object);
	free(guard->owned.entries);
	free(guard->servers.entries);
	free(guard);
}
