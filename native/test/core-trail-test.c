/*
 * What is in a trail (core/trail.h) when two workers have written it at once: any mixture of the words of two clients whom
 * their server knows by one name, since their rows begin with the same port. Each has its own address, port and router.
 */
#include "../engine/replay.h"
#include "check.h"
#include "core-world.h"

#define SLOTS 4096
#define SERVICE WORLD_FULL_NAT
#define TICK 1000
#define WORDS 8 /* of a trail: the check, and what is in it */

static struct fl_region region;
static u32 slot; /* of their server */
static u16 port; /* by which both leave */

/* A frame, and what it has become. */
struct sent {
	u8 data[256];
	u32 reason;
};

struct client {
	u32 number;
	u8 router; /* the last octet of its MAC */
};

static const u8 *octets_of(const struct sent *sent)
{
	return sent->data + 64;
}

static void send(struct sent *sent, const struct world_ends *ends, u8 from_mac)
{
	struct fl_frame frame = {
		.data = sent->data + 64,
		.head = 64,
		.room = sizeof(sent->data) - 64,
		.interface = ends->interface,
	};
	struct fl_result result = { 0 };

	frame.len = world_frame(frame.data, ends);
	frame.data[11] = from_mac;
	fl_replay(&region, &frame, TICK * WORLD_TICK, &result);
	sent->reason = result.reason;
}

static struct fl_addr addr_of(const struct client *client)
{
	return (struct fl_addr){ { FL_BE32(0x2c000000 + client->number) } };
}

static u16 port_of(const struct client *client)
{
	return (u16)(2000 + client->number % 30000);
}

static void send_syn(struct sent *sent, const struct client *client)
{
	struct world_ends ends = {
		.from = addr_of(client),
		.to = world_vip(SERVICE),
		.from_port = port_of(client),
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = FL_TCP_SYN,
		.ttl = 64,
	};

	send(sent, &ends, client->router);
}

static u16 source_port(const struct sent *sent)
{
	return FL_BE16(fl_get16(octets_of(sent) + FL_ETHER_HEADER + 20));
}

static u32 server_of(const struct sent *sent)
{
	return octets_of(sent)[5];
}

static void find_rivals(struct client *first, struct client *second)
{
	struct sent sent;

	do {
		first->number++;
		send_syn(&sent, first);
	} while (sent.reason != FL_REASON_UNTRACKED);
	port = source_port(&sent);
	slot = server_of(&sent);
	second->number = first->number;
	do {
		second->number++;
		send_syn(&sent, second);
	} while (source_port(&sent) != port || server_of(&sent) != slot);
}

/* The trail that a client's SYN leaves. */
static struct fl_trail *leave(const struct client *client)
{
	struct fl_addr local = world_vip(SERVICE), server = world_server(slot);
	u64 claim = fl_claim_of(region.header->seed, &local, FL_BE16(port), &server, FL_BE16(WORLD_SERVER_PORT),
				FL_PROTOCOL_TCP, 0);
	struct sent sent;

	send_syn(&sent, client);
	CHECK(sent.reason == FL_REASON_UNTRACKED && source_port(&sent) == port && server_of(&sent) == slot);
	return &region.trails[fl_trail_place(claim)];
}

static void answer(struct sent *sent)
{
	struct world_ends ends = {
		.from = world_server(slot),
		.to = world_vip(SERVICE),
		.from_port = WORLD_SERVER_PORT,
		.to_port = port,
		.protocol = FL_PROTOCOL_TCP,
		.flags = FL_TCP_SYN | FL_TCP_ACK,
		.ttl = 64,
		.interface = 1,
	};

	send(sent, &ends, 9);
}

/* Has the answer come to this client, by its own router? */
static bool is_for(const struct sent *sent, const struct client *client)
{
	const u8 *ip = octets_of(sent) + FL_ETHER_HEADER;
	struct fl_addr addr = addr_of(client);

	return sent->reason == FL_REASON_UNTRACKED_ANSWER && octets_of(sent)[5] == client->router &&
	       !memcmp(ip + 16, &addr, 4) && fl_get16(ip + 22) == FL_BE16(port_of(client));
}

static bool is_alike(const struct fl_trail *one, const struct fl_trail *other)
{
	return !memcmp(one, other, WORDS * sizeof(u64));
}

int main(void)
{
	struct client first = { .router = 0x41 }, second = { .router = 0x42 };
	struct fl_trail *trail, of_first, of_second;
	u32 whole = 0, lost = 0;

	CASE("a trail that two have written at once leads to one of them, if all of it is that one's, or nowhere");
	world_half_open = 1;
	world_limit = 0;
	world_open(&region, SLOTS, 1);
	find_rivals(&first, &second);
	of_first = *leave(&first);
	trail = leave(&second);
	of_second = *trail;
	for (u32 mixture = 0; mixture < 1 << WORDS; mixture++) {
		struct sent sent;

		*trail = of_first;
		for (u32 word = 0; word < WORDS; word++)
			if (mixture >> word & 1)
				((u64 *)trail)[word] = ((const u64 *)&of_second)[word];
		answer(&sent);
		if (is_alike(trail, &of_first) || is_alike(trail, &of_second)) {
			whole++;
			CHECK(is_for(&sent, is_alike(trail, &of_first) ? &first : &second));
		} else {
			lost++;
			CHECK(sent.reason != FL_REASON_UNTRACKED_ANSWER);
		}
	}
	CHECK(whole > 2 && lost > (1 << WORDS) / 2);
	fl_region_close(&region);
	return check_end();
}
