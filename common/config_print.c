/* Printing: the effective configuration, and the option table, as JSON. */
#include "common/config_internal.h"

#include <stdio.h>
#include <string.h>

/* Lists of plain values on one line: a table of 128 entries is no reason for 128 lines. */
static int print_list(json_object *list, struct printbuf *out, int level, int flags)
{
	size_t n = json_object_array_length(list);

	(void)level;
	(void)flags;
	printbuf_strappend(out, "[");
	for (size_t i = 0; i < n; i++) {
		const char *item = json_object_to_json_string_ext(
			json_object_array_get_idx(list, i), JSON_C_TO_STRING_NOSLASHESCAPE);

		if (i > 0)
			printbuf_strappend(out, ", ");
		printbuf_memappend(out, item, (int)strlen(item));
	}
	return printbuf_strappend(out, "]");
}

static void add_at(json_object *object, const char *path, json_object *value)
{
	char key[OPTION_NAME_SIZE];

	for (;;) {
		size_t len = strcspn(path, ".");
		json_object *child;

		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		if (path[len] == '\0') {
			json_object_object_add(object, key, value);
			return;
		}
		if (!json_object_object_get_ex(object, key, &child)) {
			child = json_object_new_object();
			json_object_object_add(object, key, child);
		}
		object = child;
		path += len + 1;
	}
}

json_object *config_write_group(const char *group, uint8_t *base)
{
	json_object *object = json_object_new_object();

	for (unsigned i = 0; i < option_count; i++) {
		const char *rest = option_in_group(&options[i], group);
		struct slot slot = {.option = &options[i], .base = base};
		json_object *value;

		if (rest == NULL)
			continue;
		value = slot_write(&slot);
		if (json_object_is_type(value, json_type_array) && options[i].type != OPTION_OBJECTS)
			json_object_set_serializer(value, print_list, NULL, NULL);
		add_at(object, rest, value);
	}
	return object;
}

/* Takes the tree; the text ends in a newline. */
static char *print_tree(json_object *tree)
{
	char *text = NULL;

	if (asprintf(&text, "%s\n",
		    json_object_to_json_string_ext(tree,
			    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE)) < 0)
		text = NULL;
	json_object_put(tree);
	return text;
}

char *config_print(const struct config *c)
{
	struct config copy = *c; /* rows reach in through plain pointers */

	return print_tree(config_write_group("", (uint8_t *)&copy));
}

static void add_text(json_object *object, const char *key, const char *text)
{
	if (text != NULL)
		json_object_object_add(object, key, json_object_new_string(text));
}

static json_object *schema_row(const struct option *o)
{
	json_object *row = json_object_new_object();

	add_text(row, "path", o->path);
	add_text(row, "type", option_type_name(o->type));
	if (o->max != 0) {
		json_object_object_add(row, "min", json_object_new_int64((int64_t)o->min));
		json_object_object_add(row, "max", json_object_new_int64((int64_t)o->max));
	}
	if (o->choices != NULL) {
		json_object *list = json_object_new_array();

		for (unsigned i = 0; o->choices[i] != NULL; i++)
			json_object_array_add(list, json_object_new_string(o->choices[i]));
		json_object_object_add(row, "choices", list);
	}
	if (o->initial != NULL)
		json_object_object_add(row, "default", json_tokener_parse(o->initial));
	json_object_object_add(row, "required", json_object_new_boolean(o->initial == NULL));
	add_text(row, "unit", o->unit);
	add_text(row, "change", o->change == OPTION_LIVE ? "live" : "restart");
	add_text(row, "source", o->source);
	add_text(row, "help", o->help);
	return row;
}

char *config_schema_print(void)
{
	json_object *tree = json_object_new_object(), *rows = json_object_new_array();

	for (unsigned i = 0; i < option_count; i++)
		json_object_array_add(rows, schema_row(&options[i]));
	json_object_object_add(tree, "options", rows);
	return print_tree(tree);
}
