/* See katran.h. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "katran.h"

#define RING 65537 /* RING_SIZE, MAX_VIPS and LRU_CNTRS of its balancer_consts.h */
#define VIPS_MOST 512
#define MISSES VIPS_MOST
#define PROCESSORS_MOST 128

struct flow_key {
	u32 source[4];
	u32 target[4];
	u16 ports[2];
	u8 protocol;
	u8 reserved[3];
};

struct flow {
	u32 server;
	u32 reserved;
	u64 time;
};

struct vip_key {
	u32 addr[4];
	u16 port;
	u8 protocol;
	u8 reserved;
};

struct vip {
	u32 flags;
	u32 number;
};

struct server {
	u32 addr[4];
	u8 flags;
	u8 reserved[3];
};

struct counts {
	u64 first, second;
};

static int complain(const char *what)
{
	fprintf(stderr, "bench-kernel: katran: %s: %s\n", what, strerror(errno));
	return -1;
}

static int put(const struct katran *katran, const char *map, const void *key, const void *value)
{
	return bpf_map_update_elem(bpf_object__find_map_fd_by_name(katran->object, map), key, value, BPF_ANY)
		       ? complain(map)
		       : 0;
}

int katran_open(struct katran *katran, const char *path)
{
	struct bpf_program *program;
	struct bpf_map *unused;

	*katran = (struct katran){ .flows_fd = -1 };
	katran->object = bpf_object__open(path);
	if (!katran->object)
		return complain(path);
	/* 128 MiB for the servers of QUIC, of which there are none. */
	unused = bpf_object__find_map_by_name(katran->object, "server_id_map");
	if (unused)
		bpf_map__set_max_entries(unused, 1);
	program = bpf_object__find_program_by_name(katran->object, "balancer_ingress");
	if (!program || bpf_object__load(katran->object)) {
		complain("the program does not load");
		katran_close(katran);
		return -1;
	}
	katran->fd = bpf_program__fd(program);
	return 0;
}

static int set_up(const struct katran *katran, const struct world *world)
{
	struct vip_key vip = { .addr = { world->vip.word[0] }, .port = SERVICE_PORT, .protocol = 6 };
	struct vip number = { 0 };
	u64 router = 0x020000000002ull; /* a MAC */
	int code = put(katran, "vip_map", &vip, &number);

	code |= put(katran, "ctl_array", &(u32){ 0 }, &router);
	for (u32 i = 0; !code && i < WORLD_SERVERS; i++) {
		struct server server = { .addr = { FL_BE32(FL_BE32(world->server.word[0]) + i) } };

		code = put(katran, "reals", &(u32){ 1 + i }, &server);
	}
	for (u32 i = 0; !code && i < RING; i++)
		code = put(katran, "ch_rings", &i, &(u32){ 1 + i % WORLD_SERVERS });
	for (u32 i = 0; !code && i < PROCESSORS_MOST && (int)i < libbpf_num_possible_cpus(); i++)
		code = put(katran, "lru_mapping", &i, &katran->flows_fd);
	return code;
}

int katran_establish(struct katran *katran, const struct world *world)
{
	u32 most = world->flows < WORLD_FLOWS ? WORLD_FLOWS : world->flows;

	if (katran->flows_fd >= 0)
		close(katran->flows_fd);
	katran->flows_fd = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "flows", sizeof(struct flow_key), sizeof(struct flow),
					  most / 2 * 3, NULL);
	if (katran->flows_fd < 0)
		return complain("a table of flows");
	if (set_up(katran, world))
		return -1;
	for (u32 i = 0; i < world->flows; i++) {
		struct end client = client_of(&world->client, i, false);
		struct flow_key key = { .source = { client.addr.word[0] },
					.target = { world->vip.word[0] },
					.ports = { client.port, SERVICE_PORT },
					.protocol = 6 };
		struct flow flow = { .server = 1 + i % WORLD_SERVERS };

		if (bpf_map_update_elem(katran->flows_fd, &key, &flow, BPF_ANY))
			return complain("a flow");
	}
	return 0;
}

u64 katran_misses(const struct katran *katran)
{
	struct counts counts[libbpf_num_possible_cpus()];
	u64 sum = 0;

	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(katran->object, "stats"), &(u32){ MISSES }, counts))
		return 0;
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += counts[i].second;
	return sum;
}

void katran_close(struct katran *katran)
{
	if (katran->object)
		bpf_object__close(katran->object);
	if (katran->flows_fd >= 0)
		close(katran->flows_fd);
	katran->object = NULL;
	katran->flows_fd = -1;
}
