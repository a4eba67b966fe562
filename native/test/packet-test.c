/* Frames in ring slots and announcements, as far as they are plain memory. The wire is in ring-test.c. */
#include "../engine/announce.h"
#include "../engine/slot.h"
#include "check.h"
#include "frames.h"

static _Alignas(64) u8 slot[FL_SLOT];

/* A slot as the kernel fills it: `at` is where the frame begins. */
static struct tpacket2_hdr *slot_fill(u32 at, u32 length, const struct virtio_net_hdr *vnet)
{
	struct tpacket2_hdr *header = (struct tpacket2_hdr *)slot;

	memset(slot, 0xee, sizeof(slot));
	*header = (struct tpacket2_hdr){ .tp_status = TP_STATUS_USER, .tp_len = length, .tp_snaplen = length };
	header->tp_mac = at;
	memcpy(slot + at - FL_VNET_HEADER, vnet, FL_VNET_HEADER);
	for (u32 i = 0; i < length; i++)
		slot[at + i] = i;
	return header;
}

static void test_read(void)
{
	struct virtio_net_hdr partial = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = 34,
		.csum_offset = 16,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1448,
	};
	struct virtio_net_hdr valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID }, vnet;
	struct fl_frame frame = { 0 };
	struct tpacket2_hdr *header;

	CASE("a frame is described where it lies, with its partial checksum and segment size");
	slot_fill(76, 100, &partial);
	CHECK(fl_slot_read(slot, &frame, &vnet));
	CHECK(frame.data == slot + 76 && frame.len == 100);
	CHECK(frame.data + frame.room == slot + FL_SLOT);
	CHECK(frame.csum_start == 34 && frame.gso_size == 1448);
	CHECK(memcmp(&vnet, &partial, sizeof(vnet)) == 0);

	CASE("a checksum that the card found right is a full one to the core");
	slot_fill(76, 100, &valid);
	CHECK(fl_slot_read(slot, &frame, &vnet));
	CHECK(frame.csum_start == 0 && frame.gso_size == 0);

	CASE("a stripped VLAN tag is back behind the MAC addresses, and the checksum starts 4 octets later");
	header = slot_fill(76, 100, &partial);
	header->tp_status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
	header->tp_vlan_tpid = 0x88a8;
	header->tp_vlan_tci = 0x6005;
	CHECK(fl_slot_read(slot, &frame, &vnet));
	CHECK(frame.data == slot + 72 && frame.len == 104 && frame.csum_start == 38);
	CHECK(frame.data + frame.room == slot + FL_SLOT);
	for (u32 i = 0; i < 12; i++)
		CHECK(frame.data[i] == i);
	CHECK(memcmp(frame.data + 12, "\x88\xa8\x60\x05", 4) == 0);
	for (u32 i = 12; i < 100; i++)
		CHECK(frame.data[i + 4] == i);

	CASE("a tag of unknown kind is 802.1Q");
	header = slot_fill(76, 100, &valid);
	header->tp_status |= TP_STATUS_VLAN_VALID;
	header->tp_vlan_tci = 7;
	CHECK(fl_slot_read(slot, &frame, &vnet));
	CHECK(memcmp(frame.data + 12, "\x81\x00\x00\x07", 4) == 0);
	CHECK(frame.csum_start == 0);

	CASE("a frame that was cut to fit its slot, or has no Ethernet header, is not read");
	header = slot_fill(76, 100, &valid);
	header->tp_len = 3000;
	CHECK(!fl_slot_read(slot, &frame, &vnet));
	slot_fill(76, 13, &valid);
	CHECK(!fl_slot_read(slot, &frame, &vnet));
}

