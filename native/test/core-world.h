/*
 * A small world for tests of the core: a region in memory with one service for each method, protocol and family, two
 * servers each, committed through a real image; frames built with every checksum; and what must hold of any region at
 * rest. Two interfaces: 0 outside with MTU 1500, 1 inside with MTU 1400.
 */
#ifndef FL_CORE_WORLD_H
#define FL_CORE_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/batch.h"
#include "../engine/engine.h"
#include "core-frames.h"

#define WORLD_SERVICES 16
#define WORLD_NATS 8	 /* the first of them; the others are dsr */
#define WORLD_SERVERS 32 /* two of each service: service * 2, service * 2 + 1 */
#define WORLD_VIPS 16
#define WORLD_LISTENS 64
#define WORLD_STICKIES 2 /* full soon */
#define WORLD_TICK (1ull << FL_TICK_SHIFT)
#define WORLD_VIP_PORT 80
#define WORLD_SERVER_PORT 8080

/* Bits of a service's number. */
#define WORLD_FULL_NAT 1 /* of the dsr ones: in a tunnel */
#define WORLD_UDP 2
#define WORLD_V6 4
#define WORLD_DSR 8

static inline struct fl_addr world_addr(u32 first, u32 last, int is_v6)
{
	struct fl_addr addr = { { FL_BE32(first) } };

	if (is_v6)
		addr.word[3] = FL_BE32(last);
	else
		addr.word[0] = FL_BE32(first + last);
	return addr;
}

/* 198.51.100.n, 2001:db8::n */
static inline struct fl_addr world_client(u32 number, int is_v6)
{
	return is_v6 ? world_addr(0x20010db8, 0x100 + number, 1) : world_addr(0xc6336400, number & 0xff, 0);
}

/* One VIP of each method and family: 203.0.113.10 to .13. */
static inline struct fl_addr world_vip(u32 service)
{
	u32 last = 10 + (service & WORLD_FULL_NAT) + (service & WORLD_DSR ? 2 : 0);

	return service & WORLD_V6 ? world_addr(0x20010db8, last, 1) : world_addr(0xcb007100, last, 0);
}

static inline int world_is_nat(u32 service)
{
	return !(service & WORLD_DSR);
}

static inline int world_is_full_nat(u32 service)
{
	return world_is_nat(service) && service & WORLD_FULL_NAT;
}

static inline int world_is_tunnel(u32 service)
{
	return service & WORLD_DSR && service & WORLD_FULL_NAT;
}

/* A tunnel's server over UDP is of the other family than what is inside. */
static inline int world_server_is_v6(u32 slot)
{
	u32 service = slot / 2;
	int is_v6 = service & WORLD_V6 ? 1 : 0;

	return world_is_tunnel(service) && service & WORLD_UDP ? !is_v6 : is_v6;
}

static inline struct fl_addr world_server(u32 slot)
{
	return world_server_is_v6(slot) ? world_addr(0xfd000000, 100 + slot, 1) : world_addr(0x0a000100, 100 + slot, 0);
}

/* 10.0.1.16, fd00::10: as prefixes of 16 addresses. */
static inline struct fl_addr world_tunnel_source(int is_v6)
{
	return is_v6 ? world_addr(0xfd000000, 16, 1) : world_addr(0x0a000100, 16, 0);
}

static inline u8 world_protocol(u32 service)
{
	return service & WORLD_UDP ? FL_PROTOCOL_UDP : FL_PROTOCOL_TCP;
}

struct world_image {
	u8 data[32768];
	size_t size;
};

static inline void *world_block_at(struct world_image *image, u32 section, u32 first, u32 count, size_t element)
{
	u32 head[4] = { section, first, count, 0 };
	u8 *content = image->data + image->size + sizeof(head);

	if (image->size + sizeof(head) + count * element + 8 > sizeof(image->data))
		abort();
	memcpy(image->data + image->size, head, sizeof(head));
	memset(content, 0, count * element + 7);
	image->size += sizeof(head) + ((count * element + 7) & ~7ull);
	return content;
}

static inline void *world_block(struct world_image *image, u32 section, u32 count, size_t element)
{
	return world_block_at(image, section, 0, count, element);
}

static inline u32 world_place(const struct fl_addr *addr, u32 port_and_protocol, const u8 *used, u32 mask)
{
	u32 at = fl_config_hash(addr, port_and_protocol);

	while (used[at & mask])
		at++;
	return at & mask;
}

