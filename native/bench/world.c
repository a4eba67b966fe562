/* See world.h. The image holds what src/plane/image.ts would put there for one service with a round-robin table. */
#include "world.h"

#include <bpf/libbpf.h>
#include <stdlib.h>

static const u8 outside_mac[6] = { 2, 0, 0, 0, 0, 1 }, inside_mac[6] = { 2, 0, 0, 0, 0, 2 };
static const u8 client_mac[6] = { 2, 0, 0, 0, 1, 0 }, server_mac[6] = { 2, 0, 0, 0, 2, 0 };

const struct world_kind world_kinds[WORLD_KINDS] = {
	{ .name = "nat", .method = FL_METHOD_NAT },
	{ .name = "full-nat", .method = FL_METHOD_FULL_NAT },
	{ .name = "l2-dsr", .method = FL_METHOD_L2_DSR },
	{ .name = "l3-dsr-gre", .method = FL_METHOD_L3_DSR, .tunnel = FL_TUNNEL_GRE },
	{ .name = "l3-dsr-ipip", .method = FL_METHOD_L3_DSR, .tunnel = FL_TUNNEL_IPIP },
	{ .name = "l3-dsr-gre-over-ipv6", .method = FL_METHOD_L3_DSR, .tunnel = FL_TUNNEL_GRE, .is_outer_v6 = true },
};

struct image {
	u8 octet[65536];
	size_t size;
};

static void add_block(struct image *image, u32 section, const void *elements, u32 count, size_t element)
{
	const u32 head[4] = { section, 0, count, 0 };

	memcpy(image->octet + image->size, head, sizeof(head));
	memcpy(image->octet + image->size + sizeof(head), elements, count * element);
	image->size += sizeof(head) + (count * element + 7) / 8 * 8;
}

static struct fl_addr nth(const struct fl_addr *first, u32 index, bool is_v6)
{
	struct fl_addr addr = *first;

	addr.word[is_v6 ? 3 : 0] = FL_BE32(FL_BE32(addr.word[is_v6 ? 3 : 0]) + index);
	return addr;
}

bool world_is_one_way(const struct world *world)
{
	return fl_method_is_dsr(world->kind->method);
}

/* The family of the servers and of the addresses that frames to them come from. */
static bool is_server_v6(const struct world *world)
{
	return world->kind->tunnel ? world->kind->is_outer_v6 : world->is_v6;
}

static void add_vips(struct image *image, const struct world *world)
{
	static struct fl_vip table[WORLD_HASH];
	u8 family = world->is_v6 ? FL_VIP_V6 : 0;

	memset(table, 0, sizeof(table));
	for (u32 i = 0; i <= (world->kind->method == FL_METHOD_FULL_NAT ? WORLD_SOURCES : 0); i++) {
		struct fl_addr addr = i ? nth(&world->source, i - 1, world->is_v6) : world->vip;
		u32 at = fl_config_hash(&addr, 0);

		while (table[at % WORLD_HASH].flags)
			at++;
		table[at % WORLD_HASH] = (struct fl_vip){
			.addr = addr,
			.flags = FL_VIP_USED | family | (i ? FL_VIP_SOURCE : FL_VIP_LISTENS),
		};
	}
	add_block(image, FL_SECTION_VIPS, table, WORLD_HASH, sizeof(*table));
}

