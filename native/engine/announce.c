/*
 * Announcements: gratuitous ARP and unsolicited neighbour advertisements, so that neighbours who knew an address
 * elsewhere (a node that failed, a host that had it before) learn its new place at once.
 *
 * Theory of operation. An update notes each owned address of the active half (VIPs and full-nat sources). One that was
 * not there before, or whose interfaces changed index or MAC, or any after a standby became active, is to be sent
 * REPEATS times, a second apart, on every interface: single frames get lost, and switches may take a moment to learn.
 * The keeper's tick sends; a commit never waits for it.
 *
 * IPv4 goes in both forms, since some stacks update only by one of them: a request and a reply, each with the address as
 * sender and target (RFC 5227 §3 gives reasons for the request). IPv6: RFC 4861 §7.2.6.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include "../core/forward.h"
#include "announce.h"

#define REPEATS 3
#define INTERVAL_NS 1000000000ull
#define INTERFACES_MAX 8

struct entry {
	struct fl_addr address;
	u32 is_v6;
	u32 left;
	u64 due;
};

struct place {
	u32 ifindex;
	u8 mac[6];
	u8 zero[2];
};

struct fl_announce {
	int fd;
	u32 places;
	struct place place[INTERFACES_MAX];
	u32 count;
	u32 unsent;	     /* entries with repeats left */
	struct entry *entry; /* sorted */
};

static u32 put_ethernet(u8 *frame, const u8 to[6], const u8 mac[6], u16 type)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, mac, 6);
	fl_put16(frame + 12, FL_BE16(type));
	return FL_ETHER_HEADER;
}

