/*
 * A connection in every state, and then every event and every pair of events: what state it is in, whether the frame went
 * on, and how long the flow is kept. What is expected is a table, written by hand.
 *
 *   SS  SYN_SENT       SR  SYN_RECEIVED   ES  ESTABLISHED
 *   CC  CLOSING, the client sent FIN      CS  the server did      TW  TIME_WAIT
 *   X   CLOSED, and nothing takes it back
 *   "ES?" CLOSED, and any frame but a reset makes it ES again; "ES!" the same, but only a frame of the server's
 *   N   a new flow begins: SS             x   the frame is dropped, nothing changes
 */
#include "check.h"
#include "core-connection.h"

struct row {
	const char *state;
	const char *next[EVENTS];
};

/* In the order of the events. */
static const struct row nat_rows[] = {
	{ "SS", { "SS", "SS", "SS", "SS", "SS", "SS", "SS", "SS?", "SS?", "SS?", "x", "SR", "SR", "SS", "SS", "SS!" } },
	{ "SR", { "SR", "SR", "SR", "ES", "SR", "CC", "ES", "SR?", "SR?", "SR?", "x", "SR", "SR", "SR", "SR", "SR!" } },
	{ "ES", { "ES", "ES", "ES", "ES", "ES", "CC", "ES", "X", "ES?", "ES", "x", "ES", "SR", "ES", "CS", "ES!" } },
	{ "CC", { "CC", "CC", "CC", "CC", "CC", "CC", "CC", "X", "CC?", "CC", "x", "CC", "SR", "CC", "TW", "CC!" } },
	{ "CS", { "CS", "CS", "CS", "CS", "CS", "TW", "CS", "X", "CS?", "CS", "x", "CS", "SR", "CS", "CS", "CS!" } },
	{ "TW", { "TW", "N", "TW", "TW", "TW", "TW", "TW", "X", "TW?", "TW", "x", "TW", "SR", "TW", "TW", "TW!" } },
	{ "X", { "X", "N", "X", "X", "X", "X", "X", "X", "X", "X", "x", "X", "SR", "X", "X", "X" } },
	/* Doubted: as before the reset, but for resets, and for a SYN of which the server must say whether it begins anew. */
	{ "SS?", { "N", "N", "N", "SS", "SS", "SS", "SS", "SS?", "SS?", "SS?", "x", "SR", "SR", "SS", "SS", "SS!" } },
	{ "SR?",
	  { "SR", "SR", "SR", "ES", "SR", "CC", "ES", "SR?", "SR?", "SR?", "x", "SR", "SR", "SR", "SR", "SR!" } },
	{ "ES?", { "ES", "ES", "ES", "ES", "ES", "CC", "ES", "X", "ES?", "ES?", "x", "ES", "SR", "ES", "CS", "ES!" } },
	{ "CC?", { "CC", "CC", "CC", "CC", "CC", "CC", "CC", "X", "CC?", "CC?", "x", "CC", "SR", "CC", "TW", "CC!" } },
	{ "CS?", { "CS", "CS", "CS", "CS", "CS", "TW", "CS", "X", "CS?", "CS?", "x", "CS", "SR", "CS", "CS", "CS!" } },
	{ "TW?", { "TW", "TW", "TW", "TW", "TW", "TW", "TW", "X", "TW?", "TW?", "x", "TW", "SR", "TW", "TW", "TW!" } },
	/* Reset by the server: over for its client, who may use the port again. */
	{ "SS!",
	  { "N", "N", "N", "SS!", "SS!", "SS!", "SS!", "SS!", "SS!", "SS!", "x", "SR", "SR", "SS", "SS", "SS!" } },
	{ "SR!",
	  { "SR!", "N", "SR!", "SR!", "SR!", "SR!", "SR!", "SR!", "SR!", "SR!", "x", "SR", "SR", "SR", "SR", "SR!" } },
	{ "ES!",
	  { "ES!", "N", "ES!", "ES!", "ES!", "ES!", "ES!", "X", "ES!", "ES!", "x", "ES", "SR", "ES", "CS", "ES!" } },
	{ "CC!",
	  { "CC!", "N", "CC!", "CC!", "CC!", "CC!", "CC!", "X", "CC!", "CC!", "x", "CC", "SR", "CC", "TW", "CC!" } },
	{ "CS!",
	  { "CS!", "N", "CS!", "CS!", "CS!", "CS!", "CS!", "X", "CS!", "CS!", "x", "CS", "SR", "CS", "CS", "CS!" } },
	{ "TW!",
	  { "TW!", "N", "TW!", "TW!", "TW!", "TW!", "TW!", "X", "TW!", "TW!", "x", "TW", "SR", "TW", "TW", "TW!" } },
};

