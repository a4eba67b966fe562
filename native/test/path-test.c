/*
 * Probes through the path against a wire of their own: in a network namespace the cable v0-v1, whose far end this test
 * reads and answers by hand, so that each packet is seen as a server would get it. Root only.
 *
 *     socket ─▶ TUN ─▶ path ─▶ v0 (10.0.1.1, interface 1 of core-world.h) ─── v1 ─▶ tap
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../engine/path.h"
#include "core-world.h"
#include "shell.h"

#define DEADLINE_MS 5000
#define MARK 0x46000001
#define L2 WORLD_DSR
#define TUNNEL (WORLD_DSR | WORLD_FULL_NAT)

static struct fl_region region;
static struct fl_path *path;
static int tap;

/* What was heard last. */
static struct {
	u8 frame[2048];
	ssize_t size;
	const u8 *ip, *l4; /* of a plain frame */
} heard;

/* Hears the next frame to this server's MAC with TCP in it. False: none comes in time. */
static bool hear(u32 slot, int within_ms)
{
	u64 end = fl_now() + within_ms * 1000000ull;
	struct pollfd wait = { .fd = tap, .events = POLLIN };

	while (fl_now() < end) {
		poll(&wait, 1, 10);
		heard.size = recv(tap, heard.frame, sizeof(heard.frame), MSG_DONTWAIT);
		if (heard.size < 54 || heard.frame[5] != slot || heard.frame[4] != 1)
			continue;
		heard.ip = heard.frame + 14;
		heard.l4 = heard.ip + (heard.ip[0] >> 4 == 6 ? 40 : 20);
		if (heard.ip[heard.ip[0] >> 4 == 6 ? 6 : 9] == FL_PROTOCOL_TCP)
			return true;
	}
	return false;
}

static bool hears(u32 slot, u8 flags)
{
	return hear(slot, DEADLINE_MS) && heard.l4[13] == flags;
}

static struct fl_path_question question_of(u32 service, u32 slot)
{
	return (struct fl_path_question){
		.vip = world_vip(service),
		.server = world_server(slot),
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.is_server_v6 = world_server_is_v6(slot),
		.protocol = world_protocol(service),
		.port = FL_BE16(WORLD_VIP_PORT),
		.server_slot = slot,
		.server_generation = 1,
	};
}

static int connect_to(const struct fl_path_question *question, u32 *pin)
{
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = question->port };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = question->port };
	int fd = fl_path_socket(path, question, pin);

	if (fd < 0) {
		printf("  %s\n", fl_error());
		return fd;
	}
	memcpy(&to4.sin_addr, &question->vip, 4);
	memcpy(&to6.sin6_addr, &question->vip, 16);
	if (question->is_v6)
		connect(fd, (struct sockaddr *)&to6, sizeof(to6));
	else
		connect(fd, (struct sockaddr *)&to4, sizeof(to4));
	return fd;
}

static u16 port_at(const u8 *octets)
{
	return FL_BE16(fl_get16(octets));
}

/* What a server says to the SYN that was heard. */
static void answer_syn(u8 flags)
{
	struct world_ends ends = {
		.is_v6 = heard.ip[0] >> 4 == 6,
		.from_port = port_at(heard.l4 + 2),
		.to_port = port_at(heard.l4),
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.ttl = 64,
		.acknowledged = FL_BE32(fl_get32(heard.l4 + 4)) + 1,
		.interface = 1,
	};
	u8 frame[128];

	memcpy(&ends.from, heard.ip + (ends.is_v6 ? 24 : 16), ends.is_v6 ? 16 : 4);
	memcpy(&ends.to, heard.ip + (ends.is_v6 ? 8 : 12), ends.is_v6 ? 16 : 4);
	CHECK(send(tap, frame, world_frame(frame, &ends), 0) > 0);
}

/* Is it connected, once it is decided? */
static bool is_connected(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(int);
	int error = -1;

	poll(&wait, 1, DEADLINE_MS);
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0 && wait.revents & POLLOUT &&
	       !(wait.revents & POLLERR);
}

static bool is_sum_right(void)
{
	u32 is_v6 = heard.ip[0] >> 4 == 6;
	u32 size = is_v6 ? (u32)port_at(heard.ip + 4) : (u32)port_at(heard.ip + 2) - 20;

	return world_l4_sum(heard.ip, size, (int)is_v6, FL_PROTOCOL_TCP) == 0xffff;
}

