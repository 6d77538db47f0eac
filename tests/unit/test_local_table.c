/* local_table: against a list of (hash, index), full buckets and moves forced, readers beside the owner. */
#include "shm/local_idle.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN_RANGE = 1 << LOCAL_SEEN_BITS, TAGS = 1 << LOCAL_TAG_BITS };

struct key {
	uint64_t hash;
	uint32_t index; /* 0: not in the table */
	uint32_t seen;
	unsigned class;
};

static struct local_table table_of(uint32_t n)
{
	struct local_table t = {aligned_alloc(CACHE_LINE, n * sizeof(struct local_bucket)), n};

	memset(t.bucket, 0, n * sizeof(struct local_bucket));
	return t;
}

static uint32_t entries_in(const struct local_table *t)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < t->n; b++)
		for (unsigned i = 0; i < LOCAL_ENTRIES; i++)
			n += t->bucket[b].entry[i] != 0;
	return n;
}

/* ---- entries ---- */

static void test_entry_round_trip(void **state)
{
	struct rnd r = {1};

	for (int n = 0; n < 100000; n++) {
		uint32_t index = 1 + rnd_below(&r, (1u << 28) - 1), tag = rnd_below(&r, TAGS);
		uint32_t now = (uint32_t)rnd_next(&r), later = rnd_below(&r, SEEN_RANGE - LOCAL_AHEAD_S);
		unsigned class = rnd_below(&r, 1 << LOCAL_CLASS_BITS);
		uint64_t e = local_entry(index, class, tag, now);

		CHECK_AT(1, n, local_index(e) == index && local_class(e) == class);
		CHECK_AT(1, n, local_tag(e) == tag && e != 0);
		CHECK_AT(1, n, local_idle_s(e, now) == 0);
		CHECK_AT(1, n, local_idle_s(e, now + later) == later); /* whatever wraps in between */
		CHECK_AT(1, n, local_idle_s(e, now - rnd_below(&r, LOCAL_AHEAD_S)) == 0); /* a clock read later */
	}
	assert_int_equal(local_index(local_entry((1u << 28) - 1, 15, TAGS - 1, UINT32_MAX)), (1 << 28) - 1);
}

/* A whole bucket at once says of each entry what is said of one. */
static void test_idle_in_a_bucket(void **state)
{
	struct rnd r = {3};

	for (int n = 0; n < 20000; n++) {
		uint32_t now = (uint32_t)rnd_next(&r), limit[1 << LOCAL_CLASS_BITS];
		struct local_limits limits;
		struct local_bucket b;
		unsigned idle = 0;

		for (unsigned class = 0; class < 1 << LOCAL_CLASS_BITS; class ++) {
			limit[class] = rnd_one_in(&r, 8) ? LOCAL_IDLE_S : 1 + rnd_below(&r, 1u << rnd_below(&r, 17));
			local_limit(&limits, class, limit[class] < LOCAL_IDLE_S ? limit[class] : LOCAL_IDLE_S);
		}
		for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
			unsigned class = rnd_below(&r, 1 << LOCAL_CLASS_BITS);
			uint32_t off = rnd_below(&r, 5) - 2,
				 ago = rnd_one_in(&r, 2) ? limit[class] + off : rnd_below(&r, SEEN_RANGE);
			uint64_t e =
				local_entry(1 + rnd_below(&r, (1u << 28) - 1), class, rnd_below(&r, TAGS), now - ago);

			b.entry[i] = rnd_one_in(&r, 4) ? 0 : e;
			idle |= (unsigned)(b.entry[i] && local_idle_s(e, now) >= limit[class]) << i;
		}
		CHECK_AT(3, n, local_idle_in(&b, &limits, now) == idle);
	}
}

