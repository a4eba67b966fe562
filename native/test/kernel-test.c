/*
 * The core as the kernel has it: the verifier takes both programs of both entries, well below its limit, and what they
 * make of any frame is what user space makes of it, octet for octet, flow for flow and count for count. Root only; with
 * a number as argument, that many random frames for each entry.
 *
 * Two like worlds with one clock, one in this process, one in the programs' maps: each frame, each sweep and each commit
 * goes to both.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>

#include "../engine/program.h"
#include "../engine/replay.h"
#include "check.h"
#include "core-odd.h"

#define SLOTS 512
#define ROOM 4096
#define QUOTE 128
#define HEAD 64			/* for a tunnel's headers */
#define INSTRUCTIONS_MAX 700000 /* of the million that the kernel allows: room for other kernels and compilers */
#define FRAMES 500000
#define LEAST_OF_TC 54 /* the kernel runs no socket buffer without its IP header */

static struct fl_region ours, theirs;
static struct fl_replayer *replayer;
static bool is_tc;
static u32 processor, generations[WORLD_SERVERS], last_generation;
static u64 now;
static u64 random_state = 88172645463325252ull;

static u32 some(u32 bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (u32)((random_state >> 32) * bound >> 32);
}

/* Counters go by processor: only one is used. */
static void stay_here(void)
{
	cpu_set_t one;

	processor = (u32)sched_getcpu();
	CPU_ZERO(&one);
	CPU_SET(processor, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void open_worlds(void)
{
	u32 workers = (u32)libbpf_num_possible_cpus() + 1;
	struct fl_sizes sizes = world_sizes(SLOTS, workers);
	enum fl_open_outcome outcome;

	world_open(&ours, SLOTS, workers);
	if (fl_region_open(&theirs, "", FL_OPEN_MAPS, &sizes, workers, &outcome)) {
		printf("  %s\n", fl_error());
		abort();
	}
	for (u32 section = 0; section < FL_SECTION_COUNT; section++)
		memcpy(fl_region_section(&theirs, section), fl_region_section(&ours, section),
		       fl_region_octets(&ours, section));
	/* Ports are congruent to a worker's number where frames are steered, and in the kernel they are not. */
	ours.header->worker_count = 1;
	world_generations(generations);
	last_generation = 1;
	now = 1000 * WORLD_TICK;
}

static void close_worlds(void)
{
	fl_region_close(&ours);
	fl_region_close(&theirs);
}

static u64 counted(const struct fl_region *region, u32 reason)
{
	u64 sum = 0;

	for (u64 worker = 0; worker < region->count[FL_SECTION_WORKERS]; worker++)
		sum += region->workers[worker].reasons[reason];
	return sum;
}

/* What the kernel hands up is counted by another worker, and once more as that. */
static int counts_differ(void)
{
	for (u32 reason = 0; reason < FL_REASON_COUNT; reason++) {
		if (reason == FL_REASON_SLOW_PATH || counted(&ours, reason) == counted(&theirs, reason))
			continue;
		printf("  reason %u: %llu here, %llu in the kernel\n", reason,
		       (unsigned long long)counted(&ours, reason), (unsigned long long)counted(&theirs, reason));
		return 1;
	}
	return 0;
}

static int worlds_differ(void)
{
	if (counts_differ())
		return 1;
	for (u32 section = FL_SECTION_SETTINGS; section < FL_SECTION_COUNT; section++) {
		const u8 *a = fl_region_section(&ours, section), *b = fl_region_section(&theirs, section);
		u64 octets = section == FL_SECTION_WORKERS ? 0 : fl_region_octets(&ours, section);

		for (u64 i = 0; i < octets; i++) {
			if (a[i] == b[i])
				continue;
			printf("  section %u differs at octet %llu: %u here, %u in the kernel\n", section,
			       (unsigned long long)i, a[i], b[i]);
			return 1;
		}
	}
	return 0;
}

struct outcome {
	u32 len;
	u8 data[ROOM];
	struct fl_result result;
	int is_same;
};

/* The frame through both worlds. */
static struct outcome both(const u8 *data, u32 len, u8 interface)
{
	static u8 mine[ROOM], kernels[ROOM];
	struct fl_frame here = {
		.data = mine + HEAD, .len = len, .room = ROOM - HEAD, .head = HEAD, .interface = interface
	};
	struct fl_frame there = { .data = kernels, .len = len, .room = ROOM, .interface = interface };
	struct fl_result result = { 0 };
	struct outcome outcome = { .is_same = 1 };
	int leaves;

	here.worker = (u16)processor;
	memcpy(here.data, data, len);
	memcpy(kernels, data, len);
	fl_replay(&ours, &here, now, &outcome.result);
	if (fl_replayer_run(replayer, &there, now, &result)) {
		printf("  %s\n", fl_error());
		abort();
	}
	leaves = outcome.result.verdict == FL_FORWARD || outcome.result.verdict == FL_ANSWER;
	if (result.verdict != outcome.result.verdict || result.reason != outcome.result.reason ||
	    (leaves && (result.out_interface != outcome.result.out_interface || here.len != there.len ||
			memcmp(here.data, kernels, here.len)))) {
		printf("  user space: reason %u, %u octets; kernel: reason %u, %u octets\n", outcome.result.reason,
		       here.len, result.reason, there.len);
		outcome.is_same = 0;
	}
	outcome.len = here.len;
	memcpy(outcome.data, here.data, here.len);
	return outcome;
}

/* From where a flow is: nowhere, a little, within what may be under way, and beyond, on either side. */
static u32 some_distance(void)
{
	static const u32 far[] = { 1, 4, 2 * FL_RESET_NEAR, 2 * FL_WINDOW, 1u << 31 };
	u32 distance = some(far[some(5)]);

	return some(2) ? distance : -distance;
}

/* A frame of a few clients and services, so that flows are met again, with what a connection's frames carry. */
static u32 make_frame(u8 *data, u8 *interface)
{
	static const u8 flags[] = { FL_TCP_SYN,
				    FL_TCP_SYN,
				    FL_TCP_ACK,
				    FL_TCP_ACK,
				    FL_TCP_ACK | FL_TCP_PSH,
				    FL_TCP_ACK | FL_TCP_FIN,
				    FL_TCP_RST,
				    FL_TCP_SYN | FL_TCP_ACK };
	u32 service = some(WORLD_SERVICES);
	struct world_ends ends = {
		.from = world_client(some(40), service & WORLD_V6 ? 1 : 0),
		.to = world_vip(service),
		.from_port = (u16)(3000 + some(8)),
		.to_port = WORLD_VIP_PORT,
		.protocol = world_protocol(service),
		.flags = flags[some(sizeof(flags))],
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = some(40) ? 64 : (u8)some(3),
		.payload = some(8) ? some(40) : some(1500),
		.acknowledged = some(3),
	};

	if (ends.flags & FL_TCP_RST)
		ends.sequence = some_distance();
	*interface = (u8)(some(10) == 0);
	ends.interface = *interface;
	return world_frame(data, &ends);
}

/* An answer to a frame that was sent on, with these flags if it is TCP: its ends swapped, as it left. */
static u32 make_answer_with(u8 *data, const struct outcome *sent, u8 *interface, u8 flags)
{
	const u8 *ip = sent->data + FL_ETHER_HEADER, *l4;
	struct world_ends ends = { .is_v6 = ip[0] >> 4 == 6, .flags = flags, .ttl = 64 };

	l4 = ip + (ends.is_v6 ? FL_IPV6_HEADER : (ip[0] & 15) * 4);
	ends.protocol = ends.is_v6 ? ip[6] : ip[9];
	fl_get_addr(&ends.to, ip + (ends.is_v6 ? 8 : 12), ends.is_v6);
	fl_get_addr(&ends.from, ip + (ends.is_v6 ? 24 : 16), ends.is_v6);
	ends.to_port = FL_BE16(fl_get16(l4));
	ends.from_port = FL_BE16(fl_get16(l4 + 2));
	ends.payload = some(60);
	*interface = ends.interface = sent->result.out_interface;
	return world_frame(data, &ends);
}

static u32 make_answer(u8 *data, const struct outcome *sent, u8 *interface)
{
	static const u8 flags[] = { FL_TCP_SYN | FL_TCP_ACK, FL_TCP_SYN | FL_TCP_ACK, FL_TCP_ACK,
				    FL_TCP_ACK | FL_TCP_FIN, FL_TCP_RST };

	return make_answer_with(data, sent, interface, flags[some(sizeof(flags))]);
}

/* What a router says of a frame that was sent on, to whom it seems to come from: a client, or for its answers a VIP; or a
 * client says it of a dsr server's answer. Some quote less than they ought to, some a packet with options or extension
 * headers. */
static u32 make_error(u8 *data, const struct outcome *sent, u8 *interface)
{
	u8 about[ROOM];
	const u8 *ip = about + FL_ETHER_HEADER;
	u32 len = sent->len, most = QUOTE, size;
	struct world_ends ends = { .ttl = some(40) ? 64 : (u8)some(3) };
	u16 kind;

	memcpy(about, sent->data, len);
	ends.interface = *interface = sent->result.out_interface;
	ends.is_v6 = ip[0] >> 4 == 6;
	if (some(4) == 0 && len >= 74) {
		len = make_answer(about, sent, interface);
		most = 28 + ends.is_v6 * 20;
		ends.interface = *interface = 0;
	}
	if (some(4) == 0 && len >= 60) {
		size = len;
		len = odd_add(about, len, some(100));
		most += len - size;
	}
	size = len - FL_ETHER_HEADER < most ? len - FL_ETHER_HEADER : most;
	if (some(8) == 0)
		size = some(size + 1);
	kind = some(2) ? (ends.is_v6 ? FL_ICMP6_TOO_BIG << 8 : 0x304) : odd_error_kind(some(8), ends.is_v6);
	ends.from = some(8) ? world_addr(ends.is_v6 ? 0xfd000009 : 0x0a000900, 9, ends.is_v6)
			    : world_server(some(WORLD_SERVERS));
	fl_get_addr(&ends.to, ip + (ends.is_v6 ? 8 : 12), ends.is_v6);
	return odd_icmp(data, &ends, kind, ends.is_v6 ? 1280 + some(200) : some(1500), ip, size);
}

/* Does a plain ICMP error quote a packet with options or extension headers? */
static bool is_quote_odd(const u8 *data)
{
	const u8 *ip = data + FL_ETHER_HEADER;

	if (ip[0] >> 4 == 6)
		return ip[6] == FL_PROTOCOL_ICMP6 && fl_is_extension(ip[FL_IPV6_HEADER + 8 + 6]);
	return ip[0] == 0x45 && ip[20 + 8] > 0x45;
}

/* An untagged IPv4 frame? */
static bool is_to_client(const u8 *data)
{
	u32 to = fl_get32(data + FL_ETHER_HEADER + 16);

	return data[FL_ETHER_HEADER] >> 4 == 4 && (to & FL_BE32(0xffffff00)) == world_client(0, 0).word[0];
}

/* The server does not own the VIP and sends the frame to its gateway. */
static u32 make_return(u8 *data, const struct outcome *sent, u8 *interface)
{
	static const u8 ours_mac[6] = { 2, 0, 0, 0, 0, 2 };

	memcpy(data, sent->data, sent->len);
	memcpy(data + 6, data, 6);
	memcpy(data, ours_mac, 6);
	*interface = 1;
	return sent->len;
}

static u32 make_next(u8 *data, const struct outcome *last, u8 *interface)
{
	if (!last->len || some(2))
		return make_frame(data, interface);
	switch (some(9)) {
	case 0:
	case 1:
		return make_error(data, last, interface);
	case 2:
		return make_return(data, last, interface);
	default:
		return make_answer(data, last, interface);
	}
}

/* A piece of it: of few datagrams, so that pieces meet, in any order. */
static u32 cut(u8 *data, u32 len)
{
	u32 from = some(3) ? 0 : 8 * some(8), size = some(4) ? 8 * (1 + some(6)) : some(80);

	return world_cut(data, len, some(6), some(4) ? from : 48, size, some(3) == 0);
}

/* What follows the packet: padding, or a trailer. */
static u32 pad(u8 *data, u32 len)
{
	u32 size = len < FL_ETHER_LEAST && some(4) ? FL_ETHER_LEAST - len : some(100);

	memset(data + len, 0xee, size);
	return len + size;
}

/* What a broken or hostile sender makes of it. */
static u32 bend(u8 *data, u32 len)
{
	u32 least = is_tc ? LEAST_OF_TC : FL_ETHER_HEADER;

	if (some(4) == 0 && len > least)
		len = least + some(len - least);
	for (u32 i = some(4); i; i--)
		data[some(4) ? some(len < 60 ? len : 60) : some(len)] = (u8)some(256);
	if (some(8) == 0 && len > 16) {
		static const u16 types[] = { FL_BE16(0x0806), FL_BE16(0x8100), FL_BE16(0x86dd), FL_BE16(0x0800) };

		fl_put16(data + 12, types[some(4)]);
	}
	return len;
}

static void commit_both(u32 taking)
{
	ours.header->worker_count = theirs.header->worker_count; /* whose counts a commit forgets */
	CHECK(world_commit_taking(&ours, generations, taking) == 0 &&
	      world_commit_taking(&theirs, generations, taking) == 0);
	ours.header->worker_count = 1;
}

static void give_and_take_servers(void)
{
	u32 slot = some(WORLD_SERVERS), taking = some(2) ? ~0u : some(~0u);

	world_max_flows = some(3) ? 0 : 1 + some(6);
	world_moving = some(~0u);
	world_half_open = some(3) ? 1 + some(60) : 0;
	if (world_is_used(generations[slot]) && some(2)) /* its flows are ended */
		generations[slot] = (generations[slot] + FL_GENERATION_EPOCH_ONE) & ~WORLD_GONE;
	else
		generations[slot] =
			world_is_used(generations[slot]) ? generations[slot] | WORLD_GONE : ++last_generation;
	commit_both(taking);
}

/* A connection over nat is made, its servers' flows are ended, its client goes on: what that frame came to. */
static struct outcome end_what_stands(void)
{
	u32 service = some(2) | some(2) * WORLD_V6;
	struct world_ends ends = {
		.from = world_client(some(40), service & WORLD_V6 ? 1 : 0),
		.to = world_vip(service),
		.from_port = (u16)(4000 + some(8)),
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = FL_TCP_SYN,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
	};
	struct outcome last;
	u8 data[ROOM], interface;

	world_max_flows = 0;
	world_moving = 0;
	for (u32 slot = service * 2; slot < service * 2 + 2; slot++)
		if (!world_is_used(generations[slot]))
			generations[slot] = ++last_generation;
	commit_both(~0u);
	last = both(data, world_frame(data, &ends), 0);
	if (!last.is_same || last.result.verdict != FL_FORWARD)
		return last;
	last = both(data, make_answer_with(data, &last, &interface, FL_TCP_SYN | FL_TCP_ACK), interface);
	if (!last.is_same)
		return last;
	ends.flags = FL_TCP_ACK;
	ends.sequence = ends.acknowledged = 1;
	last = both(data, world_frame(data, &ends), 0);
	for (u32 slot = service * 2; slot < service * 2 + 2; slot++)
		generations[slot] += FL_GENERATION_EPOCH_ONE;
	commit_both(~0u);
	now += WORLD_TICK; /* in which RSTs may be sent again */
	return last.is_same ? both(data, world_frame(data, &ends), 0) : last;
}

/* The kernel runs nothing shorter than headers it looks at itself. */
static bool is_run(u32 len)
{
	return len >= (is_tc ? LEAST_OF_TC : FL_ETHER_HEADER);
}

static bool is_computing(void)
{
	for (u32 service = 0; service < WORLD_SERVICES; service++)
		if (ours.service_state[service].computing_since)
			return true;
	return false;
}

static void test_random(u32 frames)
{
	struct outcome last = { 0 };
	u32 reasons[FL_REASON_COUNT] = { 0 }, translated[2] = { 0 }, odd[2] = { 0 }, kinds = 0, computing = 0,
	    joined = 0, short_to_clients = 0;
	u8 data[ROOM];

	for (u32 i = 0; i < frames; i++) {
		u8 interface = 0;
		u32 len = make_next(data, &last, &interface);

		if (some(6) == 0)
			len = cut(data, len);
		if (some(10) == 0)
			len = odd_add(data, len, some(100));
		if (some(4) == 0)
			len = pad(data, len);
		if (some(6) == 0)
			len = bend(data, len);
		if (some(500) == 0)
			now += some(40) * WORLD_TICK;
		now += some(2000000); /* ns: a handshake takes some */
		if (some(20000) == 0)
			CHECK(fl_age_sweep(&ours, now) == fl_age_sweep(&theirs, now));
		if (some(5000) == 0)
			give_and_take_servers();
		if (!is_run(len))
			continue;
		last = some(5000) ? both(data, len, interface) : end_what_stands();
		CHECK(last.is_same);
		if (!last.is_same)
			return;
		reasons[last.result.reason]++;
		if (last.result.reason == FL_REASON_ICMP_ERROR && fl_get32(last.data + 30) != fl_get32(data + 30))
			translated[last.result.out_interface]++;
		if (last.result.reason == FL_REASON_ICMP_ERROR)
			odd[data[FL_ETHER_HEADER] >> 4 == 6] += is_quote_odd(data);
		short_to_clients += last.result.reason == FL_REASON_SHORT_QUOTE && is_to_client(data);
		computing += is_computing();
		joined += is_computing() && last.result.reason == FL_REASON_NEW_FLOW;
		if (last.result.verdict != FL_FORWARD)
			last.len = 0;
	}
	for (u32 i = 0; i < FL_REASON_COUNT; i++)
		kinds += reasons[i] > 0;
	printf("  %u frames, %u reasons; %u hits, %u new flows; %u errors to clients, %u to servers, quoting options "
	       "%u, "
	       "extensions %u\n",
	       frames, kinds, reasons[FL_REASON_CLIENT_HIT] + reasons[FL_REASON_SERVER_HIT],
	       reasons[FL_REASON_NEW_FLOW], translated[0], translated[1], odd[0], odd[1]);
	printf("  a service compute-only in %u frames, %u of them new flows; %u without a flow, %u answers to such\n",
	       computing, joined, reasons[FL_REASON_UNTRACKED], reasons[FL_REASON_UNTRACKED_ANSWER]);
	CHECK(computing && computing < frames && joined);
	CHECK(kinds >= 18);
	CHECK(reasons[FL_REASON_REFUSED_GONE]);
	CHECK(reasons[FL_REASON_PATH_MTU] && reasons[FL_REASON_ICMP_ERROR] && reasons[FL_REASON_CAME_BACK] &&
	      reasons[FL_REASON_UNTRACKED] && reasons[FL_REASON_SERVERS_FULL]);
	CHECK(reasons[FL_REASON_UNTRACKED_ANSWER] > frames / 2000);
	CHECK(reasons[FL_REASON_EARLY_FRAGMENT] && reasons[FL_REASON_BAD_FRAGMENT]);
	CHECK(reasons[FL_REASON_BAD_RESET] && reasons[FL_REASON_SOURCE_ROUTE] && reasons[FL_REASON_BAD_EXTENSION]);
	CHECK(reasons[FL_REASON_SHORT_QUOTE] && translated[0] > frames / 2000 && translated[1] > frames / 2000);
	CHECK(odd[0] > frames / 20000 && odd[1] > frames / 20000);
	CHECK(short_to_clients > frames / 100000);
	CHECK(reasons[FL_REASON_CLIENT_HIT] > frames / 20 && reasons[FL_REASON_NEW_FLOW] > frames / 100);
}

static u32 instructions_of(int fd)
{
	struct bpf_prog_info info = { 0 };
	u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.verified_insns;
}

static void test_verifier(const char *entry)
{
	struct fl_entry constants = { .is_tc = is_tc, .has_frags = !is_tc && fl_kernel_has_frags() };
	struct fl_program program;
	struct bpf_program *each;
	int code = fl_program_load(&program, &theirs, constants, NULL, false);

	CHECK(code == 0);
	if (code) {
		printf("  %s\n", fl_error());
		return;
	}
	bpf_object__for_each_program(each, program.object)
	{
		int fd = bpf_program__fd(each);

		if (fd < 0)
			continue;
		printf("  %s: %s, %u instructions verified\n", entry, bpf_program__name(each), instructions_of(fd));
		CHECK(instructions_of(fd) > 0 && instructions_of(fd) < INSTRUCTIONS_MAX);
	}
	fl_program_close(&program);
}

int main(int count, char **arguments)
{
	u32 frames = count > 1 ? (u32)strtoul(arguments[1], NULL, 10) : FRAMES;

	stay_here();
	world_first_scheduler = FL_SCHEDULER_HASH; /* nat's of TCP, so that connections go on without a flow */
	for (u32 i = 0; i < 2; i++) {
		is_tc = i == 1;
		open_worlds();
		CASE(is_tc ? "the verifier takes both programs of tc, and walks well less than it would"
			   : "the verifier takes both programs of xdp, and walks well less than it would");
		test_verifier(is_tc ? "tc" : "xdp");
		CASE(is_tc ? "tc decides and rewrites random frames, sequences and commits as user space does"
			   : "xdp decides and rewrites random frames, sequences and commits as user space does");
		if (fl_replayer_open(&replayer, &theirs, is_tc)) {
			printf("  %s\n", fl_error());
			CHECK(!"the replay opens");
			return check_end();
		}
		test_random(frames);
		CASE(is_tc ? "after all that tc's region is user space's, octet for octet"
			   : "after all that xdp's region is user space's, octet for octet");
		CHECK(!worlds_differ());
		if (world_fault(&ours))
			printf("  %s\n", world_fault(&ours));
		CHECK(world_fault(&ours) == NULL);
		fl_replayer_close(replayer);
		close_worlds();
	}
	return check_end();
}
