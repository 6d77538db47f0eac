/* rooms: how many addresses a packet looks at when a pool is full, and that nothing free is missed for long. */
#include "pe/rooms.h"
#include "tests/unit/rnd.h"

#include <string.h>

enum { MS = 1000000, START_MS = 1000 };

/* Addresses as they are: ports the engine's view shows, and ports that only a look finds. */
struct world {
	struct rooms rooms;
	struct room_walk walk;
	uint32_t shown[CONFIG_ADDRESSES_MAX], hidden[CONFIG_ADDRESSES_MAX];
	uint32_t glances, looks; /* of the last walk */
	uint32_t got;            /* its index */
};

static enum room_answer take(void *context, uint32_t index, bool look)
{
	struct world *x = context;
	uint32_t *from = x->shown[index] ? &x->shown[index] : look ? &x->hidden[index] : NULL;

	assert_in_range(index, x->walk.first, x->walk.first + x->walk.usable - 1);
	if (look && x->walk.kind < ROOM_BLOCKS)
		x->looks += !x->shown[index];
	else
		x->glances++;
	if (!from || !*from)
		return ROOM_NONE;
	--*from;
	x->got = index;
	return ROOM_TAKEN;
}

static struct world *world_open(unsigned kind, uint32_t first, uint32_t usable, uint32_t n_pools)
{
	static struct world x;

	memset(&x, 0, sizeof x);
	rooms_init(&x.rooms);
	x.walk = (struct room_walk){.rooms = &x.rooms,
		.kind = kind,
		.pool = n_pools - 1,
		.n_pools = n_pools,
		.first = first,
		.usable = usable,
		.now = {(uint64_t)START_MS * MS},
		.take = take,
		.context = &x};
	return &x;
}

static bool walk_from(struct world *x, uint32_t pick)
{
	x->glances = x->looks = 0;
	x->walk.pick = pick;
	return rooms_walk(&x->walk);
}

static void pass(struct world *x, uint64_t us)
{
	x->walk.now = mono_after(x->walk.now, span_us(us));
}

/* ---- what a refusal costs ---- */

/* Until all addresses were looked at, two looks a packet; then none, but for one a millisecond at the pick and one in turn. */
static void fill_and_refuse(unsigned kind, uint32_t usable)
{
	struct world *x = world_open(kind, 7, usable, 1);
	uint32_t all = 0, packets = 0;

	do {
		assert_false(walk_from(x, packets++ % usable));
		assert_true(x->looks <= ROOMS_LOOKS && x->glances <= ROOMS_GLANCES);
		all += x->looks + x->glances;
	} while (x->looks + x->glances && packets < 2 * usable);
	assert_true(packets <= usable + 1);
	assert_true(all <= 2 * usable);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_false(walk_from(x, i % usable));
		assert_int_equal(x->looks + x->glances, 0);
	}
	all = 0;
	for (uint32_t i = 0; i < 10000; i++, pass(x, 100)) { /* a second */
		assert_false(walk_from(x, i % usable));
		assert_true(x->looks + x->glances <= ROOMS_LOOKS);
		all += x->looks + x->glances;
	}
	assert_in_range(all, 90, 2000);
}

static void test_refusals_are_cheap(void **state)
{
	static const uint32_t sizes[] = {1, 16, 64, 256, 1024, 4000};

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		for (unsigned kind = 0; kind < N_ROOMS; kind++)
			fill_and_refuse(kind, sizes[i]);
}

/* ---- what is seen, and when ---- */

static void exhaust(struct world *x)
{
	for (uint32_t i = 0; i <= x->walk.usable; i++)
		assert_false(walk_from(x, i % x->walk.usable));
	assert_false(walk_from(x, 0));
	assert_int_equal(x->looks, 0);
}

