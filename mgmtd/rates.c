#include "mgmtd/rates.h"

#include "common/counters.h"
#include "mgmtd/reply.h"

#include <stdbool.h>
#include <string.h>

/* Two answers that carry the same report of an engine differ in its time by what rounding leaves. */
#define SAME_REPORT_S 0.010

static double number_of(struct json_object *o, const char *key)
{
	return json_object_get_double(json_object_object_get(o, key));
}

static struct json_object *find_engine(struct json_object *answer, double number)
{
	struct json_object *engines = json_object_object_get(answer, "engines");

	if (!json_object_is_type(engines, json_type_array))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(engines); i++) {
		struct json_object *e = json_object_array_get_idx(engines, i);

		if (json_object_is_type(e, json_type_object) && number_of(e, "engine") == number)
			return e;
	}
	return NULL;
}

static bool is_up(struct json_object *engine)
{
	const char *state = json_object_get_string(json_object_object_get(engine, "state"));

	return state && strcmp(state, "up") == 0;
}

/* When the engine wrote what this answer says of it. */
static double report_time(struct json_object *answer, struct json_object *engine)
{
	return number_of(answer, "time") - number_of(engine, "age_ms") / 1000;
}

/* A counter that shrank was begun anew with the aggregator: no rate is better than an absurd one. */
static double grown(uint64_t now, uint64_t was)
{
	return now > was ? (double)(now - was) : 0;
}

static struct json_object *rates_between(struct json_object *now, struct json_object *was, double seconds)
{
	struct json_object *have = json_object_object_get(now, "counters");
	struct json_object *had = json_object_object_get(was, "counters");
	struct json_object *rates = json_object_new_object();

	for (unsigned i = 0; i < N_COUNTERS; i++) {
		const char *name = counter_info[i].name;
		struct json_object *a, *b;

		if (counter_info[i].kind != COUNTER_SUM || !json_object_object_get_ex(have, name, &a) ||
			!json_object_object_get_ex(had, name, &b))
			continue;
		double n = grown(json_object_get_uint64(a), json_object_get_uint64(b));
		json_object_object_add(rates, name, json_decimal(seconds > 0 ? n / seconds : 0));
	}
	return rates;
}

static struct json_object *engine_rates(
	struct json_object *answer, struct json_object *engine, struct json_object *before)
{
	struct json_object *was = find_engine(before, number_of(engine, "engine"));
	double seconds;

	if (!was)
		return json_object_new_object();
	if (!is_up(engine))
		return rates_between(engine, engine, 0);
	if (!is_up(was))
		return json_object_new_object();
	seconds = report_time(answer, engine) - report_time(before, was);
	if (seconds < SAME_REPORT_S)
		return json_object_get(json_object_object_get(was, "rates"));
	return rates_between(engine, was, seconds);
}

static void add_to_sum(struct json_object *sum, struct json_object *rates)
{
	json_object_object_foreach (rates, name, value) {
		double had = number_of(sum, name);

		json_object_object_add(sum, name, json_decimal(had + json_object_get_double(value)));
	}
}

void rates_add(struct json_object *answer, struct json_object *before)
{
	struct json_object *engines = json_object_object_get(answer, "engines");
	struct json_object *appliance = json_object_object_get(answer, "appliance");
	struct json_object *sum = json_object_new_object();

	for (size_t i = 0; i < json_object_array_length(engines); i++) {
		struct json_object *e = json_object_array_get_idx(engines, i), *rates;

		if (!json_object_is_type(e, json_type_object))
			continue;
		rates = engine_rates(answer, e, before);
		add_to_sum(sum, rates);
		json_object_object_add(e, "rates", rates);
	}
	json_object_object_add(appliance, "rates", sum);
}
