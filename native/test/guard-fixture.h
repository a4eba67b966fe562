/*
 * A guard opened on a region of two halves in plain memory, in a network namespace of the test's own with a veth pair
 * v0-v1, and how to ask the guard's programs about a frame without a wire: the kernel runs them (BPF_PROG_TEST_RUN).
 */
#ifndef FL_GUARD_FIXTURE_H
#define FL_GUARD_FIXTURE_H

#include <errno.h>
#include <sched.h>
#include <bpf/bpf.h>

#include "../core/flow.h"
#include "../engine/guard.h"
#include "check.h"
#include "frames.h"

#define VIP "192.0.2.10"
#define VIP6 "2001:db8::10"
#define POOL "192.0.2.20"
#define SERVER "10.0.1.11"
#define SERVER6 "fd00:1::11"
#define PROXIED "10.0.1.12" /* a full-nat server */
#define WRAPPED "10.0.9.13" /* a server in a tunnel, an IPv6 one, and a router on the way to them */
#define WRAPPED6 "fd00:9::13"
#define ROUTER "10.0.8.1"
#define ROUTER6 "fd00:8::1"
#define OWN "10.0.1.1" /* of the host */
#define OWN6 "fd00:1::1"
#define CLIENT "198.51.100.7"
#define CLIENT6 "2001:db8:7::7"
#define OTHER "203.0.113.9"

#define BUCKETS 512 /* of the flow table */

static struct {
	struct fl_header header;
	struct fl_settings settings[2];
	struct fl_vip vips[2 * 16];
	struct fl_service services[2 * 4];
	struct fl_server servers[2 * 16];
	struct fl_flow flows[BUCKETS * FL_WAYS];
	struct fl_flow6 flows6[BUCKETS * FL_WAYS];
} memory;

static struct fl_region region = {
	.fd = -1,
	.header = &memory.header,
	.settings = memory.settings,
	.vips = memory.vips,
	.services = memory.services,
	.servers = memory.servers,
	.flows = memory.flows,
	.flows6 = memory.flows6,
	.count = {
		[FL_SECTION_HEADER] = 1,
		[FL_SECTION_SETTINGS] = 2,
		[FL_SECTION_VIPS] = 2 * 16,
		[FL_SECTION_SERVICES] = 2 * 4,
		[FL_SECTION_SERVERS] = 2 * 16,
		[FL_SECTION_FLOWS] = BUCKETS * FL_WAYS,
		[FL_SECTION_FLOWS6] = BUCKETS * FL_WAYS,
	},
};

static inline void vip_set(u32 half, u32 place, const char *text, u32 flags)
{
	memory.vips[half * 16 + place] = (struct fl_vip){
		.addr = addr_of(text),
		.flags = FL_VIP_USED | flags | (strchr(text, ':') ? FL_VIP_V6 : 0),
	};
}

static inline void server_set(u32 half, u32 slot, const char *text, u32 service)
{
	memory.servers[half * 16 + slot] = (struct fl_server){
		.addr = addr_of(text),
		.flags = FL_SERVER_USED | (strchr(text, ':') ? FL_SERVER_V6 : 0),
		.service = service,
	};
}

static inline void region_make(void)
{
	memset(&memory, 0, sizeof(memory));
	memory.header.seed[0] = 0x1234567812345678;
	memory.header.seed[1] = 0x9e3779b97f4a7c15;
	memory.header.seed[2] = 0xbf58476d1ce4e5b9;
	memory.header.seed[3] = 0x94d049bb133111eb;
	memory.header.buckets = BUCKETS;
	memory.header.worker_count = 4;
	for (u32 half = 0; half < 2; half++) {
		struct fl_settings *settings = &memory.settings[half];

		settings->is_active = 1;
		settings->vip_mask = 15;
		settings->server_capacity = 16;
		settings->first[FL_SECTION_VIPS] = half * 16;
		settings->first[FL_SECTION_SERVICES] = half * 4;
		settings->first[FL_SECTION_SERVERS] = half * 16;
		memory.services[half * 4].method = FL_METHOD_NAT;
		memory.services[half * 4 + 1].method = FL_METHOD_FULL_NAT;
		memory.services[half * 4 + 2].method = FL_METHOD_L3_DSR;
		vip_set(half, 3, VIP, FL_VIP_LISTENS);
		vip_set(half, 9, VIP6, FL_VIP_LISTENS);
		vip_set(half, 15, POOL, FL_VIP_SOURCE);
		server_set(half, 0, SERVER, 0);
		server_set(half, 5, SERVER6, 0);
		server_set(half, 6, PROXIED, 1);
		server_set(half, 8, WRAPPED, 2);
		server_set(half, 9, WRAPPED6, 2);
	}
}

