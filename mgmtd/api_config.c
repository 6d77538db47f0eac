/* GET /config, /config/schema, /stats/schema: what is configured, and what the tables say. */
#include "common/counters.h"
#include "common/verdicts.h"
#include "mgmtd/api.h"

#include <microhttpd.h>

struct reply api_config(const struct request *rq)
{
	return reply_text(MHD_HTTP_OK, "application/json", config_print(rq->api->config));
}

struct reply api_config_schema(const struct request *rq)
{
	(void)rq;
	return reply_text(MHD_HTTP_OK, "application/json", config_schema_print());
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *counter_rows(void)
{
	struct json_object *rows = json_object_new_array();

	for (unsigned i = 0; i < N_COUNTERS; i++) {
		const struct counter_info *c = &counter_info[i];
		struct json_object *row = json_object_new_object();

		add_text(row, "name", c->name);
		add_text(row, "kind", c->kind == COUNTER_SUM ? "sum" : "gauge");
		add_text(row, "unit", c->unit);
		add_text(row, "help", c->help);
		json_object_array_add(rows, row);
	}
	return rows;
}

static struct json_object *verdict_rows(void)
{
	struct json_object *rows = json_object_new_array();

	for (unsigned i = 0; i < N_VERDICTS; i++) {
		const struct verdict_info *v = &verdict_info[i];
		struct json_object *row = json_object_new_object();

		add_text(row, "name", v->name);
		add_text(row, "class", v->class);
		add_text(row, "help", v->help);
		json_object_array_add(rows, row);
	}
	return rows;
}

struct reply api_stats_schema(const struct request *rq)
{
	struct json_object *o = json_object_new_object();

	(void)rq;
	json_object_object_add(o, "counters", counter_rows());
	json_object_object_add(o, "verdicts", verdict_rows());
	return reply_json(MHD_HTTP_OK, o);
}
