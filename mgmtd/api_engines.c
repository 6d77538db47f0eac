/* GET /engines: what each engine says of itself in its block of the arena. */
#include "common/clock.h"
#include "mgmtd/api.h"

#include <microhttpd.h>
#include <string.h>

enum { STALLED_MS = 2000 }; /* an engine's heart beats every 200 ms */

uint64_t engine_heartbeat_age_ms(const struct api *api, unsigned engine, mono_t now)
{
	mono_t beat = {atomic_load_explicit(&actor_of(api->arena, engine)->heartbeat_ns, memory_order_relaxed)};

	return mono_since(now, beat).ns / 1000000;
}

enum engine_life engine_life(const struct api *api, unsigned engine, mono_t now)
{
	if (!arena_claimed(api->arena, engine))
		return ENGINE_LIFE_DOWN;
	return engine_heartbeat_age_ms(api, engine, now) > STALLED_MS ? ENGINE_LIFE_STALLED : ENGINE_LIFE_UP;
}

const char *engine_life_name(enum engine_life life)
{
	static const char *const name[] = {
		[ENGINE_LIFE_UP] = "up",
		[ENGINE_LIFE_STALLED] = "stalled",
		[ENGINE_LIFE_DOWN] = "down",
	};

	return name[life];
}

static void add_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* Another process wrote it: it may lack its end. */
static void add_io(struct json_object *o, const char *key, const char text[64])
{
	json_object_object_add(o, key, json_object_new_string_len(text, (int)strnlen(text, 64)));
}

static void add_values(struct json_object *o, const struct actor *a)
{
	struct json_object *counters = json_object_new_object();
	struct json_object *verdicts = json_object_new_object();

	for (unsigned i = 0; i < N_COUNTERS; i++)
		add_number(counters, counter_info[i].name, counter_get(&a->counters[i]));
	for (unsigned i = 0; i < N_VERDICTS; i++)
		add_number(verdicts, verdict_info[i].name, counter_get(&a->verdicts[i]));
	json_object_object_add(o, "counters", counters);
	json_object_object_add(o, "verdicts", verdicts);
}

static struct json_object *engine_row(const struct api *api, unsigned engine, mono_t now)
{
	const struct actor *a = actor_of(api->arena, engine);
	struct json_object *o = json_object_new_object();

	add_number(o, "engine", engine);
	json_object_object_add(o, "state", json_object_new_string(engine_life_name(engine_life(api, engine, now))));
	add_number(o, "pid", (uint64_t)atomic_load_explicit(&a->pid, memory_order_acquire));
	add_number(o, "cpu", atomic_load_explicit(&a->cpu, memory_order_relaxed));
	add_number(o, "incarnation", atomic_load_explicit(&a->incarnation, memory_order_relaxed));
	add_io(o, "inside", a->io[SIDE_INSIDE]);
	add_io(o, "outside", a->io[SIDE_OUTSIDE]);
	add_number(o, "config_generation", atomic_load_explicit(&a->config_ack, memory_order_relaxed));
	add_number(o, "sessions", counter_get(&a->counters[COUNTER_sessions]));
	add_number(o, "pages", counter_get(&a->counters[COUNTER_pages]));
	if (atomic_load_explicit(&a->heartbeat_ns, memory_order_relaxed))
		add_number(o, "heartbeat_age_ms", engine_heartbeat_age_ms(api, engine, now));
	else
		json_object_object_add(o, "heartbeat_age_ms", NULL); /* it never ran */
	add_values(o, a);
	return o;
}

struct reply api_engines(const struct request *rq)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	mono_t now = mono_now();

	for (unsigned e = 0; e < rq->api->arena->header->geometry.engines; e++)
		json_object_array_add(rows, engine_row(rq->api, e, now));
	json_object_object_add(o, "engines", rows);
	return reply_json(MHD_HTTP_OK, o);
}
