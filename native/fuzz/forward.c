/*
 * libFuzzer over parser and fl_forward(): an input is a script of frames, clock steps, sweeps and commits over a small
 * region with a service of each method, protocol and family. Frames come raw out of the input, or built right and then
 * bent. After each frame, and of the region at the end, it is checked what must always hold.
 *
 * The script, one octet for the kind of step:
 *   0 raw frame      u8 dress, u16 length, octets
 *   1 built frame    u8 service, server, side and padding, u8 client, u8 TCP flags, u8 payload, u8 dress, u16 place, u8 bend,
 *                    u8 odd: options or extension headers, u8 number: how far from where its flow is
 *   2 clock          u16 ticks
 *   3 event          u8 kind: sweep, servers replaced by mask, next hop lost or found
 *   4 ICMP error     u8 kind, side and speaker, u8 flow, u8 quoted octets, u8 dress, u16 place, u8 bend, u8 odd: options or
 *                    extension headers that the quoted packet has
 */
#include "../test/core-odd.h"
#include "checks.h"

#define SLOTS 64 /* eight buckets: full soon */
#define LOCALS 8
#define KEPT_MOST 4

static struct fl_region region;
static u32 generations[WORLD_SERVERS], last_generation;
static u64 now;

/* Fragments that wait for their first one, as an engine keeps them. */
static struct {
	u32 len;
	u8 interface;
	u8 data[2300];
} kept[KEPT_MOST];
static u32 kept_count;

struct script {
	const u8 *data;
	size_t left;
};

static u8 take(struct script *script)
{
	if (!script->left)
		return 0;
	script->left--;
	return *script->data++;
}

static u16 take16(struct script *script)
{
	u16 low = take(script);

	return low | take(script) << 8;
}

static void begin(void)
{
	if (!region.base)
		world_open(&region, SLOTS, 1);
	for (int i = 0; i < 4; i++)
		region.header->seed[i] = 0x9e3779b97f4a7c15ull * (i + 1) | 1;
	region.header->schedule_seed = 7;
	memset(region.tags, 0, SLOTS / FL_WAYS * sizeof(*region.tags));
	memset(region.flows, 0, SLOTS * sizeof(*region.flows));
	memset(region.returns, 0, SLOTS / FL_WAYS * sizeof(*region.returns));
	memset(region.service_state, 0, WORLD_SERVICES * sizeof(*region.service_state));
	memset(region.server_state, 0, WORLD_SERVERS * sizeof(*region.server_state));
	memset(region.stickies, 0, WORLD_STICKIES * sizeof(*region.stickies));
	memset(region.workers, 0, sizeof(*region.workers));
	memset(region.datagrams, 0, FL_DATAGRAMS * sizeof(*region.datagrams));
	memset(region.clients, 0, FL_CLIENTS * sizeof(*region.clients));
	if (region.header->trail_tick) /* it is long */
		memset(region.trails, 0, FL_TRAILS * sizeof(*region.trails));
	region.header->trail_tick = 0;
	memset(region.traffic, 0, WORLD_SERVERS * sizeof(*region.traffic));
	kept_count = 0;
	world_generations(generations);
	world_half_open = 3;
	world_first_scheduler = FL_SCHEDULER_HASH; /* nat's of TCP, so that connections go on without a flow */
	last_generation = 1;
	MUST(!world_commit(&region, generations), "the commit failed: %s", fl_error());
	now = 1000 * WORLD_TICK;
}

static u64 frames_counted(void)
{
	u64 sum = 0;

	for (int reason = 0; reason < FL_REASON_COUNT; reason++)
		sum += region.workers[0].reasons[reason];
	return sum;
}

/* The flow table, to see what a frame changes of it. */
static u8 flows_before[SLOTS * sizeof(struct fl_flow)];

