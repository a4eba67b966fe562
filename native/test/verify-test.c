/*
 * The core as the kernel has it: the verifier takes it, well below its limit, and what it makes of a frame is what user
 * space makes of it. The kernel runs the program over frames (BPF_PROG_TEST_RUN), so no wire is needed. Root only.
 *
 * Two like worlds, one in this process, one in the program's maps: each frame goes through both. The kernel reads its
 * own clock; user space gets the latest tick that it left in its maps.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>

#include "check.h"
#include "core-world.h"

#define SLOTS 64
#define INSTRUCTIONS_MAX 500000 /* half of what the kernel allows: room for other kernels and compilers */
#define LOG_SIZE (16 << 20)
#define ROOM 2048

static struct fl_region region;
static struct bpf_object *object;
static int program;

static const struct {
	const char *map;
	size_t offset; /* of the section's pointer in struct fl_region */
	size_t element;
} sections[FL_SECTION_COUNT] = {
#define X(NAME, name, type, halves) { "fl_" #name, __builtin_offsetof(struct fl_region, name), sizeof(type) },
	FL_SECTIONS(X)
#undef X
};

static u8 *section_at(u32 section, u64 index)
{
	u8 *first;

	memcpy(&first, (u8 *)&region + sections[section].offset, sizeof(first));
	return first + index * sections[section].element;
}

static int map_of(u32 section)
{
	return bpf_object__find_map_fd_by_name(object, sections[section].map);
}

static int print_warnings(enum libbpf_print_level level, const char *format, va_list values)
{
	/* The verifier's log is in a buffer, and of it only the end matters. */
	return level == LIBBPF_WARN && !strstr(format, "BEGIN PROG LOAD LOG") ? vfprintf(stderr, format, values) : 0;
}

static void print_last_lines(const char *text, int lines)
{
	const char *at = text + strlen(text);

	while (at > text && (at[-1] != '\n' || lines-- > 0))
		at--;
	printf("%s\n", at);
}

static int load(const char *path)
{
	static char log[LOG_SIZE];
	struct bpf_program *only;
	int code;

	libbpf_set_print(print_warnings);
	object = bpf_object__open(path);
	only = object ? bpf_object__find_program_by_name(object, "fairlead_xdp") : NULL;
	if (!only) {
		printf("  %s: no program in it: %s\n", path, strerror(errno));
		return -1;
	}
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, sections[section].map),
					 region.count[section]);
	bpf_program__set_log_buf(only, log, sizeof(log));
	bpf_program__set_log_level(only, 1);
	code = bpf_object__load(object);
	if (code) {
		print_last_lines(log, 40);
		return code;
	}
	program = bpf_program__fd(only);
	return 0;
}

static void maps_fill(void)
{
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		for (u32 i = 0; i < region.count[section]; i++)
			if (bpf_map_update_elem(map_of(section), &i, section_at(section, i), 0))
				abort();
}

/* The name of the first section that the kernel's world has otherwise, or NULL. */
static const char *maps_differ(void)
{
	u8 value[4096] __attribute__((aligned(8)));

	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		for (u32 i = 0; i < region.count[section]; i++) {
			if (sections[section].element > sizeof(value) ||
			    bpf_map_lookup_elem(map_of(section), &i, value))
				abort();
			if (memcmp(value, section_at(section, i), sections[section].element)) {
				printf("  %s[%u] differs\n", sections[section].map, i);
				return sections[section].map;
			}
		}
	return NULL;
}

/* The latest tick in the kernel's world: of a flow's frame or an ICMP error. Nothing else there depends on the clock. */
static u32 tick_seen(void)
{
	u32 first = 0, latest;
	struct fl_worker worker;

	if (bpf_map_lookup_elem(map_of(FL_SECTION_WORKERS), &first, &worker))
		abort();
	latest = worker.icmp_tick;
	for (u32 i = 0; i < region.count[FL_SECTION_FLOWS]; i++) {
		struct fl_flow flow;

		if (bpf_map_lookup_elem(map_of(FL_SECTION_FLOWS), &i, &flow))
			abort();
		if (flow.seen > latest)
			latest = flow.seen;
	}
	return latest;
}

struct outcome {
	u32 action; /* enum xdp_action */
	u32 size;
	u8 data[ROOM];
	u8 reason; /* user space's */
	int is_same;
};

