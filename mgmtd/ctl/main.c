/* corenatctl: looks at the appliance, clears sessions, opens pinholes, names subscribers, and takes it away. */
#include "common/args.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_USAGE = 2, WORDS = 2 };

/* Options that belong to some commands only. */
enum {
	TAKES_EXACT = 1,
	TAKES_FILTER = 4,
	TAKES_TIME = 8,
	TAKES_PLAN = 16,
	TAKES_JSON = 32,
	NO_CONFIG = 64,
	TAKES_LIFETIME = 4096,
	TAKES_SUBSCRIBER = 128,
	TAKES_NAME = 256,
	TAKES_TOP = 512,
	TAKES_LIMITS = 1024,
	TAKES_NAT = 2048,
	TAKES_EVENTS = 8192,
};

enum {
	TAKES_SESSIONS = TAKES_SUBSCRIBER | TAKES_NAT | TAKES_FILTER | TAKES_JSON,
	TAKES_ONE = TAKES_SUBSCRIBER | TAKES_JSON,
};

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
	{{"subscribers"}, TAKES_ONE | TAKES_NAME | TAKES_TOP, "the same as subscribers list", ctl_subscribers_list},
	{{"subscribers", "list"}, TAKES_ONE | TAKES_NAME | TAKES_TOP, "subscribers, and what each uses",
		ctl_subscribers_list},
	{{"subscribers", "show"}, TAKES_ONE, "one of them: addresses, limits, what was refused", ctl_subscribers_show},
	{{"subscribers", "set"}, TAKES_ONE | TAKES_NAME | TAKES_LIMITS, "give one a name, and limits of its own",
		ctl_subscribers_set},
	{{"subscribers", "delete"}, TAKES_ONE, "forget its name and limits", ctl_subscribers_delete},
	{{"deterministic"}, TAKES_SUBSCRIBER | TAKES_NAT | TAKES_TIME | TAKES_JSON,
		"who had a NAT address and port at a time, or which a subscriber had, as configured then",
		ctl_deterministic},
	{{"events"}, TAKES_SUBSCRIBER | TAKES_NAT | TAKES_EVENTS | TAKES_JSON,
		"what happened, newest first: port blocks given and returned, refusals", ctl_events},
	{{"who"}, TAKES_NAT | TAKES_TIME | TAKES_JSON,
		"who had a NAT address and port at a time: by recorded blocks, and as configured", ctl_who},
	{{"plan"}, TAKES_PLAN | TAKES_JSON | NO_CONFIG, "how many NAT addresses it takes, computed", ctl_plan},
	{{"sessions"}, TAKES_SESSIONS, "the same as sessions list", ctl_sessions_list},
	{{"sessions", "list"}, TAKES_SESSIONS, "the sessions there are", ctl_sessions_list},
	{{"sessions", "clear"}, TAKES_SESSIONS, "end the sessions that agree with all that is given",
		ctl_sessions_clear},
	{{"pinholes"}, TAKES_SESSIONS, "the same as pinholes list", ctl_pinholes_list},
	{{"pinholes", "list"}, TAKES_SESSIONS, "the mappings with a lifetime there are", ctl_pinholes_list},
	{{"pinholes", "open"}, TAKES_SESSIONS | TAKES_LIFETIME, "open one, or give it more time", ctl_pinholes_open},
	{{"pinholes", "close"}, TAKES_SESSIONS, "end one", ctl_pinholes_close},
};

static unsigned given(const struct ctl_options *o)
{
	static const struct ctl_plan_options none;

	return (o->exact ? TAKES_EXACT : 0) | (o->inside || o->realm ? TAKES_SUBSCRIBER : 0) |
	       (o->nat ? TAKES_NAT : 0) | (o->remote || o->protocol ? TAKES_FILTER : 0) |
	       (o->time || o->skew || o->earlier ? TAKES_TIME : 0) |
	       (memcmp(&o->plan, &none, sizeof none) != 0 ? TAKES_PLAN : 0) | (o->json ? TAKES_JSON : 0) |
	       (o->name ? TAKES_NAME : 0) | (o->top ? TAKES_TOP : 0) | (o->set ? TAKES_LIMITS : 0) |
	       (o->lifetime ? TAKES_LIFETIME : 0) |
	       (o->from || o->to || o->kind || o->verdict || o->follow ? TAKES_EVENTS : 0);
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
		fprintf(stderr, "  %-11s %-8s %s\n", commands[i].word[0],
			commands[i].word[1] ? commands[i].word[1] : "", commands[i].help);
}

