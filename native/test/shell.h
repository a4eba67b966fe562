/* Commands of the system in C tests: RUN() must succeed, lines() counts what one of them says. */
#ifndef FL_TEST_SHELL_H
#define FL_TEST_SHELL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define RUN(command) CHECK(system(command) == 0)

/* Lines of a command's output that hold a word. */
static inline int lines(const char *command, const char *word)
{
	FILE *output = popen(command, "r");
	char line[1024];
	int count = 0;

	while (output && fgets(line, sizeof(line), output))
		count += strstr(line, word) != NULL;
	if (output)
		pclose(output);
	return count;
}

#endif
