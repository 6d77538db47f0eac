/* corenatctl: looks at the appliance, clears sessions, names subscribers, and takes it away. */
#include "common/args.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_USAGE = 2, WORDS = 2 };

/* Options that belong to some commands only. */
enum { TAKES_EXACT = 1, TAKES_FILTER = 2, TAKES_INSIDE = 4, TAKES_NAME = 8, TAKES_TOP = 16, TAKES_LIMITS = 32 };

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
	{{"subscribers"}, TAKES_INSIDE | TAKES_NAME | TAKES_TOP, "the same as subscribers list", ctl_subscribers_list},
	{{"subscribers", "list"}, TAKES_INSIDE | TAKES_NAME | TAKES_TOP, "subscribers, and what each uses",
		ctl_subscribers_list},
	{{"subscribers", "show"}, TAKES_INSIDE, "one of them: addresses, limits, what was refused",
		ctl_subscribers_show},
	{{"subscribers", "set"}, TAKES_INSIDE | TAKES_NAME | TAKES_LIMITS, "give one a name, and limits of its own",
		ctl_subscribers_set},
	{{"subscribers", "delete"}, TAKES_INSIDE, "forget its name and limits", ctl_subscribers_delete},
	{{"sessions"}, TAKES_INSIDE | TAKES_FILTER, "the same as sessions list", ctl_sessions_list},
	{{"sessions", "list"}, TAKES_INSIDE | TAKES_FILTER, "the sessions there are", ctl_sessions_list},
	{{"sessions", "clear"}, TAKES_INSIDE | TAKES_FILTER, "end the sessions that agree with all that is given", ctl_sessions_clear},
};

static unsigned given(const struct ctl_options *o)
{
	bool filter = o->nat || o->remote || o->protocol, inside = o->inside || o->realm || o->json;

	return (o->exact ? TAKES_EXACT : 0) | (filter ? TAKES_FILTER : 0) | (inside ? TAKES_INSIDE : 0) |
	       (o->name ? TAKES_NAME : 0) | (o->top ? TAKES_TOP : 0) | (o->set ? TAKES_LIMITS : 0);
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
		fprintf(stderr, "  %-11s %-8s %s\n", commands[i].word[0], commands[i].word[1] ? commands[i].word[1] : "",
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
		{"inside", "IP[:PORT]", "of this subscriber", .text = &options.inside},
		{"nat", "IP[:PORT]", "sessions: of this NAT address", .text = &options.nat},
		{"remote", "IP[:PORT]", "sessions: with this remote", .text = &options.remote},
		{"protocol", "NAME", "sessions: tcp, udp, icmp or other", .text = &options.protocol},
		{"realm", "VLAN", "of this realm; 0: untagged", .text = &options.realm},
		{"name", "TEXT", "subscribers: whose name has it; set: the name", .text = &options.name},
		{"top", "WHAT", "subscribers list: those with the most sessions, ports or refused",
			.text = &options.top},
		{"limits", "LIST", "subscribers set: sessions=100,udp_ports=50 and so on", .text = &options.set},
		{"json", NULL, "sessions, subscribers: JSON, one line each", .flag = &options.json},
		{.name = NULL},
	};
	struct config_error wrong;
	int rest, status = args_parse(argc, argv, "corenatctl",
			  "arena info, map, remove; check; sessions list, clear; subscribers list, show, set, delete: looks at the appliance, acts on it",
			  args, &rest);

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
