/*
 * libFuzzer over parser and fl_forward(): an input is a script of frames, clock steps, sweeps and commits over a small
 * region with a service of each method, protocol and family. Frames come raw out of the input, or built right and then
 * bent. After each frame, and of the region at the end, it is checked what must always hold.
 *
 * The script, one octet for the kind of step:
 *   0 raw frame      u8 dress, u16 length, octets
 *   1 built frame    u8 service, server, side and padding, u8 client, u8 TCP flags, u8 payload, u8 dress, u16 place, u8 bend
 *   2 clock          u16 ticks
 *   3 event          u8 kind: sweep, servers replaced by mask, next hop lost or found
 */
#include "../test/core-world.h"

#define SLOTS 64 /* eight buckets: full soon */
#define LOCALS 8

static struct fl_region region;
static u32 generations[WORLD_SERVERS], last_generation;
static u64 now;

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

#define MUST(condition, ...)                          \
	do {                                          \
		if (!(condition)) {                   \
			fprintf(stderr, __VA_ARGS__); \
			fprintf(stderr, "\n");        \
			abort();                      \
		}                                     \
	} while (0)

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
	world_generations(generations);
	last_generation = 1;
	MUST(!world_commit(&region, generations), "the commit failed: %s", fl_error());
	now = 1000 * WORLD_TICK;
}

/* Where the IP header is, whole but for options and extensions; 0: nowhere. */
static u32 l3_of(const u8 *data, u32 len)
{
	u32 l3 = 14;

	for (int i = 0; len >= l3; i++, l3 += 4) {
		u16 type = fl_get16(data + l3 - 2);

		if (type == FL_BE16(0x0800))
			return len >= l3 + 20 && data[l3] >> 4 == 4 && (data[l3] & 15) >= 5 ? l3 : 0;
		if (type == FL_BE16(0x86dd))
			return len >= l3 + 40 && data[l3] >> 4 == 6 ? l3 : 0;
		if (i == 2 || (type != FL_BE16(0x8100) && type != FL_BE16(0x88a8)))
			return 0;
	}
	return 0;
}

/* Where L4 is in a frame without extension headers; 0: its octets are not all there. */
static u32 plain_l4(const u8 *data, u32 len, u32 *l3, u32 *l4_size)
{
	u32 head;

	*l3 = l3_of(data, len);
	*l4_size = 0;
	if (!*l3)
		return 0;
	head = data[*l3] >> 4 == 6 ? 40 : (data[*l3] & 15) * 4u;
	*l4_size = FL_BE16(fl_get16(data + *l3 + (data[*l3] >> 4 == 6 ? 4 : 2)));
	if (data[*l3] >> 4 == 4)
		*l4_size -= *l4_size < head ? *l4_size : head;
	return *l3 + head + *l4_size <= len && *l4_size >= 8 ? *l3 + head : 0;
}

/* Does the L4 checksum verify? UDP's 0 over IPv4 counts as right. */
static int is_l4_right(const u8 *data, u32 len)
{
	u32 l3, size, l4 = plain_l4(data, len, &l3, &size);
	int is_v6;
	u8 protocol;

	if (!l4)
		return 0;
	is_v6 = data[l3] >> 4 == 6;
	protocol = data[l3 + (is_v6 ? 6 : 9)];
	if (protocol == FL_PROTOCOL_UDP && !fl_get16(data + l4 + 6))
		return 1;
	if (protocol == FL_PROTOCOL_UDP)
		size = FL_BE16(fl_get16(data + l4 + 4)) <= size ? FL_BE16(fl_get16(data + l4 + 4)) : 0;
	else if (protocol == FL_PROTOCOL_ICMP)
		return world_sum(data + l4, size, 0) == 0xffff;
	return size && world_l4_sum(data + l3, size, is_v6, protocol) == 0xffff;
}

/* A partial checksum is the pseudo-header's sum. */
static int is_partial_right(const u8 *data, u32 len)
{
	u32 l3, size, l4 = plain_l4(data, len, &l3, &size);
	int is_v6;
	u8 protocol;

	if (!l4)
		return 0;
	is_v6 = data[l3] >> 4 == 6;
	protocol = data[l3 + (is_v6 ? 6 : 9)];
	if (protocol != FL_PROTOCOL_TCP && protocol != FL_PROTOCOL_UDP)
		return 0;
	if (protocol == FL_PROTOCOL_TCP && size < 20)
		return 0;
	return world_sum(data + l3 + (is_v6 ? 8 : 12), is_v6 ? 32 : 8, protocol + size) ==
	       FL_BE16(fl_get16(data + l4 + (protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM)));
}

