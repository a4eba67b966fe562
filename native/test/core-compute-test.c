/*
 * Compute-only (core/compute.h), with a clock moved by hand: when it begins and ends, that SYNs then write nothing, and that
 * each ACK goes to the server of its SYN, whatever has become of the servers' load in between.
 */
#include "check.h"
#include "core-world.h"

#define SLOTS 4096
#define MOST 40

static struct fl_region region;
static u32 generations[WORLD_SERVERS];
static u64 now;

/* The dsr services of TCP: by MAC and in a tunnel, IPv4 and IPv6; each has another scheduler. */
static const u32 services[] = { WORLD_DSR, WORLD_DSR | WORLD_FULL_NAT, WORLD_DSR | WORLD_V6,
				WORLD_DSR | WORLD_V6 | WORLD_FULL_NAT };

struct sent {
	u32 reason;
	u8 to[6];
};

static struct sent send(u32 service, u32 client, u8 flags)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_client(client % 200, service & WORLD_V6 ? 1 : 0),
		.to = world_vip(service),
		.from_port = (u16)(2000 + client / 200),
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.sequence = 1000 + (flags & FL_TCP_ACK ? 1 : 0),
		.acknowledged = flags & FL_TCP_ACK ? 77 : 0,
	};
	struct fl_frame frame = { .data = data + 64, .head = 64, .room = sizeof(data) - 64 };
	struct fl_result result = { 0 };
	struct sent sent;

	frame.len = world_frame(frame.data, &ends);
	fl_forward(&region, &frame, now, &result);
	sent.reason = result.reason;
	memcpy(sent.to, frame.data, sizeof(sent.to));
	return sent;
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

static void flood(u32 service)
{
	for (u32 client = 0; client < MOST; client++)
		send(service, client, FL_TCP_SYN);
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

	CASE("nat, whose answers find their way by the flow, is never compute-only");
	open_world();
	for (u32 client = 0; client < 4 * MOST; client++)
		send(0, client, FL_TCP_SYN);
	CHECK(!is_computing(0));
	CHECK(flows() == 4 * MOST);
	fl_region_close(&region);
}

static void test_frames(u32 service)
{
	struct sent syn[300];
	u32 before, to_first = 0;

	open_world();
	flood(service);
	before = flows();
	for (u32 i = 0; i < 300; i++) {
		syn[i] = send(service, 1000 + i, FL_TCP_SYN);
		CHECK(syn[i].reason == FL_REASON_UNTRACKED);
		to_first += syn[i].to[5] == service * 2;
	}
	CHECK(flows() == before);
	CHECK(!world_fault(&region));
	CHECK(to_first > 50 && to_first < 250);
	/* The first half of them makes one server busier than it may be for others. */
	for (u32 i = 0; i < 300; i++) {
		struct sent ack;

		if (i == 150) {
			world_max_flows = 1;
			CHECK(world_commit(&region, generations) == 0);
		}
		ack = send(service, 1000 + i, FL_TCP_ACK);
		CHECK(ack.reason == FL_REASON_NEW_FLOW);
		CHECK(!memcmp(ack.to, syn[i].to, sizeof(ack.to)));
		CHECK(send(service, 1000 + i, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
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
	test_end();
	test_budgets();
	test_full();
	return check_end();
}
