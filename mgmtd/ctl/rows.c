#include "mgmtd/ctl/rows.h"

#include <stdio.h>

const char *rows_text(struct json_object *row, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(row, key, &v) && v ? json_object_get_string(v) : "-";
}

void rows_titles(const struct rows_column *columns, int n)
{
	for (int i = 0; i < n; i++)
		printf("%*s%c", columns[i].width, columns[i].title, i + 1 < n ? ' ' : '\n');
}

void rows_print(const struct rows_column *columns, int n, struct json_object *row)
{
	for (int i = 0; i < n; i++)
		printf("%*s%c", columns[i].width, rows_text(row, columns[i].key), i + 1 < n ? ' ' : '\n');
}

void rows_json(struct json_object *row)
{
	printf("%s\n", json_object_to_json_string_ext(row, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}
