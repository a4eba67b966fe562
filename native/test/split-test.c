/* Pieces of super-frames in tunnels, and fragments: each octet in its place, each length and checksum right. */
#include "../engine/replay.h"
#include "../engine/split.h"
#include "check.h"
#include "core-world.h"

#define ROOM 70000
#define CHECK_EQUAL(actual, expected) CHECK((u32)(actual) == (u32)(expected))

static u8 room[ROOM], piece[ROOM], joined[ROOM];

/* A frame as the core leaves it, wrapped by a service's server. */
static struct fl_frame wrapped(u32 service, u32 payload, u16 gso_size, u8 flags)
{
	static struct fl_region region;
	static bool is_open;
	struct world_ends ends = {
		.from = world_client(1, service & WORLD_V6 ? 1 : 0),
		.to = world_vip(service),
		.from_port = 4000,
		.to_port = WORLD_VIP_PORT,
		.protocol = world_protocol(service),
		.flags = FL_TCP_SYN,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
	};
	struct fl_frame frame = { .data = room + 64, .room = ROOM - 64, .head = 64 };
	struct fl_result result = { 0 };
	u64 now = 100 * WORLD_TICK;

	if (!is_open)
		world_open(&region, 64, 1);
	is_open = true;
	frame.len = world_frame(frame.data, &ends);
	fl_replay(&region, &frame, now, &result);
	frame = (struct fl_frame){ .data = room + 64, .room = ROOM - 64, .head = 64, .gso_size = gso_size };
	ends.flags = flags;
	ends.payload = payload;
	frame.len = world_frame(frame.data, &ends);
	fl_replay(&region, &frame, now, &result);
	CHECK_EQUAL(result.verdict, FL_FORWARD);
	return frame;
}

static u32 l4_of(const u8 *ip)
{
	return ip[0] >> 4 == 6 ? FL_IPV6_HEADER : (ip[0] & 15) * 4;
}

static u32 length_of(const u8 *ip)
{
	return ip[0] >> 4 == 6 ? FL_IPV6_HEADER + FL_BE16(fl_get16(ip + 4)) : FL_BE16(fl_get16(ip + 2));
}

static u8 protocol_of(const u8 *ip)
{
	return ip[0] >> 4 == 6 ? ip[6] : ip[9];
}

static void check_headers(const struct fl_split *split, u32 size)
{
	const u8 *outer = piece + split->outer, *ip = piece + split->l3;

	CHECK_EQUAL(split->outer + length_of(outer), size);
	CHECK_EQUAL(split->l3 + length_of(ip), size);
	if (outer[0] >> 4 == 4)
		CHECK_EQUAL(world_sum(outer, l4_of(outer), 0), 0xffff);
	if (split->outer != split->l3 && protocol_of(outer) == FL_PROTOCOL_UDP)
		CHECK_EQUAL(FL_BE16(fl_get16(outer + l4_of(outer) + 4)), size - split->outer - l4_of(outer));
	if (ip[0] >> 4 == 4)
		CHECK_EQUAL(world_sum(ip, l4_of(ip), 0), 0xffff);
}

static void check_segments(u32 service, u32 payload, u16 gso_size)
{
	struct fl_frame frame = wrapped(service, payload, gso_size, FL_TCP_ACK | FL_TCP_PSH);
	u32 outer = frame.outer, seen = 0;
	struct fl_split split;

	CHECK(fl_split_is_due(&frame) && fl_split_plan(&split, &frame));
	CHECK_EQUAL(split.pieces, (payload + gso_size - 1) / gso_size);
	for (u32 i = 0; i < split.pieces; i++) {
		u32 size = fl_split_size(&split, i), mine = size - split.head;
		const u8 *ip = piece + split.l3, *l4 = piece + split.l4;
		bool is_last = i + 1 == split.pieces;

		fl_split_write(&split, i, piece);
		check_headers(&split, size);
		CHECK_EQUAL(split.l3 - split.outer, outer);
		CHECK_EQUAL(mine, is_last ? payload - seen : gso_size);
		CHECK_EQUAL(world_l4_sum(ip, size - split.l4, ip[0] >> 4 == 6, split.protocol), 0xffff);
		CHECK(memcmp(piece + split.head, frame.data + split.head + seen, mine) == 0);
		if (split.protocol == FL_PROTOCOL_TCP) {
			CHECK_EQUAL(FL_BE32(fl_get32(l4 + 4)), seen);
			CHECK_EQUAL(l4[13] & FL_TCP_PSH, is_last ? FL_TCP_PSH : 0);
		}
		if (ip[0] >> 4 == 4)
			CHECK_EQUAL(FL_BE16(fl_get16(ip + 4)), i);
		seen += mine;
	}
	CHECK_EQUAL(seen, payload);
}

static void test_segments(void)
{
	for (u32 service = WORLD_DSR; service < WORLD_SERVICES; service++) {
		if (!world_is_tunnel(service))
			continue;
		check_segments(service, 60000, 1200);
		check_segments(service, 1201, 1200);
		check_segments(service, 1, 1200);
	}
}

