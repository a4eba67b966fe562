/*
 * The guard's three programs over crafted frames: the kernel runs them (BPF_PROG_TEST_RUN), no wire is needed. Root only.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../core/trail.h"
#include "guard-fixture.h"

/* What socket filter and tc program agree on; 99 when they do not. The tap shows the filter the Ethernet header. */
static int ours(struct bytes frame)
{
	u32 copied = run(guard->filter_fd, &frame, 14);
	u32 host = run(guard->drop_fd, &frame, 0);

	if (copied == 0xffffffff && host == 2 /* TC_ACT_SHOT */)
		return 1;
	return copied == 0 && host == 0xffffffff /* TC_ACT_UNSPEC */ ? 0 : 99;
}

static void claim(const char *client, u16 client_port, const char *server, u16 server_port, u8 protocol, u32 choice)
{
	struct fl_addr client_addr = addr_of(client), server_addr = addr_of(server);
	int is_v6 = strchr(client, ':') != NULL;
	struct fl_home home =
		fl_home_of(memory.header.seed, BUCKETS, &client_addr, htons(client_port), protocol, is_v6);

	region.claims[home.bucket[choice] * FL_WAYS + 3] =
		fl_claim_of(memory.header.seed, &client_addr, htons(client_port), &server_addr, htons(server_port),
			    protocol, is_v6);
}

static void claims_clear(void)
{
	memset(region.claims, 0, BUCKETS * FL_WAYS * sizeof(u64));
}

static void test_owned(void)
{
	CASE("whatever is sent to an owned address is ours");
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80))) == 1);
	CHECK(ours(IP(CLIENT, VIP, UDP, PORTS(4000, 53))) == 1);
	CHECK(ours(IP(CLIENT, VIP, 1)) == 1);
	CHECK(ours(IP(CLIENT, VIP, 47)) == 1);
	CHECK(ours(IP(CLIENT, VIP, TCP, PORTS(4000, 80), .options = 40)) == 1);
	CHECK(ours(IP(CLIENT, VIP, UDP, .fragment = 0x2000)) == 1);
	CHECK(ours(IP(CLIENT, VIP, UDP, .fragment = 0x0005)) == 1);
	CHECK(ours(IP(CLIENT, POOL, TCP, PORTS(80, 2000))) == 1);
	CHECK(ours(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80))) == 1);
	CHECK(ours(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80), .options = 16)) == 1);
	CHECK(ours(IP(CLIENT6, VIP6, UDP, .fragment = 0x0008)) == 1);

	CASE("what is sent to another address is the host's");
	CHECK(ours(IP(CLIENT, OTHER, TCP, PORTS(4000, 80))) == 0);
	CHECK(ours(IP(VIP, OTHER, TCP, PORTS(80, 4000))) == 0);
	CHECK(ours(IP(CLIENT6, "2001:db8::11", TCP, PORTS(4000, 80))) == 0);
	CHECK(ours(ether(0x88cc)) == 0);

	CASE("an IPv6 address that begins like an owned IPv4 one is not owned");
	CHECK(ours(IP(CLIENT6, "c000:20a::", TCP, PORTS(4000, 80))) == 0);

	CASE("tags in the frame are looked through");
	CHECK(ours(tagged(IP(CLIENT, VIP, TCP, PORTS(4000, 80)), ETH_P_8021Q, 0)) == 1);
	CHECK(ours(tagged(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80)), ETH_P_8021AD, ETH_P_8021Q)) == 1);
	CHECK(ours(tagged(IP(CLIENT, OTHER, TCP, PORTS(4000, 80)), ETH_P_8021AD, ETH_P_8021Q)) == 0);

	CASE("a frame for another station is not ours");
	struct bytes frame = IP(CLIENT, VIP, TCP, PORTS(4000, 80));
	frame.data[0] = 2;
	CHECK(ours(frame) == 0);
}

