/*
 * What an operator is told when the kernel takes no map or no program: bpf() is made to fail as a locked-down kernel, a
 * container's filter, or a kernel that counts locked memory makes it fail. Root only, as the filter is for this test's
 * threads alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <bpf/libbpf.h>

#include "../engine/program.h"
#include "check.h"
#include "core-world.h"

#define SLOTS 512

/* A command of bpf() that the kernel refuses, with which errno, and what a region and a program then say. */
struct refusal {
	u32 command;
	int code;
	char words[512];
};

/* In this thread, from now on. */
static int forbid(u32 command, int code)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (u32)code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(steps) / sizeof(*steps), .filter = steps };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static void *start(void *argument)
{
	struct refusal *refusal = argument;
	u32 workers = (u32)libbpf_num_possible_cpus() + 1;
	struct fl_sizes sizes = world_sizes(SLOTS, workers);
	struct fl_entry entry = { .is_tc = 1 };
	enum fl_open_outcome outcome;
	struct fl_program program;
	struct fl_region region;

	snprintf(refusal->words, sizeof(refusal->words), "nothing was refused");
	if (forbid(refusal->command, refusal->code)) {
		snprintf(refusal->words, sizeof(refusal->words), "no filter: %s", strerror(errno));
		return NULL;
	}
	if (fl_region_open(&region, "", FL_OPEN_MAPS, &sizes, workers, &outcome)) {
		snprintf(refusal->words, sizeof(refusal->words), "%s", fl_error());
		return NULL;
	}
	if (fl_program_load(&program, &region, entry, NULL, false))
		snprintf(refusal->words, sizeof(refusal->words), "%s", fl_error());
	else
		fl_program_close(&program);
	fl_region_close(&region);
	return NULL;
}

/* What a start says when the kernel refuses this command. */
static const char *words_of(u32 command, int code)
{
	static struct refusal refusal;
	pthread_t thread;

	refusal = (struct refusal){ .command = command, .code = code };
	if (pthread_create(&thread, NULL, start, &refusal))
		return "no thread";
	pthread_join(thread, NULL);
	return refusal.words;
}

static int says(const char *words, const char *part)
{
	if (strstr(words, part))
		return 1;
	printf("  it says: %s\n  and not: %s\n", words, part);
	return 0;
}

int main(void)
{
	const char *words;

	CASE("a kernel that is locked down, or forbids programs, is named as one that does so to who has all "
	     "capabilities");
	words = words_of(BPF_PROG_LOAD, EPERM);
	CHECK(says(words, "the kernel did not load fairlead_tc: not permitted, though this process has CAP_BPF"));
	CHECK(says(words, "the kernel is locked down"));

	CASE("a limit on locked memory, which before Linux 5.11 refuses maps, is named with its mend");
	words = words_of(BPF_MAP_CREATE, EPERM);
	CHECK(says(words, "the kernel makes no map"));
	CHECK(says(words, "RLIMIT_MEMLOCK: ulimit -l unlimited"));

	CASE("a control group without memory for the maps is told how to get along");
	CHECK(says(words_of(BPF_MAP_CREATE, ENOMEM), "lower flows, or raise the memory limit of this control group"));

	CASE("a kernel that takes no types of programs is named as one, whatever its verifier then minds");
	CHECK(says(words_of(BPF_BTF_LOAD, EPERM),
		   "refused fairlead_tc_long, whose types (BTF) this kernel does not take:"));
	return check_end();
}
