/* Event rings: against a plain list, by random steps in a ring of four places; producer and consumer as threads; and the
 * kinds that there are. */
#include "shm/event.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- a ring of any size ---- */

static struct events ring_of(unsigned slots)
{
	struct event_ring *r = aligned_alloc(CACHE_LINE, sizeof(struct event_ring) + slots * sizeof(struct event));

	assert_non_null(r);
	memset(r, 0, sizeof *r + slots * sizeof(struct event));
	return (struct events){r, slots - 1};
}

static struct event numbered(uint64_t n)
{
	return (struct event){.time_ns = n, .total = ~n, .ports = 64, .kind = EVENT_block_given};
}

static bool is_numbered(const struct event *e, uint64_t n)
{
	struct event want = numbered(n);

	return memcmp(e, &want, sizeof want) == 0;
}

/* ---- against a list ---- */

enum { TINY = 4, STEPS = 4000 };

/* All events that were ever accepted, in order; of them so many were taken, and so many others lost. */
struct model {
	uint64_t accepted[STEPS];
	uint64_t n, taken, lost;
};

static void step_put(const struct events *v, struct model *m, uint64_t seed, uint64_t step)
{
	struct event e = numbered(step);
	bool room = m->n - m->taken < TINY;

	CHECK_AT(seed, step, event_put(v, &e) == room);
	if (room)
		m->accepted[m->n++] = step;
	else
		m->lost++;
	CHECK_AT(seed, step, event_lost(v) == m->lost);
}

/* Looks at some, and takes those it saw, or fewer: the rest is seen again. */
static void step_take(const struct events *v, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	unsigned max = 1 + rnd_below(rnd, TINY + 1);
	struct event out[TINY + 1];
	uint64_t first = event_next(v), there = m->n - m->taken;
	unsigned n = event_peek(v, first, out, max);

	CHECK_AT(seed, step, first == m->taken && n == (there < max ? there : max));
	for (unsigned i = 0; i < n; i++)
		CHECK_AT(seed, step, is_numbered(&out[i], m->accepted[first + i]));
	unsigned keep = rnd_one_in(rnd, 4) ? rnd_below(rnd, n + 1) : n;
	event_taken(v, first + keep);
	m->taken += keep;
}

static void test_against_a_list(void **state)
{
	struct model *m = calloc(1, sizeof *m);

	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct events v = ring_of(TINY);
		struct rnd rnd = {seed};

		*m = (struct model){.n = 0};
		for (uint64_t step = 0; step < STEPS; step++)
			if (rnd_one_in(&rnd, 3))
				step_take(&v, m, &rnd, seed, step);
			else
				step_put(&v, m, seed, step);
		assert_true(m->lost > 100 && m->taken > 10 * TINY);
		free(v.ring);
	}
	free(m);
}

/* ---- numbers go on for ever ---- */

static void test_numbers_wrap(void **state)
{
	struct events v = ring_of(TINY);
	struct event out[TINY];

	(void)state;
	atomic_store(&v.ring->head, UINT64_MAX - 1);
	atomic_store(&v.ring->tail, UINT64_MAX - 1);
	for (uint64_t n = 0; n < TINY; n++)
		assert_true(event_put(&v, &(struct event){.time_ns = n}));
	assert_false(event_put(&v, &out[0]));
	assert_int_equal(event_peek(&v, event_next(&v), out, TINY), TINY);
	for (uint64_t n = 0; n < TINY; n++)
		assert_int_equal(out[n].time_ns, n);
	event_taken(&v, event_next(&v) + TINY);
	assert_int_equal(event_peek(&v, event_next(&v), out, TINY), 0);
	free(v.ring);
}

/* Words that contradict each other lead nobody outside the ring. */
static void test_nonsense(void **state)
{
	struct events v = ring_of(TINY);
	struct event out[2 * TINY];

	(void)state;
	atomic_store(&v.ring->head, 3);
	atomic_store(&v.ring->tail, 4);
	assert_int_equal(event_peek(&v, event_next(&v), out, 2 * TINY), 0);
	atomic_store(&v.ring->head, 4 + TINY + 1);
	assert_int_equal(event_peek(&v, event_next(&v), out, 2 * TINY), 0);
	assert_false(event_put(&v, &out[0]));
	free(v.ring);
}

/* ---- both ends at once ---- */

enum { THREADS_SLOTS = 16, THREADS_EVENTS = 200000 };

static void *produce(void *context)
{
	const struct events *v = context;

	for (uint64_t n = 1; n <= (UNDER_TSAN ? THREADS_EVENTS / 10 : THREADS_EVENTS); n++) {
		struct event e = numbered(n);

		event_put(v, &e);
		if (n % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* In order, each whole, none twice; and those that do not come were counted. */
static void test_threads(void **state)
{
	struct events v = ring_of(THREADS_SLOTS);
	uint64_t all = UNDER_TSAN ? THREADS_EVENTS / 10 : THREADS_EVENTS, seen = 0, last = 0;
	struct event out[8];
	pthread_t thread;
	unsigned n;
	bool over = false;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, produce, &v), 0);
	while (!over || atomic_load(&v.ring->head) != atomic_load(&v.ring->tail)) {
		n = event_peek(&v, seen, out, 8);
		for (unsigned i = 0; i < n; i++) {
			assert_true(is_numbered(&out[i], out[i].time_ns) && out[i].time_ns > last);
			last = out[i].time_ns;
		}
		seen += n;
		event_taken(&v, seen);
		if (n == 0)
			sched_yield();
		over = seen + event_lost(&v) == all;
	}
	pthread_join(thread, NULL);
	assert_int_equal(seen + event_lost(&v), all);
	assert_true(seen > 0);
	print_message("%llu came, %llu were lost and counted\n", (unsigned long long)seen,
		(unsigned long long)event_lost(&v));
	free(v.ring);
}

/* ---- in the arena ---- */

static void test_rings_of_an_arena(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct event out;

	(void)state;
	assert_int_equal(event_rings(a), 3);
	for (unsigned n = 0; n < event_rings(a); n++) {
		struct events v = events_of(a, event_actor(a, n));
		struct event e = numbered(n + 1);

		assert_true(event_put(&v, &e));
	}
	for (unsigned n = 0; n < event_rings(a); n++) {
		struct events v = events_of(a, event_actor(a, n));

		assert_int_equal(event_peek(&v, event_next(&v), &out, 1), 1);
		assert_true(is_numbered(&out, n + 1));
	}
	assert_int_equal(event_actor(a, 2), ACTOR_MGMTD);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_numbers_wrap),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_rings_of_an_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