/* The server is never seen. */
static const struct row dsr_rows[] = {
	{ "SS", { "SS", "SS", "SS", "ES", "ES", "CC", "CC", "SS?", "SS?", "SS?", "SS?" } },
	{ "ES", { "ES", "ES", "ES", "ES", "ES", "CC", "ES", "ES?", "ES?", "ES", "x" } },
	{ "CC", { "CC", "N", "CC", "CC", "CC", "CC", "CC", "CC?", "CC?", "CC", "CC" } },
	{ "SS?", { "N", "N", "N", "ES", "ES", "CC", "CC", "SS?", "SS?", "SS?", "SS?" } },
	{ "ES?", { "SS", "N", "SS", "ES", "ES", "CC", "ES", "ES?", "ES?", "ES?", "ES?" } },
	{ "CC?", { "SS", "N", "SS", "CC", "CC", "CC", "CC", "CC?", "CC?", "CC?", "CC?" } },
};

/* How each state is reached from SS. */
struct way {
	const char *state;
	enum event events[5];
	u32 count;
};

static const struct way nat_ways[] = {
	{ "SS", { 0 }, 0 },
	{ "SR", { SERVER_SYN_ACK }, 1 },
	{ "ES", { SERVER_SYN_ACK, ACK }, 2 },
	{ "CC", { SERVER_SYN_ACK, ACK, FIN }, 3 },
	{ "CS", { SERVER_SYN_ACK, ACK, SERVER_FIN }, 3 },
	{ "TW", { SERVER_SYN_ACK, ACK, SERVER_FIN, FIN }, 4 },
	{ "X", { SERVER_SYN_ACK, ACK, RST_EXACT }, 3 },
	{ "SS?", { RST_NEAR }, 1 },
	{ "SR?", { SERVER_SYN_ACK, RST_EXACT }, 2 },
	{ "ES?", { SERVER_SYN_ACK, ACK, RST_NEAR }, 3 },
	{ "CC?", { SERVER_SYN_ACK, ACK, FIN, RST_NEAR }, 4 },
	{ "CS?", { SERVER_SYN_ACK, ACK, SERVER_FIN, RST_NEAR }, 4 },
	{ "TW?", { SERVER_SYN_ACK, ACK, SERVER_FIN, FIN, RST_NEAR }, 5 },
	{ "SS!", { SERVER_RST }, 1 },
	{ "SR!", { SERVER_SYN_ACK, SERVER_RST }, 2 },
	{ "ES!", { SERVER_SYN_ACK, ACK, SERVER_RST }, 3 },
	{ "CC!", { SERVER_SYN_ACK, ACK, FIN, SERVER_RST }, 4 },
	{ "CS!", { SERVER_SYN_ACK, ACK, SERVER_FIN, SERVER_RST }, 4 },
	{ "TW!", { SERVER_SYN_ACK, ACK, SERVER_FIN, FIN, SERVER_RST }, 5 },
};

static const struct way dsr_ways[] = {
	{ "SS", { 0 }, 0 },
	{ "ES", { ACK }, 1 },
	{ "CC", { ACK, FIN }, 2 },
	{ "SS?", { RST_EXACT }, 1 },
	{ "ES?", { ACK, RST_NEAR }, 2 },
	{ "CC?", { ACK, FIN, RST_EXACT }, 3 },
};

