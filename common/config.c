/* Parsing: text, scan, tree, rows, completion, rules. */
#include "common/config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RSS_TABLE_DEFAULT = 128 }; /* entries, as most NICs have */

bool config_refuse(struct config_error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return false;
}

const char *option_in_group(const struct option *option, const char *group)
{
	size_t len = strlen(group);

	if (strncmp(option->path, group, len) != 0 || strstr(option->path + len, "[]") != NULL)
		return NULL;
	return option->path + len;
}

/* "name, engines, sessions" for group "arena.": what may stand there. */
static void list_keys(const char *group, char *out, size_t size)
{
	const char *last = "";
	size_t last_len = 0, used = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < option_count && used < size; i++) {
		const char *rest = option_in_group(&options[i], group);
		size_t len = rest == NULL ? 0 : strcspn(rest, ".");

		if (rest == NULL || (len == last_len && strncmp(rest, last, len) == 0))
			continue;
		used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? ", " : "", (int)len, rest);
		last = rest;
		last_len = len;
	}
}

static bool is_group(const char *path)
{
	for (unsigned i = 0; i < option_count; i++)
		if (option_in_group(&options[i], path) != NULL)
			return true;
	return false;
}

/* Room for the dot is in every name that leads to a row. */
static void append_dot(char *path, size_t size)
{
	size_t used = strlen(path);

	snprintf(path + used, size - used, ".");
}

/* Every key must lead to a row. Recursion is as deep as the longest path in the table. */
static bool check_keys(json_object *object, const char *group, const char *shown, struct config_error *err)
{
	json_object_object_foreach (object, key, value) {
		char path[OPTION_NAME_SIZE], name[OPTION_NAME_SIZE], known[800];

		snprintf(path, sizeof(path), "%s%.40s", group, key);
		snprintf(name, sizeof(name), "%s%.40s", shown, key);
		if (strpbrk(key, ".[]") != NULL)
			return config_refuse(err, "%s: \"%.40s\" is no name; write groups as objects inside objects",
				*group ? shown : "document", key);
		if (option_find(path) != NULL)
			continue;
		append_dot(path, sizeof(path));
		if (!is_group(path)) {
			list_keys(group, known, sizeof(known));
			return config_refuse(err, "%s: unknown option; known here are %s", name, known);
		}
		if (!json_object_is_type(value, json_type_object))
			return config_refuse(err, "%s: must be an object of options", name);
		append_dot(name, sizeof(name));
		if (!check_keys(value, path, name, err))
			return false;
	}
	return true;
}

/* The value at "engine.cpus" below the object; false when it is absent. */
static bool find_value(json_object *object, const char *path, json_object **value)
{
	char key[OPTION_NAME_SIZE];

	*value = object;
	for (;;) {
		size_t len = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		if (!json_object_object_get_ex(*value, key, value))
			return false;
		if (path[len] == '\0')
			return true;
		path += len + 1;
	}
}

static bool read_row(const struct option *o, json_object *object, const char *rest, const char *shown, uint8_t *base,
	struct config_error *err)
{
	struct slot slot = {.option = o, .base = base, .err = err};
	json_object *value;
	bool ok;

	snprintf(slot.name, sizeof(slot.name), "%s%s", shown, rest);
	if (find_value(object, rest, &value))
		return slot_read(&slot, value);
	if (o->initial == NULL)
		return config_refuse(err, "%s: is missing and has no default; give the %s", slot.name, o->help);
	value = json_tokener_parse(o->initial);
	ok = slot_read(&slot, value);
	json_object_put(value);
	return ok;
}

bool config_read_group(
	json_object *object, const char *group, const char *shown, uint8_t *base, struct config_error *err)
{
	if (!check_keys(object, group, shown, err))
		return false;
	for (unsigned i = 0; i < option_count; i++) {
		const char *rest = option_in_group(&options[i], group);

		if (rest != NULL && !read_row(&options[i], object, rest, shown, base, err))
			return false;
	}
	return true;
}

/* Defaults that depend on other options. */
static void complete(struct config *c)
{
	for (unsigned side = 0; side < N_SIDES; side++) {
		struct rss *rss = &c->net.side[side].rss;

		if (rss->table_len != 0)
			continue;
		rss->table_len = rss->mode == RSS_SINGLE ? 1 : RSS_TABLE_DEFAULT;
		for (unsigned i = 0; i < rss->table_len; i++)
			rss->table[i] = (uint8_t)(rss->mode == RSS_SINGLE ? 0 : i % c->arena.engines);
	}
}

/* The tree of a text that config_scan found good. */
static json_object *parse_tree(const char *text, size_t size, struct config_error *err)
{
	struct json_tokener *tok = json_tokener_new();
	json_object *tree = NULL;

	if (tok != NULL) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
		tree = json_tokener_parse_ex(tok, text, (int)size);
		if (tree == NULL && json_tokener_get_error(tok) != json_tokener_success)
			config_refuse(err, "document: %s", json_tokener_error_desc(json_tokener_get_error(tok)));
		else if (!json_object_is_type(tree, json_type_object))
			config_refuse(err, "document: must be an object");
		json_tokener_free(tok);
	} else {
		config_refuse(err, "document: out of memory");
	}
	if (json_object_is_type(tree, json_type_object))
		return tree;
	json_object_put(tree);
	return NULL;
}

bool config_parse(struct config *out, const char *text, size_t size, struct config_error *err)
{
	struct config c;
	json_object *tree;
	bool ok;

	/* Padding too: printing and parsing again must give the same bytes. */
	memset(&c, 0, sizeof(c));
	if (!config_scan(text, size, err))
		return false;
	tree = parse_tree(text, size, err);
	if (tree == NULL)
		return false;
	ok = config_read_group(tree, "", "", (uint8_t *)&c, err);
	json_object_put(tree);
	if (!ok)
		return false;
	complete(&c);
	if (!config_check(&c, err))
		return false;
	memcpy(out, &c, sizeof(c));
	return true;
}

/* Up to `max` bytes of the file; negative errno when it cannot be read. */
static ssize_t read_whole(const char *path, char *text, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && used < max) {
		n = read(fd, text + used, max - used);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			used += (size_t)n;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)used;
}

bool config_load(struct config *out, const char *path, struct config_error *err)
{
	char *text = malloc(CONFIG_TEXT_MAX + 1);
	ssize_t n = text == NULL ? -ENOMEM : read_whole(path, text, CONFIG_TEXT_MAX + 1);
	bool ok;

	if (n < 0)
		ok = config_refuse(err, "%.300s: cannot be read: %s", path, strerror((int)-n));
	else
		ok = config_parse(out, text, (size_t)n, err);
	free(text);
	return ok;
}
