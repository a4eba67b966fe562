/* See words.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include "engine.h"
#include "words.h"

static _Thread_local char failure[512];

const char *fl_error(void)
{
	return failure[0] ? failure : "no failure noted";
}

int fl_fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(failure, sizeof(failure), format, arguments);
	va_end(arguments);
	return code;
}

static _Thread_local char last[256];

static int keep(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level != LIBBPF_WARN || strstr(format, "BEGIN PROG LOAD LOG"))
		return 0;
	vsnprintf(last, sizeof(last), format, arguments);
	last[strcspn(last, "\n")] = 0;
	return 0;
}

void fl_words_listen(void)
{
	last[0] = 0;
	libbpf_set_print(keep);
}

/* CAP_SYS_ADMIN stands for those that were split off it in Linux 5.8. */
static bool lacks(u32 capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	u64 stand_in = capability == CAP_NET_ADMIN ? 0 : 1ull << CAP_SYS_ADMIN;

	return syscall(SYS_capget, &header, data) == 0 &&
	       !((data[0].effective | (u64)data[1].effective << 32) & (1ull << capability | stand_in));
}

/* The verifier lets only CAP_PERFMON compute with pointers, and does not always say for whom that is forbidden. */
const char *fl_words_of_lack(int code, const char *log)
{
	bool is_forbidden = (code == -EPERM || code == -EACCES) && lacks(CAP_PERFMON);

	return is_forbidden || strstr(log, "for !root") ? ", which takes CAP_PERFMON besides CAP_BPF" : "";
}

static const char *words_for_forbidden(void)
{
	bool no_bpf = lacks(CAP_BPF), no_admin = lacks(CAP_NET_ADMIN);

	if (no_bpf || no_admin)
		return no_bpf && no_admin ? "not permitted: this process lacks CAP_BPF and CAP_NET_ADMIN"
		       : no_bpf		  ? "not permitted: this process lacks CAP_BPF"
					  : "not permitted: this process lacks CAP_NET_ADMIN";
	return "not permitted, though this process has CAP_BPF and CAP_NET_ADMIN: the kernel is locked down, or a "
	       "seccomp filter or a user namespace forbids it (before Linux 5.11 also RLIMIT_MEMLOCK: ulimit -l "
	       "unlimited)";
}

const char *fl_words_for(int code)
{
	if (code == -EPERM)
		return words_for_forbidden();
	if (code == -ENOMEM)
		return "no memory, or RLIMIT_MEMLOCK is too low (before Linux 5.11: ulimit -l unlimited)";
	return last[0] ? last : strerror(-code);
}

static int save(const char *log)
{
	FILE *file;

	mkdir("/run/fairlead", 0755);
	file = fopen(FL_VERIFIER_LOG, "we");
	if (!file)
		return 0;
	fputs(log, file);
	return fclose(file) == 0;
}

/* The verifier ends with its statistics; what it minds stands on the line before. */
const char *fl_words_of_log(const char *log, const char **file)
{
	static _Thread_local char line[200];
	const char *end = strstr(log, "\nprocessed "), *start;

	*file = save(log) ? FL_VERIFIER_LOG : NULL;
	if (!end)
		end = log + strlen(log);
	for (start = end; start > log && start[-1] != '\n'; start--)
		;
	snprintf(line, sizeof(line), "%.*s", (int)(end - start), start);
	return line;
}
