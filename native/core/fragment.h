/*
 * Datagrams that come in fragments.
 *
 * The problem: only the first fragment has ports, and all have to go to the one server. Reassembly would cost memory that
 * whoever sends first fragments decides about, and would delay all.
 *
 * The idea: the first fragment is decided as any frame is, and leaves a note under source, target, id and protocol; the
 * others go by the note, each at once. Those that come before their first one are kept for a second by user space
 * (engine/keep.h), whatever engine runs. The table of notes has one size, and a note lives for FL_DATAGRAM_TICKS, or until
 * all has come; a flood of first fragments pushes out notes that are a quarter of a second old, honest datagrams are through by then.
 *
 * Who overlaps what has passed is dropped: the first one wins, so that a server never puts other ports under what was
 * judged by these (RFC 1858, RFC 3128). One that overlaps and goes on beyond ends the whole datagram (RFC 5722). Behind
 * a gap nobody is judged here, servers do that.
 *
 * nat gives datagrams ids of its own, the note's place and incarnation: two clients' datagrams may have the same id, and
 * would be put together behind one address (RFC 6864 §5.3).
 */
#ifndef FL_FRAGMENT_H
#define FL_FRAGMENT_H

#include "flow.h"

#define FL_DATAGRAM_TICKS 75 /* 10 s, in which what belongs together has come */
#define FL_DATAGRAM_LEAST 2  /* a quarter of a second: until then a note is not pushed out */
#define FL_DATAGRAM_AGAIN 4  /* half a second: then a first fragment is one of another datagram of the same id */
#define FL_EARLY_PER_TICK 64 /* fragments that a worker keeps in a tick */
#define FL_DATAGRAM_STATE 0xffu
#define FL_DATAGRAM_INCARNATION 0x10000u

FL_INLINE u32 fl_datagram_protocol(const struct fl_look *look)
{
	return look->is_v6 ? 0 : look->protocol;
}

/* The first of the FL_WAYS places where the note of this fragment's datagram may lie. */
FL_INLINE u32 fl_datagram_home(const struct fl_view *view, const struct fl_look *look)
{
	u64 hash = fl_claim_of(view->header->seed, &look->source, (u16)look->fragment_id, &look->target,
			       (u16)(look->fragment_id >> 16), fl_datagram_protocol(look), look->is_v6);

	return (u32)(hash >> 32) % (FL_DATAGRAMS / FL_WAYS) * FL_WAYS;
}

FL_INLINE int fl_datagram_confirms(const struct fl_datagram *datagram, const struct fl_look *look)
{
	return datagram->id == look->fragment_id && datagram->protocol == fl_datagram_protocol(look) &&
	       datagram->is_v6 == look->is_v6 && fl_addr_same(&datagram->source, &look->source) &&
	       fl_addr_same(&datagram->target, &look->target);
}

/* The id under which a datagram goes on. IPv4 has room for 12 bits of the place and 4 of the incarnation. */
FL_INLINE u32 fl_datagram_id(u32 index, u32 control, int is_v6)
{
	if (is_v6)
		return FL_BE32((control & 0xffff0000u) | index);
	return FL_BE16((index & 0xfff) | (control >> 16 & 15) << 12);
}

/* The place of the note of this fragment's datagram, or FL_NONE. */
FL_INLINE u32 fl_datagram_find(const struct fl_view *view, const struct fl_look *look)
{
	u32 home = fl_datagram_home(view, look), found = FL_NONE;

	for (u32 way = 0; way < FL_WAYS; way++) {
		const struct fl_datagram *datagram = fl_datagrams_at(view->region, home + way);

		if (!datagram)
			break;
		if ((fl_load(&datagram->control) & FL_DATAGRAM_STATE) == FL_DATAGRAM_KNOWN &&
		    fl_elapsed(view->now, datagram->seen) <= FL_DATAGRAM_TICKS && fl_datagram_confirms(datagram, look))
			found = home + way;
	}
	return found;
}

/* May a note make room for another? A claim that is old is that of a dead process. */
FL_INLINE int fl_datagram_is_over(const struct fl_view *view, const struct fl_datagram *datagram, u32 control)
{
	u32 state = control & FL_DATAGRAM_STATE;

	return state == FL_DATAGRAM_FREE || fl_elapsed(view->now, datagram->seen) > FL_DATAGRAM_TICKS ||
	       (state == FL_DATAGRAM_KNOWN && datagram->span & FL_SPAN_WHOLE);
}

/* Where a note can be made: a place that is over, else the oldest one if it is not too young; FL_NONE: nowhere. */
FL_INLINE u32 fl_datagram_room(const struct fl_view *view, u32 home)
{
	u32 room = FL_NONE, age_most = FL_DATAGRAM_LEAST - 1;

	for (u32 way = 0; way < FL_WAYS; way++) {
		const struct fl_datagram *datagram = fl_datagrams_at(view->region, home + way);
		u32 control, age;

		if (!datagram)
			break;
		control = fl_load(&datagram->control);
		age = fl_elapsed(view->now, datagram->seen);
		if (fl_datagram_is_over(view, datagram, control))
			age = ~0u;
		else if ((control & FL_DATAGRAM_STATE) == FL_DATAGRAM_CLAIMED)
			continue;
		if (age > age_most) {
			age_most = age;
			room = home + way;
		}
	}
	return room;
}

