/* The histogram of turns: each in its row, and a stall only when the time was the thread's own. */
#include "pe/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { US = 1000, MS = 1000 * US };

static span_t had; /* what the processor's clock shows */

static span_t clock_shown(void)
{
	return had;
}

static const struct {
	uint64_t took, lost, calls; /* nanoseconds; of it, the processor was somebody else's, or in system calls */
	enum counter row;
	enum counter stall; /* N_COUNTERS: none */
	const char *why;
} cases[] = {
	{1, 0, 0, COUNTER_turns_50us, N_COUNTERS, "the least"},
	{50 * US, 0, 0, COUNTER_turns_50us, N_COUNTERS, "a bound belongs to the row"},
	{50 * US + 1, 0, 0, COUNTER_turns_100us, N_COUNTERS, "just above"},
	{200 * US, 0, 0, COUNTER_turns_200us, N_COUNTERS, "a bound"},
	{201 * US, 0, 0, COUNTER_turns_500us, N_COUNTERS, "just above"},
	{1 * MS, 0, 0, COUNTER_turns_1ms, N_COUNTERS, "a millisecond is none too many"},
	{1 * MS + 1, 0, 0, COUNTER_turns_longer, COUNTER_stalls, "more is"},
	{4 * MS, 3 * MS, 0, COUNTER_turns_longer, N_COUNTERS, "the hypervisor had it for the rest"},
	{4 * MS, 2 * MS, 0, COUNTER_turns_longer, COUNTER_stalls, "but not for all of it"},
	{9 * MS, 9 * MS, 0, COUNTER_turns_longer, N_COUNTERS, "all of it lost"},
	{4 * MS, 0, 3 * MS, COUNTER_turns_longer, COUNTER_stalls_in_calls, "the kernel worked for it"},
	{4 * MS, 1 * MS, 1 * MS, COUNTER_turns_longer, COUNTER_stalls, "but not for all of it"},
	{4 * MS, 3 * MS, 4 * MS, COUNTER_turns_longer, N_COUNTERS, "lost within a system call"},
};

static void each_in_its_row(void **state)
{
	struct actor *actor = calloc(1, sizeof *actor);
	struct turns t = {0};
	mono_t now = {7 * MS};
	span_t kernel = {0};
	uint64_t rows = 0;

	assert_non_null(actor);
	had = (span_t){0};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t in_row = counter_get(&actor->counters[cases[i].row]);
		uint64_t stalls[2] = {counter_get(&actor->counters[COUNTER_stalls]),
			counter_get(&actor->counters[COUNTER_stalls_in_calls])};
		mono_t to = {now.ns + cases[i].took};

		turns_wake(&t, now, had);
		had.ns += cases[i].took - cases[i].lost;
		kernel.ns += cases[i].calls;
		span_t own = turns_count(&t, actor, now, to, kernel, clock_shown);

		if (own.ns != (cases[i].stall == COUNTER_stalls ? cases[i].took - cases[i].lost - cases[i].calls : 0))
			fail_msg("%s: %llu ns are the engine's own", cases[i].why, (unsigned long long)own.ns);
		if (counter_get(&actor->counters[cases[i].row]) != in_row + 1)
			fail_msg("%s: not in its row", cases[i].why);
		if (counter_get(&actor->counters[COUNTER_stalls]) != stalls[0] + (cases[i].stall == COUNTER_stalls) ||
			counter_get(&actor->counters[COUNTER_stalls_in_calls]) !=
				stalls[1] + (cases[i].stall == COUNTER_stalls_in_calls))
			fail_msg("%s: not the stall it is", cases[i].why);
		now = to;
	}
	for (int c = COUNTER_turns_50us; c <= COUNTER_turns_longer; c++)
		rows += counter_get(&actor->counters[c]);
	assert_int_equal(rows, sizeof cases / sizeof cases[0]);
	free(actor);
}

static unsigned looks;

static span_t counted_clock(void)
{
	looks++;
	return had;
}

/* The system call is made once a millisecond, however many turns there are. */
static void looks_seldom(void **state)
{
	struct actor *actor = calloc(1, sizeof *actor);
	struct turns t = {0};

	assert_non_null(actor);
	looks = 0;
	turns_wake(&t, (mono_t){0}, had);
	for (uint64_t at = 0; at < 100 * MS; at += 10 * US)
		turns_count(&t, actor, (mono_t){at}, (mono_t){at + 10 * US}, (span_t){0}, counted_clock);
	assert_in_range(looks, 99, 100);
	assert_int_equal(counter_get(&actor->counters[COUNTER_turns_50us]), 10000);
	free(actor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_in_its_row),
		cmocka_unit_test(looks_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