static struct fl_guard *guard;

/* A program's word on a frame; `skip` octets before it, which the kernel takes for the Ethernet header. */
static inline u32 run(int program_fd, const struct bytes *frame, u32 skip)
{
	u8 data[sizeof(frame->data) + 14] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data, .data_size_in = frame->size + skip);

	memcpy(data, frame->data, 12); /* the station it is for decides skb->pkt_type */
	memcpy(data + skip, frame->data, frame->size);
	if (bpf_prog_test_run_opts(program_fd, &options) < 0) {
		printf("  test run: %s\n", strerror(errno));
		abort();
	}
	return options.retval;
}

/* What socket filter and tc program agree on; 99 when they do not. The tap shows the filter the Ethernet header. */
static inline int ours(struct bytes frame)
{
	u32 copied = run(guard->filter_fd, &frame, 14);
	u32 host = run(guard->drop_fd, &frame, 0);

	if (copied == 0xffffffff && host == 2 /* TC_ACT_SHOT */)
		return 1;
	return copied == 0 && host == 0xffffffff /* TC_ACT_UNSPEC */ ? 0 : 99;
}

/* Which worker a frame goes to; the program runs with the Ethernet header taken off. */
static inline u32 worker_for(struct bytes frame)
{
	return run(guard->steer_fd, &frame, 0);
}

/* As a worker claims the answers of a nat flow, in one of its two buckets. */
static inline void claim(const char *client, u16 client_port, const char *server, u16 server_port, u8 protocol,
			 u32 choice)
{
	struct fl_addr client_addr = addr_of(client), server_addr = addr_of(server);
	int is_v6 = strchr(client, ':') != NULL;
	struct fl_home home =
		fl_home_of(memory.header.seed, BUCKETS, &client_addr, htons(client_port), protocol, is_v6);

	region.claims[home.bucket[choice] * FL_WAYS + 3] =
		fl_claim_of(memory.header.seed, &client_addr, htons(client_port), &server_addr, htons(server_port),
			    protocol, is_v6);
}

static inline void claims_clear(void)
{
	memset(region.claims, 0, BUCKETS * FL_WAYS * sizeof(u64));
}

/* From port 4000 to port 8080. */
static inline u64 claim_of(const char *client, const char *server, u8 protocol)
{
	struct fl_addr client_addr = addr_of(client), server_addr = addr_of(server);

	return fl_claim_of(memory.header.seed, &client_addr, htons(4000), &server_addr, htons(8080), protocol,
			   strchr(client, ':') != NULL);
}

static inline u64 tick_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return ((u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec) >> FL_TICK_SHIFT;
}

/* False when there is nothing to test with. */
static inline bool fixture_open(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (unshare(CLONE_NEWNET) < 0) {
		perror("this test needs root, to make a network namespace");
		return false;
	}
	if (system("ip link set lo up && ip link add v0 mtu 9000 address 02:00:00:00:00:0a type veth "
		   "peer name v1 mtu 9000 && ip addr add 10.9.0.1/24 dev v0 && ip link set v0 up && "
		   "ip link set v1 up") != 0)
		return false;
	region_make();
	if (fl_guard_open(&guard, &region) == 0)
		return true;
	printf("%s\n", fl_error());
	return false;
}

#endif
