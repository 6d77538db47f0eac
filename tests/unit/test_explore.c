/* Every interleaving of a few operations on the global table and on the remote-free list, and every death. */
#include "explore.h"
#include "shm/global_table.h"
#include "shm/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "explore_atomics.h"
/* The real code, with the explorer's atomics. */
#include "shm/global_table.c"
#include "shm/slab.c"

/* ---- global table: one key, all that can be done to it at once ---- */

enum { BUCKETS = 3, NOBODY = 0 };
static const uint64_t KEY = 0x4000000000000007u; /* its buckets are 0 and another one */

static struct {
	struct global_bucket bucket[BUCKETS];
	unsigned refs;                    /* of the object in the table; under the lock */
	uint32_t result[EXPLORE_THREADS]; /* the object each thread ended up with */
	bool referenced[EXPLORE_THREADS];
	bool refused[EXPLORE_THREADS];
} g;

static struct global_table view(unsigned actor)
{
	return (struct global_table){.bucket = g.bucket, .n = BUCKETS, .actor = actor};
}

static void put_entry(uint32_t bucket, unsigned slot, uint64_t entry)
{
	__atomic_store_n((uint64_t *)&g.bucket[bucket].entry[slot], entry, __ATOMIC_RELAXED);
}

static uint64_t get_entry(uint32_t bucket, unsigned slot)
{
	return __atomic_load_n((uint64_t *)&g.bucket[bucket].entry[slot], __ATOMIC_RELAXED);
}

static void reset_empty(void)
{
	memset(&g, 0, sizeof g);
}

static uint64_t table_state(void)
{
	return XXH3_64bits(&g, sizeof g);
}

/* As map() in pe/nat_create.c does it: what is there wins. */
static void insert_unique(unsigned thread)
{
	struct global_table t = view(thread);
	struct global_pair pair;
	unsigned cursor = 0;

	if (!global_lock(&t, KEY, &pair)) {
		g.refused[thread] = true;
		return;
	}
	uint32_t found = global_next(&t, &pair, &cursor);

	if (!found && global_insert(&t, &pair, 100 + thread))
		found = 100 + thread;
	if (found) {
		g.refs++;
		g.referenced[thread] = true;
	}
	g.result[thread] = found;
	global_unlock(&t, &pair);
}

/* As end_mapping() in pe/nat_end.c does it. */
static void remove_if_unreferenced(unsigned thread)
{
	struct global_table t = view(thread);
	struct global_pair pair;
	unsigned cursor = 0;

	if (!global_lock(&t, KEY, &pair)) {
		g.refused[thread] = true;
		return;
	}
	uint32_t found = global_next(&t, &pair, &cursor);

	if (found && g.refs == 0)
		global_remove(&t, &pair, found);
	global_unlock(&t, &pair);
}

static unsigned entries(void)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < BUCKETS; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			n += get_entry(b, i) != 0;
	return n;
}

