/*
 * The guard against a real kernel: its programs run over crafted frames (BPF_PROG_TEST_RUN), and once over a veth pair
 * with a packet socket. All of it in a network namespace of its own; needs root and ip(8), tc(8).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <bpf/bpf.h>

#include "../core/flow.h"
#include "../engine/guard.h"
#include "check.h"

#define VIP "192.0.2.10"
#define VIP6 "2001:db8::10"
#define POOL "192.0.2.20"
#define SERVER "10.0.1.11"
#define SERVER6 "fd00:1::11"
#define PROXIED "10.0.1.12" /* a full-nat server */
#define CLIENT "198.51.100.7"
#define CLIENT6 "2001:db8:7::7"
#define OTHER "203.0.113.9"

#define TCP 6
#define UDP 17
#define ICMP6 58
#define BUCKETS 512

/* A region of two halves with room for a few addresses, in plain memory. */
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

static struct fl_addr addr_of(const char *text)
{
	struct fl_addr addr = { 0 };

	if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &addr) != 1)
		abort();
	return addr;
}

static void vip_set(u32 half, u32 place, const char *text, u32 flags)
{
	memory.vips[half * 16 + place] = (struct fl_vip){
		.addr = addr_of(text),
		.flags = FL_VIP_USED | flags | (strchr(text, ':') ? FL_VIP_V6 : 0),
	};
}

static void server_set(u32 half, u32 slot, const char *text, u32 service)
{
	memory.servers[half * 16 + slot] = (struct fl_server){
		.addr = addr_of(text),
		.flags = FL_SERVER_USED | (strchr(text, ':') ? FL_SERVER_V6 : 0),
		.service = service,
	};
}

static void region_make(void)
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
		vip_set(half, 3, VIP, FL_VIP_LISTENS);
		vip_set(half, 9, VIP6, FL_VIP_LISTENS);
		vip_set(half, 15, POOL, FL_VIP_SOURCE);
		server_set(half, 0, SERVER, 0);
		server_set(half, 5, SERVER6, 0);
		server_set(half, 6, PROXIED, 1);
	}
}

/* A frame under construction. A target MAC of zeros is this host's: test runs come in by lo. */
struct bytes {
	u8 data[8192];
	u32 size;
};

static struct bytes *add(struct bytes *frame, const void *data, u32 size)
{
	memcpy(frame->data + frame->size, data, size);
	frame->size += size;
	return frame;
}

static void add16(struct bytes *frame, u16 value)
{
	u16 be = htons(value);

	add(frame, &be, 2);
}

static struct bytes ether(u16 type)
{
	struct bytes frame = { .size = 12 };

	add16(&frame, type);
	return frame;
}

struct ip {
	const char *from, *to;
	u8 protocol;
	u16 from_port, to_port;
	u16 fragment;	   /* the IPv4 field, or that of an IPv6 fragment header when not 0 */
	u32 options;	   /* octets: IPv4 options; IPv6: of one destination options header */
	const u8 *payload; /* in place of ports */
	u32 payload_size;
};

static void add_ports(struct bytes *frame, const struct ip *ip)
{
	static const u8 rest[16] = { [8] = 0x50 };

	if (ip->payload) {
		add(frame, ip->payload, ip->payload_size);
		return;
	}
	add16(frame, ip->from_port);
	add16(frame, ip->to_port);
	add(frame, rest, sizeof(rest));
}

static void add_ip(struct bytes *frame, const struct ip *ip)
{
	struct fl_addr from = addr_of(ip->from), to = addr_of(ip->to);

	if (strchr(ip->from, ':')) {
		u8 header[40] = { 0x60, [6] = ip->protocol, [7] = 255 };
		u8 options[64] = { ip->protocol, ip->options / 8 - 1 };
		u8 fragment[8] = { ip->protocol, 0, ip->fragment >> 8, (u8)ip->fragment };

		if (ip->fragment)
			header[6] = options[0] = 44;
		if (ip->options)
			header[6] = 60;
		memcpy(header + 8, &from, 16);
		memcpy(header + 24, &to, 16);
		add(frame, header, 40);
		add(frame, options, ip->options);
		add(frame, fragment, ip->fragment ? 8 : 0);
	} else {
		u8 header[60] = { 0x45 + ip->options / 4, [6] = ip->fragment >> 8, (u8)ip->fragment, 64, ip->protocol };

		memcpy(header + 12, &from, 4);
		memcpy(header + 16, &to, 4);
		add(frame, header, 20 + ip->options);
	}
	add_ports(frame, ip);
}

