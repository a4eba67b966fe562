/* Pins, their sockets, and the thread that decides what they send; see path.h. */
#define _GNU_SOURCE /* thread names */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/forward.h"
#include "leave.h"
#include "path.h"
#include "runner.h"
#include "slot.h"

#define ROOM 70000		/* the largest packet there is, and what a tunnel and an answer add */
#define BATCH 64		/* packets before another thread gets the lock for sure */
#define HELD_MS 20		/* how often it is looked whether a next hop is known */
#define LINGER_NS 1000000000ull /* an ended pin still sends what is on its way */
#define PROTOCOL_OF(protocol) ((protocol) == FL_PROTOCOL_UDP)

struct pin {
	bool is_open;
	bool is_v6;
	bool is_half_open;
	u8 protocol;
	u8 reason; /* of its last packet */
	u16 source_port, port;
	struct fl_addr source, vip;
	u32 server_slot, server_generation;
	u32 next;  /* with the same protocol and source port: index + 1 */
	u64 ended; /* ns */
	u8 *held;  /* a packet that waits for its next hop */
	u32 held_size;
};

struct queue {
	u32 pin[FL_PATH_PINS];
	u32 head, count;
};

struct fl_path {
	pthread_mutex_t lock; /* over all of it but `room` and `scratch`, which are the thread's */
	struct fl_region *region;
	struct fl_worker counters;
	struct pin pins[FL_PATH_PINS];
	u32 by_port[2][65536]; /* index + 1 */
	struct queue free, ended;
	u32 held;
	u32 mark;
	int tun_fd, socket_fd, stop_fd;
	pthread_t thread;
	bool is_started;
	u8 *room;
};

static void push(struct queue *queue, u32 pin)
{
	queue->pin[(queue->head + queue->count++) % FL_PATH_PINS] = pin;
}

static u32 pop(struct queue *queue)
{
	u32 pin = queue->pin[queue->head];

	queue->head = (queue->head + 1) % FL_PATH_PINS;
	queue->count--;
	return pin;
}

static u32 *chain_of(struct fl_path *path, u8 protocol, u16 port)
{
	return &path->by_port[PROTOCOL_OF(protocol)][port];
}

static void drop_held(struct fl_path *path, struct pin *pin)
{
	if (!pin->held)
		return;
	free(pin->held);
	pin->held = NULL;
	path->held--;
}

/* Takes it out of its chain. */
static void release(struct fl_path *path, u32 index)
{
	struct pin *pin = &path->pins[index];
	u32 *link = chain_of(path, pin->protocol, pin->source_port);

	while (*link && *link != index + 1)
		link = &path->pins[*link - 1].next;
	if (*link)
		*link = pin->next;
	drop_held(path, pin);
	push(&path->free, index);
}

static void release_ended(struct fl_path *path)
{
	u64 now = fl_now();

	while (path->ended.count && now - path->pins[path->ended.pin[path->ended.head]].ended >= LINGER_NS)
		release(path, pop(&path->ended));
}

/* The latest pin with these ends: a port that is used again has an older one for a moment. */
static struct pin *find(struct fl_path *path, const struct fl_look *look)
{
	u32 next = *chain_of(path, look->protocol, look->source_port);

	for (; next; next = path->pins[next - 1].next) {
		struct pin *pin = &path->pins[next - 1];

		if (pin->port == look->target_port && pin->is_v6 == look->is_v6 &&
		    fl_addr_same(&pin->source, &look->source) && fl_addr_same(&pin->vip, &look->target))
			return pin;
	}
	return NULL;
}

static void hold(struct fl_path *path, struct pin *pin, const u8 *packet, u32 size)
{
	u8 *copy = pin->is_open ? malloc(size) : NULL;

	if (!copy)
		return;
	drop_held(path, pin);
	memcpy(copy, packet, size);
	pin->held = copy;
	pin->held_size = size;
	path->held++;
}

