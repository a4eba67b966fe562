/*
 * Probes against this host's own stack and against nobody, in a network namespace of their own: `lo` answers, a cable
 * without ARP (d0, 10.9.0.1/24) leads to nobody, and forged answers are sent with a raw socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../engine/probe-wire.h"
#include "../engine/probe.h"
#include "check.h"

static int woken;
static struct fl_probe *probe;
static const u8 lo4[4] = { 127, 0, 0, 1 }, lo6[16] = { [15] = 1 }, nobody[4] = { 10, 9, 0, 2 };

static void wake(void *context)
{
	u64 one = 1;

	(void)context;
	if (write(woken, &one, sizeof(one)) < 0)
		return;
}

/* The next answer, or one with id 0 when none comes in time. */
static struct fl_probe_answer next_answer(int within_ms)
{
	struct pollfd wait = { .fd = woken, .events = POLLIN };
	struct fl_probe_answer answer = { 0 };
	u64 count, end = fl_now() + within_ms * 1000000ull;

	while (!fl_probe_take(probe, &answer, 1)) {
		u64 now = fl_now();

		if (now >= end || poll(&wait, 1, (int)((end - now) / 1000000) + 1) <= 0)
			return answer;
		if (read(woken, &count, sizeof(count)) < 0)
			return answer;
	}
	return answer;
}

/* A listener that accepts nothing, in both families. */
static int listen_there(u16 *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	socklen_t size = sizeof(any);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)&any, &size))
		return -1;
	*port = ntohs(any.sin6_port);
	return fd;
}

/* Connections to a local port in any state but LISTEN, by the kernel's own table. */
static int connections_at(u16 port)
{
	char command[128], line[16] = "";
	FILE *output;

	snprintf(command, sizeof(command), "ss -Htan state all exclude listening 'sport = :%u' | wc -l", port);
	output = popen(command, "r");
	if (!output || !fgets(line, sizeof(line), output))
		line[0] = '9';
	if (output)
		pclose(output);
	return atoi(line);
}

static void answers_of_a_host(void)
{
	CASE("an echo request is answered, over IPv4 and IPv6");
	for (int v6 = 0; v6 < 2; v6++) {
		long long id = fl_probe_ask(probe, FL_PROBE_ECHO, v6 ? 6 : 4, v6 ? lo6 : lo4, 0, 2000);
		struct fl_probe_answer answer = next_answer(3000);

		CHECK(id > 0 && answer.id == id && answer.outcome == FL_PROBE_ANSWERED);
		CHECK(answer.microseconds < 2000000);
	}

	CASE("a closed port refuses a SYN, over IPv4 and IPv6");
	for (int v6 = 0; v6 < 2; v6++) {
		long long id = fl_probe_ask(probe, FL_PROBE_HALF_OPEN, v6 ? 6 : 4, v6 ? lo6 : lo4, 9, 2000);
		struct fl_probe_answer answer = next_answer(3000);

		CHECK(id > 0 && answer.id == id && answer.outcome == FL_PROBE_REFUSED);
	}
}

static void half_open(void)
{
	u16 port = 0;
	int listener = listen_there(&port);

	CASE("a listener answers a hundred SYNs, and none becomes a connection of it");
	CHECK(listener >= 0);
	for (int i = 0; i < 100; i++) {
		bool is_v6 = i & 1;
		long long id = fl_probe_ask(probe, FL_PROBE_HALF_OPEN, is_v6 ? 6 : 4, is_v6 ? lo6 : lo4, port, 2000);
		struct fl_probe_answer answer = next_answer(3000);

		CHECK(id > 0 && answer.id == id && answer.outcome == FL_PROBE_ANSWERED);
	}
	CHECK(accept(listener, NULL, NULL) < 0 && errno == EAGAIN);
	for (int i = 0; i < 200 && connections_at(port) > 0; i++)
		usleep(10000);
	CHECK(connections_at(port) == 0);
	close(listener);
}