static struct bytes ip_frame(const struct ip *ip)
{
	struct bytes frame = ether(strchr(ip->from, ':') ? ETH_P_IPV6 : ETH_P_IP);

	add_ip(&frame, ip);
	return frame;
}

#define PORTS(a, b) .from_port = a, .to_port = b
#define IP(a, b, kind, ...) ip_frame(&(struct ip){ .from = a, .to = b, .protocol = kind, __VA_ARGS__ })

static struct bytes arp(u16 operation, const char *from, const char *to)
{
	static const u8 kind[6] = { 0, 1, 8, 0, 6, 4 }, mac[6] = { 2 };
	struct fl_addr sender = addr_of(from), target = addr_of(to);
	struct bytes frame = ether(ETH_P_ARP);

	memset(frame.data, 0xff, 6);
	add(&frame, kind, sizeof(kind));
	add16(&frame, operation);
	add(add(add(add(&frame, mac, 6), &sender, 4), mac, 6), &target, 4);
	return frame;
}

static struct bytes solicitation(const char *to, const char *target)
{
	struct fl_addr addr = addr_of(target);
	u8 payload[24] = { 135 };
	struct bytes frame;

	memcpy(payload + 8, &addr, 16);
	frame = IP(CLIENT6, to, ICMP6, .payload = payload, .payload_size = 24);
	frame.data[0] = frame.data[1] = 0x33;
	return frame;
}

static struct bytes tagged(struct bytes frame, u16 outer, u16 inner)
{
	const u8 tags[] = { outer >> 8, (u8)outer, 0, 5, inner >> 8, (u8)inner, 0, 7 };
	u32 size = inner ? 8 : 4;

	memmove(frame.data + 12 + size, frame.data + 12, frame.size - 12);
	memcpy(frame.data + 12, tags, size);
	frame.size += size;
	return frame;
}

static struct fl_guard *guard;

