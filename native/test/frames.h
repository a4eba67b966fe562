/*
 * Builds frames for tests, octet by octet, with text for addresses. Checksums are left 0. A target MAC of zeros is this
 * host's where a test run has them come in by lo.
 */
#ifndef FL_FRAMES_H
#define FL_FRAMES_H

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>

#include "../core/types.h"

#define TCP 6
#define UDP 17
#define ICMP6 58

static inline struct fl_addr addr_of(const char *text)
{
	struct fl_addr addr = { 0 };

	if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &addr) != 1)
		abort();
	return addr;
}

struct bytes {
	u8 data[8192];
	u32 size;
};

static inline struct bytes *add(struct bytes *frame, const void *data, u32 size)
{
	memcpy(frame->data + frame->size, data, size);
	frame->size += size;
	return frame;
}

static inline void add16(struct bytes *frame, u16 value)
{
	u16 be = htons(value);

	add(frame, &be, 2);
}

static inline struct bytes ether(u16 type)
{
	struct bytes frame = { .size = 12 };

	add16(&frame, type);
	return frame;
}

struct ip {
	const char *from, *to;
	u8 protocol;
	u16 from_port, to_port;
	u16 fragment;	   /* the IPv4 field, or that of an IPv6 fragment header when not 0 */
	u32 options;	   /* octets: IPv4 options; IPv6: of one destination options header */
	const u8 *payload; /* in place of ports */
	u32 payload_size;
};

static inline void add_ports(struct bytes *frame, const struct ip *ip)
{
	static const u8 rest[16] = { [8] = 0x50 };

	if (ip->payload) {
		add(frame, ip->payload, ip->payload_size);
		return;
	}
	add16(frame, ip->from_port);
	add16(frame, ip->to_port);
	add(frame, rest, sizeof(rest));
}

static inline void add_ip(struct bytes *frame, const struct ip *ip)
{
	struct fl_addr from = addr_of(ip->from), to = addr_of(ip->to);
	u32 length = ip->options + (ip->payload ? ip->payload_size : 20);

	if (strchr(ip->from, ':')) {
		u8 header[40] = { 0x60, [6] = ip->protocol, [7] = 255 };
		u8 options[64] = { ip->protocol, ip->options / 8 - 1 };
		u8 fragment[8] = { ip->protocol, 0, ip->fragment >> 8, (u8)ip->fragment };

		length += ip->fragment ? 8 : 0;
		header[4] = length >> 8;
		header[5] = (u8)length;
		if (ip->fragment)
			header[6] = options[0] = 44;
		if (ip->options)
			header[6] = 60;
		memcpy(header + 8, &from, 16);
		memcpy(header + 24, &to, 16);
		add(frame, header, 40);
		add(frame, options, ip->options);
		add(frame, fragment, ip->fragment ? 8 : 0);
	} else {
		u8 header[60] = { 0x45 + ip->options / 4, [6] = ip->fragment >> 8, (u8)ip->fragment, 64, ip->protocol };

		length += 20;
		header[2] = length >> 8;
		header[3] = (u8)length;
		memcpy(header + 12, &from, 4);
		memcpy(header + 16, &to, 4);
		add(frame, header, 20 + ip->options);
	}
	add_ports(frame, ip);
}

static inline struct bytes ip_frame(const struct ip *ip)
{
	struct bytes frame = ether(strchr(ip->from, ':') ? ETH_P_IPV6 : ETH_P_IP);

	add_ip(&frame, ip);
	return frame;
}

#define PORTS(a, b) .from_port = a, .to_port = b
#define IP(a, b, kind, ...) ip_frame(&(struct ip){ .from = a, .to = b, .protocol = kind, __VA_ARGS__ })

static inline struct bytes arp(u16 operation, const char *from, const char *to)
{
	static const u8 kind[6] = { 0, 1, 8, 0, 6, 4 }, mac[6] = { 2 };
	struct fl_addr sender = addr_of(from), target = addr_of(to);
	struct bytes frame = ether(ETH_P_ARP);

	memset(frame.data, 0xff, 6);
	add(&frame, kind, sizeof(kind));
	add16(&frame, operation);
	add(add(add(add(&frame, mac, 6), &sender, 4), mac, 6), &target, 4);
	return frame;
}

static inline struct bytes solicitation(const char *from, const char *to, const char *target)
{
	struct fl_addr addr = addr_of(target);
	u8 payload[24] = { 135 };
	struct bytes frame;

	memcpy(payload + 8, &addr, 16);
	frame = IP(from, to, ICMP6, .payload = payload, .payload_size = 24);
	frame.data[0] = frame.data[1] = 0x33;
	return frame;
}

static inline struct bytes tagged(struct bytes frame, u16 outer, u16 inner)
{
	const u8 tags[] = { outer >> 8, (u8)outer, 0, 5, inner >> 8, (u8)inner, 0, 7 };
	u32 size = inner ? 8 : 4;

	memmove(frame.data + 12 + size, frame.data + 12, frame.size - 12);
	memcpy(frame.data + 12, tags, size);
	frame.size += size;
	return frame;
}

#endif
