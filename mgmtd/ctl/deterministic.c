/* corenatctl deterministic: who had an address and port at a time, and which ports a subscriber had; by the API. */
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"
#include "mgmtd/ctl/rows.h"

#include <stdio.h>
#include <string.h>

static const struct rows_column columns[] = {
	{"rank", "rank", 4},
	{"basis", "basis", -8},
	{"kind", "kind", -13},
	{"realm", "realm", -10},
	{"inside", "inside", -15},
	{"nat", "nat", -15},
	{"port_first", "first", 5},
	{"port_last", "last", 5},
	{"protocol", "protocol", -8},
	{"from", "from", -24},
	{"until", "until", -24},
	{"pool", "pool", -8},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static size_t list_of(struct json_object *answer, const char *key, struct json_object **list)
{
	if (!json_object_object_get_ex(answer, key, list) || !json_object_is_type(*list, json_type_array))
		return 0;
	return json_object_array_length(*list);
}

static void print_answer(struct json_object *answer)
{
	struct json_object *rows = NULL, *bad = NULL, *known;
	size_t n = list_of(answer, "candidates", &rows), n_bad = list_of(answer, "unreadable", &bad);

	if (n > 0)
		rows_titles(columns, N_COLUMNS);
	for (size_t i = 0; i < n; i++)
		rows_print(columns, N_COLUMNS, json_object_array_get_idx(rows, i));
	printf("%zu candidates at %s (skew %s s; sessions made up to %s s before may have lived on)\n", n,
		rows_text(answer, "time"), rows_text(answer, "skew_s"), rows_text(answer, "earlier_s"));
	if (json_object_object_get_ex(answer, "known", &known) && !json_object_get_boolean(known))
		printf("no configuration of that time is kept\n");
	else if (n == 0)
		printf("neither a static mapping nor a deterministic rule nor a pool of the configuration then has "
		       "it\n");
	for (size_t i = 0; i < n_bad; i++) {
		struct json_object *row = json_object_array_get_idx(bad, i);

		printf("configuration %s cannot be read by this version: %s\n", rows_text(row, "version"),
			rows_text(row, "problem"));
	}
}

int ctl_deterministic(const struct config *c, const struct ctl_options *o)
{
	const struct rest_parameter p[] = {{"inside", o->inside}, {"nat", o->nat}, {"realm", o->realm},
		{"time", o->time}, {"skew_s", o->skew}, {"earlier_s", o->earlier}};
	struct json_object *answer = rest_call(c, "GET", "/api/v1/deterministic", p, sizeof p / sizeof p[0]);

	if (!answer)
		return CTL_FAILED;
	if (o->json)
		printf("%s\n", json_object_to_json_string_ext(
				       answer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_answer(answer);
	json_object_put(answer);
	return 0;
}