/* A program's word on a frame; `skip` octets before it, which the kernel takes for the Ethernet header. */
static u32 run(int program_fd, const struct bytes *frame, u32 skip)
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
	CHECK(ours(solicitation("ff02::1:ff00:10", VIP6)) == 1);
	CHECK(ours(solicitation("ff02::1:ff00:10", "2001:db9::10")) == 0);
	struct bytes frame = solicitation("ff02::1:ff00:10", VIP6);
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
	other.fragment = 0x0008;
	CHECK(ours(ip_frame(&other)) == 0);

	CASE("a claim counts only for a nat server's address");
	claim(CLIENT, 4000, PROXIED, 8080, TCP, 0);
	CHECK(ours(IP(PROXIED, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	claim(CLIENT, 4000, OTHER, 8080, TCP, 0);
	CHECK(ours(IP(OTHER, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	claims_clear();

	CASE("under pressure all that a nat server sends from a port is ours");
	fl_guard_press(guard, true);
	CHECK(ours(ip_frame(&answer)) == 1);
	CHECK(ours(ip_frame(&answer6)) == 1);
	CHECK(ours(IP(SERVER, CLIENT, 1)) == 0);
	CHECK(ours(IP(PROXIED, CLIENT, TCP, PORTS(8080, 4000))) == 0);
	fl_guard_press(guard, false);
	CHECK(ours(ip_frame(&answer)) == 0);
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

static void test_truncated(void)
{
	CASE("a frame cut anywhere is ours only if what makes it so can be read");
	CHECK(ours_from(IP(CLIENT, VIP, TCP, PORTS(4000, 80)), 14 + 20));
	CHECK(ours_from(IP(CLIENT6, VIP6, TCP, PORTS(4000, 80), .options = 16), 14 + 40));
	CHECK(ours_from(tagged(IP(CLIENT, VIP, TCP, PORTS(4000, 80)), ETH_P_8021AD, ETH_P_8021Q), 14 + 8 + 20));
	CHECK(ours_from(arp(1, CLIENT, VIP), 14 + 28));
	CHECK(ours_from(solicitation("ff02::1:ff00:10", VIP6), 14 + 40 + 24));
	claim(CLIENT6, 4000, SERVER6, 80, TCP, 0);
	CHECK(ours_from(IP(SERVER6, CLIENT6, TCP, PORTS(80, 4000), .options = 16), 14 + 40 + 16 + 4));
	claims_clear();
}

/* Which worker a frame goes to; the program runs with the Ethernet header taken off. */
static u32 worker_for(struct bytes frame)
{
	return run(guard->steer_fd, &frame, 0);
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
	CASE("the flows of an adopted region are claimed at once");
	fl_guard_close(guard);
	CHECK(region.claims == NULL);
	region_make();
	flow_set(home_of(CLIENT), FL_STATE_ESTABLISHED, 0, CLIENT, SERVER);
	flow_set(home_of(CLIENT6), FL_STATE_UDP_TWO_WAY, FL_FLOW_V6, CLIENT6, SERVER6);
	flow_set(home_of("198.51.100.8"), FL_STATE_FREE, 0, "198.51.100.8", SERVER);
	flow_set(home_of("198.51.100.9"), FL_STATE_ESTABLISHED, FL_FLOW_FULL_NAT, "198.51.100.9", SERVER);
	CHECK(fl_guard_open(&guard, &region) == 0);
	CHECK(ours(IP(SERVER, CLIENT, TCP, PORTS(8080, 5000))) == 1);
	CHECK(ours(IP(SERVER6, CLIENT6, TCP, PORTS(8080, 5000))) == 1);
	CHECK(ours(IP(SERVER, "198.51.100.8", TCP, PORTS(8080, 5000))) == 0);
	CHECK(ours(IP(SERVER, "198.51.100.9", TCP, PORTS(8080, 5000))) == 0);
}

/* Lines of a command's output that hold a word. */
static int lines(const char *command, const char *word)
{
	FILE *output = popen(command, "r");
	char line[1024];
	int count = 0;

	while (output && fgets(line, sizeof(line), output))
		count += strstr(line, word) != NULL;
	if (output)
		pclose(output);
	return count;
}

static int filters(void)
{
	return lines("tc filter show dev v0 ingress", "fairlead_guard");
}

static int others(void)
{
	return lines("tc filter show dev v0 ingress", "bytecode");
}

static int clsacts(void)
{
	return lines("tc qdisc show dev v0", "clsact");
}

#define RUN(command) CHECK(system(command) == 0)

static void test_links(void)
{
	u32 v0 = if_nametoindex("v0");
	struct fl_guard second = *guard;

	CASE("a successor replaces the filter, and a detached link is as it was");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1 && clsacts() == 1);
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && clsacts() == 0);
	fl_guard_detach_link(guard, v0);

	CASE("a clsact that was there before stays");
	RUN("tc qdisc add dev v0 clsact");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && clsacts() == 1);
	RUN("tc qdisc del dev v0 clsact");

	CASE("others' filters stay, before and behind ours");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	RUN("tc filter add dev v0 ingress pref 9 protocol all bpf bytecode '1,6 0 0 0,'");
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && others() == 1 && clsacts() == 1);
	RUN("tc qdisc del dev v0 clsact");
	RUN("tc qdisc add dev v0 clsact");
	RUN("tc filter add dev v0 ingress pref 1 protocol ip bpf bytecode '1,6 0 0 0,'");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1 && others() == 1);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && others() == 1);
	RUN("tc qdisc del dev v0 clsact");

	CASE("two instances share a link, and the last one out takes clsact away");
	second.instance ^= 0x100;
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(fl_guard_attach_link(&second, v0) == 0);
	CHECK(filters() == 2);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 1 && clsacts() == 1);
	fl_guard_detach_link(&second, v0);
	CHECK(filters() == 0 && clsacts() == 0);

	CASE("a link that is gone is an error in words");
	CHECK(fl_guard_attach_link(guard, 9999) < 0);
	CHECK(strstr(fl_error(), "clsact") != NULL);
	fl_guard_detach_link(guard, 9999);
}

static int packet_socket(const char *name)
{
	struct sockaddr_ll local = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		abort();
	return fd;
}

static int udp_socket(const char *address, u16 port)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &local.sin_addr);
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		abort();
	return fd;
}

static bool arrives(int fd, int within_ms)
{
	struct pollfd watched = { .fd = fd, .events = POLLIN };
	u8 data[9000];

	return poll(&watched, 1, within_ms) == 1 && recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0;
}

/* A valid datagram for v0's stack. */
static struct bytes datagram(const char *to, u32 payload)
{
	static const u8 nothing[6000];
	struct bytes frame = IP("10.9.0.2", to, UDP, .payload = nothing, .payload_size = 8 + payload);
	u8 *ip = frame.data + 14;
	u32 sum = 0;

