/* Probes in octets; see probe-wire.h. Layouts: RFC 792, RFC 4443, RFC 9293. */
#include "probe-wire.h"

#include <netinet/in.h>
#include <string.h>

#include "../core/checksum.h"

#define IP4_HEADER 20
#define IP6_HEADER 40
#define ICMP_HEADER 8
#define TCP_HEADER 20
#define TCP_QUOTED 8 /* what an error must quote: ports and sequence */

#define ICMP4_ECHO_REPLY 0
#define ICMP4_UNREACHABLE 3
#define ICMP4_ECHO 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_TOO_BIG_CODE 4
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG 2
#define ICMP6_PARAMETER 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

static u16 get16(const u8 *octets)
{
	return (u16)(octets[0] << 8 | octets[1]);
}

static u32 get32(const u8 *octets)
{
	return (u32)get16(octets) << 16 | get16(octets + 2);
}

static void put16(u8 *octets, u16 value)
{
	octets[0] = (u8)(value >> 8);
	octets[1] = (u8)value;
}

static void put32(u8 *octets, u32 value)
{
	put16(octets, (u16)(value >> 16));
	put16(octets + 2, (u16)value);
}

/* Of an even number of octets. */
static u64 sum_of(const u8 *octets, size_t size)
{
	u64 sum = 0;

	for (size_t at = 0; at < size; at += 2)
		sum += get16(octets + at);
	return sum;
}

void fl_wire_echo(u8 *octets, bool is_v6, u16 id, u16 sequence, u64 nonce)
{
	memset(octets, 0, FL_WIRE_ECHO_SIZE);
	octets[0] = is_v6 ? ICMP6_ECHO : ICMP4_ECHO;
	put16(octets + 4, id);
	put16(octets + 6, sequence);
	memcpy(octets + ICMP_HEADER, &nonce, sizeof(nonce));
	if (!is_v6)
		put16(octets + 2, (u16)~fl_fold(sum_of(octets, FL_WIRE_ECHO_SIZE)));
}

size_t fl_wire_tcp(u8 *octets, const struct fl_wire_tcp *tcp, const u32 *source, const u32 *target)
{
	size_t size = tcp->flags & FL_WIRE_SYN ? FL_WIRE_TCP_SIZE : TCP_HEADER;
	u64 sum;

	memset(octets, 0, FL_WIRE_TCP_SIZE);
	put16(octets, tcp->local_port);
	put16(octets + 2, tcp->remote_port);
	put32(octets + 4, tcp->sequence);
	octets[12] = (u8)(size / 4 << 4);
	octets[13] = tcp->flags;
	if (tcp->flags & FL_WIRE_SYN) {
		put16(octets + 14, 64240); /* a window as Linux opens it */
		octets[20] = 2;		   /* MSS; without it some firewalls take a SYN for a scan */
		octets[21] = 4;
		put16(octets + 22, source ? 1460 : 1440);
	}
	if (source) {
		sum = sum_of((const u8 *)source, 4) + sum_of((const u8 *)target, 4) + IPPROTO_TCP + size;
		put16(octets + 16, (u16)~fl_fold(sum + sum_of(octets, size)));
	}
	return size;
}

/* The packet that an error quotes: its protocol's header and whom it was for are known already. */
static void read_quoted(struct fl_wire_heard *heard, u8 protocol, const u8 *quoted, size_t size, u8 echo)
{
	if (size < TCP_QUOTED)
		return;
	if ((protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) && quoted[0] == echo) {
		heard->what = FL_WIRE_ECHO_ERROR;
		heard->id = get16(quoted + 4);
		heard->sequence = get16(quoted + 6);
	} else if (protocol == IPPROTO_TCP) {
		heard->what = FL_WIRE_TCP_ERROR;
		heard->local_port = get16(quoted);
		heard->remote_port = get16(quoted + 2);
		heard->isn = get32(quoted + 4);
	}
}

