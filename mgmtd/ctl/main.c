/* corenatctl: looks at the appliance, clears sessions, opens pinholes, names subscribers, and takes it away. */
#include "common/args.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

enum { STATUS_USAGE = 2, WORDS = 2, NAME_SIZE = 32 };

static const char installed[] = "/etc/corenat/corenat.json"; /* where the units have it */

/* What a command takes, besides what all do: the kinds of options. */
enum {
	TAKES_CONFIG = 1,
	TAKES_EXACT = 2,
	TAKES_SUBSCRIBER = 4,
	TAKES_REALM = 8,
	TAKES_NAT = 16,
	TAKES_REMOTE = 32,
	TAKES_PROTOCOL = 64,
	TAKES_JSON = 128,
	TAKES_NAME = 256,
	TAKES_TOP = 512,
	TAKES_LIMITS = 1024,
	TAKES_TIME = 2048,
	TAKES_EVENTS = 4096,
	TAKES_LIFETIME = 8192,
	TAKES_PLAN = 16384,
};

enum {
	TAKES_ONE = TAKES_CONFIG | TAKES_SUBSCRIBER | TAKES_REALM | TAKES_JSON,
	TAKES_ENDPOINT = TAKES_ONE | TAKES_PROTOCOL,
	TAKES_PINHOLES = TAKES_ENDPOINT | TAKES_NAT,
	TAKES_SESSIONS = TAKES_PINHOLES | TAKES_REMOTE,
	TAKES_LIST = TAKES_ONE | TAKES_NAME | TAKES_TOP,
};

static const struct command {
	const char *word[WORDS];
	unsigned takes;
	const char *help;
	int (*run)(const struct config *c, const struct ctl_options *o);
} commands[] = {
	{{"arena", "info"}, TAKES_CONFIG, "geometry, who is alive, what its pages hold", ctl_arena_info},
	{{"arena", "map"}, 0, "the byte map of the arena, as this build has it", ctl_arena_map},
	{{"arena", "remove"}, TAKES_CONFIG, "remove arena, mailboxes, XDP programs; nothing may run", ctl_arena_remove},
	{{"check"}, TAKES_CONFIG | TAKES_EXACT,
		"prove the arena sound; on a live box it allows for what is in flight (--exact: not)", ctl_check},
	{{"subscribers"}, TAKES_LIST, "the same as subscribers list", ctl_subscribers_list},
	{{"subscribers", "list"}, TAKES_LIST, "subscribers, and what each uses", ctl_subscribers_list},
	{{"subscribers", "show"}, TAKES_ONE, "the one of --inside: addresses, limits, what was refused",
		ctl_subscribers_show},
	{{"subscribers", "set"}, TAKES_ONE | TAKES_NAME | TAKES_LIMITS,
		"give that of --inside a --name, and --limits of its own; those left out are its group's",
		ctl_subscribers_set},
	{{"subscribers", "delete"}, TAKES_ONE, "forget name and limits of that of --inside", ctl_subscribers_delete},
	{{"deterministic"}, TAKES_CONFIG | TAKES_SUBSCRIBER | TAKES_REALM | TAKES_NAT | TAKES_TIME | TAKES_JSON,
		"who had a NAT address and port at a time, or which a subscriber had, as configured then",
		ctl_deterministic},
	{{"events"}, TAKES_ONE | TAKES_NAT | TAKES_EVENTS,
		"what happened, newest first: port blocks given and returned, refusals", ctl_events},
	{{"who"}, TAKES_CONFIG | TAKES_NAT | TAKES_TIME | TAKES_JSON,
		"who had --nat IP:PORT at a time: by recorded blocks, and as configured", ctl_who},
	{{"plan"}, TAKES_PLAN | TAKES_JSON,
		"how many NAT addresses it takes: computed from --subscribers and --sessions-per-subscriber", ctl_plan},
	{{"sessions"}, TAKES_SESSIONS, "the same as sessions list", ctl_sessions_list},
	{{"sessions", "list"}, TAKES_SESSIONS, "the sessions there are", ctl_sessions_list},
	{{"sessions", "clear"}, TAKES_SESSIONS, "end the sessions that agree with all that is given",
		ctl_sessions_clear},
	{{"pinholes"}, TAKES_PINHOLES, "the same as pinholes list", ctl_pinholes_list},
	{{"pinholes", "list"}, TAKES_PINHOLES, "the mappings with a lifetime there are", ctl_pinholes_list},
	{{"pinholes", "open"}, TAKES_PINHOLES | TAKES_LIFETIME,
		"open one, or give it more time: --protocol, --inside IP:PORT, --lifetime-s", ctl_pinholes_open},
	{{"pinholes", "close"}, TAKES_ENDPOINT, "end one: --protocol, --inside IP:PORT", ctl_pinholes_close},
};

