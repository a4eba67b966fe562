/*
 * The neighbour thread against a real kernel: a namespace of the test's own, and a peer in another one that a child
 * process holds. Each case changes something with ip(8) and waits for the hop to say so. Root only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../engine/engine.h"
#include "check.h"

#define SLOTS 64
#define NEAR 0	    /* a server on the link */
#define NEAR_TOO 40 /* the same address in another service */
#define NEAR6 1
#define FAR 2 /* servers behind a gateway */
#define FAR_TOO 3
#define NOBODY 4 /* on the link, but no such host */
#define NEW 5
#define DEADLINE_MS 2500 /* below the 3 s in which the kernel gives up: what must happen at once cannot pass by that */
#define GIVING_UP_MS 8000

static struct {
	struct fl_header header;
	struct fl_settings settings[2];
	struct fl_interface interfaces[2 * 2];
	struct fl_server servers[2 * SLOTS];
	u64 hops[SLOTS];
} memory;

static struct fl_region region = {
	.fd = -1,
	.header = &memory.header,
	.settings = memory.settings,
	.interfaces = memory.interfaces,
	.servers = memory.servers,
	.hops = memory.hops,
	.count = {
		[FL_SECTION_HEADER] = 1,
		[FL_SECTION_SETTINGS] = 2,
		[FL_SECTION_INTERFACES] = 2 * 2,
		[FL_SECTION_SERVERS] = 2 * SLOTS,
		[FL_SECTION_HOPS] = SLOTS,
	},
};

static struct fl_neighbour *neighbour;
static u32 events;
static int wake;
static pid_t peer;

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
	char command[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return system(command);
}

#define RUN(...) CHECK(shell(__VA_ARGS__) == 0)
#define PEER "nsenter -t %d -n "

/* Another namespace lives as long as this child. */
static pid_t peer_start(void)
{
	int ready[2];
	char octet;
	pid_t pid;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &octet, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static void server_set(u32 half, u32 slot, const char *text)
{
	struct fl_server *server = &memory.servers[half * SLOTS + slot];

	memset(server, 0, sizeof(*server));
	if (!text)
		return;
	server->flags = FL_SERVER_USED | (strchr(text, ':') ? FL_SERVER_V6 : 0);
	inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &server->addr);
}

static void half_set(u32 half)
{
	memory.settings[half].interface_count = 2;
	memory.settings[half].first[FL_SECTION_INTERFACES] = half * 2;
	memory.settings[half].first[FL_SECTION_SERVERS] = half * SLOTS;
	memory.interfaces[half * 2 + 1].ifindex = if_nametoindex("v0"); /* so its id is 1 */
	memory.interfaces[half * 2].ifindex = if_nametoindex("w0");
	server_set(half, NEAR, "10.1.0.2");
	server_set(half, NEAR_TOO, "10.1.0.2");
	server_set(half, NEAR6, "fd01::2");
	server_set(half, FAR, "10.9.1.1");
	server_set(half, FAR_TOO, "10.9.1.2");
	server_set(half, NOBODY, "10.1.0.99");
}

static void commit(void)
{
	memory.header.active_half ^= 1;
	memory.header.generation++;
	fl_neighbour_refresh(neighbour);
}

/* "02:00:00:00:00:0b@1", or "unknown" */
static const char *hop_text(u32 slot)
{
	static char text[32];
	u64 word = __atomic_load_n(&memory.hops[slot], __ATOMIC_ACQUIRE);
	const u8 *octet = (const u8 *)&word;

	if (octet[7] != FL_HOP_KNOWN)
		return "unknown";
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x@%u", octet[0], octet[1], octet[2], octet[3],
		 octet[4], octet[5], octet[6]);
	return text;
}

/* Woken by the thread's own events; a deadline ends it and shows what was there last. */
static bool becomes_within(u32 slot, const char *wanted, u32 limit_ms)
{
	struct pollfd watched = { .fd = wake, .events = POLLIN };
	u64 deadline = fl_now() + limit_ms * 1000000ull, count;

	while (strcmp(hop_text(slot), wanted) != 0) {
		if (fl_now() > deadline) {
			printf("  slot %u is %s, not %s\n", slot, hop_text(slot), wanted);
			return false;
		}
		poll(&watched, 1, 50);
		if (read(wake, &count, sizeof(count)) < 0)
			continue;
	}
	return true;
}

