/*
 * A worker: takes frames out of its rings in batches, has the core decide, sends what is to leave, gives the slots back.
 *
 * Theory of operation. A batch comes from one port and holds up to FL_BATCH frames; the ports take turns. The half of
 * the configuration that the batch is decided by is named in half_in_use before the core reads anything and cleared
 * after, which is what a commit waits for. Slots go back to the kernel after the flush, because large frames are sent
 * from where they lie.
 *
 * Waiting. Waking a sleeping thread costs some microseconds on the same core, and up to a hundred on another one that
 * has gone idle. So a worker that finds nothing looks on for a while before it sleeps. How long is learned as KVM does
 * it for halted guests: when frames came so soon after it fell asleep that looking on would have met them, the time
 * doubles; when they did not, it halves, down to nothing. Between looks it yields the core: on a shared one the sender
 * whose frame it waits for gets to run at once.
 */
#define _GNU_SOURCE /* sendmmsg, thread names */

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "packet.h"

#define LOOK_LEAST_NS 4000
#define LOOK_MOST_NS 100000 /* 50 us fell just short where both ends share another core: p50 60 us instead of 42 */
/*
 * Large frames in a batch. Each has its buffer, which is to stay in the second-level cache between reading and sending:
 * 8 take 0.5 MiB.
 */
#define LARGE_MOST 8
#define LARGE_BUFFER (64 * 1027) /* the frame, a tag before it, an odd number of lines */
#define SLEEP_MS 250		 /* alive_ns is at most this old */
#define QUEUE_SLEEP_MS 1
#define QUEUE_TRIES 20

struct batch {
	u32 count; /* frames for the core */
	u32 taken; /* slots, also of frames that are not for the core */
	struct fl_frame frame[FL_BATCH];
	struct fl_result result[FL_BATCH];
	struct virtio_net_hdr vnet[FL_BATCH];
	u32 large;
	u8 *buffer;			      /* LARGE_MOST of LARGE_BUFFER */
	struct fl_record sample[FL_BATCH][2]; /* before and after, when somebody asked for them */
};

/* Promiscuous neighbours' frames and echoes of our own are nobody's business here. */
static bool is_for_this_host(const u8 *slot)
{
	const struct sockaddr_ll *from =
		(const struct sockaddr_ll *)(slot + TPACKET_ALIGN(sizeof(struct tpacket2_hdr)));

	return from->sll_pkttype <= PACKET_MULTICAST;
}

/* A frame too large for its slot is in the queue, in the same order, and has to be taken out of it in any case. */
static bool read_large(struct batch *batch, const struct fl_port *port, const struct tpacket2_hdr *header)
{
	u8 *buffer = batch->buffer + (size_t)batch->large * LARGE_BUFFER, *data = buffer + FL_HEAD_MOST;
	u32 i = batch->count;

	if (!(header->tp_status & TP_STATUS_COPY)) { /* the queue was full */
		__atomic_fetch_add(&port->worker->ring_drops, 1, __ATOMIC_RELAXED);
		return false;
	}
	if (!fl_port_receive(port, header, data, &batch->vnet[i])) {
		port->worker->reasons[FL_REASON_OVERSIZE]++;
		return false;
	}
	batch->large++;
	fl_slot_describe(header, data, header->tp_len, buffer, buffer + LARGE_BUFFER, &batch->vnet[i],
			 &batch->frame[i]);
	return true;
}

/* False: nothing for the core, and counted. */
static bool read_frame(struct batch *batch, const struct fl_port *port, u8 *slot)
{
	u32 i = batch->count;

	if (FL_UNLIKELY(!fl_slot_read(slot, &batch->frame[i], &batch->vnet[i])) &&
	    !read_large(batch, port, (const struct tpacket2_hdr *)slot))
		return false;
	if (FL_UNLIKELY(!is_for_this_host(slot))) {
		port->worker->reasons[FL_REASON_NOT_OURS]++;
		return false;
	}
	return true;
}

