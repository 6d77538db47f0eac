/* bench_tables: what the tables cost by themselves: look-up, insertion, removal, load, bytes per session.
 *
 * Keys come in random order, tables are filled to their planned load. Lookups are the engine's, by local_lookup_burst; a
 * fence ends each burst, so that bursts do not overlap: burst 1 pays for every miss alone. Figures are medians over stretches so short that
 * most are not interrupted even on a busy machine.
 *   bench_tables [--cpu N]
 */
#include "shm/global_table.h"
#include "shm/local_table.h"
#include "tests/bench/meter.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

enum { RUNS = 5, LOOKUPS = 1 << 18, CHURN = 1 << 16, STRETCH = 2048, SAMPLES_MAX = 1 << 13 };

struct bench {
	struct arena *a;
	struct local_table t;
	struct global_table g;
	struct meter meter;
	uint32_t n;            /* sessions in the table: keys 1..n */
	uint32_t key[LOOKUPS]; /* in the order in which they are met */
	uint64_t hash[LOOKUPS];
	uint64_t state;
	double sample[SAMPLES_MAX]; /* cycles per operation of each stretch so far */
	unsigned n_samples;
};

/* splitmix64 (Steele, Lea, Flood 2014): a bijection, so hashes of different keys differ. */
static uint64_t hash_of(uint32_t key)
{
	uint64_t z = (uint64_t)key * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Draws keys from [first, first + range) in random order. */
static void draw(struct bench *b, uint32_t first, uint32_t range)
{
	for (uint32_t i = 0; i < LOOKUPS; i++) {
		uint64_t r = hash_of((uint32_t)++b->state) >> 32;

		b->key[i] = first + (uint32_t)(r * range >> 32);
		b->hash[i] = hash_of(b->key[i]);
	}
}

static void stretch_end(struct bench *b)
{
	meter_end(&b->meter);
	b->sample[b->n_samples++ % SAMPLES_MAX] = b->meter.cycles / STRETCH;
}

/* Of all stretches since the last call. */
static double cycles_each(struct bench *b)
{
	double cycles = median(b->sample, b->n_samples < SAMPLES_MAX ? b->n_samples : SAMPLES_MAX);

	b->n_samples = 0;
	return cycles;
}

static const char *size_of(const struct bench *b)
{
	return b->n >= 16u << 20 ? "16m" : "1m";
}

static void report(const struct bench *b, const char *what, double value, const char *unit, const char *context)
{
	printf("bench tables.%s_%s value=%.1f unit=%s entries=%u source=%s core_ghz=%.2f%s\n", what, size_of(b), value,
		unit, b->n, b->meter.source, b->meter.core_ghz, context);
}

/* ---- the engine's own table ---- */

/* Keys stand for sessions: who has the index has the key. */
static bool is_found(const struct bench *b, struct local_found found, uint64_t hash, uint32_t key)
{
	bool fitted = found.fits != 0;
	local_place place;

	while ((place = local_fitting(&b->t, &found)))
		if (local_index(atomic_load_explicit(place, memory_order_relaxed)) == key)
			return true;
	return fitted && local_find(&b->t, hash, key); /* a stranger's tag */
}

static uint64_t look_up(struct bench *b, uint32_t from, uint32_t burst)
{
	struct local_found found[LOCAL_BURST_MAX];
	uint64_t n = 0;

	for (uint32_t i = from; i < from + STRETCH; i += burst) {
		for (uint32_t k = 0; k < burst; k++)
			local_begin(&b->t, b->hash[i + k], &found[k]);
		local_lookup_burst(b->a, &b->t, &b->hash[i], found, burst);
		for (uint32_t k = 0; k < burst; k++)
			n += is_found(b, found[k], b->hash[i + k], b->key[i + k]);
		_mm_lfence();
	}
	return n;
}

static double look_up_cycles(struct bench *b, bool hit, uint32_t burst)
{
	for (int run = 0; run < RUNS; run++) {
		draw(b, hit ? 1 : b->n + 1, hit ? b->n : 1u << 28);
		meter_calibrate(&b->meter);
		for (uint32_t from = 0; from < LOOKUPS; from += STRETCH) {
			meter_begin(&b->meter);
			uint64_t found = look_up(b, from, burst);
			stretch_end(b);
			if (found != (hit ? STRETCH : 0))
				abort(); /* the table lies */
		}
	}
	return cycles_each(b);
}

static void bench_look_up(struct bench *b)
{
	for (int hit = 1; hit >= 0; hit--) {
		char name[48], context[64];
		double batched = look_up_cycles(b, hit, 32), alone = look_up_cycles(b, hit, 1);

		snprintf(name, sizeof name, "lookup_%s_burst32", hit ? "hit" : "miss");
		report(b, name, batched, "cycles", " session=prefetched");
		snprintf(name, sizeof name, "lookup_%s_burst1", hit ? "hit" : "miss");
		snprintf(context, sizeof context, " ratio_to_burst32=%.2f", alone / batched);
		report(b, name, alone, "cycles", context);
	}
}

static void insert(struct bench *b, uint32_t first)
{
	for (uint32_t key = first; key < first + STRETCH; key += 32) {
		for (uint32_t k = key; k < key + 32; k++)
			local_prefetch(&b->t, hash_of(k));
		for (uint32_t k = key; k < key + 32; k++)
			if (!local_insert(&b->t, hash_of(k), k, 0, 0))
				abort(); /* planned load is never refused */
		_mm_lfence();
	}
}

static void drop(struct bench *b, uint32_t first)
{
	for (uint32_t key = first; key < first + STRETCH; key += 32) {
		for (uint32_t k = key; k < key + 32; k++)
			local_prefetch(&b->t, hash_of(k));
		for (uint32_t k = key; k < key + 32; k++)
			if (!local_remove(&b->t, hash_of(k), k))
				abort();
		_mm_lfence();
	}
}

static void each_stretch(struct bench *b, void (*what)(struct bench *, uint32_t), uint32_t first, uint32_t n)
{
	for (uint32_t key = first; key < first + n; key += STRETCH) {
		meter_begin(&b->meter);
		what(b, key);
		stretch_end(b);
	}
}

/* The first fill, all of it; what it costs at the end is what churn measures. */
static void bench_fill(struct bench *b)
{
	each_stretch(b, insert, 1, b->n);
	report(b, "fill_burst32", cycles_each(b), "cycles", "");
}

/* At planned load: CHURN keys out, the same keys in. */
static void bench_churn(struct bench *b)
{
	uint32_t first = 1;

	for (int run = 0; run < RUNS; run++, first += CHURN / 2) {
		meter_calibrate(&b->meter);
		each_stretch(b, drop, first, CHURN);
		for (uint32_t key = first; key < first + CHURN; key += STRETCH)
			insert(b, key);
	}
	report(b, "remove_burst32", cycles_each(b), "cycles", "");
	for (int run = 0; run < RUNS; run++, first -= CHURN / 2) {
		for (uint32_t key = first; key < first + CHURN; key += STRETCH)
			drop(b, key);
		each_stretch(b, insert, first, CHURN);
	}
	report(b, "insert_burst32", cycles_each(b), "cycles", "");
}

static void bench_local_load(struct bench *b)
{
	uint32_t key = b->n;

	while (local_insert(&b->t, hash_of(key + 1), key + 1, 0, 0))
		key++;
	report(b, "load_at_first_failure", 100.0 * key / ((double)b->t.n * LOCAL_ENTRIES), "percent", " planned=88");
}

/* ---- the table all engines share ---- */

static void global_lock_alone(struct bench *b, uint64_t hash, struct global_pair *pair)
{
	if (!global_lock(&b->g, hash, pair))
		abort(); /* nobody else is here */
}

static bool global_add(struct bench *b, uint32_t key)
{
	struct global_pair pair;
	bool in;

	global_lock_alone(b, hash_of(key), &pair);
	in = global_insert(&b->g, &pair, key);
	global_unlock(&b->g, &pair);
	return in;
}

static void global_fill(struct bench *b, uint32_t first)
{
	for (uint32_t key = first; key < first + STRETCH; key++)
		if (!global_add(b, key))
			abort(); /* planned load is never refused */
}

/* `from` counts from 1, as keys do. */
static void global_find(struct bench *b, uint32_t from)
{
	for (uint32_t at = from - 1; at < from - 1 + STRETCH; at++) {
		struct global_pair pair;
		unsigned cursor = 0;
		uint32_t index;

		global_lock_alone(b, b->hash[at], &pair);
		while ((index = global_next(&b->g, &pair, &cursor)) != b->key[at])
			if (!index)
				abort(); /* the table lies */
		global_unlock(&b->g, &pair);
	}
}

static void bench_global(struct bench *b)
{
	uint32_t n = b->n;

	each_stretch(b, global_fill, 1, n);
	report(b, "global_insert", cycles_each(b), "cycles", " lock_and_unlock=included");
	draw(b, 1, n);
	each_stretch(b, global_find, 1, LOOKUPS);
	report(b, "global_find", cycles_each(b), "cycles", " lock_and_unlock=included");
	while (global_add(b, n + 1))
		n++;
	report(b, "global_load_at_first_failure", 100.0 * n / ((double)b->g.n * GLOBAL_ENTRIES), "percent",
		" planned=92");
}

/* ---- memory ---- */

/* G9: sessions and their entries in all tables, at the load the plan is made for. */
static void bench_bytes(uint32_t engines, uint32_t sessions)
{
	struct config c = {.arena = {.engines = engines, .sessions = sessions}, .n_pools = 1};

	c.pools[0].n_ranges = 1;
	c.pools[0].ranges[0] = (struct address_range){1, sessions / 64000 + 1};
	struct arena_geometry g = arena_plan(&c);
	double n = sessions, local = 64.0 * N_DIRS * g.engines * g.local_buckets / n,
	       global = 64.0 * g.global_buckets / n, mapping = 64.0 * g.mapping_buckets / n,
	       filter = mapping, /* as many buckets */
		session = slab_bytes[SLAB_session];

	printf("bench G9.engines_%u value=%.1f unit=bytes goal=112 sessions=%u session=%.0f local=%.1f global=%.1f "
	       "mapping=%.1f filter=%.1f source=arena_plan\n",
		engines, session + local + global + mapping + filter, sessions, session, local, global, mapping,
		filter);
}

/* ---- all of it ---- */

static void bench_at(struct bench *b, uint32_t sessions)
{
	struct config c = {.arena = {.engines = 1, .sessions = sessions}, .n_pools = 0};
	struct arena_geometry g = arena_plan(&c);
	struct arena_error err;

	b->n = sessions;
	b->a = arena_open_private(&g, 1, &err);
	if (!b->a) {
		fprintf(stderr, "bench_tables: %s\n", err.text);
		exit(1);
	}
	b->t = local_table_of(b->a, 0, DIR_OUTBOUND);
	b->g = global_mappings(b->a, 0);
	bench_fill(b);
	bench_look_up(b);
	bench_churn(b);
	if (sessions <= 1u << 20) { /* one at a time: at 16 M they would take half a minute */
		bench_local_load(b);
		bench_global(b);
	}
	arena_close(b->a);
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0) {
		perror("bench_tables: cannot pin to the CPU");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static struct bench b;
	unsigned cpu = 0;

	if (argc == 3 && strcmp(argv[1], "--cpu") == 0)
		cpu = (unsigned)strtoul(argv[2], NULL, 10);
	else if (argc != 1) {
		fprintf(stderr, "usage: bench_tables [--cpu N]\n");
		return 2;
	}
	pin_to(cpu);
	setvbuf(stdout, NULL, _IOLBF, 0);
	meter_open(&b.meter);
	bench_at(&b, 1u << 20);
	bench_at(&b, 16u << 20);
	bench_bytes(1, 1u << 20);
	bench_bytes(2, 1u << 20);
	bench_bytes(8, 16u << 20);
	meter_close(&b.meter);
	return 0;
}
