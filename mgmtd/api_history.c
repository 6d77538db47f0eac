/* GET /stats/history: one counter or verdict over time. */
#include "mgmtd/api.h"
#include "mgmtd/history.h"

#include <errno.h>
#include <microhttpd.h>
#include <time.h>

enum { RANGE_DEFAULT_S = 600, STEP_DEFAULT_S = 1, STEP_MAX_S = 86400 * 366 };
#define TIME_MAX_S ((uint64_t)253402300799) /* the end of the year 9999 */

static struct json_object *point_rows(const struct history_points *points)
{
	struct json_object *rows = json_object_new_array();

	for (unsigned i = 0; i < points->n; i++) {
		struct json_object *row = json_object_new_array();

		json_object_array_add(row, json_object_new_int64(points->point[i].time_s));
		json_object_array_add(row, json_decimal(points->point[i].value));
		json_object_array_add(rows, row);
	}
	return rows;
}

static struct reply history_reply(const char *counter, const struct history_points *points)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "counter", json_object_new_string(counter));
	json_object_object_add(o, "kind", json_object_new_string(points->kind == COUNTER_SUM ? "sum" : "gauge"));
	json_object_object_add(o, "step", json_object_new_int64(points->step_s));
	json_object_object_add(o, "points", point_rows(points));
	return reply_json(MHD_HTTP_OK, o);
}

static struct reply refusal(int err, const char *counter)
{
	if (err == -ENOENT)
		return reply_problem(MHD_HTTP_BAD_REQUEST,
			"counter: there is no \"%.40s\"; /api/v1/stats/schema lists all names", counter);
	if (err == -EINVAL)
		return reply_problem(MHD_HTTP_BAD_REQUEST,
			"from: the range is empty; give a time before \"to\" (seconds since 1970)");
	return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE, "the history cannot be read now; mgmtd's log says why");
}

struct reply api_stats_history(const struct request *rq)
{
	const char *counter = request_parameter(rq, "counter");
	uint64_t to = (uint64_t)time(NULL) + 1, from, step = STEP_DEFAULT_S;
	struct history_points points;
	struct reply r;
	int err;

	if (!counter)
		return reply_problem(
			MHD_HTTP_BAD_REQUEST, "counter: is missing; give a name that /api/v1/stats/schema lists");
	if (!request_number(rq, "to", 0, TIME_MAX_S, &to, &r))
		return r;
	from = to > RANGE_DEFAULT_S ? to - RANGE_DEFAULT_S : 0;
	if (!request_number(rq, "from", 0, TIME_MAX_S, &from, &r) ||
		!request_number(rq, "step", 1, STEP_MAX_S, &step, &r))
		return r;
	if (!rq->api->history)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			"no history is kept: its file cannot be opened; mgmtd's log says why");
	err = history_query(rq->api->history, counter, (int64_t)from, (int64_t)to, (int64_t)step, &points);
	if (err)
		return refusal(err, counter);
	r = history_reply(counter, &points);
	history_points_free(&points);
	return r;
}
