/* Scenarios of pinholes: each request is done once, whoever dies, and answered. */
#include "shm/pinhole.h"
#include "tests/crash/scenario.h"

#include <string.h>

enum { LIFETIME_S = 600, ENGINE = 1, FLOW = 900 };

/* What was asked last: made by prepare, the same in every state that is restored. */
static struct {
	uint32_t number;
	enum pinhole_result must;
	unsigned pinholes; /* there then */
	struct pinhole_answer opened;
} asked;

static void ask(struct world *w, const struct pinhole_request *r, enum pinhole_result must, unsigned pinholes)
{
	int64_t number = pinhole_post(w->arena, ENGINE, r);

	EXPECT(w, number > 0);
	asked.number = (uint32_t)number;
	asked.must = must;
	asked.pinholes = pinholes;
}

/* For the inside endpoint of a flow. */
static struct pinhole_request of_flow(unsigned number)
{
	struct tuple t = world_flow(number);

	return (struct pinhole_request){.inside = be32_of(t.src),
		.inside_port = be16_of(t.sport),
		.l4 = t.l4,
		.action = PINHOLE_OPEN,
		.lifetime_s = LIFETIME_S};
}

static void turn(struct world *w)
{
	world_housekeep(w, ENGINE);
}

/* Whether or not the one that died had done it: it is done now, once. */
static void is_done(struct world *w)
{
	struct pinhole_answer a;
	struct check_counts counts;

	turn(w);
	turn(w);
	EXPECT(w, pinhole_answer(w->arena, ENGINE, asked.number, &a));
	EXPECT(w, a.result == asked.must);
	world_check(w, &counts);
	EXPECT(w, counts.pinholes == asked.pinholes);
	if (asked.must != PINHOLE_OK || !asked.pinholes)
		return;
	const struct session *s = session_at(w->arena, a.index);
	EXPECT(w, s->generation == a.generation && session_is_pinhole(s) && s->nat_port.net == a.nat_port.net);
}

/* ---- what is asked ---- */

static void one(struct world *w)
{
	const struct pinhole_request r = of_flow(FLOW);

	ask(w, &r, PINHOLE_OK, 1);
}

static void one_beside_flow(struct world *w)
{
	world_out_new(w, 0, FLOW);
	one(w);
}

static void taken(struct world *w)
{
	struct pinhole_request r = of_flow(FLOW);

	world_out_new(w, 0, 0);
	r.nat = be32_of(w->reply.dst);
	r.nat_port = be16_of(w->reply.dport);
	ask(w, &r, PINHOLE_NO_PORT, 0);
}

static void not_the_same(struct world *w)
{
	struct pinhole_request r = of_flow(FLOW);

	world_out_new(w, 0, FLOW);
	r.nat_port = be16_of((uint16_t)(w->reply.dport ^ 1));
	ask(w, &r, PINHOLE_MAPPED, 0);
}

static void opened(struct world *w)
{
	one(w);
	turn(w);
	EXPECT(w, pinhole_answer(w->arena, ENGINE, asked.number, &asked.opened) && asked.opened.result == PINHOLE_OK);
}

static void again(struct world *w, enum pinhole_action action, unsigned pinholes)
{
	const struct pinhole_request r = {.action = (uint8_t)action,
		.lifetime_s = LIFETIME_S,
		.index = asked.opened.index,
		.generation = asked.opened.generation};

	ask(w, &r, PINHOLE_OK, pinholes);
}

static void renewed(struct world *w)
{
	opened(w);
	again(w, PINHOLE_RENEW, 1);
}

/* Repeated after a death it may find it gone: as it should be. */
static void closed(struct world *w)
{
	opened(w);
	again(w, PINHOLE_CLOSE, 0);
}

static void is_closed(struct world *w)
{
	struct pinhole_answer a;
	struct check_counts counts;

	turn(w);
	turn(w);
	EXPECT(w, pinhole_answer(w->arena, ENGINE, asked.number, &a));
	EXPECT(w, a.result == PINHOLE_OK || a.result == PINHOLE_GONE);
	world_check(w, &counts);
	EXPECT(w, counts.pinholes == 0);
}

static void over(struct world *w)
{
	opened(w);
	for (unsigned i = 0; i < 4; i++) {
		world_refresh(w);
	}
}

static void over_in_use(struct world *w)
{
	over(w);
	world_out_new(w, 0, FLOW);
}

static void is_over(struct world *w)
{
	struct check_counts counts;

	turn(w);
	world_check(w, &counts);
	EXPECT(w, counts.pinholes == 0);
}

/* ---- who gets in ---- */

static void stranger(struct world *w)
{
	opened(w);
	w->stranger = (struct tuple){
		REMOTES + 77, be32_host(asked.opened.nat), 7777, be16_host(asked.opened.nat_port), L4_UDP};
}

static void gets_in(struct world *w)
{
	EXPECT(w, world_send(w, 0, SIDE_OUTSIDE, &w->stranger, 0) == VERDICT_fwd_in_new);
}

const struct scenario scenarios_pinholes[] = {
	{.name = "pinhole_open", .dies = ENGINE, .prepare = one, .operate = turn, .meanwhile = is_done},
	{.name = "pinhole_joins", .dies = ENGINE, .prepare = one_beside_flow, .operate = turn, .meanwhile = is_done},
	{.name = "pinhole_filter",
		.dies = ENGINE,
		.filtering = ADDRESS_DEPENDENT,
		.prepare = one_beside_flow,
		.operate = turn,
		.meanwhile = is_done},
	{.name = "pinhole_taken", .dies = ENGINE, .prepare = taken, .operate = turn, .meanwhile = is_done},
	{.name = "pinhole_other", .dies = ENGINE, .prepare = not_the_same, .operate = turn, .meanwhile = is_done},
	{.name = "pinhole_renew", .dies = ENGINE, .prepare = renewed, .operate = turn, .meanwhile = is_done},
	{.name = "pinhole_close", .dies = ENGINE, .prepare = closed, .operate = turn, .meanwhile = is_closed},
	{.name = "pinhole_over", .dies = ENGINE, .prepare = over, .operate = turn, .meanwhile = is_over},
	{.name = "pinhole_over_in_use", .dies = ENGINE, .prepare = over_in_use, .operate = turn, .meanwhile = is_over},
	{.name = "pinhole_lets_in", .dies = 0, .prepare = stranger, .operate = gets_in},
	{0},
};
