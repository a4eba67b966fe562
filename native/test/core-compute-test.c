/*
 * Compute-only (core/compute.h), with a clock moved by hand: when it begins and ends, that SYNs then enter no flow, and that
 * each ACK goes to the server of its SYN, whatever has become of the servers' load in between. With nat also the ways back
 * (core/trail.h), there and where a connection has lost its flow.
 */
#include "check.h"
#include "core-world.h"
#include "../engine/replay.h"

#define SLOTS 4096
#define MOST 40

static struct fl_region region;
static u32 generations[WORLD_SERVERS];
static u64 now;

/* The dsr services of TCP: by MAC and in a tunnel, IPv4 and IPv6; each has another scheduler. */
static const u32 services[] = { WORLD_DSR, WORLD_DSR | WORLD_FULL_NAT, WORLD_DSR | WORLD_V6,
				WORLD_DSR | WORLD_V6 | WORLD_FULL_NAT };

static const u32 nats[] = { 0, WORLD_V6 };

#define SERVER_NUMBER 5000 /* that a server's SYN+ACK has */

struct sent {
	u32 reason;
	u8 to[6];
};

/* The n-th client that has no prefix in common with those of a flood: the few that can be remembered change. */
static u32 honest(u32 number)
{
	return 1000 + 200 * (number / 100) + 60 + number % 100;
}

/* None that is beside the servers. */
static struct fl_addr client_addr(u32 service, u32 client)
{
	return world_client(10 + client % 200, service & WORLD_V6 ? 1 : 0);
}

static struct sent send_acknowledging(u32 service, u32 client, u8 flags, u32 acknowledged)
{
	u8 data[256];
	struct world_ends ends = {
		.from = client_addr(service, client),
		.to = world_vip(service),
		.from_port = (u16)(2000 + client / 200),
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.sequence = 1000 + (flags & FL_TCP_ACK ? 1 : 0),
		.acknowledged = flags & FL_TCP_ACK ? acknowledged : 0,
	};
	struct fl_frame frame = { .data = data + 64, .head = 64, .room = sizeof(data) - 64 };
	struct fl_result result = { 0 };
	struct sent sent;

	frame.len = world_frame(frame.data, &ends);
	fl_replay(&region, &frame, now, &result);
	sent.reason = result.reason;
	memcpy(sent.to, frame.data, sizeof(sent.to));
	return sent;
}

static struct sent send(u32 service, u32 client, u8 flags)
{
	return send_acknowledging(service, client, flags, SERVER_NUMBER + 1);
}

static struct sent answer_numbered(u32 service, u32 client, u32 slot, u8 flags, u32 sequence)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_server(slot),
		.to = client_addr(service, client),
		.from_port = WORLD_SERVER_PORT,
		.to_port = (u16)(2000 + client / 200),
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.sequence = sequence,
		.acknowledged = 1001,
		.interface = 1,
	};
	struct fl_frame frame = { .data = data, .room = sizeof(data), .interface = 1 };
	const u8 *ip = data + FL_ETHER_HEADER, *l4 = ip + (ends.is_v6 ? FL_IPV6_HEADER : 20);
	struct fl_addr vip = world_vip(service);
	struct fl_result result = { 0 };
	struct sent sent;

	frame.len = world_frame(frame.data, &ends);
	fl_replay(&region, &frame, now, &result);
	sent.reason = result.reason;
	memcpy(sent.to, frame.data, sizeof(sent.to));
	if (result.verdict == FL_FORWARD) { /* from the VIP, by the way that the client's frames come, all sums right */
		u32 size = ends.is_v6 ? FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2)) - 20u;

		CHECK(!memcmp(ip + (ends.is_v6 ? 8 : 12), &vip, ends.is_v6 ? 16 : 4));
		CHECK(fl_get16(l4) == FL_BE16(WORLD_VIP_PORT) && fl_get16(l4 + 2) == FL_BE16(ends.to_port));
		CHECK(world_l4_sum(ip, size, ends.is_v6, FL_PROTOCOL_TCP) == 0xffff);
		CHECK(result.out_interface == 0 && !memcmp(sent.to, "\2\0\0\0\11\11", 6));
	}
	return sent;
}

