/*
 * A port on a wire: what comes into its ring from the other end of a veth pair, and what the other end gets from it.
 * Root only; needs ip(8).
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../engine/inherit.h"
#include "guard-fixture.h"
#include "shell.h"

#define PATIENCE_MS 2000

static struct fl_port *port;
static struct fl_worker counters;
static int wire; /* a packet socket on v1, with vnet headers */

static struct bytes to_vip(u16 from_port)
{
	struct bytes frame = IP(CLIENT, VIP, UDP, PORTS(from_port, 80));

	memcpy(frame.data, "\2\0\0\0\0\x0a", 6);
	memcpy(frame.data + 6, "\2\0\0\0\0\x0b", 6);
	return frame;
}

/* A frame longer than a slot, still below the MTU. */
static struct bytes longer(struct bytes frame)
{
	memset(frame.data + frame.size, 'x', 5000 - frame.size);
	frame.size = 5000;
	return frame;
}

static void wire_send(const struct bytes *frame)
{
	struct virtio_net_hdr vnet = { 0 };
	struct iovec pieces[2] = { { &vnet, sizeof(vnet) }, { (void *)frame->data, frame->size } };
	struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 2 };

	CHECK(sendmsg(wire, &message, 0) == (ssize_t)(sizeof(vnet) + frame->size));
}

static u8 arrived[70000];

/* Forgets what has arrived, and that a link was down. */
static void wire_drain(void)
{
	errno = 0;
	while (errno != EAGAIN)
		recv(wire, arrived, sizeof(arrived), MSG_DONTWAIT);
}

/* The source port of the next frame of ours that arrives at v1; 0 when none does. */
static u16 wire_receive(u32 *size)
{
	struct pollfd wait = { .fd = wire, .events = POLLIN };

	while (poll(&wait, 1, PATIENCE_MS) > 0) {
		ssize_t octets = recv(wire, arrived, sizeof(arrived), 0);
		const u8 *frame = arrived + sizeof(struct virtio_net_hdr);

		if (octets < 60 || memcmp(frame + 6, "\2\0\0\0\0\x0a", 6) || frame[12] != 8 || frame[13])
			continue; /* the kernel's own */
		*size = octets - sizeof(struct virtio_net_hdr);
		return frame[34] << 8 | frame[35];
	}
	printf("  nothing arrived within %d ms\n", PATIENCE_MS);
	return 0;
}

static u8 *next_slot(void)
{
	u8 *slot = port->in.slot[port->in.head];
	struct pollfd wait = { .fd = port->rx_fd, .events = POLLIN };

	poll(&wait, 1, PATIENCE_MS);
	CHECK(*fl_slot_status(slot) & TP_STATUS_USER);
	return slot;
}

static bool is_ring_empty(void)
{
	return !(*fl_slot_status(port->in.slot[port->in.head]) & TP_STATUS_USER);
}

static void release(void)
{
	*fl_slot_status(port->in.slot[port->in.head]) = TP_STATUS_KERNEL;
	port->in.head = fl_ring_next(&port->in, port->in.head);
}

/* Takes the next frame as the worker does; its source port, 0 when it is not whole. */
static u16 take(struct fl_frame *frame)
{
	static u8 buffer[FL_LARGE_FRAME + 64];
	u8 *slot = next_slot();
	struct tpacket2_hdr *header = (struct tpacket2_hdr *)slot;
	struct virtio_net_hdr vnet;
	u16 source_port;

	if (!fl_slot_read(slot, frame, &vnet)) {
		if (!(header->tp_status & TP_STATUS_COPY) || !fl_port_receive(port, header, buffer + 64, &vnet))
			return 0;
		fl_slot_describe(header, buffer + 64, header->tp_len, buffer, buffer + sizeof(buffer), &vnet, frame);
	}
	source_port = frame->data[34] << 8 | frame->data[35];
	release();
	return source_port;
}

