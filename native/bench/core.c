/*
 * The core alone: what a frame costs when nothing but memory is in play. Prints a JSON object a line.
 *
 *   bench-core [--quick | --scale] [--file PATH]     --scale: ten million flows; PATH: a region file in place of
 *                                                    anonymous memory
 *
 * Frames of random flows are made in blocks ahead of time; the clock runs over a block, in processor time of this
 * thread, so that neither the making nor another program's time slice counts. What the loop itself costs is measured with
 * a call that does nothing, and subtracted. Hits are medians over blocks, then over repeats; inserts are the mean
 * of filling an empty table that has been touched, and single ones are timed apart from that.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "../engine/replay.h"
#include "clock.h"
#include "world.h"

#define REPEATS 5
#define SCALE_FLOWS 10000000
#define BLOCKS_OF(packets) (((packets) + BLOCK - 1) / BLOCK)

typedef void (*run_fn)(struct world *world, struct block *block, u64 now);

static struct fl_result results[BLOCK];
static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (u64)now.tv_sec * 1000000000ull + now.tv_nsec;
}

static __attribute__((noinline)) int do_nothing(struct fl_region *region, struct fl_frame *frame, u64 now,
						struct fl_result *result)
{
	asm volatile("" ::"r"(region), "r"(frame), "r"(now), "r"(result) : "memory");
	return 0;
}

static __attribute__((noinline)) void forward_batch(const struct fl_region *region, struct fl_frame *frames,
						    struct fl_result *into, u64 now)
{
	fl_forward_batch(region, frames, into, FL_BATCH, now);
}

static void run_nothing(struct world *world, struct block *block, u64 now)
{
	for (u32 i = 0; i < BLOCK; i++)
		do_nothing(&world->region, &block->frame[i], now, &results[i]);
}

static void run_single(struct world *world, struct block *block, u64 now)
{
	for (u32 i = 0; i < BLOCK; i++)
		fl_replay(&world->region, &block->frame[i], now, &results[i]);
}

static void run_batch(struct world *world, struct block *block, u64 now)
{
	for (u32 i = 0; i < BLOCK; i += FL_BATCH)
		forward_batch(&world->region, &block->frame[i], &results[i], now);
}

static void expect(u8 reason)
{
	u32 strays = 0;

	for (u32 i = 0; i < BLOCK; i++) {
		strays += results[i].reason != reason;
		if (strays <= WORLD_STRAYS)
			continue;
		fprintf(stderr, "bench-core: frames came out with reason %u where %u was meant\n", results[i].reason,
			reason);
		exit(1);
	}
}

static u64 timed(struct world *world, struct block *block, run_fn run)
{
	u64 now = fl_now(), start = processor_ns();

	run(world, block, now);
	return processor_ns() - start;
}

static void name_random(const struct world *world, struct block *block)
{
	for (u32 i = 0; i < BLOCK; i++)
		block->flow[i] = random_below(&seed, world->flows);
}

/* The last block wraps around: a first frame sent again is a hit. */
static void name_next(const struct world *world, struct block *block, u32 first)
{
	for (u32 i = 0; i < BLOCK; i++)
		block->flow[i] = (first + i) % world->flows;
}

/* ns a packet: the median block. */
static double hit(struct world *world, struct block *block, enum side side, run_fn run, u32 packets)
{
	static double times[BLOCKS_OF(1 << 21)];
	u32 blocks = BLOCKS_OF(packets);

	for (u32 i = 0; i < blocks; i++) {
		name_random(world, block);
		world_frames(world, block, side, FL_TCP_ACK);
		times[i] = (double)timed(world, block, run) / BLOCK;
		if (run != run_nothing)
			expect(side == FROM_CLIENT ? FL_REASON_CLIENT_HIT : FL_REASON_SERVER_HIT);
	}
	return median(times, blocks);
}

static void print(const struct world *world, const char *measure, const char *detail, double value, const char *unit)
{
	printf("{\"measure\":\"%s\",\"path\":\"%s/ipv%d%s\",\"flows\":%u,\"value\":%.1f,\"unit\":\"%s\"}\n", measure,
	       world->kind->name, world->is_v6 ? 6 : 4, detail, world->flows, value, unit);
	fflush(stdout);
}

/* Fills the empty table: ns an insert. The first `flows` of the world, whole blocks only. */
static double fill(struct world *world, struct block *block)
{
	u64 sum = 0;

	for (u32 first = 0; first + BLOCK <= world->flows; first += BLOCK) {
		name_next(world, block, first);
		world_frames(world, block, FROM_CLIENT, FL_TCP_SYN);
		sum += timed(world, block, run_batch);
		expect(FL_REASON_NEW_FLOW);
		world_learn(world, block);
	}
	return (double)sum / (world->flows / BLOCK * BLOCK);
}

/* The same with a clock around each insert. */
static void fill_one_by_one(struct world *world, struct block *block, struct histogram *histogram)
{
	for (u32 first = 0; first + BLOCK <= world->flows; first += BLOCK) {
		name_next(world, block, first);
		world_frames(world, block, FROM_CLIENT, FL_TCP_SYN);
		for (u32 i = 0; i < BLOCK; i++) {
			u64 now = clock_ns();

			fl_replay(&world->region, &block->frame[i], now, &results[i]);
			histogram_add(histogram, clock_ns() - now);
		}
		expect(FL_REASON_NEW_FLOW);
	}
}

static u32 clock_cost(void)
{
	static struct histogram histogram;

	for (u32 i = 0; i < 100000; i++) {
		u64 now = clock_ns();

		histogram_add(&histogram, clock_ns() - now);
	}
	return histogram_quantile(&histogram, 0.5);
}

