#include "aggregator/collector.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
	NAP_FIRST_US = 250, /* an idle engine wakes within its own wait, a busy one in microseconds */
	NAP_MAX_MS = 64,    /* a dead engine costs 16 looks per second */
	DEADLINE_MIN_MS = 100,
	REOPEN_S = 5,
};

/* ---- one turn ---- */

static bool open_box(struct collector_state *c)
{
	c->box = mailbox_open(c->arena_name, c->engine);
	if (c->box) {
		mailbox_reset(c->box);
		c->open_error = 0;
		c->pending = false;
		return true;
	}
	if (errno != c->open_error) {
		c->open_error = errno;
		log_error("engine %u: no statistics: mailbox cannot be opened: %s", c->engine, mailbox_explain(errno));
	}
	return false;
}

/* Somebody may have removed the segment, and a new engine made another: map what is there now. A
 * request that was pending in it still is. */
static void reopen_box(struct collector_state *c, mono_t now)
{
	mailbox_close(c->box);
	c->box = mailbox_open(c->arena_name, c->engine);
	c->reopen = mono_after(now, span_s(REOPEN_S));
}

static span_t answer_within(const struct collector_state *c)
{
	span_t half = span_ns(c->interval.ns / 2), least = span_ms(DEADLINE_MIN_MS);

	return half.ns > least.ns ? half : least;
}

/* A request of a predecessor that is still pending counts as ours. */
static void ask(struct collector_state *c, mono_t now)
{
	if (!mailbox_request(c->box, MAILBOX_STATISTICS_ABSOLUTE) && c->pending)
		return;
	c->pending = true;
	c->deadline = mono_after(now, answer_within(c));
	c->nap = span_ns(NAP_FIRST_US * 1000ull);
}

static void wait_longer(struct collector_state *c, mono_t now)
{
	if (!mono_due(now, c->deadline))
		return;
	if (board_missed(c->board, c->engine)) {
		log_warning(
			"engine %u: silent, no answer for %u ms", c->engine, (unsigned)(answer_within(c).ns / 1000000));
		c->reopen = mono_after(now, span_s(REOPEN_S));
	}
	if (mono_due(now, c->reopen))
		reopen_box(c, now); /* last: there may be no box afterwards */
}

static mono_t earlier(mono_t a, mono_t b)
{
	return a.ns < b.ns ? a : b;
}

mono_t collector_turn(struct collector_state *c, mono_t now)
{
	struct engine_report report;

	if (!c->box && !open_box(c))
		return mono_after(now, c->interval);
	if (mailbox_take(c->box, &report)) {
		board_answered(c->board, c->engine, &report, now);
		c->pending = false;
	}
	if (mono_due(now, c->due)) {
		ask(c, now);
		/* Whole intervals, so that the rhythm stays and a suspended machine does not catch
		 * up. */
		c->due =
			mono_after(c->due, span_ns((mono_since(now, c->due).ns / c->interval.ns + 1) * c->interval.ns));
	}
	if (!c->pending)
		return c->due;
	wait_longer(c, now);
	mono_t wake = mono_after(now, c->nap);
	if (c->nap.ns < span_ms(NAP_MAX_MS).ns)
		c->nap.ns *= 2;
	return earlier(wake, c->due);
}

/* ---- the thread ---- */

struct collector {
	struct collector_state state; /* the thread's alone */
	pthread_t thread;
	pthread_mutex_t lock; /* of stop */
	pthread_cond_t wake;
	bool stop;
};

static struct timespec timespec_of(mono_t t)
{
	return (struct timespec){.tv_sec = (time_t)(t.ns / 1000000000u), .tv_nsec = (long)(t.ns % 1000000000u)};
}

/* Sleeps until then; true when asked to stop. */
static bool sleep_until(struct collector *c, mono_t then)
{
	struct timespec until = timespec_of(then);
	int err = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->stop && err == 0)
		err = pthread_cond_timedwait(&c->wake, &c->lock, &until);
	bool stop = c->stop;
	pthread_mutex_unlock(&c->lock);
	return stop;
}

static void *run(void *arg)
{
	struct collector *c = arg;

	while (!sleep_until(c, collector_turn(&c->state, mono_now())))
		;
	return NULL;
}

static void init_wake(struct collector *c)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

struct collector *collector_start(struct board *board, const char *arena_name, unsigned engine, span_t interval)
{
	struct collector *c = calloc(1, sizeof *c);
	int err;

	if (!c)
		return NULL;
	c->state = (struct collector_state){
		.board = board, .arena_name = arena_name, .engine = engine, .interval = interval, .due = mono_now()};
	init_wake(c);
	err = pthread_create(&c->thread, NULL, run, c);
	if (err) {
		free(c);
		errno = err;
		return NULL;
	}
	return c;
}

void collector_stop(struct collector *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	mailbox_close(c->state.box);
	free(c);
}
