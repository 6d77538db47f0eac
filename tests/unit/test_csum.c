/* csum: by difference equals from the start, for whatever words are replaced. */
#include "common/csum.h"
#include "tests/unit/rnd.h"

#include <string.h>

enum { SIZE = 40, WORDS = SIZE / 2 };

/* The obvious way: big-endian words, one carry at a time. */
static uint16_t model(const uint8_t *b, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++) {
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)~sum;
}

static uint16_t wire(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

static void random_bytes(struct rnd *r, uint8_t *b, size_t size)
{
	/* Mostly ordinary, often all zeroes or all ones: there lie the two zeroes of one's complement. */
	for (size_t i = 0; i < size; i++)
		b[i] = rnd_one_in(r, 3) ? (rnd_one_in(r, 2) ? 0xff : 0) : (uint8_t)rnd_next(r);
}

static void test_known_values(void **state)
{
	static const uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}; /* §3 of it: ddf2 */
	static const uint8_t header[] = {
		0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7};

	assert_int_equal(csum_over(rfc1071, sizeof rfc1071, 0), wire((uint16_t)~0xddf2));
	assert_int_equal(csum_over(header, sizeof header, 0), 0);
	assert_int_equal(csum_over(NULL, 0, 0), 0xffff);
}

static void test_over_any_size(void **state)
{
	uint8_t b[1600];

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct rnd r = {seed};
		size_t size = rnd_below(&r, sizeof b + 1);

		random_bytes(&r, b, size);
		CHECK_AT(seed, size, csum_over(b, size, 0) == wire(model(b, size)));
	}
	memset(b, 0xff, sizeof b);
	assert_int_equal(csum_over(b, sizeof b, 0), 0);
}

/* In two parts, the second taking up where the first (of even size) ended: pseudo header, then segment. */
static void test_over_in_parts(void **state)
{
	uint8_t b[200];

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct rnd r = {seed};
		size_t size = 2 + rnd_below(&r, sizeof b - 1), first = 2ull * rnd_below(&r, (uint32_t)size / 2 + 1);

		random_bytes(&r, b, size);
		uint32_t sum = (uint16_t)~csum_over(b, first, 0);
		CHECK_AT(seed, size, csum_over(b + first, size - first, sum) == csum_over(b, size, 0));
	}
}

/* A packet with its checksum in word `at`, and some words to be replaced. */
struct packet {
	uint16_t word[WORDS];
	unsigned at;
};

static void packet_random(struct packet *p, struct rnd *r)
{
	random_bytes(r, (uint8_t *)p->word, SIZE);
	p->word[0] |= 0x4500; /* no header is all zeroes */
	p->at = 5;
	p->word[p->at] = 0;
	p->word[p->at] = csum_over(p->word, SIZE, 0);
}

/* Replaces words 12, 13 (an address) and 14 (a port) and returns the difference. */
static uint16_t packet_rewrite(struct packet *p, struct rnd *r)
{
	uint16_t to[3], delta;
	uint32_t was, is;

	random_bytes(r, (uint8_t *)to, sizeof to);
	memcpy(&was, p->word + 12, 4);
	memcpy(&is, to, 4);
	delta = csum_delta16(csum_delta32(0, was, is), p->word[14], to[2]);
	memcpy(p->word + 12, to, sizeof to);
	return delta;
}

/* RFC 1624: the updated sum is the one computed anew, and there, and back again (the uint16_t is promoted to a negative
 * int by ~: this must not matter). */
static void test_by_difference(void **state)
{
	for (uint64_t seed = 1; seed <= 200000; seed++) {
		struct rnd r = {seed};
		struct packet p, before;

		packet_random(&p, &r);
		before = p;
		uint16_t delta = packet_rewrite(&p, &r);
		p.word[p.at] = csum_apply(p.word[p.at], delta);
		CHECK_AT(seed, delta, csum_over(p.word, SIZE, 0) == 0);

		memcpy(p.word + 12, before.word + 12, 6);
		p.word[p.at] = csum_apply(p.word[p.at], csum_back(delta));
		CHECK_AT(seed, delta, csum_over(p.word, SIZE, 0) == 0);
		CHECK_AT(seed, delta, p.word[p.at] == before.word[before.at]);
	}
}

static void test_fields_and_deltas_at_their_ends(void **state)
{
	static const uint16_t v[] = {0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff};

	for (size_t i = 0; i < 8; i++)
		for (size_t d = 0; d < 8; d++) {
			uint32_t sum = (uint32_t)(uint16_t)~v[i] + v[d],
				 back = (uint32_t)(uint16_t)~v[i] + (uint16_t)~v[d];

			assert_int_equal(csum_apply(v[i], v[d]) % 0xffff, (0xffff - sum % 0xffff) % 0xffff);
			assert_int_equal(csum_apply(v[i], csum_back(v[d])) % 0xffff, (0xffff - back % 0xffff) % 0xffff);
			assert_int_equal(csum_apply(v[i], (uint32_t)v[d] + CSUM_DELTA_TTL) % 0xffff,
				(0xffff - (sum + 0xfffe) % 0xffff) % 0xffff);
		}
}

/* TTL is one byte of its word; the other one stays. */
static void test_ttl(void **state)
{
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		struct packet p;

		packet_random(&p, &r);
		uint8_t *ttl = (uint8_t *)p.word + 8;
		*ttl = (uint8_t)(1 + rnd_below(&r, 255));
		p.word[p.at] = 0;
		p.word[p.at] = csum_over(p.word, SIZE, 0);
		--*ttl;
		p.word[p.at] = csum_apply(p.word[p.at], CSUM_DELTA_TTL);
		CHECK_AT(seed, *ttl, csum_over(p.word, SIZE, 0) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_values),
		cmocka_unit_test(test_over_any_size),
		cmocka_unit_test(test_over_in_parts),
		cmocka_unit_test(test_by_difference),
		cmocka_unit_test(test_fields_and_deltas_at_their_ends),
		cmocka_unit_test(test_ttl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