static void test_questions(void)
{
	CASE("an ARP request for an owned address is ours, so that the host does not answer");
	CHECK(ours(arp(1, CLIENT, VIP)) == 1);
	CHECK(ours(tagged(arp(1, CLIENT, VIP), ETH_P_8021Q, 0)) == 1);
	CHECK(ours(arp(1, VIP, OTHER)) == 0);
	CHECK(ours(arp(1, SERVER, OTHER)) == 0);
	CHECK(ours(arp(2, OTHER, VIP)) == 0);

	CASE("a neighbour solicitation for an owned address is ours");
	CHECK(ours(solicitation(CLIENT6, "ff02::1:ff00:10", VIP6)) == 1);
	CHECK(ours(solicitation(CLIENT6, "ff02::1:ff00:10", "2001:db9::10")) == 0);
	struct bytes frame = solicitation(CLIENT6, "ff02::1:ff00:10", VIP6);
	frame.data[14 + 7] = 254;
	CHECK(ours(frame) == 0);
}

static void test_claims(void)
{
	const struct ip answer = { .from = SERVER, .to = CLIENT, .protocol = TCP, PORTS(8080, 4000) };
	const struct ip answer6 = { .from = SERVER6, .to = CLIENT6, .protocol = UDP, PORTS(53, 4001) };
	struct ip other;

	CASE("a nat server's frame is ours when a flow claims it, in either of its buckets");
	CHECK(ours(ip_frame(&answer)) == 0);
	for (u32 choice = 0; choice < 2; choice++) {
		claim(CLIENT, 4000, SERVER, 8080, TCP, choice);
		CHECK(ours(ip_frame(&answer)) == 1);
		claims_clear();
		CHECK(ours(ip_frame(&answer)) == 0);
		claim(CLIENT6, 4001, SERVER6, 53, UDP, choice);
		CHECK(ours(ip_frame(&answer6)) == 1);
		claims_clear();
	}

	CASE("headers between the addresses and the ports do not hide a claimed frame");
	claim(CLIENT, 4000, SERVER, 8080, TCP, 0);
	claim(CLIENT6, 4001, SERVER6, 53, UDP, 1);
	other = answer;
	other.options = 12;
	CHECK(ours(ip_frame(&other)) == 1);
	CHECK(ours(tagged(ip_frame(&answer), ETH_P_8021AD, ETH_P_8021Q)) == 1);
	other = answer6;
	other.options = 24;
	CHECK(ours(ip_frame(&other)) == 1);
	other.fragment = 0x0001; /* the first of several */
	CHECK(ours(ip_frame(&other)) == 1);

	CASE("the same server's other frames are the host's");
	other = answer;
	other.from_port = 8081;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer;
	other.to_port = 4001;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer;
	other.to = OTHER;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer;
	other.protocol = UDP;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer;
	other.protocol = 1;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer;
	other.fragment = 0x0005;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer6;
	other.to = OTHER;
	other.fragment = 0x0008;
	CHECK(ours(ip_frame(&other)) == 0);

	CASE("later fragments are ours when their first one was, and only those of its datagram");
	other = answer;
	other.protocol = UDP;
	claim(CLIENT, 4000, SERVER, 8080, UDP, 0);
	other.fragment = 0x2000;
	CHECK(ours(ip_frame(&other)) == 1);
	other.fragment = 0x0005;
	CHECK(ours(ip_frame(&other)) == 1);
	other.to = OTHER;
	CHECK(ours(ip_frame(&other)) == 0);
	other.to = CLIENT;
	other.protocol = TCP;
	CHECK(ours(ip_frame(&other)) == 0);
	other = answer6;
	other.fragment = 0x0010;
	CHECK(ours(ip_frame(&other)) == 1);

	CASE("a claim counts only for a nat server's address");
	claim(CLIENT, 4000, PROXIED, 8080, TCP, 0);
	CHECK(ours(IP(PROXIED, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	claim(CLIENT, 4000, OTHER, 8080, TCP, 0);
	CHECK(ours(IP(OTHER, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	claims_clear();
}

/* Is the frame ours at every length from that on, and never before? Only the filter is asked: test runs refuse a tc
 * program frames without their IP header. */
static bool ours_from(struct bytes frame, u32 length)
{
	for (u32 size = frame.size; size >= 14; size--) {
		frame.size = size;
		if ((run(guard->filter_fd, &frame, 14) != 0) != (size >= length))
			return false;
	}
	return true;
}

/* An ICMP error of a router to the host, about a packet that the host sent to somebody. */
static struct bytes told_by_router(const char *about, u32 quoted)
{
	bool is_v6 = strchr(about, ':') != NULL;
	struct bytes sent = IP(is_v6 ? OWN6 : OWN, about, 47);
	u8 payload[128] = { is_v6 ? 2 : 3, is_v6 ? 0 : 4 };

	memcpy(payload + 8, sent.data + 14, quoted);
	return IP(is_v6 ? ROUTER6 : ROUTER, is_v6 ? OWN6 : OWN, is_v6 ? ICMP6 : 1, .payload = payload,
		  .payload_size = 8 + quoted);
}

/* Both get it: 1; the host alone: 0; 99: it is kept from the host. */
static int shared(struct bytes frame)
{
	if (run(guard->drop_fd, &frame, 0) != 0xffffffff)
		return 99;
	return run(guard->filter_fd, &frame, 14) == 0xffffffff;
}

static void test_tunnels(void)
{
	struct bytes frame;

	CASE("what a router says about a packet to a server in a tunnel is read here, and the host gets it too");
	CHECK(shared(told_by_router(WRAPPED, 28)) == 1);
	CHECK(shared(told_by_router(WRAPPED6, 48)) == 1);
	CHECK(shared(told_by_router(WRAPPED, 20)) == 1);
	CHECK(shared(tagged(told_by_router(WRAPPED, 28), ETH_P_8021Q, 0)) == 1);

	CASE("about anybody else, in another protocol, for another station or cut short it is the host's alone");
	CHECK(shared(told_by_router(OTHER, 28)) == 0);
	CHECK(shared(told_by_router(SERVER, 28)) == 0);
	CHECK(shared(told_by_router(SERVER6, 48)) == 0);
	CHECK(shared(IP(ROUTER, OWN, UDP, PORTS(1, 2))) == 0);
	CHECK(shared(told_by_router(WRAPPED, 18)) == 0);
	CHECK(shared(told_by_router(WRAPPED6, 39)) == 0);
	frame = told_by_router(WRAPPED, 28);
	frame.data[0] = 2;
	CHECK(shared(frame) == 0);
	frame = told_by_router(WRAPPED, 28);
	frame.data[14 + 9] = TCP;
	CHECK(shared(frame) == 0);
}

/* An ICMP error of a router to a client, about this frame of it. */
static struct bytes error_quoting(const char *client, const struct bytes *sent, u8 type, u32 quoted)
{
	bool is_v6 = strchr(client, ':') != NULL;
	u8 payload[160] = { type };

	memcpy(payload + 8, sent->data + 14, quoted);
	return IP(is_v6 ? ROUTER6 : ROUTER, client, is_v6 ? ICMP6 : 1, .payload = payload, .payload_size = 8 + quoted);
}

/* The same, about what the client sent to a server. */
static struct bytes error_about(const char *client, const char *server, u8 protocol, u16 from_port, u16 to_port,
				u8 type, u32 quoted)
{
	struct bytes sent = IP(client, server, protocol, PORTS(from_port, to_port));

	return error_quoting(client, &sent, type, quoted);
}

static void test_errors(void)
{
	struct bytes frame;

	claim(CLIENT, 4000, SERVER, 8080, TCP, 0);
	claim(CLIENT6, 4001, SERVER6, 53, UDP, 1);

	CASE("an ICMP error about what a nat flow's client sent to its server is ours");
	for (u8 type = 0; type < 20; type++) {
		int is_error = type == 3 || type == 11 || type == 12, is_error6 = type >= 1 && type <= 4;

		CHECK(ours(error_about(CLIENT, SERVER, TCP, 4000, 8080, type, 40)) == is_error);
		CHECK(ours(error_about(CLIENT6, SERVER6, UDP, 4001, 53, type, 60)) == is_error6);
	}
	CHECK(ours(tagged(error_about(CLIENT, SERVER, TCP, 4000, 8080, 3, 28), ETH_P_8021Q, 0)) == 1);
	CHECK(ours_from(error_about(CLIENT, SERVER, TCP, 4000, 8080, 3, 28), 14 + 20 + 8 + 20));
	CHECK(ours_from(error_about(CLIENT6, SERVER6, UDP, 4001, 53, 1, 48), 14 + 40 + 8 + 40));

	CASE("about anybody else's packet, or to somebody else, it is the host's");
	CHECK(ours(error_about(CLIENT, SERVER, TCP, 4001, 8080, 3, 40)) == 0);
	CHECK(ours(error_about(CLIENT, SERVER, TCP, 4000, 8081, 3, 40)) == 0);
	CHECK(ours(error_about(CLIENT, SERVER, UDP, 4000, 8080, 3, 40)) == 0);
	CHECK(ours(error_about(CLIENT, OTHER, TCP, 4000, 8080, 3, 40)) == 0);
	CHECK(ours(error_about(OTHER, SERVER, TCP, 4000, 8080, 3, 40)) == 0);
	frame = error_about(CLIENT, SERVER, TCP, 4000, 8080, 3, 40);
	frame.data[14 + 19] ^= 1;
	CHECK(ours(frame) == 0);
	claims_clear();
	CHECK(ours(error_about(CLIENT, SERVER, TCP, 4000, 8080, 3, 40)) == 0);
}

static void test_quotes(void)
{
	struct bytes sent = IP(CLIENT6, SERVER6, UDP, PORTS(4001, 53), .options = 16);
	const u32 first = 14 + 40 + 8 + 40; /* of the quoted extension headers */

	claim(CLIENT, 4000, SERVER, 8080, TCP, 0);
	claim(CLIENT6, 4001, SERVER6, 53, UDP, 1);

	CASE("an ICMP error that quotes options, extension headers or a datagram's first fragment is ours");
	CHECK(ours(error_quoting(CLIENT6, &sent, 1, 40 + 16 + 8)) == 1);
	CHECK(ours_from(error_quoting(CLIENT6, &sent, 1, 40 + 16 + 8), first));
	sent = IP(CLIENT6, SERVER6, UDP, PORTS(4001, 53), .options = 24, .fragment = 0x0001);
	CHECK(ours(error_quoting(CLIENT6, &sent, 2, 40 + 32 + 8)) == 1);
	sent = IP(CLIENT, SERVER, TCP, PORTS(4000, 8080), .options = 12, .fragment = 0x2000);
	CHECK(ours(error_quoting(CLIENT, &sent, 3, 32 + 8)) == 1);

	CASE("one that quotes too little of what went to a nat server to tell by whom is ours to drop");
	for (u32 quoted = 0; quoted < 30; quoted++)
		CHECK(ours(error_about(CLIENT, SERVER, TCP, 4009, 8080, 3, quoted)) == (quoted >= 20 && quoted < 28));
	for (u32 quoted = 0; quoted < 50; quoted++)
		CHECK(ours(error_about(CLIENT6, SERVER6, UDP, 4009, 53, 1, quoted)) == (quoted >= 40 && quoted < 48));
	sent = IP(CLIENT6, SERVER6, UDP, PORTS(4009, 53), .options = 16);
	for (u32 quoted = 0; quoted < 66; quoted++)
		CHECK(ours(error_quoting(CLIENT6, &sent, 1, quoted)) == (quoted >= 40 && quoted < 64));
	sent = IP(CLIENT6, SERVER6, UDP, PORTS(4001, 53), .options = 16, .fragment = 0x0009);
	CHECK(ours(error_quoting(CLIENT6, &sent, 1, 40 + 24 + 8)) == 1);
	sent = IP(CLIENT, SERVER, TCP, PORTS(4000, 8080), .fragment = 0x0001);
	CHECK(ours(error_quoting(CLIENT, &sent, 3, 28)) == 1);
	sent = error_about(CLIENT, SERVER, TCP, 4009, 8080, 3, 24);
	sent.size += 40; /* a trailer is no quote */
	CHECK(ours(sent) == 1);
	CHECK(ours(error_about(CLIENT, OTHER, TCP, 4009, 8080, 3, 24)) == 0);
	CHECK(ours(error_about(CLIENT, PROXIED, TCP, 4009, 8080, 3, 24)) == 0);
	CHECK(ours(error_about(CLIENT, SERVER, 47, 4009, 8080, 3, 24)) == 0);
	CHECK(ours(error_about(CLIENT, SERVER, TCP, 4009, 8080, 8, 24)) == 0);

	CASE("headers that the core takes from nobody are the host's to judge");
	sent = IP(CLIENT6, SERVER6, UDP, PORTS(4001, 53), .options = 24);
	sent.data[14 + 6] = FL_PROTOCOL_ROUTING; /* of type 0 */
	CHECK(ours(error_quoting(CLIENT6, &sent, 1, 40 + 24 + 8)) == 0);
	sent.data[14 + 40 + 2] = 4;
	CHECK(ours(error_quoting(CLIENT6, &sent, 1, 40 + 24 + 8)) == 1);
	sent = IP(SERVER6, CLIENT6, UDP, PORTS(53, 4001), .options = 24);
	CHECK(ours(sent) == 1);
	sent.data[14 + 6] = FL_PROTOCOL_ROUTING;
	CHECK(ours(sent) == 0);
	claims_clear();
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

static u64 claim_of(const char *client, const char *server, u8 protocol)
{
	struct fl_addr client_addr = addr_of(client), server_addr = addr_of(server);

	return fl_claim_of(memory.header.seed, &client_addr, htons(4000), &server_addr, htons(8080), protocol,
			   strchr(client, ':') != NULL);
}

static u64 tick_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return ((u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec) >> FL_TICK_SHIFT;
}

static void leave_trail(const char *client, const char *server, u8 protocol, u64 seen)
{
	u64 claim = claim_of(client, server, protocol);

	region.trail_claims[fl_trail_place(claim)] = (struct fl_trail_claim){ .claim = claim, .seen = seen };
}

static void test_trails(void)
{
	u64 now = tick_now();

	CASE("the answer to what went without a flow is ours, for as long as a trail lasts");
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	leave_trail(CLIENT, SERVER, TCP, now);
	leave_trail(CLIENT6, SERVER6, TCP, now);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 1);
	CHECK(ours(IP(SERVER6, CLIENT6, TCP, PORTS(8080, 4000), .options = 16)) == 1);
	leave_trail(CLIENT, SERVER, TCP, now - FL_TRAIL_TICKS + 75); /* which leaves ten seconds */
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 1);
	leave_trail(CLIENT, SERVER, TCP, now - FL_TRAIL_TICKS - 1);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000))) == 0);

	CASE("the same server's other frames are the host's still, and what is in pieces");
	leave_trail(CLIENT, SERVER, TCP, now);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8081, 4000))) == 0);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4001))) == 0);
	CHECK(ours(IP(SERVER, OTHER, TCP, PORTS(8080, 4000))) == 0);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 4000), .fragment = 0x2000)) == 0);
	leave_trail(CLIENT, SERVER, UDP, now);
	CHECK(ours(IP(SERVER, CLIENT, UDP, PORTS(8080, 4000))) == 0);
	CHECK(ours(error_about(CLIENT, SERVER, TCP, 4000, 8080, 3, 40)) == 0);
	memset(region.trail_claims, 0, FL_TRAILS * sizeof(*region.trail_claims));
}