/* The seen stamp holds 17 bits: idle times are right up to 36 hours across its wrap. */
static void test_seen_wraps(void **state)
{
	static const struct {
		uint32_t seen, now, idle;
	} row[] = {
		{0, 0, 0}, {5, 305, 300}, {SEEN_RANGE - 1, SEEN_RANGE, 1}, {SEEN_RANGE - 100, SEEN_RANGE + 200, 300},
		{3 * SEEN_RANGE - 1, 3 * SEEN_RANGE + 7439, 7440}, {UINT32_MAX, 0, 1},
		{10, 10 + SEEN_RANGE - LOCAL_AHEAD_S - 1, SEEN_RANGE - LOCAL_AHEAD_S - 1},
		{10, 9, 0},               /* marked by an engine whose clock was read after the reader's */
		{10, 10 + SEEN_RANGE, 0}, /* the price: what sleeps a whole turn looks young */
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
		assert_int_equal(local_idle_s(local_entry(1, 0, 0, row[i].seen), row[i].now), row[i].idle);
}

static const uint32_t sizes[] = {
	1, 2, 3, 5, 7, 64, 100, 257, 1000, 12289, 100003, 0x7fffffffu, 0x80000001u, 0xfffffffbu, UINT32_MAX};

static void test_other_is_an_involution(void **state)
{
	struct rnd r = {2};

	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		struct local_table t = {NULL, sizes[s]};

		for (uint32_t tag = 0; tag < TAGS; tag++) {
			uint32_t b = rnd_below(&r, t.n), other = local_other(&t, b, tag);

			CHECK_AT(t.n, tag, other < t.n && local_other(&t, other, tag) == b);
			uint64_t hash = rnd_next(&r);
			CHECK_AT(t.n, tag, local_first(&t, hash) < t.n);
		}
	}
}

/* ---- against a list ---- */

static bool find_in(const struct local_table *t, const struct key *k)
{
	local_place place = local_find(t, k->hash, k->index);

	return place && local_class(*place) == k->class && local_idle_s(*place, k->seen) == 0;
}

static void check_keys(const struct local_table *t, const struct key *key, uint32_t n, uint64_t seed, uint64_t step)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < n; i++) {
		live += key[i].index != 0;
		CHECK_AT(seed, step, !key[i].index || find_in(t, &key[i]));
	}
	CHECK_AT(seed, step, entries_in(t) == live);
}

/* Few buckets, hashes of which many share a tag or both buckets. */
static uint64_t crowded_hash(struct rnd *r)
{
	uint64_t hash = rnd_next(r);

	switch (rnd_below(r, 4)) {
	case 0: /* one of three tags */
		return (hash & ~(uint64_t)(TAGS - 1)) | rnd_below(r, 3);
	case 1: /* one of two first buckets' halves, one of two tags */
		return (uint64_t)rnd_below(r, 2) << 63 | rnd_below(r, 2);
	default:
		return hash;
	}
}

static void random_step(struct local_table *t, struct key *k, struct rnd *r, uint64_t seed, uint64_t step)
{
	uint32_t now = (uint32_t)(SEEN_RANGE - 500 + step);

	if (!k->index) {
		struct key fresh = {crowded_hash(r), 1 + (uint32_t)step, now, rnd_below(r, 16)};

		if (local_insert(t, fresh.hash, fresh.index, fresh.class, now))
			*k = fresh;
	} else if (rnd_one_in(r, 2)) {
		CHECK_AT(seed, step, local_remove(t, k->hash, k->index));
		CHECK_AT(seed, step, !local_find(t, k->hash, k->index));
		CHECK_AT(seed, step, !local_remove(t, k->hash, k->index));
		k->index = 0;
	} else {
		k->class = rnd_below(r, 16);
		k->seen = now;
		local_touch(local_find(t, k->hash, k->index), k->class, now);
		CHECK_AT(seed, step, find_in(t, k));
	}
}

