/*
 * Opens and closes the sockets and rings of ports.
 *
 * Theory of operation. PACKET_VNET_HDR on both sockets lets super-frames and partial checksums pass as they are.
 *
 * A super-frame has up to 64 KiB. Slots of that size cost a cold 64 KiB for each one, since a ring walks through all
 * its slots: measured, bulk TCP fell by 15 % from 126 such slots to 1,008, and those took 64 MiB. So slots are small,
 * and PACKET_COPY_THRESH has the kernel queue a frame that does not fit on the socket (a clone, nothing is copied yet).
 * Its slot, in its place among the others, says so. The worker reads it into a buffer that stays warm.
 *
 * TPACKET_V2 gives each frame to the reader at once; V3 holds a block back until it is full or its timer ends, which
 * costs milliseconds a hop. The socket is bound to ETH_P_ALL: only then does its tap stand before the guard's drop at
 * tc ingress.
 *
 * From bind on, frames come. So the filter is there first. With several workers there is a moment when sockets are
 * bound but not yet in the fan-out group, and each would get every frame; a filter that refuses everything covers it,
 * and the guard replaces that when the whole group stands. The group's members keep the order in which they joined:
 * member n is worker n, which is what the guard's steering program returns. When the link goes down and up, the kernel
 * joins them again in the order in which the sockets were made, which is the same.
 */
#define _GNU_SOURCE /* sendmmsg, thread names */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <sys/mman.h>

#include "inherit.h"

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000 /* Linux 6.2; before, the flag is accepted and does nothing */
#endif

#define SLOTS_LEAST 31
#define BLOCK (64u << 10) /* 31 slots */
#define SLOTS_OUT 496
/* Octets that large frames may hold in a queue before they are dropped: the kernel counts about 70 KiB for one. */
#define RECEIVE_BUFFER (16 << 20)
/* Octets under way in an out interface before sending waits: about a hundred super-frames. */
#define SEND_BUFFER (8 << 20)

static int set(int fd, int option, int value, const char *what, const char *name)
{
	if (setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) == 0)
		return 0;
	return fl_fail(-errno, "%s: cannot set %s on a packet socket: %s", name, what, strerror(errno));
}

static int refuse_everything(int fd, const char *name)
{
	struct sock_filter drop = { BPF_RET | BPF_K, 0, 0, 0 };
	struct sock_fprog program = { 1, &drop };

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0)
		return 0;
	return fl_fail(-errno, "%s: cannot attach a socket filter: %s", name, strerror(errno));
}

static int bind_to(int fd, u32 ifindex, u16 protocol, const char *name)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)ifindex,
	};

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	return fl_fail(-errno, "%s: cannot bind a packet socket: %s", name, strerror(errno));
}

/* The kernel lays slots into blocks and leaves the rest of each block unused. */
#define IN_BLOCK (BLOCK / FL_SLOT)

int fl_ring_map(struct fl_ring *ring, int fd, u32 slots)
{
	ring->size = (size_t)BLOCK * (slots / IN_BLOCK);
	ring->slots = slots;
	ring->head = 0;
	ring->slot = malloc(slots * sizeof(*ring->slot));
	ring->map = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!ring->slot || ring->map == MAP_FAILED) {
		ring->map = NULL;
		return fl_fail(-ENOMEM, "cannot map a ring of %zu octets", ring->size);
	}
	for (u32 i = 0; i < slots; i++)
		ring->slot[i] = ring->map + (size_t)(i / IN_BLOCK) * BLOCK + (size_t)(i % IN_BLOCK) * FL_SLOT;
	return 0;
}

static int ring_make(struct fl_ring *ring, int fd, int option, u32 slots)
{
	u32 blocks = slots / IN_BLOCK;
	struct tpacket_req request = {
		.tp_block_size = BLOCK,
		.tp_block_nr = blocks,
		.tp_frame_size = FL_SLOT,
		.tp_frame_nr = IN_BLOCK * blocks,
	};

	if (setsockopt(fd, SOL_PACKET, option, &request, sizeof(request)) < 0)
		return -errno;
	return fl_ring_map(ring, fd, request.tp_frame_nr);
}

