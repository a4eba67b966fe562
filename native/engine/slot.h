/*
 * A frame in a ring slot, and its virtio_net_hdr: the kernel's note of what the sender left undone (a partial
 * checksum, a super-frame still to be cut). Pure functions over memory: no sockets here.
 *
 *   slot in   | tpacket2_hdr 32 | sockaddr_ll 20 | gap 14 | vnet header 10 | frame ... | room for answers
 *   slot out  | tpacket2_hdr 32 | vnet header 10 | frame ... |
 *
 * What a tunnel adds, up to 52 octets, also goes below the frame, over what has been read of the slot by then: all but the
 * status. In both, an IPv4 TCP or UDP frame's headers up to the checksum lie on one cache line (76 + 14 + 20 + 18 = 128).
 *
 * The kernel strips an outer VLAN tag off a frame and keeps it beside; the core wants tags where they were on the
 * wire, and the way out takes them there as well. Putting one back moves both MAC addresses 4 octets down, into the
 * vnet header's place: that header has been copied out by then, and the gap is free below it, so no PACKET_RESERVE is
 * needed.
 */
#ifndef FL_SLOT_H
#define FL_SLOT_H

#include <stdbool.h>
#include <string.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "../core/batch.h"

#define FL_VNET_HEADER sizeof(struct virtio_net_hdr)
#define FL_VLAN_TAG 4
#define FL_HEAD_MOST 64 /* octets: room before a frame for a tag and for what a tunnel adds, which is up to 52 */
/* An odd number of cache lines, so that headers spread over all sets of a cache; a frame of MTU 1500 with tags fits. */
#define FL_SLOT (64 * 33)
#define FL_LINEAR_MAX 256 /* headers that the stack behind a super-frame wants in one piece; they never reach this */

/* Puts a tag back behind the MAC addresses. The frame begins FL_VLAN_TAG octets earlier afterwards. */
FL_INLINE u8 *fl_slot_insert_tag(u8 *data, u16 tpid, u16 tci)
{
	u8 *moved = data - FL_VLAN_TAG;
	u16 tag[2] = { FL_BE16(tpid), FL_BE16(tci) };

	memmove(moved, data, 12);
	memcpy(moved + 12, tag, sizeof(tag));
	return moved;
}

/* Describes a received frame to the core. `header` says what was stripped, `floor` and `end` how far it may grow. */
FL_INLINE void fl_slot_describe(const struct tpacket2_hdr *header, u8 *data, u32 length, const u8 *floor, const u8 *end,
				const struct virtio_net_hdr *vnet, struct fl_frame *frame)
{
	u32 shift = 0;

	if (FL_UNLIKELY(header->tp_status & TP_STATUS_VLAN_VALID)) {
		data = fl_slot_insert_tag(
			data, header->tp_status & TP_STATUS_VLAN_TPID_VALID ? header->tp_vlan_tpid : FL_ETHERTYPE_VLAN,
			header->tp_vlan_tci);
		shift = FL_VLAN_TAG;
	}
	frame->data = data;
	frame->len = length + shift;
	frame->room = (u32)(end - data);
	frame->head = (u16)(data - floor);
	frame->csum_start = vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? (u16)(vnet->csum_start + shift) : 0;
	frame->gso_size = vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE ? vnet->gso_size : 0;
}

/* A frame that lies in its slot. False: not whole. */
FL_INLINE bool fl_slot_read(u8 *slot, struct fl_frame *frame, struct virtio_net_hdr *vnet)
{
	const struct tpacket2_hdr *header = (const struct tpacket2_hdr *)slot;
	u8 *data = slot + header->tp_mac;
	u32 length = header->tp_snaplen;

	if (FL_UNLIKELY(length != header->tp_len || length < FL_ETHER_HEADER))
		return false;
	memcpy(vnet, data - FL_VNET_HEADER, FL_VNET_HEADER);
	fl_slot_describe(header, data, length, slot + sizeof(u64), slot + FL_SLOT, vnet, frame);
	return true;
}

/*
 * The vnet header to send the frame with, after the core has had it. A checksum the card found right
 * (VIRTIO_NET_HDR_F_DATA_VALID) was rewritten whole, so no flag is left of it.
 *
 * hdr_len is how much the kernel puts in an skb's linear part; the rest becomes page fragments. A super-frame needs its
 * headers there and no more. Anything else goes whole: AF_PACKET would else lend out the pages of the ring, which the
 * next hop in software (veth, bridge) copies after all. On veth that made 1.33 M frames a second of 1.13.
 */
FL_INLINE void fl_slot_finish(const struct fl_frame *frame, struct virtio_net_hdr *vnet)
{
	u32 linear = frame->len;

	if (!frame->csum_start) {
		vnet->flags = 0;
		vnet->csum_start = 0;
		vnet->csum_offset = 0;
	} else {
		vnet->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet->csum_start = frame->csum_start;
	}
	if (!frame->gso_size) {
		vnet->gso_type = VIRTIO_NET_HDR_GSO_NONE;
		vnet->gso_size = 0;
	} else if (linear > FL_LINEAR_MAX) {
		linear = FL_LINEAR_MAX;
	}
	vnet->hdr_len = (u16)(linear > 0xffff ? FL_LINEAR_MAX : linear);
}

#endif
