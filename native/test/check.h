/*
 * What a C test needs: CASE("a sentence about behaviour") opens a case, CHECK(condition) fails it with place and text,
 * check_end() prints the sum and gives the exit code.
 */
#ifndef FL_CHECK_H
#define FL_CHECK_H

#include <stdio.h>

static const char *check_title;
static int check_is_failed, check_passed, check_failed;

static inline void check_close(void)
{
	if (!check_title)
		return;
	printf("%s %s\n", check_is_failed ? "not ok" : "ok", check_title);
	if (check_is_failed)
		check_failed++;
	else
		check_passed++;
}

static inline void check_open(const char *title)
{
	check_close();
	check_title = title;
	check_is_failed = 0;
}

static inline int check_end(void)
{
	check_close();
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0;
}

#define CASE(title) check_open(title)
#define CHECK(condition)                                                         \
	do {                                                                     \
		if (!(condition)) {                                              \
			printf("  %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			check_is_failed = 1;                                     \
		}                                                                \
	} while (0)

#endif
