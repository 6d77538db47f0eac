#include "pe/replay_changes.h"

#include "common/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGES_MAX = 64, LINE = 512, NS_DIGITS = 9 };

/* One line of the list. */
struct line {
	const char *list; /* its file */
	unsigned number;
	const char *file; /* the configuration's, as it says */
	mono_t at;
	struct config_error *err;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct line *l, const char *format, ...)
{
	size_t size = sizeof l->err->text;
	int n = snprintf(l->err->text, size, "%.200s, line %u: ", l->list, l->number);
	va_list args;

	va_start(args, format);
	vsnprintf(l->err->text + n, size - (size_t)n, format, args);
	va_end(args);
	return false;
}

/* "SECONDS[.DECIMALS] FILE", exactly: doubles do not hold nanoseconds of our days. */
static bool parse(struct line *l, char *text)
{
	char *end = text;

	errno = 0;
	uint64_t seconds = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0, ns = 0;
	if (end == text || errno || seconds > UINT32_MAX)
		return refuse(l, "does not begin with a time; give seconds as in the captures");
	int digits = 0;
	for (end += *end == '.'; *end >= '0' && *end <= '9' && digits < NS_DIGITS; end++, digits++)
		ns = ns * 10 + (uint64_t)(*end - '0');
	for (; digits < NS_DIGITS; digits++)
		ns *= 10;
	l->at = (mono_t){seconds * 1000000000u + ns};
	l->file = end + strspn(end, " \t");
	if (l->file == end || !*l->file)
		return refuse(l, "has no file behind its time; give a time, a space, and a configuration's file");
	return true;
}

/* The first option that differs and that engines read at their start only. NULL: none does. */
static const char *needs_restart(const struct config *a, const struct config *b)
{
	for (unsigned i = 0; i < option_count; i++) {
		const struct option *o = &options[i];
		size_t at = o->value.offset;

		if (o->change == OPTION_RESTART && !strchr(o->path, '[') &&
			memcmp((const char *)a + at, (const char *)b + at, o->value.size) != 0)
			return o->path;
	}
	return NULL;
}

static bool load_config(const struct line *l, const struct config *first, struct config *out)
{
	const char *slash = strrchr(l->list, '/');
	struct config_error err;
	char path[2 * LINE];

	if (l->file[0] == '/')
		slash = NULL;
	snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - l->list) : 0, l->list, l->file);
	if (!config_load(out, path, &err))
		return refuse(l, "%.700s", err.text);
	const char *restart = needs_restart(first, out);

	return !restart || refuse(l, "changes %s, which takes a restart; leave it as it was", restart);
}

static bool add(struct replay_changes *c, const struct line *l, const struct config *first)
{
	struct replay_change *grown;

	if (c->n == CHANGES_MAX)
		return refuse(l, "is change %u; at most %d are possible", c->n + 1, CHANGES_MAX);
	if (c->n && l->at.ns < c->list[c->n - 1].at.ns)
		return refuse(l, "is earlier than the one before it; give them in the order of time");
	grown = realloc(c->list, (c->n + 1) * sizeof *grown);
	if (!grown)
		return refuse(l, "no memory for it");
	c->list = grown;
	memset(&grown[c->n], 0, sizeof *grown);
	grown[c->n].at = l->at;
	return load_config(l, first, &grown[c->n++].config);
}

static bool read_lines(struct replay_changes *c, FILE *f, struct line *l, const struct config *first)
{
	char text[LINE];

	for (l->number = 1; fgets(text, sizeof text, f); l->number++) {
		text[strcspn(text, "\r\n")] = '\0';
		if (text[0] != '\0' && text[0] != '#' && (!parse(l, text) || !add(c, l, first)))
			return false;
	}
	return true;
}

bool replay_changes_load(
	struct replay_changes *c, const char *path, const struct config *first, struct config_error *err)
{
	struct line l = {.list = path, .err = err};
	FILE *f = fopen(path, "re");

	*c = (struct replay_changes){NULL, 0, 0};
	if (!f) {
		snprintf(err->text, sizeof err->text, "%.300s: cannot be read: %s", path, strerror(errno));
		return false;
	}
	bool ok = read_lines(c, f, &l, first);
	fclose(f);
	if (!ok)
		replay_changes_free(c);
	return ok;
}

void replay_changes_free(struct replay_changes *c)
{
	free(c->list);
	*c = (struct replay_changes){NULL, 0, 0};
}

const struct replay_change *replay_change_due(struct replay_changes *c, mono_t by)
{
	if (c->next == c->n || !mono_due(by, c->list[c->next].at))
		return NULL;
	return &c->list[c->next++];
}