/* ---- options ---- */

/* What the command line says. */
static struct {
	const char *config;
	bool help;
	struct ctl_options o;
} said;

static const struct arg args[] = {
	{"config", "FILE", "the configuration of the appliance; /etc/corenat/corenat.json", .text = &said.config},
	{"exact", NULL, "nothing runs, so nothing may be in flight", .flag = &said.o.exact, .kind = TAKES_EXACT},
	{"inside", "IP[:PORT]", "of this subscriber; the port only of sessions and pinholes", .text = &said.o.inside,
		.kind = TAKES_SUBSCRIBER},
	{"nat", "IP[:PORT]", "of this NAT address", .text = &said.o.nat, .kind = TAKES_NAT},
	{"remote", "IP[:PORT]", "with this remote", .text = &said.o.remote, .kind = TAKES_REMOTE},
	{"protocol", "NAME", "tcp, udp, icmp or other; of pinholes tcp or udp", .text = &said.o.protocol,
		.kind = TAKES_PROTOCOL},
	{"realm", "VLAN", "of this realm; 0: untagged; deterministic: its name does, too", .text = &said.o.realm,
		.kind = TAKES_REALM},
	{"json", NULL, "JSON, as the API answers; lists: an object a line", .flag = &said.o.json, .kind = TAKES_JSON},
	{"name", "TEXT", "list: whose name has it in it; set: the name", .text = &said.o.name, .kind = TAKES_NAME},
	{"top", "WHAT", "the 20 with the most sessions, ports or refused", .text = &said.o.top, .kind = TAKES_TOP},
	{"limits", "LIST",
		"like sessions=100,udp_ports=50; of sessions, tcp_ports, udp_ports, icmp_ids, memory_kib, "
		"new_sessions_per_s, burst, reserved_ports; 0: no limit",
		.text = &said.o.set, .kind = TAKES_LIMITS},
	{"time", "TIME", "when; seconds since 1970 or ISO 8601 with its zone; without: now", .text = &said.o.time,
		.kind = TAKES_TIME},
	{"skew", "S", "how far clocks may differ; 1", .text = &said.o.skew, .kind = TAKES_TIME},
	{"earlier", "S", "how long sessions may have lived on under an earlier configuration; 7440",
		.text = &said.o.earlier, .kind = TAKES_TIME},
	{"from", "TIME", "not before; seconds since 1970 or ISO 8601 with its zone", .text = &said.o.from,
		.kind = TAKES_EVENTS},
	{"to", "TIME", "before", .text = &said.o.to, .kind = TAKES_EVENTS},
	{"kind", "NAME", "block_given, block_returned, refusal, lost or arena", .text = &said.o.kind,
		.kind = TAKES_EVENTS},
	{"verdict", "NAME", "refusals with this one, like drop_no_port", .text = &said.o.verdict, .kind = TAKES_EVENTS},
	{"follow", NULL, "go on with those that come, the oldest first", .flag = &said.o.follow, .kind = TAKES_EVENTS},
	{"lifetime-s", "S", "for how long; 120 to 86400", .text = &said.o.lifetime, .kind = TAKES_LIFETIME},
	{"subscribers", "N", "how many", .text = &said.o.plan.subscribers, .kind = TAKES_PLAN},
	{"sessions-per-subscriber", "N", "at once, the day's mean", .text = &said.o.plan.sessions, .kind = TAKES_PLAN},
	{"peak", "F", "busy hour over the day's mean; 2", .text = &said.o.plan.peak, .kind = TAKES_PLAN},
	{"dispersion", "K", "how alike subscribers are; small: few use most; 0.5", .text = &said.o.plan.dispersion,
		.kind = TAKES_PLAN},
	{"lifetime", "S", "how long a port is held, mean; 120", .text = &said.o.plan.lifetime, .kind = TAKES_PLAN},
	{"hold", "S", "how long a freed port or an empty block rests; 120", .text = &said.o.plan.hold,
		.kind = TAKES_PLAN},
	{"hold-percent", "P", "most of an address's ports that may rest; 50", .text = &said.o.plan.hold_percent,
		.kind = TAKES_PLAN},
	{"block-size", "N", "ports of a block; 512", .text = &said.o.plan.block_size, .kind = TAKES_PLAN},
	{"blocks-max", "N", "blocks of a subscriber, at most; 4", .text = &said.o.plan.blocks_max, .kind = TAKES_PLAN},
	{"ports-per-address", "N", "ports to give; 64512", .text = &said.o.plan.ports_per_address, .kind = TAKES_PLAN},
	{"addresses", "N", "so many there are; without: as many as it takes", .text = &said.o.plan.addresses,
		.kind = TAKES_PLAN},
	{"target", "P", "an address may be out of ports with this probability; 0.001", .text = &said.o.plan.target,
		.kind = TAKES_PLAN},
	{"help", NULL, "this text; behind a command: what that takes", .flag = &said.help},
	{.name = NULL},
};