static void test_in(void)
{
	struct bytes other = IP(CLIENT, OTHER, UDP, PORTS(1, 80)), frame = to_vip(1001);
	struct fl_frame seen = { 0 };
	u32 drops = 0;

	CASE("only what is fairlead's is copied into the ring");
	memcpy(other.data, "\2\0\0\0\0\x0a", 6);
	wire_send(&other);
	wire_send(&frame);
	CHECK(take(&seen) == 1001);
	CHECK(seen.len == frame.size && memcmp(seen.data, frame.data, frame.size) == 0);
	CHECK(is_ring_empty());

	CASE("VLAN tags are in the frame as they were on the wire");
	frame = tagged(to_vip(1002), 0x88a8, 0x8100);
	wire_send(&frame);
	take(&seen);
	CHECK(seen.len == frame.size && memcmp(seen.data, frame.data, frame.size) == 0);

	CASE("frames larger than a slot come whole and in their turn");
	for (u16 i = 1; i <= 9; i++) {
		frame = i % 3 ? to_vip(2000 + i) : longer(to_vip(2000 + i));
		wire_send(&frame);
	}
	for (u16 i = 1; i <= 9; i++) {
		frame = i % 3 ? to_vip(2000 + i) : longer(to_vip(2000 + i));
		CHECK(take(&seen) == 2000 + i);
		CHECK(seen.len == frame.size && memcmp(seen.data, frame.data, frame.size) == 0);
	}
	CHECK(is_ring_empty());

	CASE("what a full ring has no room for is counted");
	fl_port_drops(port);
	frame = to_vip(1003);
	for (u32 i = 0; i < port->in.slots + 5; i++)
		wire_send(&frame);
	drops = fl_port_drops(port);
	CHECK(drops == 5);
	if (drops != 5)
		printf("  %u counted\n", drops);
	while (!is_ring_empty())
		release();
}

/* From one process to the next, here both in one. */
static void test_inherit(void)
{
	static struct fl_inheritance inheritance;
	char path[] = "/tmp/fairlead-rings-XXXXXX/rings";
	struct bytes small = to_vip(5001), large = longer(to_vip(5002));
	struct fl_frame seen = { 0 };
	struct fl_port *before = port;
	u32 slots = 992;
	int listening, heir;

	CASE("a ring goes to the next process with what is in it, large frames too, and what comes in meanwhile");
	path[sizeof(path) - sizeof("/rings")] = 0;
	CHECK(mkdtemp(path));
	path[sizeof(path) - sizeof("/rings")] = '/';
	CHECK(fl_bequeath_open(path) < 0);
	listening = fl_inherit_listen(path);
	CHECK(listening >= 0);
	wire_send(&small);
	wire_send(&large);
	heir = fl_bequeath_open(path);
	CHECK(heir >= 0);
	fl_bequeath(heir, before, 0, 1);
	close(heir);
	fl_port_close(before);
	small = to_vip(5003);
	wire_send(&small);
	fl_inherit_take(&inheritance, listening);
	CHECK(inheritance.count == 1);
	CHECK(fl_inherit_has(&inheritance, if_nametoindex("v0"), 1));
	CHECK(!fl_inherit_has(&inheritance, if_nametoindex("v0"), 2));
	CHECK(!fl_inherit_has(&inheritance, if_nametoindex("v0") + 1, 1));
	CHECK(!fl_ports_open(&port, 1, if_nametoindex("v0"), 0, "v0", guard, &slots, &inheritance));
	port->worker = &counters;
	CHECK(slots == port->in.slots && slots == 62);
	small = to_vip(5004);
	wire_send(&small);
	for (u16 i = 1; i <= 4; i++)
		CHECK(take(&seen) == 5000 + i);
	CHECK(is_ring_empty());
	fl_inherit_drop(&inheritance);

	CASE("what is no ring of this version is dropped, and so is what nobody takes");
	heir = fl_bequeath_open(path);
	CHECK(send(heir, "ring", 4, 0) == 4);
	fl_bequeath(heir, port, 5, 6);
	close(heir);
	fl_inherit_take(&inheritance, listening);
	CHECK(inheritance.count == 1 && !fl_inherit_has(&inheritance, port->ifindex, 1));
	fl_inherit_drop(&inheritance);
	fl_inherit_take(&inheritance, listening);
	CHECK(inheritance.count == 0);
	close(listening);
	unlink(path);
	path[sizeof(path) - sizeof("/rings")] = 0;
	rmdir(path);
}

