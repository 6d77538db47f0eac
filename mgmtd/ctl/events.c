/* corenatctl events, who: what happened, and who had a NAT address and port; by the API. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"
#include "mgmtd/ctl/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char page[] = "1000"; /* events in one answer */
enum { FOLLOW_FIRST = 20, FOLLOW_S = 1 };

static const struct rows_column columns[] = {
	{"time", "time", -24},
	{"engine", "engine", 6},
	{"kind", "kind", -14},
	{"realm", "realm", 5},
	{"inside", "inside", -15},
	{"nat", "nat", -15},
	{"port_first", "first", 5},
	{"port_last", "last", 5},
	{"verdict", "verdict", -20},
	{"total", "total", 9},
	{"remote", "remote", -21},
	{"pool", "pool", -8},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void print_row(struct json_object *row)
{
	rows_print(columns, N_COLUMNS, row);
}

static size_t list_of(struct json_object *answer, const char *key, struct json_object **list)
{
	if (!json_object_object_get_ex(answer, key, list) || !json_object_is_type(*list, json_type_array))
		return 0;
	return json_object_array_length(*list);
}

/* ---- list, newest first ---- */

static struct json_object *ask(
	const struct config *c, const struct ctl_options *o, const char *from, const char *limit, const char *cursor)
{
	const struct rest_parameter p[] = {{"from", from}, {"to", o->to}, {"kind", o->kind}, {"inside", o->inside},
		{"realm", o->realm}, {"nat", o->nat}, {"verdict", o->verdict}, {"limit", limit}, {"cursor", cursor}};

	return rest_call(c, "GET", "/api/v1/events", p, sizeof p / sizeof p[0]);
}

static int list(const struct config *c, const struct ctl_options *o)
{
	char next[64] = "";
	size_t all = 0;

	do {
		struct json_object *answer = ask(c, o, o->from, page, *next ? next : NULL), *rows = NULL;
		size_t n = list_of(answer, "events", &rows);

		if (!answer)
			return CTL_FAILED;
		if (!o->json && !*next)
			rows_titles(columns, N_COLUMNS);
		for (size_t i = 0; i < n; i++)
			(o->json ? rows_json : print_row)(json_object_array_get_idx(rows, i));
		all += n;
		snprintf(next, sizeof next, "%s", rows_text(answer, "next"));
		json_object_put(answer);
	} while (strcmp(next, "-") != 0);
	if (!o->json)
		printf("%zu events\n", all);
	return 0;
}

/* ---- follow: as they come, oldest first ---- */

static int64_t id_of(struct json_object *row)
{
	struct json_object *id;

	return json_object_object_get_ex(row, "id", &id) ? json_object_get_int64(id) : 0;
}

static int by_id(const void *x, const void *y)
{
	int64_t a = id_of(*(struct json_object *const *)x), b = id_of(*(struct json_object *const *)y);

	return (a > b) - (a < b);
}

/* Those that were stored after number *last, whatever their time. */
static void print_news(struct json_object *rows, size_t n, bool json, int64_t *last)
{
	struct json_object **row = calloc(n + 1, sizeof(struct json_object *));

	for (size_t i = 0; row && i < n; i++)
		row[i] = json_object_array_get_idx(rows, i);
	if (row)
		qsort(row, n, sizeof(struct json_object *), by_id);
	for (size_t i = 0; row && i < n; i++)
		if (id_of(row[i]) > *last) {
			(json ? rows_json : print_row)(row[i]);
			*last = id_of(row[i]);
		}
	fflush(stdout);
	free(row);
}

static int follow(const struct config *c, const struct ctl_options *o)
{
	int64_t last = 0;
	char first[16];

	snprintf(first, sizeof first, "%d", FOLLOW_FIRST);
	if (!o->json)
		rows_titles(columns, N_COLUMNS);
	for (const char *limit = first;; limit = page) {
		struct json_object *answer = ask(c, o, o->from, limit, NULL), *rows = NULL;

		if (!answer)
			return CTL_FAILED;
		size_t n = list_of(answer, "events", &rows);
		if (last && n && id_of(json_object_array_get_idx(rows, n - 1)) > last)
			fprintf(stderr, "more than %s came at once; `events list` has them all\n", page);
		print_news(rows, n, o->json, &last);
		json_object_put(answer);
		if (ferror(stdout))
			return CTL_FAILED;
		sleep(FOLLOW_S);
	}
}

int ctl_events(const struct config *c, const struct ctl_options *o)
{
	return o->follow ? follow(c, o) : list(c, o);
}

/* ---- who ---- */

static const struct rows_column who_columns[] = {
	{"kind", "kind", -13},
	{"basis", "basis", -8},
	{"realm", "realm", -10},
	{"inside", "inside", -15},
	{"nat", "nat", -15},
	{"port_first", "first", 5},
	{"port_last", "last", 5},
	{"from", "from", -24},
	{"until", "until", -24},
};
enum { N_WHO_COLUMNS = sizeof who_columns / sizeof who_columns[0] };

/* What is given as it comes is a matter of events, which have been asked. */
static bool names_somebody(struct json_object *row)
{
	return strcmp(rows_text(row, "kind"), "logged") != 0;
}

static void print_holder(struct json_object *row, bool json)
{
	if (json)
		rows_json(row);
	else
		rows_print(who_columns, N_WHO_COLUMNS, row);
}

static size_t print_recorded(struct json_object *answer, bool json)
{
	struct json_object *rows = NULL;
	size_t n = list_of(answer, "holders", &rows);

	for (size_t i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		json_object_object_add(row, "kind", json_object_new_string("block"));
		print_holder(row, json);
	}
	return n;
}

static size_t print_configured(struct json_object *answer, bool json)
{
	struct json_object *rows = NULL;
	size_t n = list_of(answer, "candidates", &rows), printed = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!names_somebody(row))
			continue;
		print_holder(row, json);
		printed++;
	}
	return printed;
}

