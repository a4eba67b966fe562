/* Descriptors and filters of probes; see probe-sockets.h. */
#define _GNU_SOURCE
#include "probe-sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_ROOM (1 << 20) /* answers to thousands of questions a second while this thread waits for its turn */
#define DROP 0
#define WHOLE 0xffff

#define LOAD8(offset) BPF_STMT(BPF_LD | BPF_B | BPF_IND, offset)
#define LOAD16(offset) BPF_STMT(BPF_LD | BPF_H | BPF_IND, offset)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define IF_EQUAL(value, then, other) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, other)
#define IF_ANY(bits, then, other) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, then, other)

/* A filter in the making; room for the longest of them. */
struct filter {
	struct sock_filter code[32];
	u16 length;
};

static void add(struct filter *filter, struct sock_filter instruction)
{
	filter->code[filter->length++] = instruction;
}

/* X: where the transport header begins. Raw IPv4 sockets see the IP header, raw IPv6 sockets begin behind it. */
static void add_start(struct filter *filter, bool is_v6)
{
	add(filter, is_v6 ? (struct sock_filter)BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0)
			  : (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0));
}

/* Goes on when the 16 bits at the offset are one of our ports, else drops. */
static void add_ports(struct filter *filter, u32 offset, const u16 *ports)
{
	add(filter, (struct sock_filter)LOAD16(offset));
	for (u8 i = 0; i < FL_PROBE_PORTS; i++)
		add(filter, (struct sock_filter)IF_EQUAL(ports[i], (u8)(FL_PROBE_PORTS - i), 0));
	add(filter, (struct sock_filter)RETURN(DROP));
}

static void make_tcp_filter(struct filter *filter, bool is_v6, const u16 *ports)
{
	add_start(filter, is_v6);
	add_ports(filter, 2, ports);
	add(filter, (struct sock_filter)LOAD8(13));
	add(filter, (struct sock_filter)IF_ANY(0x02 | 0x04, 0, 1)); /* SYN or RST */
	add(filter, (struct sock_filter)RETURN(WHOLE));
	add(filter, (struct sock_filter)RETURN(DROP));
}

/* Echo replies with our id; errors that quote an echo with our id, or a segment from one of our ports. */
static void make_icmp_filter(struct filter *filter, bool is_v6, u16 id, const u16 *ports)
{
	u32 quoted = 8 + (is_v6 ? 40 : 20); /* our packets have no options */
	u32 protocol = 8 + (is_v6 ? 6 : 9);

	add_start(filter, is_v6);
	add(filter, (struct sock_filter)LOAD8(0));
	add(filter, (struct sock_filter)IF_EQUAL(is_v6 ? 129 : 0, 0, 4));
	add(filter, (struct sock_filter)LOAD16(4));
	add(filter, (struct sock_filter)IF_EQUAL(id, 0, 1));
	add(filter, (struct sock_filter)RETURN(WHOLE));
	add(filter, (struct sock_filter)RETURN(DROP));
	if (is_v6) {
		add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 4, 0, 1));
		add(filter, (struct sock_filter)RETURN(DROP));
	} else {
		add(filter, (struct sock_filter)IF_EQUAL(3, 2, 0));
		add(filter, (struct sock_filter)IF_EQUAL(11, 1, 0));
		add(filter, (struct sock_filter)RETURN(DROP));
	}
	add(filter, (struct sock_filter)LOAD8(protocol));
	add(filter, (struct sock_filter)IF_EQUAL(IPPROTO_TCP, 4, 0));
	add(filter, (struct sock_filter)LOAD16(quoted + 4));
	add(filter, (struct sock_filter)IF_EQUAL(id, 0, 1));
	add(filter, (struct sock_filter)RETURN(WHOLE));
	add(filter, (struct sock_filter)RETURN(DROP));
	add_ports(filter, quoted, ports);
	add(filter, (struct sock_filter)RETURN(WHOLE));
}