static void test_against_a_list(void **state)
{
	enum { KEYS = 200, STEPS = 4000 };
	static const uint32_t buckets[] = {1, 2, 3, 5, 13, 20};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct local_table t = table_of(buckets[seed % 6]);
		struct key key[KEYS] = {{0}};
		struct rnd r = {seed};

		for (uint64_t step = 0; step < STEPS; step++) {
			random_step(&t, &key[rnd_below(&r, KEYS)], &r, seed, step);
			if (step % 50 == 0)
				check_keys(&t, key, KEYS, seed, step);
		}
		check_keys(&t, key, KEYS, seed, STEPS);
		free(t.bucket);
	}
}

/* The owner never misses a key while others are being moved about; a refused insert changes nothing. */
static void test_full_table_refuses_and_keeps(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct local_table t = table_of(17);
		struct key key[17 * LOCAL_ENTRIES + 64] = {{0}};
		struct rnd r = {seed};
		uint32_t n = 0, refused = 0;

		while (refused < 50) {
			uint64_t hash = rnd_next(&r);

			if (local_insert(&t, hash, n + 1, 3, 9))
				key[n] = (struct key){hash, n + 1, 9, 3}, n++;
			else
				refused++;
			check_keys(&t, key, n, seed, n);
		}
		assert_true(n <= t.n * LOCAL_ENTRIES);
		free(t.bucket);
	}
}

/* Nine keys with the same two buckets that are one bucket: the ninth has nowhere to go. */
static void test_one_bucket(void **state)
{
	struct local_table t = table_of(1);

	for (uint32_t i = 1; i <= LOCAL_ENTRIES; i++)
		assert_true(local_insert(&t, 7, i, 0, 0));
	assert_false(local_insert(&t, 7, 99, 0, 0));
	assert_true(local_remove(&t, 7, 4));
	assert_true(local_insert(&t, 7, 99, 0, 0));
	for (uint32_t i = 1; i <= LOCAL_ENTRIES; i++)
		assert_int_equal(local_find(&t, 7, i) != NULL, i != 4);
	assert_non_null(local_find(&t, 7, 99));
	free(t.bucket);
}

static uint32_t fill_until_refused(struct local_table *t, struct rnd *r)
{
	uint32_t n = 0;

	while (local_insert(t, rnd_next(r), n + 1, 0, 0))
		n++;
	return n;
}

/* Planned is a load of 88 %, see arena_plan. */
static void test_load_at_first_failure(void **state)
{
	static const uint32_t buckets[] = {1000, 4099, 10007, 65537, 200003};

	for (size_t i = 0; i < (UNDER_TSAN ? 2 : sizeof buckets / sizeof buckets[0]); i++) {
		double least = 100;

		for (uint64_t seed = 1; seed <= (buckets[i] > 50000 ? 2 : 5); seed++) {
			struct local_table t = table_of(buckets[i]);
			struct rnd r = {seed};
			double load = 100.0 * fill_until_refused(&t, &r) / (t.n * LOCAL_ENTRIES);

			least = load < least ? load : least;
			free(t.bucket);
		}
		print_message("%u buckets: first refusal at a load of %.1f %% or more\n", buckets[i], least);
		assert_true(least >= 95);
	}
}

/* Tables stay at a load for long: keys come and go. What is refused, and how often a key finds both its buckets full, so that
 * another has to move. */
static void test_churn_at_load(void **state)
{
	static const unsigned loads[] = {85, 88, 90, 92, 94, 96};

	for (size_t l = 0; l < sizeof loads / sizeof loads[0]; l++) {
		struct local_table t = table_of(UNDER_TSAN ? 1009 : 50021);
		uint32_t n = t.n * LOCAL_ENTRIES * loads[l] / 100, refused = 0, full = 0;
		uint64_t *hash = calloc(n, sizeof *hash);
		struct rnd r = {l + 1};

		for (uint32_t step = 0; step < 4 * n; step++) {
			uint32_t i = step < n ? step : rnd_below(&r, n);

			if (hash[i])
				local_remove(&t, hash[i], i + 1);
			hash[i] = rnd_next(&r);
			uint32_t first = local_first(&t, hash[i]);
			full += !local_empty(&t, first) &&
				!local_empty(&t, local_other(&t, first, local_hash_tag(hash[i])));
			if (local_insert(&t, hash[i], i + 1, 0, 0))
				continue;
			refused++;
			hash[i] = 0;
		}
		print_message("load %u %%: %u of %u refused, both buckets full %.1f %%\n", loads[l], refused, 4 * n,
			100.0 * full / (4 * n));
		assert_true(loads[l] > 94 || refused == 0);
		free(hash);
		free(t.bucket);
	}
}

