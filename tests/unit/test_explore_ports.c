/* Every interleaving of two engines that take the same port with a configuration that changes the order of ports: the port
 * is given once, whichever of two tables an engine takes it from, and whoever dies on the way. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "explore_atomics.h"
/* The real code, with the explorer's atomics. */
#include "shm/ports.c"
#include "shm/snapshot.c"

enum { MGMTD = 1, PLACE = 3, ADDRESS = 0x0100007f, TABLES = 2, OLD = 0, NEW = 1, NOTHING = UINT32_MAX };
static const struct port_place place = {5, PLACE};

static struct {
	struct arena *a;
	struct port_table table[TABLES];
	struct port_order order;
	_Atomic uint64_t intent[EXPLORE_THREADS];
	uint32_t got[EXPLORE_THREADS]; /* the table each has the port of */
	bool looks;                    /* again, after taking */
} g;

static _Atomic uint32_t *generation(void)
{
	return &g.a->header->config_generation;
}

/* Which table a generation gives from: they alternate. */
static uint32_t table_in(uint32_t of)
{
	return of % 2 ? OLD : NEW;
}

static void reset(void)
{
	memset(g.table, 0, sizeof g.table);
	memset((void *)g.intent, 0, sizeof g.intent);
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		g.got[i] = NOTHING;
	__atomic_store_n((uint32_t *)generation(), 1, __ATOMIC_RELAXED);
}

static uint64_t world_state(void)
{
	uint64_t all[] = {__atomic_load_n((uint32_t *)generation(), __ATOMIC_RELAXED),
		__atomic_load_n((uint64_t *)&g.table[OLD].chunk[PORTS_TCP][place.chunk], __ATOMIC_RELAXED),
		__atomic_load_n((uint64_t *)&g.table[NEW].chunk[PORTS_TCP][place.chunk], __ATOMIC_RELAXED),
		__atomic_load_n((uint64_t *)&g.intent[0], __ATOMIC_RELAXED), g.got[0], g.got[2]};

	return XXH3_64bits(all, sizeof all);
}

/* As nat_take_port() in pe/nat_ports.c does it, by the configuration that it finds in force at first. The first one has no
 * older table; the second one has. */
static void take(unsigned thread)
{
	uint32_t seen = atomic_load_explicit(generation(), memory_order_acquire), from = table_in(seen);
	uint64_t word;

	if (seen > 1 && chunk_taken(chunk_read(&g.table[!from], PORTS_TCP, place.chunk)) & 1u << PLACE)
		return;
	if (chunk_take(&g.table[from], from, &g.order, PORTS_TCP, place.chunk, 1u << PLACE, 0, thread + 1, 0,
		    &g.intent[thread], &word) < 0)
		return;
	if (!g.looks || snapshot_port_stays(g.a, seen, (be32_t){ADDRESS}, from))
		g.got[thread] = from;
	else
		chunk_put(&g.table[from], PORTS_TCP, place, false, 0, &word);
	atomic_store_explicit(&g.intent[thread], 0, memory_order_release);
}

static void run(unsigned thread)
{
	if (thread == MGMTD) /* the slot is filled, and another generation not possible before all have acknowledged */
		atomic_store_explicit(generation(), 2, memory_order_seq_cst);
	else
		take(thread);
}

static bool is_taken(uint32_t table)
{
	return g.table[table].chunk[PORTS_TCP][place.chunk] >> PLACE & 1;
}

/* The successor frees what the intent names, if nobody has it. */
static void succeed_first(void)
{
	uint64_t name = __atomic_load_n((uint64_t *)&g.intent[0], __ATOMIC_RELAXED);

	if (name && g.got[0] == NOTHING && g.got[2] != name >> 32)
		*(uint64_t *)&g.table[name >> 32].chunk[PORTS_TCP][place.chunk] &= ~(1ull << PLACE);
}

static const char *given_once(bool first_died)
{
	if (first_died)
		succeed_first();
	if (g.got[0] != NOTHING && g.got[2] != NOTHING)
		return "both have the port";
	for (uint32_t t = 0; t < TABLES; t++)
		if (is_taken(t) != (g.got[0] == t || g.got[2] == t))
			return "a table says what is not so";
	return NULL;
}

static void fill_slot(uint32_t of)
{
	struct snapshot *s = slot_of(g.a, of);

	s->n_addresses = 1;
	s->addresses[0] = (struct snapshot_address){.address = {ADDRESS}, .ports = table_in(of)};
}

static void open_world(bool looks)
{
	static struct port_basis plain;

	if (!g.a) {
		const struct arena_geometry one = {1, 1, 1, 1, 1, 1, 1, 1, 1};
		struct arena_error err = {""};

		g.a = arena_open_private(&one, 1, &err);
		if (!g.a)
			fail_msg("%s", err.text);
		port_order_plain(&plain);
		assert_true(port_order_of(&g.order, &plain));
		fill_slot(1);
		fill_slot(2);
	}
	g.looks = looks;
}

static void test_given_once(void **state)
{
	const struct explore_world w = {3, true, reset, run, world_state, given_once};
	struct explore_result r;

	(void)state;
	open_world(true);
	assert_true(explore(&w, &r));
	printf("two take a port while its table changes, one may die: %llu states, %llu schedules\n",
		(unsigned long long)r.states, (unsigned long long)r.schedules);
	assert_true(r.states > 100);
}

/* It is the second look that does it. */
static void test_given_twice_without_looking_again(void **state)
{
	const struct explore_world w = {3, false, reset, run, world_state, given_once};
	struct explore_result r;

	(void)state;
	open_world(false);
	printf("to be found, without the second look:\n");
	assert_false(explore(&w, &r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_given_once),
		cmocka_unit_test(test_given_twice_without_looking_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
