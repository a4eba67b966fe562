/*
 * Both ends of a box that forwards: sends frames into either of its cables and tells what comes out of which.
 *
 *   wire WEST EAST <script
 *
 * The script's lines are "w HEX" and "e HEX", a frame each and the side at which it is sent. The first two lines are a
 * marker's frames, there and back: what crosses the box to the other side whenever it is sent, in its order. A marker
 * behind each frame says when all has come that will. Behind a side "+" means that the box makes a frame of its own of it,
 * which may come later: waited for. For each frame that came out a line is written: the number of the line of the
 * script that it came after, the side, and the frame.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <arpa/inet.h>

#define FRAME_MOST 2048
#define PATIENCE_MS 5000
#define MARK "fairlead's mark"
#define MARK_SIZE (sizeof(MARK) + 4) /* and its number */

struct frame {
	unsigned char data[FRAME_MOST];
	size_t size;
	int side, is_answered;
};

static int sockets[2];
static const char sides[] = "we";
static unsigned int line, outputs;

static int fail(const char *what)
{
	fprintf(stderr, "wire: line %u: %s: %s\n", line, what, errno ? strerror(errno) : "no");
	return 1;
}

static int listen_at(const char *device)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (fd < 0 || !at.sll_ifindex || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	return fd;
}

/* One processor: what is sent keeps its order on the way into the box. */
static void stay_here(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 1, or 0 at the end. */
static int read_line(struct frame *frame)
{
	char text[2 * FRAME_MOST + 8], *at = text + 1;
	unsigned int octet;

	if (!fgets(text, sizeof(text), stdin))
		return 0;
	line++;
	frame->side = text[0] == 'e';
	frame->is_answered = *at == '+';
	at += frame->is_answered;
	for (frame->size = 0, at++; frame->size < FRAME_MOST && sscanf(at, "%2x", &octet) == 1; at += 2)
		frame->data[frame->size++] = (unsigned char)octet;
	return 1;
}

static int send_frame(const struct frame *frame)
{
	errno = 0;
	return send(sockets[frame->side], frame->data, frame->size, 0) == (ssize_t)frame->size ? 0 : -1;
}

/* What has come at a side: written down, but for markers. True: the marker of this number is among it. */
static int hear(int side, unsigned int number)
{
	unsigned char data[FRAME_MOST];
	int is_there = 0;
	ssize_t size;

	while ((size = recv(sockets[side], data, sizeof(data), MSG_DONTWAIT)) > 0) {
		const unsigned char *mark = data + size - MARK_SIZE;
		unsigned int marked;

		if ((size_t)size > MARK_SIZE && !memcmp(mark, MARK, sizeof(MARK))) {
			memcpy(&marked, mark + sizeof(MARK), 4);
			is_there |= marked == number;
			continue;
		}
		outputs++;
		printf("%u %c ", line, sides[side]);
		for (ssize_t i = 0; i < size; i++)
			printf("%02x", data[i]);
		putchar('\n');
	}
	return is_there;
}

/* Hears both sides until the marker comes at one, or, with number 0, anything at all. */
static int await(int side, unsigned int number)
{
	struct pollfd both[2] = { { .fd = sockets[0], .events = POLLIN }, { .fd = sockets[1], .events = POLLIN } };
	long end = now_ms() + PATIENCE_MS;
	unsigned int before = outputs;

	for (;;) {
		int is_there = hear(side, number);

		hear(!side, 0);
		if (number ? is_there : outputs != before)
			return 0;
		if (now_ms() >= end)
			return -1;
		poll(both, 2, 50);
	}
}

/* A marker goes through the box, to the side across. */
static int mark(struct frame *marker)
{
	static unsigned int number;

	memcpy(marker->data + marker->size - MARK_SIZE, MARK, sizeof(MARK));
	number++;
	memcpy(marker->data + marker->size - 4, &number, 4);
	return send_frame(marker) || await(!marker->side, number);
}

int main(int count, char **arguments)
{
	static struct frame there, back, frame;

	stay_here();
	for (int side = 0; side < 2 && count == 3; side++)
		if ((sockets[side] = listen_at(arguments[side + 1])) < 0)
			return fail(arguments[side + 1]);
	if (count != 3 || !read_line(&there) || !read_line(&back) || there.size <= MARK_SIZE || back.size <= MARK_SIZE)
		return fail("wire WEST EAST, and two markers");
	if (mark(&there) || mark(&back))
		return fail("the first marker is lost");
	while (read_line(&frame)) {
		unsigned int before = outputs;

		if (send_frame(&frame))
			return fail("cannot send");
		if (mark(&there) || mark(&back))
			return fail("a marker is lost");
		if (frame.is_answered && outputs == before)
			await(0, 0); /* that none comes is for the reader to see */
	}
	return 0;
}
