/*
 * fl_forward() for many frames at once, so that each one's lines of the table are on their way while others are worked on.
 * User space only: a program in the kernel has one frame.
 */
#ifndef FL_BATCH_H
#define FL_BATCH_H

#include "forward.h"

#define FL_BATCH 32

/* What a frame's flow will be read from: its tags, and for a full-nat reply also its place among the returns. */
FL_INLINE u64 fl_fetch_home(const struct fl_view *view, const struct fl_look *look)
{
	u64 hash;

	fl_prefetch(fl_tags_at(view->region, look->home.bucket[0]));
	fl_prefetch(fl_tags_at(view->region, look->home.bucket[1]));
	if (!(look->vip_flags & FL_VIP_SOURCE))
		return 0;
	hash = fl_return_hash(
		view,
		fl_return_base(view, &look->source, look->source_port, &look->target, look->protocol, look->is_v6),
		look->target_port);
	fl_prefetch(fl_return_bucket(view, hash));
	return hash;
}

FL_INLINE void fl_fetch_flow(const struct fl_view *view, const struct fl_look *look, u32 index)
{
	fl_prefetch(fl_flows_at(view->region, index));
	if (look->is_v6)
		fl_prefetch(fl_flows6_at(view->region, index));
}

FL_INLINE void fl_fetch_flows(const struct fl_view *view, const struct fl_look *look, u64 return_hash)
{
	u32 ways = fl_home_match(view, &look->home, look->home.tag);
	const struct fl_returns *bucket;

	for (; ways; ways &= ways - 1)
		fl_fetch_flow(view, look, fl_home_slot(&look->home, fl_lowest_bit(ways)));
	if (!(look->vip_flags & FL_VIP_SOURCE))
		return;
	bucket = fl_return_bucket(view, return_hash);
	for (int way = 0; bucket && way < FL_WAYS; way++)
		if (bucket->slot[way] && bucket->slot[way] >> 32 == (return_hash & 0xffffffffu))
			fl_fetch_flow(view, look, (u32)bucket->slot[way] - 1);
}

/*
 * Up to FL_BATCH frames of one worker, in steps, so that the lines that a step reads were sent for by the one before:
 * where a frame's flow most likely is; for those that are not there, the tags; where the tags lead.
 */
static inline void fl_forward_batch(const struct fl_region *region, struct fl_frame *frames, struct fl_result *results,
				    u32 count, u64 now)
{
	struct fl_look looks[FL_BATCH];
	struct fl_flow *flows[FL_BATCH];
	struct fl_scratch scratch;
	u64 return_hash[FL_BATCH];
	u32 reasons[FL_BATCH];
	int is_coming[FL_BATCH];
	struct fl_view view = { .scratch = &scratch };

	if (!count || !fl_view_open(&view, region, frames[0].worker, now))
		return;
	for (u32 i = 0; i < count; i++) {
		frames[i].look = &looks[i];
		is_coming[i] = fl_short_fetch(&view, &frames[i]);
	}
	for (u32 i = 0; i < count; i++) {
		flows[i] = is_coming[i] ? fl_short_way(&view, &frames[i], &reasons[i]) : NULL;
		if (FL_LIKELY(flows[i]))
			continue;
		fl_look(&view, &frames[i]);
		if (fl_is_balanced(&frames[i]) && !looks[i].malformed)
			return_hash[i] = fl_fetch_home(&view, &looks[i]);
	}
	for (u32 i = 0; i < count; i++)
		if (!flows[i] && fl_is_balanced(&frames[i]) && !looks[i].malformed)
			fl_fetch_flows(&view, &looks[i], return_hash[i]);
	for (u32 i = 0; i < count; i++) {
		/* A server's answer under full-nat is found in two steps, and has a short way from there. */
		int is_answer = !flows[i] && looks[i].vip_flags & FL_VIP_SOURCE;

		if (flows[i] ? fl_forward_flow(&view, &frames[i], flows[i], reasons[i], &results[i])
			     : is_answer && fl_forward_short(&view, &frames[i], &results[i]))
			continue;
		/* The short way leaves a look that knows little. */
		if (flows[i] || is_answer)
			fl_look(&view, &frames[i]);
		fl_conclude(&view, &frames[i], fl_decide(&view, &frames[i]), &results[i]);
	}
}

#endif
