/*
 * Commits while workers forward: no frame is decided half by one configuration and half by another, and counts stay
 * exact when servers go and their slots are given to others.
 */
#include "check.h"
#include "core-world.h"
#include "batch.h"

#include <errno.h>
#include <pthread.h>

#define WORKERS 3
#define SLOTS 4096 /* so few that slots change hands in the middle of frames */
#define COMMITS 1500

static struct fl_region region;
static u32 generations[WORLD_SERVERS];
static int is_stopping;
static u64 frames_done, torn, unknown;

struct worker {
	pthread_t thread;
	u32 number;
	u64 random_state;
};

static u32 some(struct worker *worker, u32 bound)
{
	worker->random_state = worker->random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(worker->random_state >> 33) % bound;
}

/* As an engine does around each batch. */
static void enter_half(struct fl_worker *worker)
{
	u32 half;

	do {
		half = __atomic_load_n(&region.header->active_half, __ATOMIC_SEQ_CST);
		__atomic_store_n(&worker->half_in_use, 1 + half, __ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&region.header->active_half, __ATOMIC_SEQ_CST) != half);
}

/* A client has one worker. Every third frame is a nat server's answer, whether there is a flow or not. */
static void fill(struct worker *worker, struct fl_frame *frame, u32 *service)
{
	u32 client = worker->number * 8 + some(worker, 8);
	int is_answer = some(worker, 3) == 0;
	struct world_ends ends = { .from_port = 1000 + some(worker, 400), .to_port = WORLD_VIP_PORT, .ttl = 64 };

	*service = WORLD_UDP | (is_answer ? some(worker, 2) * WORLD_V6 : some(worker, WORLD_NATS));
	ends.is_v6 = *service & WORLD_V6 ? 1 : 0;
	ends.protocol = world_protocol(*service);
	ends.from = world_client(client, ends.is_v6);
	ends.to = world_vip(*service);
	if (is_answer) {
		ends.to = ends.from;
		ends.to_port = ends.from_port;
		ends.from = world_server(*service * 2 + some(worker, 2));
		ends.from_port = WORLD_SERVER_PORT;
		ends.interface = 1;
	}
	frame->len = world_frame(frame->data, &ends);
	frame->interface = ends.interface;
	frame->worker = worker->number;
	frame->csum_start = frame->gso_size = 0;
}

/* The slot of the server that a forwarded frame goes to. */
static u32 slot_of(const struct fl_frame *frame, u32 service)
{
	return (service & WORLD_V6 ? frame->data[14 + 39] : frame->data[14 + 19]) - 100u;
}

static void *work(void *data)
{
	static u8 rooms[WORKERS][FL_BATCH][256];
	struct worker *worker = data;
	struct fl_frame frames[FL_BATCH] = { 0 };
	struct fl_result results[FL_BATCH];
	u32 services[FL_BATCH];

	while (!fl_load(&is_stopping)) {
		u32 parity = FL_NONE;

		for (u32 i = 0; i < FL_BATCH; i++) {
			frames[i].data = rooms[worker->number][i];
			frames[i].room = sizeof(rooms[0][0]);
			fill(worker, &frames[i], &services[i]);
		}
		enter_half(&region.workers[worker->number]);
		replay_batch(&region, frames, results, FL_BATCH, 1000 * WORLD_TICK);
		__atomic_store_n(&region.workers[worker->number].half_in_use, 0, __ATOMIC_RELEASE);
		for (u32 i = 0; i < FL_BATCH; i++) {
			u32 slot = slot_of(&frames[i], services[i]);

			if (results[i].reason == FL_REASON_NO_SERVICE || results[i].reason == FL_REASON_NONE)
				fl_add(&unknown, 1);
			if (results[i].reason != FL_REASON_NEW_FLOW)
				continue;
			if (parity == FL_NONE)
				parity = slot & 1;
			if (slot / 2 != services[i] || (slot & 1) != parity)
				fl_add(&torn, 1);
		}
		fl_add(&frames_done, FL_BATCH);
	}
	return NULL;
}

/* Commits come as fast as they are taken, until there were enough and every worker had frames through. */
static int run(int (*commit)(u32 number))
{
	struct worker workers[WORKERS];
	int code = 0;

	fl_store(&is_stopping, 0);
	torn = unknown = frames_done = 0;
	for (u32 i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .number = i, .random_state = i + 1 };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	}
	for (u32 number = 0; !code && (number < COMMITS || fl_load(&frames_done) < 20000); number++)
		code = commit(number);
	fl_store(&is_stopping, 1);
	for (u32 i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return code;
}

/* Now only the even servers take new flows, now only the odd ones. */
static int commit_sides(u32 number)
{
	return world_commit_taking(&region, generations, number & 1 ? 0xaaaaaaaa : 0x55555555);
}

/* An even server goes; two commits later its slot is another's. Only even ones take new flows. */
static int commit_successors(u32 number)
{
	for (u32 slot = 0; slot < WORLD_SERVERS; slot += 2) {
		if (number % 4 == 0)
			generations[slot] = (generations[slot] + 1) | WORLD_GONE;
		else if (number % 4 == 2)
			generations[slot] &= ~WORLD_GONE;
	}
	if (number % 16 == 0)
		fl_age_sweep(&region, 1000 * WORLD_TICK);
	return world_commit_taking(&region, generations, 0x55555555);
}

int main(void)
{
	const char *fault;

	CASE("new flows of one batch all go where one configuration says");
	world_generations(generations);
	world_open(&region, SLOTS, WORKERS);
	CHECK(!world_commit_taking(&region, generations, 0x55555555));
	CHECK(!run(commit_sides));
	CHECK(!torn);
	CHECK(!unknown);

	CASE("with all workers at rest the table is whole and counts are exact");
	fault = world_fault(&region);
	CHECK(!fault);
	if (fault)
		printf("  %s\n", fault);

	CASE("counts are exact when slots go from server to server under load");
	CHECK(!run(commit_successors));
	CHECK(!torn);
	fault = world_fault(&region);
	CHECK(!fault);
	if (fault)
		printf("  %s\n", fault);

	CASE("a commit gives up on a worker that is stuck in the half it wants, and changes nothing");
	u64 generation = region.header->generation;
	u32 half = region.header->active_half;
	region.workers[1].half_in_use = 1 + (1 - half);
	CHECK(world_commit(&region, generations) == -ETIMEDOUT);
	CHECK(region.header->generation == generation && region.header->active_half == half);
	region.workers[1].half_in_use = 0;
	CHECK(!world_commit(&region, generations));
	fl_region_close(&region);
	return check_end();
}