/* What would complete the handshake, or come after it, becomes a RST with the same sequence number (RFC 9293 §3.10.7.4). */
static void refuse_handshake(const struct fl_frame *frame)
{
	struct fl_look *look = frame->look;
	u8 *tcp = fl_bytes(frame, look->l4, 20);
	u16 old, new;

	if (!tcp || look->tcp_flags & (FL_TCP_SYN | FL_TCP_RST))
		return;
	old = fl_get16(tcp + 12);
	tcp[13] = FL_TCP_RST | FL_TCP_ACK;
	new = fl_get16(tcp + 12);
	fl_put16(tcp + 16, fl_checksum_full(fl_get16(tcp + 16), fl_change16(old, new)));
	look->tcp_flags = tcp[13];
}

/* One packet of this host's, at the place for it in the room. */
static void forward(struct fl_path *path, u32 size)
{
	struct fl_scratch scratch;
	struct fl_view view = { .scratch = &scratch };
	struct fl_result result = { 0 };
	u8 *packet = path->room + FL_HEAD_MOST + FL_ETHER_HEADER;
	struct fl_frame frame = {
		.data = path->room + FL_HEAD_MOST,
		.len = FL_ETHER_HEADER + size,
		.room = ROOM - FL_HEAD_MOST,
		.head = FL_HEAD_MOST,
		.look = &scratch.look,
	};
	struct pin *pin;

	if (!path->region || !size || !fl_view_open(&view, path->region, 0, fl_now()))
		return;
	/* What it does is counted here, and is no client's traffic. */
	view.worker = &path->counters;
	view.worker_index = view.header->worker_count;
	memset(frame.data, 0, FL_ETHER_HEADER);
	fl_put16(frame.data + 12, packet[0] >> 4 == 6 ? FL_BE16(FL_ETHERTYPE_IPV6) : FL_BE16(FL_ETHERTYPE_IPV4));
	fl_look(&view, &frame);
	if (scratch.look.malformed || !fl_is_balanced(&frame) || !(pin = find(path, &scratch.look)))
		return;
	if (!fl_server_owns(&view, pin->server_slot, pin->server_generation)) {
		pin->reason = FL_REASON_NO_SERVER;
		return;
	}
	if (pin->is_half_open)
		refuse_handshake(&frame);
	fl_forward_to(&view, &frame, pin->server_slot, &result);
	pin->reason = result.reason;
	if (result.verdict == FL_FORWARD)
		fl_leave(path->socket_fd, &frame, result.out_ifindex, &path->counters);
	else if (result.verdict == FL_ANSWER &&
		 write(path->tun_fd, frame.data + FL_ETHER_HEADER, frame.len - FL_ETHER_HEADER) < 0)
		path->counters.send_errors++;
	else if (result.reason == FL_REASON_NO_NEIGHBOUR)
		hold(path, pin, packet, size);
}

/* What waits tries again. */
static void try_held(struct fl_path *path)
{
	for (u32 i = 0; i < FL_PATH_PINS && path->held; i++) {
		struct pin *pin = &path->pins[i];
		u32 size = pin->held_size;

		if (!pin->held)
			continue;
		memcpy(path->room + FL_HEAD_MOST + FL_ETHER_HEADER, pin->held, size);
		drop_held(path, pin);
		forward(path, size);
	}
}

static void *run(void *argument)
{
	struct fl_path *path = argument;
	struct pollfd waits[2] = { { .fd = path->tun_fd, .events = POLLIN },
				   { .fd = path->stop_fd, .events = POLLIN } };
	u8 *packet = path->room + FL_HEAD_MOST + FL_ETHER_HEADER;

	for (;;) {
		bool is_held;

		pthread_mutex_lock(&path->lock);
		is_held = path->held > 0;
		pthread_mutex_unlock(&path->lock);
		if (poll(waits, 2, is_held ? HELD_MS : -1) < 0 && errno != EINTR)
			return NULL;
		if (waits[1].revents)
			return NULL;
		if (is_held) {
			pthread_mutex_lock(&path->lock);
			try_held(path);
			pthread_mutex_unlock(&path->lock);
		}
		for (int i = 0; i < BATCH; i++) {
			ssize_t size = read(path->tun_fd, packet, ROOM - 2 * FL_HEAD_MOST - FL_QUOTE_MAX);

			if (size <= 0)
				break;
			pthread_mutex_lock(&path->lock);
			forward(path, (u32)size);
			pthread_mutex_unlock(&path->lock);
		}
	}
}

