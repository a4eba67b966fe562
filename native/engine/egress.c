/*
 * The way out of a port: small frames through the ring out, super-frames by sendmmsg.
 *
 * Theory of operation. A small frame is copied into the next slot of the ring and handed over with all others of its
 * batch by one send(). A super-frame would need slots of 64 KiB there, so it goes by sendmmsg, from the worker's buffer.
 * Frames of one flow must not overtake each other: before one path is used, what waits on the other is flushed, and
 * where the ring cannot be flushed the super-frame is refused.
 *
 * Slots that the kernel did not take (its send buffer is full, or the driver's queue) stay in the ring and are tried
 * again with the next flush: that is the queue of this interface, as long as the ring. When it is full, frames are
 * refused. When nothing moves for STALLS_MOST attempts (no carrier), or the interface is down, the queue is thrown
 * away: the kernel reads on at the first slot it did not take, so filling starts again there.
 *
 * A frame that must be split (split.h) is written into the ring piece by piece. Pieces larger than a slot go out one by
 * one, from memory of their own.
 *
 * Every frame not sent is counted: send_errors, and the reason egress-full or oversize.
 */
#define _GNU_SOURCE /* sendmmsg, thread names */

#include <errno.h>

#include "ring.h"
#include "split.h"

#define TRIES 3	       /* attempts in a row before the rest waits for the next flush */
#define STALLS_MOST 64 /* an idle worker flushes once a millisecond while a queue is left */

static void refuse(struct fl_port *port, u32 frames, int reason)
{
	port->worker->send_errors += frames;
	port->worker->reasons[reason] += frames;
}

static u32 status_of(const struct fl_ring *ring, u32 index)
{
	return __atomic_load_n(fl_slot_status(ring->slot[index]), __ATOMIC_ACQUIRE);
}

static u32 first_queued(const struct fl_port *port)
{
	u32 head = port->out.head;

	return head >= port->queued ? head - port->queued : head + port->out.slots - port->queued;
}

static void throw_queue_away(struct fl_port *port)
{
	u32 first = first_queued(port);

	for (u32 i = first, left = port->queued; left; left--, i = fl_ring_next(&port->out, i))
		__atomic_store_n(fl_slot_status(port->out.slot[i]), TP_STATUS_AVAILABLE, __ATOMIC_RELEASE);
	refuse(port, port->queued, FL_REASON_EGRESS_FULL);
	port->out.head = first;
	port->queued = 0;
	port->queued_octets = 0;
	port->stalls = 0;
}

static bool is_congestion(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == EINTR || error == ENOMEM;
}

/* Hands the queue to the kernel. True when nothing is left of it. */
static bool flush_ring(struct fl_port *port)
{
	u32 before = port->queued;

	for (int i = 0; i < TRIES && port->queued; i++) {
		u32 last = (port->out.head ? port->out.head : port->out.slots) - 1;
		ssize_t octets = send(port->tx_fd, NULL, 0, MSG_DONTWAIT);

		if (octets > 0)
			port->queued_octets -= octets < port->queued_octets ? (u32)octets : port->queued_octets;
		if (status_of(&port->out, last) != TP_STATUS_SEND_REQUEST) {
			/* PACKET_LOSS: what the kernel cannot send at all it skips, and its octets are missing. */
			if (port->queued_octets)
				refuse(port, 1, FL_REASON_EGRESS_FULL);
			port->queued = 0;
			port->queued_octets = 0;
			port->stalls = 0;
			return true;
		}
		while (status_of(&port->out, first_queued(port)) != TP_STATUS_SEND_REQUEST)
			port->queued--;
		if (octets < 0 && !is_congestion(errno)) {
			throw_queue_away(port);
			return true;
		}
	}
	port->stalls = port->queued < before ? 0 : port->stalls + 1;
	if (port->stalls >= STALLS_MOST)
		throw_queue_away(port);
	return port->queued == 0;
}

static void flush_messages(struct fl_port *port)
{
	u32 done = 0, tries = 0;

	while (done < port->messages) {
		int sent = sendmmsg(port->rx_fd, port->message + done, port->messages - done, MSG_DONTWAIT);

		if (sent > 0) {
			done += (u32)sent;
			tries = 0;
		} else if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV) {
			refuse(port, port->messages - done, FL_REASON_EGRESS_FULL);
			break;
		} else if (!is_congestion(errno) || ++tries == TRIES) {
			refuse(port, 1, errno == EMSGSIZE ? FL_REASON_OVERSIZE : FL_REASON_EGRESS_FULL);
			done++;
			tries = 0;
		}
	}
	port->messages = 0;
}

