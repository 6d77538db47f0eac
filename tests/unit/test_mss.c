/* mss: the clamp against one that copies and sums anew; options in any order, at odd places, and wrong ones. */
#include "pe/mss.h"
#include "tests/unit/wire.h"

#include <stdlib.h>

enum { SEGMENT = 80 };

/* ---- the naive clamp ---- */

static bool model(uint8_t *tcp, size_t bytes, unsigned max)
{
	size_t end = (tcp[12] >> 4) * 4u, at = 20;
	bool lowered = false;

	if (bytes < 20 || !(tcp[13] & 2) || end > bytes)
		return false;
	while (at < end) {
		if (tcp[at] == 0)
			break;
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (at + 2 > end || tcp[at + 1] < 2 || at + tcp[at + 1] > end)
			break;
		if (tcp[at] == 2 && tcp[at + 1] == 4 && get16(tcp + at + 2) > max) {
			put16(tcp + at + 2, max);
			lowered = true;
		}
		at += tcp[at + 1];
	}
	return lowered;
}

/* Options as stacks send them, in any order, sometimes cut or with a length that lies. */
static void random_options(struct rnd *r, uint8_t *at, size_t room)
{
	static const uint8_t kinds[][2] = {{1, 1}, {1, 1}, {2, 4}, {2, 4}, {3, 3}, {4, 2}, {8, 10}, {0, 1}, {34, 6}};

	noise(r, at, room);
	while (room) {
		const uint8_t *kind = kinds[rnd_below(r, 9)];
		size_t size = kind[1] < room ? kind[1] : room;

		at[0] = kind[0];
		if (size > 1)
			at[1] = rnd_one_in(r, 12) ? (uint8_t)rnd_below(r, 8) : kind[1];
		at += size;
		room -= size;
	}
}

static void test_against_a_naive_one(void **state)
{
	unsigned lowered = 0, odd = 0;

	for (uint64_t seed = 1; seed <= 100000; seed++) {
		struct rnd r = {seed};
		uint8_t want[SEGMENT], *tcp;
		unsigned header = 20 + 4 * rnd_below(&r, 11);
		size_t bytes = header + rnd_below(&r, SEGMENT - header + 1);
		uint16_t max = (uint16_t)(rnd_one_in(&r, 3) ? rnd_next(&r) : 536 + rnd_below(&r, 1000));

		noise(&r, want, sizeof want);
		want[12] = (uint8_t)(header / 4 << 4 | 3);
		want[13] = rnd_one_in(&r, 8) ? 0x10 : 0x02 | (rnd_one_in(&r, 2) ? 0x10 : 0);
		random_options(&r, want + 20, header - 20);
		naive_put(want + 16, want, bytes, 0);
		tcp = malloc(bytes); /* so that a sanitizer sees the end */
		assert_non_null(tcp);
		memcpy(tcp, want, bytes);
		bool changed = model(want, bytes, max);
		CHECK_AT(seed, bytes, mss_clamp(tcp, bytes, max) == changed);
		CHECK_AT(seed, bytes, naive_sum(tcp, bytes, 0) == 0xffff);
		put16(want + 16, get16(tcp + 16));
		CHECK_AT(seed, bytes, memcmp(tcp, want, bytes) == 0);
		lowered += changed;
		odd += changed && tcp[20] == 1 && tcp[21] == 2;
		free(tcp);
	}
	assert_true(lowered > 20000 && odd > 500);
}

static void test_cut_and_noise(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		size_t bytes = rnd_below(&r, SEGMENT + 1);
		uint8_t b[SEGMENT] = {0}, *tcp = malloc(bytes ? bytes : 1);

		assert_non_null(tcp);
		noise(&r, b, bytes);
		b[13] |= 2;
		memcpy(tcp, b, bytes);
		bool changed = model(b, bytes, 536);
		CHECK_AT(seed, bytes, mss_clamp(tcp, bytes, 536) == changed);
		if (bytes >= 18) /* the noise has no right sum; the rest is the model's */
			put16(b + 16, get16(tcp + 16));
		CHECK_AT(seed, bytes, memcmp(tcp, b, bytes) == 0);
		free(tcp);
	}
}

static void test_never_raises(void **state)
{
	static const uint16_t values[] = {0, 1, 535, 536, 537, 1459, 1460, 1461, 65535};

	for (size_t v = 0; v < 9; v++)
		for (size_t m = 0; m < 9; m++) {
			uint8_t tcp[24] = {0};

			tcp[12] = 0x60;
			tcp[13] = 2;
			tcp[20] = 2;
			tcp[21] = 4;
			put16(tcp + 22, values[v]);
			naive_put(tcp + 16, tcp, sizeof tcp, 0);
			assert_int_equal(mss_clamp(tcp, sizeof tcp, values[m]), values[v] > values[m]);
			assert_int_equal(get16(tcp + 22), values[v] < values[m] ? values[v] : values[m]);
			assert_int_equal(naive_sum(tcp, sizeof tcp, 0), 0xffff);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_naive_one),
		cmocka_unit_test(test_cut_and_noise),
		cmocka_unit_test(test_never_raises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
