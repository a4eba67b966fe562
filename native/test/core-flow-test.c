/*
 * The flow table against a model, which is an array with one place for each client and service: random frames from both
 * sides, a clock moved by hand, sweeps, and servers that go and come. What is said of every frame, every flow's state
 * and every count must be the model's.
 */
#include "check.h"
#include "core-world.h"
#include "batch.h"
#include "../engine/replay.h"

#define SLOTS 4096 /* far more than the model's flows: here nothing is evicted */
#define CLIENTS 48
#define STEPS 60000

static struct fl_region region;
static u32 generations[WORLD_SERVERS];
static u64 now = 1000 * WORLD_TICK;
static u64 random_state = 1;

static struct model {
	u32 state; /* 0: no flow */
	u32 seen;
	u32 slot, generation;
	int client_fin, server_fin;
	u32 was; /* CLOSED, and this again when a frame comes that is no reset */
	int is_reset_by_server;
	u32 next; /* the client's sequence number */
	struct fl_addr local;
	u16 local_port;
} models[WORLD_NATS][CLIENTS];

static u32 some(u32 bound)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(random_state >> 33) % bound;
}

static u32 tick(void)
{
	return (u32)(now >> FL_TICK_SHIFT);
}

static int is_alive(const struct model *model)
{
	const struct fl_settings *settings = &region.settings[region.header->active_half];

	return model->state && generations[model->slot] == model->generation &&
	       tick() - model->seen <= settings->timeout[model->state];
}

/* TCP beyond its SYN, whose server is another by now: it stays until its time is up, and all who speak are refused. */
static int is_orphan(const struct model *model, u32 service)
{
	const struct fl_settings *settings = &region.settings[region.header->active_half];

	return !(service & WORLD_UDP) && model->state > FL_STATE_SYN_SENT &&
	       generations[model->slot] != model->generation && tick() - model->seen <= settings->timeout[model->state];
}

static void become_orphan(struct model *model)
{
	if (model->state != FL_STATE_TIME_WAIT)
		model->seen = tick();
	model->state = FL_STATE_TIME_WAIT;
}

static u32 send_frame(struct world_ends *ends)
{
	u8 data[256];
	struct fl_frame frame = {
		.data = data, .len = world_frame(data, ends), .room = sizeof(data), .interface = ends->interface
	};
	struct fl_result result = { 0 };

	/* A batch of one takes the steps of a batch. */
	if (some(2))
		fl_replay(&region, &frame, now, &result);
	else
		replay_batch(&region, &frame, &result, 1, now);
	return result.reason;
}

static u32 find_flow(u32 service, u32 client)
{
	struct fl_addr addr = world_client(client, service & WORLD_V6 ? 1 : 0);

	for (u32 index = 0; index < SLOTS; index++) {
		const struct fl_flow *flow = &region.flows[index];

		if (!fl_state_is_live(flow->control) || flow->server_slot / 2 != service ||
		    flow->client_port != FL_BE16(1000 + client))
			continue;
		if (service & WORLD_V6 ? fl_addr_same(&region.flows6[index].client, &addr)
				       : flow->client == addr.word[0])
			return index;
	}
	return FL_NONE;
}

static int begin_flow(struct model *model, u32 service, u32 client)
{
	u32 index = find_flow(service, client);
	const struct fl_flow *flow = &region.flows[index == FL_NONE ? 0 : index];

	if (index == FL_NONE)
		return 0;
	*model = (struct model){
		.state = service & WORLD_UDP ? FL_STATE_UDP_ONE_WAY : FL_STATE_SYN_SENT,
		.seen = tick(),
		.slot = flow->server_slot,
		.generation = flow->server_generation,
		.local_port = FL_BE16(flow->local_port),
	};
	if (service & WORLD_V6)
		model->local = region.flows6[index].local;
	else
		model->local.word[0] = flow->local;
	return 1;
}

/* `is_right`: acknowledges what the server sent. */
static void move(struct model *model, u32 service, int is_server, u8 flags, int is_right)
{
	int is_half_open;

	model->seen = tick();
	if (service & WORLD_UDP) {
		if (is_server)
			model->state = FL_STATE_UDP_TWO_WAY;
		return;
	}
	if (flags & FL_TCP_RST) {
		if (model->state != FL_STATE_CLOSED)
			model->was = model->state;
		if (is_server)
			model->is_reset_by_server = 1;
		/* With the very number that the server waits for. */
		else if (model->was > FL_STATE_SYN_RECEIVED)
			model->was = 0;
		model->state = FL_STATE_CLOSED;
		return;
	}
	if (model->was && (is_server || !model->is_reset_by_server)) {
		model->state = model->was;
		model->was = 0;
		model->is_reset_by_server = 0;
	}
	is_half_open = model->state == FL_STATE_SYN_SENT || model->state == FL_STATE_SYN_RECEIVED;
	if (is_half_open && is_server && flags & FL_TCP_SYN)
		model->state = FL_STATE_SYN_RECEIVED;
	if (is_half_open && (is_server || model->state != FL_STATE_SYN_RECEIVED || !(flags & FL_TCP_ACK) || !is_right))
		return;
	if (is_half_open)
		model->state = FL_STATE_ESTABLISHED;
	if (!(flags & FL_TCP_FIN) || model->state == FL_STATE_CLOSED)
		return;
	*(is_server ? &model->server_fin : &model->client_fin) = 1;
	model->state = model->server_fin && model->client_fin ? FL_STATE_TIME_WAIT : FL_STATE_CLOSING;
}

