/*
 * Runs a program to which the kernel refuses one command of bpf(), as an older kernel does that does not know it:
 *
 *   refuse-bpf COMMAND ERRNO PROGRAM [ARGUMENT...]      numbers of linux/bpf.h and asm/errno.h
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	unsigned command = count > 3 ? (unsigned)atoi(words[1]) : 0, code = count > 3 ? (unsigned)atoi(words[2]) : 0;
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(steps) / sizeof(*steps), .filter = steps };

	if (!command || !code) {
		fprintf(stderr, "usage: refuse-bpf COMMAND ERRNO PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0)
		execvp(words[3], words + 3);
	fprintf(stderr, "refuse-bpf: %s: %s\n", words[3], strerror(errno));
	return 1;
}
