/*
 * A frame in a ring slot, and its virtio_net_hdr: the kernel's note of what the sender left undone (a partial
 * checksum, a super-frame still to be cut). Pure functions over memory: no sockets here.
 *
 *   slot in   | tpacket2_hdr 32 | sockaddr_ll 20 | gap 14 | vnet header 10 | frame ... | room for answers
 *   slot out  | tpacket2_hdr 32 | vnet header 10 | frame ... |
 *
 * The kernel strips an outer VLAN tag off a frame and keeps it beside; the core wants tags where they were on the
 * wire, and the way out takes them there as well. Putting one back moves both MAC addresses 4 octets down, into the
 * vnet header's place: that header has been copied out by then, and the gap keeps 14 octets free below, so no
 * PACKET_RESERVE is needed.
 */
#ifndef FL_SLOT_H
#define FL_SLOT_H

#include <string.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "../core/forward.h"

#define FL_VNET_HEADER sizeof(struct virtio_net_hdr)
#define FL_VLAN_TAG 4
#define FL_LINEAR_MAX 256 /* headers that the stack behind a super-frame wants in one piece; they never reach this */

/* Puts a tag back behind the MAC addresses. The frame begins FL_VLAN_TAG octets earlier afterwards. */
FL_INLINE u8 *fl_slot_insert_tag(u8 *data, u16 tpid, u16 tci)
{
	u8 *moved = data - FL_VLAN_TAG;
	u16 tag[2] = {FL_BE16(tpid), FL_BE16(tci)};

	memmove(moved, data, 12);
	memcpy(moved + 12, tag, sizeof(tag));
	return moved;
}

/*
 * Describes the frame in an RX slot to the core, and copies its vnet header. False: the slot held less than the whole
 * frame (a super-frame above 64 KiB, which "BIG TCP" makes).
 */
FL_INLINE bool fl_slot_read(u8 *slot, u32 slot_size, struct fl_frame *frame, struct virtio_net_hdr *vnet)
{
	const struct tpacket2_hdr *header = (const struct tpacket2_hdr *)slot;
	u32 status = header->tp_status, length = header->tp_snaplen, shift = 0;
	u8 *data = slot + header->tp_mac;

	if (FL_UNLIKELY(length != header->tp_len || length < FL_ETHER_HEADER || length > slot_size - header->tp_mac))
		return false;
	memcpy(vnet, data - FL_VNET_HEADER, FL_VNET_HEADER);
	if (FL_UNLIKELY(status & TP_STATUS_VLAN_VALID)) {
		data = fl_slot_insert_tag(
			data, status & TP_STATUS_VLAN_TPID_VALID ? header->tp_vlan_tpid : FL_ETHERTYPE_VLAN,
			header->tp_vlan_tci);
		shift = FL_VLAN_TAG;
	}
	frame->data = data;
	frame->len = length + shift;
	frame->room = (u32)(slot + slot_size - data);
	frame->csum_start = vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? (u16)(vnet->csum_start + shift) : 0;
	frame->gso_size = vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE ? vnet->gso_size : 0;
	return true;
}

/*
 * The vnet header to send the frame with, after the core has had it. A checksum the card found right
 * (VIRTIO_NET_HDR_F_DATA_VALID) was rewritten whole, so no flag is left of it.
 *
 * hdr_len is how much the kernel puts in an skb's linear part; the rest becomes page fragments. A super-frame needs its
 * headers there and no more. Anything else goes whole: AF_PACKET would else lend out the pages of the ring, which the
 * next hop in software (veth, bridge) copies after all.
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
