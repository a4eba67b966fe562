/*
 * The neighbour thread's tables. Targets are a sorted array, rebuilt whole on a commit; hops are found through a small
 * chained hash and are never more than targets, so nothing allocates between two commits.
 *
 * The active half is read without a lock while the control plane may commit again: what was read counts only when the
 * region's generation is the same before and after. A later commit calls for another build anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/hash.h"
#include "nexthop.h"

struct use {
	struct fl_addr addr;
	u32 is_v6;
	u32 slot;
};

static int addr_compare(const struct fl_addr *a, u32 a_is_v6, const struct fl_addr *b, u32 b_is_v6)
{
	return a_is_v6 != b_is_v6 ? (a_is_v6 < b_is_v6 ? -1 : 1) : memcmp(a, b, sizeof(*a));
}

static int use_compare(const void *left, const void *right)
{
	const struct use *a = left, *b = right;
	int order = addr_compare(&a->addr, a->is_v6, &b->addr, b->is_v6);

	return order ? order : (a->slot < b->slot ? -1 : a->slot > b->slot);
}

static u32 slots_of(const struct fl_region *region)
{
	return (u32)region->count[FL_SECTION_HOPS];
}

/* Reads one half's servers and interfaces. Returns the number of uses. */
static u32 half_read(struct fl_nexthops *nexthops, u32 half, struct use *uses)
{
	const struct fl_region *region = nexthops->region;
	const struct fl_settings *settings = fl_settings_at(region, half);
	u32 count = 0;

	nexthops->interface_count = 0;
	if (!settings)
		return 0;
	for (u32 i = 0; i < settings->interface_count && i < FL_INTERFACES_MAX; i++) {
		const struct fl_interface *interface =
			fl_interfaces_at(region, settings->first[FL_SECTION_INTERFACES] + i);

		nexthops->ifindex[i] = interface ? interface->ifindex : 0;
		nexthops->interface_count++;
	}
	for (u32 slot = 0; slot < slots_of(region); slot++) {
		const struct fl_server *server = fl_servers_at(region, settings->first[FL_SECTION_SERVERS] + slot);

		if (server && server->flags & FL_SERVER_USED)
			uses[count++] = (struct use){
				.addr = server->addr,
				.is_v6 = server->flags & FL_SERVER_V6 ? 1 : 0,
				.slot = slot,
			};
	}
	return count;
}

static u32 active_half_read(struct fl_nexthops *nexthops, struct use *uses)
{
	const struct fl_header *header = nexthops->region->header;

	for (;;) {
		u64 generation = __atomic_load_n(&header->generation, __ATOMIC_SEQ_CST);
		u32 half = __atomic_load_n(&header->active_half, __ATOMIC_SEQ_CST);
		u32 count = half_read(nexthops, half, uses);

		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (generation == __atomic_load_n(&header->generation, __ATOMIC_SEQ_CST) &&
		    half == __atomic_load_n(&header->active_half, __ATOMIC_SEQ_CST))
			return count;
	}
}

static u32 *head_of(const struct fl_nexthops *nexthops, const struct fl_link_address *at)
{
	return nexthops->heads + (fl_config_hash(&at->addr, at->ifindex) & nexthops->head_mask);
}

static bool same_place(const struct fl_link_address *a, const struct fl_link_address *b)
{
	return a->ifindex == b->ifindex && a->is_v6 == b->is_v6 && fl_addr_same(&a->addr, &b->addr);
}

struct fl_hop *fl_nexthops_find(const struct fl_nexthops *nexthops, const struct fl_link_address *at)
{
	if (!nexthops->target_count)
		return NULL;
	for (u32 i = *head_of(nexthops, at); i != FL_NONE; i = nexthops->hops[i].chain)
		if (same_place(&nexthops->hops[i].at, at))
			return nexthops->hops + i;
	return NULL;
}

static struct fl_hop *hop_take(struct fl_nexthops *nexthops, const struct fl_link_address *at)
{
	struct fl_hop *hop = fl_nexthops_find(nexthops, at);
	u32 *head = head_of(nexthops, at);

