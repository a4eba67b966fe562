/*
 * The decapsulator: every encapsulation x family at both places, octet for octet against the layouts of RFC 2784, 2890,
 * 2003, 2473, 4213 and draft-ietf-intarea-gue-09; frames that must pass as they came; where it hangs on an interface; and
 * live frames over a veth pair. Root only; needs ip(8) and tc(8).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <bpf/bpf.h>

#include "../engine/decap.h"
#include "check.h"
#include "decap-frames.h"
#include "shell.h"

static u32 v0;

static struct fl_decap_service service(const char *name, u8 tunnel, const char *local, const char *from,
				       const char *vip)
{
	struct fl_decap_service made = { .endpoint.tunnel = tunnel, .source_count = 1, .vip_count = 1 };

	strcpy(made.name, name);
	if (!fl_decap_parse_address(local, &made.endpoint.local) || !fl_decap_parse_prefix(from, &made.source[0]) ||
	    !fl_decap_parse_address(vip, &made.vip[0]))
		abort();
	if (tunnel == FL_TUNNEL_GUE)
		made.endpoint.port = htons(GUE_PORT);
	return made;
}

static bool same(const struct bytes *a, const struct bytes *b)
{
	return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Runs a frame through the program that hangs at a place; what comes out, and its verdict. */
static struct bytes run(enum fl_decap_place place, const struct bytes *frame, int *verdict)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->data, .data_size_in = frame->size);
	struct bytes out = { .size = 0 };
	bool is_generic;
	int fd = fl_decap_find(v0, place, &is_generic);

	options.data_out = out.data;
	options.data_size_out = sizeof(out.data);
	options.repeat = 1;
	CHECK(fd > 0 && bpf_prog_test_run_opts(fd, &options) == 0);
	close(fd);
	*verdict = options.retval;
	out.size = options.data_size_out;
	return out;
}

static int pass_at(enum fl_decap_place place)
{
	return place == FL_DECAP_AT_XDP ? 2 /* XDP_PASS */ : -1 /* TC_ACT_UNSPEC */;
}

static int drop_at(enum fl_decap_place place)
{
	return place == FL_DECAP_AT_XDP ? 1 /* XDP_DROP */ : 2 /* TC_ACT_SHOT */;
}

static u64 counted(enum fl_decap_place place, enum fl_decap_count what)
{
	static struct fl_decap_view view;

	CHECK(fl_decap_look(v0, place, &view) == 0);
	return view.counter[what].frames;
}

static const char *at_place(enum fl_decap_place place)
{
	return place == FL_DECAP_AT_XDP ? "xdp" : "tc";
}

/* Titles are printed when the next case opens: they must live until then. */
static const char *title(const char *format, const char *a, const char *b)
{
	static char texts[2][160];
	static int turn;

	turn ^= 1;
	snprintf(texts[turn], sizeof(texts[0]), format, a, b);
	return texts[turn];
}

static void expect_taken(enum fl_decap_place place, const struct wrap *wrap, enum fl_decap_count what)
{
	struct bytes frame = frame_of(wrap), wanted = unwrapped(wrap), out;
	u64 before = counted(place, what);
	int verdict;

	out = run(place, &frame, &verdict);
	CHECK(verdict == pass_at(place));
	CHECK(same(&out, &wanted));
	CHECK(counted(place, what) == before + 1);
}