static void silence(void)
{
	u64 asked = fl_now();
	long long id;

	CASE("nobody is silent, for as long as was to be waited");
	id = fl_probe_ask(probe, FL_PROBE_ECHO, 4, nobody, 0, 100);
	CHECK(id > 0);
	struct fl_probe_answer answer = next_answer(3000);

	CHECK(answer.id == id && answer.outcome == FL_PROBE_SILENT);
	CHECK(fl_now() - asked >= 100000000ull && answer.microseconds >= 100000);

	CASE("a target without a route is refused with words, and takes no slot");
	CHECK(fl_probe_ask(probe, FL_PROBE_ECHO, 4, (const u8[]){ 198, 51, 100, 1 }, 0, 100) == -ENETUNREACH);
	CHECK(strstr(fl_error(), "unreachable") != NULL);

	CASE("more questions than slots are refused, and all slots come back");
	int taken = 0, asked_count = 0;

	while ((id = fl_probe_ask(probe, FL_PROBE_ECHO, 4, nobody, 0, 300)) > 0)
		asked_count++;
	CHECK(id == -EAGAIN && asked_count > FL_PROBE_SLOTS / 2);
	while (next_answer(2000).id)
		taken++;
	CHECK(taken == asked_count);
	CHECK(fl_probe_ask(probe, FL_PROBE_ECHO, 4, lo4, 0, 1000) > 0);
	CHECK(next_answer(3000).outcome == FL_PROBE_ANSWERED);
}

/* Sends an IPv4 packet as it stands; the kernel fills checksum and id of the header. */
static void forge(int raw, const u8 *from, const u8 *message, size_t size)
{
	u8 packet[64] = { 0x45, 0, 0, 0, 0, 0, 0, 0, 64, IPPROTO_ICMP };
	struct sockaddr_in to = { .sin_family = AF_INET };

	memcpy(packet + 12, from, 4);
	memcpy(packet + 16, (const u8[]){ 10, 9, 0, 1 }, 4);
	memcpy(packet + 20, message, size);
	memcpy(&to.sin_addr, packet + 16, 4);
	CHECK(sendto(raw, packet, 20 + size, 0, (struct sockaddr *)&to, sizeof(to)) > 0);
}