static int is_ipv4_right(const u8 *data, u32 len)
{
	u32 l3 = l3_of(data, len);

	if (!l3 || data[l3] >> 4 != 4 || l3 + (data[l3] & 15) * 4u > len)
		return 1;
	return world_sum(data + l3, (data[l3] & 15) * 4u, 0) == 0xffff;
}

static u64 frames_counted(void)
{
	u64 sum = 0;

	for (int reason = 0; reason < FL_REASON_COUNT; reason++)
		sum += region.workers[0].reasons[reason];
	return sum;
}

/* A refusal goes back to where the frame came from, answers no RST, and is longer than the frame only where that was too
 * short for the least that is quoted. */
static void check_refusal(const struct fl_frame *before, const struct fl_frame *after)
{
	u32 l3 = l3_of(before->data, before->len), at = l3_of(after->data, after->len), size, l4;
	int is_v6 = before->data[l3] >> 4 == 6;
	u32 length = is_v6 ? 16 : 4, source = l3 + (is_v6 ? 8 : 12), target = at + (is_v6 ? 24 : 16);

	l4 = plain_l4(before->data, before->len, &l3, &size);
	MUST(!memcmp(before->data + 6, after->data, 6), "a refusal to another station");
	MUST(!memcmp(before->data + source, after->data + target, length), "a refusal to another address");
	MUST(after->len <= before->len || after->len - at <= (is_v6 ? 2 : 1) * 128u, "a refusal that amplifies");
	if (after->data[at + (is_v6 ? 6 : 9)] != FL_PROTOCOL_TCP)
		return;
	MUST(after->len <= before->len, "a RST longer than what it answers");
	MUST(!l4 || !(before->data[l4 + 13] & FL_TCP_RST), "a RST in answer to a RST");
}

/* How long a frame is without what follows its packet, but for the padding that it may keep. */
static u32 length_of(const struct fl_frame *frame, int is_wrapped)
{
	u32 l3 = l3_of(frame->data, frame->len);
	u32 end = l3 + (frame->data[l3] >> 4 == 6 ? 40 + FL_BE16(fl_get16(frame->data + l3 + 4))
						  : FL_BE16(fl_get16(frame->data + l3 + 2)));

	return frame->gso_size || (frame->len <= FL_ETHER_LEAST && !is_wrapped) ? frame->len : end;
}

/* Behind the outer headers is the packet, which but for a SYN's MSS is what came. */
static void check_wrapped(const struct fl_frame *before, const struct fl_frame *after, int was_right)
{
	u32 l3 = l3_of(before->data, before->len), len = length_of(before, 1);
	u8 *unwrapped = malloc(len);

	MUST(unwrapped, "no memory");
	memcpy(unwrapped, after->data + after->outer, len);
	memcpy(unwrapped, before->data, l3);
	MUST(!was_right || is_l4_right(unwrapped, len), "wrong checksum in a tunnel");
	for (u32 i = 0, changed = 0; i < len; i++) {
		changed += unwrapped[i] != before->data[i];
		MUST(changed <= 4, "the packet in a tunnel is another");
	}
	free(unwrapped);
}

