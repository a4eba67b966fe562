/*
 * A port: one worker's hold on one interface. Two sockets, because a socket with a ring out cannot send anything else:
 *
 *   rx_fd  ring in; frames larger than a slot (super-frames) come by its queue and leave by it with sendmmsg
 *   tx_fd  ring out for everything else
 *
 * All workers' ports of one interface are opened together (ring.c), since their order is the fan-out's. A port belongs
 * to its worker from the moment the worker took it; the worker closes it. The keeper only asks its sockets questions,
 * and only while it is the newest one.
 */
#ifndef FL_RING_H
#define FL_RING_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "engine.h"
#include "slot.h"

struct fl_ring {
	u8 *map;
	size_t size;
	u8 **slot; /* where each begins */
	u32 slots; /* a power of two is not needed: head wraps by comparison */
	u32 head;  /* the next one to read, or to fill */
};

struct fl_port {
	u32 ifindex;
	u32 interface; /* id */
	int rx_fd;
	int tx_fd;
	struct fl_ring in;
	struct fl_ring out;
	struct fl_worker *worker; /* where refused frames are counted */

	/* ring out: slots filled before `out.head` that the kernel has not taken yet */
	u32 queued;
	u32 queued_octets;
	u32 stalls; /* fruitless attempts in a row to hand them over */

	/* large frames waiting for fl_port_flush; they point to where the frames lie */
	u32 messages;
	struct mmsghdr message[FL_BATCH];
	struct iovec piece[FL_BATCH][2];
	struct virtio_net_hdr header[FL_BATCH];
};

#define FL_LARGE_FRAME (65535 + FL_ETHER_HEADER + FL_VLAN_TAG) /* an IP packet cannot be longer, but for "BIG TCP" */
#define FL_SLOT_OUT \
	TPACKET_ALIGN(sizeof(struct tpacket2_hdr)) /* where a slot of a ring out begins, with the vnet header */
#define FL_SMALL_FRAME (FL_SLOT - FL_SLOT_OUT - FL_VNET_HEADER)

struct fl_inheritance;

/*
 * Opens ports[0..workers) on an interface that exists and is up. `slots` is what was asked for each ring in and becomes
 * what was had: memory refused halves it. Nothing is received before the guard's filter is on the socket. Rings that a
 * predecessor has left are taken from `inheritance`, which may be NULL.
 */
int fl_ports_open(struct fl_port **ports, u32 workers, u32 ifindex, u32 interface, const char *name,
		  struct fl_guard *guard, u32 *slots, struct fl_inheritance *inheritance);
/* Maps a ring of so many slots that its socket has. */
int fl_ring_map(struct fl_ring *ring, int fd, u32 slots);
void fl_port_close(struct fl_port *port);

/*
 * Takes the next large frame off the queue: the one whose slot says TP_STATUS_COPY. False: it is not as that says.
 * `data` has room for it.
 */
bool fl_port_receive(const struct fl_port *port, const struct tpacket2_hdr *header, u8 *data,
		     struct virtio_net_hdr *vnet);

/* Frames that the kernel dropped since last asked because the ring was full. */
u32 fl_port_drops(const struct fl_port *port);
/* The interface these sockets were bound to is gone; one of the same name is another interface. */
bool fl_port_is_orphan(const struct fl_port *port);

/* egress.c. A frame's memory must stay as it is until the port is flushed. */
void fl_port_send(struct fl_port *port, struct fl_frame *frame, const struct virtio_net_hdr *vnet);
void fl_port_flush(struct fl_port *port);

FL_INLINE u32 *fl_slot_status(u8 *slot)
{
	return &((struct tpacket2_hdr *)slot)->tp_status;
}

FL_INLINE u32 fl_ring_next(const struct fl_ring *ring, u32 index)
{
	return index + 1 == ring->slots ? 0 : index + 1;
}

#endif
