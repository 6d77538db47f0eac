/* Memory goes where it is needed: an arena filled with sessions, drained, filled with port tables, and back. */
#include "pe/miniature.h"
#include "shm/check.h"
#include "shm/shared_slab.h"
#include "tests/crash/traffic.h"
#include "tests/unit/rnd.h"

enum {
	ENGINES = 2,
	SUBSCRIBERS_MAX = 4000,
	SESSIONS = 600000,
	ADDRESSES = 2,
	PORTS = 30000,
	PER_ENDPOINT = 64,
	BEHIND = 300
};

struct scene {
	struct config config;
	struct arena *a;
	struct nat *nat; /* [ENGINES] */
	mono_t now;
};

static void print_violation(void *context, const struct check_violation *v)
{
	(void)context;
	print_error(
		"%s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text, v->fact[1].text);
}

static void check(const struct scene *s, struct check_counts *counts)
{
	assert_int_equal(check_arena(s->a, CHECK_EXACT, print_violation, NULL, counts), 0);
}

/* With tables for what all pages together would hold, so that pages are what runs out. */
static struct arena *open_arena(const struct config *c)
{
	struct arena_geometry g = arena_plan(c);
	struct config wide = *c;
	struct arena_error err;
	uint32_t pages = g.pages;

	wide.arena.sessions = pages * slab_per_page(SLAB_session);
	g = arena_plan(&wide);
	g.pages = pages;
	struct arena *a = arena_open_private(&g, 1, &err);

	assert_true(a && miniature_fill(a, c));
	return a;
}

static struct scene *scene_open(void)
{
	struct scene *s = calloc(1, sizeof *s);

	appliance_config(&(struct appliance){.engines = ENGINES,
				 .sessions = SESSIONS,
				 .subscribers = SUBSCRIBERS_MAX,
				 .addresses = ADDRESSES,
				 .ports = PORTS,
				 .single = true},
		&s->config);
	s->a = open_arena(&s->config);
	s->nat = calloc(ENGINES, sizeof *s->nat);
	s->now = (mono_t){span_s(1000).ns};
	assert_true(s->a && s->nat);
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_init(&s->nat[e], s->a, e, e + 1, s->now);
		nat_configure(&s->nat[e]);
		nat_load_routes(&s->nat[e]);
	}
	return s;
}

static void scene_close(struct scene *s)
{
	arena_close(s->a);
	free(s->nat);
	free(s);
}

static struct slab *sessions_of(struct scene *s, unsigned engine)
{
	return &s->nat[engine].actor->slab[SLAB_session];
}

/* Makes sessions, the engines taking turns, until there is no page left for either. */
static uint32_t fill_with_sessions(struct scene *s)
{
	bool full[ENGINES] = {false};
	uint32_t made = 0;

	for (uint32_t i = 0; !full[0] || !full[1]; i++) {
		unsigned e = i % ENGINES;
		uint32_t endpoint = i / PER_ENDPOINT, remote = i % PER_ENDPOINT;
		struct tuple t = tuple_of(L4_UDP, 16 + endpoint / 8, (uint16_t)(5000 + endpoint % 8), remote, 53);
		struct frame f;

		if (full[e])
			continue;
		frame_make(&f, &t, SIDE_INSIDE, 0);
		nat_burst(&s->nat[e], &f.packet, 1, s->now);
		full[e] = f.packet.verdict == VERDICT_drop_no_memory;
		if (!full[e] && f.packet.verdict != VERDICT_fwd_out_new)
			fail_msg("session %u: %s", made, verdict_info[f.packet.verdict].name);
		made += !full[e];
	}
	return made;
}

static bool is_drained(struct scene *s)
{
	uint32_t used = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		used += sessions_of(s, e)->used + s->nat[e].actor->slab[SLAB_part].used;
	return used == 0;
}

/* Pages that subscribers take, as long as there are any: one of theirs, and one of parts for each engine. Once taken they
 * are kept for the next. */
enum { PAGES_OF_SUBSCRIBERS = 1 + ENGINES };

