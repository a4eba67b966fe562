/* See keep.h. */
#include <stdlib.h>
#include <string.h>

#include "keep.h"
#include "../core/record.h"
#include "slot.h"

#define KEPT_OCTETS FL_RECORD_WHOLE
#define PATIENCE_NS 1000000000ull

struct fl_kept {
	u64 since; /* ns; 0: gone */
	u32 len;
	u8 interface;
	u8 octets[FL_HEAD_MOST + KEPT_OCTETS];
};

void fl_keep_put(struct fl_keep *keep, const struct fl_frame *frame, u64 now, struct fl_worker *counters)
{
	struct fl_kept *kept;

	if (!keep->kept)
		keep->kept = calloc(FL_KEPT_MOST, sizeof(*keep->kept));
	if (!keep->kept || keep->count == FL_KEPT_MOST || frame->len > KEPT_OCTETS) {
		counters->reasons[FL_REASON_FRAGMENT]++;
		return;
	}
	kept = &keep->kept[keep->count++];
	kept->since = now;
	kept->len = frame->len;
	kept->interface = frame->interface;
	memcpy(kept->octets + FL_HEAD_MOST, frame->data, frame->len);
}

static void forget_those_gone(struct fl_keep *keep)
{
	u32 left = 0;

	for (u32 i = 0; i < keep->count; i++)
		if (keep->kept[i].since)
			keep->kept[left++] = keep->kept[i];
	keep->count = left;
}

void fl_keep_try(struct fl_keep *keep, const struct fl_region *region, u32 worker, u64 now,
		 void (*leave)(void *context, struct fl_frame *frame, const struct fl_result *result), void *context)
{
	for (u32 i = 0; i < keep->count; i++) {
		struct fl_kept *kept = &keep->kept[i];
		struct fl_result result = { 0 };
		struct fl_frame frame = {
			.data = kept->octets + FL_HEAD_MOST,
			.len = kept->len,
			.room = KEPT_OCTETS,
			.head = FL_HEAD_MOST,
			.interface = kept->interface,
			.worker = (u16)worker,
		};

		if (fl_forward_kept(region, &frame, now, &result) == FL_KEEP) {
			if (now - kept->since < PATIENCE_NS)
				continue;
			region->workers[worker].reasons[FL_REASON_FRAGMENT]++;
		} else if (result.verdict == FL_FORWARD || result.verdict == FL_ANSWER) {
			leave(context, &frame, &result);
		}
		kept->since = 0;
	}
	forget_those_gone(keep);
}

void fl_keep_free(struct fl_keep *keep)
{
	free(keep->kept);
	*keep = (struct fl_keep){ 0 };
}