static void test_layouts(enum fl_decap_place place)
{
	static const struct {
		const char *name;
		u8 tunnel;
		bool has_key;
		enum fl_decap_count count;
	} kinds[] = {
		{ "GRE", FL_TUNNEL_GRE, false, FL_DECAP_GRE },
		{ "GRE with a key", FL_TUNNEL_GRE, true, FL_DECAP_GRE },
		{ "IPIP", FL_TUNNEL_IPIP, false, FL_DECAP_IPIP },
		{ "GUE", FL_TUNNEL_GUE, false, FL_DECAP_GUE },
	};

	for (u32 kind = 0; kind < 4; kind++)
		for (u32 outer = 0; outer < 2; outer++) {
			CASE(title(outer ? "%s over IPv6 is unwrapped at %s, with IPv4 and with IPv6 inside"
					 : "%s over IPv4 is unwrapped at %s, with IPv4 and with IPv6 inside",
				   kinds[kind].name, at_place(place)));
			for (u32 inner = 0; inner < 2; inner++)
				expect_taken(place,
					     &(struct wrap){ .tunnel = kinds[kind].tunnel,
							     .has_key = kinds[kind].has_key,
							     .is_outer_v6 = outer,
							     .is_inner_v6 = inner },
					     kinds[kind].count);
		}
	CASE(title("outer IPv4 options and Ethernet padding are no hindrance at %s%s", at_place(place), ""));
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_GRE, .options = 40 }, FL_DECAP_GRE);
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_IPIP, .options = 4, .padding = 12 }, FL_DECAP_IPIP);
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_GUE, .padding = 7, .is_inner_v6 = true }, FL_DECAP_GUE);
	CASE(title("any balancer of a listed prefix may send, at %s%s", at_place(place), ""));
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_GRE, .from = "192.0.2.200" }, FL_DECAP_GRE);
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_GRE, .from = "2001:db8:b::ffff", .is_outer_v6 = true },
		     FL_DECAP_GRE);
}

/* Passes as it came, and is counted under `what` (FL_DECAP_COUNT: under nothing). */
static void expect_passed(enum fl_decap_place place, const struct bytes *frame, enum fl_decap_count what)
{
	static struct fl_decap_view before, after;
	struct bytes out;
	int verdict;

	CHECK(fl_decap_look(v0, place, &before) == 0);
	out = run(place, frame, &verdict);
	CHECK(verdict == pass_at(place) && same(&out, frame));
	CHECK(fl_decap_look(v0, place, &after) == 0);
	for (u32 i = 0; i < FL_DECAP_COUNT; i++)
		CHECK(after.counter[i].frames - before.counter[i].frames == (i == what));
}

#define PASSES(count, ...)                                                      \
	do {                                                                    \
		struct bytes passing = frame_of(&(struct wrap){ __VA_ARGS__ }); \
		expect_passed(place, &passing, count);                          \
	} while (0)