static inline void world_write_front(struct world_image *image)
{
	struct fl_vip *vips = world_block(image, FL_SECTION_VIPS, WORLD_VIPS, sizeof(*vips));
	struct fl_listen *listens = world_block(image, FL_SECTION_LISTENS, WORLD_LISTENS, sizeof(*listens));
	u8 vip_used[WORLD_VIPS] = { 0 }, listen_used[WORLD_LISTENS] = { 0 };

	for (u32 service = 0; service < WORLD_SERVICES; service++) {
		struct fl_addr vip = world_vip(service);
		u16 port = FL_BE16(WORLD_VIP_PORT);
		u32 at;

		at = world_place(&vip, port | (u32)world_protocol(service) << 16, listen_used, WORLD_LISTENS - 1);
		listen_used[at] = 1;
		listens[at] = (struct fl_listen){
			.addr = vip,
			.port = port,
			.protocol = world_protocol(service),
			.flags = FL_LISTEN_USED | (service & WORLD_V6 ? FL_LISTEN_V6 : 0),
			.service = service,
		};
		if (service & WORLD_UDP)
			continue;
		at = world_place(&vip, 0, vip_used, WORLD_VIPS - 1);
		vip_used[at] = 1;
		vips[at] = (struct fl_vip){
			.addr = vip,
			.flags = FL_VIP_USED | FL_VIP_LISTENS | (service & WORLD_V6 ? FL_VIP_V6 : 0) |
				 (world_is_full_nat(service) ? FL_VIP_SOURCE : FL_VIP_HAIRPIN),
		};
	}
}

/* Generations with this bit are of slots that are given up. */
#define WORLD_GONE 0x80000000u

static inline int world_is_used(u32 generation)
{
	return generation && !(generation & WORLD_GONE);
}

/* What servers have, 0 for no limit; with one, those that the tables do not name are reserves. */
static u32 world_max_flows;

/* With so many unanswered SYNs services are compute-only; 0: never. */
static u32 world_half_open;

/* With nat a client in the servers' network has its flows entered as full-nat's. Some services refuse clients, some also those they have no room for, and some neither. */
static inline u32 world_service_flags(u32 service)
{
	static const u32 flags[] = { 0, FL_SERVICE_REFUSES, FL_SERVICE_REFUSES | FL_SERVICE_REFUSES_FULL };

	return flags[service % 3] | FL_SERVICE_HAIRPIN;
}

/* Half of the services of each method remember their clients: by address, by a prefix, by address and port. */
static inline int world_is_sticky(u32 service)
{
	return __builtin_popcount(service) % 2;
}

static inline u8 world_sticky_by(u32 service)
{
	static const u8 by[2][3] = { { 32, 29, FL_STICKY_PORT }, { 128, 125, FL_STICKY_PORT } };

	return by[service & WORLD_V6 ? 1 : 0][service % 3];
}

/* Schedulers go round by service, from this one on. */
static u32 world_first_scheduler = FL_SCHEDULER_SEQUENCE;

static inline u8 world_scheduler(u32 service)
{
	u32 number = world_first_scheduler - FL_SCHEDULER_SEQUENCE + service;

	return FL_SCHEDULER_SEQUENCE + number % (FL_SCHEDULER_COUNT - FL_SCHEDULER_SEQUENCE);
}

/* Servers, bit by bit, whose connections go to another when they are ended. */
static u32 world_moving;

/* A server is gone when its generation is 0 or says so; `taking` are those that the tables name, bit by bit. Tables
 * lie in one of two extents, as one that is in use must not be written. */