static void test_truncated(void)
{
	CASE("a frame cut anywhere is ours only if what makes it so can be read");
	CHECK(ours_from(IP(CLIENT, VIP, TCP, PORTS(4000, 80)), 14 + 20));
	CHECK(ours_from(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80), .options = 16), 14 + 40));
	CHECK(ours_from(tagged(IP(CLIENT, VIP, TCP, PORTS(4000, 80)), ETH_P_8021AD, ETH_P_8021Q), 14 + 8 + 20));
	CHECK(ours_from(arp(1, CLIENT, VIP), 14 + 28));
	CHECK(ours_from(solicitation(CLIENT6, "ff02::1:ff00:10", VIP6), 14 + 40 + 24));
	claim(CLIENT6, 4000, SERVER6, 80, TCP, 0);
	CHECK(ours_from(IP(SERVER6, CLIENT6, TCP, PORTS(80, 4000), .options = 16), 14 + 40 + 16 + 4));
	claims_clear();
}

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

int main(void)
{
	if (!fixture_open())
		return 1;
	test_owned();
	test_questions();
	test_claims();
	test_tunnels();
	test_errors();
	test_quotes();
	test_rights();
	test_trails();
	test_truncated();
	test_steer();
	test_update();
	test_adopted();
	fl_guard_close(guard);
	return check_end();
}