/* Why nobody is named, as far as the configuration of that time says. */
static void print_why_nobody(struct json_object *answer)
{
	struct json_object *rows = NULL, *known;
	size_t n = list_of(answer, "candidates", &rows);

	for (size_t i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (strcmp(rows_text(row, "basis"), "in force") != 0)
			continue;
		printf("%s is of pool %s, whose ports are given as they are wanted: no block with this port was held "
		       "then; ports that are given one by one are not recorded, but `sessions list --nat` shows those "
		       "in "
		       "use now\n",
			rows_text(row, "nat"), rows_text(row, "pool"));
		return;
	}
	if (json_object_object_get_ex(answer, "known", &known) && !json_object_get_boolean(known))
		printf("no configuration of that time is kept\n");
	else
		printf("it was nobody's by the configuration then: no pool's, no subscriber's computed port, not "
		       "static\n");
}

static void print_doubt(struct json_object *answer, size_t n)
{
	const char *doubt = rows_text(answer, "doubt");

	printf("%zu found for %s at %s (skew %s s)\n", n, rows_text(answer, "nat"), rows_text(answer, "time"),
		rows_text(answer, "skew_s"));
	if (strcmp(doubt, "-") != 0)
		printf("not certain: %s\n", doubt);
}

int ctl_who(const struct config *c, const struct ctl_options *o)
{
	const struct rest_parameter p[] = {
		{"nat", o->nat}, {"time", o->time}, {"skew_s", o->skew}, {"earlier_s", o->earlier}};
	enum { N = sizeof p / sizeof p[0] }; /* what was recorded is not asked for earlier times */
	struct json_object *recorded = rest_call(c, "GET", "/api/v1/lookup", p, N - 1), *configured = NULL;

	if (recorded)
		configured = rest_call(c, "GET", "/api/v1/deterministic", p, N);
	if (recorded && !o->json)
		rows_titles(who_columns, N_WHO_COLUMNS);
	size_t n = recorded ? print_recorded(recorded, o->json) : 0;

	n += configured ? print_configured(configured, o->json) : 0;
	if (recorded && !o->json)
		print_doubt(recorded, n);
	if (configured && n == 0 && !o->json)
		print_why_nobody(configured);
	bool ok = recorded && configured;

	json_object_put(recorded);
	json_object_put(configured);
	return ok ? 0 : CTL_FAILED;
}