static void name_of(const struct fl_flow *flow, char *name)
{
	static const char *const open[] = { "ES", "CC", "CS", "TW" };
	u32 state = flow->control & FL_STATE_MASK, was = flow->control & FL_WAS_MASK;
	const char *text = open[flow->control >> 8 & 3], *mark = "";

	if (state == FL_STATE_CLOSED && !was)
		text = "X";
	else if (state == FL_STATE_CLOSED)
		mark = flow->control & FL_RESET_BY_SERVER ? "!" : "?";
	if (state == FL_STATE_SYN_SENT || was == FL_WAS_SYN_SENT)
		text = "SS";
	if (state == FL_STATE_SYN_RECEIVED || was == FL_WAS_SYN_RECEIVED)
		text = "SR";
	snprintf(name, 8, "%s%s", text, mark);
}

static void state_name(char *name)
{
	u32 index;
	const struct fl_flow *flow = find_flow(&index);

	strcpy(name, "-");
	if (flow)
		name_of(flow, name);
}

static const struct row *row_of(const struct row *rows, u32 count, const char *state)
{
	for (u32 i = 0; i < count; i++)
		if (!strcmp(rows[i].state, state))
			return &rows[i];
	fprintf(stderr, "no row for %s\n", state);
	abort();
}

/* One event: as the table has it? The clock goes on by a little, as it does between frames. */
static int is_as_written(const struct row *row, enum event event)
{
	const char *expected = row->next[event];
	u32 reason, is_from_server = event >= SERVER_SYN_ACK,
		    hit = is_from_server ? FL_REASON_SERVER_HIT : FL_REASON_CLIENT_HIT;
	char name[8];

	now += 2 * WORLD_TICK;
	reason = happen(event, row->state);
	state_name(name);
	if (!strcmp(expected, "x")) {
		hit = FL_REASON_BAD_RESET;
		expected = row->state;
	} else if (!strcmp(expected, "N")) {
		hit = FL_REASON_NEW_FLOW;
		expected = "SS";
	}
	if (!strcmp(name, expected) && reason == hit)
		return 1;
	printf("  service %u, %s in %s: %s by reason %u where %s by %u was meant\n", service, event_names[event],
	       row->state, name, reason, expected, hit);
	return 0;
}

static const char *next_of(const struct row *row, enum event event)
{
	if (!strcmp(row->next[event], "x"))
		return row->state;
	return strcmp(row->next[event], "N") ? row->next[event] : "SS";
}

static int reach(const struct way *way, const struct row *rows, u32 count)
{
	const char *state = "SS";
	int is_right = 1;

	begin();
	for (u32 i = 0; i < way->count; i++) {
		const struct row *row = row_of(rows, count, state);

		is_right &= is_as_written(row, way->events[i]);
		state = next_of(row, way->events[i]);
	}
	return is_right && !strcmp(state, way->state);
}

struct machine {
	const struct row *rows;
	const struct way *ways;
	u32 count;
	u32 events;
};

static const struct machine nat = { nat_rows, nat_ways, sizeof(nat_rows) / sizeof(*nat_rows), EVENTS };
static const struct machine dsr = { dsr_rows, dsr_ways, sizeof(dsr_rows) / sizeof(*dsr_rows), SERVER_SYN_ACK };

static const struct machine *machine_of(u32 number)
{
	return world_is_nat(number) ? &nat : &dsr;
}

static int is_every_pair_right(const struct machine *machine)
{
	for (u32 s = 0; s < machine->count; s++)
		for (u32 first = 0; first < machine->events; first++)
			for (u32 second = 0; second < machine->events; second++) {
				const struct row *row = row_of(machine->rows, machine->count, machine->ways[s].state);
				const char *between = next_of(row, first);

				if (!reach(&machine->ways[s], machine->rows, machine->count) ||
				    !is_as_written(row, first) ||
				    !is_as_written(row_of(machine->rows, machine->count, between), second))
					return 0;
				if (world_fault(&region)) {
					printf("  %s\n", world_fault(&region));
					return 0;
				}
			}
	return 1;
}

/* Each state lives as long as its time-out says since its last frame, and no longer. */
static int is_every_time_right(const struct machine *machine)
{
	for (u32 s = 0; s < machine->count; s++) {
		const struct fl_settings *settings = &region.settings[region.header->active_half];
		u32 index, timeout;
		const struct fl_flow *flow;

		if (!reach(&machine->ways[s], machine->rows, machine->count))
			return 0;
		flow = find_flow(&index);
		timeout = settings->timeout[flow->control & FL_STATE_MASK];
		fl_age_sweep(&region, now + timeout * WORLD_TICK);
		if (!find_flow(&index))
			return 0;
		fl_age_sweep(&region, now + (timeout + 1ull) * WORLD_TICK);
		if (find_flow(&index))
			return 0;
	}
	return 1;
}