static void add_service(struct image *image, const struct world *world)
{
	struct fl_listen listens[WORLD_HASH] = { 0 };
	struct fl_addr sources[WORLD_SOURCES];
	struct fl_server servers[WORLD_SERVERS] = { 0 };
	u32 table[WORLD_SERVERS];
	struct fl_service service = {
		.id = 1,
		.method = world->kind->method,
		.scheduler = FL_SCHEDULER_SEQUENCE,
		.is_v6 = world->is_v6,
		.table_count = WORLD_SERVERS,
		.source_count = world->kind->method == FL_METHOD_FULL_NAT ? WORLD_SOURCES : 0,
	};

	listens[fl_config_hash(&world->vip, SERVICE_PORT | 6 << 16) % WORLD_HASH] = (struct fl_listen){
		.addr = world->vip,
		.port = SERVICE_PORT,
		.protocol = 6,
		.flags = FL_LISTEN_USED | (world->is_v6 ? FL_LISTEN_V6 : 0),
	};
	for (u32 i = 0; i < WORLD_SOURCES; i++)
		sources[i] = nth(&world->source, i, is_server_v6(world));
	for (u32 i = 0; i < WORLD_SERVERS; i++) {
		table[i] = i;
		servers[i] = (struct fl_server){
			.id = i + 1,
			.addr = nth(&world->server, i, is_server_v6(world)),
			.port = world_is_one_way(world) ? SERVICE_PORT : SERVER_PORT,
			.flags = FL_SERVER_USED | (is_server_v6(world) ? FL_SERVER_V6 : 0),
			.generation = i + 1,
			.weight = 1,
			.tunnel = world->kind->tunnel,
			.tunnel_flags = world->kind->tunnel ? FL_TUNNEL_CLAMP : 0,
			.tunnel_dscp = FL_TUNNEL_INNER,
		};
	}
	add_block(image, FL_SECTION_LISTENS, listens, WORLD_HASH, sizeof(*listens));
	add_block(image, FL_SECTION_SOURCES, sources, WORLD_SOURCES, sizeof(*sources));
	add_block(image, FL_SECTION_SERVERS, servers, WORLD_SERVERS, sizeof(*servers));
	add_block(image, FL_SECTION_TABLES, table, WORLD_SERVERS / 2, sizeof(struct fl_table_pair));
	add_block(image, FL_SECTION_SERVICES, &service, 1, sizeof(service));
}

static int commit(struct world *world)
{
	static struct image image;
	struct fl_interface interfaces[2] = { { .ifindex = 1, .mtu = 1500 },
					      { .ifindex = 2, .mtu = 1500, .is_inside = 1 } };
	struct fl_settings settings = {
		.is_active = 1,
		.interface_count = 2,
		.vip_mask = WORLD_HASH - 1,
		.listen_mask = WORLD_HASH - 1,
	};

	for (u32 state = 0; state < FL_STATE_COUNT; state++)
		settings.timeout[state] = 1u << 20; /* days */
	memcpy(interfaces[0].mac, outside_mac, 6);
	memcpy(interfaces[1].mac, inside_mac, 6);
	image.size = 0;
	add_block(&image, FL_SECTION_SETTINGS, &settings, 1, sizeof(settings));
	add_block(&image, FL_SECTION_INTERFACES, interfaces, 2, sizeof(*interfaces));
	add_vips(&image, world);
	add_service(&image, world);
	return fl_region_commit(&world->region, image.octet, image.size);
}

static struct fl_sizes sizes_for(u32 flows, u32 workers)
{
	return (struct fl_sizes){ .count = {
					  [FL_SECTION_HEADER] = 1,
					  [FL_SECTION_SETTINGS] = 1,
					  [FL_SECTION_INTERFACES] = FL_INTERFACES_MOST,
					  [FL_SECTION_VIPS] = WORLD_HASH,
					  [FL_SECTION_LISTENS] = WORLD_HASH,
					  [FL_SECTION_RANGES] = 8,
					  [FL_SECTION_SERVICES] = 8,
					  [FL_SECTION_SOURCES] = WORLD_SOURCES,
					  [FL_SECTION_SERVERS] = WORLD_SERVERS,
					  [FL_SECTION_TABLES] = 512,
					  [FL_SECTION_HOPS] = WORLD_SERVERS,
					  [FL_SECTION_SERVICE_STATE] = 8,
					  [FL_SECTION_SERVER_STATE] = WORLD_SERVERS,
					  [FL_SECTION_WORKERS] = workers,
					  [FL_SECTION_TRAFFIC] = workers * WORLD_SERVERS,
					  [FL_SECTION_TAGS] = FL_SLOTS_FOR(flows) / FL_WAYS,
					  [FL_SECTION_FLOWS] = FL_SLOTS_FOR(flows),
					  [FL_SECTION_FLOWS6] = FL_SLOTS_FOR(flows),
					  [FL_SECTION_RETURNS] = FL_SLOTS_FOR(flows) / FL_WAYS,
					  [FL_SECTION_DATAGRAMS] = FL_DATAGRAMS,
					  [FL_SECTION_CLIENTS] = FL_CLIENTS,
					  [FL_SECTION_STICKIES] = flows / 32,
					  [FL_SECTION_LIMITS] = 8,
					  [FL_SECTION_ACCESS] = 64,
				  } };
}