static void handshakes(void)
{
	CASE("each socket reaches the server it is pinned to, and what follows the handshake does too");
	for (u32 service = L2; service <= (L2 | WORLD_V6); service += WORLD_V6)
		for (u32 slot = service * 2; slot < service * 2 + 2; slot++) {
			struct fl_path_question question = question_of(service, slot);
			u32 pin;
			int fd = connect_to(&question, &pin);

			CHECK(fd >= 0 && hears(slot, FL_TCP_SYN) && is_sum_right());
			if (check_is_failed)
				return;
			CHECK(!memcmp(heard.ip + (question.is_v6 ? 24 : 16), &question.vip, question.is_v6 ? 16 : 4));
			answer_syn(FL_TCP_SYN | FL_TCP_ACK);
			CHECK(is_connected(fd));
			CHECK(hears(slot, FL_TCP_ACK));
			close(fd);
			CHECK(fl_path_end(path, pin) == FL_REASON_UNTRACKED);
			CHECK(hear(slot, DEADLINE_MS) && heard.l4[13] & FL_TCP_RST);
		}

	CASE("no flow is entered, and nothing is counted as traffic of clients");
	for (u64 index = 0; index < region.count[FL_SECTION_FLOWS]; index++)
		CHECK((region.flows[index].control & FL_STATE_MASK) == FL_STATE_FREE);
	for (u64 i = 0; i < region.count[FL_SECTION_TRAFFIC]; i++)
		CHECK(region.traffic[i].in_frames == 0);
	for (u32 reason = 0; reason < FL_REASON_COUNT; reason++)
		CHECK(region.workers[0].reasons[reason] == 0);
}

static void half_open(void)
{
	CASE("a half-open socket is connected, and the server gets a RST with the next sequence number in place of its "
	     "ACK");
	for (u32 service = L2; service <= (L2 | WORLD_V6); service += WORLD_V6) {
		u32 slot = service * 2, pin, sequence;
		struct fl_path_question question = question_of(service, slot);
		int fd;

		question.is_half_open = true;
		fd = connect_to(&question, &pin);
		CHECK(fd >= 0 && hears(slot, FL_TCP_SYN));
		if (check_is_failed)
			return;
		sequence = FL_BE32(fl_get32(heard.l4 + 4));
		answer_syn(FL_TCP_SYN | FL_TCP_ACK);
		CHECK(is_connected(fd));
		CHECK(hears(slot, FL_TCP_RST | FL_TCP_ACK) && is_sum_right());
		CHECK(FL_BE32(fl_get32(heard.l4 + 4)) == sequence + 1);
		close(fd);
		fl_path_end(path, pin);
		hear(slot, DEADLINE_MS); /* its own RST */
	}

	CASE("a refusal is a refusal, half-open or not");
	for (int i = 0; i < 2; i++) {
		struct fl_path_question question = question_of(L2, L2 * 2);
		u32 pin;
		int fd;

		question.is_half_open = i;
		fd = connect_to(&question, &pin);
		CHECK(hears(L2 * 2, FL_TCP_SYN));
		if (!check_is_failed)
			answer_syn(FL_TCP_RST | FL_TCP_ACK);
		CHECK(!is_connected(fd));
		close(fd);
		fl_path_end(path, pin);
	}
}