u32 fl_announce_arp(u8 *frame, const u8 mac[6], u32 address, bool is_reply)
{
	static const u8 everyone[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	u8 *arp = frame + put_ethernet(frame, everyone, mac, FL_ETHERTYPE_ARP);

	fl_put32(arp, FL_BE32(0x00010800)); /* Ethernet, IPv4 */
	fl_put32(arp + 4, FL_BE32(0x06040000u | (is_reply ? 2 : 1)));
	memcpy(arp + 8, mac, 6);
	fl_put32(arp + 14, address);
	memset(arp + 18, 0, 6);
	if (is_reply)
		memcpy(arp + 18, mac, 6);
	fl_put32(arp + 24, address);
	return FL_ETHER_HEADER + 28;
}

u32 fl_announce_na(u8 *frame, const u8 mac[6], const struct fl_addr *address)
{
	static const u8 all_nodes_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	const struct fl_addr all_nodes = { { FL_BE32(0xff020000u), 0, 0, FL_BE32(1) } };
	u8 *ip = frame + put_ethernet(frame, all_nodes_mac, mac, FL_ETHERTYPE_IPV6);
	u8 *icmp = ip + FL_IPV6_HEADER;
	u64 sum;

	memset(ip, 0, FL_IPV6_HEADER + 32);
	fl_put32(ip, FL_BE32(0x60000000));
	fl_put16(ip + 4, FL_BE16(32));
	ip[6] = FL_PROTOCOL_ICMP6;
	ip[7] = 255;
	fl_put_addr(ip + 8, address, 1);
	fl_put_addr(ip + 24, &all_nodes, 1);
	icmp[0] = 136;
	fl_put32(icmp + 4, FL_BE32(0x20000000)); /* override, not solicited */
	fl_put_addr(icmp + 8, address, 1);
	icmp[24] = 2; /* target link-layer address, one unit of 8 octets */
	icmp[25] = 1;
	memcpy(icmp + 26, mac, 6);
	sum = fl_pseudo_header(address, &all_nodes, FL_PROTOCOL_ICMP6, 32);
	for (u32 i = 0; i < 32; i += 2)
		sum += fl_get16(icmp + i);
	fl_put16(icmp + 2, (u16)~fl_fold(sum));
	return FL_ETHER_HEADER + FL_IPV6_HEADER + 32;
}

int fl_announce_open(struct fl_announce **announce)
{
	struct fl_announce *made = calloc(1, sizeof(*made));

	if (!made)
		return fl_fail(-ENOMEM, "no memory for announcements");
	made->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (made->fd < 0) {
		free(made);
		return fl_fail(-errno, "cannot open a packet socket: %s", strerror(errno));
	}
	*announce = made;
	return 0;
}

void fl_announce_close(struct fl_announce *announce)
{
	if (!announce)
		return;
	close(announce->fd);
	free(announce->entry);
	free(announce);
}

static int compare(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int order = memcmp(&a->address, &b->address, sizeof(a->address));

	return order ? order : (int)a->is_v6 - (int)b->is_v6;
}

/* True when an interface came, changed its MAC or its place. */
static bool take_places(struct fl_announce *announce, const struct fl_region *region,
			const struct fl_settings *settings)
{
	struct place place[INTERFACES_MAX] = { 0 };
	u32 count = settings->interface_count < INTERFACES_MAX ? settings->interface_count : INTERFACES_MAX;
	bool has_changed;

	for (u32 i = 0; i < count; i++) {
		const struct fl_interface *interface =
			fl_interfaces_at(region, settings->first[FL_SECTION_INTERFACES] + i);

		if (!interface)
			continue;
		place[i].ifindex = interface->ifindex;
		memcpy(place[i].mac, interface->mac, 6);
	}
	has_changed = memcmp(place, announce->place, sizeof(place)) != 0;
	memcpy(announce->place, place, sizeof(place));
	announce->places = count;
	return has_changed;
}

int fl_announce_update(struct fl_announce *announce, const struct fl_region *region)
{
	const struct fl_settings *settings = fl_settings_at(region, region->header->active_half);
	u32 room = settings && settings->is_active ? settings->vip_mask + 1 : 0, count = 0, unsent = 0;
	struct entry *entry = calloc(room ? room : 1, sizeof(*entry));
	bool is_all_new;

	if (!entry)
		return fl_fail(-ENOMEM, "no memory to announce %u addresses", room);
	for (u32 i = 0; i < room; i++) {
		const struct fl_vip *vip = fl_vips_at(region, settings->first[FL_SECTION_VIPS] + i);

		if (vip && vip->flags & FL_VIP_USED)
			entry[count++] = (struct entry){ .address = vip->addr, .is_v6 = !!(vip->flags & FL_VIP_V6) };
	}
	qsort(entry, count, sizeof(*entry), compare);
	is_all_new = settings && take_places(announce, region, settings);
	for (u32 i = 0; i < count; i++) {
		const struct entry *old =
			is_all_new || !announce->count
				? NULL
				: bsearch(&entry[i], announce->entry, announce->count, sizeof(*entry), compare);

		entry[i].left = old ? old->left : REPEATS;
		entry[i].due = old ? old->due : 0;
		unsent += entry[i].left > 0;
	}
	free(announce->entry);
	announce->entry = entry;
	announce->count = count;
	announce->unsent = unsent;
	return 0;
}

void fl_announce_again(struct fl_announce *announce)
{
	for (u32 i = 0; i < announce->count; i++) {
		announce->entry[i].left = REPEATS;
		announce->entry[i].due = 0;
	}
	announce->unsent = announce->count;
}

static void send_on(int fd, const struct place *place, const u8 *frame, u32 length)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)place->ifindex, .sll_halen = 6 };

	memcpy(to.sll_addr, frame, 6);
	/* What a link that is down refuses is sent again when the link is back (fl_announce_again). */
	sendto(fd, frame, length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

static void send_entry(const struct fl_announce *announce, const struct entry *entry)
{
	u8 frame[FL_ANNOUNCE_ROOM];

	for (u32 i = 0; i < announce->places; i++) {
		const struct place *place = &announce->place[i];

		if (!place->ifindex)
			continue;
		if (entry->is_v6) {
			send_on(announce->fd, place, frame, fl_announce_na(frame, place->mac, &entry->address));
			continue;
		}
		for (int is_reply = 0; is_reply < 2; is_reply++)
			send_on(announce->fd, place, frame,
				fl_announce_arp(frame, place->mac, entry->address.word[0], is_reply));
	}
}

void fl_announce_tick(struct fl_announce *announce, u64 now)
{
	for (u32 i = 0; i < announce->count && announce->unsent; i++) {
		struct entry *entry = &announce->entry[i];

		if (!entry->left || entry->due > now)
			continue;
		send_entry(announce, entry);
		entry->due = now + INTERVAL_NS;
		if (--entry->left == 0)
			announce->unsent--;
	}
}