static void measure_hits(struct world *world, struct block *block, bool is_quick)
{
	static const struct {
		const char *measure, *detail;
		enum side side;
		run_fn run;
	} kind[] = {
		{ "core-hit", "/from-client", FROM_CLIENT, run_single },
		{ "core-hit", "/from-server", FROM_SERVER, run_single },
		{ "core-hit-batch", "/from-client", FROM_CLIENT, run_batch },
		{ "core-hit-batch", "/from-server", FROM_SERVER, run_batch },
	};
	u32 packets = is_quick ? 1 << 18 : 1 << 20;
	double times[4][REPEATS], empty[REPEATS], harness;

	for (u32 repeat = 0; repeat < REPEATS; repeat++) {
		empty[repeat] = hit(world, block, FROM_CLIENT, run_nothing, packets / 8);
		for (u32 i = 0; i < 4; i++)
			if (kind[i].side == FROM_CLIENT || !world_is_one_way(world))
				times[i][repeat] = hit(world, block, kind[i].side, kind[i].run, packets);
	}
	harness = median(empty, REPEATS);
	for (u32 i = 0; i < 4; i++)
		if (kind[i].side == FROM_CLIENT || !world_is_one_way(world))
			print(world, kind[i].measure, kind[i].detail, median(times[i], REPEATS) - harness, "ns");
}

static void measure_inserts(struct world *world, struct block *block)
{
	static struct histogram histogram;
	double times[REPEATS];
	u32 clock = clock_cost();

	memset(&histogram, 0, sizeof(histogram));
	for (u32 repeat = 0; repeat < REPEATS; repeat++) {
		world_empty(world);
		times[repeat] = fill(world, block);
		world_empty(world);
		fill_one_by_one(world, block, &histogram);
	}
	print(world, "core-inserts", "", 1e9 / median(times, REPEATS), "1/s");
	print(world, "core-insert-p50", "", (int)(histogram_quantile(&histogram, 0.5) - clock), "ns");
	print(world, "core-insert-p99", "", (int)(histogram_quantile(&histogram, 0.99) - clock), "ns");
}

static void measure_memory(const struct world *world)
{
	const struct fl_region *region = &world->region;
	u64 table = region->count[FL_SECTION_TAGS] * sizeof(struct fl_tags) +
		    region->count[FL_SECTION_FLOWS] * sizeof(struct fl_flow) +
		    region->count[FL_SECTION_RETURNS] * sizeof(struct fl_returns);

	print(world, "flow-octets", "", sizeof(struct fl_flow) + (world->is_v6 ? sizeof(struct fl_flow6) : 0), "B");
	if (world->is_v6)
		table += region->count[FL_SECTION_FLOWS6] * sizeof(struct fl_flow6);
	print(world, "table-octets", "", (double)table / WORLD_FLOWS, "B");
}

static void open_or_exit(struct world *world, const char *file, const struct world_kind *kind, bool is_v6, u32 flows)
{
	if (world_open(world, file, kind, is_v6, flows)) {
		fprintf(stderr, "bench-core: %s\n", fl_error());
		exit(1);
	}
	world->flows = flows;
}

/* A table ten times as large as usual: what its hits cost, and to look through it for what has expired when nothing has. */
static void measure_scale(const char *file)
{
	static struct block block;
	double times[REPEATS];
	struct world world;

	open_or_exit(&world, file, &world_kinds[0], false, SCALE_FLOWS);
	world_empty(&world);
	world_establish(&world);
	measure_hits(&world, &block, true);
	for (u32 repeat = 0; repeat < REPEATS; repeat++) {
		u64 start = processor_ns();

		if (fl_age_sweep(&world.region, fl_now()))
			exit(1);
		times[repeat] = (double)(processor_ns() - start) / world.flows;
	}
	print(&world, "age", "", median(times, REPEATS), "ns");
	world_close(&world);
	if (file)
		unlink(file);
}

static void measure(const char *file, const struct world_kind *kind, bool is_v6, bool is_quick)
{
	static const u32 flows[] = { 1000, 65536, 1000000 };
	static struct block block;
	struct world world;

	open_or_exit(&world, file, kind, is_v6, WORLD_FLOWS);
	for (u32 i = is_v6 ? 2 : 0; i < 3; i++) {
		world.flows = flows[i];
		world_empty(&world);
		world_establish(&world);
		measure_hits(&world, &block, is_quick);
	}
	/* Flows begin alike, whatever is done with their frames. */
	if (!world_is_one_way(&world)) {
		measure_inserts(&world, &block);
		measure_memory(&world);
	}
	world_close(&world);
	if (file)
		unlink(file);
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	bool is_quick = false, is_scale = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			is_quick = true;
		} else if (!strcmp(argv[i], "--scale")) {
			is_scale = true;
		} else if (!strcmp(argv[i], "--file") && i + 1 < argc) {
			file = argv[++i];
		} else {
			fprintf(stderr, "usage: bench-core [--quick | --scale] [--file PATH]\n");
			return 2;
		}
	}
	if (is_scale) {
		measure_scale(file);
		return 0;
	}
	for (u32 i = 0; i < WORLD_KINDS; i++)
		measure(file, &world_kinds[i], false, is_quick);
	for (u32 i = 0; i < WORLD_KINDS; i++)
		if (!world_kinds[i].tunnel || world_kinds[i].is_outer_v6)
			measure(file, &world_kinds[i], true, is_quick);
	return 0;
}
