/* Scenarios of flows that begin inside, and of the mappings they share. Filtering depends on nothing: each mapping's
 * carrier is its filter's. */
#include "tests/crash/scenario.h"

enum { MOVING = 3, SPARE_FLOW = 900 };

/* ---- what is there, and what is done ---- */

static void adopt(struct world *w, unsigned engine)
{
	EXPECT(w, world_send(w, engine, SIDE_OUTSIDE, &w->reply, 0) == VERDICT_fwd_in_adopted);
}

static void nothing(struct world *w)
{
	(void)w;
}

static void home_0(struct world *w)
{
	world_out_new(w, 0, 0);
}

static void away_0(struct world *w)
{
	world_out_new(w, 1, 0);
}

static void adopted_0(struct world *w)
{
	world_out_new(w, 1, 0);
	adopt(w, 0);
}

static void home_0_idle(struct world *w)
{
	home_0(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void away_0_idle(struct world *w)
{
	away_0(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void adopted_0_idle(struct world *w)
{
	adopted_0(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void adopted_0_dying(struct world *w)
{
	adopted_0_idle(w);
	world_housekeep(w, 1);
}

static void adopted_0_let_go(struct world *w)
{
	adopted_0_dying(w);
	world_housekeep(w, 0);
}

static void carrier_idle(struct world *w)
{
	home_0(w);
	world_out_new(w, 1, 1000);
	world_refresh(w);
	world_out(w, 1, 1000);
	world_pass(w, UNTIL_IDLE);
}

static void user_idle(struct world *w)
{
	home_0(w);
	world_out_new(w, 1, 1000);
	world_refresh(w);
	world_out(w, 0, 0);
	world_pass(w, UNTIL_IDLE);
}

static void carrier_and_user_ended(struct world *w)
{
	home_0(w);
	world_out_new(w, 1, 1000);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	world_housekeep(w, 0);
	world_housekeep(w, 1);
}

/* Of three subscribers; some share the first one's mapping. */
static void several_idle(struct world *w, unsigned engine)
{
	static const unsigned flow[] = {0, 1000, 1, 17, 2000};

	for (unsigned i = 0; i < sizeof flow / sizeof flow[0]; i++)
		world_out_new(w, engine, flow[i]);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void several_0_idle(struct world *w)
{
	several_idle(w, 0);
}

static void several_1_idle(struct world *w)
{
	several_idle(w, 1);
}

static void no_port_left(struct world *w)
{
	unsigned i = 0;

	while (world_out(w, 0, i) == VERDICT_fwd_out_new)
		i++;
	EXPECT(w, world_out(w, 0, SPARE_FLOW) == VERDICT_drop_no_port);
}

static void no_room_left(struct world *w)
{
	for (unsigned i = 0; i < 600; i++)
		world_out(w, 0, i);
	EXPECT(w, world_out(w, 0, SPARE_FLOW) == VERDICT_drop_table_full);
}

static bool bucket_full(const struct local_table *t, uint32_t bucket)
{
	for (unsigned i = 0; i < LOCAL_ENTRIES; i++)
		if (!atomic_load(&t->bucket[bucket].entry[i]))
			return false;
	return true;
}

/* True when entering this flow must move another's entry. */
static bool must_move(const struct world *w, unsigned number)
{
	const struct tuple t = world_flow(number);
	const be32_t pair[2] = {be32_of(t.src), be32_of(t.dst)};
	const be16_t ports[2] = {be16_of(t.sport), be16_of(t.dport)};
	const struct local_table *table = &w->nat[0].local[DIR_OUTBOUND];
	uint64_t hash = flow_key_hash(flow_key_of(pair, ports, 0, L4_UDP, DIR_OUTBOUND), w->nat[0].seed);
	uint32_t first = local_first(table, hash);

	return bucket_full(table, first) && bucket_full(table, local_other(table, first, local_hash_tag(hash)));
}

/* So full that some next flow must move others. */
static void nearly_full_0(struct world *w)
{
	for (unsigned i = 0; i < 600; i++) {
		world_out(w, 0, i);
		for (w->number = 700; w->number < 900; w->number++)
			if (must_move(w, w->number))
				return;
	}
	world_fail(w, "no flow that must move another");
}

static void out_0_number(struct world *w)
{
	enum verdict v = world_out(w, 0, w->number);

	if (v != VERDICT_fwd_out_new)
		world_fail(w, "flow %u: %s", w->number, verdict_info[v].name);
}

static void nearly_full_1(struct world *w)
{
	for (unsigned i = 0; i < 15; i++)
		world_out(w, 1, i);
}

static void out_0(struct world *w)
{
	world_out(w, 0, 0);
}

static void out_1(struct world *w)
{
	world_out(w, 1, 0);
}

static void out_0_shared(struct world *w)
{
	world_out(w, 0, 1000);
}

static void out_1_shared(struct world *w)
{
	world_out(w, 1, 1000);
}

static void out_0_spare(struct world *w)
{
	world_out(w, 0, SPARE_FLOW);
}

static void out_1_several(struct world *w)
{
	for (unsigned i = 0; i < MOVING; i++)
		world_out(w, 1, SPARE_FLOW + i);
}

/* Of a subscriber that is known: made straight away (pe/nat_make.c). */
static void out_0_next(struct world *w)
{
	world_out(w, 0, 1);
}

static void out_1_next(struct world *w)
{
	world_out(w, 1, 1);
}

/* A burst: two made straight away, and between them one that shares the first one's mapping. */
static void out_0_burst(struct world *w)
{
	static const unsigned number[] = {1, 1001, 2};
	enum { N = sizeof number / sizeof number[0] };
	struct packet burst[N];
	struct frame f[N];

	for (unsigned i = 0; i < N; i++) {
		struct tuple t = world_flow(number[i]);

		frame_make(&f[i], &t, SIDE_INSIDE, 0);
		burst[i] = f[i].packet;
	}
	nat_burst(&w->nat[0], burst, N, w->now);
}

static void in_0(struct world *w)
{
	world_send(w, 0, SIDE_OUTSIDE, &w->reply, 0);
}

/* Flow 0 begins with a first fragment on engine 0, where its replies land; its whole packets land on engine 1. */
static void out_0_fragment(struct world *w)
{
	struct steering *inside = &w->nat[0].steering[SIDE_INSIDE];
	struct tuple t = world_flow(0);
	struct frame f;

	inside->mask = 0;
	inside->table[0] = 1;
	EXPECT(w, tuple_engine(inside, &t) == 1);
	frame_make(&f, &t, SIDE_INSIDE, 0);
	((struct ip4_header *)(f.bytes + sizeof(struct eth_header)))->fragment = be16_of(IP4_MF);
	nat_burst(&w->nat[0], &f.packet, 1, w->now);
	if (f.packet.forward)
		w->reply = frame_reply(&f);
}

static void turned_0(struct world *w)
{
	out_0_fragment(w);
	EXPECT(w, world_send(w, 0, SIDE_OUTSIDE, &w->reply, 0) == VERDICT_fwd_in_hit);
}

static void turned_0_adopted(struct world *w)
{
	turned_0(w);
	EXPECT(w, world_out(w, 1, 0) == VERDICT_fwd_out_adopted);
}

static void turned_0_idle(struct world *w)
{
	turned_0_adopted(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void turned_0_dying(struct world *w)
{
	turned_0_idle(w);
	world_housekeep(w, 0);
}

static void turn_0(struct world *w)
{
	world_housekeep(w, 0);
}

static void turn_1(struct world *w)
{
	world_housekeep(w, 1);
}

const struct scenario scenarios_outbound[] = {
	{.name = "create_home", .dies = 0, .prepare = nothing, .operate = out_0},
	{.name = "create_away", .dies = 1, .prepare = nothing, .operate = out_1},
	{.name = "make_home", .dies = 0, .prepare = home_0, .operate = out_0_next},
	{.name = "make_home_burst", .dies = 0, .prepare = home_0, .operate = out_0_burst},
	{.name = "make_home_address_filter",
		.dies = 0,
		.prepare = home_0,
		.operate = out_0_next,
		.filtering = ADDRESS_DEPENDENT},
	{.name = "make_home_own_filter",
		.dies = 0,
		.prepare = home_0,
		.operate = out_0_next,
		.filtering = ADDRESS_AND_PORT_DEPENDENT},
	{.name = "make_away", .dies = 1, .prepare = away_0, .operate = out_1_next},
	{.name = "create_sharing_own_mapping", .dies = 0, .prepare = home_0, .operate = out_0_shared},
	{.name = "create_away_sharing_another's", .dies = 1, .prepare = home_0, .operate = out_1_shared},
	{.name = "create_home_sharing_another's", .dies = 0, .prepare = away_0, .operate = out_0_shared},
	{.name = "create_refused_no_port",
		.dies = 0,
		.sessions = 512,
		.ports = 40,
		.prepare = no_port_left,
		.operate = out_0_spare},
	{.name = "create_refused_no_room",
		.dies = 0,
		.sessions = 16,
		.ports = 600,
		.prepare = no_room_left,
		.operate = out_0_spare},
	{.name = "create_moving_local_entries",
		.dies = 0,
		.sessions = 36,
		.ports = 600,
		.prepare = nearly_full_0,
		.operate = out_0_number},
	{.name = "create_moving_global_entries",
		.dies = 1,
		.sessions = 16,
		.ports = 600,
		.prepare = nearly_full_1,
		.operate = out_1_several},
	{.name = "adopt", .dies = 0, .prepare = away_0, .operate = in_0},
	{.name = "hit_adopted", .dies = 0, .prepare = adopted_0, .operate = in_0},
	{.name = "create_by_fragment", .dies = 0, .prepare = nothing, .operate = out_0_fragment},
	{.name = "adopt_of_fragment", .dies = 1, .prepare = turned_0, .operate = out_1},
	{.name = "end_of_fragment", .dies = 0, .prepare = turned_0_idle, .operate = turn_0},
	{.name = "let_go_of_fragment", .dies = 1, .prepare = turned_0_dying, .operate = turn_1},
	{.name = "end_home", .dies = 0, .prepare = home_0_idle, .operate = turn_0},
	{.name = "end_by_packet", .dies = 0, .prepare = home_0_idle, .operate = out_0},
	{.name = "end_away", .dies = 1, .prepare = away_0_idle, .operate = turn_1},
	{.name = "end_away_adopted", .dies = 1, .prepare = adopted_0_idle, .operate = turn_1},
	{.name = "end_several", .dies = 0, .prepare = several_0_idle, .operate = turn_0},
	{.name = "end_several_away", .dies = 1, .prepare = several_1_idle, .operate = turn_1},
	{.name = "let_go", .dies = 0, .prepare = adopted_0_dying, .operate = turn_0},
	{.name = "let_go_by_packet", .dies = 0, .prepare = adopted_0_dying, .operate = in_0},
	{.name = "pending_let_go", .dies = 1, .prepare = adopted_0_let_go, .operate = turn_1},
	{.name = "end_carrier_in_use", .dies = 0, .prepare = carrier_idle, .operate = turn_0},
	{.name = "end_user_of_another's", .dies = 1, .prepare = user_idle, .operate = turn_1},
	{.name = "pending_carrier_unused", .dies = 0, .prepare = carrier_and_user_ended, .operate = turn_0},
	{0},
};
