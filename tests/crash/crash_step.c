/* crash_step: every operation on shared structures, killed after each of its instructions.
 *
 * For each scenario the operation runs under the stepper. Whenever an instruction has changed shared memory, the engine
 * is declared dead there: the others go on without it (in half of the cases), its successor takes over, everybody
 * works, the checker judges, everything idles out, and nothing may be left. Instructions that change nothing shared
 * leave the same state and are not judged twice. Then the operation goes on.
 *
 * Recovery can die as well: at some of the states (--deep N: every Nth; 1: all) the successor's start is itself stepped
 * and judged in the same way. */
#include "tests/crash/stepper.h"
#include "tests/crash/world.h"

#include "common/args.h"
#include "shm/shared_slab.h"

#include <time.h>

enum { MOVING = 3, CAPACITY = 64, PORTS = 64, ADDRESSES = 2, SPARE_FLOW = 900 };

struct scenario {
	const char *name;
	unsigned dies;     /* the engine, or ACTOR_MGMTD */
	uint32_t sessions; /* tables are made for; 0: CAPACITY */
	uint16_t ports;    /* 0: PORTS */
	uint32_t stride;   /* judge one change in so many: for what touches whole pages; 0: each one */
	void (*prepare)(struct world *w);
	void (*operate)(struct world *w);
};

struct run {
	struct world *w;
	const struct scenario *scenario;
	uint8_t *before;    /* the state of the last instruction that changed something */
	uint8_t *recovery;  /* the same, of a recovery that is stepped */
	uint64_t pick;      /* random phase of strides */
	unsigned deep;      /* step the recovery of every so many states; 0: of none */
	unsigned long seen; /* changes of state */
	unsigned long states, recoveries;
};

/* ---- scenarios: what is there, and what is done ---- */

/* From here on in seconds after the bystanders were made: idle time is 300 for UDP. */
enum { BEFORE_IDLE = 200, UNTIL_IDLE = 110 };

static void refresh(struct world *w)
{
	world_pass(w, BEFORE_IDLE);
	world_ask_bystanders(w, ~0u);
}

static void out_new(struct world *w, unsigned engine, unsigned number)
{
	EXPECT(w, world_out(w, engine, number) == VERDICT_fwd_out_new);
}

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
	out_new(w, 0, 0);
}

static void away_0(struct world *w)
{
	out_new(w, 1, 0);
}

static void adopted_0(struct world *w)
{
	out_new(w, 1, 0);
	adopt(w, 0);
}