static int action_of(u8 verdict)
{
	if (verdict == FL_PASS)
		return XDP_PASS;
	return verdict == FL_DROP ? XDP_DROP : XDP_TX;
}

/* The frame through both worlds: what the kernel made of it, and whether user space agrees. */
static struct outcome both(const u8 *data, u32 size)
{
	static u8 copy[ROOM];
	struct outcome outcome = { .is_same = 1 };
	struct fl_result result = { 0 };
	struct fl_frame frame = { .data = copy, .len = size, .room = ROOM };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data, .data_size_in = size, .data_out = outcome.data,
		    .data_size_out = ROOM);

	if (bpf_prog_test_run_opts(program, &options)) {
		printf("  test run: %s\n", strerror(errno));
		abort();
	}
	outcome.action = options.retval;
	outcome.size = options.data_size_out;
	memcpy(copy, data, size);
	fl_forward(&region, &frame, (u64)tick_seen() << FL_TICK_SHIFT, &result);
	outcome.reason = result.reason;
	if (outcome.action != (u32)action_of(result.verdict) || outcome.size != frame.len ||
	    (outcome.action == XDP_TX && memcmp(outcome.data, copy, frame.len))) {
		printf("  kernel: action %u, %u octets; user space: reason %u, %u octets\n", outcome.action,
		       outcome.size, result.reason, frame.len);
		outcome.is_same = 0;
	}
	return outcome;
}

static struct outcome send_ends(const struct world_ends *ends)
{
	u8 data[ROOM];

	return both(data, world_frame(data, ends));
}

static struct world_ends to_service(u32 service, u32 client, u16 port, u8 flags)
{
	int is_v6 = service & WORLD_V6 ? 1 : 0;

	return (struct world_ends){
		.from = world_client(client, is_v6),
		.to = world_vip(service),
		.from_port = port,
		.to_port = WORLD_VIP_PORT,
		.protocol = world_protocol(service),
		.flags = flags,
		.is_v6 = is_v6,
		.ttl = 64,
	};
}

/* The answer to a frame that went to a server: its ends swapped. It too comes in by interface 0. */
static struct world_ends answer_to(const struct outcome *sent, u8 flags)
{
	const u8 *ip = sent->data + FL_ETHER_HEADER;
	struct world_ends ends = { .is_v6 = ip[0] >> 4 == 6, .flags = flags, .ttl = 64 };
	const u8 *l4 = ip + (ends.is_v6 ? FL_IPV6_HEADER : 20);

	ends.protocol = ends.is_v6 ? ip[6] : ip[9];
	fl_get_addr(&ends.to, ip + (ends.is_v6 ? 8 : 12), ends.is_v6);
	fl_get_addr(&ends.from, ip + (ends.is_v6 ? 24 : 16), ends.is_v6);
	ends.to_port = FL_BE16(fl_get16(l4));
	ends.from_port = FL_BE16(fl_get16(l4 + 2));
	return ends;
}

/* Are both checksums of a TCP or UDP frame over IPv4 right, counted from scratch? */
static int sums_are_right(const struct outcome *outcome)
{
	const u8 *ip = outcome->data + FL_ETHER_HEADER;

	return world_sum(ip, 20, 0) == 0xffff && world_l4_sum(ip, outcome->size - 34, 0, ip[9]) == 0xffff;
}

static void test_arp(void)
{
	/* 198.51.100.7 asks for 203.0.113.10 */
	static const u8 question[42] = { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 9,	9, 8,	6,
					 0,   1,   8,	0,   6,	  4,   0, 1, 2, 0, 0,	0, 9,	9,
					 198, 51,  100, 7,   0,	  0,   0, 0, 0, 0, 203, 0, 113, 10 };
	static const u8 reply[42] = { 2, 0, 0, 0, 9, 9, 2, 0,	0, 0,	0,  1, 8, 6, 0, 1, 8, 0,   6,  4,   0,
				      2, 2, 0, 0, 0, 0, 1, 203, 0, 113, 10, 2, 0, 0, 0, 9, 9, 198, 51, 100, 7 };
	struct outcome outcome;
	u8 other[42];

	CASE("an ARP request for a VIP comes back as the reply");
	outcome = both(question, sizeof(question));
	CHECK(outcome.is_same);
	CHECK(outcome.action == XDP_TX);
	CHECK(outcome.size == sizeof(reply) && !memcmp(outcome.data, reply, sizeof(reply)));

	CASE("an ARP request for another address is the host's");
	memcpy(other, question, sizeof(other));
	other[41] = 99;
	outcome = both(other, sizeof(other));
	CHECK(outcome.is_same && outcome.action == XDP_PASS);
}

