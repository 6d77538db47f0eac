/* ports: chunks against plain arrays, in every epoch; given ports, ranges, blocks; several engines at one chunk. */
#include "tests/unit/port_rig.h"

#include <pthread.h>

static struct rig *plain_rig(void)
{
	return rig_open(&(struct rig_setup){.engines = 1, .first = LOW_PORTS, .last = 65535, .hold_percent = 100});
}

/* ---- one chunk against an array ---- */

struct port_model {
	bool taken;
	int freed; /* epoch; -1: does not rest */
};

static bool model_free(const struct port_model *m, int epoch)
{
	return !m->taken && (m->freed < 0 || epoch >= m->freed + 2);
}

static void step_take(struct rig *r, struct port_model m[CHUNK_PORTS], unsigned chunk, struct rnd *rnd, int epoch,
	uint64_t seed, uint64_t step)
{
	uint32_t mask = (uint32_t)rnd_next(rnd) & CHUNK_ALL, can = 0;
	_Atomic uint64_t intent = 12345;
	uint64_t word;
	int place = chunk_take(r->table, RIG_TABLE, &r->rules[0].order, PORTS_TCP, chunk, mask,
		rnd_below(rnd, CHUNK_PORTS), 1, (uint8_t)epoch, &intent, &word);

	for (unsigned i = 0; i < CHUNK_PORTS; i++)
		can |= (uint32_t)(model_free(&m[i], epoch) && mask >> i & 1) << i;
	CHECK_AT(seed, step, (place >= 0) == (can != 0));
	if (place < 0)
		return;
	CHECK_AT(seed, step, can >> place & 1);
	CHECK_AT(seed, step, chunk_holder(word) == 1 && chunk_taken(word) >> place & 1);
	CHECK_AT(seed, step,
		intent == port_name(RIG_TABLE, PORTS_TCP, (uint16_t)(chunk * CHUNK_PORTS + (unsigned)place)));
	m[place] = (struct port_model){true, -1};
}

static void step_put(struct rig *r, struct port_model m[CHUNK_PORTS], unsigned chunk, struct rnd *rnd, int epoch,
	uint64_t seed, uint64_t step)
{
	struct port_place p = {(uint16_t)chunk, (uint8_t)rnd_below(rnd, CHUNK_PORTS)};
	bool rest = rnd_below(rnd, 3) != 0;
	uint64_t word;

	CHECK_AT(seed, step, chunk_put(r->table, PORTS_TCP, p, rest, (uint8_t)epoch, &word) == m[p.place].taken);
	if (m[p.place].taken)
		m[p.place] = (struct port_model){false, rest ? epoch : -1};
}

static void test_chunk(void **state)
{
	struct rig *r = plain_rig();

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct port_model m[CHUNK_PORTS];
		unsigned chunk = 100 + (unsigned)seed;
		struct rnd rnd = {seed};
		int epoch = (int)rnd_below(&rnd, 600); /* past the wrap of the eight bits */

		for (unsigned i = 0; i < CHUNK_PORTS; i++)
			m[i] = (struct port_model){false, -1};
		for (uint64_t step = 0; step < 2000; step++) {
			if (rnd_one_in(&rnd, 12))
				epoch += (int)rnd_below(&rnd, 4);
			if (rnd_below(&rnd, 2))
				step_take(r, m, chunk, &rnd, epoch, seed, step);
			else
				step_put(r, m, chunk, &rnd, epoch, seed, step);
		}
	}
	rig_close(r);
}

/* ---- given ports and ranges ---- */

static void test_one_port(void **state)
{
	struct rig *r = plain_rig();
	const struct port_order *o = &r->rules[0].order;
	_Atomic uint64_t intent = 0;

	for (uint32_t port = 0; port < 65536; port += 331) {
		assert_false(ports_is_taken(r->table, o, PORTS_TCP, (uint16_t)port));
		assert_true(ports_take_one(r->table, RIG_TABLE, o, PORTS_TCP, (uint16_t)port, false, 0, &intent));
		assert_int_equal(intent, port_name(RIG_TABLE, PORTS_TCP, (uint16_t)port));
		assert_false(ports_take_one(r->table, RIG_TABLE, o, PORTS_TCP, (uint16_t)port, false, 0, &intent));
		assert_int_equal(intent, 0);
		assert_true(ports_is_taken(r->table, o, PORTS_TCP, (uint16_t)port));
		assert_false(ports_is_taken(r->table, o, PORTS_OTHER, (uint16_t)port));
		assert_true(ports_put(r->table, o, PORTS_TCP, (uint16_t)port));
		assert_false(ports_put(r->table, o, PORTS_TCP, (uint16_t)port));
	}
	rig_close(r);
}

