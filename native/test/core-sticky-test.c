/*
 * Remembered clients: two workers with the first flows of one client agree, a claim of the dead is taken over, and what is
 * remembered comes along into a table of another size.
 */
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "core-world.h"
#include "../engine/reenter.h"
#include "../engine/replay.h"

#define WORKERS 2
#define CLIENTS 20000
#define BUCKETS 4096
#define FIRST 0x100000 /* client */
#define SERVICE 4      /* nat, TCP, IPv6, by a prefix of 125 bits: see world_sticky_by() */

static struct fl_region region;
static u32 arrived;
static u32 chosen[WORKERS][CLIENTS];
static u64 now; /* begins as it is: a move asks what time it is */

static struct fl_sizes sizes_of(u64 buckets)
{
	struct fl_sizes sizes = world_sizes(65536, WORKERS);

	sizes.count[FL_SECTION_STICKIES] = buckets;
	return sizes;
}

static void open_region(struct fl_region *of, u64 buckets)
{
	struct fl_sizes sizes = sizes_of(buckets);
	enum fl_open_outcome outcome;
	u32 generations[WORLD_SERVERS];

	world_generations(generations);
	if (fl_region_open(of, "", FL_OPEN_MEMORY, &sizes, WORKERS, &outcome) || world_commit(of, generations))
		abort();
}

/* Clients 8 addresses apart, so that a prefix is never two of them. The server that the SYN goes to, or FL_NONE. */
static u32 send_syn(struct fl_region *to, u32 worker, u32 client, u16 port)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_addr(0x20010db8, FIRST + client * 8, 1),
		.to = world_vip(SERVICE),
		.from_port = port,
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = FL_TCP_SYN,
		.is_v6 = 1,
		.ttl = 64,
	};
	struct fl_frame frame = { .data = data, .len = world_frame(data, &ends), .room = sizeof(data) };
	struct fl_result result = { 0 };

	frame.worker = (u16)worker;
	fl_replay(to, &frame, now, &result);
	return result.reason == FL_REASON_NEW_FLOW ? FL_BE32(fl_get32(data + 14 + 36)) : FL_NONE;
}

/* All workers have the first flow of the same client at the same moment. */
static void *run(void *argument)
{
	u32 worker = (u32)(long)argument;

	for (u32 client = 0; client < CLIENTS; client++) {
		fl_add(&arrived, 1);
		for (u32 turn = 1; fl_load(&arrived) < (client + 1) * WORKERS; turn++)
			if (turn % 10000 == 0)
				sched_yield();
		chosen[worker][client] = send_syn(&region, worker, client, (u16)(1000 + worker));
	}
	return NULL;
}

static u32 entries(const struct fl_region *of)
{
	u32 count = 0;

	for (u64 i = 0; i < of->count[FL_SECTION_STICKIES]; i++)
		for (u32 way = 1; way < FL_STICKY_WAYS; way++)
			count += of->stickies[i].way[way].server != 0;
	return count;
}

