/*
 * Rings in go from one process to the next over a Unix socket (SCM_RIGHTS), so that a takeover loses no frame.
 *
 * Theory of operation. A packet socket is the kernel's, and so is its ring: with its filter, its place in the fan-out group
 * and what it has received it lives as long as anybody has it open. The predecessor ends its workers, which leaves each
 * ring at a slot between two batches, and sends socket and slot before it closes its own. The kernel goes on filling the
 * ring meanwhile. The successor maps it, replaces filter and steering by its own, and reads on from that slot: no frame is
 * lost that the ring has room for, none is read twice. Rings out are empty by then and are made anew.
 *
 * Notes of another version, or for other interfaces or another number of workers, are dropped with their sockets, and rings
 * are made anew: then what comes in meanwhile is lost, and senders repeat it.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "inherit.h"

#define NOTE_MAGIC 0x666c7269u

struct note {
	u32 magic;
	u32 slot; /* octets; so much must be the same in both versions */
	u32 head_room;
	u32 ifindex;
	u32 worker;
	u32 workers;
	u32 slots;
	u32 head;
};

/* A note and a socket, as sendmsg and recvmsg want them. */
struct letter {
	struct note note;
	struct iovec piece;
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message;
};

static void letter_make(struct letter *letter)
{
	*letter = (struct letter){ .piece = { &letter->note, sizeof(letter->note) } };
	letter->message = (struct msghdr){
		.msg_iov = &letter->piece,
		.msg_iovlen = 1,
		.msg_control = letter->control.octets,
		.msg_controllen = sizeof(letter->control.octets),
	};
}

static int name_it(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return fl_fail(-ENAMETOOLONG, "%s: the path is too long for a socket", path);
	strcpy(address->sun_path, path);
	return 0;
}

int fl_bequeath_open(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;

	if (fd < 0 || name_it(&address, path) || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

void fl_bequeath(int fd, const struct fl_port *port, u32 worker, u32 workers)
{
	struct cmsghdr *rights;
	struct letter letter;

	letter_make(&letter);
	letter.note = (struct note){
		.magic = NOTE_MAGIC,
		.slot = FL_SLOT,
		.head_room = FL_HEAD_MOST,
		.ifindex = port->ifindex,
		.worker = worker,
		.workers = workers,
		.slots = port->in.slots,
		.head = port->in.head,
	};
	rights = CMSG_FIRSTHDR(&letter.message);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &port->rx_fd, sizeof(int));
	if (sendmsg(fd, &letter.message, MSG_NOSIGNAL) < 0)
		return; /* the successor makes its own */
}

int fl_inherit_listen(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;
	struct sockaddr_un address;

	if (fd < 0)
		return fl_fail(-errno, "cannot make a socket: %s", strerror(errno));
	unlink(path);
	code = name_it(&address, path);
	if (!code && (bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(path, 0600) || listen(fd, 1)))
		code = fl_fail(-errno, "cannot listen on %s: %s", path, strerror(errno));
	if (code) {
		close(fd);
		return code;
	}
	return fd;
}

/* Who sends sockets decides which frames this process reads: only another process of this user may. */
static bool is_ours(int fd)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 && credentials.uid == geteuid();
}

/* False: there is no more. A socket that is none of ours is closed. */
static bool take_one(struct fl_inheritance *inheritance, int fd)
{
	struct cmsghdr *rights;
	struct letter letter;
	const struct note *note = &letter.note;
	ssize_t octets;
	int given = -1;

	letter_make(&letter);
	octets = recvmsg(fd, &letter.message, MSG_CMSG_CLOEXEC);
	if (octets <= 0)
		return false;
	rights = CMSG_FIRSTHDR(&letter.message);
	if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
	    rights->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&given, CMSG_DATA(rights), sizeof(int));
	if (given < 0)
		return true;
	if (octets == sizeof(*note) && note->magic == NOTE_MAGIC && note->slot == FL_SLOT &&
	    note->head_room == FL_HEAD_MOST && note->head < note->slots && inheritance->count < FL_INHERIT_MOST)
		inheritance->ring[inheritance->count++] = (struct fl_heirloom){
			.ifindex = note->ifindex,
			.worker = note->worker,
			.workers = note->workers,
			.slots = note->slots,
			.head = note->head,
			.fd = given,
		};
	else
		close(given);
	return true;
}

void fl_inherit_take(struct fl_inheritance *inheritance, int fd)
{
	int from = fd < 0 ? -1 : accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	inheritance->count = 0;
	if (from < 0)
		return;
	while (is_ours(from) && take_one(inheritance, from))
		;
	close(from);
}

static struct fl_heirloom *find(const struct fl_inheritance *inheritance, u32 ifindex, u32 worker, u32 workers)
{
	for (u32 i = 0; i < inheritance->count; i++) {
		const struct fl_heirloom *ring = &inheritance->ring[i];

		if (ring->fd >= 0 && ring->ifindex == ifindex && ring->worker == worker && ring->workers == workers)
			return (struct fl_heirloom *)ring;
	}
	return NULL;
}

bool fl_inherit_has(const struct fl_inheritance *inheritance, u32 ifindex, u32 workers)
{
	for (u32 worker = 0; worker < workers; worker++)
		if (!find(inheritance, ifindex, worker, workers))
			return false;
	return true;
}

int fl_inherit_ring(struct fl_inheritance *inheritance, u32 ifindex, u32 worker, u32 workers, struct fl_port *port)
{
	struct fl_heirloom *ring = find(inheritance, ifindex, worker, workers);
	int code;

	if (!ring)
		return fl_fail(-ENOENT, "no such ring was bequeathed");
	port->rx_fd = ring->fd;
	ring->fd = -1;
	code = fl_ring_map(&port->in, port->rx_fd, ring->slots);
	port->in.head = ring->head;
	return code;
}

void fl_inherit_drop(struct fl_inheritance *inheritance)
{
	for (u32 i = 0; i < inheritance->count; i++)
		if (inheritance->ring[i].fd >= 0)
			close(inheritance->ring[i].fd);
	inheritance->count = 0;
}
