/*
 * rtnetlink: one dump for the control plane's views of links, addresses, routes and neighbours, and the questions that
 * the neighbour thread asks.
 *
 * A dump is a list of datagrams, each a list of messages, ended by NLMSG_DONE. It is not a snapshot: when the tables
 * change under it the kernel marks its messages with NLM_F_DUMP_INTR, and what was read may miss or repeat entries.
 * Then it is thrown away and asked for again, a bounded number of times: a router that takes in a full table changes
 * faster than anyone reads, and then the last reading is the best there is.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "netlink.h"

#define DUMP_ATTEMPTS 5
#define ANSWER_SECONDS 2		 /* the kernel answers before sendto returns; this only bounds a bug */
#define RECEIVE_OCTETS (2 * 1024 * 1024) /* some 400 notifications at once, as the kernel accounts for them */

int fl_netlink_open(const u32 *groups)
{
	const struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	const struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	const int octets = RECEIVE_OCTETS;
	const int on = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return fl_fail(-errno, "no netlink socket: %s", strerror(errno));
	if (bind(fd, (const struct sockaddr *)&local, sizeof(local)) < 0)
		goto failed;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		goto failed;
	/* Without CAP_NET_ADMIN the limit of net.core.rmem_max holds: slower, not wrong. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof(octets)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof(octets));
	/* Strict: the kernel reads the family header as we mean it. Errors come without our request quoted. */
	setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	for (; groups && *groups; groups++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups, sizeof(*groups)) < 0)
			goto failed;
	return fd;

failed:
	int code = -errno;

	close(fd);
	return fl_fail(code, "the netlink socket could not be set up: %s", strerror(-code));
}

void fl_request_start(struct fl_request *request, u16 type, u16 flags, size_t body)
{
	memset(request, 0, sizeof(*request));
	request->header.nlmsg_len = NLMSG_SPACE(body);
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = NLM_F_REQUEST | flags;
}

void fl_request_add(struct fl_request *request, u16 type, const void *data, size_t size)
{
	size_t at = NLMSG_ALIGN(request->header.nlmsg_len);
	struct nlattr *attribute = (void *)((char *)request + at);

	if (at + NLA_HDRLEN + NLA_ALIGN(size) > sizeof(*request))
		abort(); /* requests are ours and of a known size */
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	memcpy((char *)attribute + NLA_HDRLEN, data, size);
	request->header.nlmsg_len = at + NLA_HDRLEN + NLA_ALIGN(size);
}

static int request_send(int fd, struct fl_request *request)
{
	static u32 sequence;

	request->header.nlmsg_seq = __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED);
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		return -errno;
	return 0;
}

