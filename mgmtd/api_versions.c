/* GET /config/versions, /config/version: what was in force when. */
#include "mgmtd/api.h"
#include "mgmtd/versions.h"
#include "mgmtd/when.h"

#include <errno.h>
#include <microhttpd.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

static struct reply unavailable(const struct request *rq)
{
	return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
		rq->api->versions ? "the versions of the configuration cannot be read now; mgmtd's log says why"
				  : "no versions of the configuration are kept: their file cannot be opened; mgmtd's "
				    "log says why");
}

static void add_time(struct json_object *o, const char *key, int64_t ms)
{
	char text[WHEN_SIZE] = "";

	if (ms != VERSION_LASTS)
		when_write(ms, text);
	json_object_object_add(o, key, ms == VERSION_LASTS ? NULL : json_object_new_string(text));
}

static struct json_object *version_row(const struct version *v)
{
	struct json_object *row = json_object_new_object();

	json_object_object_add(row, "id", json_object_new_int64(v->id));
	add_time(row, "from", v->since_ms);
	add_time(row, "until", v->until_ms);
	json_object_object_add(row, "bytes", json_object_new_int64(v->bytes));
	return row;
}

struct reply api_config_versions(const struct request *rq)
{
	struct version v[LIMIT_MAX];
	uint64_t limit = LIMIT_DEFAULT, before = INT64_MAX;
	struct json_object *o, *rows;
	unsigned n;
	struct reply r;

	if (!request_number(rq, "limit", 1, LIMIT_MAX, &limit, &r) ||
		!request_number(rq, "before", 1, INT64_MAX, &before, &r))
		return r;
	if (!rq->api->versions || versions_list(rq->api->versions, (int64_t)before, v, (unsigned)limit, &n) != 0)
		return unavailable(rq);
	o = json_object_new_object();
	rows = json_object_new_array();
	for (unsigned i = 0; i < n; i++)
		json_object_array_add(rows, version_row(&v[i]));
	json_object_object_add(o, "versions", rows);
	/* A full page may have a next one. */
	json_object_object_add(o, "next", n == limit ? json_object_new_int64(v[n - 1].id) : NULL);
	return reply_json(MHD_HTTP_OK, o);
}

struct reply api_config_version(const struct request *rq)
{
	struct version v;
	uint64_t id;
	char *text;
	struct reply r;
	int err;

	if (!request_parameter(rq, "id"))
		return reply_problem(
			MHD_HTTP_BAD_REQUEST, "id: is missing; give one that /api/v1/config/versions lists");
	if (!request_number(rq, "id", 1, INT64_MAX, &id, &r))
		return r;
	err = rq->api->versions ? versions_get(rq->api->versions, (int64_t)id, &v, &text) : -EIO;
	if (err == -ENOENT)
		return reply_problem(MHD_HTTP_NOT_FOUND,
			"id: there is no version %llu; /api/v1/config/versions lists those kept",
			(unsigned long long)id);
	return err ? unavailable(rq) : reply_text(MHD_HTTP_OK, "application/json", text);
}
