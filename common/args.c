#include "common/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_USAGE = 2, VAL_HELP = 1000, VAL_VERSION };

static bool of_use(const struct arg *a, unsigned kinds)
{
	return !a->kind || a->kind & kinds;
}

void args_help(const struct arg *args, unsigned kinds)
{
	char left[64];
	bool help = false;

	for (const struct arg *a = args; a->name; a++) {
		snprintf(left, sizeof left, "--%s %s", a->name, a->value ? a->value : "");
		if (of_use(a, kinds))
			printf("  %-28s %s%s\n", left, a->help, a->required ? " (required)" : "");
		help |= strcmp(a->name, "help") == 0;
	}
	if (!help)
		printf("  %-28s %s\n", "--help", "this text");
	printf("  %-28s %s\n", "--version", "the version");
}

const struct arg *args_useless(const struct arg *args, unsigned kinds)
{
	for (const struct arg *a = args; a->name; a++)
		if (!of_use(a, kinds) && ((a->flag && *a->flag) || (a->text && *a->text)))
			return a;
	return NULL;
}

static void print_help(const char *program, const char *what, const struct arg *args, bool words)
{
	printf("%s: %s\n\nUsage: %s [OPTION]...%s\n\n", program, what, program, words ? " [WORD]..." : "");
	args_help(args, 0);
}

static bool take_number(const char *program, const struct arg *a, const char *text)
{
	char *end;

	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || v < a->min || v > a->max) {
		fprintf(stderr, "%s: --%s takes a number from %u to %u, not '%s'\n", program, a->name, a->min, a->max,
			text);
		return false;
	}
	*a->number = (unsigned)v;
	return true;
}

static bool take(const char *program, const struct arg *a, const char *text)
{
	if (a->flag)
		*a->flag = true;
	else if (a->text)
		*a->text = text;
	else
		return take_number(program, a, text);
	return true;
}

/* The rows as getopt wants them; val is the row's index. */
static int long_options(const struct arg *args, struct option *out)
{
	int n = 0;

	for (; n < ARGS_MAX && args[n].name; n++)
		out[n] = (struct option){args[n].name, args[n].value ? required_argument : no_argument, NULL, n};
	out[n] = (struct option){"help", no_argument, NULL, VAL_HELP};
	out[n + 1] = (struct option){"version", no_argument, NULL, VAL_VERSION};
	return n;
}

int args_parse(int argc, char **argv, const char *program, const char *what, const struct arg *args, int *rest)
{
	struct option options[ARGS_MAX + 3] = {0};
	bool seen[ARGS_MAX] = {0};
	int n = long_options(args, options), at;

	opterr = 0;
	while ((at = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (at == VAL_HELP) {
			print_help(program, what, args, rest != NULL);
			return 0;
		}
		if (at == VAL_VERSION) {
			printf("%s %s\n", program, CORENAT_VERSION);
			return 0;
		}
		if (at < 0 || at >= n) {
			fprintf(stderr, "%s: %s '%s'; try --help\n", program,
				at == ':' ? "a value is missing after" : "there is no option", argv[optind - 1]);
			return STATUS_USAGE;
		}
		if (!take(program, &args[at], optarg))
			return STATUS_USAGE;
		seen[at] = true;
	}
	for (int i = 0; i < n; i++) {
		if (args[i].required && !seen[i]) {
			fprintf(stderr, "%s: --%s is missing; try --help\n", program, args[i].name);
			return STATUS_USAGE;
		}
	}
	if (rest) {
		*rest = optind;
	} else if (optind < argc) {
		fprintf(stderr, "%s: '%s' means nothing here; try --help\n", program, argv[optind]);
		return STATUS_USAGE;
	}
	return ARGS_RUN;
}