static int open_world(struct world *world, const char *path, enum fl_open_mode mode, u32 flows, u32 workers)
{
	const struct fl_sizes sizes = sizes_for(flows, workers);
	const u32 net = FL_BE32(0x20010db8), last = world->is_v6 ? 3 : 0, server_last = is_server_v6(world) ? 3 : 0;
	enum fl_open_outcome outcome;
	u64 hop = (u64)FL_HOP_KNOWN << 56 | 1ull << 48;
	int code;

	if (world->is_v6)
		world->vip.word[0] = world->client.word[0] = net;
	if (is_server_v6(world))
		world->server.word[0] = world->source.word[0] = net;
	world->vip.word[last] = FL_BE32(0xcb00710a);	       /* 203.0.113.10 */
	world->client.word[last] = FL_BE32(0x0a400000);	       /* 10.64.0.0 */
	world->server.word[server_last] = FL_BE32(0x0a00010b); /* 10.0.1.11 */
	world->source.word[server_last] = FL_BE32(0xc6336440); /* 198.51.100.64 */
	world->reply = calloc(flows, sizeof(*world->reply));
	if (!world->reply)
		return fl_fail(-12, "no memory");
	code = fl_region_open(&world->region, path, mode, &sizes, workers, &outcome);
	if (!code)
		code = commit(world);
	if (code)
		return code;
	memcpy(&hop, server_mac, 6);
	for (u32 i = 0; i < WORLD_SERVERS; i++)
		world->region.hops[i] = hop;
	return 0;
}

static u32 room_for(u32 flows)
{
	return flows < WORLD_FLOWS ? WORLD_FLOWS : flows;
}

int world_open(struct world *world, const char *file, const struct world_kind *kind, bool is_v6, u32 flows)
{
	*world = (struct world){ .kind = kind, .is_v6 = is_v6 };
	return open_world(world, file, file ? FL_OPEN_FILE : FL_OPEN_MEMORY, room_for(flows), 1);
}

int world_open_maps(struct world *world, const struct world_kind *kind, u32 flows)
{
	int processors = libbpf_num_possible_cpus();

	*world = (struct world){ .kind = kind };
	return open_world(world, "", FL_OPEN_MAPS, room_for(flows), (u32)processors + 1);
}

void world_close(struct world *world)
{
	fl_region_close(&world->region);
	free(world->reply);
}

void world_empty(struct world *world)
{
	struct fl_region *region = &world->region;

	memset(region->tags, 0, region->count[FL_SECTION_TAGS] * sizeof(*region->tags));
	memset(region->flows, 0, region->count[FL_SECTION_FLOWS] * sizeof(*region->flows));
	memset(region->returns, 0, region->count[FL_SECTION_RETURNS] * sizeof(*region->returns));
	memset(region->server_state, 0, region->count[FL_SECTION_SERVER_STATE] * sizeof(*region->server_state));
	if (world->is_v6)
		memset(region->flows6, 0, region->count[FL_SECTION_FLOWS6] * sizeof(*region->flows6));
}

static struct end end_of(const struct world *world, const struct fl_addr *like, u32 last_word, u16 port)
{
	struct end end = { .addr = *like, .port = port };

	end.addr.word[world->is_v6 ? 3 : 0] = last_word;
	return end;
}

static struct packet_kind kind_of(const struct world *world, enum side side, u8 tcp_flags)
{
	struct packet_kind kind = { .is_v6 = world->is_v6, .protocol = 6, .tcp_flags = tcp_flags };