static int ring_in_make(struct fl_port *port, u32 *slots, const char *name)
{
	int error;

	while ((error = ring_make(&port->in, port->rx_fd, PACKET_RX_RING, *slots)) == -ENOMEM && !port->in.slot &&
	       *slots / 2 >= SLOTS_LEAST)
		*slots /= 2;
	if (error && !port->in.slot)
		return fl_fail(
			error,
			"%s: the kernel refused a ring of %u slots (%u KiB): %s; free memory or use fewer workers",
			name, *slots, *slots * FL_SLOT / 1024, strerror(-error));
	return error;
}

static int open_in(struct fl_port *port, u32 *slots, const char *name)
{
	int error, out = SEND_BUFFER, in = RECEIVE_BUFFER;

	port->rx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (port->rx_fd < 0)
		return fl_fail(-errno, "cannot open a packet socket: %s%s", strerror(errno),
			       errno == EPERM ? "; run as root or with CAP_NET_RAW and CAP_NET_ADMIN" : "");
	if ((error = set(port->rx_fd, PACKET_VERSION, TPACKET_V2, "TPACKET_V2", name)) ||
	    (error = set(port->rx_fd, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR", name)) ||
	    (error = set(port->rx_fd, PACKET_COPY_THRESH, 1, "PACKET_COPY_THRESH", name)) ||
	    (error = set(port->rx_fd, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING (Linux 4.20)", name)) ||
	    (error = set(port->rx_fd, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS", name)))
		return error;
	setsockopt(port->rx_fd, SOL_SOCKET, SO_SNDBUFFORCE, &out, sizeof(out));
	setsockopt(port->rx_fd, SOL_SOCKET, SO_RCVBUFFORCE, &in, sizeof(in));
	return ring_in_make(port, slots, name);
}

static int open_out(struct fl_port *port, const char *name)
{
	int error, size = SEND_BUFFER;

	port->tx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (port->tx_fd < 0)
		return fl_fail(-errno, "cannot open a packet socket: %s", strerror(errno));
	if ((error = set(port->tx_fd, PACKET_VERSION, TPACKET_V2, "TPACKET_V2", name)) ||
	    (error = set(port->tx_fd, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR", name)) ||
	    (error = set(port->tx_fd, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS", name)) ||
	    (error = set(port->tx_fd, PACKET_LOSS, 1, "PACKET_LOSS", name)))
		return error;
	setsockopt(port->tx_fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	error = ring_make(&port->out, port->tx_fd, PACKET_TX_RING, SLOTS_OUT);
	if (error)
		return fl_fail(error, "%s: the kernel refused a ring out: %s", name, strerror(-error));
	return bind_to(port->tx_fd, port->ifindex, 0, name); /* protocol 0 receives nothing */
}

/* Neighbour solicitations for a VIP come to a multicast MAC that nobody on this host has joined. */
static int want_multicast(int fd, u32 ifindex, const char *name)
{
	struct packet_mreq request = { .mr_ifindex = (int)ifindex, .mr_type = PACKET_MR_ALLMULTI };

	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) == 0)
		return 0;
	return fl_fail(-errno, "%s: cannot receive all multicast: %s", name, strerror(errno));
}

/* Worker 0 lets the kernel choose a group id that is free in this network namespace; the others join it. */
static int join_group(struct fl_port **ports, u32 index, u32 workers, struct fl_guard *guard, const char *name)
{
	u32 kind = PACKET_FANOUT_EBPF | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
	u32 group = (kind | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	socklen_t size = sizeof(group);

	if (index > 0) {
		if (getsockopt(ports[0]->rx_fd, SOL_PACKET, PACKET_FANOUT, &group, &size) < 0)
			return fl_fail(-errno, "%s: cannot read the fan-out group: %s", name, strerror(errno));
		group = (group & 0xffff) | kind << 16;
	}
	if (setsockopt(ports[index]->rx_fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) < 0)
		return fl_fail(-errno, "%s: cannot join the fan-out group: %s", name, strerror(errno));
	return index > 0 ? 0 : fl_guard_attach_fanout(guard, ports[0]->rx_fd, workers);
}

/* Bound, in their group and receiving since long: by this guard's filter and steering from now on. */
static int take_over(struct fl_port **ports, u32 workers, struct fl_guard *guard)
{
	int error = workers > 1 ? fl_guard_attach_fanout(guard, ports[0]->rx_fd, workers) : 0;

	for (u32 i = 0; !error && i < workers; i++)
		error = fl_guard_attach_socket(guard, ports[i]->rx_fd);
	return error;
}

static int ports_open(struct fl_port **ports, u32 workers, u32 ifindex, u32 interface, const char *name,
		      struct fl_guard *guard, u32 *slots, struct fl_inheritance *inheritance)
{
	bool is_inherited = inheritance && fl_inherit_has(inheritance, ifindex, workers);
	int error;

	for (u32 i = 0; i < workers; i++) {
		ports[i] = calloc(1, sizeof(*ports[i]));
		if (!ports[i])
			return fl_fail(-ENOMEM, "%s: no memory for a port", name);
		ports[i]->rx_fd = ports[i]->tx_fd = -1;
		ports[i]->ifindex = ifindex;
		ports[i]->interface = interface;
		error = is_inherited ? fl_inherit_ring(inheritance, ifindex, i, workers, ports[i])
				     : open_in(ports[i], slots, name);
		if (error || (error = open_out(ports[i], name)))
			return error;
	}
	if (is_inherited) {
		*slots = ports[0]->in.slots;
		return take_over(ports, workers, guard);
	}
	for (u32 i = 0; i < workers; i++) {
		int fd = ports[i]->rx_fd;

		if ((error = workers > 1 ? refuse_everything(fd, name) : fl_guard_attach_socket(guard, fd)) ||
		    (error = bind_to(fd, ifindex, ETH_P_ALL, name)) ||
		    (error = workers > 1 ? join_group(ports, i, workers, guard, name) : 0))
			return error;
	}
	for (u32 i = 0; workers > 1 && i < workers; i++)
		if ((error = fl_guard_attach_socket(guard, ports[i]->rx_fd)))
			return error;
	return want_multicast(ports[0]->rx_fd, ifindex, name);
}

int fl_ports_open(struct fl_port **ports, u32 workers, u32 ifindex, u32 interface, const char *name,
		  struct fl_guard *guard, u32 *slots, struct fl_inheritance *inheritance)
{
	int error;

	memset(ports, 0, workers * sizeof(*ports));
	error = ports_open(ports, workers, ifindex, interface, name, guard, slots, inheritance);
	for (u32 i = 0; error && i < workers; i++) {
		fl_port_close(ports[i]);
		ports[i] = NULL;
	}
	return error;
}

static void ring_close(struct fl_ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->size);
	free(ring->slot);
}

void fl_port_close(struct fl_port *port)
{
	if (!port)
		return;
	if (port->rx_fd >= 0)
		close(port->rx_fd);
	if (port->tx_fd >= 0)
		close(port->tx_fd);
	ring_close(&port->in);
	ring_close(&port->out);
	free(port);
}

bool fl_port_receive(const struct fl_port *port, const struct tpacket2_hdr *header, u8 *data,
		     struct virtio_net_hdr *vnet)
{
	struct iovec pieces[2] = { { vnet, FL_VNET_HEADER }, { data, FL_LARGE_FRAME } };
	struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 2 };
	ssize_t octets = recvmsg(port->rx_fd, &message, MSG_DONTWAIT);

	/* An error of the interface is told once before what is in the queue. */
	if (octets < 0)
		octets = recvmsg(port->rx_fd, &message, MSG_DONTWAIT);
	return octets == (ssize_t)(FL_VNET_HEADER + header->tp_len);
}

u32 fl_port_drops(const struct fl_port *port)
{
	struct tpacket_stats statistics;
	socklen_t size = sizeof(statistics);

	if (getsockopt(port->rx_fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) < 0)
		return 0;
	return statistics.tp_drops; /* reading clears it */
}

bool fl_port_is_orphan(const struct fl_port *port)
{
	struct sockaddr_ll address = { 0 };
	socklen_t size = sizeof(address);

	/* Unregistering an interface sets its sockets' index to -1. */
	return getsockname(port->rx_fd, (struct sockaddr *)&address, &size) == 0 && address.sll_ifindex <= 0;
}