int fl_path_open(struct fl_path **opened, const char *device, u32 mark)
{
	struct fl_path *path = calloc(1, sizeof(*path));
	int code;

	if (!path)
		return fl_fail(-ENOMEM, "no memory for checks through the path");
	path->mark = mark;
	path->tun_fd = path->socket_fd = path->stop_fd = -1;
	pthread_mutex_init(&path->lock, NULL);
	for (u32 i = 0; i < FL_PATH_PINS; i++)
		push(&path->free, i);
	path->room = calloc(1, ROOM);
	code = path->room ? 0 : fl_fail(-ENOMEM, "no memory for checks through the path");
	if (!code && (path->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		code = fl_fail(-errno, "cannot make an eventfd: %s", strerror(errno));
	if (!code)
		code = path->socket_fd = fl_leave_open();
	if (code >= 0)
		code = path->tun_fd = fl_path_device(device);
	if (code >= 0)
		code = fl_path_route(device, mark);
	if (!code)
		code = fl_thread_start(&path->thread, run, path, "fl-path");
	path->is_started = !code;
	if (code) {
		fl_path_close(path);
		return code;
	}
	*opened = path;
	return 0;
}

void fl_path_close(struct fl_path *path)
{
	if (path->is_started) {
		fl_wake(path->stop_fd);
		pthread_join(path->thread, NULL);
	}
	if (path->tun_fd >= 0) {
		fl_path_unroute(path->mark);
		close(path->tun_fd);
	}
	if (path->socket_fd >= 0)
		close(path->socket_fd);
	if (path->stop_fd >= 0)
		close(path->stop_fd);
	for (u32 i = 0; i < FL_PATH_PINS; i++)
		free(path->pins[i].held);
	pthread_mutex_destroy(&path->lock);
	free(path->room);
	free(path);
}

void fl_path_hold(struct fl_path *path)
{
	pthread_mutex_lock(&path->lock);
}

void fl_path_let(struct fl_path *path)
{
	pthread_mutex_unlock(&path->lock);
}

void fl_path_use(struct fl_path *path, struct fl_region *region)
{
	fl_path_hold(path);
	path->region = region;
	fl_path_let(path);
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t fill(union address *address, const struct fl_addr *addr, bool is_v6, u16 port)
{
	memset(address, 0, sizeof(*address));
	if (is_v6) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = port;
		memcpy(&address->v6.sin6_addr, addr->word, 16);
		return sizeof(address->v6);
	}
	address->v4.sin_family = AF_INET;
	address->v4.sin_port = port;
	memcpy(&address->v4.sin_addr, addr->word, 4);
	return sizeof(address->v4);
}

/* The address that this host has towards the server; where that is of the other family, towards the VIP. */
static int find_source(const struct fl_path_question *question, union address *source)
{
	const struct fl_addr *to = question->is_server_v6 == question->is_v6 ? &question->server : &question->vip;
	int fd = socket(question->is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), code = 0;
	socklen_t size = fill(source, to, question->is_v6, FL_BE16(9));

	if (fd < 0)
		return -errno;
	if (connect(fd, &source->any, size) || getsockname(fd, &source->any, &size))
		code = -errno;
	close(fd);
	if (question->is_v6)
		source->v6.sin6_port = 0;
	else
		source->v4.sin_port = 0;
	return code;
}

/* What the link to the server carries: so large may segments to this host be. 0: not known yet. */
static u32 mtu_towards(struct fl_path *path, u32 server_slot)
{
	struct fl_scratch scratch;
	struct fl_view view = { .scratch = &scratch };
	const struct fl_interface *out;
	const u64 *hop;

	if (!path->region || !fl_view_open(&view, path->region, 0, fl_now()))
		return 0;
	hop = fl_hops_at(path->region, server_slot);
	out = hop && fl_hop_is_known(fl_load(hop)) ? fl_interface_of(&view, (u32)(fl_load(hop) >> 48) & 0xff) : NULL;
	return out ? out->mtu : 0;
}

/* A datagram goes in one piece each time, whatever the kernel remembers of the way: so each check meets what does not fit. */
static int send_whole(const struct fl_path_question *question, int fd)
{
	static const int probe4 = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE;
	int code = question->is_v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6))
				   : setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe4, sizeof(probe4));

	return code ? -errno : 0;
}

