/*
 * Questions in slots, a thread that hears the answers; see probe.h.
 *
 * An echo's sequence number and a SYN's sequence number carry the slot in their low 14 bits, so an answer leads to its
 * question without a search; everything else must then match too. A slot is free again only when its answer was taken,
 * so there are never more answers than slots. Freed slots queue up behind all other free ones: a late answer to an old
 * question meets a slot that nobody uses, or one whose random bits differ.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe-sockets.h"
#include "probe-wire.h"

#define TICK_MS 10 /* how exact time-outs are */
#define BATCH 32
#define PACKET_ROOM 1280 /* an error quotes less */
#define SLOT_MASK (FL_PROBE_SLOTS - 1)

enum state { FREE, ASKED, DONE };

struct slot {
	u8 state;
	u8 kind;
	u8 family;
	u16 port, local_port;
	u32 id;
	u32 isn;
	u64 nonce;
	u64 asked, deadline; /* ns */
	struct fl_addr target;
	struct fl_probe_answer answer;
};

struct queue {
	u16 slot[FL_PROBE_SLOTS];
	u32 head, count;
};

struct fl_probe {
	pthread_mutex_t lock; /* over everything below */
	struct fl_probe_sockets sockets;
	struct slot slots[FL_PROBE_SLOTS];
	struct queue free, done;
	u32 open;	/* slots that are asked */
	u32 generation; /* of ids */
	u32 next_port;
	bool is_asleep; /* the thread waits without a time-out */
	bool is_ending;
	int nudge;
	pthread_t thread;
	void (*wake)(void *);
	void *context;
};

static void push(struct queue *queue, u32 slot)
{
	queue->slot[(queue->head + queue->count++) & SLOT_MASK] = (u16)slot;
}

static u32 pop(struct queue *queue)
{
	u32 slot = queue->slot[queue->head++ & SLOT_MASK];

	queue->count--;
	return slot;
}

static void finish(struct fl_probe *probe, struct slot *slot, u8 outcome, u64 now)
{
	slot->state = DONE;
	slot->answer.id = slot->id;
	slot->answer.outcome = outcome;
	slot->answer.microseconds = (u32)((now - slot->asked) / 1000);
	probe->open--;
	push(&probe->done, (u32)(slot - probe->slots));
}

/* The slot that an answer belongs to, or NULL. `sender` is whom it came from; an error comes from anybody. */
static struct slot *find(struct fl_probe *probe, const struct fl_wire_heard *heard, u32 family,
			 const struct fl_addr *sender)
{
	bool is_echo = heard->what == FL_WIRE_ECHO_REPLY || heard->what == FL_WIRE_ECHO_ERROR;
	bool is_error = heard->what == FL_WIRE_ECHO_ERROR || heard->what == FL_WIRE_TCP_ERROR;
	struct slot *slot = &probe->slots[(is_echo ? heard->sequence : heard->isn) & SLOT_MASK];

	if (slot->state != ASKED || slot->family != family ||
	    slot->kind != (is_echo ? FL_PROBE_ECHO : FL_PROBE_HALF_OPEN) ||
	    !fl_addr_same(&slot->target, is_error ? &heard->to : sender))
		return NULL;
	if (is_echo) {
		if (heard->id != probe->sockets.id || (!is_error && heard->nonce != slot->nonce))
			return NULL;
		return slot;
	}
	if (heard->isn != slot->isn || heard->remote_port != slot->port || heard->local_port != slot->local_port)
		return NULL;
	return slot;
}

/* The host's stack resets it as well, unless its firewall forbids; the server must not wait for that. */
static void send_reset(struct fl_probe *probe, const struct slot *slot)
{
	struct fl_wire_tcp tcp = { slot->local_port, slot->port, slot->isn + 1, FL_WIRE_FLAG_RST };
	u8 octets[FL_WIRE_TCP_SIZE];
	u32 source;

	if (slot->family == 6) {
		fl_probe_send(probe->sockets.raw[FL_PROBE_TCP6], 6, (const u8 *)slot->target.word, NULL, octets,
			      fl_wire_tcp(octets, &tcp, NULL, NULL));
		return;
	}
	if (fl_probe_source(&probe->sockets, slot->target.word, &source))
		return;
	fl_probe_send(probe->sockets.raw[FL_PROBE_TCP4], 4, (const u8 *)slot->target.word, &source, octets,
		      fl_wire_tcp(octets, &tcp, &source, slot->target.word));
}