static inline void world_write_services(struct world_image *image, const u32 *generations, u32 taking, u32 extent)
{
	static const u8 methods[] = { FL_METHOD_NAT, FL_METHOD_FULL_NAT, FL_METHOD_L2_DSR, FL_METHOD_L3_DSR };
	struct fl_addr *sources = world_block(image, FL_SECTION_SOURCES, 2, sizeof(*sources));
	struct fl_service *services = world_block(image, FL_SECTION_SERVICES, WORLD_SERVICES, sizeof(*services));
	struct fl_server *servers = world_block(image, FL_SECTION_SERVERS, WORLD_SERVERS, sizeof(*servers));
	u32 *tables = world_block_at(image, FL_SECTION_TABLES, extent * WORLD_SERVERS / 2, WORLD_SERVERS / 2,
				     sizeof(struct fl_table_pair));

	for (u32 i = 0; i < 2; i++)
		sources[i] = world_tunnel_source(i);
	for (u32 service = 0; service < WORLD_SERVICES; service++) {
		u32 count = 0, reserves = 0;

		for (u32 slot = service * 2; slot < service * 2 + 2; slot++) {
			servers[slot] = (struct fl_server){
				.id = slot + 1,
				.addr = world_server(slot),
				.port = world_is_nat(service) ? FL_BE16(WORLD_SERVER_PORT) : 0,
				.flags = world_is_used(generations[slot])
						 ? FL_SERVER_USED | (world_server_is_v6(slot) ? FL_SERVER_V6 : 0) |
							   (world_moving >> slot & 1 ? FL_SERVER_MOVES : 0) |
							   (taking >> slot & 1 ? 0 : FL_SERVER_RESERVE)
						 : 0,
				.tunnel = world_is_tunnel(service) ? FL_TUNNEL_GRE + slot % 3 : FL_TUNNEL_NONE,
				.tunnel_flags = FL_TUNNEL_CLAMP | (slot & 4 ? FL_TUNNEL_KEY | FL_TUNNEL_FRAGMENT : 0),
				.tunnel_ttl = slot & 8 ? 9 : 0,
				.tunnel_dscp = slot & 8 ? 46 : FL_TUNNEL_INNER,
				.source_bits = slot & 1 ? 4 : 0,
				.tunnel_port = FL_BE16(6080),
				.tunnel_key = FL_BE32(slot),
				.source = world_server_is_v6(slot),
				.generation = generations[slot] & ~WORLD_GONE,
				.service = service,
				.weight = 1 + (slot & 1),
				.max_flows = world_max_flows,
			};
			if (world_is_used(generations[slot]) && taking >> slot & 1)
				tables[service * 2 + count++] = slot;
		}
		for (u32 slot = service * 2; slot < service * 2 + 2; slot++)
			if (world_max_flows && world_is_used(generations[slot]) && !(taking >> slot & 1))
				tables[service * 2 + count + reserves++] = slot;
		services[service] = (struct fl_service){
			.id = service + 1,
			.method = methods[(service & WORLD_FULL_NAT) + (service & WORLD_DSR ? 2 : 0)],
			.scheduler = world_scheduler(service),
			.is_v6 = service & WORLD_V6 ? 1 : 0,
			.flags = world_service_flags(service),
			.limit = service % 4 == 1,
			.sticky_ticks = world_is_sticky(service) ? 75 : 0, /* 10 s */
			.sticky_by = world_sticky_by(service),
			.half_open = world_half_open,
			.table_first = extent * WORLD_SERVERS + service * 2,
			.table_count = count,
			.member_first = extent * WORLD_SERVERS + service * 2,
			.member_count = count,
			.reserve_count = reserves,
		};
	}
}

/* What a client network may have of flows, and a service of new ones a second, with some services; 0 for no limit. */
static u32 world_limit = 40;

#define WORLD_RANGES 5 /* of nat servers of a family: two services' two, and what is around them */

/* A client network has few flows with some services, and part of the clients none; behind that, who nat servers are. */
static inline void world_write_limits(struct world_image *image)
{
	struct fl_limit *limit = world_block(image, FL_SECTION_LIMITS, 1, sizeof(*limit));
	struct fl_access *access = world_block(image, FL_SECTION_ACCESS, 2 + 2 * WORLD_RANGES, sizeof(*access));

	*limit = (struct fl_limit){ .access_count = 2,
				    .client_flows = world_limit,
				    .client_of = FL_CLIENT_NETWORK,
				    .rate = 256 * world_limit };
	access[0].is_allowed = 1;
	access[1].first_host.word[0] = 0xff000000; /* nobody's */
	for (u32 i = 0; i < 2 * WORLD_RANGES; i++) {
		u32 is_v6 = i / WORLD_RANGES, range = i % WORLD_RANGES;
		u32 slot =
			(is_v6 ? WORLD_V6 * 2 : 0) + (range - 1) * 2; /* 0, 2, 4, 6: every other service is full-nat */
		struct fl_addr first = range ? world_server(slot) : (struct fl_addr){ 0 };

		for (u32 word = 0; word < 4; word++)
			access[2 + i].first_host.word[word] = FL_BE32(first.word[word]);
		access[2 + i].is_allowed = range & 1;
	}
}

