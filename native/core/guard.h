/* What the guard's program and its loader share: keys, values and flags of its maps. */
#ifndef FL_CORE_GUARD_H
#define FL_CORE_GUARD_H

#include "region.h"

/* Key of guard_owned and guard_servers. */
struct fl_guard_address {
	struct fl_addr addr;
	u32 is_v6;
};

/* Values of guard_servers; those of guard_owned are FL_VIP_LISTENS and FL_VIP_SOURCE. */
#define FL_GUARD_NAT 1
#define FL_GUARD_FULL_NAT 2
#define FL_GUARD_TUNNEL 4

/* One bucket of the flow table: for each nat flow what its server's frames hash to, 0 for anything else. */
struct fl_guard_claims {
	u64 claim[FL_WAYS];
};

struct fl_guard_parameters {
	u64 seed[4];
	u32 buckets;
	u32 workers;
};

#endif