static void read_echo_reply(struct fl_wire_heard *heard, const u8 *message, size_t size)
{
	if (size < FL_WIRE_ECHO_SIZE)
		return;
	heard->what = FL_WIRE_ECHO_REPLY;
	heard->id = get16(message + 4);
	heard->sequence = get16(message + 6);
	memcpy(&heard->nonce, message + ICMP_HEADER, sizeof(heard->nonce));
}

static struct fl_wire_heard read_icmp4(const u8 *message, size_t size)
{
	struct fl_wire_heard heard = { 0 };
	const u8 *quoted = message + ICMP_HEADER;
	size_t header;

	if (size < ICMP_HEADER)
		return heard;
	if (message[0] == ICMP4_ECHO_REPLY) {
		read_echo_reply(&heard, message, size);
		return heard;
	}
	if (message[0] != ICMP4_UNREACHABLE && message[0] != ICMP4_TIME_EXCEEDED)
		return heard;
	size -= ICMP_HEADER;
	if (size < IP4_HEADER || (header = (size_t)(quoted[0] & 15) * 4) < IP4_HEADER || size < header)
		return heard;
	heard.icmp_type = message[0];
	heard.icmp_code = message[1];
	if (message[0] == ICMP4_UNREACHABLE && message[1] == ICMP4_TOO_BIG_CODE)
		heard.mtu = get16(message + 6);
	memcpy(heard.to.word, quoted + 16, 4);
	read_quoted(&heard, quoted[9], quoted + header, size - header, ICMP4_ECHO);
	return heard;
}

struct fl_wire_heard fl_wire_read4(const u8 *packet, size_t size)
{
	struct fl_wire_heard nothing = { 0 };
	size_t header;

	if (size < IP4_HEADER || packet[0] >> 4 != 4 || (header = (size_t)(packet[0] & 15) * 4) < IP4_HEADER ||
	    size < header)
		return nothing;
	if (packet[9] == IPPROTO_ICMP)
		return read_icmp4(packet + header, size - header);
	return packet[9] == IPPROTO_TCP ? fl_wire_read_tcp(packet + header, size - header) : nothing;
}

struct fl_wire_heard fl_wire_read_icmp6(const u8 *message, size_t size)
{
	struct fl_wire_heard heard = { 0 };
	const u8 *quoted = message + ICMP_HEADER;

	if (size < ICMP_HEADER)
		return heard;
	if (message[0] == ICMP6_ECHO_REPLY) {
		read_echo_reply(&heard, message, size);
		return heard;
	}
	if (message[0] < ICMP6_UNREACHABLE || message[0] > ICMP6_PARAMETER || size < ICMP_HEADER + IP6_HEADER)
		return heard;
	heard.icmp_type = message[0];
	heard.icmp_code = message[1];
	if (message[0] == ICMP6_TOO_BIG)
		heard.mtu = get32(message + 4);
	memcpy(heard.to.word, quoted + 24, 16);
	read_quoted(&heard, quoted[6], quoted + IP6_HEADER, size - ICMP_HEADER - IP6_HEADER, ICMP6_ECHO);
	return heard;
}

struct fl_wire_heard fl_wire_read_tcp(const u8 *segment, size_t size)
{
	struct fl_wire_heard heard = { 0 };
	u8 flags;

	if (size < TCP_HEADER)
		return heard;
	flags = segment[13];
	/* Both acknowledge our SYN, or they answer something else. */
	if (!(flags & TCP_FLAG_ACK) || !(flags & (TCP_FLAG_SYN | TCP_FLAG_RST)))
		return heard;
	heard.what = flags & TCP_FLAG_RST ? FL_WIRE_RST : FL_WIRE_SYN_ACK;
	heard.remote_port = get16(segment);
	heard.local_port = get16(segment + 2);
	heard.peer_sequence = get32(segment + 4);
	heard.isn = get32(segment + 8) - 1;
	return heard;
}