/* ---- which command ---- */

static bool is_command(const struct command *c, int n, char **words)
{
	for (int i = 0; i < WORDS; i++)
		if (i < n ? !c->word[i] || strcmp(words[i], c->word[i]) != 0 : c->word[i] != NULL)
			return false;
	return n <= WORDS;
}

static const struct command *find_command(int n, char **words)
{
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (is_command(&commands[i], n, words))
			return &commands[i];
	return NULL;
}

static const char *second_word(const struct command *c)
{
	return c->word[1] ? c->word[1] : "";
}

/* Those that begin with this word; NULL, or where none does: all. */
static void list_commands(FILE *to, const char *word)
{
	bool any = false;

	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (word && strcmp(commands[i].word[0], word) != 0)
			continue;
		any = true;
		fprintf(to, "  %-13s %-7s %s\n", commands[i].word[0], second_word(&commands[i]), commands[i].help);
	}
	if (!any)
		list_commands(to, NULL);
}

static int no_command(int n, char **words)
{
	if (n == 0)
		fprintf(stderr, "corenatctl: which command? These are there:\n");
	else
		fprintf(stderr, "corenatctl: there is no command '%.32s%s%.32s%s'; these are there:\n", words[0],
			n > 1 ? " " : "", n > 1 ? words[1] : "", n > WORDS ? " ..." : "");
	list_commands(stderr, n > 0 ? words[0] : NULL);
	return STATUS_USAGE;
}

static void write_name(const struct command *c, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%s%s%s", c->word[0], c->word[1] ? " " : "", second_word(c));
}

static int help(const struct command *command, int n, char **words)
{
	char name[NAME_SIZE];

	if (!command) {
		printf("corenatctl: looks at the appliance, acts on it\n\nUsage: corenatctl COMMAND [OPTION]...\n\n");
		list_commands(stdout, n > 0 ? words[0] : NULL);
		printf("\n`corenatctl COMMAND --help` lists the options of one.\n\n");
		args_help(args, 0);
		return 0;
	}
	write_name(command, name);
	printf("corenatctl %s: %s\n\nUsage: corenatctl %s [OPTION]...\n\n", name, command->help, name);
	args_help(args, command->takes);
	return 0;
}

static int run(const struct command *command)
{
	static struct config config;
	const struct arg *useless = args_useless(args, command->takes);
	struct config_error wrong;
	char name[NAME_SIZE];

	if (useless) {
		write_name(command, name);
		fprintf(stderr, "corenatctl: --%s means nothing to %s; try corenatctl %s --help\n", useless->name, name,
			name);
		return STATUS_USAGE;
	}
	if (!(command->takes & TAKES_CONFIG))
		return command->run(&config, &said.o);
	if (!config_load(&config, said.config ? said.config : installed, &wrong)) {
		log_error("%s%s", wrong.text, said.config ? "" : "; --config FILE names another file");
		return STATUS_USAGE;
	}
	return command->run(&config, &said.o);
}

int main(int argc, char **argv)
{
	int rest, status = args_parse(argc, argv, "corenatctl", "looks at the appliance, acts on it", args, &rest);

	if (status != ARGS_RUN)
		return status;
	log_open("corenatctl");

	const struct command *command = find_command(argc - rest, argv + rest);

	if (said.help)
		return help(command, argc - rest, argv + rest);
	return command ? run(command) : no_command(argc - rest, argv + rest);
}