static void check_flows(const struct fl_result *result)
{
	if (result->reason == FL_REASON_ICMP_ERROR || result->reason == FL_REASON_BAD_RESET)
		MUST(!memcmp(flows_before, region.flows, sizeof(flows_before)), "a flow was changed, reason %u",
		     result->reason);
}

/* A frame through the core, or one that was kept: what becomes of it. It lies in a buffer of exactly its room: as much as
 * an engine gives it, or (dress 128) nothing beyond it, where ASan then sees a read past the end. */
static struct fl_result decide(const u8 *octets, u32 len, u8 dress, u16 csum_start, int was_kept)
{
	u32 room = dress & 128 ? len : len + 128, head = dress & 128 ? 0 : 64;
	u8 *memory = malloc(head + room + 1);
	struct fl_frame frame = {
		.data = memory + head,
		.len = len,
		.room = room,
		.head = (u16)head,
		.interface = dress & 1,
		.csum_start = csum_start,
		.gso_size = dress & 4 ? 500 : 0,
	};
	struct fl_frame before = frame;
	struct fl_result result = { 0 };
	struct fl_look look = { 0 };
	u64 counted = frames_counted();
	u32 l3, size;
	u8 protocol;

	before.data = malloc(len ? len : 1);
	MUST(memory && before.data, "no memory");
	memcpy(frame.data, octets, len);
	memcpy(before.data, octets, len);
	memcpy(flows_before, region.flows, sizeof(flows_before));
	if (was_kept)
		fl_forward_kept(&region, &frame, now, &result);
	else
		fl_forward(&region, &frame, now, &result);
	counted = frames_counted() - counted;
	MUST(counted == (was_kept && result.verdict == FL_KEEP ? 0 : 1), "a frame was counted %llu times",
	     (unsigned long long)counted);
	/* The look is gone with the call; what it said is read from the frame anew. */
	look.l4 = plain_l4(before.data, before.len, &l3, &size, &protocol);
	frame.look = csum_start ? &look : NULL;
	if (counted)
		check_result(&before, &frame, &result);
	check_flows(&result);
	free(memory);
	free(before.data);
	return result;
}

/* Those that were kept are asked again after each frame, as an engine does. */
static void try_kept(void)
{
	u32 left = 0;

	for (u32 i = 0; i < kept_count; i++)
		if (decide(kept[i].data, kept[i].len, kept[i].interface, 0, 1).verdict == FL_KEEP)
			kept[left++] = kept[i];
	kept_count = left;
}

static void run(const u8 *octets, u32 len, u8 dress, u16 csum_start)
{
	struct fl_result result = decide(octets, len, dress, csum_start, 0);

	try_kept();
	if (result.verdict != FL_KEEP || kept_count == KEPT_MOST || len > sizeof(kept[0].data))
		return;
	kept[kept_count].len = len;
	kept[kept_count].interface = dress & 1;
	memcpy(kept[kept_count++].data, octets, len);
}

static void mend_ipv4(u8 *data, u32 len)
{
	u32 l3 = l3_of(data, len);

	if (!l3 || data[l3] >> 4 != 4 || l3 + (data[l3] & 15) * 4u > len)
		return;
	fl_put16(data + l3 + 10, 0);
	fl_put16(data + l3 + 10, FL_BE16(~world_sum(data + l3, (data[l3] & 15) * 4u, 0)));
}

/* Dress: 1 inside, 2 partial checksum, 4 super-frame, 8 IPv4 checksum mended, 16 hop limit 1, 128 no room. */
static void run_raw(struct script *script)
{
	u8 dress = take(script);
	u32 len = take16(script) % 2000, l3, size;
	u8 octets[2000], protocol;

	if (len > script->left)
		len = script->left;
	memcpy(octets, script->data, len);
	script->data += len;
	script->left -= len;
	if (dress & 8)
		mend_ipv4(octets, len);
	run(octets, len, dress, dress & 2 ? plain_l4(octets, len, &l3, &size, &protocol) : 0);
}