static void test_connection(void)
{
	struct world_ends syn = to_service(0, 7, 4000, FL_TCP_SYN);
	struct outcome there, back;
	struct world_ends answer;

	CASE("a SYN to a service goes to a server, by its next hop, with right checksums");
	there = send_ends(&syn);
	CHECK(there.is_same && there.reason == FL_REASON_NEW_FLOW);
	CHECK(there.action == XDP_TX);
	CHECK(sums_are_right(&there));
	answer = answer_to(&there, FL_TCP_SYN | FL_TCP_ACK);
	CHECK(answer.from_port == WORLD_SERVER_PORT && answer.to_port == 4000);
	CHECK(fl_addr_same(&answer.to, &syn.from));
	CHECK((FL_BE32(answer.from.word[0]) & ~1u) == FL_BE32(world_server(0).word[0]));
	CHECK(there.data[4] == 1 && there.data[5] == (FL_BE32(answer.from.word[0]) & 1)); /* the hop of that slot */
	CHECK(there.data[22] == 63);

	CASE("its SYN+ACK goes back to the client from the VIP, with right checksums");
	back = send_ends(&answer);
	CHECK(back.is_same && back.reason == FL_REASON_SERVER_HIT);
	CHECK(back.action == XDP_TX);
	CHECK(sums_are_right(&back));
	answer = answer_to(&back, FL_TCP_ACK);
	CHECK(answer.from_port == 4000 && answer.to_port == WORLD_VIP_PORT);
	CHECK(fl_addr_same(&answer.to, &syn.to) && fl_addr_same(&answer.from, &syn.from));

	CASE("a frame between strangers is the host's");
	syn.to = world_addr(0xc0a80000, 1, 0);
	CHECK(send_ends(&syn).action == XDP_PASS);
}

static void test_services(void)
{
	static const u8 client_flags[] = { FL_TCP_ACK, FL_TCP_ACK | FL_TCP_FIN, FL_TCP_SYN, FL_TCP_RST };
	static const u8 server_flags[] = { FL_TCP_SYN | FL_TCP_ACK, FL_TCP_ACK, FL_TCP_ACK | FL_TCP_FIN };

	CASE("each method, protocol and family has its flow's whole life as in user space");
	for (u32 service = 0; service < WORLD_SERVICES; service++) {
		struct world_ends ends = to_service(service, 20 + service, 5000, FL_TCP_SYN);
		struct outcome there = send_ends(&ends);

		CHECK(there.is_same && there.reason == FL_REASON_NEW_FLOW);
		for (u32 i = 0; i < sizeof(server_flags); i++) {
			struct world_ends answer = answer_to(&there, server_flags[i]);
			struct outcome back = send_ends(&answer);

			CHECK(back.is_same && back.reason == FL_REASON_SERVER_HIT);
			ends.flags = client_flags[i];
			ends.payload = 100 * i + 1;
			CHECK(send_ends(&ends).is_same);
		}
	}
}

static void test_errors(void)
{
	struct world_ends ends = to_service(0, 30, 6000, FL_TCP_SYN);
	u8 data[ROOM];
	u32 size;

	CASE("ICMP errors grow or shrink the frame as in user space");
	for (u32 family = 0; family <= WORLD_V6; family += WORLD_V6) {
		struct outcome outcome;

		ends = to_service(family, 30, 6000, FL_TCP_SYN);
		ends.ttl = 1;
		outcome = send_ends(&ends);
		CHECK(outcome.is_same && outcome.reason == FL_REASON_TIME_EXCEEDED);
		ends.ttl = 64;
		CHECK(send_ends(&ends).reason == FL_REASON_NEW_FLOW);
		ends.flags = FL_TCP_ACK;
		ends.payload = 1400; /* the inside interface has MTU 1400 */
		outcome = send_ends(&ends);
		CHECK(outcome.is_same && outcome.reason == FL_REASON_TOO_BIG);
	}

	CASE("a frame cut anywhere is judged as in user space");
	ends = to_service(0, 31, 6000, FL_TCP_SYN);
	size = world_frame(data, &ends);
	for (u32 cut = FL_ETHER_HEADER; cut < size; cut++)
		CHECK(both(data, cut).is_same);
	ends = to_service(WORLD_V6, 31, 6000, FL_TCP_SYN);
	size = world_frame(data, &ends);
	for (u32 cut = FL_ETHER_HEADER; cut < size; cut++)
		CHECK(both(data, cut).is_same);
}

