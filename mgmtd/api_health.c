/* GET /health: one word, and the reasons for it. */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "mgmtd/feed.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>

static void add_reason(struct json_object *reasons, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_reason(struct json_object *reasons, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	json_object_array_add(reasons, json_object_new_string(text));
}

/* True when the engine is up; what is wrong with it goes to the reasons. */
static bool look_at_engine(
	const struct api *api, unsigned e, uint32_t in_force, mono_t now, struct json_object *reasons)
{
	const struct actor *a = actor_of(api->arena, e);
	uint32_t ack = atomic_load_explicit(&a->config_ack, memory_order_relaxed);

	switch (engine_life(api, e, now)) {
	case ENGINE_LIFE_DOWN:
		add_reason(reasons, "engine %u is down: its process is not running", e);
		return false;
	case ENGINE_LIFE_STALLED:
		add_reason(reasons, "engine %u is stalled: no heartbeat for %llu ms", e,
			(unsigned long long)engine_heartbeat_age_ms(api, e, now));
		return false;
	case ENGINE_LIFE_UP:
		break;
	}
	if (ack != in_force)
		add_reason(reasons, "engine %u uses configuration %u while %u is in force", e, ack, in_force);
	return true;
}

static void look_at_appliance(const struct api *api, uint32_t in_force, bool fed, struct json_object *reasons)
{
	uint32_t have = api->arena->header->geometry.engines, want = api->config->arena.engines;

	if (!in_force)
		add_reason(reasons, "no configuration is in force yet");
	if (api->commit_waits)
		add_reason(reasons, "a new configuration waits until every engine uses the one before");
	if (have != want)
		add_reason(reasons,
			"the arena was made for %u engines, arena.engines says %u: stop all "
			"processes and "
			"remove the arena with `corenatctl arena remove` for it to take effect",
			have, want);
	if (!fed)
		add_reason(reasons, "the aggregator does not answer: no statistics, no history");
	if (!api->history)
		add_reason(reasons, "the history file cannot be opened: no history is kept");
	if (!api->ledger)
		add_reason(reasons, "the file of events cannot be opened: who had a block of ports is not recorded");
	if (!api->versions)
		add_reason(reasons,
			"the file of versions cannot be opened: who had an address and port cannot be answered");
}

struct reply api_health(const struct request *rq)
{
	const struct api *api = rq->api;
	struct json_object *o = json_object_new_object(), *reasons = json_object_new_array();
	uint32_t engines = api->arena->header->geometry.engines, up = 0;
	uint32_t in_force = atomic_load_explicit(&api->arena->header->config_generation, memory_order_acquire);
	bool fed = feed_is_up(api->feed);
	mono_t now = mono_now();
	const char *status;

	for (unsigned e = 0; e < engines; e++)
		up += look_at_engine(api, e, in_force, now, reasons);
	look_at_appliance(api, in_force, fed, reasons);
	status = up == 0 ? "down" : json_object_array_length(reasons) ? "degraded" : "ok";
	json_object_object_add(o, "status", json_object_new_string(status));
	json_object_object_add(o, "engines", json_object_new_uint64(engines));
	json_object_object_add(o, "engines_up", json_object_new_uint64(up));
	json_object_object_add(o, "aggregator", json_object_new_string(fed ? "up" : "down"));
	json_object_object_add(o, "config_generation", json_object_new_uint64(in_force));
	json_object_object_add(o, "version", json_object_new_string(CORENAT_VERSION));
	json_object_object_add(o, "reasons", reasons);
	return reply_json(up ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, o);
}