/* A full-nat flow's source, as the server sees it. */
static int find_local(u32 slot, u8 which, struct world_ends *ends)
{
	for (u32 i = 0; i < SLOTS; i++) {
		const struct fl_flow *flow = &region.flows[(i + which) % SLOTS];

		if (!fl_state_is_live(flow->control) || flow->server_slot != slot)
			continue;
		ends->to_port = FL_BE16(flow->local_port);
		if (flow->flags & FL_FLOW_V6)
			ends->to = region.flows6[(i + which) % SLOTS].local;
		else
			ends->to.word[0] = flow->local;
		return 1;
	}
	return 0;
}

/* A sequence number about where a flow of this service from this client's port expects one, or about its first. */
static u32 near_flow(u32 service, u16 client_port, u8 which)
{
	static const u32 distances[] = { 0,
					 1,
					 -1u,
					 FL_RESET_NEAR - 1,
					 FL_RESET_NEAR + 1,
					 FL_WINDOW,
					 FL_WINDOW + 1,
					 -FL_WINDOW,
					 -FL_WINDOW - 1,
					 0x80000000u };
	u32 base = 1;

	for (u32 i = 0; i < SLOTS; i++)
		if (fl_state_is_live(region.flows[i].control) && region.flows[i].server_slot / 2 == service &&
		    region.flows[i].client_port == FL_BE16(client_port))
			base = region.flows[i].expected_host;
	return base + distances[which % (sizeof(distances) / sizeof(distances[0]))];
}

static void run_built(struct script *script)
{
	u8 kind = take(script), client = take(script), flags = take(script), payload = take(script),
	   dress = take(script);
	u16 place = take16(script);
	u8 bend = take(script), odd = take(script), number = take(script), octets[2300], protocol;
	u32 service = kind % WORLD_SERVICES, slot = service * 2 + (kind >> 4 & 1), len, l3, size;
	struct world_ends ends = {
		.from = world_client(client % LOCALS, service & WORLD_V6 ? 1 : 0),
		.to = world_vip(service),
		.from_port = 1000 + client / LOCALS,
		.to_port = WORLD_VIP_PORT,
		.protocol = world_protocol(service),
		.flags = flags & 0x3f,
		.is_v6 = service & WORLD_V6 ? 1 : 0,
		.ttl = dress & 16 ? 1 : 64,
		.payload = payload * 6u,
		.acknowledged = dress & 128 ? place : 1,
		.interface = dress & 1,
	};

	if (kind & 64) {
		ends.to = ends.from;
		ends.to_port = ends.from_port;
		ends.from = world_server(slot);
		ends.from_port = WORLD_SERVER_PORT;
		if (world_is_full_nat(service) && !find_local(slot, client, &ends))
			return;
	}
	if (number)
		ends.sequence = near_flow(slot / 2, ends.from_port, number);
	len = world_frame(octets, &ends);
	if (dress & 2) {
		u32 l4 = plain_l4(octets, len, &l3, &size, &protocol);
		u32 at = l4 + (ends.protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM);
		u32 sum = world_sum(octets + l3 + (ends.is_v6 ? 8 : 12), ends.is_v6 ? 32 : 8, ends.protocol + size);

		fl_put16(octets + at, FL_BE16(sum));
	}
	if (odd)
		len = odd_add(octets, len, odd);
	if (dress & 32)
		octets[place % len] ^= bend;
	if (dress & 64)
		len = place % (len + 1);
	if (kind & 128) {
		memset(octets + len, 0xee, place % 99);
		len += place % 99;
	}
	if (dress & 8)
		mend_ipv4(octets, len);
	run(octets, len, dress, dress & 2 ? plain_l4(octets, len, &l3, &size, &protocol) : 0);
}

