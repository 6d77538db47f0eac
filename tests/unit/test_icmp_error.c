/* icmp_error: the message against one put together byte by byte; what must not be answered; how many are. */
#include "pe/icmp_error.h"
#include "pe/io_afxdp_internal.h"
#include "pe/io_replay.h"
#include "tests/unit/wire.h"

#include <stdlib.h>

_Static_assert((int)ICMP_ERROR_ROOM <= (int)FRAME_ROOM, "an error fits every frame");
_Static_assert((int)ICMP_ERROR_ROOM <= (int)REPLAY_FRAME_BYTES, "an error fits every frame");

enum { OWN = 0xc6336401, SENDER = 0x0a000102, REMOTE = 0xcb007105, ROOM = 2048 };

/* ---- what comes out ---- */

static uint32_t random_frame(struct rnd *r, uint8_t *b)
{
	static const uint8_t protocols[] = {6, 17, 47, 50};
	unsigned header = 20 + 4 * rnd_below(r, 11), size = header + rnd_below(r, 1500 - header + 1);

	noise(r, b, ROOM);
	eth_header_put(b);
	ip_header(b + ETH, header, size, protocols[rnd_below(r, 4)], SENDER, REMOTE);
	b[ETH + 1] = (uint8_t)rnd_next(r);
	put16(b + ETH + 4, rnd_below(r, 65536));
	put16(b + ETH + 6, rnd_below(r, 4) << 13); /* whole, DF, or the first of several */
	ip_checksum(b + ETH);
	return ETH + size + (rnd_one_in(r, 2) ? rnd_below(r, 19) : 0);
}

/* The expected frame; its length. */
static uint32_t model(uint8_t *to, const uint8_t *b, uint8_t type, uint8_t code, unsigned mtu)
{
	unsigned size = get16(b + ETH + 2), quoted = size < 548 ? size : 548;
	uint8_t *ip = to + ETH, *icmp = ip + 20;

	memcpy(to, b + 6, 6);
	memcpy(to + 6, b, 6);
	put16(to + 12, 0x0800);
	ip_header(ip, 20, 28 + quoted, 1, OWN, SENDER);
	ip[1] = 0xc0;
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip_checksum(ip);
	memset(icmp, 0, 8);
	icmp[0] = type;
	icmp[1] = code;
	put16(icmp + 6, type == 3 && code == 4 ? mtu : 0);
	memcpy(icmp + 8, b + ETH, quoted);
	naive_put(icmp + 2, icmp, 8 + quoted, 0);
	return ETH + 28 + quoted;
}

static void test_against_bytes(void **state)
{
	static const uint8_t kinds[][2] = {{3, 1}, {3, 4}, {3, 13}, {11, 0}, {12, 0}};

	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct rnd r = {seed};
		uint8_t b[ROOM], want[ROOM];
		uint32_t len = random_frame(&r, b), room = len > ICMP_ERROR_ROOM ? len : ICMP_ERROR_ROOM;
		const uint8_t *kind = kinds[rnd_below(&r, 5)];
		uint16_t mtu = (uint16_t)rnd_next(&r);
		uint8_t *exact = malloc(room); /* so that a sanitizer sees the end */
		struct packet p = {.data = exact, .len = len, .side = seed % 2, .out = 9, .verdict = 7};

		assert_non_null(exact);
		memcpy(exact, b, room);
		uint32_t size = model(want, b, kind[0], kind[1], mtu);
		CHECK_AT(seed, len, icmp_error_make(&p, kind[0], kind[1], mtu, be32_of(OWN)));
		CHECK_AT(seed, len, p.len == size && p.out == p.side && p.forward == 1 && p.verdict == 7);
		CHECK_AT(seed, len, memcmp(exact, want, size) == 0);
		CHECK_AT(seed, len, naive_sum(exact + ETH, 20, 0) == 0xffff);
		CHECK_AT(seed, len, naive_sum(exact + ETH + 20, size - ETH - 20, 0) == 0xffff);
		CHECK_AT(seed, len, size - ETH <= 576);
		free(exact);
	}
}

/* ---- what must not be answered ---- */

static bool answered(uint8_t *b, uint32_t len)
{
	uint8_t before[ROOM];
	struct packet p = {.data = b, .len = len, .side = SIDE_INSIDE, .out = 9};

	memcpy(before, b, ROOM);
	if (icmp_error_make(&p, 11, 0, 0, be32_of(OWN)))
		return true;
	assert_memory_equal(b, before, ROOM);
	assert_true(p.len == len && p.out == 9 && p.forward == 0);
	return false;
}

/* An ICMP message of `type` from SENDER to REMOTE. */
static uint32_t icmp_frame(uint8_t *b, uint8_t type, unsigned payload)
{
	memset(b, 0, ROOM);
	eth_header_put(b);
	ip_header(b + ETH, 20, 20 + payload, 1, SENDER, REMOTE);
	b[ETH + 20] = type;
	return ETH + 20 + payload;
}

static void test_no_error_about_an_error(void **state)
{
	uint8_t b[ROOM];

	for (unsigned type = 0; type < 256; type++) {
		uint32_t len = icmp_frame(b, (uint8_t)type, 16);

		assert_int_equal(answered(b, len), type == 0 || type == 8 || (type >= 13 && type <= 18));
	}
	assert_false(answered(b, icmp_frame(b, 8, 0))); /* without a type there is no telling */
	assert_true(answered(b, icmp_frame(b, 8, 1)));
}