/* What must not begin a flow, with nothing there. */
static int is_nothing_begun(void)
{
	static const u8 flags[] = { 0,
				    FL_TCP_ACK,
				    FL_TCP_RST,
				    FL_TCP_RST | FL_TCP_ACK,
				    FL_TCP_FIN,
				    FL_TCP_FIN | FL_TCP_ACK,
				    FL_TCP_FIN | FL_TCP_PSH | FL_TCP_URG,
				    FL_TCP_SYN | FL_TCP_FIN,
				    FL_TCP_SYN | FL_TCP_RST,
				    FL_TCP_SYN | FL_TCP_ACK };
	u32 index;

	now += 100000 * WORLD_TICK;
	fl_age_sweep(&region, now);
	for (u32 i = 0; i < sizeof(flags); i++) {
		u32 reason = from_client(flags[i], 1, 1);
		int goes_on = reason == FL_REASON_UNTRACKED && world_scheduler(service) == FL_SCHEDULER_HASH &&
			      flags[i] & (FL_TCP_ACK | FL_TCP_RST) && !(flags[i] & FL_TCP_SYN);

		if ((fl_verdict_of(reason) == FL_FORWARD && !goes_on) || find_flow(&index))
			return 0;
	}
	return 1;
}

/* A server's acknowledgements move the number along, old ones do not take it back: the client's RST goes by it. */
static int is_followed(void)
{
	static const u32 steps[] = { 1, 1460, 100, 0x3fffff, 1 };
	u32 index, late = 0;
	const struct fl_flow *flow;

	if (!reach(&nat_ways[2], nat_rows, nat.count))
		return 0;
	for (u32 i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		late = client_next;
		client_next += steps[i];
		if (happen(SERVER_ACK, "ES") != FL_REASON_SERVER_HIT ||
		    from_server(FL_TCP_ACK, server_isn + 1, late) != FL_REASON_SERVER_HIT)
			return 0;
	}
	flow = find_flow(&index);
	if (flow->expected_host != client_next)
		return 0;
	happen(RST_EXACT, "ES");
	return (flow->control & FL_STATE_MASK) == FL_STATE_CLOSED && !(flow->control & FL_WAS_MASK);
}

/* dsr: the client's own segments do, but not what somebody else sends in its name. */
static int is_client_followed(void)
{
	u32 index;
	const struct fl_flow *flow;

	if (!reach(&dsr_ways[1], dsr_rows, dsr.count))
		return 0;
	for (u32 i = 0; i < 100; i++) {
		client_next += 50000;
		happen(ACK, "ES");
		from_client(FL_TCP_ACK, client_next + FAR, 1);
		from_client(FL_TCP_ACK, client_next - 40000, 1);
	}
	flow = find_flow(&index);
	return flow->expected_host == client_next && happen(RST_FAR, "ES") == FL_REASON_BAD_RESET &&
	       happen(RST_NEAR, "ES") == FL_REASON_CLIENT_HIT && (flow->control & FL_STATE_MASK) == FL_STATE_CLOSED;
}

int main(void)
{
	u32 generations[WORLD_SERVERS];

	world_generations(generations);
	world_open(&region, SLOTS, 1);
	now = WORLD_TICK;
	for (service = 0; service < WORLD_SERVICES; service++) {
		if (service & WORLD_UDP)
			continue;
		printf("  service %u\n", service);
		CASE("every state, every event and every pair of events is as written");
		CHECK(is_every_pair_right(machine_of(service)));
		CASE("every state is kept as long as its time-out says");
		CHECK(is_every_time_right(machine_of(service)));
		CASE("flags that open nothing make no flow");
		CHECK(is_nothing_begun());
		CASE("the number that the client uses next is followed");
		CHECK(world_is_nat(service) ? is_followed() : is_client_followed());
	}
	fl_region_close(&region);
	return check_end();
}