static bool becomes(u32 slot, const char *wanted)
{
	return becomes_within(slot, wanted, DEADLINE_MS);
}

/* Was it raised since last asked? Waits a while for it. */
static bool is_raised(u32 event)
{
	struct pollfd watched = { .fd = wake, .events = POLLIN };
	u64 deadline = fl_now() + DEADLINE_MS * 1000000ull, count;

	while (!(__atomic_load_n(&events, __ATOMIC_SEQ_CST) & event) && fl_now() < deadline) {
		poll(&watched, 1, 50);
		if (read(wake, &count, sizeof(count)) < 0)
			continue;
	}
	return __atomic_fetch_and(&events, ~event, __ATOMIC_SEQ_CST) & event;
}

static void forget(u32 event)
{
	__atomic_fetch_and(&events, ~event, __ATOMIC_SEQ_CST);
}

static void test_resolve(void)
{
	CASE("servers are found on the link and behind a gateway, in both families, once for all services");
	CHECK(becomes(NEAR, "02:00:00:00:00:0b@1"));
	CHECK(becomes(NEAR_TOO, "02:00:00:00:00:0b@1"));
	CHECK(becomes(NEAR6, "02:00:00:00:00:0b@1"));
	CHECK(becomes(FAR, "02:00:00:00:00:0b@1"));
	CHECK(becomes(FAR_TOO, "02:00:00:00:00:0b@1"));
	CHECK(is_raised(FL_EVENT_NEIGHBOUR));

	CASE("a server that nobody answers for is unknown, whatever a predecessor knew");
	CHECK(becomes_within(NOBODY, "unknown", GIVING_UP_MS));
}

static void test_follow(void)
{
	CASE("a neighbour that announces another MAC is followed");
	RUN(PEER "ip link set v1 address 02:00:00:00:00:1b", peer);
	CHECK(becomes(NEAR, "02:00:00:00:00:1b@1"));
	CHECK(becomes(NEAR_TOO, "02:00:00:00:00:1b@1"));
	CHECK(becomes(FAR, "02:00:00:00:00:1b@1"));

	CASE("a flush of the neighbour table is completed, loses no hop, and the kernel is soon asked again");
	forget(FL_EVENT_NEIGHBOUR);
	RUN("ip -4 neigh flush dev v0");
	RUN("for i in $(seq 500); do ip neigh show 10.1.0.2 dev v0 | grep -q REACHABLE && exit; done; ip neigh; exit "
	    "1");
	CHECK(!(__atomic_load_n(&events, __ATOMIC_SEQ_CST) & FL_EVENT_NEIGHBOUR));

	CASE("a permanent neighbour counts, and stays permanent");
	RUN("ip neigh replace 10.1.0.5 lladdr 02:00:00:00:00:55 dev v0 nud permanent");
	RUN("ip route replace 10.9.1.2 via 10.1.0.5");
	CHECK(becomes(FAR_TOO, "02:00:00:00:00:55@1"));
	CHECK(becomes(FAR, "02:00:00:00:00:1b@1"));
	RUN("ip neigh show 10.1.0.5 dev v0 | grep -q PERMANENT");

	CASE("an IPv4 route by an IPv6 gateway is followed");
	RUN("ip neigh replace fd01::6 lladdr 02:00:00:00:00:66 dev v0 nud permanent");
	RUN("ip route replace 10.9.1.2 via inet6 fd01::6 dev v0");
	CHECK(becomes(FAR_TOO, "02:00:00:00:00:66@1"));

	CASE("a neighbour that failed makes its servers unknown");
	RUN("ip neigh replace 10.1.0.5 lladdr 02:00:00:00:00:55 dev v0 nud permanent");
	RUN("ip route replace 10.9.1.2 via 10.1.0.5");
	CHECK(becomes(FAR_TOO, "02:00:00:00:00:55@1"));
	RUN("ip neigh del 10.1.0.5 dev v0");
	CHECK(becomes_within(FAR_TOO, "unknown", GIVING_UP_MS));

	CASE("until a new gateway was heard of, servers keep the old one");
	RUN("ip route replace 10.9.1.1 via 10.1.0.6");
	RUN("ip route replace 10.9.1.2 via 10.1.0.3");
	CHECK(becomes(FAR_TOO, "02:00:00:00:00:1b@1"));
	CHECK(becomes(FAR, "02:00:00:00:00:1b@1"));
	RUN("ip route del 10.9.1.1; ip route del 10.9.1.2");

	CASE("rules and tables are the kernel's business: a rule that forbids makes a server unknown");
	RUN("ip route add unreachable default table 77 && ip rule add to 10.9.1.1 table 77 pref 10");
	CHECK(becomes(FAR, "unknown"));
	RUN("ip rule del pref 10");
	CHECK(becomes(FAR, "02:00:00:00:00:1b@1"));

	CASE("a server behind an interface that is not ours is unknown");
	RUN("ip route replace 10.9.1.1 via 10.3.0.2 dev x0");
	CHECK(becomes(FAR, "unknown"));
	RUN("ip route del 10.9.1.1");
	CHECK(becomes(FAR, "02:00:00:00:00:1b@1"));
}

