/*
 * The core's arithmetic against the plain way of doing it: checksums over all 65,536 values, tags by a loop, hashes by
 * counting where they land.
 */
#include "check.h"
#include "core-world.h"

#define CHANGES 24 /* for each of 65,536 checksums */

static u64 state = 88172645463325252ull;

static u32 some(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (u32)(state >> 16);
}

/* Data whose checksum was any value, changed in one word: the new checksum is what a sum over all of it finds. */
static int is_updated_right(u16 old, u32 word, u32 new_word, u16 (*update)(u16, u64))
{
	u8 data[8], expected[8];
	u32 rest;
	u16 filler;

	memcpy(data, &word, 4);
	memcpy(data + 4, &old, 2);
	rest = world_sum(data, 6, 0);
	filler = FL_BE16(0xffff - rest);
	memcpy(data + 6, &filler, 2);
	if (world_sum(data, 8, 0) != 0xffff)
		return 0;
	memcpy(expected, data, 8);
	memcpy(expected, &new_word, 4);
	/* All zeros sum to 0 and not to FFFF, but no pseudo-header is all zeros. */
	if (!new_word && !filler)
		return 1;
	fl_put16(expected + 4, update(old, fl_change32(word, new_word)));
	return world_sum(expected, 8, 0) == 0xffff;
}

static u16 update_full(u16 checksum, u64 change)
{
	return fl_checksum_full(checksum, change);
}

static u16 update_udp(u16 checksum, u64 change)
{
	u16 updated = fl_checksum_udp(checksum, change);

	return updated ? updated : 1; /* a 0 would say that there is none: let it fail */
}

static void test_checksums(void)
{
	int is_full_right = 1, is_udp_right = 1, is_partial_right = 1, is_never_other_zero = 1;

	for (u32 old = 0; old < 65536; old++)
		for (int i = 0; i < CHANGES; i++) {
			static const u32 corners[] = { 0, 0xffffffff, 0xffff, 0xffff0000, 1, 0x01000000 };
			u32 word = i < 6 ? corners[i] : some(), new_word = i % 7 < 6 ? corners[i % 7] : some();
			u16 partial = fl_checksum_partial(old, fl_change32(word, new_word));

			is_full_right &= is_updated_right(old, word, new_word, update_full);
			is_udp_right &= !old || is_updated_right(old, word, new_word, update_udp);
			is_never_other_zero &= fl_checksum_full(old, fl_change32(word, new_word)) != 0xffff;
			/* partial - old + word - new_word is a zero, of either kind */
			is_partial_right &= fl_fold((u64)partial + (u16)~old + word + (u32)~new_word) == 0xffff;
		}
	CASE("an updated checksum verifies, for all 65,536 old ones");
	CHECK(is_full_right);
	CASE("an updated UDP checksum verifies and is never 0, for all 65,535 old ones");
	CHECK(is_udp_right);
	CHECK(fl_checksum_udp(0, fl_change16(1, 2)) == 0);
	CASE("an updated checksum is never FFFF, the other zero");
	CHECK(is_never_other_zero);
	CASE("a partial checksum moves with the pseudo-header");
	CHECK(is_partial_right);
}

static void test_sums(void)
{
	u8 data[70];
	struct fl_frame frame = { .data = data, .len = sizeof(data), .room = sizeof(data) };
	int ok = 1, is_right = 1;

	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = some();
	for (u32 size = 0; size <= 60; size++)
		is_right &= fl_fold(fl_sum(&frame, 7, size, 61, &ok)) == FL_BE16(world_sum(data + 7, size, 0));
	CASE("a sum over any number of octets is the plain one");
	CHECK(is_right && ok);

	CASE("a sum beyond the frame is refused");
	fl_sum(&frame, 20, 51, 61, &ok);
	CHECK(!ok);
	ok = 1;
	fl_sum(&frame, 20, 50, 61, &ok);
	CHECK(ok);
}

static void test_tags(void)
{
	int is_right = 1;

	CASE("tags match as a loop finds them");
	for (int round = 0; round < 100000; round++) {
		struct fl_tags tags;
		u16 wanted = some() % 4 ? some() & 0x8001 : some();
		u32 expected = 0;

		for (int way = 0; way < FL_WAYS; way++) {
			tags.tag[way] = some() % 3 ? (u16)(wanted ^ (some() % 3 ? 0 : 1u << some() % 16)) : 0;
			expected |= (u32)(tags.tag[way] == wanted) << way;
		}
		is_right &= fl_tags_match(&tags, wanted) == expected;
	}
	CHECK(is_right);
}

/* The most that a bucket gets when `count` keys go to `buckets` buckets evenly is not far above the mean. */
static u32 fullest(int is_v6, int by_port, u32 buckets, u32 count)
{
	static u32 load[4096];
	u64 seed[4] = { 0x123456789abcdefull, 0xf1ea5eedull | 1, 0x1badb002deadbeefull | 1, 42 };
	u32 most = 0;

	memset(load, 0, sizeof(load));
	for (u32 i = 0; i < count; i++) {
		struct fl_addr addr = world_addr(is_v6 ? 0x20010db8 : 0x0a000000, by_port ? 1 : i, is_v6);
		struct fl_home home = fl_home_of(seed, buckets, &addr, FL_BE16(by_port ? i : 443), 6, is_v6);

		if (++load[home.bucket[0]] > most)
			most = load[home.bucket[0]];
		if (!home.tag || home.bucket[0] >= buckets || home.bucket[1] >= buckets)
			return ~0u;
	}
	return most;
}

static void test_hashes(void)
{
	/* Mean 16 over 4,096 buckets: Poisson leaves the fullest at about 34; 50 has odds of one in 10^7. */
	CASE("addresses in a row and ports in a row spread evenly over buckets");
	CHECK(fullest(0, 0, 4096, 65536) < 50);
	CHECK(fullest(0, 1, 4096, 65536) < 50);
	CHECK(fullest(1, 0, 4096, 65536) < 50);
	CHECK(fullest(1, 1, 4096, 65536) < 50);
	CHECK(fullest(0, 0, 1, 100) == 100);

	CASE("every tag is used, and none much more than others");
	u32 tags[16] = { 0 };
	u64 seed[4] = { 7, 9 | 1, 0x9e3779b97f4a7c15ull, 3 };
	for (u32 i = 0; i < 160000; i++) {
		struct fl_addr addr = world_addr(0x0a000000, i, 0);

		tags[fl_home_of(seed, 64, &addr, 80, 17, 0).tag >> 12]++;
	}
	for (int i = 0; i < 16; i++)
		CHECK(tags[i] > 9000 && tags[i] < 11000);
}

int main(void)
{
	test_checksums();
	test_sums();
	test_tags();
	test_hashes();
	return check_end();
}
