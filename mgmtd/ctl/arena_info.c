/* corenatctl arena info: read-only, also on a live box. */
#include "common/clock.h"
#include "common/log.h"
#include "mgmtd/ctl/ctl.h"
#include "shm/engine.h"
#include "shm/session.h"

#include <stdio.h>
#include <time.h>

/* Pages by actor and class; the last actor is nobody. */
struct page_use {
	uint32_t free;
	uint32_t of[ACTOR_MAX][N_SLAB_CLASSES];
};

struct session_use {
	uint32_t flows[ENGINE_MAX], mappings[ENGINE_MAX];
	uint32_t all_flows, all_mappings;
};

static void count_pages(const struct arena *a, struct page_use *use)
{
	const struct page *map = arena_region(a, ARENA_page_map);

	for (uint32_t i = 0; i < a->header->geometry.pages; i++) {
		uint32_t word = (uint32_t)atomic_load_explicit(&map[i].owner, memory_order_acquire);
		uint32_t actor = (word & 0xff) - 1, class = word >> 8;

		if (!word)
			use->free++;
		else if (actor < ACTOR_MAX && class < N_SLAB_CLASSES)
			use->of[actor][class]++;
	}
}

static void count_sessions(const struct arena *a, struct session_use *use)
{
	for (uint32_t i = 0; (i = slab_next_live(a, SLAB_session, i + 1));) {
		const struct session *s = session_at(a, i);

		if (s->owner >= ENGINE_MAX)
			continue;
		use->flows[s->owner] += session_has(s, SESSION_FLOW);
		use->mappings[s->owner] += session_has(s, SESSION_CARRIES);
	}
	for (unsigned e = 0; e < ENGINE_MAX; e++) {
		use->all_flows += use->flows[e];
		use->all_mappings += use->mappings[e];
	}
}

static void print_geometry(const struct arena *a)
{
	const struct arena_header *h = a->header;
	const struct arena_geometry *g = &h->geometry;
	time_t made = (time_t)(h->created_ns / 1000000000u);
	char when[32];

	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z", localtime(&made));
	printf("arena          %s, layout %u.%u (%08x), made %s\n", a->name, h->version_major, h->version_minor,
		h->layout, when);
	printf("backing        %s\n", a->backing);
	printf("sized for      %u engines, %u sessions\n", g->engines, g->sessions);
	printf("buckets        %u per local table, %u sessions, %u mappings\n", g->local_buckets, g->global_buckets,
		g->mapping_buckets);
	printf("configuration  generation %u\n", h->config_generation);
	printf("regions       ");
	for (int r = 0; r < N_ARENA_REGIONS; r++) {
#define R(name, help) [ARENA_##name] = #name,
		static const char *const name[] = {ARENA_REGIONS(R)};
#undef R
		printf(" %s %llu KiB%s", name[r], (unsigned long long)h->region[r].bytes >> 10,
			r + 1 < N_ARENA_REGIONS ? "," : "\n");
	}
}

static void print_actor(
	const struct arena *a, unsigned n, const struct page_use *pages, const struct session_use *sessions)
{
	const struct actor *who = actor_of(a, n);
	bool alive = arena_claimed(a, n);
	uint64_t beat = atomic_load_explicit(&who->heartbeat_ns, memory_order_relaxed);
	char name[16], life[64] = "down";

	if (n == ACTOR_MGMTD)
		snprintf(name, sizeof name, "mgmtd");
	else
		snprintf(name, sizeof name, "engine %u", n);
	if (alive)
		snprintf(life, sizeof life, "up, pid %d, heartbeat %llu ms ago", who->pid,
			(unsigned long long)mono_since(mono_now(), (mono_t){beat}).ns / 1000000);
	printf("%-10s %-40s %6u %10u %10u %8u %8u\n", name, life, who->incarnation,
		n < ENGINE_MAX ? sessions->flows[n] : 0, n < ENGINE_MAX ? sessions->mappings[n] : 0,
		pages->of[n][SLAB_session], pages->of[n][SLAB_port_table]);
}

int ctl_arena_info(const struct config *c, const struct ctl_options *o)
{
	static struct page_use pages;
	static struct session_use sessions;
	struct arena_error wrong;
	struct arena *a = arena_attach(c->arena.name, &wrong);

	if (!a) {
		log_error("%s", wrong.text);
		return CTL_FAILED;
	}
	count_pages(a, &pages);
	count_sessions(a, &sessions);
	print_geometry(a);
	printf("sessions       %u, mappings %u\n", sessions.all_flows, sessions.all_mappings);
	printf("pages          %u of %u free, 2 MiB each\n\n", pages.free, a->header->geometry.pages);
	printf("%-10s %-40s %6s %10s %10s %17s\n", "", "", "", "", "", "pages of");
	printf("%-10s %-40s %6s %10s %10s %8s %8s\n", "who", "state", "starts", "sessions", "mappings", "sessions",
		"ports");
	for (unsigned n = 0; n < a->header->geometry.engines; n++)
		print_actor(a, n, &pages, &sessions);
	print_actor(a, ACTOR_MGMTD, &pages, &sessions);
	printf("%-10s %-40s %6s %10s %10s %8u %8u\n", "shared", "allocator of all", "", "", "",
		pages.of[ACTOR_SHARED][SLAB_session], pages.of[ACTOR_SHARED][SLAB_port_table]);
	arena_close(a);
	return 0;
}