/* Was a frame turned away for this reason, with a word to its sender where the service has one? */
static int is_turned_away(u32 service, u32 reason, u32 why, u32 refusal)
{
	u32 limited = service & WORLD_UDP ? FL_REASON_ICMP_LIMITED : FL_REASON_RST_LIMITED;

	if (!(world_service_flags(service) & FL_SERVICE_REFUSES))
		return reason == why;
	return reason == refusal || reason == limited;
}

static int client_step(u32 service, u32 client, u8 flags)
{
	struct model *model = &models[service][client];
	int is_v6 = service & WORLD_V6 ? 1 : 0, is_new, is_right = some(4) != 0;
	u32 sequence = is_alive(model) || flags != FL_TCP_SYN ? model->next : some(1u << 31);
	struct world_ends ends = {
		.from = world_client(client, is_v6),
		.to = world_vip(service),
		.from_port = 1000 + client,
		.to_port = WORLD_VIP_PORT,
		.protocol = world_protocol(service),
		.flags = flags,
		.is_v6 = is_v6,
		.ttl = 64,
		.acknowledged = is_right ? 1 : 0x20000,
		.sequence = flags == FL_TCP_SYN ? sequence + 1000 : sequence,
	};
	u32 reason = send_frame(&ends);
	int has_server = generations[service * 2] || generations[service * 2 + 1];
	int is_hashed = world_scheduler(service) == FL_SCHEDULER_HASH;
	int is_young = tick() - region.header->first_tick <
		       region.settings[region.header->active_half].timeout[FL_STATE_ESTABLISHED];

	if (is_orphan(model, service) && flags != FL_TCP_SYN) {
		become_orphan(model);
		return flags & FL_TCP_RST ? reason == FL_REASON_NO_FLOW
					  : reason == FL_REASON_REFUSED_GONE || reason == FL_REASON_RST_LIMITED;
	}
	is_new =
		!is_alive(model) || (!(service & WORLD_UDP) && flags == FL_TCP_SYN &&
				     (model->state == FL_STATE_TIME_WAIT ||
				      (model->state == FL_STATE_CLOSED &&
				       (!model->was || model->was == FL_STATE_SYN_SENT || model->is_reset_by_server))));
	if (!is_new) {
		move(model, service, 0, flags, is_right);
		if (flags == FL_TCP_SYN && model->state == FL_STATE_SYN_SENT)
			model->next = sequence + 1001;
		return reason == FL_REASON_CLIENT_HIT;
	}
	model->state = 0;
	if (!(service & WORLD_UDP) && flags & FL_TCP_RST)
		return reason == FL_REASON_NO_FLOW ||
		       (is_hashed && reason == (has_server ? FL_REASON_UNTRACKED : FL_REASON_NO_SERVER));
	if (!(service & WORLD_UDP) && flags != FL_TCP_SYN && (!is_hashed || (has_server && is_young)))
		return is_turned_away(service, reason, FL_REASON_NO_FLOW, FL_REASON_REFUSED_NO_FLOW);
	if (!(service & WORLD_UDP) && flags != FL_TCP_SYN && has_server)
		return reason == FL_REASON_UNTRACKED;
	if (!has_server)
		return is_turned_away(service, reason, FL_REASON_NO_SERVER, FL_REASON_REFUSED_NO_SERVER);
	if (reason != FL_REASON_NEW_FLOW || !begin_flow(model, service, client))
		return 0;
	model->next = sequence + 1001;
	return 1;
}

static int server_step(u32 service, u32 client, u8 flags)
{
	struct model *model = &models[service][client];
	struct world_ends ends = {
		.from = world_server(model->slot),
		.to = model->local,
		.from_port = WORLD_SERVER_PORT,
		.to_port = model->local_port,
		.protocol = world_protocol(service),
		.flags = flags,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = 64,
		.interface = 1,
		.acknowledged = model->next,
	};

	if (is_orphan(model, service)) {
		u32 reason = send_frame(&ends);

		become_orphan(model);
		return flags & FL_TCP_RST ? reason == FL_REASON_NO_FLOW
					  : reason == FL_REASON_REFUSED_GONE || reason == FL_REASON_RST_LIMITED;
	}
	if (!is_alive(model))
		return 1;
	move(model, service, 1, flags, 1);
	return send_frame(&ends) == FL_REASON_SERVER_HIT;
}

