/*
 * To which worker the guard steers a frame, and what it follows: commits, and the flows and trails of a region that it
 * adopts. Root only.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../core/trail.h"
#include "guard-fixture.h"

static void test_steer(void)
{
	u32 share[4] = { 0 };
	bool is_agreed = true, is_home = true;

	CASE("both directions of a nat flow meet the same worker, and workers share evenly");
	for (u32 i = 0; i < 1000; i++) {
		char client[32];
		u32 worker;

		snprintf(client, sizeof(client), "198.51.%u.%u", i % 50, 1 + i % 200);
		worker = worker_for(IP(client, VIP, TCP, PORTS(1024 + i, 80))) & 3;
		is_agreed &= worker == worker_for(IP(SERVER, client, TCP, PORTS(8080, 1024 + i)));
		is_agreed &= worker == worker_for(IP(PROXIED, client, TCP, PORTS(8080, 1024 + i)));
		share[worker]++;
	}
	CHECK(is_agreed);
	for (u32 i = 0; i < 4; i++)
		CHECK(share[i] > 180 && share[i] < 320);
	CHECK(worker_for(IP(CLIENT6, VIP6, UDP, PORTS(999, 53))) ==
	      worker_for(IP(SERVER6, CLIENT6, UDP, PORTS(53, 999))));

	CASE("a full-nat server's answer goes to the worker that chose the port");
	for (u16 port = 1024; port < 1100; port++)
		is_home &= worker_for(IP(PROXIED, POOL, TCP, PORTS(8080, port))) == port % 4u;
	CHECK(is_home);

	CASE("whatever cannot be steered goes to some worker");
	CHECK(worker_for(arp(1, CLIENT, VIP)) < 4);
	CHECK(worker_for(IP(CLIENT, VIP, UDP, .fragment = 5)) < 4);

	CASE("all fragments of a datagram meet one worker, whatever ports the first one has");
	is_home = true;
	for (u16 port = 1; port < 100; port++)
		is_home &= worker_for(IP(CLIENT, VIP, UDP, PORTS(port, 53), .fragment = 0x2000)) ==
			   worker_for(IP(CLIENT, VIP, UDP, .fragment = 5));
	CHECK(is_home);
	CHECK(worker_for(ether(0x88cc)) == 0);
}

static void test_update(void)
{
	CASE("a commit's addresses are ours from then on, and those that left are the host's");
	server_set(1, 0, OTHER, 0);
	vip_set(1, 3, "192.0.2.11", FL_VIP_LISTENS);
	memory.header.active_half = 1;
	CHECK(fl_guard_update(guard) == 0);
	claim(CLIENT, 4000, OTHER, 8080, TCP, 0);
	CHECK(ours(IP(OTHER, CLIENT, TCP, PORTS(8080, 4000))) == 1);
	claim(CLIENT, 4000, SERVER, 8080, TCP, 0);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	CHECK(ours(IP(CLIENT, "192.0.2.11", TCP, PORTS(4000, 80))) == 1);
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80))) == 0);
	CHECK(ours(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80))) == 1);

	CASE("after a change that failed half-way the next one puts things right");
	memory.header.active_half = 0;
	guard->owned.is_uncertain = guard->servers.is_uncertain = true;
	CHECK(fl_guard_update(guard) == 0);
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80))) == 1);
	CHECK(ours(IP(CLIENT, "192.0.2.11", TCP, PORTS(4000, 80))) == 0);

	CASE("a standby owns nothing");
	memory.settings[0].is_active = 0;
	CHECK(fl_guard_update(guard) == 0);
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80))) == 0);
	memory.settings[0].is_active = 1;
	CHECK(fl_guard_update(guard) == 0);
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80))) == 1);

	CASE("an address that serves nat and full-nat is claimed for nat and steered for full-nat");
	server_set(0, 7, PROXIED, 0);
	CHECK(fl_guard_update(guard) == 0);
	claim(CLIENT, 4000, PROXIED, 8080, TCP, 0);
	CHECK(ours(IP(PROXIED, CLIENT, TCP, PORTS(8080, 4000))) == 1);
	CHECK(worker_for(IP(PROXIED, POOL, TCP, PORTS(8080, 1027))) == 3);
	claims_clear();
}

static void flow_set(u32 index, u32 state, u8 flags, const char *client, const char *server)
{
	memory.flows[index] = (struct fl_flow){
		.control = state,
		.flags = flags,
		.client = addr_of(client).word[0],
		.server = addr_of(server).word[0],
		.client_port = htons(5000),
		.server_port = htons(8080),
		.protocol = TCP,
	};
	memory.flows6[index].client = addr_of(client);
	memory.flows6[index].server = addr_of(server);
}

static u32 home_of(const char *client)
{
	struct fl_addr addr = addr_of(client);

	return fl_home_of(memory.header.seed, BUCKETS, &addr, htons(5000), TCP, strchr(client, ':') != NULL).bucket[1] *
	       FL_WAYS;
}

static void test_adopted(void)
{
	static struct fl_trail trails[FL_TRAILS];
	u64 trail = claim_of(CLIENT, SERVER, TCP);

	CASE("the flows of an adopted region are claimed at once, and its trails");
	fl_guard_close(guard);
	CHECK(region.claims == NULL);
	region_make();
	flow_set(home_of(CLIENT), FL_STATE_ESTABLISHED, 0, CLIENT, SERVER);
	flow_set(home_of(CLIENT6), FL_STATE_UDP_TWO_WAY, FL_FLOW_V6, CLIENT6, SERVER6);
	flow_set(home_of("198.51.100.8"), FL_STATE_FREE, 0, "198.51.100.8", SERVER);
	flow_set(home_of("198.51.100.9"), FL_STATE_ESTABLISHED, FL_FLOW_FULL_NAT, "198.51.100.9", SERVER);
	trails[fl_trail_place(trail)] = (struct fl_trail){ .hop = 5, .server = 7, .seen = (u32)tick_now() };
	trails[fl_trail_place(trail)].check = trail ^ fl_trail_mix(memory.header.seed, &trails[fl_trail_place(trail)]);
	region.trails = trails;
	region.count[FL_SECTION_TRAILS] = FL_TRAILS;
	CHECK(fl_guard_open(&guard, &region) == 0);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 1);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 5000))) == 1);
	CHECK(ours(IP(SERVER6, CLIENT6, TCP, PORTS(8080, 5000))) == 1);
	CHECK(ours(IP(SERVER, "198.51.100.8", TCP, PORTS(8080, 5000))) == 0);
	CHECK(ours(IP(SERVER, "198.51.100.9", TCP, PORTS(8080, 5000))) == 0);
}

/* Opens a guard with no more rights than packet is said to need: 0. */
static int open_with_few_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct rights[2] = { { 0 } };
	struct fl_guard *own;

	rights[0].effective = rights[0].permitted = 1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW;
	rights[1].effective = rights[1].permitted = 1u << (CAP_BPF - 32);
	if (syscall(SYS_capset, &header, rights) < 0 || fl_guard_open(&own, &region) < 0) {
		printf("  %s\n", fl_error());
		return 1;
	}
	fl_guard_close(own);
	return 0;
}

static void test_rights(void)
{
	int status = -1;
	pid_t child;

	CASE("the verifier takes it also from who lacks CAP_PERFMON, and follows each way by itself then");
	child = fork();
	if (child == 0)
		_exit(open_with_few_rights());
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
	if (!fixture_open())
		return 1;
	test_steer();
	test_update();
	test_rights();
	test_adopted();
	fl_guard_close(guard);
	return check_end();
}