/* An ICMP or ICMPv6 message to an address, in place of a UDP datagram's header and payload. */
static struct outcome send_icmp(const struct world_ends *ends, u8 ttl, const u8 *message, u32 message_size)
{
	u8 data[ROOM];
	struct world_ends udp = *ends;
	u8 *ip = data + FL_ETHER_HEADER, *l4;
	u32 size;

	udp.protocol = FL_PROTOCOL_UDP;
	udp.ttl = ttl;
	udp.payload = message_size - 8;
	size = world_frame(data, &udp);
	l4 = data + size - message_size;
	memcpy(l4, message, message_size);
	if (ends->is_v6) {
		ip[6] = FL_PROTOCOL_ICMP6;
		fl_put16(l4 + 2, FL_BE16(~world_l4_sum(ip, message_size, 1, FL_PROTOCOL_ICMP6)));
	} else {
		ip[9] = FL_PROTOCOL_ICMP;
		fl_put16(ip + 10, 0);
		fl_put16(ip + 10, FL_BE16(~world_sum(ip, 20, 0)));
		fl_put16(l4 + 2, FL_BE16(~world_sum(l4, message_size, 0)));
	}
	return both(data, size);
}

static void test_answers(void)
{
	static const u8 echo[64] = { FL_ICMP_ECHO, 0, 0, 0, 1, 2, 3, 4, 5 };
	u8 message[64] = { FL_ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 5 };
	struct world_ends ends = to_service(0, 40, 0, 0);
	struct fl_addr vip = world_vip(WORLD_V6);
	struct outcome outcome;

	CASE("a VIP answers echo requests and neighbour solicitations as in user space");
	outcome = send_icmp(&ends, 64, echo, sizeof(echo));
	CHECK(outcome.is_same && outcome.reason == FL_REASON_ECHO_REPLY);
	ends = to_service(WORLD_V6, 40, 0, 0);
	outcome = send_icmp(&ends, 64, message, sizeof(message));
	CHECK(outcome.is_same && outcome.reason == FL_REASON_ECHO_REPLY);
	memset(message, 0, sizeof(message));
	message[0] = FL_ICMP6_SOLICITATION;
	memcpy(message + 8, &vip, 16);
	for (u32 size = 24; size <= 32; size += 8) { /* the answer is longer, then as long */
		outcome = send_icmp(&ends, 255, message, size);
		CHECK(outcome.is_same && outcome.reason == FL_REASON_NDP_REPLY);
	}
}

static void test_full(void)
{
	u32 before = region.workers[0].reasons[FL_REASON_NEW_FLOW];

	CASE("a table with no room makes room as in user space");
	for (u32 client = 0; client < 4 * SLOTS; client++) {
		struct world_ends ends = to_service(client % WORLD_SERVICES, client, 7000 + client, FL_TCP_SYN);
		struct outcome there = send_ends(&ends);

		CHECK(there.is_same);
		if (there.reason != FL_REASON_NEW_FLOW || client % 3)
			continue;
		ends = answer_to(&there, FL_TCP_SYN | FL_TCP_ACK);
		CHECK(send_ends(&ends).is_same);
	}
	CHECK(region.workers[0].reasons[FL_REASON_NEW_FLOW] - before > SLOTS);
}

int main(int count, char **arguments)
{
	struct bpf_prog_info info = { 0 };
	u32 size = sizeof(info);

	world_open(&region, SLOTS, 1);
	CASE("the verifier takes the core, and walks less than half of what it would");
	CHECK(load(count > 1 ? arguments[1] : "build/fairlead.bpf.o") == 0);
	if (!program)
		return check_end();
	CHECK(bpf_obj_get_info_by_fd(program, &info, &size) == 0);
	printf("  %u instructions verified\n", info.verified_insns);
	CHECK(info.verified_insns > 0 && info.verified_insns < INSTRUCTIONS_MAX);
	maps_fill();
	test_arp();
	test_connection();
	test_services();
	test_errors();
	test_answers();
	test_full();
	CASE("after all that every section of the region is as in user space");
	CHECK(maps_differ() == NULL);
	CHECK(world_fault(&region) == NULL);
	bpf_object__close(object);
	return check_end();
}
