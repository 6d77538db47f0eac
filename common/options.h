/* options: the one table of what can be configured.
 *
 * What       one row per option: where it stands in the document, where in struct config, its type,
 *            bounds, default, unit, whether it changes live, and its help. Parser, printer and schema
 *            walk the rows; adding an option is adding a row (and a member of struct config).
 * Units      `min` and `max` bound an integer's value, a text's length in bytes, a list's number of
 *            entries.
 * Ownership  constants.
 * Calls      any process, any thread.
 * Errors     option_find: NULL when no row has that path.
 * Use        for (unsigned i = 0; i < option_count; i++) puts(options[i].path);
 *
 * A path is the keys from the root of the document, joined by dots. "pools[].name" is the name of each
 * entry of the list "pools"; its offsets count from the entry, not from struct config.
 */
#ifndef CORENAT_OPTIONS_H
#define CORENAT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
	OPTION_INTEGER,
	OPTION_CHOICE,    /* one of `choices`; the index is stored */
	OPTION_STRING,    /* printable text */
	OPTION_PATH,      /* absolute path */
	OPTION_KEY,       /* hex digits, stored as bytes */
	OPTION_CPUS,      /* list of CPU numbers */
	OPTION_TABLE,     /* list of queue numbers */
	OPTION_PORTS,     /* list of port numbers */
	OPTION_ADDRESS,   /* "a.b.c.d", stored in host order */
	OPTION_PREFIXES,  /* list of "a.b.c.d/len" */
	OPTION_ADDRESSES, /* list of "a.b.c.d", "a.b.c.d/len" or "first-last" */
	OPTION_RANGES,    /* list of "port" or "first-last" */
	OPTION_OBJECTS,   /* list of objects, whose rows follow with "[]." in their paths */
	N_OPTION_TYPES
};

/* When a changed value takes effect. */
enum option_change { OPTION_LIVE, OPTION_RESTART };

/* A member of struct config, or of a list entry. */
struct option_field {
	size_t offset, size; /* size 0: there is none */
};

struct option {
	const char *path;
	enum option_type type;
	struct option_field value;
	struct option_field count; /* lists and keys: how many entries or bytes are in use */
	uint64_t min, max;
	const char *initial;        /* default as JSON text; NULL when the option must be given */
	const char *const *choices; /* OPTION_CHOICE: NULL-terminated */
	const char *unit;           /* NULL when it has none */
	enum option_change change;
	const char *source; /* the clause behind the lower bound, or NULL */
	const char *help;
};

extern const struct option options[];
extern const unsigned option_count;

/* The row with exactly this path. */
const struct option *option_find(const char *path);

/* The name of a type in the schema: "integer", "choice", … */
const char *option_type_name(enum option_type type);

#endif
