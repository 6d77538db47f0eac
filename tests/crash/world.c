#include "tests/crash/world.h"

#include "pe/miniature.h"
#include "tests/crash/holdings.h"

#include <stdarg.h>

enum { SEED = 7, SESSIONS = 256, TABLES = 4, EVENTS = 64 };

_Noreturn void world_fail(const struct world *w, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "  FAIL  %s, instruction %ld, of its recovery %ld, died at %s: ", w->scenario, w->instruction,
		w->inner, w->death);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* ---- making ---- */

static void add_span(struct world *w, void *at, uint64_t bytes)
{
	if (w->n_spans == SPANS)
		world_fail(w, "more than %d spans", SPANS);
	w->span[w->n_spans++] = (struct span_of_memory){at, bytes};
}

/* Of session pages only what a scenario ever fills: each is compared after every instruction. */
static void add_page(struct world *w, uint32_t number)
{
	uint32_t first_table = number * slab_per_page(SLAB_port_table);
	bool tables = slab_valid(w->arena, SLAB_port_table, first_table);
	uint8_t *pages = arena_region(w->arena, ARENA_pages);

	add_span(w, pages + (uint64_t)(number - 1) * ARENA_PAGE,
		tables ? TABLES * sizeof(struct port_table) : SESSIONS * sizeof(struct session));
}

static void find_spans(struct world *w)
{
	static const enum arena_region whole[] = {ARENA_page_map, ARENA_sessions, ARENA_mappings, ARENA_filters,
		ARENA_subscribers, ARENA_pinholes, ARENA_locals, ARENA_parts};
	const struct arena_header *h = w->arena->header;

	add_span(w, actor_of(w->arena, 0), ENGINES * sizeof(struct actor));
	add_span(w, actor_of(w->arena, ACTOR_MGMTD), (ACTOR_MAX - ACTOR_MGMTD) * sizeof(struct actor));
	for (unsigned i = 0; i < sizeof whole / sizeof whole[0]; i++)
		add_span(w, arena_region(w->arena, whole[i]), h->region[whole[i]].bytes);
	for (unsigned n = 0; n < event_rings(w->arena); n++)
		add_span(w, events_of(w->arena, event_actor(w->arena, n)).ring,
			sizeof(struct event_ring) + EVENTS * sizeof(struct event));
	for (uint32_t number = 1; number <= h->geometry.pages; number++)
		add_page(w, number);
}

struct world *world_make(const struct appliance *look, const char *scenario)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	w->scenario = scenario;
	w->inner = -1;
	snprintf(w->death, sizeof w->death, "-");
	appliance_config(look, &w->config);
	w->arena = miniature_open(&w->config, SEED);
	w->nat = calloc(ENGINES, sizeof *w->nat);
	if (!w->arena || !w->nat)
		world_fail(w, "no arena");
	w->now = (mono_t){1000000000000u};
	find_spans(w);
	for (unsigned e = 0; e < ENGINES; e++)
		world_start(w, e);
	return w;
}

void world_close(struct world *w)
{
	arena_close(w->arena);
	free(w->nat);
	free(w);
}

/* ---- states ---- */

size_t world_bytes(const struct world *w)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < w->n_spans; i++)
		bytes += w->span[i].bytes;
	return bytes + ENGINES * sizeof *w->nat + sizeof *w;
}

void world_save(const struct world *w, uint8_t *to)
{
	for (unsigned i = 0; i < w->n_spans; i++) {
		memcpy(to, w->span[i].at, w->span[i].bytes);
		to += w->span[i].bytes;
	}
	memcpy(to, w->nat, ENGINES * sizeof *w->nat);
	memcpy(to + ENGINES * sizeof *w->nat, w, sizeof *w);
}

void world_restore(struct world *w, const uint8_t *from)
{
	for (unsigned i = 0; i < w->n_spans; i++) {
		memcpy(w->span[i].at, from, w->span[i].bytes);
		from += w->span[i].bytes;
	}
	memcpy(w->nat, from, ENGINES * sizeof *w->nat);
	memcpy(w, from + ENGINES * sizeof *w->nat, sizeof *w);
}

bool world_changed(const struct world *w, const uint8_t *since)
{
	for (unsigned i = 0; i < w->n_spans; i++) {
		if (memcmp(since, w->span[i].at, w->span[i].bytes) != 0)
			return true;
		since += w->span[i].bytes;
	}
	return false;
}

/* ---- running ---- */

void world_start(struct world *w, unsigned engine)
{
	nat_init(&w->nat[engine], w->arena, engine, ++w->random, w->now);
	nat_configure(&w->nat[engine]);
	nat_load_routes(&w->nat[engine]);
}

void world_pass(struct world *w, uint32_t seconds)
{
	w->now = mono_after(w->now, span_s(seconds));
}

void world_housekeep(struct world *w, unsigned engine)
{
	nat_housekeep(&w->nat[engine], w->now);
}

struct tuple world_flow(unsigned number)
{
	unsigned endpoint = number % 1000;

	return tuple_of(L4_UDP, 16 + endpoint / 16, (uint16_t)(5000 + endpoint % 16), 1 + number / 1000, 53);
}

