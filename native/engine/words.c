/* See words.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <bpf/libbpf.h>

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

const char *fl_words_for(int code)
{
	if (code == -EPERM)
		return "not permitted: it takes root, or CAP_BPF and CAP_NET_ADMIN, and a kernel that is not locked "
		       "down";
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