static inline void world_write_settings(struct world_image *image)
{
	static const u32 seconds[FL_STATE_COUNT] = { 0, 0, 60, 60, 900, 120, 120, 10, 300, 300 };
	struct fl_settings *settings = world_block(image, FL_SECTION_SETTINGS, 1, sizeof(*settings));
	struct fl_interface *interfaces = world_block(image, FL_SECTION_INTERFACES, 2, sizeof(*interfaces));

	settings->is_active = 1;
	settings->interface_count = 2;
	settings->vip_mask = WORLD_VIPS - 1;
	settings->listen_mask = WORLD_LISTENS - 1;
	settings->icmp_per_tick = 4;
	settings->rst_per_tick = 4;
	settings->is_refusing = 1;
	for (u32 is_v6 = 0; is_v6 < 2; is_v6++) {
		settings->nat_first[is_v6] = 2 + is_v6 * WORLD_RANGES;
		settings->nat_count[is_v6] = WORLD_RANGES;
	}
	for (u32 is_v6 = 0; is_v6 < 2; is_v6++) { /* of one client */
		settings->networks[is_v6] = (struct fl_network){
			.addr = world_client(5, is_v6),
			.interface = 1,
			.family = FL_NETWORK_V4 + is_v6,
		};
		memset(&settings->networks[is_v6].mask, 0xff, 16);
	}
	for (int state = 0; state < FL_STATE_COUNT; state++)
		settings->timeout[state] = seconds[state] * 1000000000ull / WORLD_TICK + 1;
	for (u32 i = 0; i < 2; i++)
		interfaces[i] = (struct fl_interface){
			.ifindex = 2 + i,
			.mtu = 1500 - 100 * i,
			.mac = { 2, 0, 0, 0, 0, 1 + i },
			.is_inside = i,
			.address4 = world_addr(i ? 0x0a000100 : 0xcb007100, 1, 0).word[0],
			.address6 = world_addr(i ? 0xfd000000 : 0x20010db8, 1, 1),
		};
}

static inline int world_commit_taking(struct fl_region *region, const u32 *generations, u32 taking)
{
	static _Thread_local struct world_image image;
	int code;

	image.size = 0;
	world_write_limits(&image);
	world_write_settings(&image);
	world_write_front(&image);
	world_write_services(&image, generations, taking, region->header->generation & 1);
	code = fl_region_commit(region, image.data, image.size);
	for (u32 slot = 0; !code && slot < WORLD_SERVERS; slot++) {
		u8 hop[8] = { 2, 0, 0, 0, 1, slot, 1, FL_HOP_KNOWN };
		u64 word;

		memcpy(&word, hop, 8);
		fl_store(&region->hops[slot], word);
	}
	return code;
}

/* Commits these servers; each one's next hop is then known, behind the inside interface. */
static inline int world_commit(struct fl_region *region, const u32 *generations)
{
	return world_commit_taking(region, generations, ~0u);
}

static inline struct fl_sizes world_sizes(u64 slots, u32 workers)
{
	return (struct fl_sizes){
		.count = {
			[FL_SECTION_HEADER] = 1,
			[FL_SECTION_SETTINGS] = 1,
			[FL_SECTION_INTERFACES] = FL_INTERFACES_MOST,
			[FL_SECTION_VIPS] = WORLD_VIPS,
			[FL_SECTION_LISTENS] = WORLD_LISTENS,
			[FL_SECTION_RANGES] = 1,
			[FL_SECTION_SERVICES] = WORLD_SERVICES,
			[FL_SECTION_SOURCES] = 2,
			[FL_SECTION_SERVERS] = WORLD_SERVERS,
			[FL_SECTION_TABLES] = WORLD_SERVERS,
			[FL_SECTION_HOPS] = WORLD_SERVERS,
			[FL_SECTION_SERVICE_STATE] = WORLD_SERVICES,
			[FL_SECTION_SERVER_STATE] = WORLD_SERVERS,
			[FL_SECTION_WORKERS] = workers,
			[FL_SECTION_TRAFFIC] = (u64)workers * WORLD_SERVERS,
			[FL_SECTION_TAGS] = slots / FL_WAYS,
			[FL_SECTION_FLOWS] = slots,
			[FL_SECTION_FLOWS6] = slots,
			[FL_SECTION_RETURNS] = slots / FL_WAYS,
			[FL_SECTION_DATAGRAMS] = FL_DATAGRAMS,
			[FL_SECTION_TRAILS] = FL_TRAILS,
			[FL_SECTION_CLIENTS] = FL_CLIENTS,
			[FL_SECTION_STICKIES] = WORLD_STICKIES,
			[FL_SECTION_LIMITS] = 8,
			[FL_SECTION_ACCESS] = 64,
		},
	};
}

static inline void world_generations(u32 *generations)
{
	for (u32 slot = 0; slot < WORLD_SERVERS; slot++)
		generations[slot] = 1;
}

static inline void world_open(struct fl_region *region, u64 slots, u32 workers)
{
	struct fl_sizes sizes = world_sizes(slots, workers);
	enum fl_open_outcome outcome;
	u32 generations[WORLD_SERVERS];

	world_generations(generations);
	if (fl_region_open(region, "", FL_OPEN_MEMORY, &sizes, workers, &outcome) ||
	    world_commit(region, generations)) {
		fprintf(stderr, "no world: %s\n", fl_error());
		abort();
	}
}

#include "core-fault.h"

#endif