static void test_closing_segments(void)
{
	struct fl_frame frame = wrapped(WORLD_DSR | 1, 3000, 1000, FL_TCP_ACK | FL_TCP_FIN | 0x80);
	struct fl_split split;

	CHECK(fl_split_plan(&split, &frame));
	for (u32 i = 0; i < 3; i++) {
		fl_split_write(&split, i, piece);
		CHECK_EQUAL(piece[split.l4 + 13] & FL_TCP_FIN, i == 2 ? FL_TCP_FIN : 0);
		CHECK_EQUAL(piece[split.l4 + 13] & 0x80, i == 0 ? 0x80 : 0);
	}
}

/* An IPv4 packet with options of both kinds, its checksum left to the card. */
static u32 packet_with_options(u8 *data, u32 payload)
{
	struct world_ends ends = {
		.from = world_client(1, 0),
		.to = world_vip(0),
		.protocol = FL_PROTOCOL_UDP,
		.ttl = 64,
		.payload = payload,
	};
	u32 len = world_frame(data, &ends);
	u8 *ip = data + FL_ETHER_HEADER;

	memmove(ip + 28, ip + 20, len - FL_ETHER_HEADER - 20);
	memcpy(ip + 20, (u8[]){ 0x94, 4, 0, 0, 7, 3, 4, 0 }, 8); /* router alert is copied, record route is not */
	ip[0] = 0x47;
	ip[6] = 0;
	fl_put16(ip + 2, FL_BE16(28 + 8 + payload));
	fl_put16(ip + 4, FL_BE16(0x4321));
	fl_put16(ip + 10, 0);
	fl_put16(ip + 10, FL_BE16(~world_sum(ip, 28, 0)));
	fl_put16(ip + 28 + FL_UDP_CHECKSUM, FL_BE16(world_sum(ip + 12, 8, FL_PROTOCOL_UDP + 8 + payload)));
	return len + 8;
}

/* `flags`: the packet's own, when it is itself a fragment. */
static void test_fragments(u16 flags)
{
	struct fl_frame frame = { .data = room, .split = 576, .csum_start = FL_ETHER_HEADER + 28 };
	u32 payload = 1471, whole = 8 + payload, seen = 0;
	struct fl_split split;

	frame.len = packet_with_options(room, payload);
	fl_put16(room + FL_ETHER_HEADER + 6, FL_BE16(flags));
	CHECK(fl_split_is_due(&frame) && fl_split_plan(&split, &frame));
	CHECK_EQUAL(split.pieces, 3);
	for (u32 i = 0; i < split.pieces; i++) {
		u32 size = fl_split_size(&split, i), mine = size - split.head;
		const u8 *ip = piece + split.l3;
		bool is_last = i + 1 == split.pieces;

		fl_split_write(&split, i, piece);
		check_headers(&split, size);
		CHECK(size - split.l3 <= 576);
		CHECK_EQUAL(FL_BE16(fl_get16(ip + 6)),
			    ((is_last ? 0 : 0x2000) | seen / 8) + flags - (is_last ? 0 : flags & 0x2000));
		CHECK_EQUAL(FL_BE16(fl_get16(ip + 4)), 0x4321);
		CHECK_EQUAL(ip[20], 0x94);
		CHECK_EQUAL(ip[24], i == 0 ? 7 : 1);
		memcpy(joined + 28 + seen, ip + 28, mine);
		seen += mine;
	}
	CHECK_EQUAL(seen, whole);
	memcpy(joined, room + FL_ETHER_HEADER, 28);
	CHECK_EQUAL(world_l4_sum(joined, whole, 0, FL_PROTOCOL_UDP), 0xffff);
}

static void test_refused(void)
{
	struct fl_frame frame = wrapped(WORLD_DSR | 1, 3000, 1000, FL_TCP_ACK), cut;
	struct fl_split split;

	for (u32 len = 0; len < frame.len; len += 7) {
		cut = frame;
		cut.len = len;
		CHECK(!fl_split_plan(&split, &cut));
	}
	cut = frame;
	cut.gso_size = 0;
	cut.split = 24;
	CHECK(!fl_split_plan(&split, &cut));
	frame.gso_size = 0;
	frame.split = 0;
	CHECK(!fl_split_is_due(&frame));
}

int main(void)
{
	CASE("a super-frame in a tunnel becomes segments that carry it whole");
	test_segments();
	CASE("only the last segment closes, only the first tells of congestion");
	test_closing_segments();
	CASE("a packet becomes fragments that make it again, its unfinished checksum finished");
	test_fragments(0);
	CASE("a packet that is a fragment keeps its place in its datagram when it is cut again");
	test_fragments(0x2000);
	test_fragments(100);
	CASE("what is not what the core made is refused");
	test_refused();
	return check_end();
}