static void test_passing(enum fl_decap_place place)
{
	CASE(title("what is not from a listed balancer passes at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_SOURCE, .tunnel = FL_TUNNEL_GRE, .from = "192.0.3.1");
	PASSES(FL_DECAP_SOURCE, .tunnel = FL_TUNNEL_GUE, .from = "2001:db8:c::1", .is_outer_v6 = true);
	CASE(title("what is not for a listed VIP passes at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_VIP, .tunnel = FL_TUNNEL_IPIP, .vip = "203.0.113.11");
	PASSES(FL_DECAP_VIP, .tunnel = FL_TUNNEL_GRE, .vip = "2001:db8::11", .is_inner_v6 = true);
	CASE(title("what is for another host, another port or of another key passes at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_ENDPOINT, .tunnel = FL_TUNNEL_GRE, .to = "10.9.0.9");
	PASSES(FL_DECAP_COUNT, .tunnel = FL_TUNNEL_GUE, .port = 6081);
	PASSES(FL_DECAP_COUNT, .tunnel = FL_TUNNEL_GUE, .to = "10.9.0.9");
	CASE(title("one service's balancer does not reach another service's VIP at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_VIP, .tunnel = FL_TUNNEL_GRE, .from = "192.0.2.77", .vip = "203.0.113.66");
	expect_taken(place, &(struct wrap){ .tunnel = FL_TUNNEL_GRE, .from = "192.0.2.66", .vip = "203.0.113.66" },
		     FL_DECAP_GRE);
	CASE(title("fragments of outer packets pass at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_FRAGMENT, .tunnel = FL_TUNNEL_GRE, .fragment = 0x2000);
	PASSES(FL_DECAP_FRAGMENT, .tunnel = FL_TUNNEL_IPIP, .fragment = 0x0010);
	PASSES(FL_DECAP_FRAGMENT, .tunnel = FL_TUNNEL_GUE, .fragment = 0x2000);
	PASSES(FL_DECAP_COUNT, .tunnel = FL_TUNNEL_GUE, .fragment = 0x0010);
	CASE(title("GRE with checksum, routing, sequence number or version 1 passes at %s%s", at_place(place), ""));
	for (u32 bit = 0; bit < 16; bit++)
		if (bit != 13)
			PASSES(FL_DECAP_HEADER, .tunnel = FL_TUNNEL_GRE, .gre_flags = 1 << bit);
	CASE(title("GUE with options, flags, control messages or version 1 passes at %s%s", at_place(place), ""));
	for (u32 bit = 0; bit < 8; bit++)
		PASSES(FL_DECAP_HEADER, .tunnel = FL_TUNNEL_GUE, .gue_first = 1 << bit);
	PASSES(FL_DECAP_HEADER, .tunnel = FL_TUNNEL_GUE, .gue_third = 0x80);
	CASE(title("lengths that lie pass at %s%s", at_place(place), ""));
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_GRE, .outer_extra = 1);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_GRE, .outer_extra = -1);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_IPIP, .inner_extra = 1);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_IPIP, .inner_extra = -30);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_IPIP, .is_inner_v6 = true, .inner_extra = 1);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_IPIP, .is_outer_v6 = true, .outer_extra = 1);
	PASSES(FL_DECAP_LENGTH, .tunnel = FL_TUNNEL_IPIP, .is_outer_v6 = true, .outer_extra = -10);
}

static const struct wrap every_kind[] = {
	{ .tunnel = FL_TUNNEL_GRE },
	{ .tunnel = FL_TUNNEL_GRE, .has_key = true, .is_inner_v6 = true },
	{ .tunnel = FL_TUNNEL_GRE, .is_outer_v6 = true },
	{ .tunnel = FL_TUNNEL_IPIP, .options = 8 },
	{ .tunnel = FL_TUNNEL_IPIP, .is_outer_v6 = true, .is_inner_v6 = true },
	{ .tunnel = FL_TUNNEL_GUE },
	{ .tunnel = FL_TUNNEL_GUE, .is_outer_v6 = true },
};
#define KINDS (sizeof(every_kind) / sizeof(every_kind[0]))

/* Either nothing changed, or the end of the frame is left behind the MACs: never anything else. */
static bool is_sound(const struct bytes *in, const struct bytes *out)
{
	u32 tail = out->size - 14;

	if (same(in, out))
		return true;
	/* The ECN field and the checksum over it may differ: the first 12 octets of the inner header. */
	return out->size >= 34 && out->size < in->size && memcmp(in->data, out->data, 12) == 0 &&
	       memcmp(in->data + in->size - tail + 12, out->data + 26, tail - 12) == 0;
}

static void test_broken(enum fl_decap_place place)
{
	u32 seed = 2784, odd = 0;

	CASE(title("a frame cut anywhere passes as it came at %s%s", at_place(place), ""));
	for (u32 kind = 0; kind < KINDS; kind++) {
		struct bytes whole = frame_of(&every_kind[kind]);
		/* The kernel gives tc no test run without a whole IP header. */
		u32 least = place == FL_DECAP_AT_XDP ? 14 : every_kind[kind].is_outer_v6 ? 54 : 34;

		for (u32 size = least; size < whole.size; size++) {
			struct bytes cut = whole, out;
			int verdict;

			cut.size = size;
			out = run(place, &cut, &verdict);
			odd += verdict != pass_at(place) || !same(&out, &cut);
		}
	}
	CHECK(odd == 0);
	CASE(title("whatever octets say, a frame is whole or unwrapped, at %s%s", at_place(place), ""));
	for (u32 i = 0; i < 8000; i++) {
		struct bytes frame = frame_of(&every_kind[i % KINDS]), out;
		int verdict;

		for (u32 change = 0; change < 1 + i % 3; change++) {
			seed = seed * 1664525 + 1013904223;
			frame.data[12 + (seed >> 8) % (frame.size - 12)] ^= 1u << (seed >> 4) % 8;
		}
		out = run(place, &frame, &verdict);
		odd += !is_sound(&frame, &out) || (verdict != pass_at(place) && verdict != drop_at(place));
	}
	CHECK(odd == 0);
}

/* RFC 6040, figure 4: the inner ECN field after decapsulation, by the inner and the outer one; -1: dropped. */
static void test_ecn(enum fl_decap_place place)
{
	static const int wanted[4][4] = {
		/* outer:   Not-ECT ECT(1) ECT(0) CE */
		{ 0, 0, 0, -1 }, /* inner Not-ECT */
		{ 1, 1, 1, 3 },	 /* ECT(1) */
		{ 2, 1, 2, 3 },	 /* ECT(0) */
		{ 3, 3, 3, 3 },	 /* CE */
	};

	CASE(title("congestion marks go over to the inner packet as in RFC 6040, at %s%s", at_place(place), ""));
	for (u32 inner = 0; inner < 4; inner++)
		for (u32 outer = 0; outer < 4; outer++)
			for (u32 families = 0; families < 4; families++) {
				struct wrap wrap = { .tunnel = FL_TUNNEL_GRE, .is_inner_v6 = families & 1 };
				struct bytes frame, left, out;
				int verdict;

				wrap.is_outer_v6 = families >> 1;
				wrap.outer_tos = outer;
				wrap.inner_tos = 0xb8 | inner;
				frame = frame_of(&wrap);
				out = run(place, &frame, &verdict);
				if (wanted[inner][outer] < 0) {
					CHECK(verdict == drop_at(place));
					continue;
				}
				wrap.inner_tos = 0xb8 | wanted[inner][outer];
				left = unwrapped(&wrap);
				CHECK(verdict == pass_at(place) && same(&out, &left));
			}
}

static void test_tags(void)
{
	struct wrap wrap = { .tunnel = FL_TUNNEL_GRE };
	struct bytes frame = frame_of(&wrap), plain = unwrapped(&wrap), tagged = { 0 }, wanted = { 0 }, out;
	static const u8 tags[8] = { 0x88, 0xa8, 0, 7, 0x81, 0, 0, 9 };
	int verdict;

	CASE("VLAN tags in the frame stay before the inner packet at xdp");
	for (u32 size = 4; size <= 8; size += 4) {
		tagged.size = wanted.size = 0;
		add(add(add(&tagged, frame.data, 12), tags, size), frame.data + 12, frame.size - 12);
		add(add(add(&wanted, plain.data, 12), tags, size), plain.data + 12, plain.size - 12);
		out = run(FL_DECAP_AT_XDP, &tagged, &verdict);
		CHECK(verdict == pass_at(FL_DECAP_AT_XDP) && same(&out, &wanted));
	}
}

/* Services for every tunnel to both of our addresses, each with its own VIPs and balancers. */
static void attach_all(enum fl_decap_place place)
{
	for (u32 i = 0; i < 8; i++) {
		static const u8 tunnels[4] = { FL_TUNNEL_GRE, FL_TUNNEL_GRE, FL_TUNNEL_IPIP, FL_TUNNEL_GUE };
		const char *local = i < 4 ? LOCAL : LOCAL6, *from = i < 4 ? "192.0.2.0/24" : "2001:db8:b::/64";
		char name[8];
		struct fl_decap_service made;

		snprintf(name, sizeof(name), "all-%u", i);
		made = service(name, tunnels[i % 4], local, from, VIP);
		made.endpoint.has_key = i % 4 == 1;
		made.endpoint.key = made.endpoint.has_key ? htonl(KEY) : 0;
		fl_decap_parse_address(VIP6, &made.vip[made.vip_count++]);
		CHECK(fl_decap_attach(v0, place, &made) >= 0);
	}
	/* A narrower prefix inside another service's: its addresses count for both. */
	struct fl_decap_service narrow = service("narrow", FL_TUNNEL_GRE, LOCAL, "192.0.2.66", "203.0.113.66");

	CHECK(fl_decap_attach(v0, place, &narrow) >= 0);
}

static void detach_all(void)
{
	for (u32 i = 0; i < 8; i++) {
		char name[8];

		snprintf(name, sizeof(name), "all-%u", i);
		CHECK(fl_decap_detach(v0, name) == 1);
	}
	CHECK(fl_decap_detach(v0, "narrow") == 1);
}

static int programs(enum fl_decap_place place)
{
	return place == FL_DECAP_AT_XDP ? lines("ip -d link show dev v0", "name fl_decap_xdp")
					: lines("tc filter show dev v0 ingress", "fl_decap_tc");
}

static void test_places(enum fl_decap_place place)
{
	enum fl_decap_place other = place == FL_DECAP_AT_XDP ? FL_DECAP_AT_TC : FL_DECAP_AT_XDP;
	struct fl_decap_service web = service("web", FL_TUNNEL_GRE, LOCAL, BALANCER, VIP);
	struct fl_decap_service dns = service("dns", FL_TUNNEL_GUE, LOCAL, BALANCER, "203.0.113.53");
	static struct fl_decap_view view;
	struct bytes frame = frame_of(&(struct wrap){ .tunnel = FL_TUNNEL_GRE });
	int verdict;

	CASE(title("attached twice at %s is attached once, and services add up%s", at_place(place), ""));
	CHECK(fl_decap_attach(v0, place, &web) == 0 && fl_decap_attach(v0, place, &web) == 0);
	CHECK(fl_decap_attach(v0, place, &dns) == 0);
	CHECK(programs(place) == 1);
	CHECK(fl_decap_look(v0, place, &view) == 0 && view.service_count == 2);
	CHECK(memcmp(&view.service[0], &web, sizeof(web)) == 0 && memcmp(&view.service[1], &dns, sizeof(dns)) == 0);
	CASE(title("counters go over to the program that replaces another at %s%s", at_place(place), ""));
	run(place, &frame, &verdict);
	CHECK(counted(place, FL_DECAP_GRE) == 1);
	CHECK(fl_decap_attach(v0, place, &web) == 0);
	CHECK(counted(place, FL_DECAP_GRE) == 1);
	CASE(title("a service that moves from %s to %s is at one place only", at_place(place), at_place(other)));
	CHECK(fl_decap_attach(v0, other, &web) == 0);
	CHECK(fl_decap_look(v0, place, &view) == 0 && view.service_count == 1);
	CHECK(strcmp(view.service[0].name, "dns") == 0);
	CHECK(fl_decap_attach(v0, place, &web) == 0 && programs(other) == 0);
	CASE(title("detached at %s, once or twice, the link is as it was%s", at_place(place), ""));
	CHECK(fl_decap_detach(v0, "web") == 1 && fl_decap_detach(v0, "web") == 0);
	CHECK(programs(place) == 1);
	CHECK(fl_decap_detach(v0, "dns") == 1 && fl_decap_detach(v0, "dns") == 0);
	CHECK(programs(place) == 0 && lines("tc qdisc show dev v0", "clsact") == 0);
}

static void test_others(void)
{
	static struct fl_decap_view view;
	struct fl_decap_service web = service("web", FL_TUNNEL_GRE, LOCAL, BALANCER, VIP);

	CASE("another's XDP program is never replaced, and is named");
	RUN("ip link set dev v0 xdp obj build/fairlead.bpf.o sec xdp");
	CHECK(fl_decap_attach(v0, FL_DECAP_AT_XDP, &web) == -EBUSY);
	CHECK(strstr(fl_error(), "v0 has an XDP program of somebody else already: fairlead_xdp (id ") != NULL);
	CHECK(lines("ip -d link show dev v0", "name fairlead_xdp") == 1);
	CASE("at tc it can be unwrapped all the same");
	CHECK(fl_decap_attach(v0, FL_DECAP_AT_TC, &web) == 0);
	CHECK(fl_decap_detach(v0, "web") == 1);
	RUN("ip link set dev v0 xdp off");
	CASE("filters of others stay, and clsact with them");
	CHECK(fl_decap_attach(v0, FL_DECAP_AT_TC, &web) == 0);
	RUN("tc filter add dev v0 ingress pref 9 protocol all bpf bytecode '1,6 0 0 0,'");
	CHECK(fl_decap_detach(v0, "web") == 1);
	CHECK(lines("tc filter show dev v0 ingress", "bytecode") == 1);
	RUN("tc qdisc del dev v0 clsact");
	CASE("where the driver takes no XDP program it runs behind the driver, and this is said");
	RUN("ip link add d0 type bridge && ip link set d0 up");
	CHECK(fl_decap_attach(if_nametoindex("d0"), FL_DECAP_AT_XDP, &web) == 1);
	CHECK(strstr(fl_error(), "behind the driver") != NULL);
	CHECK(fl_decap_attach(if_nametoindex("d0"), FL_DECAP_AT_XDP, &web) == 0);
	CHECK(fl_decap_look(if_nametoindex("d0"), FL_DECAP_AT_XDP, &view) == 0 && view.is_generic);
	CHECK(fl_decap_detach(if_nametoindex("d0"), "web") == 1);
	CHECK(lines("ip -d link show dev d0", "xdp") == 0);
	CASE("a link that is gone is an error in words");
	CHECK(fl_decap_attach(9999, FL_DECAP_AT_XDP, &web) < 0 && fl_error()[0]);
	CHECK(fl_decap_attach(9999, FL_DECAP_AT_TC, &web) < 0 && fl_error()[0]);
}

static bool arrives(int fd, int within_ms)
{
	struct pollfd watched = { .fd = fd, .events = POLLIN };
	u8 data[2000];

	return poll(&watched, 1, within_ms) == 1 && recv(fd, data, sizeof(data), MSG_DONTWAIT) == 8 &&
	       memcmp(data, "fairlead", 8) == 0;
}

/* The inner datagrams have no checksum, which IPv6 forbids: the live test is IPv4 inside, over both families. */
static void test_traffic(enum fl_decap_place place)
{
	struct sockaddr_ll wire_end = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("v1") };
	struct sockaddr_in vip = { .sin_family = AF_INET, .sin_port = htons(0x0707) };
	int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0),
	    server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CASE(title("live frames reach the VIP on lo through %s%s", at_place(place), ""));
	inet_pton(AF_INET, VIP, &vip.sin_addr);
	CHECK(bind(server, (struct sockaddr *)&vip, sizeof(vip)) == 0);
	CHECK(bind(wire, (struct sockaddr *)&wire_end, sizeof(wire_end)) == 0);
	for (u32 kind = 0; kind < KINDS; kind++) {
		struct bytes frame = frame_of(&every_kind[kind]);

		if (every_kind[kind].is_inner_v6)
			continue;
		CHECK(send(wire, frame.data, frame.size, 0) == (ssize_t)frame.size);
		CHECK(arrives(server, 2000));
	}
	close(wire);
	close(server);
}

static bool stage_open(void)
{
	if (unshare(CLONE_NEWNET) < 0) {
		printf("not permitted here: network namespaces take root\n");
		return false;
	}
	RUN("ip link set lo up && ip link add v0 type veth peer name v1");
	RUN("ip link set v0 address 02:00:00:00:00:0a up && ip link set v1 up");
	RUN("ip addr add " LOCAL "/24 dev v0 && ip addr add " VIP "/32 dev lo && ip route add default dev v0");
	RUN("sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.v0.rp_filter=0");
	v0 = if_nametoindex("v0");
	return v0 != 0;
}

int main(void)
{
	if (!stage_open())
		return 1;
	for (int place = FL_DECAP_AT_XDP; place <= FL_DECAP_AT_TC; place++) {
		test_places(place);
		attach_all(place);
		test_layouts(place);
		test_passing(place);
		test_broken(place);
		test_ecn(place);
		if (place == FL_DECAP_AT_XDP)
			test_tags();
		test_traffic(place);
		detach_all();
	}
	test_others();
	return check_end();
}