static void test_no_error_to_or_about_a_group(void **state)
{
	static const struct {
		uint32_t src, dst;
		bool answered;
	} rows[] = {
		{SENDER, REMOTE, true}, {SENDER, 0xffffffff, false}, {SENDER, 0xe0000001, false},
		{SENDER, 0xefffffff, false}, {SENDER, 0xf0000001, false}, {SENDER, 0xdfffffff, true},
		{SENDER, 0x00000001, false}, {0, REMOTE, false}, {0x00ffffff, REMOTE, false},
		{0x01000000, REMOTE, true}, {0x7f000001, REMOTE, false}, {0xe0000001, REMOTE, false},
		{0xf0000001, REMOTE, false}, {0xffffffff, REMOTE, false},
		{OWN, REMOTE, false}, /* it would be a word to ourselves */
	};
	uint8_t b[ROOM];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint32_t len = icmp_frame(b, 8, 16);

		ip_header(b + ETH, 20, 36, 1, rows[i].src, rows[i].dst);
		assert_int_equal(answered(b, len), rows[i].answered);
	}
	for (int at = 0; at < 12; at += 6) {
		uint32_t len = icmp_frame(b, 8, 16);

		b[at] |= 1; /* a group's link-layer address */
		assert_false(answered(b, len));
	}
}

static void test_no_error_about_a_later_fragment(void **state)
{
	uint8_t b[ROOM];

	for (unsigned bit = 0; bit < 16; bit++) {
		uint32_t len = icmp_frame(b, 8, 16);

		put16(b + ETH + 6, 1u << bit);
		ip_checksum(b + ETH);
		assert_int_equal(answered(b, len), bit >= 13);
	}
}

/* Every bit of the header: its checksum covers them all. */
static void test_no_error_about_what_is_damaged(void **state)
{
	uint8_t b[ROOM];

	for (unsigned bit = 0; bit < 160; bit++) {
		uint32_t len = icmp_frame(b, 8, 16);

		b[ETH + bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(answered(b, len));
	}
	for (uint32_t cut = 0; cut < ETH + 36; cut++) {
		icmp_frame(b, 8, 16);
		assert_false(answered(b, cut));
	}
	icmp_frame(b, 8, 16);
	b[13] = 6; /* ARP */
	assert_false(answered(b, ETH + 36));
}

/* ---- how many ---- */

static unsigned take_all(struct icmp_budget *b, uint32_t rate, uint64_t ns)
{
	unsigned n = 0;

	while (n < 1000000 && icmp_budget_take(b, rate, (mono_t){ns}))
		n++;
	return n;
}

static void test_budget_over_time(void **state)
{
	enum { S = 1000000000 };
	static const struct {
		uint64_t ns;
		uint32_t rate;
		unsigned n;
		const char *why;
	} rows[] = {
		{0, 10, 10, "a new one is full, whatever the time"},
		{0, 10, 0, "then empty"},
		{S / 10 - 1, 10, 0, "a tenth of a second buys one, not less"},
		{S / 10, 10, 1, "and nothing of what was asked in between is lost"},
		{S, 10, 9, ""},
		{90ull * S, 10, 10, "it holds a second's worth, not more"},
		{89ull * S, 10, 0, "time that goes back gives nothing"},
		{90ull * S, 10, 0, "and does not come twice"},
		{91ull * S, 0, 0, "rate 0: none at all"},
		{91ull * S, 100000, 100000, "the rate may change"},
		{91ull * S + 10, 100000, 0, ""},
		{91ull * S + 10000, 100000, 1, ""},
		{92ull * S + 10000, 1, 1, ""},
	};
	struct icmp_budget b = {0};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (take_all(&b, rows[i].rate, rows[i].ns) != rows[i].n)
			fail_msg("row %zu: %s", i, rows[i].why);
}

/* Asked at random moments: never more than the rate over the whole time, and one second's worth at the start. */
static void test_budget_keeps_the_rate(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rnd r = {seed};
		struct icmp_budget b = {0};
		uint32_t rate = 1 + rnd_below(&r, 2000);
		uint64_t now = 5000000000u, start = now, taken = 0;

		for (int step = 0; step < 5000; step++) {
			now += rnd_below(&r, 2000000);
			taken += icmp_budget_take(&b, rate, (mono_t){now});
			CHECK_AT(seed, step, (double)taken <= rate * (1 + (double)(now - start) / 1e9) + 1e-6);
		}
		if (rate < 900) /* asked a thousand times a second: nearly all there was */
			CHECK_AT(seed, rate, (double)taken >= 0.9 * rate * (double)(now - start) / 1e9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_bytes),
		cmocka_unit_test(test_no_error_about_an_error),
		cmocka_unit_test(test_no_error_to_or_about_a_group),
		cmocka_unit_test(test_no_error_about_a_later_fragment),
		cmocka_unit_test(test_no_error_about_what_is_damaged),
		cmocka_unit_test(test_budget_over_time),
		cmocka_unit_test(test_budget_keeps_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