static void test_races(void)
{
	pthread_t threads[WORKERS];
	u32 split = 0, claimed = 0, known = 0;

	CASE("the first flows of a client, begun at once by all workers, go to one server");
	open_region(&region, BUCKETS);
	for (long i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
	for (u32 i = 0; i < WORKERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (u32 client = 0; client < CLIENTS; client++) {
		u32 differ = 0;

		for (u32 worker = 1; worker < WORKERS; worker++)
			differ |= chosen[worker][client] ^ chosen[0][client];
		split += differ != 0;
		known += chosen[0][client] != FL_NONE;
	}
	for (u64 i = 0; i < region.count[FL_SECTION_STICKIES]; i++)
		claimed += region.stickies[i].control & FL_STICKY_CLAIMED;
	printf("  %u clients, %u entries, %u went to two servers\n", CLIENTS, entries(&region), split);
	CHECK(known == CLIENTS && claimed == 0);
	/* A worker that loses its processor in the middle of an entry is not waited for. */
	CHECK(split <= CLIENTS / 1000);
	CHECK(entries(&region) <= CLIENTS + split * WORKERS && entries(&region) > CLIENTS * 0.99);
	CHECK(!world_fault(&region));
}

/* One step after the other, as two workers may take them. */
static void test_second_look(void)
{
	struct fl_scratch scratch[2];
	struct fl_view view[2];
	struct fl_addr client = world_addr(0x20010db8, 0x900000, 1);
	const u32 slots[2] = { SERVICE * 2, SERVICE * 2 + 1 };

	CASE("who enters a client that another worker has entered meanwhile is told, and then finds it");
	for (u32 i = 0; i < 2; i++) {
		scratch[i].look = (struct fl_look){ .source = client, .source_port = 1, .is_v6 = 1 };
		scratch[i].is_untracked = 0;
		view[i] = (struct fl_view){ .scratch = &scratch[i] };
		CHECK(fl_view_open(&view[i], &region, i, now));
		CHECK(fl_sticky_find(&view[i], &scratch[i].look, SERVICE, 1) == FL_NONE);
	}
	CHECK(fl_sticky_enter(&view[0], &scratch[0].look, SERVICE, slots[0]) == 1);
	CHECK(fl_sticky_enter(&view[1], &scratch[1].look, SERVICE, slots[1]) == 0);
	CHECK(fl_sticky_find(&view[1], &scratch[1].look, SERVICE, 1) == slots[0]);
	CHECK(fl_sticky_find(&view[0], &scratch[0].look, SERVICE, 1) == slots[0]);

	CASE("and nobody finds what is being written");
	region.stickies[scratch[0].sticky_bucket].control++;
	CHECK(fl_sticky_find(&view[0], &scratch[0].look, SERVICE, 1) == FL_NONE);
	CHECK(fl_sticky_enter(&view[0], &scratch[0].look, SERVICE, slots[1]) == 0);
	region.stickies[scratch[0].sticky_bucket].control++;
	CHECK(fl_sticky_find(&view[0], &scratch[0].look, SERVICE, 1) == slots[0]);
	CHECK(fl_sticky_find(&view[0], &scratch[0].look, SERVICE - 1, 1) == FL_NONE);
}

static void test_claims(void)
{
	u32 first, others = 0, before;

	CASE("while a bucket is claimed its clients are sent on, unremembered; a claim of the dead is taken over");
	first = send_syn(&region, 0, CLIENTS, 1);
	for (u64 i = 0; i < region.count[FL_SECTION_STICKIES]; i++) {
		region.stickies[i].control |= FL_STICKY_CLAIMED;
		region.stickies[i].claimed = (u32)(now >> FL_TICK_SHIFT);
	}
	before = entries(&region);
	for (u16 port = 2; port < 40; port++) {
		u32 server = send_syn(&region, 0, CLIENTS, port);

		CHECK(server != FL_NONE);
		others += server != first;
	}
	CHECK(others > 4 && others < 34); /* it is one of two, at random */
	CHECK(entries(&region) == before);
	now += (FL_STICKY_PATIENCE + 1) * WORLD_TICK;
	first = send_syn(&region, 0, CLIENTS + 1, 50);
	for (u16 port = 51; port < 80; port++)
		CHECK(send_syn(&region, 0, CLIENTS + 1, port) == first);

	CASE("who adopts the region releases all claims, and goes by what is there");
	fl_region_mend(&region);
	first = send_syn(&region, 0, 0, 8);
	for (u32 client = 0; client < 1000; client++)
		CHECK(send_syn(&region, 0, client, 9) == chosen[0][client] || client == 0);
	CHECK(first == chosen[0][0]);
}

/* Entries of which each names the server that its client had; FL_NONE when one does not. */
static u32 right_entries(const struct fl_region *in)
{
	u32 count = 0;

	for (u64 i = 0; i < in->count[FL_SECTION_STICKIES]; i++)
		for (u32 way = 1; way < FL_STICKY_WAYS; way++) {
			const struct fl_sticky *sticky = &in->stickies[i].way[way];
			u32 client = (FL_BE32(sticky->client.word[3]) - FIRST) / 8;

			if (!sticky->server || client >= CLIENTS)
				continue;
			if (FL_BE32(world_server((u32)sticky->server).word[3]) != chosen[0][client])
				return FL_NONE;
			count++;
		}
	return count;
}

static void test_move(u64 buckets, u32 least)
{
	struct fl_region other;
	u32 count, followed = 0;

	open_region(&other, buckets);
	CHECK(fl_region_move(&other, &region) == 0);
	fl_region_thaw(&region);
	count = right_entries(&other);
	printf("  %u of %u, in %llu buckets\n", count, CLIENTS, (unsigned long long)buckets);
	CHECK(count >= least && count != FL_NONE);
	if (buckets >= BUCKETS) { /* who comes now drives nobody out */
		for (u32 client = 0; client < CLIENTS; client++)
			followed += send_syn(&other, 0, client, 30000) == chosen[0][client];
		CHECK(followed >= least);
	}
	CHECK(!world_fault(&other));
	fl_region_close(&other);
}

int main(void)
{
	u32 room = BUCKETS / 8 * (FL_STICKY_WAYS - 1);

	now = fl_now();
	test_races();
	test_second_look();
	test_claims();
	CASE("a table of the same size has all of them");
	test_move(BUCKETS, CLIENTS * 0.99);
	CASE("and so has a larger one");
	test_move(BUCKETS * 2, CLIENTS * 0.99);
	CASE("a smaller one has as many as it has room for");
	test_move(BUCKETS / 8, room * 0.95);
	fl_region_close(&region);
	return check_end();
}