/* A server goes, comes back as another, or is given another's place at once. */
static int change_servers(void)
{
	static u32 last_generation = 1;
	u32 slot = some(WORLD_SERVERS);

	/* Or its flows are ended. */
	if (generations[slot] && some(2))
		generations[slot] = (generations[slot] + FL_GENERATION_EPOCH_ONE) & ~WORLD_GONE;
	else
		generations[slot] = some(3) ? ++last_generation : 0;
	return !world_commit(&region, generations);
}

static int is_as_modelled(void)
{
	u32 active[WORLD_SERVERS] = { 0 }, inactive[WORLD_SERVERS] = { 0 };

	for (u32 service = 0; service < WORLD_NATS; service++)
		for (u32 client = 0; client < CLIENTS; client++) {
			struct model *model = &models[service][client];
			u32 index = find_flow(service, client);

			if (is_orphan(model, service))
				become_orphan(model); /* the sweep has seen it */
			else if (!is_alive(model) && index != FL_NONE)
				return 0;
			else if (!is_alive(model))
				continue;
			if (index == FL_NONE || (region.flows[index].control & FL_STATE_MASK) != model->state ||
			    region.flows[index].seen != model->seen || region.flows[index].server_slot != model->slot)
				return 0;
			if ((model->generation ^ generations[model->slot]) & ~FL_GENERATION_EPOCH)
				continue;
			if (model->state == FL_STATE_ESTABLISHED || model->state == FL_STATE_UDP_TWO_WAY)
				active[model->slot]++;
			else
				inactive[model->slot]++;
		}
	for (u32 slot = 0; slot < WORLD_SERVERS; slot++)
		if (generations[slot] && (region.server_state[slot].active != active[slot] ||
					  region.server_state[slot].inactive != inactive[slot]))
			return 0;
	return 1;
}

/* As the keeper does. */
static void sweep_in_parts(void)
{
	struct fl_sweep sweep = { 0 };

	do
		fl_age_part(&region, &sweep, 1 + some(SLOTS / FL_WAYS), now);
	while (sweep.bucket);
}

static void run(u64 seed)
{
	static const u8 client_flags[] = { FL_TCP_SYN, FL_TCP_SYN, FL_TCP_ACK, FL_TCP_ACK, FL_TCP_FIN | FL_TCP_ACK,
					   FL_TCP_RST };
	static const u8 server_flags[] = { FL_TCP_SYN | FL_TCP_ACK, FL_TCP_SYN | FL_TCP_ACK, FL_TCP_ACK,
					   FL_TCP_FIN | FL_TCP_ACK, FL_TCP_RST };
	const char *fault = NULL;
	int is_right = 1, is_modelled = 1;
	u32 step;

	random_state = seed;
	for (step = 0; step < STEPS && is_right && is_modelled && !fault; step++) {
		u32 service = some(WORLD_NATS), client = some(CLIENTS), kind = some(100);

		if (kind < 50)
			is_right = client_step(service, client, client_flags[some(6)]);
		else if (kind < 92)
			is_right = server_step(service, client, server_flags[some(5)]);
		else if (kind < 98)
			now += some(kind == 97 ? 3000 : 60) * WORLD_TICK;
		else if (step % 7 == 0)
			is_right = change_servers();
		if (step % 500 == 499) {
			sweep_in_parts();
			is_modelled = is_as_modelled();
			fault = world_fault(&region);
		}
	}
	CHECK(is_right);
	CHECK(is_modelled);
	CHECK(!fault);
	if (!is_right || !is_modelled || fault)
		printf("  seed %llu, step %u: %s\n", (unsigned long long)seed, step, fault ? fault : "not as modelled");
}

int main(void)
{
	CASE("what is said of every frame, every flow and every count are as a plain model has them");
	world_generations(generations);
	world_open(&region, SLOTS, 1);
	for (u64 seed = 1; seed <= 3; seed++)
		run(seed);

	CASE("when all time-outs have passed, one sweep leaves nothing behind");
	fl_age_sweep(&region, now + 100000 * WORLD_TICK);
	CHECK(!world_fault(&region));
	for (u32 slot = 0; slot < WORLD_SERVERS; slot++)
		CHECK(!generations[slot] || (!region.server_state[slot].active && !region.server_state[slot].inactive));
	for (u32 bucket = 0; bucket < SLOTS / FL_WAYS; bucket++)
		CHECK(!region.tags[bucket].word[0] && !region.tags[bucket].word[1]);
	fl_region_close(&region);
	return check_end();
}
