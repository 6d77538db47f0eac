/* corenatctl: looks at the appliance, and takes it away. */
#include "common/args.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_USAGE = 2, WORDS = 2 };

static const struct command {
	const char *word[WORDS];
	bool exact; /* with --exact */
	const char *help;
	int (*run)(const struct config *c);
} commands[] = {
	{{"arena", "info"}, false, "geometry, who is alive, what its pages hold", ctl_arena_info},
	{{"arena", "map"}, false, "the byte map of the arena, as this build has it", ctl_arena_map},
	{{"arena", "remove"}, false, "remove arena, mailboxes, XDP programs; nothing may run", ctl_arena_remove},
	{{"check"}, false, "prove the arena sound; on a live box it allows for what is in flight", ctl_check},
	{{"check"}, true, "the same at rest: nothing may be in flight", ctl_check_exact},
};

static bool is_command(const struct command *c, int n, char **words, bool exact)
{
	for (int i = 0; i < WORDS; i++)
		if (i < n ? !c->word[i] || strcmp(words[i], c->word[i]) != 0 : c->word[i] != NULL)
			return false;
	return n <= WORDS && c->exact == exact;
}

static const struct command *find_command(int n, char **words, bool exact)
{
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (is_command(&commands[i], n, words, exact))
			return &commands[i];
	return NULL;
}

static void list_commands(void)
{
	fprintf(stderr, "corenatctl: the commands are\n");
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		fprintf(stderr, "  %s %-8s %s\n", commands[i].word[0],
			commands[i].word[1] ? commands[i].word[1]
			: commands[i].exact ? "--exact"
					    : "",
			commands[i].help);
}

int main(int argc, char **argv)
{
	static struct config config;
	static const char *file;
	static bool exact;
	static const struct arg args[] = {
		{"config", "FILE", "the configuration of the appliance", .text = &file, .required = true},
		{"exact", NULL, "check: nothing runs, so nothing may be in flight", .flag = &exact},
		{.name = NULL},
	};
	struct config_error wrong;
	int rest, status = args_parse(argc, argv, "corenatctl",
			  "arena info, arena map, arena remove, check: looks at the appliance, takes it away", args,
			  &rest);

	if (status != ARGS_RUN)
		return status;
	log_open("corenatctl");

	const struct command *command = find_command(argc - rest, argv + rest, exact);

	if (!command) {
		list_commands();
		return STATUS_USAGE;
	}
	if (!config_load(&config, file, &wrong)) {
		log_error("%s", wrong.text);
		return STATUS_USAGE;
	}
	return command->run(&config);
}
