/* corenatctl pinholes: lists, opens and closes mappings with a lifetime, by way of the API. */
#include "mgmtd/ctl/ctl.h"
#include "mgmtd/ctl/rest_call.h"
#include "mgmtd/ctl/rows.h"

#include <stdio.h>
#include <string.h>

static const char path[] = "/api/v1/pinholes";
static const char page[] = "1000"; /* pinholes in one answer */

static const struct rows_column columns[] = {
	{"protocol", "protocol", -8},
	{"realm", "realm", 5},
	{"inside", "inside", -21},
	{"nat", "nat", -21},
	{"lifetime_s", "lifetime s", 10},
	{"engine", "engine", 6},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static void print_row(struct json_object *row, bool json)
{
	if (json)
		rows_json(row);
	else
		rows_print(columns, N_COLUMNS, row);
}

int ctl_pinholes_list(const struct config *c, const struct ctl_options *o)
{
	char next[32] = "0";
	size_t n = 0;

	do {
		const struct rest_parameter p[] = {{"inside", o->inside}, {"nat", o->nat}, {"protocol", o->protocol},
			{"realm", o->realm}, {"limit", page}, {"cursor", next}};
		struct json_object *answer = rest_call(c, "GET", path, p, sizeof p / sizeof p[0]), *rows = NULL;

		if (!answer)
			return CTL_FAILED;
		if (!o->json && strcmp(next, "0") == 0)
			rows_titles(columns, N_COLUMNS);
		json_object_object_get_ex(answer, "pinholes", &rows);
		for (size_t i = 0; rows && i < json_object_array_length(rows); i++, n++)
			print_row(json_object_array_get_idx(rows, i), o->json);
		snprintf(next, sizeof next, "%s", rows_text(answer, "next"));
		json_object_put(answer);
	} while (strcmp(next, "-") != 0);
	if (!o->json)
		printf("%zu pinholes\n", n);
	return 0;
}

static int change(const struct config *c, const struct ctl_options *o, const char *method)
{
	const struct rest_parameter p[] = {{"protocol", o->protocol}, {"inside", o->inside}, {"realm", o->realm},
		{"nat", o->nat}, {"lifetime_s", o->lifetime}};
	struct json_object *row = rest_call(c, method, path, p, sizeof p / sizeof p[0]);

	if (!row)
		return CTL_FAILED;
	if (!o->json)
		rows_titles(columns, N_COLUMNS);
	print_row(row, o->json);
	json_object_put(row);
	return 0;
}

int ctl_pinholes_open(const struct config *c, const struct ctl_options *o)
{
	return change(c, o, "POST");
}

int ctl_pinholes_close(const struct config *c, const struct ctl_options *o)
{
	return change(c, o, "DELETE");
}
