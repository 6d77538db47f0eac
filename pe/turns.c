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

/* Of a turn that ended now: what is left of its time when all that was lost since the last look is taken off. */
static span_t own(const struct turns *t, span_t took, mono_t now, span_t spent)
{
	uint64_t passed = mono_since(now, t->looked).ns, had = spent.ns - t->spent.ns;
	uint64_t lost = passed > had ? passed - had : 0;

	return (span_t){took.ns > lost ? took.ns - lost : 0};
}

void turns_count(struct turns *t, struct actor *actor, mono_t from, mono_t to, span_t (*cpu)(void))
{
	span_t took = mono_since(to, from);
	unsigned i = 0;

	while (took.ns > rows[i].most.ns)
		i++;
	counter_add(&actor->counters[rows[i].row], 1);
	if (mono_since(to, t->looked).ns < look_every.ns)
		return;
	span_t spent = cpu();
	if (took.ns > stall.ns && own(t, took, to, spent).ns > stall.ns)
		counter_add(&actor->counters[COUNTER_stalls], 1);
	turns_wake(t, to, spent);
}
