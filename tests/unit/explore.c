#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <xxhash.h>

enum { STACK = 64 << 10, DEPTH_MAX = 4096, OPTIONS_MAX = EXPLORE_THREADS + 1, KILL = EXPLORE_THREADS, SEEN_BITS = 24 };

enum life { READY, WAITS, EXPIRES, ENDED, DEAD };

struct thread {
	ucontext_t context;
	char *stack;
	enum life life;
	uint64_t history;   /* of all it saw: with the shared state, this is its state */
	uint64_t waits_for; /* a shared state other than this */
};

static struct {
	const struct explore_world *world;
	ucontext_t scheduler;
	struct thread thread[EXPLORE_THREADS];
	unsigned running;
	uint8_t option[DEPTH_MAX], options[DEPTH_MAX], choice[DEPTH_MAX]; /* of the schedule in hand */
	unsigned depth;
	uint64_t *seen;
	struct explore_result result;
} x;

/* ---- called by the threads ---- */

static void hand_over(void)
{
	struct thread *t = &x.thread[x.running];

	swapcontext(&t->context, &x.scheduler);
}

void explore_saw(uint64_t value)
{
	struct thread *t = &x.thread[x.running];

	t->history = XXH3_64bits_withSeed(&value, sizeof value, t->history);
}

void explore_point(void)
{
	explore_saw(0); /* one operation further */
	if (x.thread[x.running].life != EXPIRES)
		hand_over();
}

void explore_pause(void)
{
	struct thread *t = &x.thread[x.running];

	if (t->life == EXPIRES)
		return; /* nobody is left who could change anything: the loop may count to its end */
	t->life = WAITS;
	t->waits_for = x.world->state();
	hand_over();
}

static void thread_main(void)
{
	x.world->run(x.running);
	x.thread[x.running].life = ENDED;
	setcontext(&x.scheduler);
}

/* ---- states ---- */

static uint64_t state_now(void)
{
	uint64_t all[1 + 2 * EXPLORE_THREADS] = {x.world->state()};

	for (unsigned i = 0; i < x.world->threads; i++) {
		all[1 + 2 * i] = x.thread[i].history;
		all[2 + 2 * i] = x.thread[i].life;
	}
	return XXH3_64bits(all, sizeof all) | 1;
}

static bool seen_before(uint64_t state)
{
	uint64_t at = state >> (64 - SEEN_BITS);

	for (;; at = (at + 1) % (1u << SEEN_BITS)) {
		if (x.seen[at] == state)
			return true;
		if (x.seen[at])
			continue;
		if (++x.result.states > (1u << SEEN_BITS) / 2) {
			fprintf(stderr, "explore: more states than expected; make the world smaller\n");
			abort();
		}
		x.seen[at] = state;
		return false;
	}
}

/* ---- one schedule ---- */

static void start(void)
{
	x.world->reset();
	for (unsigned i = 0; i < x.world->threads; i++) {
		struct thread *t = &x.thread[i];

		t->life = READY;
		t->history = i + 1;
		getcontext(&t->context);
		t->context.uc_stack.ss_sp = t->stack;
		t->context.uc_stack.ss_size = STACK;
		t->context.uc_link = NULL;
		makecontext(&t->context, thread_main, 0);
	}
}

/* Who may go on. When all that are left wait for each other or for the dead, their loops expire. */
static unsigned list_options(uint8_t option[OPTIONS_MAX])
{
	uint64_t state = x.world->state();
	unsigned n = 0, waiting = EXPLORE_THREADS;

	for (unsigned i = 0; i < x.world->threads; i++) {
		struct thread *t = &x.thread[i];

		if (t->life == WAITS && t->waits_for != state)
			t->life = READY;
		if (t->life == WAITS)
			waiting = i;
		if (t->life == READY || t->life == EXPIRES)
			option[n++] = (uint8_t)i;
	}
	if (n == 0 && waiting != EXPLORE_THREADS) {
		x.thread[waiting].life = EXPIRES;
		option[n++] = (uint8_t)waiting;
	}
	if (n && x.world->deaths && x.thread[0].life == READY && x.thread[0].history != 1)
		option[n++] = KILL;
	return n;
}

static void step(uint8_t option)
{
	if (option == KILL) {
		x.thread[0].life = DEAD;
		return;
	}
	x.running = option;
	swapcontext(&x.scheduler, &x.thread[option].context);
	if (x.thread[option].life == EXPIRES)
		x.thread[option].life = READY;
}

/* Runs a schedule whose first `given` choices are fixed. False when it was cut short. */
static bool run_schedule(unsigned given)
{
	uint8_t option[OPTIONS_MAX];
	unsigned n;

	start();
	for (x.depth = 0; (n = list_options(option)) != 0; x.depth++) {
		if (x.depth == DEPTH_MAX)
			abort();
		if (x.depth >= given) {
			if (seen_before(state_now()))
				return false;
			x.choice[x.depth] = 0;
		}
		x.options[x.depth] = (uint8_t)n;
		x.option[x.depth] = option[x.choice[x.depth]];
		step(x.option[x.depth]);
	}
	return true;
}

static void print_schedule(const char *wrong)
{
	fprintf(stderr, "explore: %s, after this order of threads (%u: thread 0 dies):", wrong, (unsigned)KILL);
	for (unsigned i = 0; i < x.depth; i++)
		fprintf(stderr, " %u", x.option[i]);
	fprintf(stderr, "\n");
}

/* The deepest choice that has an alternative left; the number of choices to keep, or 0. */
static unsigned next_choice(void)
{
	while (x.depth > 0) {
		unsigned d = --x.depth;

		if (++x.choice[d] < x.options[d])
			return d + 1;
	}
	return 0;
}

bool explore(const struct explore_world *w, struct explore_result *out)
{
	const char *wrong = NULL;
	unsigned given = 0;

	memset(&x, 0, sizeof x);
	x.world = w;
	x.seen = calloc(1u << SEEN_BITS, sizeof *x.seen);
	for (unsigned i = 0; i < w->threads; i++)
		x.thread[i].stack = malloc(STACK);
	do {
		bool whole = run_schedule(given);

		x.result.schedules++;
		wrong = whole ? w->wrong(x.thread[0].life == DEAD) : NULL;
		if (wrong)
			print_schedule(wrong);
	} while (!wrong && (given = next_choice()) != 0);
	for (unsigned i = 0; i < w->threads; i++)
		free(x.thread[i].stack);
	free(x.seen);
	*out = x.result;
	return !wrong;
}
