/* ports: against plain arrays, to exhaustion and beyond, several engines at once. */
#include "shm/ports.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 77 }; /* any slab index: it only names the table in the intent */

static struct port_table *table_new(void)
{
	struct port_table *t = aligned_alloc(CACHE_LINE, 257ul * CACHE_LINE);

	memset((void *)t, 0, sizeof *t);
	return t;
}

static uint32_t bits_in(const struct port_table *t, enum port_set set)
{
	uint32_t n = 0;

	for (unsigned w = 0; w < PORT_WORDS; w++)
		n += (uint32_t)__builtin_popcountll(t->bits[set][w]);
	return n;
}

/* ---- against an array of bool ---- */

struct model {
	bool used[N_PORT_SETS][65536];
	uint32_t n[N_PORT_SETS];
};

static uint32_t model_free(const struct model *m, enum port_set set, uint16_t first, uint16_t last)
{
	uint32_t n = 0;

	for (uint32_t p = first; p <= last; p++)
		n += !m->used[set][p];
	return n;
}

static void step_take(struct port_table *t, struct model *m, enum port_set set, uint16_t first, uint16_t last,
	uint32_t start, uint64_t seed, uint64_t step)
{
	_Atomic uint64_t intent = 12345;
	int got = ports_take(t, TABLE, set, first, last, start, &intent);

	if (got < 0) {
		CHECK_AT(seed, step, model_free(m, set, first, last) == 0);
		CHECK_AT(seed, step, intent == 0);
		return;
	}
	CHECK_AT(seed, step, got >= first && got <= last);
	CHECK_AT(seed, step, !m->used[set][got] && ports_is_set(t, set, (uint16_t)got));
	CHECK_AT(seed, step, intent == port_name(TABLE, set, (uint16_t)got));
	m->used[set][got] = true;
	m->n[set]++;
}

static void step_put(
	struct port_table *t, struct model *m, enum port_set set, uint16_t port, uint64_t seed, uint64_t step)
{
	CHECK_AT(seed, step, ports_put(t, set, port) == m->used[set][port]);
	CHECK_AT(seed, step, !ports_is_set(t, set, port));
	m->n[set] -= m->used[set][port];
	m->used[set][port] = false;
}

static void check_all(const struct port_table *t, const struct model *m, uint64_t seed, uint64_t step)
{
	for (int set = 0; set < N_PORT_SETS; set++) {
		CHECK_AT(seed, step, ports_used(t, set) == m->n[set] && bits_in(t, set) == m->n[set]);
		for (uint32_t p = 0; p < 65536; p++)
			CHECK_AT(seed, step, ports_is_set(t, set, (uint16_t)p) == m->used[set][p]);
	}
}

/* Ranges whose ends lie anywhere in a word, the same word, or at the ends of all ports. */
static void test_against_an_array(void **state)
{
	static const struct {
		uint16_t first, last;
	} range[] = {{1024, 65535}, {0, 65535}, {1024, 1087}, {1030, 1040}, {1087, 1088}, {5000, 5000}, {0, 0},
		{65535, 65535}, {65530, 65535}, {100, 227}, {1, 62}, {63, 64}, {64, 127}, {64, 128}};
	struct model *m = malloc(sizeof *m);

	for (uint64_t seed = 0; seed < 56; seed++) {
		uint16_t first = range[seed % 14].first, last = range[seed % 14].last;
		struct port_table *t = table_new();
		struct rnd r = {seed};

		memset(m, 0, sizeof *m);
		for (uint64_t step = 0; step < 3000; step++) {
			enum port_set set = rnd_below(&r, N_PORT_SETS);

			if (rnd_below(&r, 3))
				step_take(t, m, set, first, last, (uint32_t)rnd_next(&r), seed, step);
			else
				step_put(t, m, set, (uint16_t)(first + rnd_below(&r, last - first + 1u)), seed, step);
		}
		check_all(t, m, seed, 3000);
		free(t);
	}
	free(m);
}

/* Every port of the range is had exactly once, whatever was taken outside of it; then none, then the one put back. */
static void exhaust(uint16_t first, uint16_t last, uint64_t seed)
{
	struct port_table *t = table_new();
	_Atomic uint64_t intent = 0;
	struct rnd r = {seed};
	uint32_t n = 0, size = last - first + 1u;
	bool *had = calloc(65536, 1);

	for (int port; (port = ports_take(t, TABLE, PORTS_TCP, first, last, (uint32_t)rnd_next(&r), &intent)) >= 0;
		n++) {
		CHECK_AT(seed, n, port >= first && port <= last && !had[port]);
		had[port] = true;
	}
	assert_int_equal(n, size);
	assert_int_equal(ports_used(t, PORTS_TCP), size);
	assert_int_equal(bits_in(t, PORTS_OTHER), 0); /* the sets are apart */
	for (int i = 0; i < 50; i++) {
		uint16_t port = (uint16_t)(first + rnd_below(&r, size));

		assert_true(ports_put(t, PORTS_TCP, port));
		assert_int_equal(ports_take(t, TABLE, PORTS_TCP, first, last, (uint32_t)rnd_next(&r), &intent), port);
		assert_int_equal(ports_take(t, TABLE, PORTS_TCP, first, last, (uint32_t)rnd_next(&r), &intent), -1);
	}
	free(had);
	free(t);
}