static void settle(struct fl_probe *probe, const struct fl_wire_heard *heard, u32 family, const struct fl_addr *sender)
{
	struct slot *slot = find(probe, heard, family, sender);
	u64 now = fl_now();

	if (!slot)
		return;
	switch (heard->what) {
	case FL_WIRE_SYN_ACK:
		send_reset(probe, slot);
		finish(probe, slot, FL_PROBE_ANSWERED, now);
		return;
	case FL_WIRE_RST:
		finish(probe, slot, FL_PROBE_REFUSED, now);
		return;
	case FL_WIRE_ECHO_REPLY:
		finish(probe, slot, FL_PROBE_ANSWERED, now);
		return;
	default:
		slot->answer.icmp_type = heard->icmp_type;
		slot->answer.icmp_code = heard->icmp_code;
		slot->answer.mtu = heard->mtu;
		slot->answer.family = (u8)family;
		memcpy(slot->answer.from, sender->word, 16);
		finish(probe, slot, FL_PROBE_UNREACHABLE, now);
	}
}

static void hear(struct fl_probe *probe, int which)
{
	static _Thread_local u8 rooms[BATCH][PACKET_ROOM];
	struct sockaddr_in6 senders[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	bool is_v6 = which == FL_PROBE_ICMP6 || which == FL_PROBE_TCP6;
	int count;

	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ rooms[i], PACKET_ROOM };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &senders[i],
						       .msg_namelen = sizeof(senders[i]),
						       .msg_iov = &vectors[i],
						       .msg_iovlen = 1 };
	}
	count = recvmmsg(probe->sockets.raw[which], messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		struct fl_addr sender = { 0 };
		struct fl_wire_heard heard;
		size_t size = messages[i].msg_len;

		if (is_v6) {
			memcpy(sender.word, &senders[i].sin6_addr, 16);
			heard = which == FL_PROBE_ICMP6 ? fl_wire_read_icmp6(rooms[i], size)
							: fl_wire_read_tcp(rooms[i], size);
		} else {
			memcpy(sender.word, &((struct sockaddr_in *)&senders[i])->sin_addr, 4);
			heard = fl_wire_read4(rooms[i], size);
		}
		if (heard.what != FL_WIRE_NOTHING)
			settle(probe, &heard, is_v6 ? 6 : 4, &sender);
	}
}

static void expire(struct fl_probe *probe)
{
	u64 now = fl_now();

	if (!probe->open)
		return;
	for (u32 i = 0; i < FL_PROBE_SLOTS; i++)
		if (probe->slots[i].state == ASKED && now >= probe->slots[i].deadline)
			finish(probe, &probe->slots[i], FL_PROBE_SILENT, now);
}

static void *run(void *data)
{
	struct fl_probe *probe = data;
	struct pollfd waits[FL_PROBE_RAW_COUNT + 1];
	u64 last_look = 0;

	for (int i = 0; i < FL_PROBE_RAW_COUNT; i++)
		waits[i] = (struct pollfd){ .fd = probe->sockets.raw[i], .events = POLLIN };
	waits[FL_PROBE_RAW_COUNT] = (struct pollfd){ .fd = probe->nudge, .events = POLLIN };
	for (;;) {
		bool has_answers;
		u64 count;

		pthread_mutex_lock(&probe->lock);
		probe->is_asleep = !probe->open;
		pthread_mutex_unlock(&probe->lock);
		if (poll(waits, FL_PROBE_RAW_COUNT + 1, probe->is_asleep ? -1 : TICK_MS) < 0 && errno != EINTR)
			return NULL;
		if (waits[FL_PROBE_RAW_COUNT].revents && read(probe->nudge, &count, sizeof(count)) < 0)
			count = 0;
		pthread_mutex_lock(&probe->lock);
		if (probe->is_ending) {
			pthread_mutex_unlock(&probe->lock);
			return NULL;
		}
		/* What has come counts, even when its time is up by the time this thread looks. */
		for (int i = 0; i < FL_PROBE_RAW_COUNT; i++)
			if (waits[i].revents)
				hear(probe, i);
		if (fl_now() - last_look >= TICK_MS * 1000000ull) {
			bool is_more = false;

			for (int i = 0; i < FL_PROBE_RAW_COUNT; i++)
				is_more |= (waits[i].revents & POLLIN) != 0;
			/* While answers pour in, they go first; they cannot for ever, for questions are bounded. */
			if (!is_more || fl_now() - last_look >= 10 * TICK_MS * 1000000ull) {
				expire(probe);
				last_look = fl_now();
			}
		}
		has_answers = probe->done.count > 0;
		pthread_mutex_unlock(&probe->lock);
		if (has_answers)
			probe->wake(probe->context);
	}
}

