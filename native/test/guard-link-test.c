/*
 * The guard on a wire: clsact among other filters, and live frames over a veth pair that must reach either the packet
 * socket or the host. Root only; needs ip(8) and tc(8).
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "guard-fixture.h"
#include "shell.h"

static int filters(void)
{
	return lines("tc filter show dev v0 ingress", "fairlead_guard");
}

static int others(void)
{
	return lines("tc filter show dev v0 ingress", "bytecode");
}

static int clsacts(void)
{
	return lines("tc qdisc show dev v0", "clsact");
}

static void test_links(void)
{
	u32 v0 = if_nametoindex("v0");
	struct fl_guard second = *guard;

	CASE("a successor replaces the filter, and a detached link is as it was");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1 && clsacts() == 1);
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && clsacts() == 0);
	fl_guard_detach_link(guard, v0);

	CASE("a clsact that was there before stays");
	RUN("tc qdisc add dev v0 clsact");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && clsacts() == 1);
	RUN("tc qdisc del dev v0 clsact");

	CASE("others' filters stay, before and behind ours");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	RUN("tc filter add dev v0 ingress pref 9 protocol all bpf bytecode '1,6 0 0 0,'");
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && others() == 1 && clsacts() == 1);
	RUN("tc qdisc del dev v0 clsact");
	RUN("tc qdisc add dev v0 clsact");
	RUN("tc filter add dev v0 ingress pref 1 protocol ip bpf bytecode '1,6 0 0 0,'");
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(filters() == 1 && others() == 1);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 0 && others() == 1);
	RUN("tc qdisc del dev v0 clsact");

	CASE("two instances share a link, and the last one out takes clsact away");
	second.instance ^= 0x100;
	CHECK(fl_guard_attach_link(guard, v0) == 0);
	CHECK(fl_guard_attach_link(&second, v0) == 0);
	CHECK(filters() == 2);
	fl_guard_detach_link(guard, v0);
	CHECK(filters() == 1 && clsacts() == 1);
	fl_guard_detach_link(&second, v0);
	CHECK(filters() == 0 && clsacts() == 0);

	CASE("a link that is gone is an error in words");
	CHECK(fl_guard_attach_link(guard, 9999) < 0);
	CHECK(strstr(fl_error(), "clsact") != NULL);
	fl_guard_detach_link(guard, 9999);
}

static int packet_socket(const char *name)
{
	struct sockaddr_ll local = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		abort();
	return fd;
}

static int udp_socket(const char *address, u16 port)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &local.sin_addr);
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		abort();
	return fd;
}

static bool arrives(int fd, int within_ms)
{
	struct pollfd watched = { .fd = fd, .events = POLLIN };
	u8 data[9000];

	return poll(&watched, 1, within_ms) == 1 && recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0;
}

/* A valid datagram for v0's stack. */
static struct bytes datagram(const char *to, u32 payload)
{
	static const u8 nothing[6000];
	struct bytes frame = IP("10.9.0.2", to, UDP, .payload = nothing, .payload_size = 8 + payload);
	u8 *ip = frame.data + 14;
	u32 sum = 0;

	memcpy(frame.data, (u8[]){ 2, 0, 0, 0, 0, 0xa }, 6);
	ip[2] = (28 + payload) >> 8;
	ip[3] = (u8)(28 + payload);
	ip[20] = ip[21] = ip[22] = ip[23] = 7; /* ports 1799 */
	ip[24] = (8 + payload) >> 8;
	ip[25] = (u8)(8 + payload);
	for (u32 i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = sum >> 8;
	ip[11] = (u8)sum;
	return frame;
}

/* Sends with only the Ethernet header in the linear part, when the frame is larger than a page. */
static void send_frame(int fd, const struct bytes *frame)
{
	struct virtio_net_hdr header = { .hdr_len = 14 };
	u8 data[sizeof(header) + sizeof(frame->data)];

	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), frame->data, frame->size);
	CHECK(send(fd, data, sizeof(header) + frame->size, 0) > 0);
}

static void test_traffic(void)
{
	const int on = 1;
	u32 v0 = if_nametoindex("v0");
	int tap = packet_socket("v0"), wire = packet_socket("v1");
	int vip, host;

	/* For once the VIP is a local address, so that a datagram that slips through is seen to arrive. */
	RUN("ip addr add " VIP "/32 dev v0");
	vip = udp_socket(VIP, 1799);
	host = udp_socket("10.9.0.1", 1799);
	CHECK(setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0);
	for (u32 payload = 100; payload <= 5900; payload += 5800) {
		struct bytes for_vip = datagram(VIP, payload), for_host = datagram("10.9.0.1", payload);

		CASE(payload == 100 ? "a live frame of ours reaches the ring and not the host, another the host and "
				      "not the ring"
				    : "so does a frame whose headers lie in pages");
		CHECK(fl_guard_attach_socket(guard, tap) == 0);
		CHECK(fl_guard_attach_link(guard, v0) == 0);
		while (arrives(tap, 0))
			;
		send_frame(wire, &for_vip);
		CHECK(arrives(tap, 2000));
		send_frame(wire, &for_host);
		CHECK(arrives(host, 2000));
		CHECK(!arrives(vip, 0));
		CHECK(!arrives(tap, 0));
		fl_guard_detach_link(guard, v0);
		send_frame(wire, &for_vip);
		CHECK(arrives(vip, 2000));
		CHECK(arrives(tap, 0));
	}
	close(tap);
	close(wire);
	close(vip);
	close(host);
}

static void test_fanout(void)
{
	u32 kind = (PACKET_FANOUT_CBPF + 1) /* PACKET_FANOUT_EBPF */ << 16 | 77;
	int tap[4], wire = packet_socket("v1");
	bool is_right = true;

	CASE("live frames reach the worker that the program named");
	for (u32 i = 0; i < 4; i++) {
		tap[i] = packet_socket("v0");
		CHECK(fl_guard_attach_socket(guard, tap[i]) == 0);
		CHECK(setsockopt(tap[i], SOL_PACKET, PACKET_FANOUT, &kind, sizeof(kind)) == 0);
	}
	CHECK(fl_guard_attach_fanout(guard, tap[0], 4) == 0);
	for (u32 i = 0; i < 4; i++)
		while (arrives(tap[i], 0))
			;
	for (u16 port = 2000; port < 2040; port++) {
		struct bytes frame = tagged(IP(CLIENT, VIP, TCP, PORTS(port, 80)), ETH_P_8021Q, 0);
		u32 worker = worker_for(IP(CLIENT, VIP, TCP, PORTS(port, 80)));

		memcpy(frame.data, (u8[]){ 2, 0, 0, 0, 0, 0xa }, 6);
		CHECK(send(wire, frame.data, frame.size, 0) > 0);
		is_right &= worker < 4 && arrives(tap[worker], 2000);
	}
	CHECK(is_right);
	for (u32 i = 0; i < 4; i++)
		close(tap[i]);
	close(wire);
}

int main(void)
{
	if (!fixture_open())
		return 1;
	test_links();
	test_traffic();
	test_fanout();
	fl_guard_close(guard);
	return check_end();
}
