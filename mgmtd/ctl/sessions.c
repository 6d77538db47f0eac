/* corenatctl sessions: lists and clears, by way of the API: only engines may end sessions, and mgmtd asks them. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"
#include "mgmtd/ctl/rows.h"

#include <stdio.h>
#include <string.h>

static const char path[] = "/api/v1/sessions";
static const char page[] = "1000"; /* sessions in one answer */

/* ---- list ---- */

static const struct rows_column columns[] = {
	{"protocol", "protocol", -8},
	{"realm", "realm", 5},
	{"inside", "inside", -21},
	{"nat", "nat", -21},
	{"remote", "remote", -21},
	{"origin", "origin", -8},
	{"tcp", "tcp", -11},
	{"created_s_ago", "age s", 9},
	{"owner", "engine", 6},
	{"adopters", "adopted by", -10},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void print_row(struct json_object *row)
{
	rows_print(columns, N_COLUMNS, row);
}

/* Returns how many there were. */
static size_t print_page(struct json_object *answer, bool json)
{
	struct json_object *rows = NULL;
	size_t n = 0;

	if (json_object_object_get_ex(answer, "sessions", &rows) && json_object_is_type(rows, json_type_array))
		n = json_object_array_length(rows);
	for (size_t i = 0; i < n; i++)
		(json ? rows_json : print_row)(json_object_array_get_idx(rows, i));
	return n;
}

int ctl_sessions_list(const struct config *c, const struct ctl_options *o)
{
	char next[32] = "0";
	size_t n = 0;

	do {
		const struct rest_parameter p[] = {{"inside", o->inside}, {"nat", o->nat}, {"remote", o->remote},
			{"protocol", o->protocol}, {"realm", o->realm}, {"limit", page}, {"cursor", next}};
		struct json_object *answer = rest_call(c, "GET", path, p, sizeof p / sizeof p[0]);

		if (!answer)
			return CTL_FAILED;
		if (!o->json && strcmp(next, "0") == 0)
			rows_titles(columns, N_COLUMNS);
		n += print_page(answer, o->json);
		snprintf(next, sizeof next, "%s", rows_text(answer, "next"));
		json_object_put(answer);
	} while (strcmp(next, "-") != 0);
	if (!o->json)
		printf("%zu sessions\n", n);
	return 0;
}

/* ---- clear ---- */

static void print_engines(struct json_object *answer, const char *key, const char *what)
{
	struct json_object *list = NULL;
	size_t n = 0;

	if (json_object_object_get_ex(answer, key, &list) && json_object_is_type(list, json_type_array))
		n = json_object_array_length(list);
	for (size_t i = 0; i < n; i++)
		printf("engine %s %s\n", json_object_get_string(json_object_array_get_idx(list, i)), what);
}

int ctl_sessions_clear(const struct config *c, const struct ctl_options *o)
{
	const struct rest_parameter p[] = {{"inside", o->inside}, {"nat", o->nat}, {"remote", o->remote},
		{"protocol", o->protocol}, {"realm", o->realm}};
	struct json_object *answer = rest_call(c, "DELETE", path, p, sizeof p / sizeof p[0]);

	if (!answer)
		return CTL_FAILED;
	if (o->json) {
		rows_json(answer);
	} else {
		printf("%s sessions cleared\n", rows_text(answer, "cleared"));
		print_engines(answer, "engines_at_work", "is still at it");
		print_engines(answer, "engines_down", "is down: it ends its own when it is started again");
	}
	json_object_put(answer);
	return 0;
}