static void test_own_news_are_seen_at_once(void **state)
{
	struct world *x = world_open(ROOM_PORTS + PORTS_TCP, 100, 1000, 1);

	exhaust(x);
	x->shown[1042] = 1;
	rooms_open(&x->rooms, ROOM_PORTS + PORTS_TCP, 1042);
	assert_true(walk_from(x, 999));
	assert_int_equal(x->got, 1042);
	assert_false(walk_from(x, 999));
	assert_int_equal(x->glances, 1); /* found to be the last one */
	assert_false(walk_from(x, 999));
	assert_int_equal(x->glances + x->looks, 0);
	x->hidden[100] = 2;
	rooms_unsee(&x->rooms, ROOM_PORTS + PORTS_TCP, 100);
	assert_true(walk_from(x, 3) && walk_from(x, 4));
	assert_false(walk_from(x, 5));
}

/* What others gave back: a millisecond for each address and pool, 20 ms at least, with subscribers of one pick only. */
static void see_others(uint32_t usable, uint32_t n_pools)
{
	struct world *x = world_open(ROOM_PORTS + PORTS_OTHER, 0, usable, n_pools);
	uint64_t each = ROOMS_PAUSE_US * n_pools, bound = each * usable, waited = 0;

	if (bound < ROOMS_LAP_MS * 1000)
		bound = ROOMS_LAP_MS * 1000;
	exhaust(x);
	x->hidden[usable / 2] = 3;
	for (; !walk_from(x, 0); waited += 50, pass(x, 50))
		assert_true(waited <= bound + each);
	assert_int_equal(x->got, usable / 2);
	assert_true(walk_from(x, 0) && walk_from(x, 0)); /* where one was there are more */
	assert_false(walk_from(x, 0));
}

static void test_others_news_are_seen_in_time(void **state)
{
	see_others(1, 1);
	see_others(2, 1);
	see_others(20, 1);
	see_others(256, 1);
	see_others(1024, 1);
	see_others(16, 16);
}

/* The picked address is gone back to, though another has plenty. */
static void test_pairing_comes_back(void **state)
{
	struct world *x = world_open(ROOM_PORTS + PORTS_OTHER, 0, 64, 1);

	x->shown[6] = 1000;
	assert_true(walk_from(x, 5));
	assert_int_equal(x->got, 6);
	x->hidden[5] = 100;
	assert_true(walk_from(x, 5));
	assert_int_equal(x->got, 6);
	assert_int_equal(x->looks, 0);
	pass(x, ROOMS_PAUSE_US);
	assert_int_equal(rooms_next_open(&x->walk), 5);
	assert_true(walk_from(x, 5));
	assert_int_equal(x->got, 5);
	assert_true(walk_from(x, 5));
	assert_int_equal(x->got, 5);
}

/* ---- against the plain thing ---- */

static bool any_shown(const struct world *x)
{
	for (uint32_t i = 0; i < x->walk.usable; i++)
		if (x->shown[x->walk.first + i])
			return true;
	return false;
}

/* In a pool of as many addresses as a packet may glance at, whatever the view shows is found. */
static void test_against_an_array(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct rnd r = {seed};
		unsigned kind = rnd_below(&r, N_ROOMS);
		struct world *x = world_open(kind, rnd_below(&r, 200), 1 + rnd_below(&r, ROOMS_GLANCES), 1);

		for (uint64_t step = 0; step < 3000; step++) {
			uint32_t index = x->walk.first + rnd_below(&r, x->walk.usable);

			if (rnd_one_in(&r, 3)) {
				x->shown[index]++;
				rooms_open(&x->rooms, kind, index);
				continue;
			}
			if (rnd_one_in(&r, 50))
				pass(x, rnd_below(&r, 3000));
			uint32_t pick = rnd_below(&r, x->walk.usable);
			bool paired = x->shown[x->walk.first + pick] != 0, some = any_shown(x);
			bool found = walk_from(x, pick);

			CHECK_AT(seed, step, found == some);
			CHECK_AT(seed, step, !paired || x->got == x->walk.first + pick);
			CHECK_AT(seed, step, x->looks <= ROOMS_LOOKS && x->glances <= ROOMS_GLANCES + 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_are_cheap),
		cmocka_unit_test(test_own_news_are_seen_at_once),
		cmocka_unit_test(test_others_news_are_seen_in_time),
		cmocka_unit_test(test_pairing_comes_back),
		cmocka_unit_test(test_against_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