int main(int argc, char **argv)
{
	static struct config config;
	static const char *file;
	static struct ctl_options options;
	static const struct arg args[] = {
		{"config", "FILE", "the configuration of the appliance", .text = &file},
		{"exact", NULL, "check: nothing runs, so nothing may be in flight", .flag = &options.exact},
		{"inside", "IP[:PORT]", "of this subscriber", .text = &options.inside},
		{"nat", "IP[:PORT]", "sessions, pinholes, deterministic, events, who: of this NAT address",
			.text = &options.nat},
		{"remote", "IP[:PORT]", "sessions: with this remote", .text = &options.remote},
		{"protocol", "NAME", "sessions: tcp, udp, icmp or other; pinholes: tcp, udp",
			.text = &options.protocol},
		{"realm", "VLAN", "of this realm; 0: untagged; deterministic: its name", .text = &options.realm},
		{"json", NULL, "lists, deterministic, who, plan: JSON", .flag = &options.json},
		{"name", "TEXT", "subscribers: whose name has it; set: the name", .text = &options.name},
		{"top", "WHAT", "subscribers list: those with the most sessions, ports or refused",
			.text = &options.top},
		{"limits", "LIST", "subscribers set: sessions=100,udp_ports=50 and so on", .text = &options.set},
		{"time", "TIME", "deterministic, who: when; seconds since 1970 or ISO 8601 with its zone",
			.text = &options.time},
		{"skew", "S", "deterministic: how far clocks may differ; 1", .text = &options.skew},
		{"from", "TIME", "events: not before", .text = &options.from},
		{"to", "TIME", "events: before", .text = &options.to},
		{"kind", "NAME", "events: block_given, block_returned, refusal, lost or arena", .text = &options.kind},
		{"verdict", "NAME", "events: refusals with this one", .text = &options.verdict},
		{"follow", NULL, "events: go on with those that come, the oldest first", .flag = &options.follow},
		{"earlier", "S", "deterministic: how long sessions may have lived on; 7440", .text = &options.earlier},
		{"lifetime-s", "S", "pinholes open: for how long", .text = &options.lifetime},
		{"subscribers", "N", "plan: how many", .text = &options.plan.subscribers},
		{"sessions-per-subscriber", "N", "plan: at once, the day's mean", .text = &options.plan.sessions},
		{"peak", "F", "plan: busy hour over the day's mean; 2", .text = &options.plan.peak},
		{"dispersion", "K", "plan: how alike subscribers are; small: few use most; 0.5",
			.text = &options.plan.dispersion},
		{"lifetime", "S", "plan: how long a port is held, mean; 120", .text = &options.plan.lifetime},
		{"hold", "S", "plan: how long a freed port or an empty block rests; 120", .text = &options.plan.hold},
		{"hold-percent", "P", "plan: most of an address's ports that may rest; 50",
			.text = &options.plan.hold_percent},
		{"block-size", "N", "plan: ports of a block; 512", .text = &options.plan.block_size},
		{"blocks-max", "N", "plan: blocks of a subscriber, at most; 4", .text = &options.plan.blocks_max},
		{"ports-per-address", "N", "plan: ports to give; 64512", .text = &options.plan.ports_per_address},
		{"addresses", "N", "plan: so many there are; without: as many as it takes",
			.text = &options.plan.addresses},
		{"target", "P", "plan: an address may be out of ports with this probability; 0.001",
			.text = &options.plan.target},
		{.name = NULL},
	};
	struct config_error wrong;
	int rest, status = args_parse(argc, argv, "corenatctl",
			  "arena info, map, remove; check; deterministic; events; who; plan; sessions list, clear; "
			  "pinholes list, "
			  "open, close; subscribers list, show, set, delete: looks at the appliance, acts on it",
			  args, &rest);

	if (status != ARGS_RUN)
		return status;
	log_open("corenatctl");

	const struct command *command = find_command(argc - rest, argv + rest, &options);

	if (!command) {
		list_commands();
		return STATUS_USAGE;
	}
	if (command->takes & NO_CONFIG)
		return command->run(&config, &options);
	if (!file) {
		fprintf(stderr, "corenatctl: --config is missing; try --help\n");
		return STATUS_USAGE;
	}
	if (!config_load(&config, file, &wrong)) {
		log_error("%s", wrong.text);
		return STATUS_USAGE;
	}
	return command->run(&config, &options);
}
