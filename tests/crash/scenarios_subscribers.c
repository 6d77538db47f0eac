/* Scenarios of subscribers and their quotas: drawn, asked for, given back, changed, ended, known by name. */
#include "pe/miniature.h"
#include "shm/quota.h"
#include "tests/crash/scenario.h"

enum { FEW = 3, SOME = 30, MANY = 200 };

/* ---- limits of the subscriber of flows 0 to 15 alone ---- */

static void limit(struct world *w, uint32_t udp_ports)
{
	struct tuple t = world_flow(0);
	struct config c = w->config;

	c.limits[0] = (struct config_limits){
		.name = "one", .realm = "any", .inside = {{t.src, 32}}, .n_inside = 1, .udp_ports = udp_ports};
	c.n_limits = udp_ports ? 1 : 0;
	EXPECT(w, miniature_fill(w->arena, &c));
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_configure(&w->nat[e]);
		nat_load_routes(&w->nat[e]);
	}
}

/* Flows of that subscriber until one is refused; how many were made. */
static unsigned fill(struct world *w, unsigned engine, unsigned from)
{
	unsigned n = 0;

	while (from + n < 16 && world_out(w, engine, from + n) == VERDICT_fwd_out_new)
		n++;
	return n;
}

static void out_1(struct world *w)
{
	world_out(w, 1, 15);
}

static void turn_0(struct world *w)
{
	world_housekeep(w, 0);
}

static void turn_1(struct world *w)
{
	world_housekeep(w, 1);
}

/* ---- what is there ---- */

static void each_has_one(struct world *w, uint32_t udp_ports)
{
	limit(w, udp_ports);
	for (unsigned e = 0; e < ENGINES; e++)
		world_out_new(w, e, e);
}

static void room(struct world *w)
{
	each_has_one(w, SOME);
}

static void none_left(struct world *w)
{
	limit(w, FEW);
	EXPECT(w, fill(w, 0, 0) == FEW);
}

/* Engine 0 has units it does not use; the others have used up the rest. */
static void others_have(struct world *w)
{
	limit(w, 12);
	world_out_new(w, 0, 0);
	world_out_new(w, 0, 1);
	EXPECT(w, fill(w, 1, 2) + fill(w, 2, 13) > 1);
}

static void rung(struct world *w)
{
	limit(w, MANY);
	world_out_new(w, 0, 0);
	limit(w, 4);
	out_1(w);
	EXPECT(w, w->nat[0].actor->bells.rung != 0);
}

static void idle_and_tight(struct world *w)
{
	limit(w, FEW);
	EXPECT(w, fill(w, 1, 0) == FEW);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void lowered(struct world *w)
{
	each_has_one(w, SOME);
	limit(w, FEW);
}

static void raised(struct world *w)
{
	none_left(w);
	limit(w, SOME);
}

static void sessions_gone(struct world *w, unsigned engine)
{
	world_out_new(w, engine, 0);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	world_housekeep(w, engine);
	EXPECT(w, w->nat[engine].actor->slab[SLAB_part].used != 0);
	world_ask_bystanders(w, ~0u);
	world_refresh(w);
	world_refresh(w);
}

static void idle_0(struct world *w)
{
	sessions_gone(w, 0);
}

static void idle_1_not_0(struct world *w)
{
	sessions_gone(w, 1);
	world_out_new(w, 0, 0);
}

/* ---- by name ---- */

static void named_for_a_while(struct world *w)
{
	struct subscribers v = subscribers_view(w->arena, ACTOR_MGMTD);
	struct subscriber_record r = {.name = "customer 17", .given = 1u << QUOTA_udp_ports};
	struct subscriber_key key = {be32_of(world_flow(0).src), 0};

	r.limits.of[QUOTA_udp_ports] = 2;
	EXPECT(w, subscriber_record_set(&v, key, &r) == 0);
	r.limits.of[QUOTA_udp_ports] = 20;
	EXPECT(w, subscriber_record_set(&v, key, &r) == 0);
	EXPECT(w, subscriber_record_drop(&v, key) == 0);
}

/* Their pages are there already: page_take is about that. */
static void named_before(struct world *w)
{
	named_for_a_while(w);
}

static void named_before_and_there(struct world *w)
{
	named_for_a_while(w);
	room(w);
}

const struct scenario scenarios_subscribers[] = {
	{.name = "quota_draw", .dies = 1, .prepare = room, .operate = out_1},
	{.name = "quota_refused", .dies = 1, .prepare = none_left, .operate = out_1},
	{.name = "quota_refused_asking", .dies = 1, .prepare = others_have, .operate = out_1},
	{.name = "quota_hand_back", .dies = 0, .prepare = rung, .operate = turn_0},
	{.name = "quota_return", .dies = 1, .prepare = idle_and_tight, .operate = turn_1},
	{.name = "limit_lowered", .dies = 1, .prepare = lowered, .operate = out_1},
	{.name = "limit_raised", .dies = 1, .prepare = raised, .operate = out_1},
	{.name = "limit_walked", .dies = 0, .prepare = lowered, .operate = turn_0},
	{.name = "subscriber_ends", .dies = 0, .prepare = idle_0, .operate = turn_0},
	{.name = "part_ends", .dies = 1, .prepare = idle_1_not_0, .operate = turn_1},
	{.name = "record_set_and_dropped", .dies = ACTOR_MGMTD, .prepare = named_before, .operate = named_for_a_while},
	{.name = "record_of_one_there",
		.dies = ACTOR_MGMTD,
		.prepare = named_before_and_there,
		.operate = named_for_a_while},
	{0},
};