/* One datagram from the kernel itself; anything else that found our port is dropped. */
static ssize_t datagram_receive(int fd, void *buffer, size_t room)
{
	for (;;) {
		struct sockaddr_nl from = { 0 };
		struct iovec vector = { .iov_base = buffer, .iov_len = room };
		struct msghdr message = {
			.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &vector,
			.msg_iovlen = 1,
		};
		ssize_t size = recvmsg(fd, &message, 0);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (message.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		if (from.nl_pid == 0)
			return size;
	}
}

static int error_of(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = fl_message_body(message, sizeof(error->error));

	return error ? error->error : -EBADMSG;
}

ssize_t fl_netlink_ask(int fd, struct fl_request *request, void *answer, size_t room)
{
	int code = request_send(fd, request);

	if (code < 0)
		return code;
	for (;;) {
		const struct nlmsghdr *message = answer;
		ssize_t size = datagram_receive(fd, answer, room);

		if (size < 0)
			return size;
		if (!NLMSG_OK(message, (size_t)size) || message->nlmsg_seq != request->header.nlmsg_seq)
			continue;
		return message->nlmsg_type == NLMSG_ERROR ? error_of(message) : size;
	}
}

struct messages {
	unsigned char *data;
	size_t size;
	size_t room;
	bool was_interrupted;
};

static int messages_add(struct messages *messages, const struct nlmsghdr *message)
{
	size_t size = NLMSG_ALIGN(message->nlmsg_len);

	if (messages->size + size > messages->room) {
		size_t room = messages->room * 2 + size + FL_ANSWER_ROOM;
		unsigned char *data = realloc(messages->data, room);

		if (!data)
			return -ENOMEM;
		messages->data = data;
		messages->room = room;
	}
	memset(messages->data + messages->size, 0, size);
	memcpy(messages->data + messages->size, message, message->nlmsg_len);
	messages->size += size;
	return 0;
}

/* Takes the messages of one datagram over. Returns 1 at the dump's end, 0 when more is to come. */
static int datagram_take(struct messages *messages, const void *datagram, size_t size, u32 sequence)
{
	const struct nlmsghdr *message = datagram;
	int code;

	for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
		if (message->nlmsg_seq != sequence)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			messages->was_interrupted = true;
		switch (message->nlmsg_type) {
		case NLMSG_DONE:
		case NLMSG_ERROR: /* DONE carries the dump's own error in the same place, if it is long enough */
			code = message->nlmsg_len > NLMSG_HDRLEN ? error_of(message) : 0;
			return code < 0 ? code : 1;
		case NLMSG_NOOP:
			break;
		default:
			code = messages_add(messages, message);
			if (code < 0)
				return code;
		}
	}
	return 0;
}

static int dump_once(int fd, struct fl_request *request, void *buffer, struct messages *messages)
{
	int code = request_send(fd, request);

	messages->size = 0;
	messages->was_interrupted = false;
	while (code == 0) {
		ssize_t size = datagram_receive(fd, buffer, FL_ANSWER_ROOM);

		if (size < 0)
			return size;
		code = datagram_take(messages, buffer, size, request->header.nlmsg_seq);
	}
	return code < 0 ? code : 0;
}

static int request_of_dump(struct fl_request *request, u16 type, u8 family)
{
	const u32 without_counters = RTEXT_FILTER_SKIP_STATS;
	size_t body;

	switch (type) {
	case RTM_GETLINK:
		body = sizeof(struct ifinfomsg);
		break;
	case RTM_GETADDR:
		body = sizeof(struct ifaddrmsg);
		break;
	case RTM_GETROUTE:
		body = sizeof(struct rtmsg);
		break;
	case RTM_GETNEIGH:
		body = sizeof(struct ndmsg);
		break;
	default:
		return -EINVAL;
	}
	fl_request_start(request, type, NLM_F_DUMP, body);
	request->any.rtgen_family = family;
	if (type == RTM_GETLINK)
		fl_request_add(request, IFLA_EXT_MASK, &without_counters, sizeof(without_counters));
	return 0;
}

int fl_netlink_collect(struct fl_request *request, unsigned char **messages, size_t *size)
{
	u16 type = request->header.nlmsg_type;
	struct messages read = { 0 };
	void *buffer;
	int fd, code;

	fd = fl_netlink_open(NULL);
	if (fd < 0)
		return fd;
	buffer = malloc(FL_ANSWER_ROOM);
	code = buffer ? 0 : -ENOMEM;
	for (int attempt = 0; code == 0 && attempt < DUMP_ATTEMPTS; attempt++) {
		code = dump_once(fd, request, buffer, &read);
		if (!read.was_interrupted)
			break;
	}
	free(buffer);
	close(fd);
	if (code < 0) {
		free(read.data);
		return fl_fail(code, "the kernel refused a netlink dump of type %u: %s", type, strerror(-code));
	}
	*messages = read.data;
	*size = read.size;
	return 0;
}

int fl_netlink_dump(u16 type, u8 family, unsigned char **messages, size_t *size)
{
	struct fl_request request;

	if (request_of_dump(&request, type, family) < 0)
		return fl_fail(-EINVAL, "netlink has no dump of type %u here", type);
	return fl_netlink_collect(&request, messages, size);
}
