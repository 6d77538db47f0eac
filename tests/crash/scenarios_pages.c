/* Scenarios of pages and port tables: what is taken and given back as a whole. */
#include "shm/shared_slab.h"
#include "tests/crash/scenario.h"

static void nothing(struct world *w)
{
	(void)w;
}

/* ---- whole pages ---- */

static struct slab *slab_2(struct world *w)
{
	return &w->nat[2].actor->slab[SLAB_session];
}

static void out_2(struct world *w)
{
	world_out(w, 2, 0);
}

static void turn_2(struct world *w)
{
	world_housekeep(w, 2);
}

static void one_page_empty(struct world *w)
{
	world_out_new(w, 2, 0);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	turn_2(w);
	EXPECT(w, slab_2(w)->pages == 1 && slab_2(w)->used == 0);
}

static void leave(struct world *w)
{
	slab_give_back(w->arena, slab_2(w));
}

/* As another actor would find it: the next to take it does not cut it. */
static void page_left_whole(struct world *w)
{
	one_page_empty(w);
	uint32_t number = slab_2(w)->partial;

	leave(w);
	EXPECT(w, slab_2(w)->pages == 0);
	slab_2(w)->hint = number - 1; /* that one again */
}

/* A session alone on engine 2's second page: its end empties that page, which then goes back. */
static void last_of_its_page(struct world *w)
{
	uint32_t per = slab_per_page(SLAB_session), taken = slab_take(w->arena, slab_2(w), 2, SLAB_session);

	for (uint32_t i = 1; i < per; i++)
		slab_take(w->arena, slab_2(w), 2, SLAB_session);
	world_out_new(w, 2, 0);
	EXPECT(w, slab_2(w)->pages == 2);
	slab_put(w->arena, slab_2(w), SLAB_session, taken);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

/* ---- port tables ---- */

static void compile(struct world *w, uint32_t addresses)
{
	struct address_range *pool = &w->config.pools[0].ranges[0]; /* a copy of it all would be stepped through */
	struct snapshot *s = calloc(1, sizeof *s);
	struct config_error err = {"no memory"};
	uint32_t was = pool->last;

	pool->last = pool->first + addresses - 1;
	if (!s || !snapshot_compile(w->arena, &w->config, s, &err))
		world_fail(w, "%s", err.text);
	pool->last = was;
	free(s);
}

static void two_more_addresses(struct world *w)
{
	compile(w, ADDRESSES + 2);
}

static uint32_t unused_table(const struct world *w)
{
	for (uint32_t i = 0; (i = slab_next_live(w->arena, SLAB_port_table, i + 1));)
		if (be32_host(port_table_at(w->arena, i)->address) >= POOL + ADDRESSES)
			return i;
	return 0;
}

static void drop_a_table(struct world *w)
{
	uint32_t i = unused_table(w);

	if (i)
		EXPECT(w, shared_drop(w->arena, ACTOR_MGMTD, SLAB_port_table, i));
}

/* As mgmtd does it with tables that the configuration in force does not name. */
static void free_tables(struct world *w)
{
	snapshot_free_drained(w->arena);
}

const struct scenario scenarios_pages[] = {
	{.name = "page_take", .dies = 2, .stride = 997, .prepare = nothing, .operate = out_2},
	{.name = "page_take_whole", .dies = 2, .prepare = page_left_whole, .operate = out_2},
	{.name = "page_give_back", .dies = 2, .prepare = last_of_its_page, .operate = turn_2},
	{.name = "page_leave", .dies = 2, .prepare = one_page_empty, .operate = leave},
	{.name = "port_tables_make", .dies = ACTOR_MGMTD, .prepare = nothing, .operate = two_more_addresses},
	{.name = "port_tables_free", .dies = ACTOR_MGMTD, .prepare = two_more_addresses, .operate = free_tables},
	{.name = "port_table_drop", .dies = ACTOR_MGMTD, .prepare = two_more_addresses, .operate = drop_a_table},
	{0},
};