static void leave(struct bytes *frame)
{
	struct fl_frame out = { .data = frame->data, .len = frame->size };
	struct virtio_net_hdr vnet = { 0 };

	memcpy(frame->data, "\2\0\0\0\0\x0b\2\0\0\0\0\x0a", 12);
	fl_slot_finish(&out, &vnet);
	fl_port_send(port, &out, &vnet);
}

static void test_out(void)
{
	static struct bytes frames[9];
	u32 size = 0;

	CASE("small and large frames leave in the order they were given, and do not come back in");
	for (u16 i = 0; i < 9; i++) {
		frames[i] = i % 3 == 1 ? longer(to_vip(3001 + i)) : to_vip(3001 + i);
		leave(&frames[i]);
	}
	fl_port_flush(port);
	for (u16 i = 0; i < 9; i++) {
		CHECK(wire_receive(&size) == 3001 + i);
		CHECK(size == frames[i].size);
	}
	CHECK(is_ring_empty());
	CHECK(counters.send_errors == 0);

	CASE("more frames than the ring out has slots all leave");
	for (u32 i = 0; i < 3 * port->out.slots; i++) {
		leave(&frames[0]);
		if (i % FL_BATCH)
			continue;
		fl_port_flush(port);
		wire_drain();
	}
	fl_port_flush(port);
	wire_drain();
	CHECK(counters.send_errors == 0 && port->queued == 0);
}

/* Sends until the port has given up on `lost` frames. */
static void lose(u32 lost)
{
	struct bytes frame = to_vip(4001);

	for (u32 i = 0; i < lost; i++)
		leave(&frame);
	for (u32 i = 0; i < 200 && port->queued; i++)
		fl_port_flush(port);
	CHECK(port->queued == 0);
	CHECK(counters.send_errors == lost && counters.reasons[FL_REASON_EGRESS_FULL] == lost);
}

static void test_bad_links(void)
{
	struct bytes frame = to_vip(4002), large = longer(to_vip(4003));
	u32 size;

	CASE("without a carrier frames are given up and counted, and later ones leave when it is back");
	RUN("ip link set v1 down");
	lose(40);
	RUN("ip link set v1 up");
	wire_drain();
	leave(&frame);
	leave(&large);
	fl_port_flush(port);
	CHECK(wire_receive(&size) == 4002);
	CHECK(wire_receive(&size) == 4003);

	CASE("an interface that is down gives frames up at once, and takes them again when it is up");
	memset(&counters, 0, sizeof(counters));
	RUN("ip link set v0 down");
	lose(3);
	leave(&large);
	fl_port_flush(port);
	CHECK(counters.send_errors == 4);
	RUN("ip link set v0 up");
	leave(&frame);
	fl_port_flush(port);
	CHECK(wire_receive(&size) == 4002);

	CASE("sockets know when their interface is gone, also when another has its name");
	CHECK(!fl_port_is_orphan(port));
	RUN("ip link del v0 && ip link add v0 type veth peer name v1");
	CHECK(fl_port_is_orphan(port));
}

static bool wire_open(void)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1;

	at.sll_ifindex = if_nametoindex("v1");
	wire = socket(AF_PACKET, SOCK_RAW, 0);
	return setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) == 0 &&
	       setsockopt(wire, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0 &&
	       bind(wire, (struct sockaddr *)&at, sizeof(at)) == 0;
}

int main(void)
{
	u32 slots = 62;

	if (!fixture_open() || !wire_open())
		return 1;
	if (fl_ports_open(&port, 1, if_nametoindex("v0"), 0, "v0", guard, &slots, NULL) < 0) {
		printf("%s\n", fl_error());
		return 1;
	}
	port->worker = &counters;
	test_in();
	test_inherit();
	test_out();
	test_bad_links();
	fl_port_close(port);
	fl_guard_close(guard);
	return check_end();
}
