/* rnd: what the unit tests share: a tiny seeded generator and a private arena of hand-made size.
 *
 * What       splitmix64 (Steele, Lea, Flood 2014), and messages that name the seed and the step of a failure.
 * Units      none.
 * Ownership  the arena belongs to the test, which closes it.
 * Calls      any thread, each with a struct rnd of its own.
 * Errors     a failed check ends the test.
 * Use        struct rnd r = {seed}; if (rnd_below(&r, 3) == 0) ...; CHECK_AT(r.seed, step, model == real);
 */
#ifndef CORENAT_TESTS_RND_H
#define CORENAT_TESTS_RND_H

#include "shm/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef __SANITIZE_THREAD__
enum { UNDER_TSAN = 1 };
#else
enum { UNDER_TSAN = 0 };
#endif

struct rnd {
	uint64_t state;
};

static inline uint64_t rnd_next(struct rnd *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline uint32_t rnd_below(struct rnd *r, uint32_t n)
{
	return (uint32_t)((rnd_next(r) >> 32) * n >> 32);
}

static inline bool rnd_one_in(struct rnd *r, uint32_t n)
{
	return rnd_below(r, n) == 0;
}

/* A check inside random steps: a failure names what is needed to see it again. */
#define CHECK_AT(seed, step, what)                                                                                     \
	do {                                                                                                           \
		if (!(what))                                                                                           \
			fail_msg("seed %llu step %llu: %s", (unsigned long long)(seed), (unsigned long long)(step),    \
				#what);                                                                                \
	} while (0)

static inline struct arena *tiny_arena(const struct arena_geometry *g)
{
	struct arena_error err = {""};
	struct arena *a = arena_open_private(g, 1, &err);

	if (!a)
		fail_msg("%s", err.text);
	return a;
}

/* `pages` pages and tables of `buckets` buckets, for two engines. */
static inline struct arena *small_arena(uint32_t pages, uint32_t buckets)
{
	return tiny_arena(&(struct arena_geometry){.engines = 2,
		.sessions = 1,
		.pages = pages,
		.local_buckets = buckets,
		.global_buckets = buckets,
		.mapping_buckets = buckets,
		.subscribers = 1,
		.subscriber_buckets = buckets,
		.part_buckets = buckets});
}

#endif
