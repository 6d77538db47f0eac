#include "mgmtd/ctl/rows.h"

#include <stdio.h>

enum { CELL_SIZE = 256 };

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

/* A list's members with commas. */
static const char *cell(struct json_object *row, const char *key, char text[CELL_SIZE])
{
	struct json_object *v;
	size_t used = 0;

	if (!json_object_object_get_ex(row, key, &v) || !json_object_is_type(v, json_type_array))
		return rows_text(row, key);
	snprintf(text, CELL_SIZE, "-");
	for (size_t i = 0; i < json_object_array_length(v) && used < CELL_SIZE; i++)
		used += (size_t)snprintf(text + used, CELL_SIZE - used, "%s%s", i ? "," : "",
			json_object_get_string(json_object_array_get_idx(v, i)));
	return text;
}

void rows_print(const struct rows_column *columns, int n, struct json_object *row)
{
	char text[CELL_SIZE];

	for (int i = 0; i < n; i++)
		printf("%*s%c", columns[i].width, cell(row, columns[i].key, text), i + 1 < n ? ' ' : '\n');
}

void rows_json(struct json_object *row)
{
	printf("%s\n", json_object_to_json_string_ext(row, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}
