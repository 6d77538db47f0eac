/* corenatctl: looks at the appliance, clears sessions, opens pinholes, and takes it away. */
#include "common/args.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_USAGE = 2, WORDS = 2 };

/* Options that belong to some commands only. */
enum { TAKES_EXACT = 1, TAKES_FILTER = 2, TAKES_LIFETIME = 4 };

static const struct command {
	const char *word[WORDS];
	unsigned takes;
	const char *help;
	int (*run)(const struct config *c, const struct ctl_options *o);
} commands[] = {
	{{"arena", "info"}, 0, "geometry, who is alive, what its pages hold", ctl_arena_info},
	{{"arena", "map"}, 0, "the byte map of the arena, as this build has it", ctl_arena_map},
	{{"arena", "remove"}, 0, "remove arena, mailboxes, XDP programs; nothing may run", ctl_arena_remove},
	{{"check"}, TAKES_EXACT, "prove the arena sound; on a live box it allows for what is in flight (--exact: not)",
		ctl_check},
	{{"sessions"}, TAKES_FILTER, "the same as sessions list", ctl_sessions_list},
	{{"sessions", "list"}, TAKES_FILTER, "the sessions there are", ctl_sessions_list},
	{{"sessions", "clear"}, TAKES_FILTER, "end the sessions that agree with all that is given", ctl_sessions_clear},
	{{"pinholes"}, TAKES_FILTER, "the same as pinholes list", ctl_pinholes_list},
	{{"pinholes", "list"}, TAKES_FILTER, "the mappings with a lifetime there are", ctl_pinholes_list},
	{{"pinholes", "open"}, TAKES_FILTER | TAKES_LIFETIME, "open one, or give it more time", ctl_pinholes_open},
	{{"pinholes", "close"}, TAKES_FILTER, "end one", ctl_pinholes_close},
};

static unsigned given(const struct ctl_options *o)
{
	bool filter = o->inside || o->nat || o->remote || o->protocol || o->realm || o->json;

	return (o->exact ? TAKES_EXACT : 0) | (filter ? TAKES_FILTER : 0) | (o->lifetime ? TAKES_LIFETIME : 0);
}

static bool is_command(const struct command *c, int n, char **words)
{
	for (int i = 0; i < WORDS; i++)
		if (i < n ? !c->word[i] || strcmp(words[i], c->word[i]) != 0 : c->word[i] != NULL)
			return false;
	return n <= WORDS;
}

static const struct command *find_command(int n, char **words, const struct ctl_options *o)
{
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (is_command(&commands[i], n, words) && !(given(o) & ~commands[i].takes))
			return &commands[i];
	return NULL;
}

static void list_commands(void)
{
	fprintf(stderr, "corenatctl: the commands are\n");
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		fprintf(stderr, "  %-8s %-8s %s\n", commands[i].word[0], commands[i].word[1] ? commands[i].word[1] : "",
			commands[i].help);
}

int main(int argc, char **argv)
{
	static struct config config;
	static const char *file;
	static struct ctl_options options;
	static const struct arg args[] = {
		{"config", "FILE", "the configuration of the appliance", .text = &file, .required = true},
		{"exact", NULL, "check: nothing runs, so nothing may be in flight", .flag = &options.exact},
		{"inside", "IP[:PORT]", "sessions, pinholes: of this subscriber", .text = &options.inside},
		{"nat", "IP[:PORT]", "sessions, pinholes: of this NAT address", .text = &options.nat},
		{"remote", "IP[:PORT]", "sessions: with this remote", .text = &options.remote},
		{"protocol", "NAME", "sessions: tcp, udp, icmp or other; pinholes: tcp or udp",
			.text = &options.protocol},
		{"realm", "VLAN", "sessions, pinholes: of this realm; 0: untagged", .text = &options.realm},
		{"lifetime", "SECONDS", "pinholes open: for how long", .text = &options.lifetime},
		{"json", NULL, "sessions, pinholes: JSON, one line each", .flag = &options.json},
		{.name = NULL},
	};
	struct config_error wrong;
	int rest, status = args_parse(argc, argv, "corenatctl",
			  "arena info, map, remove; check; sessions list, clear; pinholes list, open, close", args,
			  &rest);

	if (status != ARGS_RUN)
		return status;
	log_open("corenatctl");

	const struct command *command = find_command(argc - rest, argv + rest, &options);

	if (!command) {
		list_commands();
		return STATUS_USAGE;
	}
	if (!config_load(&config, file, &wrong)) {
		log_error("%s", wrong.text);
		return STATUS_USAGE;
	}
	return command->run(&config, &options);
}