static struct sent answer(u32 service, u32 client, u32 slot, u8 flags)
{
	return answer_numbered(service, client, slot, flags, SERVER_NUMBER);
}

/* The server that a frame has gone to. */
static u32 slot_of(const struct sent *sent)
{
	return sent->to[5];
}

static u32 in_state(u32 state)
{
	u32 count = 0;

	for (u32 i = 0; i < SLOTS; i++)
		count += (region.flows[i].control & FL_STATE_MASK) == state;
	return count;
}

static bool is_computing(u32 service)
{
	return region.service_state[service].computing_since != 0;
}

static u32 flows(void)
{
	u32 count = 0;

	for (u32 i = 0; i < SLOTS; i++)
		count += fl_state_is_live(region.flows[i].control);
	return count;
}

static void open_world(void)
{
	world_half_open = MOST;
	world_limit = 0;
	world_open(&region, SLOTS, 1);
	world_generations(generations);
	now = 1000 * WORLD_TICK;
}

static void flood_from(u32 service, u32 first)
{
	for (u32 client = first; client < first + MOST; client++)
		send(service, client, FL_TCP_SYN);
}

static void flood(u32 service)
{
	flood_from(service, 0);
}

static void test_begin(void)
{
	CASE("a service is compute-only from its last unanswered SYN on that it may have, and others are not");
	open_world();
	for (u32 client = 0; client + 1 < MOST; client++)
		CHECK(send(WORLD_DSR, client, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
	CHECK(!is_computing(WORLD_DSR));
	CHECK(send(WORLD_DSR, MOST, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
	CHECK(region.service_state[WORLD_DSR].computing_since == now / WORLD_TICK);
	for (u32 service = 0; service < WORLD_SERVICES; service++)
		CHECK(service == WORLD_DSR || !is_computing(service));
	fl_region_close(&region);

	CASE("answered SYNs, and those of ten seconds ago, begin nothing");
	open_world();
	for (u32 client = 0; client < 10 * MOST; client++) {
		CHECK(send(WORLD_DSR, client, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
		CHECK(send(WORLD_DSR, client, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
	}
	for (u32 client = 1000; client < 1000 + 5 * MOST; client++) { /* half as many as it may have at once */
		CHECK(send(WORLD_DSR, client, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
		now += WORLD_TICK * FL_HALF_OPEN_TICKS * 2 / MOST;
	}
	CHECK(!is_computing(WORLD_DSR));
	fl_region_close(&region);

	CASE("full-nat, whose answers find their port by the flow, is never compute-only");
	open_world();
	for (u32 client = 0; client < 4 * MOST; client++)
		send(WORLD_FULL_NAT, client, FL_TCP_SYN);
	CHECK(!is_computing(WORLD_FULL_NAT));
	CHECK(flows() == 4 * MOST);
	fl_region_close(&region);

	CASE("with nat a SYN is unanswered until its client has acknowledged the server's");
	open_world();
	for (u32 client = 0; client < MOST; client++) {
		struct sent syn = send(0, client, FL_TCP_SYN);

		CHECK(syn.reason == FL_REASON_NEW_FLOW);
		CHECK(answer(0, client, slot_of(&syn), FL_TCP_SYN | FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(is_computing(0));
	for (u32 client = 0; client <= MOST / 2; client++)
		CHECK(send(0, client, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
	CHECK(!is_computing(0));
	fl_region_close(&region);
}

static void test_nat(u32 service)
{
	struct sent syn[300];
	u32 before, established = 0;

	CASE("with nat a SYN leaves the way back for its answer, and the ACK that knows the answer's number enters a "
	     "flow");
	open_world();
	flood(service);
	before = flows();
	for (u32 i = 0; i < 300; i++) {
		syn[i] = send(service, honest(i), FL_TCP_SYN);
		CHECK(syn[i].reason == FL_REASON_UNTRACKED && slot_of(&syn[i]) / 2 == service);
	}
	CHECK(flows() == before);
	for (u32 i = 0; i < 300; i++) {
		struct sent back = answer(service, honest(i), slot_of(&syn[i]), FL_TCP_SYN | FL_TCP_ACK), ack;

		CHECK(answer(service, honest(i), slot_of(&syn[i]) ^ 1, FL_TCP_SYN | FL_TCP_ACK).reason ==
		      FL_REASON_NOT_OURS);
		ack = send(service, honest(i), FL_TCP_ACK);
		/* Two of them may have had one place. */
		CHECK(back.reason == FL_REASON_UNTRACKED_ANSWER || back.reason == FL_REASON_NOT_OURS);
		established += back.reason == FL_REASON_UNTRACKED_ANSWER;
		CHECK(ack.reason == FL_REASON_NEW_FLOW && slot_of(&ack) == slot_of(&syn[i]));
		CHECK(answer(service, honest(i), slot_of(&ack), FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(established > 280 && in_state(FL_STATE_ESTABLISHED) == 300);
	CHECK(!world_fault(&region));

	CASE("an ACK that does not know it makes a flow that makes room, until the server has spoken for it");
	before = in_state(FL_STATE_SYN_RECEIVED);
	flood_from(service, 10000);
	for (u32 i = 0; i < 10; i++) {
		struct sent ack;

		send(service, 2000 + i, FL_TCP_SYN);
		answer(service, 2000 + i, slot_of(&syn[0]), FL_TCP_SYN | FL_TCP_ACK);
		ack = send_acknowledging(service, 2000 + i, FL_TCP_ACK, 123456789);
		CHECK(ack.reason == FL_REASON_NEW_FLOW);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);
		CHECK(send(service, 2000 + i, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);
		CHECK(answer(service, 2000 + i, slot_of(&ack), i & 1 ? FL_TCP_ACK : FL_TCP_RST).reason ==
		      FL_REASON_SERVER_HIT);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before);
	}
	CHECK(in_state(FL_STATE_ESTABLISHED) == 305 && in_state(FL_STATE_CLOSED) == 5);
	CHECK(!world_fault(&region));

	CASE("a refusal finds its client as well, and confirms nothing");
	flood_from(service, 20000);
	syn[0] = send(service, 3000, FL_TCP_SYN);
	CHECK(answer(service, 3000, slot_of(&syn[0]), FL_TCP_RST | FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
	send(service, 3000, FL_TCP_ACK);
	CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);

	CASE("a way back ends with its time, with its server and with its VIP");
	for (u32 way = 0; way < 3; way++) {
		syn[0] = send(service, 4000 + way, FL_TCP_SYN);
		CHECK(syn[0].reason == FL_REASON_UNTRACKED);
		CHECK(answer(service, 4000 + way, slot_of(&syn[0]), FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
		if (way == 0)
			now += (FL_TRAIL_TICKS + 1) * WORLD_TICK;
		if (way == 1)
			generations[slot_of(&syn[0])] += FL_GENERATION_EPOCH_ONE;
		if (way == 2)
			region.settings[region.header->active_half].vip_mask = 0;
		if (way == 1)
			CHECK(world_commit(&region, generations) == 0);
		CHECK(answer(service, 4000 + way, slot_of(&syn[0]), FL_TCP_ACK).reason == FL_REASON_NOT_OURS);
		flood_from(service, 30000 + 1000 * way);
	}
	fl_region_close(&region);
}

static void test_rescue(u32 service)
{
	u32 rescued = 0;

	CASE("a nat connection that has lost its flow goes on by the hash, and has one when its server has spoken");
	while (world_scheduler(service) != FL_SCHEDULER_HASH)
		world_first_scheduler++;
	open_world();
	for (u32 client = 0; client < 100; client++) {
		struct sent syn = send(service, client, FL_TCP_SYN), again;
		u32 slot = slot_of(&syn);

		answer(service, client, slot, FL_TCP_SYN | FL_TCP_ACK);
		CHECK(send(service, client, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
		memset(region.tags, 0, SLOTS / FL_WAYS * sizeof(*region.tags));
		memset(region.flows, 0, SLOTS * sizeof(*region.flows));
		memset(region.server_state, 0, WORLD_SERVERS * sizeof(*region.server_state));
		CHECK(answer(service, client, slot, FL_TCP_ACK).reason == FL_REASON_NOT_OURS);
		again = send(service, client, FL_TCP_ACK);
		CHECK(again.reason == FL_REASON_UNTRACKED && slot_of(&again) == slot);
		CHECK(flows() == 0);
		/* Whoever guesses is not believed. */
		CHECK(answer(service, client, slot, FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
		CHECK(send_acknowledging(service, client, FL_TCP_ACK, SERVER_NUMBER - 1).reason == FL_REASON_UNTRACKED);
		CHECK(send_acknowledging(service, client, FL_TCP_ACK, SERVER_NUMBER + 70000).reason ==
		      FL_REASON_UNTRACKED);
		CHECK(flows() == 0);
		again = send(service, client, FL_TCP_ACK);
		CHECK(again.reason == FL_REASON_NEW_FLOW && slot_of(&again) == slot);
		rescued += in_state(FL_STATE_ESTABLISHED);
		CHECK(answer(service, client, slot, FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(rescued == 100);
	CHECK(!world_fault(&region));

	CASE("a server's RST to it goes to the client, and no flow is made; nor does a RST or SYN+ACK of the client's "
	     "go on");
	CHECK(send(service, 500, FL_TCP_ACK).reason == FL_REASON_UNTRACKED);
	for (u32 slot = service * 2; slot < service * 2 + 2; slot++)
		answer(service, 500, slot, FL_TCP_RST);
	CHECK(send(service, 500, FL_TCP_ACK).reason == FL_REASON_UNTRACKED);
	CHECK(send(service, 501, FL_TCP_RST | FL_TCP_ACK).reason == FL_REASON_NO_FLOW);
	CHECK(send(service, 501, FL_TCP_SYN | FL_TCP_ACK).reason != FL_REASON_UNTRACKED);
	fl_region_close(&region);
	world_first_scheduler = FL_SCHEDULER_SEQUENCE;
}

static void test_frames(u32 service)
{
	struct sent syn[300];
	u32 before, to_first = 0;

	open_world();
	flood(service);
	before = flows();
	for (u32 i = 0; i < 300; i++) {
		syn[i] = send(service, honest(i), FL_TCP_SYN);
		CHECK(syn[i].reason == FL_REASON_UNTRACKED);
		to_first += syn[i].to[5] == service * 2;
	}
	CHECK(flows() == before);
	CHECK(!world_fault(&region));
	CHECK(world_is_sticky(service) || (to_first > 50 && to_first < 250));
	/* The first half of them makes one server busier than it may be for others. */
	for (u32 i = 0; i < 300; i++) {
		struct sent ack;

		if (i == 150) {
			world_max_flows = 1;
			CHECK(world_commit(&region, generations) == 0);
		}
		ack = send(service, honest(i), FL_TCP_ACK);
		CHECK(ack.reason == FL_REASON_NEW_FLOW);
		CHECK(!memcmp(ack.to, syn[i].to, sizeof(ack.to)));
		CHECK(send(service, honest(i), FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
	}
	world_max_flows = 0;
	CHECK(flows() == before + 300);
	CHECK(send(service, 5000, FL_TCP_RST).reason == FL_REASON_NO_FLOW);
	CHECK(send(service, 5000, FL_TCP_SYN | FL_TCP_ACK).reason != FL_REASON_NEW_FLOW);
	CHECK(!world_fault(&region));
	fl_region_close(&region);
}

static void test_end(void)
{
	u64 begun;

	CASE("it ends when so few SYNs are unanswered as half of what begins it, and not before");
	open_world();
	flood(WORLD_DSR);
	begun = now;
	CHECK(is_computing(WORLD_DSR));
	while (is_computing(WORLD_DSR) && now < begun + 1000 * WORLD_TICK) {
		now += WORLD_TICK;
		fl_age_sweep(&region, now);
	}
	CHECK(now - begun > FL_HALF_OPEN_TICKS / 2 * WORLD_TICK && now - begun < FL_HALF_OPEN_TICKS * WORLD_TICK);

	CASE("the ACK of a SYN from before the end is taken still, and long after the end none is");
	CHECK(send(WORLD_DSR, 2000, FL_TCP_ACK).reason == FL_REASON_NEW_FLOW);
	now += FL_HALF_OPEN_TICKS * WORLD_TICK;
	CHECK(send(WORLD_DSR, 2001, FL_TCP_ACK).reason != FL_REASON_NEW_FLOW);
	CHECK(send(WORLD_DSR, 2002, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
	fl_region_close(&region);

	CASE("while the flood goes on it goes on, also with no SYN entered");
	open_world();
	flood(WORLD_DSR);
	for (u32 client = 0; client < 50 * MOST; client++) {
		now += WORLD_TICK * FL_HALF_OPEN_TICKS / (2 * MOST);
		fl_age_sweep(&region, now);
		CHECK(send(WORLD_DSR, 5000 + client, FL_TCP_SYN).reason == FL_REASON_UNTRACKED);
	}
	CHECK(region.service_state[WORLD_DSR].computing_since == 1000);

	CASE("a commit that does not want it ends it");
	world_half_open = 0;
	CHECK(world_commit(&region, generations) == 0);
	CHECK(!is_computing(WORLD_DSR));
	CHECK(send(WORLD_DSR, 9000, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW);
	fl_region_close(&region);
}

static void test_budgets(void)
{
	u32 service = WORLD_DSR | WORLD_FULL_NAT, joined = 0;

	CASE("budgets of flows hold for those that an ACK enters, and their SYN was asked for rates");
	open_world();
	world_limit = 2 * MOST;
	CHECK(world_commit(&region, generations) == 0);
	flood(service);
	CHECK(is_computing(service));
	for (u32 client = 0; client < 2 * MOST; client++) {
		u32 expected = client < MOST ? FL_REASON_UNTRACKED : FL_REASON_CLIENT_LIMITED;

		CHECK(send(service, 1000 + client, FL_TCP_SYN).reason == expected);
		joined += send(service, 1000 + client, FL_TCP_ACK).reason == FL_REASON_NEW_FLOW;
		now += WORLD_TICK / 8;
	}
	CHECK(joined == MOST);
	CHECK(send(service, 1000, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
	CHECK(send(service, 3000, FL_TCP_ACK).reason == FL_REASON_CLIENT_LIMITED);
	CHECK(!world_fault(&region));
	fl_region_close(&region);
}

/* Every slot is a connection that is used: a flood must not end one, nor must a SYN need a slot. */
static void test_full(void)
{
	u32 established = 0;

	CASE("with a table full of connections in use a flood ends none of them, and a new client is served");
	open_world();
	for (u32 client = 0; client < 60000; client++) {
		send(WORLD_DSR, client, FL_TCP_SYN);
		send(WORLD_DSR, client, FL_TCP_ACK);
	}
	now += FL_SETTLED * WORLD_TICK;
	for (u32 i = 0; i < SLOTS; i++)
		region.flows[i].seen = (u32)(now / WORLD_TICK);
	established = region.server_state[WORLD_DSR * 2].active + region.server_state[WORLD_DSR * 2 + 1].active;
	CHECK(established > SLOTS * 9 / 10);
	for (u32 client = 70000; client < 100000; client++) {
		struct sent syn = send(WORLD_DSR, client, FL_TCP_SYN);

		if (!is_computing(WORLD_DSR) || syn.reason != FL_REASON_UNTRACKED)
			continue;
		CHECK(!memcmp(send(WORLD_DSR, client, FL_TCP_ACK).to, syn.to, 6));
		send(WORLD_DSR, client + 100000, FL_TCP_SYN);
		send(WORLD_DSR, client + 200000, FL_TCP_SYN);
	}
	CHECK(is_computing(WORLD_DSR));
	CHECK(region.server_state[WORLD_DSR * 2].active + region.server_state[WORLD_DSR * 2 + 1].active >= established);
	CHECK(!world_fault(&region));
	fl_region_close(&region);
}

int main(void)
{
	test_begin();
	for (u32 i = 0; i < sizeof(services) / sizeof(*services); i++) {
		CASE("SYNs go on by the hash and write nothing, their ACKs follow them and are entered");
		test_frames(services[i]);
	}
	for (u32 i = 0; i < sizeof(nats) / sizeof(*nats); i++) {
		test_nat(nats[i]);
		test_rescue(nats[i]);
	}
	test_end();
	test_budgets();
	test_full();
	return check_end();
}