static void test_commit(void)
{
	u32 half = memory.header.active_half ^ 1;

	CASE("a commit's new server is found, and a removed one's slot holds nothing");
	server_set(half, NEW, "10.1.0.3");
	server_set(half, NEAR_TOO, NULL);
	commit();
	CHECK(becomes(NEW, "02:00:00:00:00:1b@1"));
	CHECK(becomes(NEAR_TOO, "unknown"));
	CHECK(becomes(NEAR, "02:00:00:00:00:1b@1"));

	CASE("a slot given to another server loses the hop of the one before");
	server_set(half ^ 1, NEAR, "10.1.0.98");
	commit();
	CHECK(becomes(NEAR, "unknown"));
	server_set(half, NEAR, "10.1.0.2");
	commit();
	CHECK(becomes(NEAR, "02:00:00:00:00:1b@1"));
}

static void test_link(void)
{
	CASE("a link that goes down takes its hops along, and brings them back");
	forget(FL_EVENT_LINK);
	RUN("ip link set v0 down");
	CHECK(is_raised(FL_EVENT_LINK));
	CHECK(becomes(NEAR, "unknown"));
	RUN("ip link set v0 up");
	CHECK(becomes(NEAR, "02:00:00:00:00:1b@1"));

	CASE("a link that vanishes is told, and so is whatever may be its return");
	RUN("ip link del v0");
	CHECK(becomes(NEAR, "unknown"));
	CHECK(is_raised(FL_EVENT_LINK));
	RUN("ip link add v0 type veth peer name v2");
	CHECK(is_raised(FL_EVENT_LINK));
}

static bool lab_make(void)
{
	if (unshare(CLONE_NEWNET) < 0) {
		perror("this test needs root, to make a network namespace");
		return false;
	}
	peer = peer_start();
	return peer > 0 &&
	       shell("ip link add v0 type veth peer name v1 address 02:00:00:00:00:0b netns %d && "
		     "ip link add w0 type veth peer name w1 && ip link add x0 type veth peer name x1 && "
		     "echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad && echo 0 >/proc/sys/net/ipv6/conf/v0/accept_dad "
		     "&& ip addr add 10.1.0.1/24 dev v0 && ip addr add "
		     "fd01::1/64 dev v0 nodad && "
		     "ip addr add 10.3.0.1/24 dev x0 && ip neigh add 10.3.0.2 lladdr 02:00:00:00:00:33 dev x0 && "
		     "ip link set x1 up && ip link set x0 up && ip link set v0 up && ip route add 10.9.0.0/16 via "
		     "10.1.0.3 && " PEER "sh -c 'echo 1 >/proc/sys/net/ipv4/conf/v1/arp_notify && echo 0 "
		     ">/proc/sys/net/ipv6/conf/v1/accept_dad && ip addr add 10.1.0.2/24 dev v1 && "
		     "ip addr add 10.1.0.3/24 dev v1 && ip addr add fd01::2/64 dev v1 nodad && ip link set v1 up'",
		     peer, peer) == 0;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!lab_make())
		return 1;
	wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	half_set(0);
	half_set(1);
	CASE("an adopted region's hop stands until its server is resolved");
	memory.hops[NOBODY] = 0x0101aabbccddee02;
	CHECK(fl_neighbour_start(&neighbour, &region, &events, wake) == 0);
	CHECK(becomes(NEAR, "02:00:00:00:00:0b@1"));
	CHECK(strcmp(hop_text(NOBODY), "unknown") != 0);
	test_resolve();
	test_follow();
	test_commit();
	test_link();
	fl_neighbour_stop(neighbour);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	return check_end();
}
