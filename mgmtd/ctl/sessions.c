/* corenatctl sessions: lists and clears, by way of the API: only engines may end sessions, and mgmtd asks them. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"

#include <stdio.h>
#include <string.h>

static const char path[] = "/api/v1/sessions";
static const char page[] = "1000"; /* sessions in one answer */

static const char *text_of(struct json_object *row, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(row, key, &v) && v ? json_object_get_string(v) : "-";
}

/* ---- list ---- */

static const struct {
	const char *key, *title;
	int width; /* negative: to the left */
} columns[] = {
	{"protocol", "protocol", -8},
	{"realm", "realm", 5},
	{"inside", "inside", -21},
	{"nat", "nat", -21},
	{"remote", "remote", -21},
	{"origin", "origin", -8},
	{"tcp", "tcp", -11},
	{"created_s_ago", "age s", 9},
	{"owner", "engine", 6},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void print_titles(void)
{
	for (int i = 0; i < N_COLUMNS; i++)
		printf("%*s%c", columns[i].width, columns[i].title, i + 1 < N_COLUMNS ? ' ' : '\n');
}

static void print_row(struct json_object *row)
{
	for (int i = 0; i < N_COLUMNS; i++)
		printf("%*s%c", columns[i].width, text_of(row, columns[i].key), i + 1 < N_COLUMNS ? ' ' : '\n');
}

static void print_json(struct json_object *o)
{
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Returns how many there were. */
static size_t print_page(struct json_object *answer, bool json)
{
	struct json_object *rows = NULL;
	size_t n = 0;

	if (json_object_object_get_ex(answer, "sessions", &rows) && json_object_is_type(rows, json_type_array))
		n = json_object_array_length(rows);
	for (size_t i = 0; i < n; i++)
		(json ? print_json : print_row)(json_object_array_get_idx(rows, i));
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
			print_titles();
		n += print_page(answer, o->json);
		snprintf(next, sizeof next, "%s", text_of(answer, "next"));
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
		print_json(answer);
	} else {
		printf("%s sessions cleared\n", text_of(answer, "cleared"));
		print_engines(answer, "engines_at_work", "is still at it");
		print_engines(answer, "engines_down", "is down: it ends its own when it is started again");
	}
	json_object_put(answer);
	return 0;
}
