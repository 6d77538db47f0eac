#include "aggregator/board.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct board {
	pthread_mutex_t lock;
	struct board_view view;
	struct engine_report last[ENGINE_MAX]; /* as the engine said it, to see it start from zero */
};

struct board *board_open(unsigned engines)
{
	struct board *b = calloc(1, sizeof *b);

	assert(engines >= 1 && engines <= ENGINE_MAX);
	if (!b)
		return NULL;
	pthread_mutex_init(&b->lock, NULL);
	b->view.n = engines;
	return b;
}

void board_close(struct board *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* What was added since `last`. A value that went backwards was counted from zero again. */
static uint64_t grown(uint64_t now, uint64_t last)
{
	return now >= last ? now - last : now;
}

static void absorb(struct engine_report *total, const struct engine_report *last, const struct engine_report *now)
{
	for (unsigned i = 0; i < N_COUNTERS; i++) {
		if (counter_info[i].kind == COUNTER_SUM)
			total->counters[i] += grown(now->counters[i], last->counters[i]);
		else
			total->counters[i] = now->counters[i];
	}
	for (unsigned i = 0; i < N_VERDICTS; i++)
		total->verdicts[i] += grown(now->verdicts[i], last->verdicts[i]);
	total->time_ns = now->time_ns;
}

void board_answered(struct board *b, unsigned engine, const struct engine_report *report, mono_t now)
{
	assert(engine < b->view.n);
	struct engine_view *e = &b->view.engine[engine];

	pthread_mutex_lock(&b->lock);
	absorb(&e->total, &b->last[engine], report);
	b->last[engine] = *report;
	e->state = ENGINE_UP;
	e->answered = now;
	pthread_mutex_unlock(&b->lock);
}

bool board_missed(struct board *b, unsigned engine)
{
	assert(engine < b->view.n);
	struct engine_view *e = &b->view.engine[engine];

	pthread_mutex_lock(&b->lock);
	bool news = e->state == ENGINE_UP;
	if (news)
		e->state = ENGINE_SILENT;
	pthread_mutex_unlock(&b->lock);
	return news;
}

void board_read(struct board *b, struct board_view *out)
{
	pthread_mutex_lock(&b->lock);
	*out = b->view;
	pthread_mutex_unlock(&b->lock);
}

void board_unify(const struct board_view *view, struct engine_report *sum)
{
	*sum = (struct engine_report){0};
	for (unsigned e = 0; e < view->n; e++) {
		const struct engine_report *r = &view->engine[e].total;

		for (unsigned i = 0; i < N_COUNTERS; i++)
			sum->counters[i] += r->counters[i];
		for (unsigned i = 0; i < N_VERDICTS; i++)
			sum->verdicts[i] += r->verdicts[i];
		if (r->time_ns > sum->time_ns)
			sum->time_ns = r->time_ns;
	}
}
