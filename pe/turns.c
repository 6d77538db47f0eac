#include "pe/turns.h"

#include <time.h>

static const span_t stall = {1000000u};
static const span_t look_every = {1000000u};

/* Up to how long each row of the counters counts. */
static const struct {
	span_t most;
	enum counter row;
} rows[] = {
	{{50000u}, COUNTER_turns_50us},
	{{100000u}, COUNTER_turns_100us},
	{{200000u}, COUNTER_turns_200us},
	{{500000u}, COUNTER_turns_500us},
	{{1000000u}, COUNTER_turns_1ms},
	{{UINT64_MAX}, COUNTER_turns_longer},
};

span_t turns_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (span_t){(uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec};
}

void turns_wake(struct turns *t, mono_t now, span_t spent)
{
	t->looked = now;
	t->spent = spent;
}

/* What is left of a time when a part of it is taken off. */
static span_t without(span_t time, uint64_t part)
{
	return (span_t){time.ns > part ? time.ns - part : 0};
}

/* Of a turn that ended now, when all that was lost since the last look is taken off. */
static span_t had_of(const struct turns *t, span_t took, mono_t now, span_t spent)
{
	uint64_t passed = mono_since(now, t->looked).ns, had = spent.ns - t->spent.ns;

	return without(took, passed > had ? passed - had : 0);
}

/* What the engine's own work took of it, when that is a stall; else nothing. */
static span_t count_stall(struct actor *actor, span_t had, span_t calls)
{
	span_t own = without(had, calls.ns);

	if (had.ns <= stall.ns)
		return (span_t){0};
	if (own.ns <= stall.ns)
		own = (span_t){0};
	counter_add(&actor->counters[own.ns ? COUNTER_stalls : COUNTER_stalls_in_calls], 1);
	return own;
}

span_t turns_count(struct turns *t, struct actor *actor, mono_t from, mono_t to, span_t kernel, span_t (*cpu)(void))
{
	span_t took = mono_since(to, from), calls = {kernel.ns - t->kernel.ns}, own = {0};
	unsigned i = 0;

	t->kernel = kernel;
	while (took.ns > rows[i].most.ns)
		i++;
	counter_add(&actor->counters[rows[i].row], 1);
	if (mono_since(to, t->looked).ns < look_every.ns)
		return own;
	span_t spent = cpu();
	if (took.ns > stall.ns)
		own = count_stall(actor, had_of(t, took, to, spent), calls);
	turns_wake(t, to, spent);
	return own;
}
