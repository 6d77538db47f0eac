#include "aggregator/answer.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_DEPTH = 4 };

static const char *const state_name[] = {
	[ENGINE_NEVER] = "never",
	[ENGINE_UP] = "up",
	[ENGINE_SILENT] = "silent",
};

/* One line of text; takes over the object. json-c marks lack of memory by NULL, nothing else fails.
 */
static char *line_of(struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
	char *line = NULL;

	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	json_object_put(o);
	return line;
}

char *answer_error(const char *sentence)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(sentence));
	return line_of(o);
}

/* ---- statistics ---- */

static void add_values(struct json_object *to, const struct engine_report *r)
{
	struct json_object *counters = json_object_new_object();
	struct json_object *verdicts = json_object_new_object();

	for (unsigned i = 0; i < N_COUNTERS; i++)
		json_object_object_add(counters, counter_info[i].name, json_object_new_uint64(r->counters[i]));
	for (unsigned i = 0; i < N_VERDICTS; i++)
		json_object_object_add(verdicts, verdict_info[i].name, json_object_new_uint64(r->verdicts[i]));
	json_object_object_add(to, "counters", counters);
	json_object_object_add(to, "verdicts", verdicts);
}

static struct json_object *engine_object(unsigned n, const struct engine_view *e, mono_t now)
{
	struct json_object *o = json_object_new_object();
	struct json_object *age = NULL; /* null: there is no answer that could have an age */

	if (e->state != ENGINE_NEVER)
		age = json_object_new_uint64(mono_since(now, e->answered).ns / 1000000);
	json_object_object_add(o, "engine", json_object_new_uint64(n));
	json_object_object_add(o, "state", json_object_new_string(state_name[e->state]));
	json_object_object_add(o, "age_ms", age);
	add_values(o, &e->total);
	return o;
}

static struct json_object *statistics(const struct board_view *view, unsigned interval_ms, mono_t now, double unix_s)
{
	struct json_object *o = json_object_new_object();
	struct json_object *appliance = json_object_new_object();
	struct json_object *engines = json_object_new_array();
	struct engine_report sum;
	char time[32];

	board_unify(view, &sum);
	add_values(appliance, &sum);
	for (unsigned e = 0; e < view->n; e++)
		json_object_array_add(engines, engine_object(e, &view->engine[e], now));
	snprintf(time, sizeof time, "%.3f", unix_s);
	json_object_object_add(o, "time", json_object_new_double_s(unix_s, time));
	json_object_object_add(o, "interval_ms", json_object_new_uint64(interval_ms));
	json_object_object_add(o, "appliance", appliance);
	json_object_object_add(o, "engines", engines);
	return o;
}

/* ---- requests ---- */

/* NULL when it is one JSON value and nothing more, else what is wrong. */
static const char *parse(const char *text, size_t size, struct json_object **out)
{
	struct json_tokener *t = json_tokener_new_ex(REQUEST_DEPTH);
	const char *wrong = NULL;

	*out = NULL;
	if (!t)
		return "out of memory";
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* The newline ends numbers, which json-c otherwise takes for unfinished. */
	*out = json_tokener_parse_ex(t, text, (int)size);
	if (json_tokener_get_error(t) != json_tokener_success)
		wrong = "the request is not one line of JSON";
	json_tokener_free(t);
	return wrong;
}

static const char *understand(struct json_object *request)
{
	struct json_object *get;

	if (!json_object_is_type(request, json_type_object))
		return "a request is a JSON object like {\"get\":\"statistics\"}";
	if (!json_object_object_get_ex(request, "get", &get))
		return "the request lacks \"get\"; {\"get\":\"statistics\"} is served";
	if (json_object_object_length(request) != 1)
		return "the request has members besides \"get\", which mean nothing here";
	if (!json_object_is_type(get, json_type_string) || strcmp(json_object_get_string(get), "statistics") != 0)
		return "only {\"get\":\"statistics\"} is served";
	return NULL;
}

char *answer_request(
	const char *text, size_t size, const struct board_view *view, unsigned interval_ms, mono_t now, double unix_s)
{
	struct json_object *request;
	const char *wrong = parse(text, size, &request);

	if (!wrong)
		wrong = understand(request);
	json_object_put(request);
	if (wrong)
		return answer_error(wrong);
	return line_of(statistics(view, interval_ms, now, unix_s));
}