static void gather(struct batch *batch, struct fl_port *port, u8 worker)
{
	struct fl_ring *ring = &port->in;
	u32 index = ring->head;

	batch->count = batch->taken = batch->large = 0;
	while (batch->taken < FL_BATCH && batch->large < LARGE_MOST) {
		u8 *slot = ring->slot[index];

		if (!(__atomic_load_n(fl_slot_status(slot), __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		batch->taken++;
		index = fl_ring_next(ring, index);
		__builtin_prefetch(ring->slot[index] + 64);
		batch->frame[batch->count] = (struct fl_frame){ .interface = (u8)port->interface, .worker = worker };
		batch->result[batch->count] = (struct fl_result){ 0 };
		if (read_frame(batch, port, slot))
			batch->count++;
	}
}

static void release(struct fl_port *port, u32 slots)
{
	struct fl_ring *ring = &port->in;

	while (slots--) {
		__atomic_store_n(fl_slot_status(ring->slot[ring->head]), TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		ring->head = fl_ring_next(ring, ring->head);
	}
}

/* Names the half in use so that a commit sees it before it takes that half for its own. */
static void enter_half(const struct fl_header *header, struct fl_worker *counters)
{
	u32 half = __atomic_load_n(&header->active_half, __ATOMIC_RELAXED), again;

	for (;; half = again) {
		__atomic_store_n(&counters->half_in_use, 1 + half, __ATOMIC_SEQ_CST);
		again = __atomic_load_n(&header->active_half, __ATOMIC_SEQ_CST);
		if (again == half)
			return;
	}
}

static void emit(struct fl_packet_worker *self, struct batch *batch)
{
	struct fl_port **port = self->port;

	for (u32 i = 0; i < batch->count; i++) {
		const struct fl_result *result = &batch->result[i];

		if (FL_UNLIKELY(result->verdict == FL_KEEP))
			fl_keep_put(&self->keep, &batch->frame[i], fl_now(), port[0]->worker);
		if (result->verdict != FL_FORWARD && result->verdict != FL_ANSWER)
			continue;
		if (FL_UNLIKELY(result->out_interface >= self->packet->runner.interface_count)) {
			port[0]->worker->send_errors++;
			continue;
		}
		if (result->verdict == FL_ANSWER)
			batch->vnet[i] = (struct virtio_net_hdr){ 0 };
		fl_slot_finish(&batch->frame[i], &batch->vnet[i]);
		fl_port_send(port[result->out_interface], &batch->frame[i], &batch->vnet[i]);
	}
	for (u32 i = 0; i < self->packet->runner.interface_count; i++)
		fl_port_flush(port[i]);
}

static void sample(const struct fl_packet_worker *self, struct fl_record *record, const struct fl_frame *frame,
		   const struct fl_result *result, u8 kind)
{
	u32 size = frame->len < FL_RECORD_DATA ? frame->len : FL_RECORD_DATA;

	*record = (struct fl_record){
		.now_ns = fl_now(),
		.len = frame->len,
		.size = size,
		.flow = FL_NONE,
		.gso_size = frame->gso_size,
		.csum_start = frame->csum_start,
		.worker = (u16)self->index,
		.kind = kind,
		.interface = frame->interface,
		.verdict = result->verdict,
		.reason = result->reason,
		.out_interface = result->out_interface,
	};
	memcpy(record->data, frame->data, size);
}

/* Each frame by itself, as it comes, so that what it looked like before and after lie together. */
static void decide_and_sample(struct fl_packet_worker *self, struct batch *batch, u64 now)
{
	struct fl_samples *samples = &self->packet->runner.samples;

	for (u32 i = 0; i < batch->count; i++) {
		struct fl_frame *frame = &batch->frame[i];
		struct fl_result *result = &batch->result[i];
		struct fl_record *pair = batch->sample[i];
		u32 flow = FL_NONE;

		sample(self, &pair[0], frame, result, FL_RECORD_BEFORE);
		fl_forward_noting(self->packet->runner.region, frame, now, result, &flow);
		sample(self, &pair[1], frame, result, FL_RECORD_AFTER);
		pair[1].flow = flow;
		fl_samples_put(samples, pair, 2);
	}
}

static u32 serve(struct fl_packet_worker *self, struct batch *batch, struct fl_port *port, u64 now)
{
	const struct fl_region *region = self->packet->runner.region;
	struct fl_worker *counters = fl_workers_at(region, self->index);

	gather(batch, port, (u8)self->index);
	if (batch->count) {
		enter_half(region->header, counters);
		if (FL_LIKELY(!__atomic_load_n(&region->header->is_sampling, __ATOMIC_RELAXED)))
			fl_forward_batch(region, batch->frame, batch->result, batch->count, now);
		else
			decide_and_sample(self, batch, now);
		__atomic_store_n(&counters->half_in_use, 0, __ATOMIC_RELEASE);
		emit(self, batch);
	}
	release(port, batch->taken);
	return batch->taken;
}

static void leave_kept(void *context, struct fl_frame *frame, const struct fl_result *result)
{
	const struct fl_packet_worker *self = context;
	u32 interface = result->verdict == FL_ANSWER ? frame->interface : result->out_interface;
	struct virtio_net_hdr vnet = { 0 };

	if (interface >= self->packet->runner.interface_count)
		return;
	fl_slot_finish(frame, &vnet);
	fl_port_send(self->port[interface], frame, &vnet);
	fl_port_flush(self->port[interface]);
}

static void try_kept(struct fl_packet_worker *self, u64 now)
{
	const struct fl_region *region = self->packet->runner.region;
	struct fl_worker *counters = fl_workers_at(region, self->index);

	enter_half(region->header, counters);
	fl_keep_try(&self->keep, region, self->index, now, leave_kept, self);
	__atomic_store_n(&counters->half_in_use, 0, __ATOMIC_RELEASE);
}

static void take_next_ports(struct fl_packet_worker *self)
{
	for (u32 i = 0; i < self->packet->runner.interface_count; i++) {
		struct fl_port *next;

		if (FL_LIKELY(!__atomic_load_n(&self->next[i], __ATOMIC_RELAXED)))
			continue;
		next = __atomic_exchange_n(&self->next[i], NULL, __ATOMIC_ACQ_REL);
		fl_port_close(self->port[i]);
		self->port[i] = next;
	}
}

static bool has_queue(const struct fl_packet_worker *self)
{
	for (u32 i = 0; i < self->packet->runner.interface_count; i++)
		if (self->port[i]->queued)
			return true;
	return false;
}

/* Negative: this worker cannot go on. */
static int sleep_until_frames(struct fl_packet_worker *self)
{
	u32 ports = self->packet->runner.interface_count;
	struct pollfd wait[FL_PORTS_MAX + 1];
	int timeout = SLEEP_MS, ready;

	if (self->keep.count)
		timeout = FL_KEEP_POLL_MS;
	if (has_queue(self)) {
		for (u32 i = 0; i < ports; i++)
			fl_port_flush(self->port[i]);
		timeout = QUEUE_SLEEP_MS;
	}
	for (u32 i = 0; i < ports; i++)
		wait[i] = (struct pollfd){ .fd = self->port[i]->rx_fd, .events = POLLIN };
	wait[ports] = (struct pollfd){ .fd = self->wake_fd, .events = POLLIN };
	ready = poll(wait, ports + 1, timeout);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	if (wait[ports].revents) {
		u64 count;

		if (read(self->wake_fd, &count, sizeof(count)) < 0)
			return errno == EAGAIN ? 0 : -errno;
	}
	for (u32 i = 0; i < ports; i++) {
		/* The link went down: reading the error clears it. The keeper sees to a link that does not come back. */
		int error;
		socklen_t size = sizeof(error);

		if (wait[i].revents & POLLERR)
			getsockopt(wait[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
	}
	return 0;
}

/* Before the end: what is queued to leave. An interface that takes nothing for so long loses it. */
static void empty_queues(struct fl_packet_worker *self)
{
	for (u32 tries = 0; tries < QUEUE_TRIES && has_queue(self); tries++) {
		for (u32 i = 0; i < self->packet->runner.interface_count; i++)
			fl_port_flush(self->port[i]);
		poll(NULL, 0, QUEUE_SLEEP_MS);
	}
}

static u64 learn(u64 look, u64 slept)
{
	if (slept > LOOK_MOST_NS)
		return look / 2 < LOOK_LEAST_NS ? 0 : look / 2;
	look = look ? look * 2 : LOOK_LEAST_NS;
	return look > LOOK_MOST_NS ? LOOK_MOST_NS : look;
}

static int loop(struct fl_packet_worker *self)
{
	struct fl_worker *counters = fl_workers_at(self->packet->runner.region, self->index);
	u64 now = fl_now(), last = now, look = 0;
	struct batch batch;
	int error = 0;

	batch.buffer = malloc((size_t)LARGE_MOST * LARGE_BUFFER);
	if (!batch.buffer)
		return -ENOMEM;
	while (!__atomic_load_n(&self->packet->is_stopping, __ATOMIC_RELAXED)) {
		u32 taken = 0;

		__atomic_store_n(&counters->alive_ns, now, __ATOMIC_RELAXED);
		take_next_ports(self);
		if (FL_UNLIKELY(self->keep.count))
			try_kept(self, now);
		for (u32 i = 0; i < self->packet->runner.interface_count; i++)
			taken += serve(self, &batch, self->port[i], now);
		if (taken) {
			last = now = fl_now();
			continue;
		}
		if (now - last < look) {
			sched_yield();
			now = fl_now();
			continue;
		}
		error = sleep_until_frames(self);
		if (error)
			break;
		now = fl_now();
		look = learn(look, now - last);
		last = now;
		counters->wakeups++;
	}
	empty_queues(self);
	fl_keep_free(&self->keep);
	free(batch.buffer);
	return error;
}

void *fl_worker_run(void *argument)
{
	struct fl_packet_worker *self = argument;
	struct fl_worker *counters = fl_workers_at(self->packet->runner.region, self->index);
	int error;

	counters->thread_id = (u32)syscall(SYS_gettid);
	error = loop(self);
	__atomic_store_n(&counters->half_in_use, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&counters->thread_id, 0, __ATOMIC_RELEASE);
	if (error)
		fl_runner_raise(&self->packet->runner, FL_EVENT_WORKER_DIED);
	return NULL;
}
