/* args: the command line of every program, by table.
 *
 * What       long options as rows; --help and --version come by themselves from the same rows.
 * Units      none.
 * Ownership  texts point into argv.
 * Calls      main thread, once, first thing.
 * Errors     one sentence on standard error and exit status 2.
 * Use        static const char *file;
 *            static const struct arg args[] = {
 *                    {"config", "FILE", "the configuration", .text = &file, .required = true}, {0}};
 *            int status = args_parse(argc, argv, "corenat-pe", "one packet engine", args, NULL);
 *            if (status != ARGS_RUN)
 *                    return status;
 *
 * A program of many commands has a row "help" of its own (a flag), and gives the help of the one meant by args_help.
 */
#ifndef CORENAT_ARGS_H
#define CORENAT_ARGS_H

#include <stdbool.h>

enum { ARGS_RUN = -1, ARGS_MAX = 48 };

/* Exactly one of flag, text, number is set. Whatever the user leaves out stays as the caller set
 * it. */
struct arg {
	const char *name;  /* without dashes; NULL ends the table */
	const char *value; /* what help calls the value; NULL for a flag */
	const char *help;
	bool *flag;
	const char **text;
	unsigned *number; /* decimal, min..max */
	unsigned min, max;
	bool required;
	unsigned kind; /* of use to commands of these kinds only, a bit each; 0: to all */
};

/* ARGS_RUN, or the status to exit with (0 after --help or --version, 2 on bad usage). When `rest`
 * is given, words that are no options are moved to the end of argv and *rest is the index of the
 * first; else they are errors. */
int args_parse(int argc, char **argv, const char *program, const char *what, const struct arg *args, int *rest);

/* Prints the rows that are of use to commands of these kinds. */
void args_help(const struct arg *args, unsigned kinds);

/* The first row that was given and is of use to none of these kinds; NULL: all are. Rows with flag or text, unset before. */
const struct arg *args_useless(const struct arg *args, unsigned kinds);

#endif
