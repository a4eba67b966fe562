/*
 * The core as the kernel runs it: ns a packet by BPF_PROG_TEST_RUN, each packet of another flow, beside a program that
 * does nothing and one that rewrites every packet alike. Prints a JSON object a line. Root only.
 *
 *   bench-kernel [--quick]
 *
 * Flows are entered by the core in user space, into the same maps. Figures are medians over runs taken in turn; what the
 * harness costs (harness.bpf.c, calling the program that does nothing) is subtracted within each turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../engine/program.h"
#include "clock.h"
#include "harness.h"
#include "katran.h"
#include "world.h"

#define REPEATS_MOST 9

static struct bpf_object *object;
static struct harness_order *order;
static struct harness_reply *replies;
static u32 repeats = 7, packets = 1 << 20;
static const char *only = "", *katran_object;
static struct katran katran;

static void die(const char *what)
{
	fprintf(stderr, "bench-kernel: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int program_named(const char *name, const char *entry)
{
	char full[32];

	snprintf(full, sizeof(full), "%s_%s", name, entry);
	return bpf_program__fd(bpf_object__find_program_by_name(object, full));
}

static void *map_memory(const char *name, size_t size)
{
	void *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_object__find_map_fd_by_name(object, name), 0);

	if (memory == MAP_FAILED)
		die(name);
	return memory;
}

static int ignore(enum libbpf_print_level level, const char *format, va_list values)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, values) : 0;
}

/* A prog array takes programs of one type only: one object for each entry. */
static void open_harness(const char *entry)
{
	struct bpf_program *program;
	size_t length = strlen(entry);

	libbpf_set_print(ignore);
	object = bpf_object__open("build/harness.bpf.o");
	if (!object)
		die("the harness does not open");
	bpf_object__for_each_program(program, object)
	{
		const char *name = bpf_program__name(program);

		bpf_program__set_autoload(program, !strcmp(name + strlen(name) - length, entry));
	}
	if (bpf_object__load(object))
		die("the harness does not load");
	order = map_memory("orders", (size_t)sysconf(_SC_PAGESIZE));
	replies = map_memory("replies", sizeof(*replies) * (size_t)HARNESS_FLOWS);
}

static void set_target(u32 target, int fd)
{
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "targets"), &target, &fd, 0))
		die("a target does not fit the harness");
}

/* ns a packet, harness and all. */
static double run(const char *entry, u32 target, u32 count)
{
	u8 data[HARNESS_LENGTH] = { [12] = 8 }, out[256];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data, .data_size_in = sizeof(data), .data_out = out,
		    .data_size_out = sizeof(out), .repeat = (int)count);

	data[14] = 0x45;
	order->target = target;
	if (bpf_prog_test_run_opts(program_named("harness", entry), &options))
		die("a test run");
	return options.duration;
}

static void give_order(const struct world *world, enum side side, u8 flags, bool is_random)
{
	world_frame_template(world, side, flags, order->frame);
	order->random = 0x9e3779b97f4a7c15ull;
	order->flows = world->flows;
	order->next = 0;
	order->client = FL_BE32(world->client.word[0]);
	order->vip = world->vip.word[0];
	order->vip_port = SERVICE_PORT;
	order->is_random = is_random;
	order->from_server = side == FROM_SERVER;
	order->is_growing = world->kind->tunnel != FL_TUNNEL_NONE;
}

/* `against` is NULL for a figure by itself. */
static void print(const char *measure, const char *path, u32 flows, double value, const char *against, double ratio)
{
	printf("{\"measure\":\"%s\",\"path\":\"%s\",\"flows\":%u,\"value\":%.1f,\"unit\":\"ns\"", measure, path, flows,
	       value);
	if (against)
		printf(",\"against\":\"%s\",\"ratio\":%.3f", against, ratio);
	printf("}\n");
	fflush(stdout);
}

static u64 count_of(const struct world *world, u32 reason)
{
	u64 sum = 0;

	for (u32 i = 0; i < world->region.header->worker_count; i++)
		sum += world->region.workers[i].reasons[reason];
	return sum;
}

/* Runs the core and sees to it that it did what is to be measured. */
static double run_core(const char *entry, const struct world *world, u32 reason, u32 count)
{
	u64 before = count_of(world, reason), done;
	double ns = run(entry, HARNESS_CORE, count);

	done = count_of(world, reason) - before;
	if (done + WORLD_STRAYS * (count / world->flows + 1) >= count)
		return ns;
	fprintf(stderr, "bench-kernel: of %u frames, %llu came out with reason %u\n", count, (unsigned long long)done,
		reason);
	for (u32 i = 0; i < FL_REASON_COUNT; i++)
		fprintf(stderr, "  reason %u: %llu\n", i, (unsigned long long)count_of(world, i));
	exit(1);
}