	if (hop)
		return hop;
	hop = nexthops->hops + nexthops->hop_free; /* never FL_NONE: see fl_target_lead */
	nexthops->hop_free = hop->chain;
	*hop = (struct fl_hop){ .at = *at, .is_pending = true, .targets = FL_NONE, .chain = *head };
	*head = hop - nexthops->hops;
	return hop;
}

static void hop_give_back(struct fl_nexthops *nexthops, struct fl_hop *hop)
{
	u32 index = hop - nexthops->hops;
	u32 *link = head_of(nexthops, &hop->at);

	while (*link != index)
		link = &nexthops->hops[*link].chain;
	*link = hop->chain;
	hop->chain = nexthops->hop_free;
	nexthops->hop_free = index;
}

static void target_leave(struct fl_nexthops *nexthops, struct fl_target *target)
{
	struct fl_hop *hop = nexthops->hops + target->hop;

	if (target->previous == FL_NONE)
		hop->targets = target->next;
	else
		nexthops->targets[target->previous].next = target->next;
	if (target->next != FL_NONE)
		nexthops->targets[target->next].previous = target->previous;
	target->hop = FL_NONE;
	if (hop->targets == FL_NONE)
		hop_give_back(nexthops, hop);
}

struct fl_hop *fl_target_lead(struct fl_nexthops *nexthops, struct fl_target *target, const struct fl_link_address *at)
{
	struct fl_hop *hop;

	if (target->hop != FL_NONE) {
		hop = nexthops->hops + target->hop;
		if (at && same_place(&hop->at, at))
			return hop;
		/* Leave first: then at most target_count - 1 hops are held, and one is free. */
		target_leave(nexthops, target);
	}
	if (!at)
		return NULL;
	hop = hop_take(nexthops, at);
	target->hop = hop - nexthops->hops;
	target->previous = FL_NONE;
	target->next = hop->targets;
	if (target->next != FL_NONE)
		nexthops->targets[target->next].previous = target - nexthops->targets;
	hop->targets = target - nexthops->targets;
	return hop;
}

int fl_nexthops_interface(const struct fl_nexthops *nexthops, u32 ifindex)
{
	for (u32 i = 0; ifindex && i < nexthops->interface_count; i++)
		if (nexthops->ifindex[i] == ifindex)
			return i;
	return -1;
}

static bool word_write(const struct fl_nexthops *nexthops, u32 slot, u64 word)
{
	u64 *at = fl_hops_at(nexthops->region, slot);

	if (!at || __atomic_load_n(at, __ATOMIC_RELAXED) == word)
		return false;
	__atomic_store_n(at, word, __ATOMIC_RELEASE);
	return true;
}

bool fl_target_publish(const struct fl_nexthops *nexthops, const struct fl_target *target)
{
	const struct fl_hop *hop = target->hop == FL_NONE ? NULL : nexthops->hops + target->hop;
	int interface = hop && hop->is_known ? fl_nexthops_interface(nexthops, hop->at.ifindex) : -1;
	bool has_changed = false;
	u8 octets[8] = { 0 };
	u64 word;

	if (hop && hop->is_pending)
		return false;
	if (interface >= 0) {
		memcpy(octets, hop->mac, sizeof(hop->mac));
		octets[6] = interface;
		octets[7] = FL_HOP_KNOWN;
	}
	memcpy(&word, octets, sizeof(word));
	for (u32 i = 0; i < target->slot_count; i++)
		has_changed |= word_write(nexthops, nexthops->slots[target->slot_first + i], word);
	return has_changed;
}

bool fl_hop_publish(const struct fl_nexthops *nexthops, const struct fl_hop *hop)
{
	bool has_changed = false;

	for (u32 i = hop->targets; i != FL_NONE; i = nexthops->targets[i].next)
		has_changed |= fl_target_publish(nexthops, nexthops->targets + i);
	return has_changed;
}