static void check_result(const struct fl_frame *before, const struct fl_frame *after, const struct fl_result *result)
{
	int was_right = is_l4_right(before->data, before->len),
	    was_partial = is_partial_right(before->data, before->len);

	MUST(result->reason < FL_REASON_COUNT, "reason %u is none", result->reason);
	MUST(result->verdict == fl_verdict_of(result->reason), "verdict %u of reason %u", result->verdict,
	     result->reason);
	MUST(result->reason != FL_REASON_NONE, "a frame without a decision");
	if (result->verdict == FL_PASS)
		MUST(after->len == before->len && !memcmp(after->data, before->data, before->len),
		     "a passed frame was changed, reason %u", result->reason);
	if (result->verdict != FL_FORWARD && result->verdict != FL_ANSWER)
		return;
	MUST(result->out_interface < 2, "out by interface %u", result->out_interface);
	MUST(!(after->data[0] & 1) || (result->reason == FL_REASON_NDP_REPLY && after->data[0] == 0x33),
	     "to a group MAC, reason %u", result->reason);
	MUST(after->data[6] == 2 && after->data[11] == 1 + result->out_interface, "not from the out interface's MAC");
	MUST(is_ipv4_right(after->data, after->len), "wrong IPv4 checksum, reason %u", result->reason);
	if (result->verdict == FL_FORWARD) {
		MUST(after->len == length_of(before, after->outer) + after->outer,
		     "a forwarded frame changed its length");
		MUST(after->csum_start == (before->csum_start ? before->csum_start + after->outer : 0) &&
			     after->gso_size == before->gso_size,
		     "offload state lost");
		if (after->outer) {
			check_wrapped(before, after, was_right);
			return;
		}
		if (before->csum_start && after->look && before->csum_start == after->look->l4)
			MUST(!was_partial || is_partial_right(after->data, after->len), "wrong partial checksum");
		else
			MUST(!was_right || is_l4_right(after->data, after->len), "wrong checksum, reason %u",
			     result->reason);
		return;
	}
	MUST(after->len <= after->room, "an answer beyond its room");
	MUST(!after->csum_start && !after->gso_size, "an answer with offload state");
	MUST(result->out_interface == before->interface, "an answer by another interface");
	if (FL_IS_REFUSAL(result->reason))
		check_refusal(before, after);
	if (result->reason == FL_REASON_TIME_EXCEEDED || result->reason == FL_REASON_TOO_BIG ||
	    FL_IS_REFUSAL(result->reason) || result->reason == FL_REASON_NDP_REPLY ||
	    (result->reason == FL_REASON_ECHO_REPLY && was_right))
		MUST(is_l4_right(after->data, after->len), "wrong checksum of an answer, reason %u", result->reason);
}

/* The frame lies in a buffer of exactly its room: as much as an engine gives it, or (dress 128) nothing beyond it, where
 * ASan then sees a read past the end. */
static void run(const u8 *octets, u32 len, u8 dress, u16 csum_start)
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
	u64 counted = frames_counted();

	before.data = malloc(len ? len : 1);
	MUST(memory && before.data, "no memory");
	memcpy(frame.data, octets, len);
	memcpy(before.data, octets, len);
	fl_forward(&region, &frame, now, &result);
	MUST(frames_counted() == counted + 1, "a frame was counted %llu times",
	     (unsigned long long)(frames_counted() - counted));
	frame.look = NULL;
	if (csum_start) {
		/* The look is gone with the call; what it said is read from the frame anew. */
		struct fl_look look = { 0 };
		u32 l3, size;

		look.l4 = plain_l4(before.data, before.len, &l3, &size);
		frame.look = &look;
		check_result(&before, &frame, &result);
	} else {
		check_result(&before, &frame, &result);
	}
	free(memory);
	free(before.data);
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
	u8 octets[2000];

	if (len > script->left)
		len = script->left;
	memcpy(octets, script->data, len);
	script->data += len;
	script->left -= len;
	if (dress & 8)
		mend_ipv4(octets, len);
	run(octets, len, dress, dress & 2 ? plain_l4(octets, len, &l3, &size) : 0);
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

static void run_built(struct script *script)
{
	u8 kind = take(script), client = take(script), flags = take(script), payload = take(script),
	   dress = take(script);
	u16 place = take16(script);
	u8 bend = take(script), octets[2200];
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
	len = world_frame(octets, &ends);
	if (dress & 2) {
		u32 l4 = plain_l4(octets, len, &l3, &size);
		u32 at = l4 + (ends.protocol == FL_PROTOCOL_TCP ? FL_TCP_CHECKSUM : FL_UDP_CHECKSUM);
		u32 sum = world_sum(octets + l3 + (ends.is_v6 ? 8 : 12), ends.is_v6 ? 32 : 8, ends.protocol + size);

		fl_put16(octets + at, FL_BE16(sum));
	}
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
	run(octets, len, dress, dress & 2 ? plain_l4(octets, len, &l3, &size) : 0);
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
		switch (take(&script) % 4) {
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
