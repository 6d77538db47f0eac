/* Scenarios of flows that begin outside, of filters that another session carries than the mapping's, of static mappings
 * and of packets turned round. Each operation says what it must have done when nobody dies. */
#include "tests/crash/scenario.h"

enum { FILTERED = 1000 };

static void expect(struct world *w, enum verdict is, enum verdict must)
{
	if (is != must)
		world_fail(w, "%s, not %s", verdict_info[is].name, verdict_info[must].name);
}

static void nothing(struct world *w)
{
	(void)w;
}

/* ---- strangers ---- */

/* Who writes to `to` is a port of its own of the remote address, such that the answer lands on `engine`. */
static void choose_stranger(struct world *w, const struct tuple *to, const struct tuple *inside, unsigned engine)
{
	const struct steering *steering = &w->nat[0].steering[SIDE_INSIDE];

	w->stranger = *to;
	w->answer = (struct tuple){inside->src, to->src, inside->sport, 0, to->l4};
	for (uint16_t port = 1000; port < 1100; port++) {
		w->stranger.sport = w->answer.dport = port;
		w->answering = tuple_engine(steering, &w->answer);
		if (w->answering == engine)
			return;
	}
	world_fail(w, "no stranger whose answer lands on engine %u", engine);
}

static void stranger_sends(struct world *w, enum verdict must)
{
	expect(w, world_send(w, 0, SIDE_OUTSIDE, &w->stranger, 0), must);
}

static void insider_answers(struct world *w, enum verdict must)
{
	expect(w, world_send(w, w->answering, SIDE_INSIDE, &w->answer, 0), must);
}

/* The mapping of flow 0, carried by `carrier`, and a stranger it will let in. */
static void mapped(struct world *w, unsigned carrier, unsigned answering)
{
	const struct tuple inside = world_flow(0);

	world_out_new(w, carrier, 0);
	choose_stranger(w, &w->reply, &inside, answering);
}

static void mapped_home(struct world *w)
{
	mapped(w, 0, 0);
}

static void mapped_away(struct world *w)
{
	mapped(w, 0, 1);
}

static void mapped_by_another(struct world *w)
{
	mapped(w, 1, 0);
}

static void in_new(struct world *w)
{
	stranger_sends(w, VERDICT_fwd_in_new);
}

static void in_hit(struct world *w)
{
	stranger_sends(w, VERDICT_fwd_in_hit);
}

static void answer_hit(struct world *w)
{
	insider_answers(w, VERDICT_fwd_out_hit);
}

static void answer_adopts(struct world *w)
{
	insider_answers(w, VERDICT_fwd_out_adopted);
}

static void answer_new(struct world *w)
{
	insider_answers(w, VERDICT_fwd_out_new);
}

/* Whatever comes of it: the flow goes on as if nobody had died. */
static void both_again(struct world *w)
{
	world_send(w, 0, SIDE_OUTSIDE, &w->stranger, 0);
	world_send(w, w->answering, SIDE_INSIDE, &w->answer, 0);
}

static void turn_0(struct world *w)
{
	world_housekeep(w, 0);
}

static void turn_1(struct world *w)
{
	world_housekeep(w, 1);
}

/* ---- sessions of inbound origin ---- */

static void in_home(struct world *w)
{
	mapped_home(w);
	in_new(w);
	world_pass(w, 1);
}

static void in_home_of_another(struct world *w)
{
	mapped_by_another(w);
	in_new(w);
	world_pass(w, 1);
}

static void in_away(struct world *w)
{
	mapped_away(w);
	in_new(w);
	world_pass(w, 1);
}

static void in_away_adopted(struct world *w)
{
	in_away(w);
	answer_adopts(w);
}

static void in_away_counted(struct world *w)
{
	in_away_adopted(w);
	in_hit(w);
}

/* All but the mapping's carrier of engine `carrier`, and the bystanders, have been idle too long. */
static void idle_but_carrier(struct world *w, unsigned carrier)
{
	world_refresh(w);
	expect(w, world_out(w, carrier, 0), VERDICT_fwd_out_hit);
	world_pass(w, UNTIL_IDLE);
}

static void in_home_idle(struct world *w)
{
	in_home(w);
	idle_but_carrier(w, 0);
}

static void in_home_answered_idle(struct world *w)
{
	in_home_of_another(w);
	answer_hit(w);
	idle_but_carrier(w, 1);
}

static void in_away_idle(struct world *w)
{
	in_away(w);
	idle_but_carrier(w, 0);
}

static void in_away_counted_idle(struct world *w)
{
	in_away_counted(w);
	idle_but_carrier(w, 0);
}

static void in_away_dying(struct world *w)
{
	in_away_counted_idle(w);
	turn_0(w);
}

static void in_away_let_go(struct world *w)
{
	in_away_dying(w);
	turn_1(w);
}