/* The same for Katran's program: its frames leave in a tunnel, and but few have lost their flow to an eviction. */
static double run_katran(const struct world *world, u32 count)
{
	u64 before = katran_misses(&katran), misses;
	double ns = run("xdp", HARNESS_KATRAN, count);

	misses = katran_misses(&katran) - before;
	if (!misses || misses < count / 1000)
		return ns;
	fprintf(stderr, "bench-kernel: of %u frames of %u flows, katran knew %llu not\n", count, world->flows,
		(unsigned long long)misses);
	exit(1);
}

/* Programs to hold the core against, in the order of their rows. */
static const struct rival {
	const char *name;
	u32 target;
} rivals[] = { { "rewrite", HARNESS_REWRITE }, { "wrap", HARNESS_WRAP }, { "katran", HARNESS_KATRAN } };
#define RIVALS (sizeof(rivals) / sizeof(*rivals))

static bool is_rival(const struct world *world, u32 target)
{
	if (target == HARNESS_WRAP)
		return world->kind->tunnel != FL_TUNNEL_NONE;
	return target != HARNESS_KATRAN || (katran.object && world->kind->tunnel == FL_TUNNEL_IPIP);
}

/* Turns of: nothing, the core, its rivals. Medians, of ratios too. */
static void measure_hits(const char *entry, const struct world *world, enum side side, const char *path)
{
	double core[REPEATS_MOST], rival[RIVALS][REPEATS_MOST], ratio[RIVALS][REPEATS_MOST];
	u32 reason = side == FROM_SERVER ? FL_REASON_SERVER_HIT : FL_REASON_CLIENT_HIT;
	double value;

	give_order(world, side, FL_TCP_ACK, true);
	for (u32 i = 0; i < repeats; i++) {
		double nothing = run(entry, HARNESS_NOTHING, packets);

		core[i] = run_core(entry, world, reason, packets) - nothing;
		for (u32 r = 0; r < RIVALS; r++) {
			if (!is_rival(world, rivals[r].target))
				continue;
			rival[r][i] = rivals[r].target == HARNESS_KATRAN
					      ? run_katran(world, packets) - nothing
					      : run(entry, rivals[r].target, packets) - nothing;
			/* A rewrite may cost no more than its calling. */
			ratio[r][i] = core[i] / (rival[r][i] > 1 ? rival[r][i] : 1);
		}
	}
	value = median(core, repeats);
	for (u32 r = 0; r < RIVALS; r++)
		if (is_rival(world, rivals[r].target))
			print("kernel-hit", path, world->flows, value, rivals[r].name, median(ratio[r], repeats));
	if (is_rival(world, HARNESS_KATRAN))
		print("kernel-hit", "xdp/katran/from-client", world->flows, median(rival[2], repeats), NULL, 0);
}

static void load_unsampled(struct fl_program *program, const struct world *world, struct fl_entry entry)
{
	static char object[1 << 20];
	FILE *file = fopen("build/bench-unsampled.bpf.o", "re");
	size_t size = file ? fread(object, 1, sizeof(object), file) : 0;

	if (!size || size == sizeof(object))
		die("build/bench-unsampled.bpf.o");
	fclose(file);
	if (fl_program_load_build(program, &world->region, entry, NULL, object, size)) {
		fprintf(stderr, "bench-kernel: %s\n", fl_error());
		exit(1);
	}
}

/* The ratio within each turn: hits of the core, which asks whether somebody wants samples, by those of one that does not. */
static void measure_samples(const char *entry, const struct world *world, const struct fl_program *core,
			    struct fl_entry constants, const char *path)
{
	double times[REPEATS_MOST], ratios[REPEATS_MOST];
	struct fl_program unsampled;

	load_unsampled(&unsampled, world, constants);
	give_order(world, FROM_CLIENT, FL_TCP_ACK, true);
	for (u32 i = 0; i < repeats; i++) {
		double nothing = run(entry, HARNESS_NOTHING, packets), without;

		set_target(HARNESS_CORE, unsampled.fd);
		without = run_core(entry, world, FL_REASON_CLIENT_HIT, packets) - nothing;
		set_target(HARNESS_CORE, core->fd);
		times[i] = run_core(entry, world, FL_REASON_CLIENT_HIT, packets) - nothing;
		ratios[i] = times[i] / without;
	}
	fl_program_close(&unsampled);
	print("kernel-samples-off", path, world->flows, median(times, repeats), "without", median(ratios, repeats));
}