static bool any_lock(void)
{
	for (uint32_t b = 0; b < BUCKETS; b++)
		if (__atomic_load_n((uint64_t *)&g.bucket[b].lock, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* What a successor of thread 0 does first. */
static void succeed_first(void)
{
	struct global_table t = view(0);

	for (uint32_t b = 0; b < BUCKETS; b++) {
		uint64_t *lock = (uint64_t *)&g.bucket[b].lock;

		if (*lock == t.actor + 1)
			*lock = 0;
	}
}

static const char *one_winner(bool first_died)
{
	uint32_t won = 0;

	if (first_died)
		succeed_first();
	if (any_lock())
		return "a lock is still held";
	if (entries() > 1)
		return "the key is in the table twice";
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		if (g.refused[i] && !first_died)
			return "a thread was refused though nobody died";
		if (!g.result[i])
			continue;
		if (won && g.result[i] != won)
			return "two threads won";
		won = g.result[i];
	}
	return won && entries() == 0 ? "the winner's entry is gone" : NULL;
}

static void show(const char *what, const struct explore_result *r)
{
	printf("%s: %llu states, %llu schedules\n", what, (unsigned long long)r->states,
		(unsigned long long)r->schedules);
}

static void test_insert_unique_has_one_winner(void **state)
{
	const struct explore_world w = {3, false, reset_empty, insert_unique, table_state, one_winner};
	struct explore_result r;

	(void)state;
	assert_true(explore(&w, &r));
	show("three insert one key", &r);
	assert_true(r.states > 1000);
}

static void test_insert_unique_when_one_dies(void **state)
{
	const struct explore_world w = {2, true, reset_empty, insert_unique, table_state, one_winner};
	struct explore_result r;

	(void)state;
	assert_true(explore(&w, &r));
	show("two insert one key, one may die", &r);
}

/* One object without references: 0 looks it up and references, 1 removes it if unreferenced, 2 inserts its own. */
static void reset_one(void)
{
	struct global_table t = view(0);
	struct global_pair pair;

	memset(&g, 0, sizeof g);
	pair = global_pair_of(&t, KEY);
	put_entry(pair.first, 0, (uint64_t)pair.tag << 32 | 99);
}

static void look_up_or_remove(unsigned thread)
{
	if (thread == 1)
		remove_if_unreferenced(thread);
	else
		insert_unique(thread);
}

static const char *referenced_is_there(bool first_died)
{
	const char *wrong = one_winner(first_died);

	if (wrong)
		return wrong;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		if (g.referenced[i] && entries() == 0)
			return "an object was removed while referenced";
	return NULL;
}

static void test_a_reference_keeps_an_object(void **state)
{
	const struct explore_world w = {3, false, reset_one, look_up_or_remove, table_state, referenced_is_there};
	struct explore_result r;

	(void)state;
	assert_true(explore(&w, &r));
	show("lookup-and-reference, remove-if-unreferenced, insert", &r);
}

/* ---- remote-free list ---- */

static struct {
	struct arena *a;
	struct slab *slab;
	uint32_t object[2];
	unsigned drained[2]; /* how often the owner got each */
} r;

static void reset_remote(void)
{
	__atomic_store_n((uint32_t *)&r.slab->remote, 0, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		((struct slab_object *)slab_pointer(r.a, SLAB_session, r.object[i]))->link = 0;
		r.drained[i] = 0;
	}
}

static uint64_t remote_state(void)
{
	uint64_t all[] = {__atomic_load_n((uint32_t *)&r.slab->remote, __ATOMIC_RELAXED),
		slab_next_remote(r.a, SLAB_session, r.object[0]), slab_next_remote(r.a, SLAB_session, r.object[1]),
		r.drained[0], r.drained[1]};

	return XXH3_64bits(all, sizeof all);
}

static void drain(void)
{
	for (uint32_t i = slab_drain(r.slab), next; i; i = next) {
		next = slab_next_remote(r.a, SLAB_session, i);
		r.drained[i == r.object[1]]++;
	}
}

static void queue_or_drain(unsigned thread)
{
	if (thread < 2)
		slab_put_remote(r.a, r.slab, SLAB_session, r.object[thread]);
	else
		for (int turn = 0; turn < 2; turn++)
			drain();
}

static const char *nothing_lost(bool first_died)
{
	unsigned queued[2] = {0, 0};

	for (uint32_t i = __atomic_load_n((uint32_t *)&r.slab->remote, __ATOMIC_RELAXED); i;
		i = slab_next_remote(r.a, SLAB_session, i))
		queued[i == r.object[1]]++;
	for (int i = 0; i < 2; i++)
		if (queued[i] + r.drained[i] > 1)
			return "an object was queued or drained twice";
	if (queued[1] + r.drained[1] != 1 || (!first_died && queued[0] + r.drained[0] != 1))
		return "an object was lost";
	return NULL;
}

static int make_objects(void **state)
{
	const struct arena_geometry geometry = {.engines = 1,
		.sessions = 64,
		.pages = 1,
		.local_buckets = 1,
		.global_buckets = 1,
		.mapping_buckets = 1};
	struct arena_error err;

	(void)state;
	r.a = arena_open_private(&geometry, 1, &err);
	if (!r.a)
		return -1;
	/* Index of the first page's slots: the explorer never takes or puts, so the page need not be owned. */
	r.object[0] = slab_per_page(SLAB_session);
	r.object[1] = r.object[0] + 1;
	r.slab = calloc(1, sizeof *r.slab);
	return r.slab ? 0 : -1;
}

static int free_objects(void **state)
{
	(void)state;
	free(r.slab);
	arena_close(r.a);
	return 0;
}

static void test_remote_list_loses_nothing(void **state)
{
	const struct explore_world w = {3, true, reset_remote, queue_or_drain, remote_state, nothing_lost};
	struct explore_result result;

	(void)state;
	assert_true(explore(&w, &result));
	show("two queue, the owner drains, one may die", &result);
}

/* ---- global table: keys entered under one lock ---- */

static uint64_t key_of(unsigned thread)
{
	return thread == 2 ? KEY + 1 : KEY; /* the same home bucket */
}

/* One place is left in the home bucket. */
static void reset_nearly_full(void)
{
	struct global_table t = view(0);
	struct global_pair pair = global_pair_of(&t, KEY);

	memset(&g, 0, sizeof g);
	for (unsigned i = 1; i < GLOBAL_ENTRIES; i++)
		put_entry(pair.home, i, (uint64_t)(pair.tag + 77) << 32 | i);
}

/* As nat_enter_filter() in pe/nat_bind.c does it. */
static void enter_alone(unsigned thread)
{
	struct global_table t = view(thread);
	struct global_pair pair = global_pair_of(&t, key_of(thread));

	if (!global_enter(&t, &pair, 100 + thread)) {
		if (!global_lock_pair(&t, &pair)) {
			g.refused[thread] = true;
			return;
		}
		global_insert(&t, &pair, 100 + thread);
		global_unlock(&t, &pair);
	}
	g.result[thread] = 100 + thread;
}

/* 1 looks twice for what 0 enters, while 2 enters another key into the same bucket. */
static void enter_or_look(unsigned thread)
{
	struct global_table t = view(thread);

	for (unsigned turn = 0; thread == 1 && turn < 2; turn++) {
		struct global_pair pair;
		unsigned cursor = 0;

		if (!global_lock(&t, KEY, &pair)) {
			g.refused[thread] = true;
			return;
		}
		uint32_t found = global_next(&t, &pair, &cursor);

		g.referenced[thread] |= g.result[thread] && !found; /* it was there, and is gone */
		g.result[thread] = found;
		global_unlock(&t, &pair);
	}
	if (thread != 1)
		enter_alone(thread);
}

static unsigned times_in_table(uint32_t index)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < BUCKETS; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			n += (uint32_t)get_entry(b, i) == index;
	return n;
}

static const char *each_is_in_once(bool first_died)
{
	if (first_died)
		succeed_first();
	if (any_lock())
		return "a lock is still held";
	if (g.referenced[1] || (g.result[1] && g.result[1] != 100))
		return "what was entered was found otherwise";
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		if (g.refused[i] && !first_died)
			return "a thread was refused though nobody died";
		if (i != 1 && times_in_table(100 + i) > 1)
			return "an entry is there twice";
		if (i != 1 && g.result[i] && times_in_table(100 + i) == 0)
			return "an entry is gone";
	}
	return times_in_table(1) == 1 && times_in_table(GLOBAL_ENTRIES - 1) == 1 ? NULL : "a bystander is gone";
}

static void test_entering_under_one_lock(void **state)
{
	const struct explore_world all = {3, false, reset_nearly_full, enter_or_look, table_state, each_is_in_once};
	const struct explore_world dying = {2, true, reset_nearly_full, enter_or_look, table_state, each_is_in_once};
	struct explore_result result;

	(void)state;
	assert_true(explore(&all, &result));
	show("two enter one bucket, one looks", &result);
	assert_true(explore(&dying, &result));
	show("one enters and may die, one looks", &result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_insert_unique_has_one_winner),
		cmocka_unit_test(test_insert_unique_when_one_dies),
		cmocka_unit_test(test_a_reference_keeps_an_object),
		cmocka_unit_test(test_entering_under_one_lock),
		cmocka_unit_test_setup_teardown(test_remote_list_loses_nothing, make_objects, free_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