	memcpy(frame.data, (u8[]){ 2, 0, 0, 0, 0, 0xa }, 6);
	ip[2] = (28 + payload) >> 8;
	ip[3] = (u8)(28 + payload);
	ip[20] = ip[21] = ip[22] = ip[23] = 7; /* ports 1799 */
	ip[24] = (8 + payload) >> 8;
	ip[25] = (u8)(8 + payload);
	for (u32 i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = sum >> 8;
	ip[11] = (u8)sum;
	return frame;
}

/* Sends with only the Ethernet header in the linear part, when the frame is larger than a page. */
static void send_frame(int fd, const struct bytes *frame)
{
	struct virtio_net_hdr header = { .hdr_len = 14 };
	u8 data[sizeof(header) + sizeof(frame->data)];

	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), frame->data, frame->size);
	CHECK(send(fd, data, sizeof(header) + frame->size, 0) > 0);
}

static void test_traffic(void)
{
	const int on = 1;
	u32 v0 = if_nametoindex("v0");
	int tap = packet_socket("v0"), wire = packet_socket("v1");
	int vip, host;

	/* For once the VIP is a local address, so that a datagram that slips through is seen to arrive. */
	RUN("ip addr add " VIP "/32 dev v0");
	vip = udp_socket(VIP, 1799);
	host = udp_socket("10.9.0.1", 1799);
	CHECK(setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0);
	for (u32 payload = 100; payload <= 5900; payload += 5800) {
		struct bytes for_vip = datagram(VIP, payload), for_host = datagram("10.9.0.1", payload);

		CASE(payload == 100 ? "a live frame of ours reaches the ring and not the host, another the host and "
				      "not the ring"
				    : "so does a frame whose headers lie in pages");
		CHECK(fl_guard_attach_socket(guard, tap) == 0);
		CHECK(fl_guard_attach_link(guard, v0) == 0);
		while (arrives(tap, 0))
			;
		send_frame(wire, &for_vip);
		CHECK(arrives(tap, 2000));
		send_frame(wire, &for_host);
		CHECK(arrives(host, 2000));
		CHECK(!arrives(vip, 0));
		CHECK(!arrives(tap, 0));
		fl_guard_detach_link(guard, v0);
		send_frame(wire, &for_vip);
		CHECK(arrives(vip, 2000));
		CHECK(arrives(tap, 0));
	}
	close(tap);
	close(wire);
	close(vip);
	close(host);
}

static void test_fanout(void)
{
	u32 kind = (PACKET_FANOUT_CBPF + 1) /* PACKET_FANOUT_EBPF */ << 16 | 77;
	int tap[4], wire = packet_socket("v1");
	bool is_right = true;

	CASE("live frames reach the worker that the program named");
	for (u32 i = 0; i < 4; i++) {
		tap[i] = packet_socket("v0");
		CHECK(fl_guard_attach_socket(guard, tap[i]) == 0);
		CHECK(setsockopt(tap[i], SOL_PACKET, PACKET_FANOUT, &kind, sizeof(kind)) == 0);
	}
	CHECK(fl_guard_attach_fanout(guard, tap[0], 4) == 0);
	for (u32 i = 0; i < 4; i++)
		while (arrives(tap[i], 0))
			;
	for (u16 port = 2000; port < 2040; port++) {
		struct bytes frame = tagged(IP(CLIENT, VIP, TCP, PORTS(port, 80)), ETH_P_8021Q, 0);
		u32 worker = worker_for(IP(CLIENT, VIP, TCP, PORTS(port, 80)));

		memcpy(frame.data, (u8[]){ 2, 0, 0, 0, 0, 0xa }, 6);
		CHECK(send(wire, frame.data, frame.size, 0) > 0);
		is_right &= worker < 4 && arrives(tap[worker], 2000);
	}
	CHECK(is_right);
	for (u32 i = 0; i < 4; i++)
		close(tap[i]);
	close(wire);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (unshare(CLONE_NEWNET) < 0) {
		perror("guard-test needs root, to make a network namespace");
		return 1;
	}
	if (system("ip link set lo up && ip link add v0 mtu 9000 address 02:00:00:00:00:0a type veth peer name v1 mtu "
		   "9000 && "
		   "ip addr add 10.9.0.1/24 dev v0 && ip link set v0 up && ip link set v1 up") != 0)
		return 1;
	region_make();
	CASE("the kernel takes the guard");
	CHECK(fl_guard_open(&guard, &region) == 0);
	if (!guard) {
		printf("  %s\n", fl_error());
		return check_end();
	}
	test_owned();
	test_questions();
	test_claims();
	test_truncated();
	test_steer();
	test_update();
	test_adopted();
	test_links();
	test_traffic();
	test_fanout();
	fl_guard_close(guard);
	return check_end();
}
