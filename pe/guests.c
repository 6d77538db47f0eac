#include "pe/guests.h"

#include "common/log.h"

#include <stdlib.h>

static bool is_guest(const struct nat *host, unsigned engine)
{
	for (const struct nat *g = host->guest; g; g = g->guest)
		if (g->engine == engine)
			return true;
	return false;
}

static bool has_pages(const struct nat *host, unsigned engine)
{
	const struct slab *slab = actor_of(host->arena, engine)->slab;

	return slab[SLAB_session].pages != 0 || slab[SLAB_part].pages != 0;
}

/* Sessions of its own; or, the first time, those of others that it had adopted: their owners wait for it to let go. */
static bool has_left(const struct nat *host, unsigned engine)
{
	bool ran = atomic_load_explicit(&actor_of(host->arena, engine)->incarnation, memory_order_relaxed) != 0;

	return has_pages(host, engine) || (ran && !(host->tended >> engine & 1));
}

static void adopt(struct nat *host, unsigned engine, mono_t now)
{
	struct nat *g = NULL;

	if (!has_left(host, engine) || arena_claim(host->arena, engine) != 0)
		return;
	g = malloc(sizeof *g);
	if (!g) {
		arena_unclaim(host->arena, engine);
		return;
	}
	uint32_t sessions = nat_init(g, host->arena, engine, host->random, now);

	nat_configure(g); /* before the first packet asks it */
	nat_load_routes(g);
	nat_let_all_go(g);
	host->tended |= 1ull << engine;
	nat_host(host, g);
	log_notice("engine %u: adopted engine %u, which the configuration no longer names, with %u sessions",
		host->engine, engine, sessions);
}

static void give_back(struct nat *host, struct nat *g)
{
	log_notice("engine %u: engine %u is no longer its guest, %u sessions left", host->engine, g->engine,
		g->actor->slab[SLAB_session].used);
	nat_flush_counters(g);
	nat_unhost(host, g);
	arena_unclaim(host->arena, g->engine);
	free(g);
}

void guests_tend(struct nat *host, mono_t now)
{
	uint32_t run = host->configured ? host->config.engines : UINT32_MAX;

	for (struct nat *g = host->guest, *next; g; g = next) {
		next = g->guest;
		nat_configure(g);
		nat_load_routes(g);
		nat_housekeep(g, now);
		atomic_store_explicit(&g->actor->config_ack, g->config.generation, memory_order_release);
		if (g->engine < run || (g->actor->slab[SLAB_session].used == 0 && nat_quota_leave(g))) {
			nat_ports_leave(g);
			slab_give_back(g->arena, &g->actor->slab[SLAB_session]);
			slab_give_back(g->arena, &g->actor->slab[SLAB_part]);
			give_back(host, g);
		}
	}
	if (run < ENGINE_MAX)
		host->tended &= ~0ull << run;
	for (unsigned e = run; e < host->arena->header->geometry.engines; e++)
		if (e % run == host->engine && !is_guest(host, e))
			adopt(host, e, now);
}

void guests_leave(struct nat *host)
{
	while (host->guest)
		give_back(host, host->guest);
}
