/* Somebody else's programs, for a host that fairlead is not alone on: they count frames and let them pass. */

#define SECTION(name) __attribute__((section(name), used))

#define XDP_PASS 2
#define TC_ACT_UNSPEC (-1) /* the next one decides; TCX_NEXT is the same */

unsigned long long frames;

SECTION("xdp") int bystander_xdp(void *context)
{
	(void)context;
	__sync_fetch_and_add(&frames, 1);
	return XDP_PASS;
}

SECTION("tc") int bystander_tc(void *context)
{
	(void)context;
	__sync_fetch_and_add(&frames, 1);
	return TC_ACT_UNSPEC;
}

SECTION("tc") int bystander_late(void *context)
{
	(void)context;
	__sync_fetch_and_add(&frames, 1);
	return TC_ACT_UNSPEC;
}

SECTION("license") char license_text[] = "GPL";
