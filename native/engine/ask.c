/* A raw socket on one link: questions out, and until the time is up what sounds like an answer in. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"

#define QUESTIONS 2
#define ARP_REPLY 2
#define ICMP6 58
#define SOLICITATION 135
#define ADVERTISEMENT 136

#define ARP_SIZE (14 + 28)
#define NDP_SIZE (14 + 40 + 24)

static u32 arp_question(u8 *frame, const u8 *mac, const struct fl_addr *addr)
{
	static const u8 fixed[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };

	memset(frame, 0, ARP_SIZE);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, fixed, sizeof(fixed));
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 38, addr->word, 4);
	return ARP_SIZE;
}

/* RFC 4443, section 2.3: over source, target, length, next header and message. All but the last two lie in a row. */
static u16 icmp6_sum(const u8 *ip, u32 size)
{
	u32 sum = size + ICMP6;

	for (u32 i = 8; i < 40 + size; i += 2)
		sum += (u32)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16) ~(sum + (sum >> 16));
}

static u32 ndp_question(u8 *frame, const u8 *mac, const struct fl_addr *addr)
{
	static const u8 group[] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	const u8 *target = (const u8 *)addr;
	u8 *ip = frame + 14;
	u16 sum;

	memset(frame, 0, NDP_SIZE);
	frame[0] = frame[1] = 0x33;
	frame[2] = 0xff;
	memcpy(frame + 3, target + 13, 3);
	memcpy(frame + 6, mac, 6);
	frame[12] = 0x86;
	frame[13] = 0xdd;
	ip[0] = 0x60;
	ip[5] = 24;
	ip[6] = ICMP6;
	ip[7] = 255;
	memcpy(ip + 24, group, sizeof(group));
	memcpy(ip + 37, target + 13, 3);
	ip[40] = SOLICITATION;
	memcpy(ip + 48, target, 16);
	sum = htons(icmp6_sum(ip, 24));
	memcpy(ip + 42, &sum, 2);
	return NDP_SIZE;
}

/* The address that a frame claims for its sender, and the sender's MAC; false when it is no answer. */
static bool read_answer(const u8 *frame, size_t size, struct fl_asked *claimed, u8 *mac)
{
	memset(claimed, 0, sizeof(*claimed));
	memcpy(mac, frame + 6, 6);
	if (size >= ARP_SIZE && frame[12] == 8 && frame[13] == 6) {
		memcpy(claimed->addr.word, frame + 28, 4);
		memcpy(mac, frame + 22, 6);
		return frame[20] == 0 && frame[21] == ARP_REPLY;
	}
	if (size < NDP_SIZE || frame[12] != 0x86 || frame[13] != 0xdd)
		return false;
	claimed->is_v6 = 1;
	memcpy(&claimed->addr, frame + 14 + 48, 16);
	return frame[14 + 6] == ICMP6 && frame[14 + 7] == 255 && frame[14 + 40] == ADVERTISEMENT;
}

/* Adds an answer unless it is known; returns the new count. */
static u32 note(const struct fl_asked *asked, u32 count, const struct fl_asked *claimed, const u8 *mac,
		struct fl_asked_answer *answers, u32 noted, u32 room)
{
	for (u32 i = 0; i < count; i++) {
		bool is_known = false;

		if (asked[i].is_v6 != claimed->is_v6 || !fl_addr_same(&asked[i].addr, &claimed->addr))
			continue;
		for (u32 j = 0; j < noted; j++)
			is_known |= answers[j].index == i && memcmp(answers[j].mac, mac, 6) == 0;
		if (is_known || noted == room)
			continue;
		answers[noted] = (struct fl_asked_answer){ .index = i };
		memcpy(answers[noted++].mac, mac, 6);
	}
	return noted;
}

static int open_link(u32 ifindex, u8 *mac)
{
	struct sockaddr_ll link = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ifindex,
	};
	socklen_t size = sizeof(link);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), code = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&link, sizeof(link)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&link, &size) < 0)
		code = -errno;
	else if (link.sll_halen != 6)
		code = -EPROTONOSUPPORT; /* no Ethernet: nobody is asked there */
	if (code == 0) {
		memcpy(mac, link.sll_addr, 6);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return fl_fail(code, "no questions can be asked on link %u: %s", ifindex, strerror(-code));
}

static u32 listen_until(int fd, u64 end, const struct fl_asked *asked, u32 count, struct fl_asked_answer *answers,
			u32 noted, u32 room)
{
	u64 now;

	while ((now = fl_now()) < end) {
		struct pollfd watched = { .fd = fd, .events = POLLIN };
		struct sockaddr_ll from = { 0 };
		socklen_t from_size = sizeof(from);
		struct fl_asked claimed;
		u8 frame[128], mac[6];
		ssize_t size;

		if (poll(&watched, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		size = recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from,
				&from_size);
		if (size < ARP_SIZE || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if (read_answer(frame, (size_t)size < sizeof(frame) ? (size_t)size : sizeof(frame), &claimed, mac))
			noted = note(asked, count, &claimed, mac, answers, noted, room);
	}
	return noted;
}

int fl_ask(u32 ifindex, const struct fl_asked *asked, u32 count, u32 wait_ms, struct fl_asked_answer *answers, u32 room)
{
	u64 start = fl_now();
	u32 noted = 0;
	u8 mac[6];
	int fd = open_link(ifindex, mac);

	if (fd < 0)
		return fd;
	for (u32 round = 1; round <= QUESTIONS; round++) {
		for (u32 i = 0; i < count; i++) {
			u8 frame[NDP_SIZE];
			u32 size = asked[i].is_v6 ? ndp_question(frame, mac, &asked[i].addr)
						  : arp_question(frame, mac, &asked[i].addr);

			if (send(fd, frame, size, 0) < 0) {
				int code = -errno;

				close(fd);
				return fl_fail(code, "a question did not leave by link %u: %s", ifindex,
					       strerror(-code));
			}
		}
		noted = listen_until(fd, start + (u64)wait_ms * 1000000 * round / QUESTIONS, asked, count, answers,
				     noted, room);
	}
	close(fd);
	return noted;
}
