/* Every interleaving of an engine that marks where a TCP stream is (pe/nat_tcp.h) with the owner that ends the session: its
 * list of the ending, which begins at the same word, stays whole. */
#include "explore.h"
#include "shm/session.h"

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
#include "pe/nat_tcp.h"

enum { OWNER, TIMEOUT = 3 };

static struct {
	struct session s;
} g;

static uint32_t next_index; /* who comes behind it in the list */

static void reset(void)
{
	memset(&g, 0, sizeof g);
	__atomic_store_n((uint32_t *)&g.s.life, life_of(TIMEOUT), __ATOMIC_RELAXED);
}

static uint64_t state_hash(void)
{
	return XXH3_64bits(&g, sizeof g);
}

/* As nat_pending_add() in pe/nat_end.c does it, for this one, then for the one behind it. */
static void end(void)
{
	atomic_store_explicit(&g.s.waits, 0, memory_order_relaxed);
	atomic_store_explicit(&g.s.waits, next_index, memory_order_relaxed);
}

static void run(unsigned thread)
{
	struct tcp_header tcp = {.seq = be32_of(thread << 20), .ack = be32_of(thread << 24), .flags = TCP_FLAG_ACK};

	if (thread == OWNER)
		end();
	else
		tcp_mark(&g.s, &tcp);
}

/* Whatever came first: the list is what the owner made it, or, it having died before, a live word is one. */
static const char *list_is_whole(bool first_died)
{
	uint32_t word = __atomic_load_n((uint32_t *)&g.s.life, __ATOMIC_RELAXED);

	if (!first_died && word != next_index)
		return "the list of the ending is torn";
	if ((word & LIFE_LIVES) && (word & LIFE_TIMEOUT_MASK) != TIMEOUT)
		return "the idle time is not what it was";
	if (!(word & LIFE_LIVES) && word != 0 && word != next_index)
		return "the list of the ending has marks in it";
	return NULL;
}

/* With any index a session may have, also one that looks like a word of a live session but for the bit. */
static void test_marks_and_the_list(void **state)
{
	static const uint32_t index[] = {1, TIMEOUT, 0x0fffffff, 1u << 20 | TIMEOUT};
	struct explore_world w = {
		.threads = 3, .deaths = true, .reset = reset, .run = run, .state = state_hash, .wrong = list_is_whole};
	struct explore_result r;

	for (unsigned i = 0; i < sizeof index / sizeof index[0]; i++) {
		next_index = index[i];
		assert_true(explore(&w, &r));
		print_message(
			"%llu schedules, %llu states\n", (unsigned long long)r.schedules, (unsigned long long)r.states);
		assert_true(r.states > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_marks_and_the_list)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
