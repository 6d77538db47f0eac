/* DELETE /sessions: asks the engines to end sessions, and waits a moment for their word (shm/clear.h). */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "shm/clear.h"

#include <errno.h>
#include <microhttpd.h>
#include <time.h>

enum { WAIT_MS = 500, LOOK_MS = 2 };

static uint64_t cleared_so_far(const struct arena *a)
{
	uint64_t sum = 0;

	for (unsigned e = 0; e < a->header->geometry.engines; e++)
		sum += counter_get(&actor_of(a, e)->counters[COUNTER_sessions_cleared]);
	return sum;
}

/* Those that do not run are not waited for. */
static struct clear_waits wait_done(const struct arena *a, uint32_t number)
{
	mono_t until = mono_after(mono_now(), span_ms(WAIT_MS));
	struct clear_waits w = clear_waits(a, number);

	while (w.running && !mono_due(mono_now(), until)) {
		nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
		w = clear_waits(a, number);
	}
	return w;
}

static struct json_object *engines_of(uint64_t set)
{
	struct json_object *list = json_object_new_array();

	for (; set; set &= set - 1)
		json_object_array_add(list, json_object_new_int(__builtin_ctzll(set)));
	return list;
}

static struct reply ask(struct api *api, const struct session_filter *f)
{
	uint64_t before = cleared_so_far(api->arena);
	int64_t number = clear_post(api->arena, f, mono_now());

	if (number < 0)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			"an engine has yet to end the sessions of the last %d requests; wait, or start the engine that "
			"is "
			"down (GET /api/v1/engines)",
			CLEAR_SLOTS);

	struct clear_waits w = wait_done(api->arena, (uint32_t)number);
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "cleared", json_object_new_uint64(cleared_so_far(api->arena) - before));
	json_object_object_add(o, "engines_at_work", engines_of(w.running));
	json_object_object_add(o, "engines_down", engines_of(w.stopped));
	return reply_json(w.running || w.stopped ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK, o);
}

struct reply api_sessions_clear(const struct request *rq)
{
	struct session_filter f;
	struct reply r;

	if (!request_filter(rq, &f, &r))
		return r;
	if (!f.fields)
		return reply_problem(MHD_HTTP_BAD_REQUEST,
			"which sessions? give at least one of inside, nat, remote, protocol and realm");
	if (atomic_exchange(&rq->api->clearing, true))
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			"another request to clear sessions is under way; try again in a moment");
	r = ask(rq->api, &f);
	atomic_store(&rq->api->clearing, false);
	return r;
}
