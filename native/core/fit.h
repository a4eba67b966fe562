/*
 * Does a frame fit the link it is to leave by? And where its traffic is counted.
 */
#ifndef FL_FIT_H
#define FL_FIT_H

#include "view.h"

/* Does the packet, or each segment of a super-frame, have at most `mtu` octets? 0, FL_REASON_TOO_BIG, or
 * FL_REASON_OVERSIZE when its sender lets others cut it. */
FL_INLINE int fl_hinder(const struct fl_view *view, struct fl_frame *frame, u32 mtu)
{
	struct fl_look *look = frame->look;
	u32 size = look->end - look->l3;

	if (frame->gso_size) {
		const u8 *tcp = look->kind == FL_KIND_TCP ? fl_bytes(frame, look->l4, 20) : NULL;

		if (!tcp && look->kind == FL_KIND_TCP)
			return FL_REASON_SHORT_FRAME;
		size = look->l4 - look->l3 + frame->gso_size + (tcp ? (u32)(tcp[12] >> 4) * 4 : 8);
	}
	if (FL_UNLIKELY(size > mtu)) {
		const u8 *ip = fl_bytes(frame, look->l3, 20);

		if (!ip)
			return FL_REASON_SHORT_FRAME;
		if (!look->is_v6 && !(fl_get16(ip + 6) & FL_BE16(0x4000)))
			return FL_REASON_OVERSIZE;
		view->scratch->mtu = mtu;
		return FL_REASON_TOO_BIG;
	}
	return 0;
}

FL_INLINE struct fl_traffic *fl_traffic_of(const struct fl_view *view, u32 server_slot)
{
	return fl_traffic_at(view->region, view->worker_index * view->settings->server_capacity + server_slot);
}

#endif
