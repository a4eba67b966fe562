/*
 * One TCP connection through the core, played frame by frame: what both ends know of it, and the events that they can
 * make. `state` is what core-tcp-test.c calls the connection's; in "SS" and what begins so its SYN is unanswered.
 */
#ifndef FL_CORE_CONNECTION_H
#define FL_CORE_CONNECTION_H

#include "core-world.h"
#include "../engine/replay.h"

#define SLOTS 64
#define FAR 0x40000000u

enum event {
	SYN_AGAIN,  /* of the client, with the number of its SYN before */
	SYN_BEYOND, /* with one beyond what it used */
	SYN_OLD,    /* with one below that */
	ACK,
	ACK_WRONG, /* acknowledges what no server sent */
	FIN,
	FIN_FAR,
	RST_EXACT,
	RST_NEAR,
	RST_WINDOW,
	RST_FAR,
	SERVER_SYN_ACK,
	SERVER_SYN_ACK_OTHER, /* for another connection */
	SERVER_ACK,
	SERVER_FIN,
	SERVER_RST,
	EVENTS
};

static const char *const event_names[EVENTS] = {
	"SYN again",	   "SYN beyond",   "SYN old",	   "ACK",	   "wrong ACK", "FIN",
	"FIN far",	   "RST exact",	   "RST near",	   "RST window",   "RST far",	"SYN+ACK",
	"another SYN+ACK", "server's ACK", "server's FIN", "server's RST",
};

static struct fl_region region;
static u64 now;
static u32 service, begun; /* services are tried one after the other, connections counted */

/* What both ends know of the connection. */
static u32 client_isn, client_next, server_isn;
static int is_answered; /* the client has the server's number */
static u32 fin_sent;	/* dsr: 1 behind the client's FIN, which takes a number that nobody is seen to acknowledge */

static inline struct fl_flow *find_flow(u32 *at)
{
	for (u32 index = 0; index < SLOTS; index++)
		if (fl_state_is_live(region.flows[index].control)) {
			*at = index;
			return &region.flows[index];
		}
	return NULL;
}

static inline u32 send_frame(const struct world_ends *ends)
{
	u8 data[256];
	struct fl_frame frame = { .data = data + 64,
				  .len = world_frame(data + 64, ends),
				  .room = sizeof(data) - 64,
				  .head = 64,
				  .interface = ends->interface };
	struct fl_result result = { 0 };

	fl_replay(&region, &frame, now, &result);
	return result.reason;
}

static inline u32 from_client(u8 flags, u32 sequence, u32 acknowledged)
{
	int is_v6 = service & WORLD_V6 ? 1 : 0;
	struct world_ends ends = {
		.from = world_client(1, is_v6),
		.to = world_vip(service),
		.from_port = 1000,
		.to_port = WORLD_VIP_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = is_v6,
		.ttl = 64,
		.sequence = sequence,
		.acknowledged = acknowledged,
	};

	return send_frame(&ends);
}

static inline u32 from_server(u8 flags, u32 sequence, u32 acknowledged)
{
	u32 index = 0;
	const struct fl_flow *flow = find_flow(&index);
	struct world_ends ends = {
		.from_port = WORLD_SERVER_PORT,
		.protocol = FL_PROTOCOL_TCP,
		.flags = flags,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.sequence = sequence,
		.acknowledged = acknowledged,
		.interface = 1,
	};

	if (!flow)
		return FL_REASON_NO_FLOW;
	ends.from = world_server(flow->server_slot);
	ends.to_port = FL_BE16(flow->local_port);
	ends.to.word[0] = flow->local;
	if (service & WORLD_V6)
		ends.to = region.flows6[index].local;
	return send_frame(&ends);
}

static inline u32 syn(u32 number, const char *state)
{
	u32 reason = from_client(FL_TCP_SYN, number, 0);

	/* What is still unanswered is the SYN that the server will see. */
	if (reason == FL_REASON_NEW_FLOW || !strncmp(state, "SS", 2)) {
		client_isn = number;
		client_next = number + 1;
		fin_sent = 0;
	}
	return reason;
}

static inline u32 happen(enum event event, const char *state)
{
	u32 acknowledged = is_answered ? server_isn + 1 : 0, reason;

	switch (event) {
	case SYN_AGAIN:
		return syn(client_isn, state);
	case SYN_BEYOND:
		return syn(client_next + 20000000, state);
	case SYN_OLD:
		return syn(client_isn - 100000, state);
	case ACK:
		return from_client(FL_TCP_ACK, client_next, acknowledged);
	case ACK_WRONG:
		return from_client(FL_TCP_ACK, client_next, acknowledged + FAR);
	case FIN:
		fin_sent = !world_is_nat(service);
		return from_client(FL_TCP_FIN | FL_TCP_ACK, client_next, acknowledged);
	case FIN_FAR:
		/* dsr never saw the client's number acknowledged: the first segment says what it is. */
		if (!world_is_nat(service) && !strncmp(state, "SS", 2)) {
			client_next += FAR;
			return happen(FIN, state);
		}
		return from_client(FL_TCP_FIN | FL_TCP_ACK, client_next + FAR, acknowledged);
	case RST_EXACT:
		return from_client(FL_TCP_RST, client_next + fin_sent, 0);
	case RST_NEAR:
		return from_client(FL_TCP_RST, client_next + fin_sent + 1000, 0);
	case RST_WINDOW:
		return from_client(FL_TCP_RST, client_next + fin_sent + 1000000, 0);
	case RST_FAR:
		return from_client(FL_TCP_RST, client_next + FAR, 0);
	case SERVER_SYN_ACK:
		is_answered = 1;
		return from_server(FL_TCP_SYN | FL_TCP_ACK, server_isn, client_next);
	case SERVER_SYN_ACK_OTHER:
		is_answered = 1;
		server_isn += 77777;
		client_isn += FAR;
		client_next = client_isn + 1;
		reason = from_server(FL_TCP_SYN | FL_TCP_ACK, server_isn, client_next);
		return reason;
	case SERVER_ACK:
		return from_server(FL_TCP_ACK, server_isn + 1, client_next);
	case SERVER_FIN:
		return from_server(FL_TCP_FIN | FL_TCP_ACK, server_isn + 1, client_next);
	case SERVER_RST:
		return from_server(FL_TCP_RST, server_isn + 1, 0);
	case EVENTS:
		break;
	}
	return FL_REASON_NONE;
}

static inline void begin(void)
{
	u32 index;
	struct fl_flow *flow;

	/* Time-outs of everything have passed. */
	now += 100000 * WORLD_TICK;
	fl_age_sweep(&region, now);
	begun++;
	client_isn = 0xfff00000u + begun * 7919;
	client_next = client_isn + 1;
	server_isn = 0x7ffff000u + begun * 104729;
	is_answered = 0;
	fin_sent = 0;
	flow = find_flow(&index);
	if (flow || from_client(FL_TCP_SYN, client_isn, 0) != FL_REASON_NEW_FLOW) {
		fprintf(stderr, "no connection begins\n");
		abort();
	}
}

#endif
