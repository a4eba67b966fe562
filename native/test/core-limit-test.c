/*
 * max_flows while several workers begin and end flows of one server at once: never more than one flow above it for each
 * other worker, never refused while there is room for long, and no count lost at the end.
 */
#include <pthread.h>

#include "check.h"
#include "core-world.h"
#include "../engine/replay.h"

#define WORKERS 4
#define MOST 100
#define FRAMES 200000

static struct fl_region region;
static u32 highest;

static void send_frame(u32 worker, u16 port, u8 flags, u64 now, struct fl_result *result)
{
	u8 data[256];
	struct world_ends ends = {
		.from = world_client(worker, 0),
		.to = world_vip(0),
		.from_port = port,
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.ttl = 64,
	};
	struct fl_frame frame = { .data = data, .room = sizeof(data), .worker = (u16)worker };

	frame.len = world_frame(data, &ends);
	*result = (struct fl_result){ 0 };
	fl_replay(&region, &frame, now, result);
}

/* Begins flows, and ends each a while later by a RST. */
static void *run(void *argument)
{
	u32 worker = (u32)(long)argument;
	struct fl_result result;

	for (u32 i = 0; i < FRAMES; i++) {
		u32 open;

		send_frame(worker, (u16)(1 + i % 60), i / 60 & 1 ? FL_TCP_RST : FL_TCP_SYN, 1000 * WORLD_TICK, &result);
		open = fl_load(&region.server_state[0].open);
		if ((int)open > (int)fl_load(&highest))
			fl_store(&highest, open);
	}
	return NULL;
}

int main(void)
{
	u32 generations[WORLD_SERVERS] = { 1 };
	pthread_t threads[WORKERS];
	u64 full = 0;

	CASE("workers that begin flows at once give a server at most one flow more each than its max_flows");
	world_max_flows = MOST;
	world_open(&region, 4096, WORKERS);
	CHECK(world_commit(&region, generations) == 0);
	for (long i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
	for (u32 i = 0; i < WORKERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (u32 i = 0; i < WORKERS; i++)
		full += region.workers[i].reasons[FL_REASON_SERVERS_FULL];
	printf("  %u at the most, %llu refused\n", highest, (unsigned long long)full);
	CHECK(full > 0 && highest >= MOST && highest <= MOST + WORKERS - 1);
	CHECK(!world_fault(&region));
	fl_region_close(&region);
	return check_end();
}
