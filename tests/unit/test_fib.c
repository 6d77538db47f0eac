/* fib: longest-prefix match against a walk over all routes. */
#include "pe/fib.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

static struct nexthop *nexthop;
static struct fib *fib;

static int make(void **state)
{
	nexthop = aligned_alloc(CACHE_LINE, sizeof *nexthop);
	fib = calloc(1, sizeof *fib);
	if (nexthop)
		memset(nexthop, 0, sizeof *nexthop);
	return nexthop && fib ? 0 : -1;
}

static int unmake(void **state)
{
	free(nexthop);
	free(fib);
	return 0;
}

static uint32_t mask(uint8_t length)
{
	return length ? UINT32_MAX << (32 - length) : 0;
}

/* The longest match, found the obvious way. Prefixes are unique, so there is one. */
static const struct route *model(const struct route *r, uint32_t n, uint16_t realm, uint32_t address)
{
	const struct route *best = NULL;

	for (uint32_t i = 0; i < n; i++)
		if (r[i].realm == realm && (address & mask(r[i].length)) == r[i].prefix &&
			(!best || r[i].length > best->length))
			best = &r[i];
	return best;
}

static bool is_there(const struct route *r, uint32_t n, uint16_t realm, uint32_t prefix, uint8_t length)
{
	for (uint32_t i = 0; i < n; i++)
		if (r[i].realm == realm && r[i].prefix == prefix && r[i].length == length)
			return true;
	return false;
}

/* The first two lie side by side; the last is the last there is. */
static const uint16_t realms[] = {0, 1, 100, 4094};

/* Up to `max` routes that nest often: few different bits, all lengths. `gateway` tells them apart. */
static uint32_t random_routes(struct rnd *r, struct route *out, uint32_t max)
{
	uint32_t n = 0, spread = rnd_below(r, 3);

	for (uint32_t tries = rnd_below(r, max + 1); tries; tries--) {
		uint8_t length = (uint8_t)rnd_below(r, 33);
		uint32_t bits = (uint32_t)rnd_next(r);
		uint16_t realm = realms[rnd_below(r, 4)];

		if (spread == 0)
			bits &= 0xc0800301; /* a handful of networks */
		else if (spread == 1)
			bits |= 0xffffff00; /* at the end of the address space */
		if (is_there(out, n, realm, bits & mask(length), length))
			continue;
		out[n] = (struct route){bits & mask(length), n, length, ROUTE_GATEWAY, 0, 0, realm};
		n++;
	}
	return n;
}

static void load(const struct route *r, uint32_t n)
{
	struct route_set *set = nexthop_spare_routes(nexthop);

	set->n = n;
	if (n)
		memcpy(set->route, r, n * sizeof *r);
	nexthop_publish_routes(nexthop);
	fib_load(fib, nexthop);
}

static void check(uint64_t seed, const struct route *r, uint32_t n, uint32_t address)
{
	for (unsigned i = 0; i < sizeof realms / sizeof realms[0]; i++) {
		const struct route *want = model(r, n, realms[i], address);
		struct route got = fib_find(fib, realms[i], address);

		if (want)
			CHECK_AT(seed, address, got.kind == want->kind && got.gateway == want->gateway);
		else
			CHECK_AT(seed, address, got.kind == ROUTE_NONE);
	}
}

static void test_against_model(void **state)
{
	static struct route r[64];

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct rnd rnd = {seed};
		uint32_t n = random_routes(&rnd, r, 64);

		load(r, n);
		for (uint32_t i = 0; i < n; i++) { /* where something begins or ends */
			uint32_t last = r[i].prefix | ~mask(r[i].length);

			check(seed, r, n, r[i].prefix);
			check(seed, r, n, r[i].prefix - 1);
			check(seed, r, n, last);
			check(seed, r, n, last + 1);
		}
		for (int i = 0; i < 50; i++)
			check(seed, r, n, (uint32_t)rnd_next(&rnd));
		check(seed, r, n, 0);
		check(seed, r, n, UINT32_MAX);
	}
}

/* Every length around one address: as deep as prefixes can nest. */
static void test_deepest_nest(void **state)
{
	static struct route r[33];

	for (uint32_t i = 0; i <= 32; i++) {
		uint8_t length = (uint8_t)(32 - i); /* given the longest first: the order does not matter */

		r[i] = (struct route){0xcb007155u & mask(length), length, length, ROUTE_GATEWAY, 0, 0, 0};
	}
	load(r, 33);
	for (uint32_t bit = 0; bit < 32; bit++)
		assert_int_equal(fib_find(fib, 0, 0xcb007155u ^ 1u << bit).gateway, 31 - bit);
	assert_int_equal(fib_find(fib, 0, 0xcb007155u).gateway, 32);
}

static void test_nothing_loaded(void **state)
{
	struct fib *empty = calloc(1, sizeof *empty);

	assert_non_null(empty);
	assert_int_equal(fib_find(empty, 0, 0).kind, ROUTE_NONE);
	free(empty);
	load(NULL, 0);
	assert_int_equal(fib_find(fib, 0, 0xc0000201u).kind, ROUTE_NONE);
}

/* As many routes as there may be: alternate host routes make the most intervals. */
static void test_full(void **state)
{
	static struct route r[ROUTES_MAX];

	for (uint32_t i = 0; i < ROUTES_MAX; i++)
		r[i] = (struct route){0x0a000000u + 2 * i, i, 32, ROUTE_ONLINK, 1, 0, 0};
	load(r, ROUTES_MAX);
	for (uint32_t i = 0; i < ROUTES_MAX; i++) {
		assert_int_equal(fib_find(fib, 0, 0x0a000000u + 2 * i).gateway, i);
		assert_int_equal(fib_find(fib, 0, 0x0a000000u + 2 * i + 1).kind, ROUTE_NONE);
	}
}

static void test_generation(void **state)
{
	struct route r = {0, 7, 0, ROUTE_GATEWAY, 0, 0, 0};
	uint32_t before = fib->generation;

	load(&r, 1);
	assert_int_equal(fib->generation, before + 1);
	assert_int_equal(fib_find(fib, 0, 0x01020304).gateway, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_deepest_nest),
		cmocka_unit_test(test_nothing_loaded),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_generation),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
