#include "mgmtd/feed.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "mgmtd/feed_line.h"
#include "mgmtd/rates.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PATIENCE_MS = 2000, DEPTH_MAX = 8 };

static const char question[] = "{\"get\":\"statistics\"}\n";

/* Legend  [I] fixed once open  [T] the feed's thread only  [L] under lock */
struct feed {
	char path[CONFIG_PATH_SIZE + 16]; /* [I] */
	span_t interval;                  /* [I] */
	struct feed_sink sink;            /* [I] take NULL: nobody */
	int stop_fd;                      /* [I] readable: end */
	pthread_t thread;                 /* [I] */
	struct feed_line line;            /* [T] the connection */
	struct json_object *last;         /* [T] the last answer with its rates; NULL when the one before failed */
	bool complained;                  /* [T] its absence is in the log */
	pthread_mutex_t lock;
	char *text; /* [L] the last answer with rates; NULL: the aggregator is absent */
};

/* ---- understanding an answer ---- */

static struct json_object *parse(const char *text, size_t size)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *o = t ? json_tokener_parse_ex(t, text, (int)size) : NULL;

	if (o && json_tokener_get_error(t) != json_tokener_success) {
		json_object_put(o);
		o = NULL;
	}
	if (t)
		json_tokener_free(t);
	return o;
}

static bool is_answer(struct json_object *o)
{
	return json_object_is_type(json_object_object_get(o, "engines"), json_type_array) &&
	       json_object_is_type(json_object_object_get(o, "appliance"), json_type_object);
}

static uint64_t value_of(struct json_object *values, const char *name)
{
	return json_object_get_uint64(json_object_object_get(values, name));
}

static void hand_on(const struct feed *f, struct json_object *answer)
{
	struct json_object *appliance = json_object_object_get(answer, "appliance");
	struct json_object *counters = json_object_object_get(appliance, "counters");
	struct json_object *verdicts = json_object_object_get(appliance, "verdicts");
	double time = json_object_get_double(json_object_object_get(answer, "time"));
	struct engine_report r = {0};

	if (!f->sink.take)
		return;
	for (unsigned i = 0; i < N_COUNTERS; i++)
		r.counters[i] = value_of(counters, counter_info[i].name);
	for (unsigned i = 0; i < N_VERDICTS; i++)
		r.verdicts[i] = value_of(verdicts, verdict_info[i].name);
	f->sink.take(f->sink.context, (int64_t)(time * 1000), &r);
}

/* ---- one turn of the thread ---- */

/* Keeps the answer, or with NULL the fact that there is none. */
static void keep(struct feed *f, struct json_object *answer)
{
	char *text = NULL;

	if (answer) {
		rates_add(answer, f->last);
		text = strdup(json_object_to_json_string_ext(
			answer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	json_object_put(f->last);
	f->last = answer;

	pthread_mutex_lock(&f->lock);
	free(f->text);
	f->text = text;
	pthread_mutex_unlock(&f->lock);
	if (answer)
		hand_on(f, answer);
}

static void tell(struct feed *f, const char *why)
{
	if (why && !f->complained)
		log_warning("the aggregator does not answer on %s: %s", f->path, why);
	else if (!why && f->complained)
		log_notice("the aggregator answers");
	f->complained = why != NULL;
}

static void turn(struct feed *f)
{
	mono_t deadline = mono_after(mono_now(), span_ms(PATIENCE_MS));
	int err = feed_line_ask(&f->line, f->path, question, f->stop_fd, deadline);
	struct json_object *answer = NULL;
	const char *why = err ? strerror(-err) : NULL;

	if (!err) {
		answer = parse(f->line.text, f->line.size);
		if (!is_answer(answer)) {
			json_object_put(answer);
			answer = NULL;
			why = "what it says is no statistics";
		}
	}
	if (!answer)
		feed_line_close(&f->line);
	keep(f, answer);
	if (err != -ECANCELED)
		tell(f, why);
}

static bool stop_within(const struct feed *f, mono_t until)
{
	struct pollfd p = {.fd = f->stop_fd, .events = POLLIN};
	span_t left = mono_since(until, mono_now());

	return poll(&p, 1, (int)(left.ns / 1000000)) > 0;
}

static void *run(void *context)
{
	struct feed *f = context;
	mono_t next;

	do {
		next = mono_after(mono_now(), f->interval);
		turn(f);
	} while (!stop_within(f, next));
	return NULL;
}

/* ---- open and close ---- */

struct feed *feed_open(const char *runtime_dir, unsigned interval_ms, const struct feed_sink *sink)
{
	struct feed *f = calloc(1, sizeof *f);
	int err;

	if (!f)
		return NULL;
	snprintf(f->path, sizeof f->path, "%s/aggregator.sock", runtime_dir);
	f->interval = span_ms(interval_ms);
	f->line.fd = -1;
	if (sink)
		f->sink = *sink;
	pthread_mutex_init(&f->lock, NULL);
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	err = f->stop_fd < 0 ? errno : pthread_create(&f->thread, NULL, run, f);
	if (!err)
		return f;
	if (f->stop_fd >= 0)
		close(f->stop_fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
	errno = err;
	return NULL;
}

void feed_close(struct feed *f)
{
	uint64_t one = 1;

	if (!f)
		return;
	(void)!write(f->stop_fd, &one, sizeof one);
	pthread_join(f->thread, NULL);
	feed_line_close(&f->line);
	json_object_put(f->last);
	close(f->stop_fd);
	pthread_mutex_destroy(&f->lock);
	free(f->text);
	free(f);
}

/* ---- readers ---- */

bool feed_is_up(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	bool up = f->text != NULL;
	pthread_mutex_unlock(&f->lock);
	return up;
}

char *feed_statistics(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	char *text = f->text ? strdup(f->text) : NULL;
	pthread_mutex_unlock(&f->lock);
	return text;
}
