/*
 * Small UDP frames of many flows, as fast as one core makes them, and a count of what arrives elsewhere.
 *
 *   bench-flood DEVICE MAC TARGET PORT CLIENT FLOWS SINK SINK-DEVICE random SECONDS
 *   bench-flood DEVICE MAC TARGET PORT CLIENT FLOWS SINK SINK-DEVICE once RATE
 *
 * CLIENT is the first client's address. SINK is the namespace where frames arrive, at SINK-DEVICE. `random` draws a flow
 * for each frame, and does not count the first fifth of the time; `once` sends a frame of each flow, RATE a second, for a
 * table to know them. Prints {"sent":..., "received":..., "seconds":...}.
 *
 * An AF_PACKET ring out, past the queueing layer. The vnet header asks for frames in one piece, as a card's driver or a
 * sending stack would make them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "packets.h"

#define SLOT 256
#define SLOTS 1024
#define BURST 64

struct flood {
	int fd;
	u8 *ring;
	u32 at;
	u64 sent, seed;
	int sink;
	const char *sink_device;
	struct packet_kind kind;
	u8 template[PACKET_ROOM];
	struct fl_addr client;
	struct end target;
	u32 flows;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench-flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The table of devices of another namespace; it keeps belonging there once it is open. */
static int open_sink(const char *namespace)
{
	char path[256];
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, table;

	snprintf(path, sizeof(path), "/run/netns/%s", namespace);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (there < 0 || setns(there, CLONE_NEWNET))
		fail(path);
	table = open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC);
	if (table < 0 || setns(home, CLONE_NEWNET))
		fail("cannot read the devices of the sink");
	close(there);
	close(home);
	return table;
}

/* A line is "  eth0: OCTETS FRAMES ...". */
static u64 received(const struct flood *flood)
{
	unsigned long long frames = 0;
	char text[8192], name[32], *line;
	ssize_t size = pread(flood->sink, text, sizeof(text) - 1, 0);

	if (size < 0)
		fail("cannot read the devices of the sink");
	text[size] = 0;
	snprintf(name, sizeof(name), "%s:", flood->sink_device);
	line = strstr(text, name);
	if (!line || sscanf(line + strlen(name), "%*u %llu", &frames) != 1) {
		fprintf(stderr, "bench-flood: the sink has no device %s\n", flood->sink_device);
		exit(1);
	}
	return frames;
}

static void open_ring(struct flood *flood, const char *device)
{
	struct tpacket_req request = {
		.tp_block_size = SLOT * SLOTS / 4, .tp_block_nr = 4, .tp_frame_size = SLOT, .tp_frame_nr = SLOTS
	};
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device) };
	struct ifreq interface = { 0 };
	int version = TPACKET_V2, on = 1;

	flood->fd = socket(AF_PACKET, SOCK_RAW, 0);
	strncpy(interface.ifr_name, device, IFNAMSIZ - 1);
	if (flood->fd < 0 || ioctl(flood->fd, SIOCGIFHWADDR, &interface))
		fail(device);
	memcpy(flood->kind.from_mac, interface.ifr_hwaddr.sa_data, 6);
	if (setsockopt(flood->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(flood->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(flood->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) ||
	    setsockopt(flood->fd, SOL_PACKET, PACKET_TX_RING, &request, sizeof(request)))
		fail("cannot set up a ring");
	flood->ring = mmap(NULL, SLOT * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, flood->fd, 0);
	if (flood->ring == MAP_FAILED || bind(flood->fd, (struct sockaddr *)&address, sizeof(address)))
		fail(device);
}

static void flush(const struct flood *flood)
{
	if (send(flood->fd, NULL, 0, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
		fail("cannot send");
}

static void put(struct flood *flood, u32 flow)
{
	struct tpacket2_hdr *header = (struct tpacket2_hdr *)(flood->ring + (size_t)flood->at * SLOT);
	u8 *data = (u8 *)header + TPACKET_ALIGN(sizeof(*header));
	struct end client = client_of(&flood->client, flow, 0);
	u32 length = packet_length(&flood->kind);
	struct virtio_net_hdr vnet = { .hdr_len = (u16)length };

	while (__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) != TP_STATUS_AVAILABLE)
		flush(flood);
	memcpy(data, &vnet, sizeof(vnet));
	packet_fill(data + sizeof(vnet), flood->template, &flood->kind, &client, &flood->target);
	header->tp_len = (u32)sizeof(vnet) + length;
	__atomic_store_n(&header->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	flood->at = (flood->at + 1) % SLOTS;
	flood->sent++;
}

static void burst(struct flood *flood)
{
	for (u32 i = 0; i < BURST; i++)
		put(flood, random_below(&flood->seed, flood->flows));
	flush(flood);
}

static void report(const struct flood *flood, u64 sent_before, u64 received_before, u64 start)
{
	u64 now = clock_ns(), arrived = received(flood) - received_before;

	printf("{\"sent\":%llu,\"received\":%llu,\"seconds\":%.6f}\n", (unsigned long long)(flood->sent - sent_before),
	       (unsigned long long)arrived, (double)(now - start) / 1e9);
}

static void send_random(struct flood *flood, double seconds)
{
	u64 span = (u64)(seconds * 1e9), start = clock_ns(), sent, before;

	while (clock_ns() - start < span / 5)
		burst(flood);
	before = received(flood);
	sent = flood->sent;
	start = clock_ns();
	while (clock_ns() - start < span / 5 * 4)
		burst(flood);
	report(flood, sent, before, start);
}

static void send_once(struct flood *flood, double rate)
{
	u64 start = clock_ns(), before = received(flood);

	for (u32 flow = 0; flow < flood->flows; flow++) {
		put(flood, flow);
		if (flow % BURST && flow + 1 < flood->flows)
			continue;
		flush(flood);
		while ((double)(clock_ns() - start) < flow / rate * 1e9)
			sched_yield();
	}
	report(flood, 0, before, start);
}

int main(int argc, char **argv)
{
	struct flood flood = { .seed = clock_ns() | 1, .kind = { .protocol = 17, .payload = 18 } };
	u8 *mac = flood.kind.to_mac;

	if (argc != 11 ||
	    sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6 ||
	    inet_pton(AF_INET, argv[3], &flood.target.addr) != 1 || inet_pton(AF_INET, argv[5], &flood.client) != 1) {
		fprintf(stderr,
			"usage: bench-flood DEVICE MAC TARGET PORT CLIENT FLOWS SINK SINK-DEVICE random SECONDS | "
			"once RATE\n");
		return 2;
	}
	flood.target.port = FL_BE16(atoi(argv[4]));
	flood.flows = (u32)atoi(argv[6]);
	flood.sink = open_sink(argv[7]);
	flood.sink_device = argv[8];
	open_ring(&flood, argv[1]);
	packet_template(flood.template, &flood.kind);
	if (!strcmp(argv[9], "random"))
		send_random(&flood, atof(argv[10]));
	else
		send_once(&flood, atof(argv[10]));
	return 0;
}