enum verdict world_send(struct world *w, unsigned engine, enum side side, const struct tuple *t, uint8_t tcp_flags)
{
	struct frame f;

	frame_make(&f, t, side, tcp_flags);
	nat_burst(&w->nat[engine], &f.packet, 1, w->now);
	if (f.packet.forward && side == SIDE_INSIDE)
		w->reply = frame_reply(&f);
	return (enum verdict)f.packet.verdict;
}

enum verdict world_out(struct world *w, unsigned engine, unsigned number)
{
	struct tuple t = world_flow(number);

	return world_send(w, engine, SIDE_INSIDE, &t, 0);
}

void world_out_new(struct world *w, unsigned engine, unsigned number)
{
	enum verdict v = world_out(w, engine, number);

	if (v != VERDICT_fwd_out_new)
		world_fail(w, "flow %u of engine %u: %s", number, engine, verdict_info[v].name);
}

/* ---- bystanders ---- */

static struct tuple bystander(unsigned i)
{
	return tuple_of(i == 2 ? L4_TCP : L4_UDP, 1 + i, 4000, 200, 443);
}

static const unsigned bystander_owner[BYSTANDERS] = {0, 1, 1};

void world_make_bystanders(struct world *w)
{
	for (unsigned i = 0; i < BYSTANDERS; i++) {
		struct tuple t = bystander(i);

		EXPECT(w, world_send(w, bystander_owner[i], SIDE_INSIDE, &t, TCP_FLAG_SYN) == VERDICT_fwd_out_new);
		w->bystander_reply[i] = w->reply;
		world_send(w, 0, SIDE_OUTSIDE, &w->reply, TCP_FLAG_SYN | TCP_FLAG_ACK);
	}
	world_ask_bystanders(w, ~0u);
}

void world_ask_bystanders(struct world *w, unsigned alive)
{
	for (unsigned i = 0; i < BYSTANDERS; i++) {
		struct tuple t = bystander(i);

		if (alive >> bystander_owner[i] & 1) {
			EXPECT(w, world_send(w, bystander_owner[i], SIDE_INSIDE, &t, TCP_FLAG_ACK) ==
					  VERDICT_fwd_out_hit);
			EXPECT(w, memcmp(&w->reply, &w->bystander_reply[i], sizeof w->reply) == 0);
		}
		if (alive & 1) { /* adopted again when only inbound packets came for a whole idle time */
			enum verdict v = world_send(w, 0, SIDE_OUTSIDE, &w->bystander_reply[i], TCP_FLAG_ACK);

			/* The dead may hold the bucket that it would be adopted from. */
			if (v != VERDICT_fwd_in_hit && v != VERDICT_fwd_in_adopted &&
				(alive == ~0u || v != VERDICT_drop_lock_busy))
				world_fail(w, "bystander %u: %s", i, verdict_info[v].name);
		}
	}
}

void world_refresh(struct world *w)
{
	world_pass(w, BEFORE_IDLE);
	world_ask_bystanders(w, ~0u);
}

/* ---- judging ---- */

static void print_violation(void *context, const struct check_violation *v)
{
	(void)context;
	fprintf(stderr, "  %s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text,
		v->fact[1].text);
}

void world_check(struct world *w, struct check_counts *counts)
{
	int64_t n = check_arena(w->arena, CHECK_EXACT, print_violation, NULL, counts);

	if (n != 0)
		world_fail(w, "the checker finds %lld violations", (long long)n);
	if (!holdings_agree(w->arena))
		world_fail(w, "what was told of port blocks is not what subscribers hold");
}

static bool has_parts(const struct world *w)
{
	for (unsigned e = 0; e < ENGINES; e++)
		if (w->nat[e].actor->slab[SLAB_part].used)
			return true;
	return false;
}

void world_drain(struct world *w)
{
	struct check_counts c;

	for (int turn = 0; turn < 12 || (turn < 40 && has_parts(w)); turn++) {
		world_pass(w, 4000);
		for (unsigned e = 0; e < ENGINES; e++)
			world_housekeep(w, e);
	}
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_ports_leave(&w->nat[e]);
		slab_give_back(w->arena, &w->nat[e].actor->slab[SLAB_session]);
		slab_give_back(w->arena, &w->nat[e].actor->slab[SLAB_part]);
	}
	world_check(w, &c);
	EXPECT(w, c.sessions == 0 && c.adoptions == 0 && c.mappings == 0 && c.references == 0);
	EXPECT(w, c.local_entries == 0 && c.global_entries == 0);
	EXPECT(w, c.mapping_entries == 0 && c.filter_entries == 0);
	EXPECT(w, c.ports[PORTS_TCP] == 0 && c.ports[PORTS_OTHER] == 0 && c.blocks == 0 && c.granules == 0);
	EXPECT(w, c.subscribers == 0 && c.parts == 0 && c.part_entries == 0 && c.subscriber_entries == 0);
	EXPECT(w, c.pages_free + c.pages[ACTOR_SHARED][SLAB_port_table] + c.pages[ACTOR_SHARED][SLAB_subscriber] +
				  c.pages[ACTOR_SHARED][SLAB_record] ==
			  w->arena->header->geometry.pages);
}
