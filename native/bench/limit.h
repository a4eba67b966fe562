/* What bench-limit tells its program. */
#ifndef FL_BENCH_LIMIT_H
#define FL_BENCH_LIMIT_H

#include "../core/types.h"

struct limit_rewrite {
	u32 before; /* network order */
	u32 after;
	u8 to_mac[6];
	u8 from_mac[6];
};

#endif