/* Answered so late that the sweep comes across the owner's entry before the stranger's next packet. */
static void in_away_answered_late(struct world *w)
{
	in_away(w);
	world_refresh(w);
	expect(w, world_out(w, 0, 0), VERDICT_fwd_out_hit);
	answer_adopts(w);
	world_pass(w, UNTIL_IDLE);
}

/* Everybody's flow ends but the stranger's: the carrier waits for it. */
static void carrier_idle(struct world *w)
{
	in_home(w);
	answer_hit(w);
	world_refresh(w);
	answer_hit(w);
	world_pass(w, UNTIL_IDLE);
}

static void carrier_and_stranger_ended(struct world *w)
{
	in_home_of_another(w);
	answer_hit(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	turn_1(w);
	turn_0(w);
}

/* ---- filters by address: flow 1000 has the mapping of flow 0, and another remote address ---- */

static struct tuple beside(void)
{
	struct tuple t = world_flow(FILTERED);

	t.dport++;
	return t;
}

/* To that address again, from the same endpoint: it needs the same filter. */
static void out_beside(struct world *w, unsigned engine, enum verdict must)
{
	const struct tuple t = beside();

	expect(w, world_send(w, engine, SIDE_INSIDE, &t, 0), must);
}

static void out_beside_0(struct world *w)
{
	out_beside(w, 0, VERDICT_fwd_out_new);
}

static void out_beside_2(struct world *w)
{
	out_beside(w, 2, VERDICT_fwd_out_new);
}

/* The others find the filter, or what the dead one left of it, and use it as long as the flow of its maker is over. */
static void others_use_filter(struct world *w)
{
	const struct tuple t = beside();

	world_send(w, 2, SIDE_INSIDE, &t, 0);
	for (unsigned e = 0; e < ENGINES; e++)
		world_housekeep(w, e);
}

static void out_filtered_0(struct world *w)
{
	world_out_new(w, 0, FILTERED);
}

static void out_filtered_1(struct world *w)
{
	world_out_new(w, 1, FILTERED);
}

static void one_filter(struct world *w)
{
	world_out_new(w, 0, 0);
}

static void two_filters(struct world *w)
{
	one_filter(w);
	out_filtered_1(w);
}

/* Engine 2 has a page already: taking it is another scenario. */
static void two_filters_page(struct world *w)
{
	two_filters(w);
	world_out_new(w, 2, 5);
}

static void filter_used(struct world *w)
{
	two_filters(w);
	out_beside_0(w);
}

static void filtered(struct world *w, unsigned answering)
{
	const struct tuple inside = world_flow(0);

	two_filters(w);
	choose_stranger(w, &w->reply, &inside, answering);
}

static void filtered_home(struct world *w)
{
	filtered(w, 0);
}

static void filtered_away(struct world *w)
{
	filtered(w, 1);
}

static void filtered_in_idle(struct world *w)
{
	filtered_home(w);
	in_new(w);
	world_refresh(w);
	world_out(w, 0, 0);
	world_out(w, 1, FILTERED);
	world_pass(w, UNTIL_IDLE);
}

static void filter_carrier_idle(struct world *w)
{
	two_filters(w);
	idle_but_carrier(w, 0);
}

static void filter_carrier_idle_used(struct world *w)
{
	filter_used(w);
	world_refresh(w);
	world_out(w, 0, 0);
	out_beside(w, 0, VERDICT_fwd_out_hit);
	world_pass(w, UNTIL_IDLE);
}

static void filter_user_idle(struct world *w)
{
	filter_used(w);
	world_refresh(w);
	world_out(w, 0, 0);
	world_out(w, 1, FILTERED);
	world_pass(w, UNTIL_IDLE);
}

static void filter_carrier_and_user_ended(struct world *w)
{
	filter_used(w);
	idle_but_carrier(w, 0);
	turn_1(w);
	turn_0(w);
}

static void mapping_carrier_idle(struct world *w)
{
	two_filters(w);
	world_refresh(w);
	world_out(w, 1, FILTERED);
	world_pass(w, UNTIL_IDLE);
}

static void both_carriers_ended(struct world *w)
{
	two_filters(w);
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
	turn_0(w);
	turn_1(w);
}

/* Refused before it counted as made: it found no place in the filter table. */
static bool refused_by_filters(struct world *w, unsigned number)
{
	const _Atomic uint64_t *created = &w->nat[1].actor->counters[COUNTER_sessions_created];
	uint64_t before = counter_get(created);

	return world_out(w, 1, number) == VERDICT_drop_table_full && counter_get(created) == before;
}

/* One endpoint, remote after remote, until one more filter has no place. Those of engine 0 need none in the table of
 * sessions, which is as large. */
static void no_filter_left(struct world *w)
{
	one_filter(w);
	for (unsigned remote = 1; remote <= 20; remote++)
		world_out(w, 0, remote * FILTERED);
	for (w->number = 21 * FILTERED; w->number < 250 * FILTERED; w->number += FILTERED)
		if (refused_by_filters(w, w->number))
			return;
	world_fail(w, "no flow is refused by the filter table");
}

static void out_no_filter_left(struct world *w)
{
	EXPECT(w, refused_by_filters(w, w->number));
}

/* ---- static mappings ---- */

static const struct tuple fixed_inside = {SUBSCRIBERS + FIXED_INSIDE, REMOTES + 9, FIXED_PORT, 1000, L4_UDP};
static const struct tuple fixed_outside = {REMOTES + 9, POOL, 1000, FIXED_PORT, L4_UDP};

static void fixed_home(struct world *w)
{
	choose_stranger(w, &fixed_outside, &fixed_inside, 0);
}

static void fixed_away(struct world *w)
{
	choose_stranger(w, &fixed_outside, &fixed_inside, 1);
}

static void fixed_out_0(struct world *w)
{
	expect(w, world_send(w, 0, SIDE_INSIDE, &fixed_inside, 0), VERDICT_fwd_out_new);
}

static void fixed_out_1(struct world *w)
{
	expect(w, world_send(w, 1, SIDE_INSIDE, &fixed_inside, 0), VERDICT_fwd_out_new);
}

static void all_idle(struct world *w)
{
	world_refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void fixed_home_idle(struct world *w)
{
	fixed_home(w);
	in_new(w);
	all_idle(w);
}

static void fixed_away_idle(struct world *w)
{
	fixed_away(w);
	in_new(w);
	answer_adopts(w);
	all_idle(w);
}

static void fixed_out_idle(struct world *w)
{
	fixed_out_1(w);
	all_idle(w);
}

/* ---- turned round: from endpoint 1 to the NAT endpoint of endpoint 0 ---- */

static void target(struct world *w)
{
	world_out_new(w, 0, 0);
	w->answer = world_flow(1);
	w->answer.dst = w->reply.dst;
	w->answer.dport = w->reply.dport;
}

static void hairpin(struct world *w, unsigned engine)
{
	expect(w, world_send(w, engine, SIDE_INSIDE, &w->answer, 0), VERDICT_fwd_hairpin);
}

static void hairpin_0(struct world *w)
{
	hairpin(w, 0);
}

static void hairpin_1(struct world *w)
{
	hairpin(w, 1);
}

static void turned_0(struct world *w)
{
	target(w);
	hairpin_0(w);
	w->stranger = w->reply;
	world_pass(w, 1);
}

static void turned_1(struct world *w)
{
	target(w);
	hairpin_1(w);
	w->stranger = w->reply;
	world_pass(w, 1);
}

/* The one who was written to writes back. */
static void back_0(struct world *w)
{
	expect(w, world_send(w, 0, SIDE_INSIDE, &w->stranger, 0), VERDICT_fwd_hairpin);
}

static void back_2(struct world *w)
{
	expect(w, world_send(w, 2, SIDE_INSIDE, &w->stranger, 0), VERDICT_fwd_hairpin);
}

static void turned_idle(struct world *w)
{
	turned_0(w);
	back_0(w);
	all_idle(w);
}

static void turned_by_another_idle(struct world *w)
{
	turned_1(w);
	back_2(w);
	all_idle(w);
}

static void hairpin_again(struct world *w)
{
	world_send(w, 0, SIDE_INSIDE, &w->answer, 0);
	world_send(w, 2, SIDE_INSIDE, &w->answer, 0);
}

#define ADF .filtering = ADDRESS_DEPENDENT

const struct scenario scenarios_inbound[] = {
	{.name = "in_new_home", .dies = 0, .prepare = mapped_home, .operate = in_new, .meanwhile = both_again},
	{.name = "in_new_away", .dies = 0, .prepare = mapped_away, .operate = in_new, .meanwhile = both_again},
	{.name = "in_new_of_another's", .dies = 0, .prepare = mapped_by_another, .operate = in_new},
	{.name = "out_adopt", .dies = 1, .prepare = in_away, .operate = answer_adopts, .meanwhile = both_again},
	{.name = "answer_home", .dies = 0, .prepare = in_home, .operate = answer_hit},
	{.name = "answer_of_another's", .dies = 0, .prepare = in_home_of_another, .operate = answer_hit},
	{.name = "answer_away_seen_by_packet", .dies = 0, .prepare = in_away_adopted, .operate = in_hit},
	{.name = "answer_away_seen_by_sweep", .dies = 0, .prepare = in_away_answered_late, .operate = turn_0},
	{.name = "answer_away_told", .dies = 0, .prepare = in_away_adopted, .operate = turn_0, .meanwhile = both_again},
	{.name = "in_end_home", .dies = 0, .prepare = in_home_idle, .operate = turn_0, .meanwhile = both_again},
	{.name = "in_end_home_answered", .dies = 0, .prepare = in_home_answered_idle, .operate = turn_0},
	{.name = "in_end_away", .dies = 0, .prepare = in_away_idle, .operate = turn_0},
	{.name = "in_end_away_adopted", .dies = 0, .prepare = in_away_counted_idle, .operate = turn_0},
	{.name = "in_let_go", .dies = 1, .prepare = in_away_dying, .operate = turn_1},
	{.name = "in_let_go_by_packet", .dies = 1, .prepare = in_away_dying, .operate = answer_new},
	{.name = "in_pending_let_go", .dies = 0, .prepare = in_away_let_go, .operate = turn_0},
	{.name = "end_carrier_used_from_outside", .dies = 0, .prepare = carrier_idle, .operate = turn_0},
	{.name = "pending_carrier_stranger_gone", .dies = 1, .prepare = carrier_and_stranger_ended, .operate = turn_1},
	{.name = "filter_new_own",
		.dies = 0,
		ADF,
		.prepare = one_filter,
		.operate = out_filtered_0,
		.meanwhile = others_use_filter},
	{.name = "filter_new_away",
		.dies = 1,
		ADF,
		.prepare = one_filter,
		.operate = out_filtered_1,
		.meanwhile = others_use_filter},
	{.name = "filter_found", .dies = 0, ADF, .prepare = two_filters, .operate = out_beside_0},
	{.name = "filter_found_away", .dies = 2, ADF, .prepare = two_filters_page, .operate = out_beside_2},
	{.name = "filter_in_new_home",
		.dies = 0,
		ADF,
		.prepare = filtered_home,
		.operate = in_new,
		.meanwhile = both_again},
	{.name = "filter_in_new_away",
		.dies = 0,
		ADF,
		.prepare = filtered_away,
		.operate = in_new,
		.meanwhile = both_again},
	{.name = "filter_in_end", .dies = 0, ADF, .prepare = filtered_in_idle, .operate = turn_0},
	{.name = "filter_end_unused",
		.dies = 1,
		ADF,
		.prepare = filter_carrier_idle,
		.operate = turn_1,
		.meanwhile = others_use_filter},
	{.name = "filter_end_in_use", .dies = 1, ADF, .prepare = filter_carrier_idle_used, .operate = turn_1},
	{.name = "filter_end_user", .dies = 0, ADF, .prepare = filter_user_idle, .operate = turn_0},
	{.name = "filter_pending_unused",
		.dies = 1,
		ADF,
		.prepare = filter_carrier_and_user_ended,
		.operate = turn_1,
		.meanwhile = others_use_filter},
	{.name = "filter_end_mapping_in_use", .dies = 0, ADF, .prepare = mapping_carrier_idle, .operate = turn_0},
	{.name = "filter_pending_mapping", .dies = 0, ADF, .prepare = both_carriers_ended, .operate = turn_0},
	{.name = "filter_refused_no_room",
		.dies = 1,
		ADF,
		.sessions = 22,
		.prepare = no_filter_left,
		.operate = out_no_filter_left},
	{.name = "static_in_home", .dies = 0, .fixed = true, .prepare = fixed_home, .operate = in_new},
	{.name = "static_in_away", .dies = 0, .fixed = true, .prepare = fixed_away, .operate = in_new},
	{.name = "static_out_home", .dies = 0, .fixed = true, .prepare = nothing, .operate = fixed_out_0},
	{.name = "static_out_away", .dies = 1, .fixed = true, .prepare = nothing, .operate = fixed_out_1},
	{.name = "static_end_in_home", .dies = 0, .fixed = true, .prepare = fixed_home_idle, .operate = turn_0},
	{.name = "static_end_in_away", .dies = 0, .fixed = true, .prepare = fixed_away_idle, .operate = turn_0},
	{.name = "static_end_out_away", .dies = 1, .fixed = true, .prepare = fixed_out_idle, .operate = turn_1},
	{.name = "hairpin", .dies = 0, .prepare = target, .operate = hairpin_0, .meanwhile = hairpin_again},
	{.name = "hairpin_by_another", .dies = 1, .prepare = target, .operate = hairpin_1, .meanwhile = hairpin_again},
	{.name = "hairpin_back", .dies = 0, .prepare = turned_0, .operate = back_0},
	{.name = "hairpin_back_elsewhere", .dies = 2, .prepare = turned_1, .operate = back_2},
	{.name = "hairpin_end", .dies = 0, .prepare = turned_idle, .operate = turn_0},
	{.name = "hairpin_end_by_another", .dies = 1, .prepare = turned_by_another_idle, .operate = turn_1},
	{0},
};
