/*
 * Request and response over one TCP connection: how long a round trip of 64 octets takes.
 *
 *   bench-ping serve PORT                   answers every octet with itself
 *   bench-ping ask ADDRESS PORT SECONDS     prints {"count":..., "p50":..., "p99":...}, nanoseconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define MESSAGE 64
#define CONNECTIONS 64

static void fail(const char *what)
{
	fprintf(stderr, "bench-ping: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* False: the connection is over. */
static int echo(int fd)
{
	char message[4096];
	ssize_t octets = read(fd, message, sizeof(message));

	return octets > 0 && write(fd, message, (size_t)octets) == octets;
}

static void serve(u16 port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct pollfd watched[CONNECTIONS + 1] = { { .events = POLLIN } };
	u32 count = 1;
	int on = 1;

	watched[0].fd = socket(AF_INET6, SOCK_STREAM, 0);
	setsockopt(watched[0].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(watched[0].fd, (struct sockaddr *)&address, sizeof(address)) || listen(watched[0].fd, 16))
		fail("cannot listen");
	for (;;) {
		if (poll(watched, count, -1) < 0)
			fail("poll");
		for (u32 i = count; --i > 0;)
			if (watched[i].revents && !echo(watched[i].fd)) {
				close(watched[i].fd);
				watched[i] = watched[--count];
			}
		if (watched[0].revents && count <= CONNECTIONS) {
			int fd = accept(watched[0].fd, NULL, NULL);

			if (fd < 0)
				continue;
			send_at_once(fd);
			watched[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		}
	}
}

static int connect_to(const char *text, u16 port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_sec = 3 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (inet_pton(AF_INET, text, &address.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		fail(text);
	send_at_once(fd);
	return fd;
}

static void round_trip(int fd)
{
	char message[MESSAGE] = { 0 };
	size_t got = 0;

	if (write(fd, message, MESSAGE) != MESSAGE)
		fail("cannot send");
	while (got < MESSAGE) {
		ssize_t octets = read(fd, message + got, MESSAGE - got);

		if (octets <= 0)
			fail("no answer");
		got += (size_t)octets;
	}
}

/* The first tenth of the time is not counted. */
static void ask(const char *address, u16 port, double seconds)
{
	static struct histogram histogram;
	int fd = connect_to(address, port);
	u64 start = clock_ns(), now = start, span = (u64)(seconds * 1e9);

	while (now - start < span) {
		u64 before = now;

		round_trip(fd);
		now = clock_ns();
		if (now - start > span / 10)
			histogram_add(&histogram, now - before);
	}
	printf("{\"count\":%llu,\"p50\":%u,\"p99\":%u}\n", (unsigned long long)histogram.total,
	       histogram_quantile(&histogram, 0.5), histogram_quantile(&histogram, 0.99));
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve((u16)atoi(argv[2]));
	if (argc != 5 || strcmp(argv[1], "ask")) {
		fprintf(stderr, "usage: bench-ping serve PORT | ask ADDRESS PORT SECONDS\n");
		return 2;
	}
	ask(argv[2], (u16)atoi(argv[3]), atof(argv[4]));
	return 0;
}