static void obstacles(void)
{
	struct fl_path_question question = question_of(L2, L2 * 2);
	u64 known = region.hops[L2 * 2];
	u32 pin;
	int fd;

	CASE("a packet waits for its next hop; while there is none, that is what hinders it");
	fl_store(&region.hops[L2 * 2], (u64)0);
	fd = connect_to(&question, &pin);
	CHECK(!hear(L2 * 2, 100));
	fl_store(&region.hops[L2 * 2], known);
	CHECK(hears(L2 * 2, FL_TCP_SYN));
	close(fd);
	CHECK(fl_path_end(path, pin) == FL_REASON_UNTRACKED);
	fl_store(&region.hops[L2 * 2], (u64)0);
	fd = connect_to(&question, &pin);
	CHECK(!hear(L2 * 2, 100));
	close(fd);
	CHECK(fl_path_end(path, pin) == FL_REASON_NO_NEIGHBOUR);
	fl_store(&region.hops[L2 * 2], known);

	CASE("a server that has left its place, or another in it, gets nothing");
	question.server_generation = 2;
	fd = connect_to(&question, &pin);
	CHECK(!hear(L2 * 2, 100));
	close(fd);
	CHECK(fl_path_end(path, pin) == FL_REASON_NO_SERVER);

	CASE("without a region packets are lost, and nothing else");
	fl_path_use(path, NULL);
	question.server_generation = 1;
	fd = connect_to(&question, &pin);
	CHECK(!hear(L2 * 2, 100));
	close(fd);
	CHECK(fl_path_end(path, pin) == FL_REASON_NONE);
	fl_path_use(path, &region);

	CASE("what does not fit into the tunnel is answered to the socket, and is what hindered it, each time anew");
	question = question_of(TUNNEL | WORLD_UDP, (TUNNEL | WORLD_UDP) * 2);
	for (int i = 0; i < 3; i++) {
		socklen_t size = sizeof(int);
		struct pollfd wait;
		int error = 0;

		fd = connect_to(&question, &pin);
		CHECK(fd >= 0 && send(fd, region.header, 1390, 0) == 1390);
		wait = (struct pollfd){ .fd = fd };
		CHECK(poll(&wait, 1, DEADLINE_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
		CHECK(error == EMSGSIZE);
		close(fd);
		CHECK(fl_path_end(path, pin) == FL_REASON_TOO_BIG);
	}
}

static void bounds(void)
{
	static u32 pins[FL_PATH_PINS + 1];
	struct fl_path_question question = question_of(L2, L2 * 2);
	u64 end = fl_now() + DEADLINE_MS * 1000000ull;
	int fd, count = 0;

	CASE("so many pins and no more; those that have ended come back");
	while (count <= FL_PATH_PINS && (fd = fl_path_socket(path, &question, &pins[count])) >= 0) {
		close(fd);
		count++;
	}
	CHECK(fd == -EAGAIN && count > FL_PATH_PINS - 64 && count <= FL_PATH_PINS);
	CHECK(strstr(fl_error(), "under way already") != NULL);
	for (int i = 0; i < count; i++)
		fl_path_end(path, pins[i]);
	while ((fd = fl_path_socket(path, &question, pins)) < 0 && fl_now() < end)
		usleep(10000);
	CHECK(fd >= 0);
	close(fd);
	fl_path_end(path, pins[0]);
	CHECK(fl_path_end(path, FL_PATH_PINS) == FL_REASON_NONE);
}

int main(void)
{
	struct sockaddr_ll wire = { .sll_family = AF_PACKET, .sll_protocol = htons(3) /* ETH_P_ALL */ };

	if (unshare(CLONE_NEWNET) < 0) {
		printf("skipped: this user may make no network namespace\n");
		return check_end();
	}
	CASE("the device and the rules are made");
	/* The place of interface 1 in core-world.h; what the far end would say by itself is not wanted. */
	RUN("ip link set lo up && sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 &&"
	    "ip link add v0 index 3 address 02:00:00:00:00:02 type veth peer name v1 index 2 &&"
	    "ip link set v1 arp off up && ip link set v0 up &&"
	    "ip addr add 10.0.1.1/24 dev v0 && ip addr add fd00::1/64 dev v0 nodad &&"
	    "ip route add 203.0.113.0/24 dev v0 && ip route add 2001:db8::/64 dev v0");
	world_open(&region, 4096, 1);
	wire.sll_ifindex = (int)if_nametoindex("v1");
	tap = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	CHECK(tap >= 0 && bind(tap, (struct sockaddr *)&wire, sizeof(wire)) == 0);
	CHECK(fl_path_open(&path, "fl-test", MARK) == 0);
	fl_path_use(path, &region);
	CHECK(lines("ip rule; ip -6 rule", "fwmark 0x46000001") == 2);
	handshakes();
	half_open();
	obstacles();
	bounds();

	CASE("it leaves neither device nor rules");
	fl_path_close(path);
	CHECK(lines("ip rule; ip -6 rule", "fwmark") == 0 && lines("ip link", "fl-test") == 0);
	close(tap);
	return check_end();
}