/* Every port of the range is had exactly once, whatever was taken outside of it; then none, then the one put back. */
static void exhaust(uint16_t first, uint16_t last, int odd, uint64_t seed)
{
	struct rig *r = plain_rig();
	const struct port_order *o = &r->rules[0].order;
	uint32_t n = 0, size = 0;
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {seed};
	bool *had = calloc(65536, 1);
	int port;

	for (uint32_t p = first; p <= last; p++)
		size += odd < 0 || (int)(p & 1) == odd;
	while ((port = ports_take_in(r->table, RIG_TABLE, o, PORTS_TCP, first, last, NULL, NULL, odd, false,
			(uint32_t)rnd_next(&rnd), 0, &intent)) >= 0) {
		CHECK_AT(seed, n, port >= first && port <= last && !had[port]);
		CHECK_AT(seed, n, odd < 0 || (port & 1) == odd);
		had[port] = true;
		n++;
	}
	assert_int_equal(n, size);
	assert_int_equal(intent, 0);
	assert_int_equal(rig_used(r, PORTS_TCP).taken, size);
	assert_int_equal(rig_used(r, PORTS_OTHER).taken, 0);
	free(had);
	rig_close(r);
}

static void test_ranges(void **state)
{
	exhaust(0, 65535, -1, 1);
	exhaust(1000, 1100, -1, 2);
	exhaust(1030, 1040, 0, 3);
	exhaust(65535, 65535, -1, 4);
	exhaust(127, 128, 1, 5);
	exhaust(1023, 1024, -1, 6);
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

/* ---- several engines at the same few chunks ---- */

enum { THREADS = 4, STEPS = 40000, FIRST = 1000, LAST = 1100 };

struct shared {
	struct rig *rig;
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

static void give_one_back(struct engine *e, struct rnd *r)
{
	struct rig *rig = e->shared->rig;
	uint32_t at = rnd_below(r, e->n_held);
	struct port_place p = port_place_of(&rig->rules[0].order, e->held[at]);
	uint16_t port = e->held[at];
	uint64_t word;

	e->held[at] = e->held[--e->n_held];
	e->wrong += atomic_exchange(&e->shared->owner[port], 0) != (int)e->n + 1;
	e->wrong += !chunk_put(rig->table, PORTS_OTHER, p, false, 0, &word);
}

static void *engine_run(void *arg)
{
	struct engine *e = arg;
	struct rig *rig = e->shared->rig;
	struct rnd r = {e->n};
	_Atomic uint64_t intent = 0;

	for (int step = 0; step < STEPS; step++) {
		if (e->n_held && rnd_below(&r, 5) < 2) {
			give_one_back(e, &r);
			continue;
		}
		int port = ports_take_in(rig->table, RIG_TABLE, &rig->rules[0].order, PORTS_OTHER, FIRST, LAST, NULL,
			NULL, -1, false, (uint32_t)rnd_next(&r), 0, &intent);

		if (port < 0) {
			e->full++;
			continue;
		}
		e->wrong += atomic_exchange(&e->shared->owner[port], (int)e->n + 1) != 0;
		e->held[e->n_held++] = (uint16_t)port;
	}
	return NULL;
}

static void test_no_port_has_two_owners(void **state)
{
	static struct shared shared;
	struct engine *engine = calloc(THREADS, sizeof *engine);
	uint32_t held = 0;

	shared.rig = plain_rig();
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
	assert_int_equal(rig_used(shared.rig, PORTS_OTHER).taken, held);
	free(engine);
	rig_close(shared.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk),
		cmocka_unit_test(test_one_port),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_names_are_distinct),
		cmocka_unit_test(test_no_port_has_two_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
