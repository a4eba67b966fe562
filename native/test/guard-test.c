/*
 * Whose a frame is: what the tap's filter and the host's program say of crafted frames, of those that are ours by their
 * address, by a claim, by a trail or by what they quote. Root only.
 */
#define _GNU_SOURCE
#include "../core/trail.h"
#include "guard-fixture.h"

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
	test_trails();
	test_truncated();
	fl_guard_close(guard);
	return check_end();
}
