/* corenat-aggregator: asks the engines for their counters and answers for the whole appliance. */
#include "aggregator/agent.h"
#include "aggregator/collector.h"
#include "common/args.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVE_MS = 500, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct aggregator {
	struct config config;
	struct board *board;
	struct agent *agent;
	struct collector *collector[ENGINE_MAX];
};

static bool start(struct aggregator *g)
{
	const struct config *c = &g->config;
	struct agent_error err = {""};

	g->board = board_open(c->arena.engines);
	if (!g->board) {
		log_error("cannot start: %s", strerror(errno));
		return false;
	}
	g->agent = agent_open(c->system.runtime_dir, g->board, c->statistics.interval_ms, &err);
	if (!g->agent) {
		log_error("%s", err.text);
		return false;
	}
	for (unsigned e = 0; e < c->arena.engines; e++) {
		g->collector[e] = collector_start(g->board, c->arena.name, e, span_ms(c->statistics.interval_ms));
		if (!g->collector[e]) {
			log_error("cannot start the collector of engine %u: %s", e, strerror(errno));
			return false;
		}
	}
	return true;
}

static bool serve(struct aggregator *g)
{
	while (!service_stop_asked()) {
		int err = agent_serve(g->agent, service_stop_fd(), SERVE_MS);

		if (err) {
			log_error("cannot serve: %s", strerror(-err));
			return false;
		}
		service_alive(mono_now());
	}
	return true;
}

/* Every part takes NULL, so this undoes a start that failed half-way too. */
static void stop(struct aggregator *g)
{
	for (unsigned e = 0; e < ENGINE_MAX; e++)
		collector_stop(g->collector[e]);
	agent_close(g->agent);
	board_close(g->board);
}

int main(int argc, char **argv)
{
	static struct aggregator aggregator;
	static const char *file;
	static const struct arg args[] = {
		{"config", "FILE", "the configuration", .text = &file, .required = true},
		{.name = NULL},
	};
	struct config_error wrong;
	char status[96];
	int err = args_parse(
		argc, argv, "corenat-aggregator", "unites the engines' statistics and serves them", args, NULL);

	if (err != ARGS_RUN)
		return err;
	err = service_open("corenat-aggregator");
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return STATUS_FAILED;
	}
	if (!config_load(&aggregator.config, file, &wrong)) {
		log_error("%s", wrong.text);
		return STATUS_USAGE;
	}
	bool ok = start(&aggregator);
	if (ok) {
		snprintf(status, sizeof status, "asks %u engines every %u ms", aggregator.config.arena.engines,
			aggregator.config.statistics.interval_ms);
		service_ready(status);
		ok = serve(&aggregator);
	}
	service_close();
	stop(&aggregator);
	return ok ? 0 : STATUS_FAILED;
}
