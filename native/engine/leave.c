/* See leave.h. */
#include <errno.h>
#include <string.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include "../core/record.h"
#include "engine.h"
#include "leave.h"
#include "slot.h"
#include "split.h"

int fl_leave_open(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? fl_fail(-errno, "cannot open a packet socket: %s", strerror(errno)) : fd;
}

static void leave(int socket_fd, const u8 *data, u32 len, u32 ifindex, struct fl_worker *counters)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = (int)ifindex };

	if (sendto(socket_fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof(address)) < 0)
		counters->send_errors++;
}

void fl_leave(int socket_fd, struct fl_frame *frame, u32 ifindex, struct fl_worker *counters)
{
	struct fl_split split;
	u8 piece[FL_RECORD_WHOLE + FL_HEAD_MOST];

	if (!fl_split_is_due(frame)) {
		leave(socket_fd, frame->data, frame->len, ifindex, counters);
		return;
	}
	if (!fl_split_plan(&split, frame)) {
		counters->reasons[FL_REASON_OVERSIZE]++;
		return;
	}
	for (u32 i = 0; i < split.pieces; i++) {
		if (fl_split_size(&split, i) > sizeof(piece)) {
			counters->reasons[FL_REASON_OVERSIZE]++;
			return;
		}
		fl_split_write(&split, i, piece);
		leave(socket_fd, piece, fl_split_size(&split, i), ifindex, counters);
	}
}
