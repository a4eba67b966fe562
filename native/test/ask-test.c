/*
 * Who has an address: asked over a veth pair whose other end lies in another namespace. Root only; needs ip(8) and
 * nsenter(1).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../engine/ask.h"
#include "check.h"

#define WAIT_MS 400

static const u8 other_mac[6] = { 2, 0, 0, 0, 0, 0xb };
static pid_t other; /* lives in the other namespace, until its pipe closes */
static int leash[2];

static struct fl_asked question(const char *text)
{
	struct fl_asked asked = { .is_v6 = strchr(text, ':') != NULL };

	if (inet_pton(asked.is_v6 ? AF_INET6 : AF_INET, text, &asked.addr) != 1)
		abort();
	return asked;
}

/* How many answer to one question; who does must be the other end. */
static int who_has(const char *text)
{
	struct fl_asked asked = question(text);
	struct fl_asked_answer answers[4];
	int count = fl_ask(if_nametoindex("v0"), &asked, 1, WAIT_MS, answers, 4);

	for (int i = 0; i < count; i++)
		CHECK(answers[i].index == 0 && memcmp(answers[i].mac, other_mac, 6) == 0);
	return count;
}

static void here(const char *command)
{
	CHECK(system(command) == 0);
}

static void there(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "nsenter --net=/proc/%d/ns/net sh -c '%s'", other, command);
	here(line);
}

static bool stage_open(void)
{
	char line[128], ready;
	int made[2];

	if (unshare(CLONE_NEWNET) < 0 || pipe(leash) < 0 || pipe(made) < 0) {
		printf("not permitted here: network namespaces take root\n");
		return false;
	}
	other = fork();
	if (other == 0) {
		close(leash[1]);
		_exit(unshare(CLONE_NEWNET) == 0 && write(made[1], "", 1) == 1 && read(leash[0], &ready, 1) == 0 ? 0
														 : 1);
	}
	if (other < 0 || read(made[0], &ready, 1) != 1)
		return false;
	snprintf(line, sizeof(line), "ip link add v0 type veth peer name v1 address 02:00:00:00:00:0b netns %d", other);
	here(line);
	here("ip link set v0 up");
	there("sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.v1.accept_dad=0 "
	      "net.ipv4.conf.all.arp_ignore=0");
	there("ip link set lo up && ip link set v1 up");
	there("ip addr add 10.9.0.2/24 dev v1 && ip addr add fd00:9::2/64 dev v1 nodad");
	there("ip addr add 203.0.113.10/32 dev lo && ip addr add 2001:db8::10/128 dev lo nodad");
	return true;
}

static void test_answers(void)
{
	struct fl_asked asked[] = { question("10.9.0.3"), question("fd00:9::2"), question("10.9.0.2") };
	struct fl_asked_answer answers[4];
	u32 v0 = if_nametoindex("v0");
	bool is_found[3] = { false };

	CASE("the owner of an address answers, for both families, and once");
	CHECK(who_has("10.9.0.2") == 1);
	CHECK(who_has("fd00:9::2") == 1);
	CASE("nobody answers for an address that nobody has");
	CHECK(who_has("10.9.0.3") == 0);
	CHECK(who_has("fd00:9::3") == 0);
	CASE("many are asked at once, and each answer says for which");
	CHECK(fl_ask(v0, asked, 3, WAIT_MS, answers, 4) == 2);
	for (u32 i = 0; i < 2; i++)
		is_found[answers[i].index % 3] = true;
	CHECK(!is_found[0] && is_found[1] && is_found[2]);
	CASE("more answers than there is room for are left out");
	CHECK(fl_ask(v0, asked, 3, WAIT_MS, answers, 1) == 1);
}

static void test_loopback(void)
{
	CASE("an address on lo is answered for on ARP unless arp_ignore forbids it");
	CHECK(who_has("203.0.113.10") == 1);
	there("sysctl -q -w net.ipv4.conf.all.arp_ignore=1");
	CHECK(who_has("203.0.113.10") == 0);
	CHECK(who_has("10.9.0.2") == 1);
	CASE("neighbour discovery keeps silent about an address on lo");
	CHECK(who_has("2001:db8::10") == 0);
}

static void test_silence(void)
{
	CASE("asking leaves no trace in the other's tables");
	there("ip neigh flush all && test -z \"$(ip neigh)\"");
	CHECK(who_has("10.9.0.2") == 1 && who_has("fd00:9::2") == 1);
	there("test -z \"$(ip neigh)\"");
}

static void test_refusals(void)
{
	struct fl_asked asked = question("10.9.0.2");
	struct fl_asked_answer answer;

	CASE("a link that is gone or down is an error in words");
	CHECK(fl_ask(9999, &asked, 1, WAIT_MS, &answer, 1) < 0 && strstr(fl_error(), "link 9999") != NULL);
	here("ip link set v0 down");
	CHECK(fl_ask(if_nametoindex("v0"), &asked, 1, WAIT_MS, &answer, 1) < 0);
}

int main(void)
{
	int status = 1;

	if (!stage_open())
		return 1;
	test_answers();
	test_loopback();
	test_silence();
	test_refusals();
	close(leash[1]);
	waitpid(other, &status, 0);
	return check_end() || status;
}
