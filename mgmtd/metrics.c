/* GET /metrics: the tables and the engines' blocks as Prometheus text (exposition format 0.0.4). */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "mgmtd/feed.h"
#include "shm/snapshot.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

/* No help text, unit or name of ours holds a backslash, quote or newline, and pool names are plain: nothing to escape. */
static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_counters(FILE *f, const struct api *api)
{
	uint32_t engines = api->arena->header->geometry.engines;
	char name[96];

	for (unsigned i = 0; i < N_COUNTERS; i++) {
		bool sum = counter_info[i].kind == COUNTER_SUM;

		snprintf(name, sizeof name, "corenat_%s%s", counter_info[i].name, sum ? "_total" : "");
		head(f, name, sum ? "counter" : "gauge", counter_info[i].help);
		for (unsigned e = 0; e < engines; e++)
			fprintf(f, "%s{engine=\"%u\"} %llu\n", name, e,
				(unsigned long long)counter_get(&actor_of(api->arena, e)->counters[i]));
	}
}

static void write_verdicts(FILE *f, const struct api *api)
{
	uint32_t engines = api->arena->header->geometry.engines;

	head(f, "corenat_verdict_packets_total", "counter", "Packets by what became of them");
	for (unsigned i = 0; i < N_VERDICTS; i++)
		for (unsigned e = 0; e < engines; e++)
			fprintf(f,
				"corenat_verdict_packets_total{verdict=\"%s\",class=\"%s\",engine="
				"\"%u\"} "
				"%llu\n",
				verdict_info[i].name, verdict_info[i].class, e,
				(unsigned long long)counter_get(&actor_of(api->arena, e)->verdicts[i]));
}

static void write_life(FILE *f, const struct api *api)
{
	mono_t now = mono_now();

	head(f, "corenat_build_info", "gauge", "Always 1; the version is a label");
	fprintf(f, "corenat_build_info{version=\"%s\"} 1\n", CORENAT_VERSION);
	head(f, "corenat_config_generation", "gauge", "Number of the configuration in force");
	fprintf(f, "corenat_config_generation %u\n",
		atomic_load_explicit(&api->arena->header->config_generation, memory_order_relaxed));
	head(f, "corenat_aggregator_up", "gauge", "1 while the aggregator answers");
	fprintf(f, "corenat_aggregator_up %d\n", feed_is_up(api->feed));
	head(f, "corenat_engine_up", "gauge", "1 while the engine runs and its loop turns");
	for (unsigned e = 0; e < api->arena->header->geometry.engines; e++)
		fprintf(f, "corenat_engine_up{engine=\"%u\"} %d\n", e, engine_life(api, e, now) == ENGINE_LIFE_UP);
}

static void write_pools(FILE *f, const struct api *api)
{
	const struct config *c = api->config;
	struct snapshot *in_force = api_snapshot(api);
	struct pool_use use[CONFIG_POOLS_MAX];

	if (!in_force)
		return;
	for (uint32_t p = 0; p < c->n_pools; p++)
		use[p] = pool_use(api, in_force, &c->pools[p]);
	free(in_force);
	head(f, "corenat_pool_ports_used", "gauge", "Ports in use, TCP and others together");
	for (uint32_t p = 0; p < c->n_pools; p++)
		fprintf(f, "corenat_pool_ports_used{pool=\"%s\"} %llu\n", c->pools[p].name,
			(unsigned long long)use[p].used);
	head(f, "corenat_pool_ports", "gauge", "Ports there are, TCP and others together");
	for (uint32_t p = 0; p < c->n_pools; p++)
		fprintf(f, "corenat_pool_ports{pool=\"%s\"} %llu\n", c->pools[p].name,
			(unsigned long long)use[p].total);
}

struct reply api_metrics(const struct request *rq)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return (struct reply){0};
	write_life(f, rq->api);
	write_counters(f, rq->api);
	write_verdicts(f, rq->api);
	write_pools(f, rq->api);
	if (fclose(f) != 0) {
		free(text);
		text = NULL;
	}
	return reply_text(MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text);
}
