/* Scenarios of port blocks: made, taken from, kept and given back. Flow 0 is subscriber 16's. */
#include "shm/blocks.h"
#include "tests/crash/scenario.h"

enum { WHO = 16, BLOCK = 64, RESTED = 250 };

static struct subscriber *who(const struct world *w, uint32_t *index)
{
	for (uint32_t i = 0; (i = slab_next_live(w->arena, SLAB_subscriber, i + 1));)
		if (be32_host(subscriber_at(w->arena, i)->inside) == SUBSCRIBERS + WHO) {
			*index = i;
			return subscriber_at(w->arena, i);
		}
	world_fail(w, "no subscriber");
}

static unsigned blocks_of(const struct world *w)
{
	uint32_t index;
	const struct subscriber *s = who(w, &index);
	unsigned n = 0;

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		n += block_listed(s, i) != 0;
	return n;
}

static void nothing(struct world *w)
{
	(void)w;
}

static void one_flow(struct world *w)
{
	world_out_new(w, 0, 0);
	EXPECT(w, blocks_of(w) == 1);
}

static enum verdict from_port(struct world *w, unsigned engine, unsigned n)
{
	struct tuple t = tuple_of(L4_UDP, WHO, (uint16_t)(6000 + n), 1, 53);

	return world_send(w, engine, SIDE_INSIDE, &t, 0);
}

static void block_full(struct world *w)
{
	for (unsigned n = 0; n < BLOCK; n++)
		EXPECT(w, from_port(w, n % 2, n) == VERDICT_fwd_out_new);
	EXPECT(w, blocks_of(w) == 1);
}

/* Four are allowed. */
static void all_blocks_full(struct world *w)
{
	for (unsigned n = 0; n < 4 * BLOCK; n++)
		EXPECT(w, from_port(w, n % 2, n) == VERDICT_fwd_out_new);
	EXPECT(w, blocks_of(w) == 4 && from_port(w, 0, 4 * BLOCK) == VERDICT_drop_block_limit);
}

/* The session has ended, its port has rested; the subscriber is there still. */
static void block_idle(struct world *w)
{
	one_flow(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	world_housekeep(w, 0);
	EXPECT(w, blocks_of(w) == 1);
	world_ask_bystanders(w, ~0u);
	world_pass(w, RESTED);
	world_ask_bystanders(w, ~0u);
}

static void block_idle_of_two(struct world *w)
{
	one_flow(w);
	world_out_new(w, 1, 1);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	world_housekeep(w, 0);
	world_housekeep(w, 1);
	world_ask_bystanders(w, ~0u);
	world_pass(w, RESTED);
	world_ask_bystanders(w, ~0u);
}

static void out_0(struct world *w)
{
	world_out(w, 0, 0);
}

static void out_0_next(struct world *w)
{
	world_out(w, 0, 1);
}

static void out_1_next(struct world *w)
{
	world_out(w, 1, 1);
}

static void send_0_more(struct world *w)
{
	from_port(w, 0, 5 * BLOCK);
}

static void turn_0(struct world *w)
{
	world_housekeep(w, 0);
}

/* By the last part there is, without its hold time. */
static void leave_0(struct world *w)
{
	nat_quota_leave(&w->nat[0]);
}

/* A port of it was taken in the last moment. */
static void give_back_in_use(struct world *w)
{
	uint32_t index;
	struct subscriber *s = who(w, &index);
	struct subscribers *v = &w->nat[0].subscribers;

	if (!subscriber_lock(v, s))
		return;
	block_give_back(v, s, index, 0);
	subscriber_unlock(v, s);
}

const struct scenario scenarios_blocks[] = {
	{.name = "block_make", .dies = 0, .ports = 512, .block = BLOCK, .prepare = nothing, .operate = out_0},
	{.name = "block_make_of_several_granules",
		.dies = 0,
		.ports = 2048,
		.block = 256,
		.prepare = nothing,
		.operate = out_0},
	{.name = "block_make_one_more",
		.dies = 0,
		.sessions = 512,
		.ports = 512,
		.block = BLOCK,
		.prepare = block_full,
		.operate = send_0_more},
	{.name = "block_refused",
		.dies = 0,
		.sessions = 1024,
		.ports = 512,
		.block = BLOCK,
		.prepare = all_blocks_full,
		.operate = send_0_more},
	{.name = "block_take", .dies = 0, .ports = 512, .block = BLOCK, .prepare = one_flow, .operate = out_0_next},
	{.name = "block_take_of_another's",
		.dies = 1,
		.ports = 512,
		.block = BLOCK,
		.prepare = one_flow,
		.operate = out_1_next},
	{.name = "block_give_back", .dies = 0, .ports = 512, .block = BLOCK, .prepare = block_idle, .operate = turn_0},
	{.name = "block_give_back_of_two",
		.dies = 0,
		.ports = 2048,
		.block = 256,
		.prepare = block_idle_of_two,
		.operate = turn_0},
	{.name = "block_give_back_in_use",
		.dies = 0,
		.ports = 512,
		.block = BLOCK,
		.prepare = one_flow,
		.operate = give_back_in_use},
	{.name = "block_leave", .dies = 0, .ports = 512, .block = BLOCK, .prepare = block_idle, .operate = leave_0},
	{0},
};