static void test_exhaustion(void **state)
{
	exhaust(1024, 65535, 1);
	exhaust(0, 65535, 2);
	exhaust(1000, 1100, 3);
	exhaust(1030, 1040, 4);
	exhaust(65535, 65535, 5);
	exhaust(127, 128, 6);
}

static void test_put_of_a_free_port(void **state)
{
	struct port_table *t = table_new();
	_Atomic uint64_t intent = 0;

	assert_false(ports_put(t, PORTS_TCP, 5000));
	assert_int_equal(ports_take(t, TABLE, PORTS_TCP, 5000, 5000, 0, &intent), 5000);
	assert_false(ports_put(t, PORTS_OTHER, 5000));
	assert_true(ports_put(t, PORTS_TCP, 5000));
	assert_false(ports_put(t, PORTS_TCP, 5000));
	assert_int_equal(ports_used(t, PORTS_TCP), 0);
	free(t);
}

/* A random start gives a random port: over all of the range, and without a port more likely than others in an empty
 * table (RFC 6056). */
static void test_start_is_the_port(void **state)
{
	struct port_table *t = table_new();
	_Atomic uint64_t intent = 0;
	struct rnd r = {9};
	uint32_t tenth[10] = {0};

	for (int i = 0; i < 20000; i++) {
		uint32_t start = (uint32_t)rnd_next(&r);
		int port = ports_take(t, TABLE, PORTS_OTHER, 1024, 65535, start, &intent);

		assert_int_equal(port, 1024 + start % 64512);
		tenth[(port - 1024) * 10 / 64512]++;
		ports_put(t, PORTS_OTHER, (uint16_t)port);
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(tenth[i], 1800, 2200);
	free(t);
}

static void test_names_are_distinct(void **state)
{
	assert_int_not_equal(port_name(1, PORTS_TCP, 0), 0);
	assert_int_not_equal(port_name(1, PORTS_TCP, 80), port_name(1, PORTS_OTHER, 80));
	assert_int_not_equal(port_name(1, PORTS_TCP, 80), port_name(2, PORTS_TCP, 80));
	assert_int_equal(port_set_of(L4_TCP), PORTS_TCP);
	assert_int_equal(port_set_of(L4_UDP), PORTS_OTHER);
	assert_int_equal(port_set_of(L4_ICMP), PORTS_OTHER);
}

/* ---- several engines ---- */

enum { THREADS = 4, STEPS = 30000, FIRST = 1000, LAST = 1199 };

struct shared {
	struct port_table *t;
	_Atomic int owner[65536]; /* thread + 1 */
};

struct engine {
	struct shared *shared;
	unsigned n;
	uint32_t wrong, full;
	uint16_t held[LAST - FIRST + 1];
	uint32_t n_held;
	pthread_t thread;
};

static void *engine_run(void *arg)
{
	struct engine *e = arg;
	struct shared *s = e->shared;
	struct rnd r = {e->n};
	_Atomic uint64_t intent = 0;

	for (int step = 0; step < STEPS; step++) {
		if (e->n_held && rnd_below(&r, 5) < 2) {
			uint32_t at = rnd_below(&r, e->n_held);
			uint16_t port = e->held[at];

			e->held[at] = e->held[--e->n_held];
			e->wrong += atomic_exchange(&s->owner[port], 0) != (int)e->n + 1;
			e->wrong += !ports_put(s->t, PORTS_OTHER, port);
			continue;
		}
		int port = ports_take(s->t, TABLE, PORTS_OTHER, FIRST, LAST, (uint32_t)rnd_next(&r), &intent);

		if (port < 0) {
			e->full++;
			continue;
		}
		e->wrong += atomic_exchange(&s->owner[port], (int)e->n + 1) != 0;
		e->held[e->n_held++] = (uint16_t)port;
	}
	return NULL;
}

static void test_no_port_has_two_owners(void **state)
{
	static struct shared shared;
	struct engine *engine = calloc(THREADS, sizeof *engine);
	uint32_t held = 0;

	shared.t = table_new();
	for (unsigned n = 0; n < THREADS; n++) {
		engine[n].shared = &shared;
		engine[n].n = n;
		assert_int_equal(pthread_create(&engine[n].thread, NULL, engine_run, &engine[n]), 0);
	}
	for (unsigned n = 0; n < THREADS; n++) {
		pthread_join(engine[n].thread, NULL);
		assert_int_equal(engine[n].wrong, 0);
		assert_true(engine[n].full > 0); /* exhaustion was met */
		held += engine[n].n_held;
	}
	assert_int_equal(bits_in(shared.t, PORTS_OTHER), held);
	assert_int_equal(ports_used(shared.t, PORTS_OTHER), held);
	free(engine);
	free(shared.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_put_of_a_free_port),
		cmocka_unit_test(test_start_is_the_port),
		cmocka_unit_test(test_names_are_distinct),
		cmocka_unit_test(test_no_port_has_two_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