static const struct fl_target *target_find(const struct fl_nexthops *nexthops, const struct fl_target *like)
{
	u32 low = 0, high = nexthops->target_count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;
		const struct fl_target *target = nexthops->targets + middle;
		int order = addr_compare(&like->addr, like->is_v6, &target->addr, target->is_v6);

		if (order == 0)
			return target;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* A target keeps the hop it had, and the hop what was heard of it, unless its link is no longer ours. */
static void target_inherit(struct fl_nexthops *nexthops, struct fl_target *target, const struct fl_nexthops *before)
{
	const struct fl_target *old = target_find(before, target);
	const struct fl_hop *known = old && old->hop != FL_NONE ? before->hops + old->hop : NULL;
	struct fl_hop *hop;
	u32 targets, chain;

	if (!known || fl_nexthops_interface(nexthops, known->at.ifindex) < 0)
		return;
	hop = fl_target_lead(nexthops, target, &known->at);
	targets = hop->targets;
	chain = hop->chain;
	*hop = *known;
	hop->targets = targets;
	hop->chain = chain;
}

static void targets_group(struct fl_nexthops *nexthops, const struct use *uses, u32 count)
{
	struct fl_target *target = NULL;

	for (u32 i = 0; i < count; i++) {
		if (!target || addr_compare(&target->addr, target->is_v6, &uses[i].addr, uses[i].is_v6)) {
			target = nexthops->targets + nexthops->target_count++;
			*target = (struct fl_target){
				.addr = uses[i].addr,
				.is_v6 = uses[i].is_v6,
				.slot_first = i,
				.hop = FL_NONE,
			};
		}
		nexthops->slots[i] = uses[i].slot;
		target->slot_count++;
	}
}

static int tables_make(struct fl_nexthops *nexthops, u32 room)
{
	u32 heads = 16;

	while (heads < room)
		heads *= 2;
	nexthops->targets = calloc(room, sizeof(*nexthops->targets));
	nexthops->slots = calloc(room, sizeof(*nexthops->slots));
	nexthops->hops = calloc(room, sizeof(*nexthops->hops));
	nexthops->heads = malloc(heads * sizeof(*nexthops->heads));
	nexthops->head_mask = heads - 1;
	if (!nexthops->targets || !nexthops->slots || !nexthops->hops || !nexthops->heads)
		return -ENOMEM;
	memset(nexthops->heads, 0xff, heads * sizeof(*nexthops->heads)); /* FL_NONE */
	for (u32 i = 0; i < room; i++)
		nexthops->hops[i].chain = i + 1 < room ? i + 1 : FL_NONE;
	return 0;
}

/* Slots that no server uses must not keep an old word for the next one. */
static void unused_clear(const struct fl_nexthops *nexthops, const struct use *uses, u32 count, u8 *is_used)
{
	for (u32 i = 0; i < count; i++)
		is_used[uses[i].slot] = 1;
	for (u32 slot = 0; slot < slots_of(nexthops->region); slot++)
		if (!is_used[slot])
			word_write(nexthops, slot, 0);
}

int fl_nexthops_build(struct fl_nexthops *nexthops, struct fl_region *region, const struct fl_nexthops *before)
{
	u32 room = slots_of(region) ? slots_of(region) : 1;
	struct use *uses = calloc(room, sizeof(*uses));
	u8 *is_used = calloc(room, 1);
	int code = uses && is_used ? 0 : -ENOMEM;

	*nexthops = (struct fl_nexthops){ .region = region };
	if (code == 0) {
		u32 count = active_half_read(nexthops, uses);

		qsort(uses, count, sizeof(*uses), use_compare);
		code = tables_make(nexthops, count ? count : 1);
		if (code == 0) {
			targets_group(nexthops, uses, count);
			unused_clear(nexthops, uses, count, is_used);
		}
	}
	free(uses);
	free(is_used);
	if (code < 0) {
		fl_nexthops_free(nexthops);
		return code;
	}
	for (u32 i = 0; before && i < nexthops->target_count; i++) {
		target_inherit(nexthops, nexthops->targets + i, before);
		fl_target_publish(nexthops, nexthops->targets + i);
	}
	return 0;
}

void fl_nexthops_free(struct fl_nexthops *nexthops)
{
	free(nexthops->targets);
	free(nexthops->slots);
	free(nexthops->hops);
	free(nexthops->heads);
	*nexthops = (struct fl_nexthops){ 0 };
}