static int prepare(struct fl_path *path, const struct fl_path_question *question, int fd, u32 mtu)
{
	static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int segment = (int)mtu - (question->is_v6 ? FL_IPV6_HEADER : 20) - 20;

	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &path->mark, sizeof(path->mark)))
		return -errno;
	if (question->protocol != FL_PROTOCOL_TCP)
		return send_whole(question, fd);
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)))
		return -errno;
	return mtu && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) ? -errno : 0;
}

static u32 enter(struct fl_path *path, const struct fl_path_question *question, const union address *source)
{
	u32 index = pop(&path->free), *chain;
	struct pin *pin = &path->pins[index];

	*pin = (struct pin){
		.is_open = true,
		.is_v6 = question->is_v6,
		.is_half_open = question->is_half_open && question->protocol == FL_PROTOCOL_TCP,
		.protocol = question->protocol,
		.source_port = question->is_v6 ? source->v6.sin6_port : source->v4.sin_port,
		.port = question->port,
		.vip = question->vip,
		.server_slot = question->server_slot,
		.server_generation = question->server_generation,
	};
	memcpy(pin->source.word, question->is_v6 ? (const void *)&source->v6.sin6_addr : &source->v4.sin_addr,
	       question->is_v6 ? 16 : 4);
	chain = chain_of(path, pin->protocol, pin->source_port);
	pin->next = *chain;
	*chain = index + 1;
	return index;
}

int fl_path_socket(struct fl_path *path, const struct fl_path_question *question, u32 *pin)
{
	int type = question->protocol == FL_PROTOCOL_TCP ? SOCK_STREAM : SOCK_DGRAM, code, fd;
	union address source;
	socklen_t size;
	u32 mtu;

	fl_path_hold(path);
	release_ended(path);
	mtu = mtu_towards(path, question->server_slot);
	code = path->free.count ? 0 : -EAGAIN;
	fl_path_let(path);
	if (code)
		return fl_fail(code, "%d checks through the path are under way already", FL_PATH_PINS);
	code = find_source(question, &source);
	if (code)
		return fl_fail(code, "this host has no address towards the server: %s", strerror(-code));
	fd = socket(question->is_v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fl_fail(-errno, "no socket: %s", strerror(errno));
	code = prepare(path, question, fd, mtu);
	size = question->is_v6 ? sizeof(source.v6) : sizeof(source.v4);
	if (!code && (bind(fd, &source.any, size) || getsockname(fd, &source.any, &size)))
		code = -errno;
	if (code) {
		close(fd);
		return fl_fail(code, "no socket for a check through the path: %s", strerror(-code));
	}
	fl_path_hold(path);
	*pin = enter(path, question, &source);
	fl_path_let(path);
	return fd;
}

u32 fl_path_end(struct fl_path *path, u32 index)
{
	u32 reason = FL_REASON_NONE;

	fl_path_hold(path);
	if (index < FL_PATH_PINS && path->pins[index].is_open) {
		struct pin *pin = &path->pins[index];

		reason = pin->reason;
		pin->is_open = false;
		pin->ended = fl_now();
		drop_held(path, pin);
		push(&path->ended, index);
	}
	release_ended(path);
	fl_path_let(path);
	return reason;
}