/* A first fragment goes on for this reason: notes it for the others. The reason again, or why it must not go on. */
FL_PART(fl_datagram_enter, FL_REASON_FRAGMENTS_FULL, reason, nothing)
{
	u32 index = fl_datagram_find(view, look), control;
	struct fl_datagram *datagram = fl_datagrams_at(view->region, index);

	if (index != FL_NONE && datagram) {
		if (!(datagram->span & FL_SPAN_WHOLE) && fl_elapsed(view->now, datagram->seen) < FL_DATAGRAM_AGAIN)
			return FL_REASON_BAD_FRAGMENT;
	} else {
		index = fl_datagram_room(view, fl_datagram_home(view, look));
		datagram = fl_datagrams_at(view->region, index);
	}
	if (index == FL_NONE || !datagram)
		return FL_REASON_FRAGMENTS_FULL;
	control = fl_load(&datagram->control);
	if ((control & FL_DATAGRAM_STATE) == FL_DATAGRAM_CLAIMED && !fl_datagram_is_over(view, datagram, control))
		return FL_REASON_FRAGMENTS_FULL; /* somebody else's by now */
	datagram->seen = view->now;
	if (!fl_swap_if(&datagram->control, control,
			((control & ~FL_DATAGRAM_STATE) + FL_DATAGRAM_INCARNATION) | FL_DATAGRAM_CLAIMED))
		return FL_REASON_FRAGMENTS_FULL;
	control = ((control & ~FL_DATAGRAM_STATE) + FL_DATAGRAM_INCARNATION) | FL_DATAGRAM_KNOWN;
	datagram->source = look->source;
	datagram->target = look->target;
	datagram->id = look->fragment_id;
	datagram->protocol = fl_datagram_protocol(look);
	datagram->is_v6 = look->is_v6;
	datagram->span = look->fragment_to;
	datagram->reason = reason == FL_REASON_NEW_FLOW ? FL_REASON_CLIENT_HIT : reason;
	datagram->flow = look->index;
	datagram->flow_control = look->control;
	if (reason == FL_REASON_UNTRACKED) {
		datagram->flow = FL_NONE;
		datagram->flow_control = look->home.tag;
		datagram->server_slot = view->scratch->server_slot;
	}
	fl_store(&datagram->control, control);
	look->fragment_id = fl_datagram_id(index, control, look->is_v6);
	return reason;
}

/* What a fragment makes of its datagram's span; 0: it must not go on. */
FL_INLINE u32 fl_span_with(u32 span, const struct fl_look *look)
{
	u32 high = span & FL_SPAN_MASK;

	if (span & FL_SPAN_BROKEN || look->fragment_from < high)
		return 0;
	if (look->fragment_from > high || span & FL_SPAN_GAP)
		return span | FL_SPAN_GAP;
	return (span & ~FL_SPAN_MASK) | look->fragment_to | (look->fragment_is_last ? FL_SPAN_WHOLE : 0);
}

/* Does it overlap what has passed, and goes on where that ends? */
FL_INLINE int fl_span_is_broken(u32 span, const struct fl_look *look)
{
	return look->fragment_from < (span & FL_SPAN_MASK) && look->fragment_to > (span & FL_SPAN_MASK);
}

/* Enters a fragment into its datagram's span. False: it must not go on. */
FL_INLINE int fl_span_take(struct fl_datagram *datagram, const struct fl_look *look)
{
	for (int attempt = 0; attempt < 4; attempt++) {
		u32 span = fl_load(&datagram->span), next = fl_span_with(span, look);

		if (!next) {
			if (!fl_span_is_broken(span, look) || fl_swap_if(&datagram->span, span, span | FL_SPAN_BROKEN))
				return 0;
			continue;
		}
		if (next == span || fl_swap_if(&datagram->span, span, next))
			return 1;
	}
	return 0;
}

/* A later fragment goes where its first one went: for that one's reason, with the flow or the scratch's server; or why it
 * does not go on. `unknown` when there is no note. */
FL_PART(fl_datagram_follow, FL_REASON_FRAGMENT, unknown, nothing)
{
	u32 index = fl_datagram_find(view, look), control;
	struct fl_datagram *datagram = fl_datagrams_at(view->region, index);
	const struct fl_flow *flow;

	if (index == FL_NONE || !datagram)
		return unknown;
	control = fl_load(&datagram->control);
	if (!fl_datagram_confirms(datagram, look) || (control & FL_DATAGRAM_STATE) != FL_DATAGRAM_KNOWN)
		return unknown;
	look->index = datagram->flow;
	look->control = datagram->flow_control;
	look->home.tag = (u16)datagram->flow_control;
	view->scratch->server_slot = datagram->server_slot;
	if (datagram->flow != FL_NONE) {
		flow = fl_flows_at(view->region, datagram->flow);
		if (!flow || !fl_flow_is_same(flow, look) || !fl_flow_is_valid(view, flow))
			return FL_REASON_FRAGMENT;
	}
	if (!fl_span_take(datagram, look))
		return FL_REASON_BAD_FRAGMENT;
	look->fragment_id = fl_datagram_id(index, control, look->is_v6);
	return datagram->reason;
}

/* A fragment that may be ours came before its first one. */
FL_PART(fl_datagram_await, FL_REASON_FRAGMENT, no, more)
{
	struct fl_worker *worker = view->worker;

	if (worker->early_tick != view->now) {
		worker->early_tick = view->now;
		worker->early_kept = 0;
	}
	if (worker->early_kept++ >= FL_EARLY_PER_TICK)
		return FL_REASON_FRAGMENT;
#ifdef __bpf__
	return FL_REASON_SLOW_PATH;
#else
	return FL_REASON_EARLY_FRAGMENT;
#endif
}

#endif
