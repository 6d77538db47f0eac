/* Every interleaving of two writers and a reader of one entry of the fragment table, and every death of a writer. */
#include "explore.h"
#include "shm/engine.h"
#include "shm/fragments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "explore_atomics.h"
/* The real code, with the explorer's atomics. */
#include "shm/fragments.c"

enum { READER = 2 };

static struct {
	struct fragment_entry entry;
	bool wrote[EXPLORE_THREADS], torn;
} g;

/* Each byte of it says whose it is. */
static struct fragment value_of(unsigned thread)
{
	struct fragment f;

	memset(&f, (int)(thread + 1), sizeof f);
	return f;
}

static bool is_whole(const struct seen *s)
{
	unsigned thread = s->f.key.protocol - 1u;
	struct fragment want = value_of(thread);

	if (s->expires_ns == 0)
		return s->f.key.protocol == 0;
	return s->expires_ns == thread + 1u && memcmp(&s->f, &want, sizeof want) == 0;
}

static void reset(void)
{
	memset(&g, 0, sizeof g);
}

static uint64_t state_hash(void)
{
	return XXH3_64bits(&g, sizeof g);
}

static void put_once(unsigned thread)
{
	struct fragment f = value_of(thread);
	struct seen s;

	if (entry_read(&g.entry, &s))
		g.wrote[thread] = entry_write(&g.entry, s.seq, thread, &f, thread + 1);
}

static void read_once(void)
{
	struct seen s;

	if (entry_read(&g.entry, &s) && !is_whole(&s))
		g.torn = true;
}

static void write_or_read(unsigned thread)
{
	if (thread == READER)
		read_once();
	else
		put_once(thread);
}

/* The entry as it is when all is over. */
static struct seen now_there(void)
{
	struct seen s = {.seq = __atomic_load_n((uint64_t *)&g.entry.seq, __ATOMIC_RELAXED),
		.expires_ns = __atomic_load_n((uint64_t *)&g.entry.expires_ns, __ATOMIC_RELAXED)};

	memcpy(&s.f, (void *)g.entry.word, sizeof s.f);
	return s;
}

static const char *whole_and_free(bool first_died)
{
	struct seen s = now_there();

	if (g.torn)
		return "a reader saw half of something";
	if (seq_busy(s.seq))
		return first_died && seq_actor(s.seq) == 0 ? NULL : "busy, and its writer lives";
	if (!is_whole(&s))
		return "half of something was published";
	return g.wrote[0] || g.wrote[1] || first_died ? NULL : "nobody wrote";
}

static void test_whole_in_every_order(void **state)
{
	static const bool may_die[] = {false, true};
	struct explore_result r;

	for (int i = 0; i < 2; i++) {
		const struct explore_world w = {3, may_die[i], reset, write_or_read, state_hash, whole_and_free};

		assert_true(explore(&w, &r));
		printf("two write, one reads%s: %llu states, %llu schedules\n", may_die[i] ? ", one may die" : "",
			(unsigned long long)r.states, (unsigned long long)r.schedules);
		assert_true(r.states > 100);
	}
}

/* The successor takes over what its predecessor left, while somebody reads. */
static void reset_left_busy(void)
{
	memset(&g, 0, sizeof g);
	struct fragment half = value_of(7);
	uint64_t seq = seq_claimed(0, 1);

	memcpy((void *)&g.entry.seq, &seq, sizeof seq);
	memcpy((void *)g.entry.word, &half, sizeof half / 2);
}

static void take_over_or_read(unsigned thread)
{
	struct fragment f = value_of(1);
	struct seen s;

	if (thread != 1) {
		read_once();
		return;
	}
	if (!entry_read(&g.entry, &s) && seq_busy(s.seq) && seq_actor(s.seq) == 1)
		g.wrote[1] = entry_write(&g.entry, s.seq, 1, &f, 2);
}

static const char *taken_over(bool first_died)
{
	struct seen s = now_there();

	if (g.torn)
		return "a reader saw half of something";
	return g.wrote[1] && !seq_busy(s.seq) && is_whole(&s) ? NULL : "not taken over";
}

static void test_left_busy_is_taken_over(void **state)
{
	const struct explore_world w = {3, false, reset_left_busy, take_over_or_read, state_hash, taken_over};
	struct explore_result r;

	assert_true(explore(&w, &r));
	printf("a successor, two read: %llu states, %llu schedules\n", (unsigned long long)r.states,
		(unsigned long long)r.schedules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_in_every_order),
		cmocka_unit_test(test_left_busy_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