static void put_checksum(u8 *message, size_t size)
{
	u32 sum = 0;

	message[2] = message[3] = 0;
	for (size_t at = 0; at < size; at += 2)
		sum += (u32)(message[at] << 8 | message[at + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	message[2] = (u8)(sum >> 8);
	message[3] = (u8)sum;
}

/* The echo request that has just gone out; the cable also carries what IPv6 has to say. */
static bool tap_request(int tap, u8 *request)
{
	for (int i = 0; i < 20; i++)
		if (recv(tap, request, 128, 0) == 20 + FL_WIRE_ECHO_SIZE && request[0] == 0x45 &&
		    request[9] == IPPROTO_ICMP)
			return true;
	return false;
}

static void forgeries(void)
{
	struct timeval patience = { .tv_sec = 2 };
	int tap = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(0x0800));
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct sockaddr_ll link = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(3),
				    .sll_ifindex = (int)if_nametoindex("d0") };
	u8 request[128], reply[FL_WIRE_ECHO_SIZE], error[8 + 20 + FL_WIRE_ECHO_SIZE] = { 3, 13 };
	long long id;

	CASE("an answer that differs in sender, id, sequence or nonce is not taken; the true one is");
	setsockopt(tap, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	CHECK(tap >= 0 && raw >= 0 && !bind(tap, (struct sockaddr *)&link, sizeof(link)));
	id = fl_probe_ask(probe, FL_PROBE_ECHO, 4, nobody, 0, 3000);
	CHECK(id > 0 && tap_request(tap, request));
	memcpy(reply, request + 20, sizeof(reply));
	reply[0] = 0;
	put_checksum(reply, sizeof(reply));
	forge(raw, (const u8[]){ 10, 9, 0, 3 }, reply, sizeof(reply));
	for (size_t octet = 4; octet < sizeof(reply); octet++) {
		reply[octet] ^= 1;
		put_checksum(reply, sizeof(reply));
		forge(raw, nobody, reply, sizeof(reply));
		reply[octet] ^= 1;
	}
	CHECK(next_answer(200).id == 0);
	put_checksum(reply, sizeof(reply));
	forge(raw, nobody, reply, sizeof(reply));
	struct fl_probe_answer answer = next_answer(2000);

	CHECK(answer.id == id && answer.outcome == FL_PROBE_ANSWERED);

	CASE("an error that quotes the question ends it, and says whose it is; one that quotes another does not");
	id = fl_probe_ask(probe, FL_PROBE_ECHO, 4, nobody, 0, 3000);
	CHECK(id > 0 && tap_request(tap, request));
	memcpy(error + 8, request, 20 + FL_WIRE_ECHO_SIZE);
	error[8 + 16 + 3] ^= 1; /* for somebody else */
	put_checksum(error, sizeof(error));
	forge(raw, (const u8[]){ 10, 9, 0, 254 }, error, sizeof(error));
	CHECK(next_answer(200).id == 0);
	error[8 + 16 + 3] ^= 1;
	put_checksum(error, sizeof(error));
	forge(raw, (const u8[]){ 10, 9, 0, 254 }, error, sizeof(error));
	answer = next_answer(2000);
	CHECK(answer.id == id && answer.outcome == FL_PROBE_UNREACHABLE && answer.icmp_code == 13);
	CHECK(answer.family == 4 && !memcmp(answer.from, (const u8[]){ 10, 9, 0, 254 }, 4));
	close(tap);
	close(raw);
}

static void wire(void)
{
	static const u32 source = 0x0100007f, target = 0x0200007f;
	struct fl_wire_tcp syn = { 40000, 80, 0x01020304, FL_WIRE_SYN };
	u8 octets[FL_WIRE_TCP_SIZE], answer[20] = { 0, 80, 0x9c, 0x40, 0, 0, 0, 7, 1, 2, 3, 5, 0x50, 0x12 };
	struct fl_wire_heard heard;
	u32 sum;

	CASE("a SYN's checksum holds over its pseudo-header");
	CHECK(fl_wire_tcp(octets, &syn, &source, &target) == FL_WIRE_TCP_SIZE);
	sum = 0x7f00 + 0x0001 + 0x7f00 + 0x0002 + 6 + FL_WIRE_TCP_SIZE;
	for (size_t at = 0; at < FL_WIRE_TCP_SIZE; at += 2)
		sum += (u32)(octets[at] << 8 | octets[at + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	CHECK(((sum & 0xffff) + (sum >> 16)) == 0xffff);

	CASE("a SYN-ACK names the SYN it acknowledges; without ACK, or without SYN and RST, it is nothing");
	heard = fl_wire_read_tcp(answer, sizeof(answer));
	CHECK(heard.what == FL_WIRE_SYN_ACK && heard.isn == 0x01020304 && heard.local_port == 40000);
	answer[13] = 0x02;
	CHECK(fl_wire_read_tcp(answer, sizeof(answer)).what == FL_WIRE_NOTHING);
	answer[13] = 0x10;
	CHECK(fl_wire_read_tcp(answer, sizeof(answer)).what == FL_WIRE_NOTHING);
	answer[13] = 0x14;
	CHECK(fl_wire_read_tcp(answer, sizeof(answer)).what == FL_WIRE_RST);

	CASE("whatever is received is read within its bounds");
	srand(1);
	for (int i = 0; i < 20000; i++) {
		size_t size = (size_t)rand() % 90;
		u8 *packet = malloc(size + 1); /* of its own, so that a read past its end is seen */

		for (size_t at = 0; at < size; at++)
			packet[at] = (u8)rand();
		if (size > 30 && i & 1) { /* near enough to get far */
			packet[0] = i & 2 ? 0x45 : 3;
			packet[9] = i & 4 ? IPPROTO_ICMP : IPPROTO_TCP;
			packet[20] = 3;
			packet[28] = (u8)(0x40 | (rand() & 15));
		}
		u8 *exact = realloc(packet, size ? size : 1);

		fl_wire_read4(exact, size);
		fl_wire_read_icmp6(exact, size);
		fl_wire_read_tcp(exact, size);
		free(exact);
	}
	CHECK(true);
}

int main(void)
{
	wire();
	if (unshare(CLONE_NEWNET) < 0) {
		printf("skipped: probes on sockets, since this user may make no network namespace\n");
		return check_end();
	}
	CASE("probes start, and end with their thread and sockets");
	woken = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(system("ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up &&"
		     "ip link set d0 arp off up &&"
		     "ip address add 10.9.0.1/24 dev d0 && sysctl -qw net.ipv4.conf.all.rp_filter=0"
		     " net.ipv4.conf.lo.rp_filter=0") == 0);
	CHECK(fl_probe_start(&probe, wake, NULL) == 0);
	fl_probe_stop(probe);
	CHECK(fl_probe_start(&probe, wake, NULL) == 0);
	answers_of_a_host();
	half_open();
	silence();
	forgeries();
	fl_probe_stop(probe);
	close(woken);
	return check_end();
}
