/* Time and order for bench programs: a clock fine enough for one insert, medians, a random sequence that costs nothing. */
#ifndef FL_BENCH_CLOCK_H
#define FL_BENCH_CLOCK_H

#include <stdlib.h>
#include <time.h>

#include "../core/types.h"

static inline u64 clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* xorshift64* (Marsaglia; Vigna 2016). */
static inline u64 next_random(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline u32 random_below(u64 *state, u32 limit)
{
	return (u32)(((next_random(state) >> 32) * limit) >> 32);
}

static inline int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

/* Sorts the values. */
static inline double median(double *values, u32 count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[count / 2];
}

/* Durations in steps of 1 ns; those above 4 ms count as 4 ms. */
#define HISTOGRAM_STEPS (1 << 22)

struct histogram {
	u64 total;
	u32 at[HISTOGRAM_STEPS];
};

static inline void histogram_add(struct histogram *histogram, u64 ns)
{
	histogram->at[ns < HISTOGRAM_STEPS ? ns : HISTOGRAM_STEPS - 1]++;
	histogram->total++;
}

static inline u32 histogram_quantile(const struct histogram *histogram, double share)
{
	u64 seen = 0;
	u32 ns = 0;

	for (; ns < HISTOGRAM_STEPS - 1; ns++) {
		seen += histogram->at[ns];
		if (seen >= share * histogram->total)
			break;
	}
	return ns;
}

#endif