/* The next slot of the ring out; NULL, and counted, when it is full. */
static u8 *slot_take(struct fl_port *port)
{
	if (FL_UNLIKELY(status_of(&port->out, port->out.head) != TP_STATUS_AVAILABLE)) {
		flush_ring(port);
		if (status_of(&port->out, port->out.head) != TP_STATUS_AVAILABLE) {
			refuse(port, 1, FL_REASON_EGRESS_FULL);
			return NULL;
		}
	}
	return port->out.slot[port->out.head];
}

static void slot_queue(struct fl_port *port, u8 *slot, u32 len)
{
	struct tpacket2_hdr *header = (struct tpacket2_hdr *)slot;

	header->tp_len = (u32)FL_VNET_HEADER + len;
	__atomic_store_n(&header->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	port->out.head = fl_ring_next(&port->out, port->out.head);
	port->queued++;
	port->queued_octets += len;
}

static void queue_small(struct fl_port *port, const struct fl_frame *frame, const struct virtio_net_hdr *vnet)
{
	u8 *slot = slot_take(port);

	if (!slot)
		return;
	memcpy(slot + FL_SLOT_OUT, vnet, FL_VNET_HEADER);
	memcpy(slot + FL_SLOT_OUT + FL_VNET_HEADER, frame->data, frame->len);
	slot_queue(port, slot, frame->len);
}

static void queue_message(struct fl_port *port, const struct fl_frame *frame, const struct virtio_net_hdr *vnet)
{
	u32 i = port->messages++;

	port->header[i] = *vnet;
	port->piece[i][0] = (struct iovec){ &port->header[i], FL_VNET_HEADER };
	port->piece[i][1] = (struct iovec){ frame->data, frame->len };
	port->message[i].msg_hdr = (struct msghdr){ .msg_iov = port->piece[i], .msg_iovlen = 2 };
}

static void send_now(struct fl_port *port, const struct fl_split *split, u32 index)
{
	struct virtio_net_hdr vnet = { 0 };
	u8 piece[FL_LARGE_FRAME + FL_HEAD_MOST];
	struct iovec parts[2] = { { &vnet, FL_VNET_HEADER }, { piece, fl_split_size(split, index) } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	fl_split_write(split, index, piece);
	vnet.hdr_len = (u16)parts[1].iov_len;
	if (sendmsg(port->rx_fd, &message, MSG_DONTWAIT) < 0)
		refuse(port, 1, errno == EMSGSIZE ? FL_REASON_OVERSIZE : FL_REASON_EGRESS_FULL);
}

static void send_pieces(struct fl_port *port, struct fl_frame *frame)
{
	struct fl_split split;

	if (!fl_split_plan(&split, frame)) {
		refuse(port, 1, FL_REASON_OVERSIZE);
		return;
	}
	if (port->messages)
		flush_messages(port);
	for (u32 i = 0; i < split.pieces; i++) {
		struct virtio_net_hdr vnet = { .hdr_len = (u16)fl_split_size(&split, i) };
		u8 *slot;

		if (fl_split_size(&split, i) > FL_SMALL_FRAME) {
			if (port->queued && !flush_ring(port))
				refuse(port, 1, FL_REASON_EGRESS_FULL);
			else
				send_now(port, &split, i);
			continue;
		}
		slot = slot_take(port);
		if (!slot)
			continue;
		memcpy(slot + FL_SLOT_OUT, &vnet, FL_VNET_HEADER);
		fl_split_write(&split, i, slot + FL_SLOT_OUT + FL_VNET_HEADER);
		slot_queue(port, slot, fl_split_size(&split, i));
	}
}

void fl_port_send(struct fl_port *port, struct fl_frame *frame, const struct virtio_net_hdr *vnet)
{
	if (FL_UNLIKELY(fl_split_is_due(frame))) {
		send_pieces(port, frame);
	} else if (FL_LIKELY(frame->len <= FL_SMALL_FRAME)) {
		if (FL_UNLIKELY(port->messages))
			flush_messages(port);
		queue_small(port, frame, vnet);
	} else {
		if (port->queued && !flush_ring(port)) {
			refuse(port, 1, FL_REASON_EGRESS_FULL);
			return;
		}
		queue_message(port, frame, vnet);
		if (port->messages == FL_BATCH)
			flush_messages(port);
	}
}

void fl_port_flush(struct fl_port *port)
{
	if (port->messages)
		flush_messages(port);
	if (port->queued)
		flush_ring(port);
}