/* A move cut in half by death leaves the entry in both buckets: removal takes both. */
static void test_removes_a_half_done_move(void **state)
{
	struct local_table t = table_of(11);
	uint64_t hash = 0x8000000000000123u;
	uint32_t first = local_first(&t, hash), other = local_other(&t, first, local_hash_tag(hash));

	assert_int_not_equal(first, other);
	assert_true(local_insert(&t, hash, 5, 1, 1));
	t.bucket[other].entry[3] = t.bucket[first].entry[0];
	assert_int_equal(entries_in(&t), 2);
	assert_true(local_remove(&t, hash, 5));
	assert_int_equal(entries_in(&t), 0);
	free(t.bucket);
}

static void test_cursor_walks_all_that_fit(void **state)
{
	struct local_table t = table_of(11);
	uint64_t hash = 0x4000000000000042u;
	bool seen[13] = {false};
	unsigned cursor = 0, n = 0;
	local_place place;

	for (uint32_t i = 1; i <= 12; i++)
		assert_true(local_insert(&t, hash, i, 0, 0)); /* eight here, four in the other */
	while ((place = local_next(&t, hash, &cursor))) {
		assert_false(seen[local_index(*place)]);
		seen[local_index(*place)] = true;
		n++;
	}
	assert_int_equal(n, 12);
	assert_null(local_next(&t, hash, &cursor)); /* and stays at the end */
	free(t.bucket);
}

/* What the burst leaves of a hash is what a look at one bucket after the other finds. */
static void check_found(const struct local_table *t, uint64_t hash, struct local_found f, uint64_t seed, uint64_t step)
{
	uint32_t tag = local_hash_tag(hash), first = local_first(t, hash);
	unsigned fits = local_match(t, first, tag);
	uint32_t bucket = fits ? first : local_other(t, first, tag);
	unsigned cursor = fits ? 0 : LOCAL_ENTRIES;
	local_place place;

	CHECK_AT(seed, step, f.bucket == bucket && f.fits == (fits ? fits : local_match(t, bucket, tag)));
	while ((place = local_fitting(t, &f)))
		CHECK_AT(seed, step, place == local_next(t, hash, &cursor));
}

static void test_burst_finds_what_one_by_one_does(void **state)
{
	enum { BUCKETS = 13, KEYS = BUCKETS * LOCAL_ENTRIES };
	struct arena *a = small_arena(1, BUCKETS);
	struct local_table t = local_table_of(a, 1, DIR_INBOUND);
	uint64_t there[KEYS], hash[LOCAL_BURST_MAX], in_first = 0, in_other = 0, nowhere = 0;
	struct local_found found[LOCAL_BURST_MAX];

	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct rnd r = {seed};
		uint32_t n = 0, burst = rnd_below(&r, LOCAL_BURST_MAX + 1);

		memset(t.bucket, 0, t.n * sizeof *t.bucket);
		for (uint32_t want = rnd_below(&r, KEYS); n < want; n++) {
			there[n] = crowded_hash(&r);
			if (!local_insert(&t, there[n], (uint32_t)(rnd_next(&r) >> 36) | 1, rnd_below(&r, 16),
				    (uint32_t)rnd_next(&r)))
				break;
		}
		for (uint32_t i = 0; i < burst; i++) {
			hash[i] = n && rnd_below(&r, 3) ? there[rnd_below(&r, n)] : crowded_hash(&r);
			local_begin(&t, hash[i], &found[i]);
		}
		local_lookup_burst(a, &t, hash, found, burst);
		for (uint32_t i = 0; i < burst; i++) {
			in_first += found[i].fits && found[i].bucket == local_first(&t, hash[i]);
			in_other += found[i].fits && found[i].bucket != local_first(&t, hash[i]);
			nowhere += !found[i].fits;
			check_found(&t, hash[i], found[i], seed, i);
		}
	}
	assert_true(in_first > 1000 && in_other > 100 && nowhere > 1000);
	arena_close(a);
}