/* The ends of what a flow's client sent to its server, as it left, or of what its VIP sent to its client. */
static void ends_of_flow(u32 index, int is_to_server, struct world_ends *ends)
{
	const struct fl_flow *flow = &region.flows[index];
	int is_v6 = flow->flags & FL_FLOW_V6 ? 1 : 0;
	struct fl_view view = { .region = &region };

	*ends = (struct world_ends){
		.from_port = FL_BE16(is_to_server ? flow->local_port : flow->vip_port),
		.to_port = FL_BE16(is_to_server ? flow->server_port : flow->client_port),
		.protocol = flow->protocol,
		.flags = FL_TCP_ACK,
		.is_v6 = (u8)is_v6,
		.ttl = 63,
		.payload = 20,
	};
	fl_flow_addr(&view, flow, index, is_to_server ? FL_WHICH_LOCAL : FL_WHICH_VIP, &ends->from);
	fl_flow_addr(&view, flow, index, is_to_server ? FL_WHICH_SERVER : FL_WHICH_CLIENT, &ends->to);
}

/* Kind: 7 which error, 8 about what went to a server, 16 from the end itself and not from a router. */
static void run_error(struct script *script)
{
	u8 kind = take(script), which = take(script), quoted = take(script), dress = take(script);
	u16 place = take16(script);
	u8 bend = take(script), odd = take(script), octets[2300], about[400];
	int is_to_server = kind & 8 ? 1 : 0;
	struct world_ends ends, outer;
	u32 index = SLOTS, len, size;

	for (u32 i = 0; i < SLOTS && index == SLOTS; i++)
		if (fl_state_is_live(region.flows[(i + which) % SLOTS].control))
			index = (i + which) % SLOTS;
	if (index == SLOTS)
		return;
	ends_of_flow(index, is_to_server, &ends);
	len = world_frame(about, &ends);
	if (odd)
		len = odd_add(about, len, odd);
	size = len - FL_ETHER_HEADER;
	size = quoted && quoted < size ? quoted : size;
	outer = ends;
	outer.to = ends.from;
	outer.from = kind & 16 ? ends.to : world_client(200, ends.is_v6);
	outer.ttl = dress & 16 ? 1 : 64;
	outer.interface = is_to_server;
	len = odd_icmp(octets, &outer, odd_error_kind(kind, ends.is_v6), 1280, about + FL_ETHER_HEADER, size);
	if (dress & 2)
		len = odd_add(octets, len, bend);
	if (dress & 32)
		octets[place % len] ^= bend;
	if (dress & 64)
		len = place % (len + 1);
	if (dress & 8)
		mend_ipv4(octets, len);
	run(octets, len, (dress & 128) | is_to_server, 0);
}

static void run_event(struct script *script)
{
	u8 kind = take(script), which = take(script);

	if (kind % 3 == 0)
		fl_age_sweep(&region, now);
	if (kind % 3 == 1) {
		/* Gone, or come back: never with a generation that flows may still carry. */
		for (u32 slot = 0; slot < 8; slot++)
			if (which >> slot & 1)
				generations[slot * 2] = generations[slot * 2] ? 0 : ++last_generation;
		MUST(!world_commit(&region, generations), "the commit failed: %s", fl_error());
	}
	if (kind % 3 == 2)
		region.hops[which % WORLD_SERVERS] ^= (u64)FL_HOP_KNOWN << 56;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct script script = { data, size };
	const char *fault;

	begin();
	while (script.left) {
		switch (take(&script) % 5) {
		case 0:
			run_raw(&script);
			break;
		case 1:
			run_built(&script);
			break;
		case 2:
			now += take16(&script) * WORLD_TICK;
			break;
		case 3:
			run_event(&script);
			break;
		case 4:
			run_error(&script);
			break;
		}
	}
	fault = world_fault(&region);
	MUST(!fault, "%s", fault);
	fl_age_sweep(&region, now + 100000 * WORLD_TICK);
	fault = world_fault(&region);
	MUST(!fault, "after the sweep: %s", fault);
	for (u32 slot = 0; slot < SLOTS; slot++)
		MUST(!fl_state_is_live(region.flows[slot].control), "a flow outlived every time-out");
	return 0;
}
