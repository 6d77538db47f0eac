/* flow_key_hash: keys as networks make them spread like random ones, over buckets and over tags, under any seed. */
#include "shm/local_table.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

enum { KEYS = 1 << 16, BUCKETS = 9637, SEEDS = 12, TAGS = 1 << LOCAL_TAG_BITS };

/* ---- keys ---- */

static struct flow_key key_of(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	be32_t addresses[2] = {be32_of(src), be32_of(dst)};
	be16_t ports[2] = {be16_of(sport), be16_of(dport)};

	return flow_key_of(addresses, ports, 0, L4_UDP, DIR_OUTBOUND);
}

static struct flow_key one_host_all_ports(uint32_t i)
{
	return key_of(0x64400002, 0xcb007101, (uint16_t)i, 53);
}

static struct flow_key hosts_with_sixteen_ports(uint32_t i)
{
	return key_of(0x64400000 + i / 16, 0xcb007101, (uint16_t)(20000 + i % 16), 443);
}

static struct flow_key one_host_scanning(uint32_t i)
{
	return key_of(0x64400002, 0x08000000 + i, 40000, 80);
}

static struct flow_key aligned_hosts(uint32_t i)
{
	return key_of(0x64400000 + (i << 8), 0xcb007101, 5060, 5060);
}

/* The differences of one word undo those of the other, if anything adds or xors them. */
static struct flow_key words_that_cancel(uint32_t i)
{
	return key_of(0x64400000 + i, 0x08000000 + i, (uint16_t)i, (uint16_t)(i >> 16));
}

static struct flow_key replies(uint32_t i)
{
	return key_of(0xcb007100 + (i & 3), 0xc6336401 + (i >> 2 & 15), 443, (uint16_t)(1024 + (i >> 6)));
}

static struct flow_key bits_at_the_ends(uint32_t i)
{
	return (struct flow_key){(uint64_t)(i & 0xff) << 56 | (i >> 8), (uint64_t)L4_UDP << 48};
}

static struct flow_key (*const patterns[])(uint32_t i) = {one_host_all_ports, hosts_with_sixteen_ports,
	one_host_scanning, aligned_hosts, words_that_cancel, replies, bits_at_the_ends};
enum { N_PATTERNS = sizeof patterns / sizeof patterns[0] };

static uint64_t seed_of(unsigned i)
{
	struct rnd r = {i};

	return rnd_next(&r);
}

/* ---- spreading ---- */

/* Pairs of keys that share a cell. */
static double pairs(const uint32_t *count, unsigned cells)
{
	double sum = 0;

	for (unsigned c = 0; c < cells; c++)
		sum += count[c] * (count[c] - 1.0) / 2;
	return sum;
}

/* Six standard deviations, and what rounding does to small numbers. */
static bool near(double seen, double expected, double variance)
{
	return (seen - expected) * (seen - expected) < 36 * variance + 1;
}

static bool by_chance(double seen, double cells)
{
	double expected = KEYS * (KEYS - 1.0) / 2 / cells;

	return near(seen, expected, expected);
}

static int by_value(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return (a > b) - (a < b);
}

/* Pairs of keys that share bucket and tag. */
static double twins(uint64_t *both)
{
	double n = 0;

	qsort(both, KEYS, sizeof *both, by_value);
	for (unsigned i = 1, run = 0; i < KEYS; i++) {
		run = both[i] == both[i - 1] ? run + 1 : 0;
		n += run;
	}
	return n;
}

static void test_patterns_spread(void **state)
{
	static uint32_t buckets[BUCKETS], tags[TAGS];
	static uint64_t both[KEYS];
	const struct local_table t = {.n = BUCKETS};

	for (unsigned p = 0; p < N_PATTERNS; p++)
		for (unsigned seed = 0; seed < SEEDS; seed++) {
			memset(buckets, 0, sizeof buckets);
			memset(tags, 0, sizeof tags);
			for (uint32_t i = 0; i < KEYS; i++) {
				uint64_t hash = flow_key_hash(patterns[p](i), seed_of(seed));
				uint32_t tag = (uint32_t)hash & (TAGS - 1);

				buckets[local_first(&t, hash)]++;
				tags[tag]++;
				both[i] = (uint64_t)local_first(&t, hash) << LOCAL_TAG_BITS | tag;
			}
			CHECK_AT(seed, p, by_chance(pairs(buckets, BUCKETS), BUCKETS));
			CHECK_AT(seed, p, by_chance(pairs(tags, TAGS), TAGS));
			CHECK_AT(seed, p, by_chance(twins(both), (double)BUCKETS * TAGS));
		}
}

/* Each bit of a key changes each bit of the hash as often as not. */
static void test_every_bit_counts(void **state)
{
	enum { TRIES = 4096 };
	static unsigned flips[128][64];
	struct rnd r = {7};

	for (unsigned try = 0; try < TRIES; try++) {
		struct flow_key k = patterns[try % N_PATTERNS](rnd_below(&r, KEYS));
		uint64_t seed = rnd_next(&r), was = flow_key_hash(k, seed);

		for (unsigned bit = 0; bit < 128; bit++) {
			struct flow_key x = {
				bit < 64 ? k.a ^ 1ull << bit : k.a, bit < 64 ? k.b : k.b ^ 1ull << (bit - 64)};
			uint64_t changed = was ^ flow_key_hash(x, seed);

			for (unsigned out = 0; out < 64; out++)
				flips[bit][out] += changed >> out & 1;
		}
	}
	for (unsigned bit = 0; bit < 128; bit++)
		for (unsigned out = 0; out < 64; out++)
			CHECK_AT(bit, out, near(flips[bit][out], TRIES / 2.0, TRIES / 4.0));
}

/* Who has found keys that share a bucket under one seed knows nothing of another's. */
static void test_collisions_do_not_outlive_the_seed(void **state)
{
	enum { BITS = 20 };
	static uint32_t first[1 << BITS];
	unsigned together = 0, still = 0;

	for (uint32_t i = 1; i < KEYS; i++) {
		uint32_t *cell = &first[flow_key_hash(one_host_scanning(i), 1) >> (64 - BITS)];

		if (*cell) {
			together++;
			still += flow_key_hash(one_host_scanning(i), 2) >> (64 - BITS) ==
				 flow_key_hash(one_host_scanning(*cell), 2) >> (64 - BITS);
		}
		*cell = i;
	}
	assert_true(together > 1000);
	assert_true(still <= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns_spread),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_collisions_do_not_outlive_the_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
