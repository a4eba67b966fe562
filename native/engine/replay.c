/*
 * The core over frames in memory, for tests, explanations and measurements: in user space, or as the kernel's programs
 * run it (BPF_PROG_TEST_RUN), with a clock that is the caller's in both cases.
 *
 * The programs are the build with FL_REPLAY: they take the time from a map and leave the decision there. What they hand
 * up is decided here, as the slow path does it, so that a replay ends as the engine would.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "program.h"
#include "replay.h"
#include "slow.h"
#include "words.h"

#define INTERFACES 8
#define LOOPBACK 1 /* ifindex: any interface will do where nothing is sent */

struct fl_replayer {
	struct fl_region *region;
	bool is_tc;
	struct fl_program program[INTERFACES]; /* loaded when a frame comes in there */
	const struct fl_program *first;
	struct fl_replayed *replayed; /* shared with the programs of each interface in turn */
	struct ring_buffer *records;
	struct fl_record_whole handed_up;
};

int fl_replay(struct fl_region *region, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	return fl_forward(region, frame, now, result);
}

static int keep_record(void *context, void *data, size_t size)
{
	struct fl_replayer *replayer = context;

	if (size >= sizeof(replayer->handed_up.record))
		memcpy(&replayer->handed_up, data,
		       size < sizeof(replayer->handed_up) ? size : sizeof(replayer->handed_up));
	return 0;
}

static int share_memory(struct fl_replayer *replayer, int replay_fd)
{
	replayer->replayed =
		mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, replay_fd, 0);
	if (replayer->replayed == MAP_FAILED) {
		replayer->replayed = NULL;
		return fl_fail(-errno, "the replay's clock cannot be mapped: %s", strerror(errno));
	}
	return 0;
}

static int load_first(struct fl_replayer *replayer, u32 interface)
{
	const struct fl_program *first = &replayer->program[interface];
	u32 loopback = LOOPBACK;

	replayer->first = first;
	for (u32 i = 0; i < INTERFACES; i++)
		if (bpf_map_update_elem(first->ports_fd, &i, &loopback, 0))
			return fl_fail(-errno, "cannot set up a replay: %s", strerror(errno));
	replayer->records = ring_buffer__new(first->records_fd, keep_record, replayer, NULL);
	if (!replayer->records)
		return fl_fail(-errno, "cannot set up a replay: %s", fl_words_for(-errno));
	return share_memory(replayer, first->replay_fd);
}

static int program_for(struct fl_replayer *replayer, u32 interface)
{
	struct fl_entry entry = { .interface = (u8)interface, .is_tc = replayer->is_tc };
	struct fl_program *program = &replayer->program[interface];
	int code;

	if (program->object)
		return 0;
	entry.has_frags = !replayer->is_tc && fl_kernel_has_frags();
	code = fl_program_load(program, replayer->region, entry, replayer->first, true);
	return !code && !replayer->first ? load_first(replayer, interface) : code;
}

int fl_replayer_open(struct fl_replayer **opened, struct fl_region *region, bool is_tc)
{
	struct fl_replayer *replayer;
	int code;

	if (!region->maps)
		return fl_fail(-EINVAL, "the kernel's programs work on a region of maps");
	replayer = calloc(1, sizeof(*replayer));
	if (!replayer)
		return fl_fail(-ENOMEM, "no memory for a replay");
	replayer->region = region;
	replayer->is_tc = is_tc;
	code = program_for(replayer, 0);
	if (code) {
		fl_replayer_close(replayer);
		return code;
	}
	*opened = replayer;
	return 0;
}

/* The frame was handed up: once more in user space, on the octets that came up, as the engine's slow path has it. */
static int decide_slowly(struct fl_replayer *replayer, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	struct fl_region *region = replayer->region;
	u8 *data = frame->data;

	ring_buffer__consume(replayer->records);
	fl_slow_decide(region, region->header->worker_count - 1, &replayer->handed_up.record, frame, now, result);
	memmove(data, frame->data, frame->len < frame->room ? frame->len : frame->room);
	frame->data = data;
	return 0;
}

int fl_replayer_run(struct fl_replayer *replayer, struct fl_frame *frame, u64 now, struct fl_result *result)
{
	struct __sk_buff socket_buffer = { .gso_size = frame->gso_size };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->data, .data_size_in = frame->len,
		    .data_out = frame->data, .data_size_out = frame->room);
	int code;

	if (frame->interface >= INTERFACES)
		return fl_fail(-EINVAL, "there is no interface %u", frame->interface);
	if (frame->csum_start || (frame->gso_size && !replayer->is_tc))
		return fl_fail(-EOPNOTSUPP,
			       "a test run in the kernel has no unfinished checksums, and xdp no super-frames");
	code = program_for(replayer, frame->interface);
	if (code)
		return code;
	if (replayer->is_tc) {
		options.ctx_in = &socket_buffer;
		options.ctx_size_in = sizeof(socket_buffer);
		socket_buffer.gso_segs = frame->gso_size ? frame->len / frame->gso_size + 1 : 0;
	}
	replayer->replayed->now = now;
	replayer->replayed->result = (struct fl_result){ 0 };
	code = bpf_prog_test_run_opts(replayer->program[frame->interface].fd, &options);
	if (code)
		return fl_fail(code, "the kernel does not run a frame of %u octets: %s", frame->len, strerror(-code));
	*result = replayer->replayed->result;
	if (result->verdict == FL_HAND_UP)
		return decide_slowly(replayer, frame, now, result);
	frame->len = options.data_size_out;
	return 0;
}

void fl_replayer_close(struct fl_replayer *replayer)
{
	if (replayer->records)
		ring_buffer__free(replayer->records);
	if (replayer->replayed)
		munmap(replayer->replayed, (size_t)sysconf(_SC_PAGESIZE));
	for (u32 i = 0; i < INTERFACES; i++)
		fl_program_close(&replayer->program[i]);
	free(replayer);
}