/* Everything idles out; each engine keeps the last page it had. */
static void drain_sessions(struct scene *s)
{
	for (int turn = 0; !is_drained(s); turn++) {
		assert_true(turn < 1000000);
		s->now = mono_after(s->now, span_ms(500));
		for (unsigned e = 0; e < ENGINES; e++)
			nat_housekeep(&s->nat[e], s->now);
	}
	for (unsigned e = 0; e < ENGINES; e++)
		assert_int_equal(sessions_of(s, e)->pages, 1);
}

static void build_table(void *object, void *context)
{
	struct port_table *t = object;
	uint32_t *host = context;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->address = be32_of((*host)++);
	port_order_plain(&t->basis);
}

static uint32_t fill_with_tables(struct scene *s)
{
	uint32_t host = POOL + 0x10000, made = 0;

	while (shared_make(s->a, ACTOR_MGMTD, SLAB_port_table, build_table, &host))
		made++;
	return made;
}

static void drain_tables(struct scene *s)
{
	for (uint32_t i = 0; (i = slab_next_live(s->a, SLAB_port_table, i + 1));)
		if (be32_host(port_table_at(s->a, i)->address) >= POOL + 0x10000)
			assert_true(shared_drop(s->a, ACTOR_MGMTD, SLAB_port_table, i));
}

/* More addresses than what is left of the page of port tables has room for. */
static void expect_no_room_for_addresses(const struct scene *s)
{
	static struct snapshot out;
	struct config c = s->config;
	struct config_error err = {""};

	c.pools[0].ranges[0].last = c.pools[0].ranges[0].first + BEHIND;
	assert_false(snapshot_compile(s->a, &c, &out, &err));
	assert_non_null(strstr(err.text, "no arena page left"));
	for (uint32_t i = 0; (i = slab_next_live(s->a, SLAB_port_table, i + 1));)
		if (be32_host(port_table_at(s->a, i)->address) >= POOL + ADDRESSES)
			assert_true(shared_drop(s->a, ACTOR_MGMTD, SLAB_port_table, i));
}

static void test_sessions_then_tables_then_sessions(void **state)
{
	struct scene *s = scene_open();
	uint32_t pages = s->a->header->geometry.pages, per_table = slab_per_page(SLAB_port_table), made, views;
	struct check_counts c;

	(void)state;
	made = fill_with_sessions(s);
	expect_no_room_for_addresses(s);
	check(s, &c);
	views = c.pages[0][SLAB_port_view] + c.pages[1][SLAB_port_view];
	assert_in_range(views, 1, ENGINES);
	assert_int_equal(made, (pages - 1 - views - PAGES_OF_SUBSCRIBERS) * slab_per_page(SLAB_session));
	assert_int_equal(c.sessions, made);
	assert_int_equal(c.pages_free, 0);

	drain_sessions(s);
	check(s, &c);
	assert_int_equal(c.sessions + c.mappings + c.ports[PORTS_OTHER], 0);
	assert_int_equal(c.pages_free, pages - 1 - ENGINES - views - PAGES_OF_SUBSCRIBERS);

	assert_int_equal(fill_with_tables(s), (pages - ENGINES - views - PAGES_OF_SUBSCRIBERS) * per_table - ADDRESSES);
	check(s, &c);
	assert_int_equal(c.pages_free, 0);
	assert_int_equal(c.pages[ACTOR_SHARED][SLAB_port_table], pages - ENGINES - views - PAGES_OF_SUBSCRIBERS);

	drain_tables(s);
	check(s, &c);
	assert_int_equal(c.port_tables, ADDRESSES);
	assert_in_range(c.pages[ACTOR_SHARED][SLAB_port_table], 1, 2); /* one of them empty, kept for the next */

	made = fill_with_sessions(s);
	check(s, &c);
	assert_int_equal(c.sessions, made);
	assert_int_equal(made, (pages - views - PAGES_OF_SUBSCRIBERS - c.pages[ACTOR_SHARED][SLAB_port_table]) *
				       slab_per_page(SLAB_session));
	drain_sessions(s);
	for (unsigned e = 0; e < ENGINES; e++)
		slab_give_back(s->a, sessions_of(s, e));
	check(s, &c);
	assert_int_equal(c.pages_free, pages - views - PAGES_OF_SUBSCRIBERS - c.pages[ACTOR_SHARED][SLAB_port_table]);
	scene_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions_then_tables_then_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