static void home_0_idle(struct world *w)
{
	home_0(w);
	refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void away_0_idle(struct world *w)
{
	away_0(w);
	refresh(w);
	world_pass(w, UNTIL_IDLE);
}

static void adopted_0_idle(struct world *w)
{
	adopted_0(w);
	refresh(w);
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
	out_new(w, 1, 1000);
	refresh(w);
	world_out(w, 1, 1000);
	world_pass(w, UNTIL_IDLE);
}

static void user_idle(struct world *w)
{
	home_0(w);
	out_new(w, 1, 1000);
	refresh(w);
	world_out(w, 0, 0);
	world_pass(w, UNTIL_IDLE);
}

static void carrier_and_user_ended(struct world *w)
{
	home_0(w);
	out_new(w, 1, 1000);
	refresh(w);
	world_pass(w, UNTIL_IDLE);
	world_housekeep(w, 0);
	world_housekeep(w, 1);
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

static void in_0(struct world *w)
{
	world_send(w, 0, SIDE_OUTSIDE, &w->reply, 0);
}

static void turn_0(struct world *w)
{
	world_housekeep(w, 0);
}

static void turn_1(struct world *w)
{
	world_housekeep(w, 1);
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
	out_new(w, 2, 0);
	refresh(w);
	world_pass(w, UNTIL_IDLE);
	turn_2(w);
	EXPECT(w, slab_2(w)->pages == 1 && slab_2(w)->used == 0);
}

static void leave(struct world *w)
{
	slab_give_back(w->arena, slab_2(w));
}

/* A session alone on engine 2's second page: its end empties that page, which then goes back. */
static void last_of_its_page(struct world *w)
{
	uint32_t per = slab_per_page(SLAB_session), taken = slab_take(w->arena, slab_2(w), 2, SLAB_session);

	for (uint32_t i = 1; i < per; i++)
		slab_take(w->arena, slab_2(w), 2, SLAB_session);
	out_new(w, 2, 0);
	EXPECT(w, slab_2(w)->pages == 2);
	slab_put(w->arena, slab_2(w), SLAB_session, taken);
	refresh(w);
	world_pass(w, UNTIL_IDLE);
}

/* ---- port tables ---- */

static void compile(struct world *w, uint32_t addresses)
{
	struct config c = w->config;
	struct snapshot *s = calloc(1, sizeof *s);
	struct config_error err = {"no memory"};

	c.pools[0].ranges[0].last = c.pools[0].ranges[0].first + addresses - 1;
	if (!s || !snapshot_compile(w->arena, &c, s, &err))
		world_fail(w, "%s", err.text);
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

static const struct scenario scenarios[] = {
	{.name = "create_home", .dies = 0, .prepare = nothing, .operate = out_0},
	{.name = "create_away", .dies = 1, .prepare = nothing, .operate = out_1},
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
	{.name = "end_home", .dies = 0, .prepare = home_0_idle, .operate = turn_0},
	{.name = "end_by_packet", .dies = 0, .prepare = home_0_idle, .operate = out_0},
	{.name = "end_away", .dies = 1, .prepare = away_0_idle, .operate = turn_1},
	{.name = "end_away_adopted", .dies = 1, .prepare = adopted_0_idle, .operate = turn_1},
	{.name = "let_go", .dies = 0, .prepare = adopted_0_dying, .operate = turn_0},
	{.name = "let_go_by_packet", .dies = 0, .prepare = adopted_0_dying, .operate = in_0},
	{.name = "pending_let_go", .dies = 1, .prepare = adopted_0_let_go, .operate = turn_1},
	{.name = "end_carrier_in_use", .dies = 0, .prepare = carrier_idle, .operate = turn_0},
	{.name = "end_user_of_another's", .dies = 1, .prepare = user_idle, .operate = turn_1},
	{.name = "pending_carrier_unused", .dies = 0, .prepare = carrier_and_user_ended, .operate = turn_0},
	{.name = "page_take", .dies = 2, .stride = 997, .prepare = nothing, .operate = out_2},
	{.name = "page_give_back", .dies = 2, .prepare = last_of_its_page, .operate = turn_2},
	{.name = "page_leave", .dies = 2, .prepare = one_page_empty, .operate = leave},
	{.name = "port_tables_make", .dies = ACTOR_MGMTD, .prepare = nothing, .operate = two_more_addresses},
	{.name = "port_table_drop", .dies = ACTOR_MGMTD, .prepare = two_more_addresses, .operate = drop_a_table},
};

/* ---- judging one death ---- */

static const char *const step_name[] = {
	"none", "build", "mapping", "mapped", "insert", "end", "unmapping", "unmapped", "answered", "adopt"};
_Static_assert(sizeof step_name / sizeof step_name[0] == INTENT_ADOPT + 1, "engine.h");

static void note_death(struct run *r)
{
	const struct intent *in = &actor_of(r->w->arena, r->scenario->dies)->intent;

	snprintf(r->w->death, sizeof r->w->death, "%s of session %u, mapping %u, port %#llx",
		step_name[atomic_load(&in->step)], in->session, in->mapping,
		(unsigned long long)atomic_load(&in->port));
}

/* The others do not stop: their flows go on, and a new one is made or refused for a reason there is. */
static void go_on_without(struct run *r)
{
	struct world *w = r->w;

	world_ask_bystanders(w, ~(1u << r->scenario->dies));
	for (unsigned e = 0; e < ENGINES; e++) {
		if (e == r->scenario->dies)
			continue;
		world_out(w, e, 2000 + e * 1000);
		world_housekeep(w, e);
	}
}

static void recover(void *context)
{
	struct run *r = context;

	if (r->scenario->dies < ENGINES)
		world_start(r->w, r->scenario->dies);
	else {
		shared_repair(r->w->arena, ACTOR_MGMTD);
		r->scenario->operate(r->w);
	}
}

/* The same flows again, by everybody, and a few of their own. In half of the cases the sweep comes round first. */
static void everybody_works(struct world *w, bool sweep)
{
	if (sweep)
		world_pass(w, 3);
	for (unsigned e = 0; sweep && e < ENGINES; e++)
		world_housekeep(w, e);
	world_ask_bystanders(w, ~0u);
	for (unsigned e = 0; e < ENGINES; e++) {
		enum verdict v = world_out(w, e, 30 + e);

		EXPECT(w, v == VERDICT_fwd_out_new || v == VERDICT_fwd_out_hit || v == VERDICT_drop_table_full ||
				  v == VERDICT_drop_no_port);
	}
	for (int turn = 0; turn < 3; turn++)
		for (unsigned e = 0; e < ENGINES; e++)
			world_housekeep(w, e);
}

/* The dead one has been succeeded. */
static void judge(struct run *r)
{
	struct world *w = r->w;
	struct check_counts counts;

	everybody_works(w, (r->states + r->recoveries + r->pick) / 2 % 2);
	world_check(w, &counts);
	if (r->scenario->dies == ACTOR_MGMTD) /* once more changes nothing */
		r->scenario->operate(w);
	world_drain(w);
}

/* ---- stepping ---- */

static bool is_new(struct run *r, uint8_t *last)
{
	if (!world_changed(r->w, last))
		return false;
	world_save(r->w, last);
	return true;
}

static void at_recovery(void *context, long instruction)
{
	struct run *r = context;

	if (instruction != 0 && !is_new(r, r->recovery))
		return;
	r->w->inner = instruction;
	if ((r->recoveries++ + r->pick) % 2)
		go_on_without(r);
	recover(r);
	judge(r);
	world_restore(r->w, r->recovery);
}

static void step_recovery(struct run *r)
{
	/* Private to the successor, long, and repeated from the start by whoever comes next; read-only. */
	static const void *const over[] = {(const void *)slab_attach, (const void *)slab_next_live,
		(const void *)nat_configure, (const void *)nat_load_routes, NULL};
	const struct stepper s = {.operate = recover, .at = at_recovery, .context = r, .over = over};

	world_save(r->w, r->recovery);
	EXPECT(r->w, stepper_run(&s) >= 0);
}

static void at_operation(void *context, long instruction)
{
	struct run *r = context;
	uint32_t stride = r->scenario->stride ? r->scenario->stride : 1;

	if (instruction != 0 && !is_new(r, r->before))
		return;
	if (r->seen++ % stride != (stride == 1 ? 0 : r->pick % stride) && r->seen > 400)
		return;
	r->w->instruction = instruction;
	note_death(r);
	if (r->deep && (r->states + r->pick) % r->deep == 0 && !r->scenario->stride)
		step_recovery(r);
	if ((r->states++ + r->pick) % 2)
		go_on_without(r);
	recover(r);
	judge(r);
	world_restore(r->w, r->before);
}

static void operate(void *context)
{
	struct run *r = context;

	r->scenario->operate(r->w);
}

static void run_scenario(const struct scenario *s, uint64_t seed, unsigned deep)
{
	const struct appliance look = {
		.engines = ENGINES,
		.sessions = s->sessions ? s->sessions : CAPACITY,
		.addresses = ADDRESSES,
		.ports = s->ports ? s->ports : PORTS,
		.single = true,
	};
	struct run r = {.w = world_make(&look, s->name), .scenario = s, .pick = seed, .deep = deep};
	struct stepper stepper = {.operate = operate, .at = at_operation, .context = &r};
	size_t bytes = world_bytes(r.w);

	world_make_bystanders(r.w);
	s->prepare(r.w);
	r.before = malloc(bytes);
	r.recovery = malloc(bytes);
	EXPECT(r.w, r.before && r.recovery);
	world_save(r.w, r.before);
	long instructions = stepper_run(&stepper);

	EXPECT(r.w, instructions >= 0);
	recover(&r); /* dead right after it */
	judge(&r);
	printf("  ok    %-30s %6ld instructions, %4lu states, %5lu of recoveries\n", s->name, instructions, r.states,
		r.recoveries);
	fflush(stdout);
	free(r.before);
	free(r.recovery);
	world_close(r.w);
}

/* ---- main ---- */

int main(int argc, char **argv)
{
	unsigned seed = (unsigned)time(NULL), deep = 40;
	const char *only = NULL;
	const struct arg args[] = {
		{"seed", "N", "repeat a run", .number = &seed, .max = ~0u},
		{"deep", "N", "step the recovery of every Nth state; 0: of none", .number = &deep, .max = 1u << 20},
		{"only", "NAME", "this scenario alone", .text = &only},
		{0},
	};
	int status = args_parse(argc, argv, "crash_step", "every operation killed after each instruction", args, NULL);

	if (status != ARGS_RUN)
		return status;
	printf("crash_step: seed %u\n", seed);
	for (unsigned i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
		if (!only || strcmp(only, scenarios[i].name) == 0)
			run_scenario(&scenarios[i], seed, deep);
	return 0;
}