int fl_probe_start(struct fl_probe **started, void (*wake)(void *), void *context)
{
	struct fl_probe *probe = calloc(1, sizeof(*probe));
	int code;

	if (!probe)
		return fl_fail(-ENOMEM, "no memory for probes");
	code = fl_probe_sockets_open(&probe->sockets);
	if (code) {
		free(probe);
		return code;
	}
	probe->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	probe->wake = wake;
	probe->context = context;
	for (u32 i = 0; i < FL_PROBE_SLOTS; i++)
		push(&probe->free, i);
	pthread_mutex_init(&probe->lock, NULL);
	code = -pthread_create(&probe->thread, NULL, run, probe);
	if (code) {
		fl_probe_sockets_close(&probe->sockets);
		close(probe->nudge);
		free(probe);
		return fl_fail(code, "no thread for probes: %s", strerror(-code));
	}
	pthread_setname_np(probe->thread, "fl-probe");
	*started = probe;
	return 0;
}

static void nudge(struct fl_probe *probe)
{
	u64 one = 1;

	if (write(probe->nudge, &one, sizeof(one)) < 0)
		return; /* it is full, so the thread is on its way */
}

void fl_probe_stop(struct fl_probe *probe)
{
	pthread_mutex_lock(&probe->lock);
	probe->is_ending = true;
	pthread_mutex_unlock(&probe->lock);
	nudge(probe);
	pthread_join(probe->thread, NULL);
	fl_probe_sockets_close(&probe->sockets);
	close(probe->nudge);
	pthread_mutex_destroy(&probe->lock);
	free(probe);
}

static int send_echo(struct fl_probe *probe, const struct slot *slot, u32 index)
{
	bool is_v6 = slot->family == 6;
	u8 octets[FL_WIRE_ECHO_SIZE];

	fl_wire_echo(octets, is_v6, probe->sockets.id, (u16)index, slot->nonce);
	return fl_probe_send(probe->sockets.raw[is_v6 ? FL_PROBE_ICMP6 : FL_PROBE_ICMP4], slot->family,
			     (const u8 *)slot->target.word, NULL, octets, sizeof(octets));
}

static int send_syn(struct fl_probe *probe, const struct slot *slot)
{
	struct fl_wire_tcp tcp = { slot->local_port, slot->port, slot->isn, FL_WIRE_SYN };
	u8 octets[FL_WIRE_TCP_SIZE];
	u32 source;
	int code;

	if (slot->family == 6)
		return fl_probe_send(probe->sockets.raw[FL_PROBE_TCP6], 6, (const u8 *)slot->target.word, NULL, octets,
				     fl_wire_tcp(octets, &tcp, NULL, NULL));
	code = fl_probe_source(&probe->sockets, slot->target.word, &source);
	if (code)
		return code;
	return fl_probe_send(probe->sockets.raw[FL_PROBE_TCP4], 4, (const u8 *)slot->target.word, &source, octets,
			     fl_wire_tcp(octets, &tcp, &source, slot->target.word));
}

long long fl_probe_ask(struct fl_probe *probe, u32 kind, u32 family, const u8 *address, u16 port, u32 timeout_ms)
{
	struct slot *slot;
	u64 random = 0;
	u32 index;
	long long id;
	int code;

	pthread_mutex_lock(&probe->lock);
	if (!probe->free.count) {
		pthread_mutex_unlock(&probe->lock);
		return fl_fail(-EAGAIN, "%d probes are under way already", FL_PROBE_SLOTS);
	}
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = fl_now() * 0x9e3779b97f4a7c15ull;
	index = pop(&probe->free);
	slot = &probe->slots[index];
	/* 17 bits of generation over 14 of slot stay below 2^31, and above 0. */
	probe->generation = probe->generation % 0x1ffff + 1;
	*slot = (struct slot){ .kind = (u8)kind,
			       .family = (u8)family,
			       .port = port,
			       .local_port = probe->sockets.ports[probe->next_port++ % FL_PROBE_PORTS],
			       .id = probe->generation << 14 | index,
			       .isn = (u32)random << 14 | index,
			       .nonce = random,
			       .asked = fl_now() };
	slot->deadline = slot->asked + timeout_ms * 1000000ull;
	memcpy(slot->target.word, address, family == 6 ? 16 : 4);
	code = kind == FL_PROBE_ECHO ? send_echo(probe, slot, index) : send_syn(probe, slot);
	if (code) {
		push(&probe->free, index);
		pthread_mutex_unlock(&probe->lock);
		return fl_fail(code, "%s", strerror(-code));
	}
	slot->state = ASKED;
	id = slot->id;
	if (!probe->open++ && probe->is_asleep)
		nudge(probe);
	pthread_mutex_unlock(&probe->lock);
	return id;
}

size_t fl_probe_take(struct fl_probe *probe, struct fl_probe_answer *answers, size_t room)
{
	size_t taken = 0;

	pthread_mutex_lock(&probe->lock);
	while (taken < room && probe->done.count) {
		u32 index = pop(&probe->done);

		answers[taken++] = probe->slots[index].answer;
		probe->slots[index].state = FREE;
		push(&probe->free, index);
	}
	pthread_mutex_unlock(&probe->lock);
	return taken;
}
