/*
 * The slow path. A program in the kernel hands up a frame when it cannot do what is due: answer a frame that still owes
 * a checksum, make one longer than the driver's buffer, send one as fragments, or keep one. It has at most entered the flow
 * then, so the core decides here once more, over the same region, and what is to leave does so by a packet socket: answers, and frames
 * that came up whole. Of any other only the first octets are here; it is counted as oversize.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/libbpf.h>

#include "leave.h"
#include "runner.h"
#include "slot.h"
#include "slow.h"
#include "words.h"

#define ROOM 70000 /* a super-frame's length may be asked for, though its end is not here */
#define POLL_MS 250

static void take_half(struct fl_region *region, u32 worker)
{
	struct fl_worker *counters = &region->workers[worker];
	u32 half;

	do {
		half = __atomic_load_n(&region->header->active_half, __ATOMIC_SEQ_CST);
		__atomic_store_n(&counters->half_in_use, 1 + half, __ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&region->header->active_half, __ATOMIC_SEQ_CST) != half);
}

static void leave_half(struct fl_region *region, u32 worker)
{
	__atomic_store_n(&region->workers[worker].half_in_use, 0, __ATOMIC_RELEASE);
}

int fl_slow_decide(struct fl_region *region, u32 worker, const struct fl_record *record, struct fl_frame *frame,
		   u64 now, struct fl_result *result)
{
	u32 tag = record->vlan_protocol ? FL_VLAN_TAG : 0;
	u8 *data = frame->data + FL_HEAD_MOST;
	int verdict;

	memset(frame->data, 0, FL_HEAD_MOST + record->size + FL_QUOTE_MAX);
	memcpy(data, fl_record_octets(record), record->size);
	if (tag)
		data = fl_slot_insert_tag(data, record->vlan_protocol, record->vlan_tci);
	*frame = (struct fl_frame){
		.data = data,
		.len = record->len + tag,
		.room = ROOM - FL_HEAD_MOST,
		.head = (u16)(data - frame->data),
		.csum_start = record->csum_start ? record->csum_start + tag : 0,
		.gso_size = record->gso_size,
		.interface = record->interface,
		.worker = (u16)worker,
	};
	take_half(region, worker);
	verdict = fl_forward(region, frame, now, result);
	leave_half(region, worker);
	return verdict;
}

static void decide(struct fl_slow *slow, const struct fl_record *record)
{
	struct fl_frame frame = { .data = slow->room };
	struct fl_worker *counters = &slow->region->workers[slow->worker];
	struct fl_result result = { 0 };
	int verdict;

	if (record->interface >= FL_PORTS_MAX || record->len > ROOM - 2 * FL_HEAD_MOST ||
	    record->size > FL_RECORD_WHOLE)
		return;
	verdict = fl_slow_decide(slow->region, slow->worker, record, &frame, fl_now(), &result);
	if ((verdict == FL_FORWARD || verdict == FL_KEEP) && record->size < record->len)
		counters->reasons[FL_REASON_OVERSIZE]++;
	else if (verdict == FL_KEEP)
		fl_keep_put(&slow->keep, &frame, fl_now(), counters);
	else if (verdict == FL_FORWARD || verdict == FL_ANSWER)
		fl_leave(slow->socket_fd, &frame,
			 slow->ifindex[verdict == FL_ANSWER ? record->interface : result.out_interface], counters);
}

static int take(void *context, void *data, size_t size)
{
	const struct fl_record *record = data;

	if (size < sizeof(*record))
		return 0;
	if (record->kind == FL_RECORD_SLOW)
		decide(context, record);
	else
		fl_samples_put(((struct fl_slow *)context)->samples, record, 1);
	return 0;
}

static void leave_kept(void *context, struct fl_frame *frame, const struct fl_result *result)
{
	struct fl_slow *slow = context;
	u32 interface = result->verdict == FL_ANSWER ? frame->interface : result->out_interface;

	fl_leave(slow->socket_fd, frame, slow->ifindex[interface], &slow->region->workers[slow->worker]);
}

static void try_kept(struct fl_slow *slow)
{
	take_half(slow->region, slow->worker);
	fl_keep_try(&slow->keep, slow->region, slow->worker, fl_now(), leave_kept, slow);
	leave_half(slow->region, slow->worker);
}

static void *run(void *argument)
{
	struct fl_slow *slow = argument;

	while (!__atomic_load_n(&slow->is_stopping, __ATOMIC_RELAXED)) {
		ring_buffer__poll(slow->records, slow->keep.count ? FL_KEEP_POLL_MS : POLL_MS);
		if (slow->keep.count)
			try_kept(slow);
	}
	return NULL;
}

int fl_slow_start(struct fl_slow *slow, int records_fd)
{
	slow->room = calloc(1, ROOM);
	slow->socket_fd = fl_leave_open();
	if (!slow->room)
		return fl_fail(-ENOMEM, "no memory for the slow path");
	if (slow->socket_fd < 0)
		return slow->socket_fd;
	slow->records = ring_buffer__new(records_fd, take, slow, NULL);
	if (!slow->records)
		return fl_fail(-errno, "cannot read what the kernel's programs report: %s", fl_words_for(-errno));
	slow->is_started = fl_thread_start(&slow->thread, run, slow, "fl-slow") == 0;
	return slow->is_started ? 0 : -EAGAIN;
}

void fl_slow_stop(struct fl_slow *slow)
{
	__atomic_store_n(&slow->is_stopping, true, __ATOMIC_RELAXED);
	if (slow->is_started)
		pthread_join(slow->thread, NULL);
	if (slow->records)
		ring_buffer__free(slow->records);
	if (slow->socket_fd >= 0)
		close(slow->socket_fd);
	fl_keep_free(&slow->keep);
	free(slow->room);
}