	memcpy(kind.from_mac, side == FROM_CLIENT ? client_mac : server_mac, 6);
	memcpy(kind.to_mac, side == FROM_CLIENT ? outside_mac : inside_mac, 6);
	return kind;
}

void world_frame_template(const struct world *world, enum side side, u8 tcp_flags, u8 *frame)
{
	struct packet_kind kind = kind_of(world, side, tcp_flags);
	u8 template[PACKET_ROOM];

	packet_template(template, &kind);
	memcpy(frame, template, packet_length(&kind));
}

void world_frames(const struct world *world, struct block *block, enum side side, u8 tcp_flags)
{
	struct packet_kind kind = kind_of(world, side, tcp_flags);
	const struct end service = { .addr = world->vip, .port = SERVICE_PORT };
	u8 template[PACKET_ROOM];

	packet_template(template, &kind);
	for (u32 i = 0; i < BLOCK; i++) {
		struct end from, to;

		if (side == FROM_CLIENT) {
			from = client_of(&world->client, block->flow[i], world->is_v6);
			to = service;
		} else {
			const struct reply *reply = &world->reply[block->flow[i]];
			const struct fl_addr *like =
				world->kind->method == FL_METHOD_FULL_NAT ? &world->source : &world->client;

			from = end_of(world, &world->server, reply->server, SERVER_PORT);
			to = end_of(world, like, reply->local, reply->local_port);
		}
		packet_fill(block->data[i] + BLOCK_HEAD, template, &kind, &from, &to);
		block->frame[i] = (struct fl_frame){
			.data = block->data[i] + BLOCK_HEAD,
			.len = packet_length(&kind),
			.room = PACKET_ROOM,
			.head = BLOCK_HEAD,
			.interface = side == FROM_SERVER,
		};
	}
}

void world_learn(struct world *world, const struct block *block)
{
	u32 source = world->is_v6 ? 34 : 26, target = world->is_v6 ? 50 : 30, port = world->is_v6 ? 54 : 34;

	if (world_is_one_way(world))
		return;
	for (u32 i = 0; i < BLOCK; i++) {
		struct reply *reply = &world->reply[block->flow[i]];

		memcpy(&reply->local, block->frame[i].data + source, 4);
		memcpy(&reply->server, block->frame[i].data + target, 4);
		memcpy(&reply->local_port, block->frame[i].data + port, 2);
	}
}

/* A flow that is not established may be evicted, and its frames take another way through the core. */
static void expect_established(const struct world *world)
{
	u32 established = 0;

	for (u64 i = 0; i < world->region.count[FL_SECTION_FLOWS]; i++)
		established += (world->region.flows[i].control & FL_STATE_MASK) == FL_STATE_ESTABLISHED;
	if (established + WORLD_STRAYS * (1 + world->flows / WORLD_FLOWS) >= world->flows)
		return;
	fprintf(stderr, "bench: of %u flows, %u became established\n", world->flows, established);
	exit(1);
}

void world_establish(struct world *world)
{
	static const struct {
		enum side side;
		u8 flags;
	} step[] = { { FROM_CLIENT, FL_TCP_SYN },
		     { FROM_SERVER, FL_TCP_SYN | FL_TCP_ACK },
		     { FROM_CLIENT, FL_TCP_ACK } };
	static struct fl_result results[BLOCK];
	static struct block block;

	for (u32 first = 0; first < world->flows; first += BLOCK) {
		for (u32 i = 0; i < BLOCK; i++)
			block.flow[i] = (first + i) % world->flows;
		for (u32 i = 0; i < 3; i++) {
			if (step[i].side == FROM_SERVER && world_is_one_way(world))
				continue;
			world_frames(world, &block, step[i].side, step[i].flags);
			for (u32 at = 0; at < BLOCK; at += FL_BATCH)
				fl_forward_batch(&world->region, &block.frame[at], &results[at], FL_BATCH, fl_now());
			if (i == 0)
				world_learn(world, &block);
		}
	}
	expect_established(world);
}