static void test_finish(void)
{
	struct virtio_net_hdr vnet = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				       .csum_start = 34,
				       .csum_offset = 16,
				       .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
				       .gso_size = 1448,
				       .hdr_len = 40000 };
	struct virtio_net_hdr zero = { 0 }, small;
	struct fl_frame frame = { .len = 65000, .csum_start = 38, .gso_size = 1448 };

	CASE("a super-frame leaves as it came, its checksum where the core says, only its headers in one piece");
	fl_slot_finish(&frame, &vnet);
	CHECK(vnet.flags == VIRTIO_NET_HDR_F_NEEDS_CSUM && vnet.csum_start == 38 && vnet.csum_offset == 16);
	CHECK(vnet.gso_type == (VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN) && vnet.gso_size == 1448);
	CHECK(vnet.hdr_len >= 38 + 60 && vnet.hdr_len <= FL_LINEAR_MAX);

	CASE("a frame with full checksums leaves without flags, in one piece");
	small = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_DATA_VALID, .hdr_len = 54 };
	frame = (struct fl_frame){ .len = 1514 };
	fl_slot_finish(&frame, &small);
	CHECK(small.flags == 0 && small.gso_type == 0 && small.csum_start == 0 && small.hdr_len == 1514);

	CASE("what the core answers leaves with nothing left to do, whatever the question had");
	frame = (struct fl_frame){ .len = 90 };
	fl_slot_finish(&frame, &vnet);
	CHECK(vnet.hdr_len == 90);
	vnet.hdr_len = 0;
	CHECK(memcmp(&vnet, &zero, sizeof(vnet)) == 0);
}

static const u8 mac[6] = { 2, 0, 0, 0, 0, 0xb0 };

static void test_arp(void)
{
	static const u8 request[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   0xb0, 8, 6,
				      0,    1,	  8,	0,    6,    4,	  0, 1, 2, 0, 0,   0,	 0, 0xb0,
				      192,  0,	  2,	10,   0,    0,	  0, 0, 0, 0, 192, 0,	 2, 10 };
	struct fl_addr vip = addr_of("192.0.2.10");
	u8 frame[FL_ANNOUNCE_ROOM];

	CASE("a gratuitous ARP request asks everybody for its own address");
	CHECK(fl_announce_arp(frame, mac, vip.word[0], false) == sizeof(request));
	CHECK(memcmp(frame, request, sizeof(request)) == 0);

	CASE("the reply form says whose MAC in both places");
	CHECK(fl_announce_arp(frame, mac, vip.word[0], true) == sizeof(request));
	CHECK(memcmp(frame, request, 20) == 0 && frame[20] == 0 && frame[21] == 2);
	CHECK(memcmp(frame + 32, mac, 6) == 0 && memcmp(frame + 22, mac, 6) == 0);
	CHECK(memcmp(frame + 28, &vip, 4) == 0 && memcmp(frame + 38, &vip, 4) == 0);
}

/* Over the pseudo-header and the message, written out again: RFC 4443 §2.3. */
static u16 icmp6_sum(const u8 *ip)
{
	u32 sum = 58 + 32;

	for (u32 i = 8; i < 40 + 32; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void test_na(void)
{
	struct fl_addr vip = addr_of("2001:db8::10"), everyone = addr_of("ff02::1");
	u8 frame[FL_ANNOUNCE_ROOM];
	const u8 *ip = frame + 14, *icmp = frame + 54;

	CASE("an unsolicited advertisement goes to all nodes, overrides, and its checksum verifies");
	CHECK(fl_announce_na(frame, mac, &vip) == 14 + 40 + 32);
	CHECK(memcmp(frame, "\x33\x33\0\0\0\1", 6) == 0 && memcmp(frame + 6, mac, 6) == 0);
	CHECK(frame[12] == 0x86 && frame[13] == 0xdd);
	CHECK(ip[0] == 0x60 && ip[4] == 0 && ip[5] == 32 && ip[6] == 58 && ip[7] == 255);
	CHECK(memcmp(ip + 8, &vip, 16) == 0 && memcmp(ip + 24, &everyone, 16) == 0);
	CHECK(icmp[0] == 136 && icmp[1] == 0 && icmp[4] == 0x20);
	CHECK(memcmp(icmp + 8, &vip, 16) == 0);
	CHECK(icmp[24] == 2 && icmp[25] == 1 && memcmp(icmp + 26, mac, 6) == 0);
	CHECK(icmp6_sum(ip) == 0xffff);
}

int main(void)
{
	test_read();
	test_finish();
	test_arp();
	test_na();
	return check_end();
}