static void test_tables_do_not_overlap(void **state)
{
	struct arena *a = small_arena(1, 7);
	uint8_t *end = NULL;

	for (unsigned engine = 0; engine < 2; engine++)
		for (int dir = 0; dir < N_DIRS; dir++) {
			struct local_table t = local_table_of(a, engine, dir);

			assert_int_equal(t.n, 7);
			assert_true((uint8_t *)t.bucket >= end);
			end = (uint8_t *)(t.bucket + t.n);
		}
	assert_true(end <= (uint8_t *)arena_region(a, ARENA_locals) + a->header->region[ARENA_locals].bytes);
	arena_close(a);
}

/* ---- readers in other engines ---- */

enum { READ_KEYS = 400 };

struct traffic {
	struct local_table t;
	uint64_t hash[READ_KEYS + 1]; /* by index; fixed */
	_Atomic bool done;
	uint64_t wrong;
	_Atomic uint64_t hits;
};

/* Whatever a reader sees under a hash is an entry somebody put there: index, tag and class belong together. */
static void *read_all(void *arg)
{
	struct traffic *w = arg;
	struct rnd r = {99};

	while (!atomic_load(&w->done)) {
		uint64_t hash = w->hash[1 + rnd_below(&r, READ_KEYS)];
		unsigned cursor = 0;
		local_place place;

		while ((place = local_next(&w->t, hash, &cursor))) {
			uint64_t e = atomic_load(place);
			uint32_t i = local_index(e);

			if (!e)
				continue; /* removed in between */
			w->hits++;
			w->wrong +=
				i > READ_KEYS || local_tag(e) != local_hash_tag(w->hash[i]) || local_class(e) != i % 16;
		}
	}
	return NULL;
}

static void test_readers_see_whole_entries(void **state)
{
	struct traffic w = {.t = table_of(55)};
	struct rnd r = {3};
	bool in[READ_KEYS + 1] = {false};
	pthread_t reader;

	for (uint32_t i = 1; i <= READ_KEYS; i++)
		w.hash[i] = rnd_next(&r);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &w), 0);
	for (uint32_t step = 0; step < 300000 || !w.hits; step++) { /* until the reader had its turn */
		uint32_t i = 1 + rnd_below(&r, READ_KEYS);

		if (in[i] && rnd_one_in(&r, 2))
			local_touch(local_find(&w.t, w.hash[i], i), i % 16, step);
		else if (in[i])
			in[i] = !local_remove(&w.t, w.hash[i], i);
		else
			in[i] = local_insert(&w.t, w.hash[i], i, i % 16, step);
	}
	atomic_store(&w.done, true);
	pthread_join(reader, NULL);
	assert_int_equal(w.wrong, 0);
	free(w.t.bucket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_round_trip),
		cmocka_unit_test(test_seen_wraps),
		cmocka_unit_test(test_other_is_an_involution),
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_full_table_refuses_and_keeps),
		cmocka_unit_test(test_one_bucket),
		cmocka_unit_test(test_load_at_first_failure),
		cmocka_unit_test(test_churn_at_load),
		cmocka_unit_test(test_removes_a_half_done_move),
		cmocka_unit_test(test_cursor_walks_all_that_fit),
		cmocka_unit_test(test_idle_in_a_bucket),
		cmocka_unit_test(test_burst_finds_what_one_by_one_does),
		cmocka_unit_test(test_tables_do_not_overlap),
		cmocka_unit_test(test_readers_see_whole_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
