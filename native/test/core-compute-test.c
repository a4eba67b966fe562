/*
 * Compute-only (core/compute.h), with a clock moved by hand: when it begins and ends, that SYNs then enter no flow, and that
 * each ACK goes to the server of its SYN, whatever has become of the servers' load in between. With nat and full-nat also the
 * ways back (core/trail.h), there and where a connection has lost its flow.
 */
#include "../engine/replay.h"
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

static const u32 nats[] = { 0, WORLD_V6, WORLD_FULL_NAT, WORLD_FULL_NAT | WORLD_V6 };

#define SERVER_NUMBER 5000 /* that a server's SYN+ACK has */

struct sent {
	u32 service, client;
	u32 reason;
	u8 to[6];
	struct fl_addr from; /* as its receiver sees it */
	u16 from_port;
	bool is_astray; /* an answer that went to another client: with full-nat two may have had one port */
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

/* Sends a frame on; what it has become is in `data`. */
static struct sent forward(u8 *data, size_t room, const struct world_ends *ends)
{
	struct fl_frame frame = { .data = data + 64, .head = 64, .room = room - 64, .interface = ends->interface };
	const u8 *ip = frame.data + FL_ETHER_HEADER;
	struct fl_result result = { 0 };
	struct sent sent = { 0 };

	frame.len = world_frame(frame.data, ends);
	fl_replay(&region, &frame, now, &result);
	sent.reason = result.reason;
	if (result.verdict != FL_FORWARD)
		return sent;
	memcpy(sent.to, frame.data, sizeof(sent.to));
	fl_get_addr(&sent.from, ip + (ends->is_v6 ? 8 : 12), ends->is_v6);
	sent.from_port = FL_BE16(fl_get16(ip + (ends->is_v6 ? FL_IPV6_HEADER : 20)));
	return sent;
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
	struct sent sent = forward(data, sizeof(data), &ends);

	sent.service = service;
	sent.client = client;
	return sent;
}

static struct sent send(u32 service, u32 client, u8 flags)
{
	return send_acknowledging(service, client, flags, SERVER_NUMBER + 1);
}

/* A server's answer to whom it has had a frame from. */
static struct sent answer(const struct sent *to, u32 slot, u8 flags)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_server(slot),
		.to = to->from,
		.from_port = WORLD_SERVER_PORT,
		.to_port = to->from_port,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = to->service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.sequence = SERVER_NUMBER,
		.acknowledged = 1001,
		.interface = 1,
	};
	const u8 *ip = data + 64 + FL_ETHER_HEADER, *l4 = ip + (ends.is_v6 ? FL_IPV6_HEADER : 20);
	struct fl_addr vip = world_vip(to->service), client = client_addr(to->service, to->client);
	struct sent sent = forward(data, sizeof(data), &ends);

	/* From the VIP to the client, by the way that its frames come, all sums right. */
	if (sent.reason == FL_REASON_UNTRACKED_ANSWER || sent.reason == FL_REASON_SERVER_HIT) {
		u32 size = ends.is_v6 ? FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2)) - 20u;

		sent.is_astray = memcmp(ip + (ends.is_v6 ? 24 : 16), &client, ends.is_v6 ? 16 : 4) ||
				 fl_get16(l4 + 2) != FL_BE16(2000 + to->client / 200);
		CHECK(!sent.is_astray || to->service & WORLD_FULL_NAT);
		CHECK(!memcmp(ip + (ends.is_v6 ? 8 : 12), &vip, ends.is_v6 ? 16 : 4));
		CHECK(fl_get16(l4) == FL_BE16(WORLD_VIP_PORT));
		CHECK(world_l4_sum(ip, size, ends.is_v6, FL_PROTOCOL_TCP) == 0xffff);
		CHECK(!memcmp(sent.to, "\2\0\0\0\11\11", 6));
	}
	return sent;
}