/* Every flow entered once, into a table that has been touched. */
static void measure_inserts(const char *entry, struct world *world, const char *path)
{
	double times[REPEATS_MOST];

	for (u32 i = 0; i < repeats; i++) {
		double nothing;

		world_empty(world);
		give_order(world, FROM_CLIENT, FL_TCP_SYN, false);
		nothing = run(entry, HARNESS_NOTHING, world->flows);
		times[i] = run_core(entry, world, FL_REASON_NEW_FLOW, world->flows) - nothing;
	}
	print("kernel-insert", path, world->flows, median(times, repeats), NULL, 0);
}

static void learn_replies(const struct world *world)
{
	for (u32 flow = 0; flow < world->flows; flow++) {
		const struct reply *reply = &world->reply[flow];

		replies[flow] = (struct harness_reply){ reply->server, reply->local, reply->local_port, { 0 } };
	}
}

static void open_katran(void)
{
	if (katran_open(&katran, katran_object))
		exit(1);
	set_target(HARNESS_KATRAN, katran.fd);
}

static void establish_katran(const struct world *world)
{
	if (katran_establish(&katran, world))
		exit(1);
}

static void measure_flows(const char *entry, struct world *world)
{
	struct fl_entry constants[2] = { { .interface = 0 }, { .interface = 1 } };
	struct fl_program program[2];
	u32 sides = world_is_one_way(world) ? 1 : 2;
	char path[64];

	for (u32 side = 0; side < sides; side++) {
		constants[side].is_tc = !strcmp(entry, "tc");
		if (fl_program_load(&program[side], &world->region, constants[side], side ? &program[0] : NULL,
				    false)) {
			fprintf(stderr, "bench-kernel: %s\n", fl_error());
			exit(1);
		}
	}
	world_establish(world);
	if (is_rival(world, HARNESS_KATRAN))
		establish_katran(world);
	if (sides == 2)
		learn_replies(world);
	for (u32 side = 0; side < sides; side++) {
		set_target(HARNESS_CORE, program[side].fd);
		snprintf(path, sizeof(path), "%s/%s/%s", entry, world->kind->name,
			 side ? "from-server" : "from-client");
		measure_hits(entry, world, side, path);
	}
	set_target(HARNESS_CORE, program[0].fd);
	snprintf(path, sizeof(path), "%s/%s", entry, world->kind->name);
	if (world->flows == 1000 && world->kind->method == FL_METHOD_NAT)
		measure_samples(entry, world, &program[0], constants[0], path);
	/* Flows begin alike, whatever is done with their frames. */
	if (world->flows >= 65536 && sides == 2)
		measure_inserts(entry, world, path);
	for (u32 side = 0; side < sides; side++)
		fl_program_close(&program[side]);
}

static void measure_kind(const char *entry, const struct world_kind *kind, bool is_quick)
{
	static const u32 all[] = { 1000, 65536, 1000000, 4000000 }, few[] = { 1000, 1000000 };

	for (u32 i = 0; i < (is_quick ? 2 : 4); i++) {
		struct world world;
		u32 flows = is_quick ? few[i] : all[i];

		if (world_open_maps(&world, kind, flows)) {
			fprintf(stderr, "bench-kernel: %s\n", fl_error());
			exit(1);
		}
		world.flows = flows;
		measure_flows(entry, &world);
		world_close(&world);
	}
}

int main(int argc, char **argv)
{
	static const char *const entries[] = { "xdp", "tc" };
	bool is_quick = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			is_quick = true;
		} else if (!strcmp(argv[i], "--katran") && i + 1 < argc) {
			katran_object = argv[++i];
		} else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			only = argv[++i];
		} else {
			fprintf(stderr, "usage: bench-kernel [--quick] [--only PATH] [--katran OBJECT]\n");
			return 2;
		}
	}
	if (is_quick) {
		repeats = 3;
		packets = 1 << 18;
	}
	for (u32 i = 0; i < 2; i++) {
		bool is_tc = !strcmp(entries[i], "tc");

		open_harness(entries[i]);
		set_target(HARNESS_NOTHING, program_named("nothing", entries[i]));
		set_target(HARNESS_REWRITE, program_named("rewrite", entries[i]));
		if (!is_tc) {
			set_target(HARNESS_WRAP, program_named("wrap", entries[i]));
			if (katran_object)
				open_katran();
		}
		for (u32 k = 0; k < WORLD_KINDS; k++) {
			char path[64];

			/* What bpf_skb_adjust_room() noted in a socket buffer it does not take back for the next run. */
			if (is_tc && world_kinds[k].tunnel)
				continue;
			snprintf(path, sizeof(path), "%s/%s", entries[i], world_kinds[k].name);
			if (strstr(path, only))
				measure_kind(entries[i], &world_kinds[k], is_quick);
		}
		bpf_object__close(object);
		katran_close(&katran);
	}
	return 0;
}
