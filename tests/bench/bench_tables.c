/* bench_tables: what the tables cost by themselves: look-up, insertion, removal, load, bytes per session.
 *
 * Keys come in random order, tables are filled to their planned load. A burst is prefetched, then looked up; a fence ends
 * it, so that bursts do not overlap: burst 1 pays for every miss alone. Figures are medians of RUNS runs.
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

enum { RUNS = 5, LOOKUPS = 1 << 20, CHURN = 1 << 18 };

struct bench {
	struct arena *a;
	struct local_table t;
	struct global_table g;
	struct meter meter;
	uint32_t n;            /* sessions in the table: keys 1..n */
	uint32_t key[LOOKUPS]; /* in the order in which they are met */
	uint64_t hash[LOOKUPS];
	uint64_t state;
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

static uint64_t look_up(struct bench *b, uint32_t burst)
{
	uint64_t found = 0;

	for (uint32_t i = 0; i < LOOKUPS; i += burst) {
		for (uint32_t k = 0; k < burst; k++)
			local_prefetch(&b->t, b->hash[i + k]);
		for (uint32_t k = 0; k < burst; k++)
			found += local_find(&b->t, b->hash[i + k], b->key[i + k]) != NULL;
		_mm_lfence();
	}
	return found;
}

static double look_up_cycles(struct bench *b, bool hit, uint32_t burst)
{
	double run[RUNS];

	for (int i = 0; i < RUNS; i++) {
		draw(b, hit ? 1 : b->n + 1, hit ? b->n : 1u << 28);
		meter_calibrate(&b->meter);
		meter_begin(&b->meter);
		uint64_t found = look_up(b, burst);
		meter_end(&b->meter);
		if (found != (hit ? LOOKUPS : 0))
			abort(); /* the table lies */
		run[i] = b->meter.cycles / LOOKUPS;
	}
	return median(run, RUNS);
}

static void bench_look_up(struct bench *b)
{
	for (int hit = 1; hit >= 0; hit--) {
		char name[32], context[64];
		double batched = look_up_cycles(b, hit, 32), alone = look_up_cycles(b, hit, 1);

		snprintf(name, sizeof name, "lookup_%s_burst32", hit ? "hit" : "miss");
		report(b, name, batched, "cycles", "");
		snprintf(name, sizeof name, "lookup_%s_burst1", hit ? "hit" : "miss");
		snprintf(context, sizeof context, " ratio_to_burst32=%.2f", alone / batched);
		report(b, name, alone, "cycles", context);
	}
}

/* The first fill, all of it; what it costs at the end is what churn measures. */
static void bench_fill(struct bench *b)
{
	meter_begin(&b->meter);
	for (uint32_t key = 1; key <= b->n; key += 32) {
		for (uint32_t k = key; k < key + 32; k++)
			local_prefetch(&b->t, hash_of(k));
		for (uint32_t k = key; k < key + 32 && k <= b->n; k++)
			if (!local_insert(&b->t, hash_of(k), k, 0, 0))
				abort(); /* planned load is never refused */
	}
	meter_end(&b->meter);
	report(b, "fill_burst32", b->meter.cycles / b->n, "cycles", "");
}

/* At planned load: CHURN keys out, the same keys in. */
static void bench_churn(struct bench *b)
{
	double removed[RUNS], inserted[RUNS];

	for (int i = 0; i < RUNS; i++) {
		uint32_t first = 1 + (uint32_t)i * CHURN % (b->n - CHURN);

		meter_calibrate(&b->meter);
		for (int in = 0; in < 2; in++) {
			meter_begin(&b->meter);
			for (uint32_t key = first; key < first + CHURN; key += 32) {
				for (uint32_t k = key; k < key + 32; k++)
					local_prefetch(&b->t, hash_of(k));
				for (uint32_t k = key; k < key + 32; k++)
					if (!(in ? local_insert(&b->t, hash_of(k), k, 0, 0)
						 : local_remove(&b->t, hash_of(k), k)))
						abort();
				_mm_lfence();
			}
			meter_end(&b->meter);
			(in ? inserted : removed)[i] = b->meter.cycles / CHURN;
		}
	}
	report(b, "remove_burst32", median(removed, RUNS), "cycles", "");
	report(b, "insert_burst32", median(inserted, RUNS), "cycles", "");
}

static void bench_local_load(struct bench *b)
{
	uint32_t key = b->n;

	while (local_insert(&b->t, hash_of(key + 1), key + 1, 0, 0))
		key++;
	report(b, "load_at_first_failure", 100.0 * key / ((double)b->t.n * LOCAL_ENTRIES), "percent", " planned=85");
}

/* ---- the table all engines share ---- */

static bool global_step(struct bench *b, uint32_t key)
{
	struct global_pair pair;
	bool in;

	if (!global_lock(&b->g, hash_of(key), &pair))
		abort(); /* nobody else is here */
	in = global_insert(&b->g, &pair, key);
	global_unlock(&b->g, &pair);
	return in;
}

static double bench_global_find(struct bench *b)
{
	double run[RUNS];

	for (int i = 0; i < RUNS; i++) {
		uint64_t found = 0;

		draw(b, 1, b->n);
		meter_calibrate(&b->meter);
		meter_begin(&b->meter);
		for (uint32_t at = 0; at < LOOKUPS; at++) {
			struct global_pair pair;
			unsigned cursor = 0;
			uint32_t index;

			if (!global_lock(&b->g, b->hash[at], &pair))
				abort();
			while ((index = global_next(&b->g, &pair, &cursor)) && index != b->key[at])
				;
			found += index != 0;
			global_unlock(&b->g, &pair);
		}
		meter_end(&b->meter);
		if (found + LOOKUPS / 100 < LOOKUPS) /* bar the few that were refused */
			abort();
		run[i] = b->meter.cycles / LOOKUPS;
	}
	return median(run, RUNS);
}

static void bench_global(struct bench *b)
{
	uint32_t refused = 0, first = 0;
	char context[64];

	meter_begin(&b->meter);
	for (uint32_t key = 1; key <= b->n; key++)
		if (!global_step(b, key) && !refused++)
			first = key;
	meter_end(&b->meter);
	report(b, "global_insert", b->meter.cycles / b->n, "cycles", " lock_and_unlock=included");
	report(b, "global_find", bench_global_find(b), "cycles", " lock_and_unlock=included");
	report(b, "global_load_at_first_failure", 100.0 * (refused ? first : b->n) / ((double)b->g.n * GLOBAL_ENTRIES),
		"percent", refused ? "" : " none_refused=1");
	snprintf(context, sizeof context, " planned_load_percent=%.0f",
		100.0 * b->n / ((double)b->g.n * GLOBAL_ENTRIES));
	report(b, "global_refused_at_planned_load", 1e6 * refused / b->n, "per_million", context);
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
	       session = slab_bytes[SLAB_session];

	printf("bench G9.engines_%u value=%.1f unit=bytes goal=112 sessions=%u session=%.0f local=%.1f global=%.1f "
	       "mapping=%.1f source=arena_plan\n",
		engines, session + local + global + mapping, sessions, session, local, global, mapping);
}

/* ---- all of it ---- */

static void bench_at(struct bench *b, uint32_t sessions)
{
	struct config c = {.arena = {.engines = 1, .sessions = sessions}, .n_pools = 0};
	struct arena_geometry g = arena_plan(&c);
	struct arena_error err;

	g.pages = 1; /* no sessions here, only what names them */
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
	bench_local_load(b);
	if (sessions <= 1u << 20) /* one at a time, it would take half a minute */
		bench_global(b);
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