/* The filter goes on before anything can be received: the socket is of no protocol until it is bound to one by use. */
static int open_raw(bool is_v6, int protocol, const struct filter *filter)
{
	struct sock_fprog program = { .len = filter->length, .filter = (struct sock_filter *)filter->code };
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	int room = RECEIVE_ROOM, checksum_at = 16;
	char octet;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ||
	    (is_v6 && protocol == IPPROTO_TCP &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum_at, sizeof(checksum_at)))) {
		int code = -errno;

		close(fd);
		return code;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	while (recv(fd, &octet, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0) /* what came before the filter */
		;
	return fd;
}

/* Holds a source port in both families, by a socket that never listens: the stack answers a SYN-ACK to it with RST. */
static int hold_port(u16 *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	struct sockaddr_in any4 = { .sin_family = AF_INET };
	socklen_t size = sizeof(any);
	int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) &&
	    !bind(fd, (struct sockaddr *)&any, sizeof(any)) && !getsockname(fd, (struct sockaddr *)&any, &size)) {
		*port = ntohs(any.sin6_port);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size = sizeof(any4);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&any4, sizeof(any4)) || getsockname(fd, (struct sockaddr *)&any4, &size)) {
		int code = -errno;

		close(fd);
		return code;
	}
	*port = ntohs(any4.sin_port);
	return fd;
}

int fl_probe_sockets_open(struct fl_probe_sockets *sockets)
{
	static const struct {
		bool is_v6;
		int protocol;
	} wanted[FL_PROBE_RAW_COUNT] = {
		[FL_PROBE_ICMP4] = { false, IPPROTO_ICMP },
		[FL_PROBE_ICMP6] = { true, IPPROTO_ICMPV6 },
		[FL_PROBE_TCP4] = { false, IPPROTO_TCP },
		[FL_PROBE_TCP6] = { true, IPPROTO_TCP },
	};
	int code = 0;

	memset(sockets, 0xff, sizeof(*sockets)); /* every descriptor -1 */
	if (getrandom(&sockets->id, sizeof(sockets->id), 0) != sizeof(sockets->id))
		sockets->id = (u16)getpid();
	for (int i = 0; i < FL_PROBE_PORTS && code >= 0; i++)
		code = sockets->held[i] = hold_port(&sockets->ports[i]);
	for (int i = 0; i < FL_PROBE_RAW_COUNT && code >= 0; i++) {
		struct filter filter = { 0 };

		if (wanted[i].protocol == IPPROTO_TCP)
			make_tcp_filter(&filter, wanted[i].is_v6, sockets->ports);
		else
			make_icmp_filter(&filter, wanted[i].is_v6, sockets->id, sockets->ports);
		code = sockets->raw[i] = open_raw(wanted[i].is_v6, wanted[i].protocol, &filter);
		if (code == -EAFNOSUPPORT && wanted[i].is_v6)
			code = 0;
	}
	if (code >= 0 && (code = sockets->route = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		code = -errno;
	if (code >= 0)
		return 0;
	fl_probe_sockets_close(sockets);
	return fl_fail(code, "no raw sockets for checks: %s", strerror(-code));
}

void fl_probe_sockets_close(struct fl_probe_sockets *sockets)
{
	for (int i = 0; i < FL_PROBE_RAW_COUNT; i++)
		if (sockets->raw[i] >= 0)
			close(sockets->raw[i]);
	for (int i = 0; i < FL_PROBE_PORTS; i++)
		if (sockets->held[i] >= 0)
			close(sockets->held[i]);
	if (sockets->route >= 0)
		close(sockets->route);
}

int fl_probe_source(struct fl_probe_sockets *sockets, const u32 *target, u32 *source)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = *target };
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	socklen_t size = sizeof(to);

	/* Else it keeps the source of the last one. */
	connect(sockets->route, &nobody, sizeof(nobody));
	if (connect(sockets->route, (struct sockaddr *)&to, sizeof(to)) ||
	    getsockname(sockets->route, (struct sockaddr *)&to, &size))
		return -errno;
	*source = to.sin_addr.s_addr;
	return 0;
}

int fl_probe_send(int fd, u32 family, const u8 *target, const u32 *source, const u8 *octets, size_t size)
{
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct iovec vector = { .iov_base = (void *)octets, .iov_len = size };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	struct in_pktinfo info = { 0 };

	if (fd < 0)
		return -EAFNOSUPPORT;
	if (family == 4) {
		memcpy(&to4.sin_addr, target, 4);
		message.msg_name = &to4;
		message.msg_namelen = sizeof(to4);
	} else {
		memcpy(&to6.sin6_addr, target, 16);
		message.msg_name = &to6;
		message.msg_namelen = sizeof(to6);
	}
	if (source) {
		/* The checksum was made with it, so it must be it. */
		info.ipi_spec_dst.s_addr = *source;
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.room);
		control.header.cmsg_level = IPPROTO_IP;
		control.header.cmsg_type = IP_PKTINFO;
		control.header.cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(&control.header), &info, sizeof(info));
	}
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