/* Did its client not get it? */
static bool is_lost(struct sent answered)
{
	return answered.is_astray ||
	       (answered.reason != FL_REASON_SERVER_HIT && answered.reason != FL_REASON_UNTRACKED_ANSWER);
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

static const struct fl_settings *world_settings(void)
{
	return &region.settings[region.header->active_half];
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

/* As fl_schedule_hash() goes by the hash, with three servers. */
static u32 third_of(u64 key, const struct fl_addr *client, int is_v6)
{
	u64 keys[4] = { key, key << 1 | 1, (key ^ (key << 23)) | 1, ~key };

	return (u32)(((fl_keyed_hash(keys, client, 0, 0, is_v6) >> 32) * 3) >> 32);
}

static void test_hash(void)
{
	CASE("clients whose addresses follow one another are shared out, whatever the key");
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		u64 key = 1;

		for (u32 attempt = 0; attempt < 5000; attempt++) {
			u32 used = 0;

			key = key * 6364136223846793005ull + 1442695040888963407ull;
			for (u32 client = 1; client <= 60; client++) {
				struct fl_addr addr = world_client(client, is_v6);

				used |= 1u << third_of(key ^ key >> 29, &addr, is_v6);
			}
			CHECK(used == 7);
		}
	}
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

	CASE("a processor whose clock was read before another's last SYN does not end it");
	open_world();
	flood(WORLD_DSR);
	now -= WORLD_TICK;
	CHECK(send(WORLD_DSR, MOST, FL_TCP_SYN).reason == FL_REASON_UNTRACKED);
	CHECK(is_computing(WORLD_DSR));
	now += WORLD_TICK;
	CHECK(send(WORLD_DSR, MOST + 1, FL_TCP_SYN).reason == FL_REASON_UNTRACKED);
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

	CASE("with nat a SYN is unanswered until its client has acknowledged the server's");
	open_world();
	for (u32 client = 0; client < MOST; client++) {
		struct sent syn = send(0, client, FL_TCP_SYN);

		CHECK(syn.reason == FL_REASON_NEW_FLOW);
		CHECK(answer(&syn, slot_of(&syn), FL_TCP_SYN | FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
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
	u32 before, established = 0, same = 0;

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
		struct sent back = answer(&syn[i], slot_of(&syn[i]), FL_TCP_SYN | FL_TCP_ACK), ack;

		CHECK(is_lost(answer(&syn[i], slot_of(&syn[i]) ^ 1, FL_TCP_SYN | FL_TCP_ACK)));
		ack = send(service, honest(i), FL_TCP_ACK);
		/* Two of them may have had one place. */
		CHECK(back.reason == FL_REASON_UNTRACKED_ANSWER || is_lost(back));
		same += ack.from_port == syn[i].from_port && fl_addr_same(&ack.from, &syn[i].from);
		established += !is_lost(back);
		CHECK(ack.reason == FL_REASON_NEW_FLOW && slot_of(&ack) == slot_of(&syn[i]));
		CHECK(answer(&ack, slot_of(&ack), FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(established > 280 && same > 290 && in_state(FL_STATE_ESTABLISHED) == 300);
	CHECK(!world_fault(&region));

	CASE("an ACK that does not know it makes a flow that makes room, until the server has spoken for it");
	before = in_state(FL_STATE_SYN_RECEIVED);
	flood_from(service, 10000);
	for (u32 i = 0; i < 10; i++) {
		struct sent begun = send(service, 2000 + i, FL_TCP_SYN), ack;

		answer(&begun, slot_of(&begun), FL_TCP_SYN | FL_TCP_ACK);
		ack = send_acknowledging(service, 2000 + i, FL_TCP_ACK, 123456789);
		CHECK(ack.reason == FL_REASON_NEW_FLOW);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);
		CHECK(send(service, 2000 + i, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);
		CHECK(answer(&ack, slot_of(&ack), i & 1 ? FL_TCP_ACK : FL_TCP_RST).reason == FL_REASON_SERVER_HIT);
		CHECK(in_state(FL_STATE_SYN_RECEIVED) == before);
	}
	CHECK(in_state(FL_STATE_ESTABLISHED) == 305 && in_state(FL_STATE_CLOSED) == 5);
	CHECK(!world_fault(&region));

	CASE("a refusal finds its client as well, and confirms nothing");
	flood_from(service, 20000);
	syn[0] = send(service, 3000, FL_TCP_SYN);
	CHECK(answer(&syn[0], slot_of(&syn[0]), FL_TCP_RST | FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
	send(service, 3000, FL_TCP_ACK);
	CHECK(in_state(FL_STATE_SYN_RECEIVED) == before + 1);

	CASE("a way back ends with its time, with its server and with its VIP");
	for (u32 way = 0; way < 3; way++) {
		syn[0] = send(service, 4000 + way, FL_TCP_SYN);
		CHECK(syn[0].reason == FL_REASON_UNTRACKED);
		CHECK(answer(&syn[0], slot_of(&syn[0]), FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
		if (way == 0)
			now += (FL_TRAIL_TICKS + 1) * WORLD_TICK;
		if (way == 1)
			generations[slot_of(&syn[0])] += FL_GENERATION_EPOCH_ONE;
		if (way == 2)
			region.settings[region.header->active_half].vip_mask = 0;
		if (way == 1)
			CHECK(world_commit(&region, generations) == 0);
		CHECK(is_lost(answer(&syn[0], slot_of(&syn[0]), FL_TCP_ACK)));
		flood_from(service, 30000 + 1000 * way);
	}
	fl_region_close(&region);
}

/* A region that knows no flow. */
static void lose_flows(void)
{
	memset(region.tags, 0, SLOTS / FL_WAYS * sizeof(*region.tags));
	memset(region.flows, 0, SLOTS * sizeof(*region.flows));
	memset(region.returns, 0, SLOTS / FL_WAYS * sizeof(*region.returns));
	memset(region.server_state, 0, WORLD_SERVERS * sizeof(*region.server_state));
}

static void lose_trails(void)
{
	memset(region.trails, 0, FL_TRAILS * sizeof(*region.trails));
}

static void open_hashed_world(u32 service)
{
	while (world_scheduler(service) != FL_SCHEDULER_HASH)
		world_first_scheduler++;
	open_world();
	/* So long ago that a flow may have been lost by its time. */
	send(service, 900, FL_TCP_SYN);
	now += (world_settings()->timeout[FL_STATE_ESTABLISHED] + 1) * WORLD_TICK;
	fl_age_sweep(&region, now);
}

static void close_hashed_world(void)
{
	fl_region_close(&region);
	world_first_scheduler = FL_SCHEDULER_SEQUENCE;
}

static void test_rescue(u32 service)
{
	u32 rescued = 0;

	CASE("a connection that has lost its flow goes on by the hash, and has one when its server has spoken");
	open_hashed_world(service);
	for (u32 client = 0; client < 100; client++) {
		struct sent syn, again;
		u32 slot;

		lose_flows(); /* none shall have a port of this one's row */
		syn = send(service, client, FL_TCP_SYN);
		slot = slot_of(&syn);
		answer(&syn, slot, FL_TCP_SYN | FL_TCP_ACK);
		CHECK(send(service, client, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT);
		lose_flows();
		CHECK(is_lost(answer(&syn, slot, FL_TCP_ACK)));
		again = send(service, client, FL_TCP_ACK);
		CHECK(again.reason == FL_REASON_UNTRACKED && slot_of(&again) == slot);
		CHECK(fl_addr_same(&again.from, &syn.from) && again.from_port == syn.from_port);
		CHECK(flows() == 0);
		/* Whoever guesses is not believed. */
		CHECK(answer(&syn, slot, FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
		CHECK(send_acknowledging(service, client, FL_TCP_ACK, SERVER_NUMBER - 1).reason == FL_REASON_UNTRACKED);
		CHECK(send_acknowledging(service, client, FL_TCP_ACK, SERVER_NUMBER + 70000).reason ==
		      FL_REASON_UNTRACKED);
		CHECK(flows() == 0);
		again = send(service, client, FL_TCP_ACK);
		CHECK(again.reason == FL_REASON_NEW_FLOW && slot_of(&again) == slot);
		CHECK(fl_addr_same(&again.from, &syn.from) && again.from_port == syn.from_port);
		rescued += in_state(FL_STATE_ESTABLISHED);
		CHECK(answer(&again, slot, FL_TCP_ACK).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(rescued == 100);
	CHECK(!world_fault(&region));

	CASE("a server's RST to it goes to the client, and no flow is made; nor does a SYN+ACK of the client's go on");
	for (u32 slot = service * 2; slot < service * 2 + 2; slot++) {
		struct sent again = send(service, 500, FL_TCP_ACK);

		CHECK(again.reason == FL_REASON_UNTRACKED);
		answer(&again, slot, FL_TCP_RST);
	}
	CHECK(send(service, 500, FL_TCP_ACK).reason == FL_REASON_UNTRACKED);
	CHECK(send(service, 501, FL_TCP_SYN | FL_TCP_ACK).reason != FL_REASON_UNTRACKED);

	CASE("the client's RST goes on where there is a trail, and nowhere else");
	CHECK(send(service, 501, FL_TCP_RST).reason == FL_REASON_NO_FLOW);
	for (u32 client = 502; client < 512; client++) {
		struct sent first = send(service, client, FL_TCP_ACK), reset = send(service, client, FL_TCP_RST);

		CHECK(reset.reason == FL_REASON_UNTRACKED && !memcmp(reset.to, first.to, sizeof(reset.to)));
		CHECK(fl_addr_same(&reset.from, &first.from) && reset.from_port == first.from_port);
	}
	lose_trails();
	CHECK(send(service, 502, FL_TCP_RST).reason == FL_REASON_NO_FLOW);
	close_hashed_world();
}

/* Another client whose row of ports begins with the same port, and that has the same server; FL_NONE: there is none. */
static u32 rival_of(u32 service, const struct sent *sent)
{
	for (u32 client = 1; client < 60000 * 200; client++) {
		struct sent other;

		if (client % 200 == 0) /* clients of one port each: there are enough */
			lose_flows();
		other = send(service, client, FL_TCP_ACK);
		if (client != sent->client && other.from_port == sent->from_port && slot_of(&other) == slot_of(sent))
			return client;
	}
	return FL_NONE;
}

static void test_young(void)
{
	CASE("in a young region a lone ACK of full-nat is no guess's: others may have what would be its port");
	open_hashed_world(WORLD_FULL_NAT);
	region.header->first_tick = (u32)(now / WORLD_TICK) - world_settings()->timeout[FL_STATE_ESTABLISHED] + 1;
	CHECK(send(WORLD_FULL_NAT, 1, FL_TCP_ACK).reason == FL_REASON_REFUSED_NO_FLOW);
	now += WORLD_TICK;
	CHECK(send(WORLD_FULL_NAT, 1, FL_TCP_ACK).reason == FL_REASON_UNTRACKED);
	region.header->first_tick = 0;
	CHECK(send(WORLD_FULL_NAT, 2, FL_TCP_ACK).reason == FL_REASON_REFUSED_NO_FLOW);
	CHECK(region.header->first_tick == now / WORLD_TICK);
	CHECK(send(WORLD_FULL_NAT, 1, FL_TCP_ACK).reason == FL_REASON_UNTRACKED); /* it has a trail */
	close_hashed_world();
}

/* 64,512 ports lead to each of the servers. */
static void test_ports(void)
{
	u32 open = 0, entered = 0, most;

	CASE("half-open flows give their ports of full-nat away, and flows in use do not");
	open_world();
	fl_region_close(&region);
	world_half_open = 0;
	world_open(&region, 262144, 1);
	for (u32 client = 0; client < 500; client++) {
		struct sent syn = send(WORLD_FULL_NAT, client, FL_TCP_SYN);

		answer(&syn, slot_of(&syn), FL_TCP_SYN | FL_TCP_ACK);
		send(WORLD_FULL_NAT, client, FL_TCP_ACK);
	}
	for (u32 client = 1000; client < 161000; client++)
		send(WORLD_FULL_NAT, client, FL_TCP_SYN);
	/* The hash gives one of them more than half. */
	most = region.server_state[2 * WORLD_FULL_NAT].inactive;
	if (most < region.server_state[2 * WORLD_FULL_NAT + 1].inactive)
		most = region.server_state[2 * WORLD_FULL_NAT + 1].inactive;
	CHECK(most > 62000);
	for (u32 client = 200000; client < 201000; client++)
		entered += send(WORLD_FULL_NAT, client, FL_TCP_SYN).reason == FL_REASON_NEW_FLOW;
	for (u32 client = 0; client < 500; client++)
		open += send(WORLD_FULL_NAT, client, FL_TCP_ACK).reason == FL_REASON_CLIENT_HIT;
	CHECK(entered > 990 && open == 500);
	CHECK(!world_fault(&region));
	fl_region_close(&region);
}

static void test_forged(void)
{
	CASE("a server's RST to an ACK without a SYN answers no SYN");
	open_world();
	flood(0);
	for (u32 client = 300; client < 400; client++) {
		struct sent ack = send(0, client, FL_TCP_ACK);

		CHECK(ack.reason == FL_REASON_NEW_FLOW);
		CHECK(answer(&ack, slot_of(&ack), FL_TCP_RST).reason == FL_REASON_SERVER_HIT);
	}
	CHECK(is_computing(0));
	fl_region_close(&region);
}

static void end_flow(const struct sent *sent)
{
	send(sent->service, sent->client, FL_TCP_RST);
	answer(sent, slot_of(sent), FL_TCP_RST);
	now += 100 * WORLD_TICK;
	fl_age_sweep(&region, now);
}

static void test_rivals(u32 service)
{
	struct sent first, second, again;
	u32 rival;

	CASE("of two clients with one port in their rows the second has another, and finds it again");
	open_hashed_world(service);
	first = send(service, 0, FL_TCP_ACK);
	rival = rival_of(service, &first);
	CHECK(rival != FL_NONE);
	lose_trails();
	first = send(service, 0, FL_TCP_SYN);
	second = send(service, rival, FL_TCP_SYN);
	CHECK(first.reason == FL_REASON_NEW_FLOW && second.reason == FL_REASON_NEW_FLOW);
	CHECK(slot_of(&first) == slot_of(&second) && first.from_port != second.from_port);

	CASE("whose flow alone is lost, by the other's; whose SYN has left a trail, by that");
	answer(&second, slot_of(&second), FL_TCP_RST | FL_TCP_ACK);
	end_flow(&second);
	send(service, 0, FL_TCP_SYN);
	again = send(service, rival, FL_TCP_ACK);
	CHECK(again.reason == FL_REASON_UNTRACKED && again.from_port == second.from_port);
	lose_flows();
	again = send(service, rival, FL_TCP_ACK);
	CHECK(again.reason == FL_REASON_UNTRACKED && again.from_port == second.from_port);
	CHECK(answer(&again, slot_of(&again), FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
	again = send(service, rival, FL_TCP_ACK);
	CHECK(again.reason == FL_REASON_NEW_FLOW && again.from_port == second.from_port);
	CHECK(!world_fault(&region));

	CASE("with neither, by the port that is the other's, whose own comes back to it when it speaks");
	lose_flows();
	lose_trails();
	again = send(service, rival, FL_TCP_ACK);
	CHECK(again.from_port == first.from_port);
	CHECK(answer(&again, slot_of(&again), FL_TCP_RST).reason == FL_REASON_UNTRACKED_ANSWER);
	again = send(service, 0, FL_TCP_ACK);
	CHECK(again.from_port == first.from_port);
	CHECK(answer(&again, slot_of(&again), FL_TCP_ACK).reason == FL_REASON_UNTRACKED_ANSWER);
	close_hashed_world();
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
	test_hash();
	test_begin();
	for (u32 i = 0; i < sizeof(services) / sizeof(*services); i++) {
		CASE("SYNs go on by the hash and write nothing, their ACKs follow them and are entered");
		test_frames(services[i]);
	}
	for (u32 i = 0; i < sizeof(nats) / sizeof(*nats); i++) {
		test_nat(nats[i]);
		test_rescue(nats[i]);
		if (nats[i] & WORLD_FULL_NAT)
			test_rivals(nats[i]);
	}
	test_young();
	test_ports();
	test_forged();
	test_end();
	test_budgets();
	test_full();
	return check_end();
}
