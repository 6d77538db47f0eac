/* Engines as threads of one process over one arena: what the thread sanitizer needs to see all their sharing.
 *
 * Four engines under random traffic, replies landing anywhere, fragments and ICMP errors among it; meanwhile the configuration and the routes change. Then
 * traffic stops, everything idles out, and the checker judges. */
#include "pe/miniature.h"
#include "shm/check.h"
#include "tests/crash/player.h"

#include <pthread.h>
#include <sched.h>

enum {
	ENGINES = 4,
	TURNS = UNDER_TSAN ? 4000 : 20000, /* of each engine, with traffic */
	RESTART_TURNS = TURNS / 4 + 7,
	TURN_MS = 5, /* virtual: of one turn of any engine */
	IDLE_S = 2,
	BASE_S = 1000,
	NEWS = 8, /* new configurations and routes */
};

struct threads {
	struct config config, told; /* `told`: the last news */
	struct arena *arena;
	struct wire wire;
	_Atomic uint64_t now_ns;
	_Atomic uint32_t running; /* engines that still have traffic */
	_Atomic bool end;
};

struct engine_thread {
	pthread_t thread;
	struct threads *all;
	struct player player;
};

static void *engine_run(void *context)
{
	struct engine_thread *t = context;
	struct threads *all = t->all;

	for (int turn = 0; !atomic_load(&all->end); turn++) {
		if (turn == TURNS)
			atomic_fetch_sub(&all->running, 1);
		t->player.odd = true;
		player_turn(&t->player, (mono_t){atomic_fetch_add(&all->now_ns, span_ms(TURN_MS).ns)});
		if (turn % RESTART_TURNS == RESTART_TURNS - 1) /* its successor, while the others go on */
			player_start(&t->player, all->arena, &all->wire, t->player.nat.engine, (uint64_t)turn,
				(mono_t){atomic_load(&all->now_ns)});
		if (turn % 4 == 0)
			sched_yield();
	}
	return NULL;
}

/* ---- news ---- */

static void wait_acknowledged(const struct threads *all)
{
	const struct nexthop *nh = arena_region(all->arena, ARENA_nexthop);

	for (unsigned e = 0; e < ENGINES; e++) {
		const struct actor *a = actor_of(all->arena, e);

		while (atomic_load(&a->config_ack) != atomic_load(&all->arena->header->config_generation) ||
			atomic_load(&a->routes_ack) != atomic_load(&nh->generation))
			sched_yield();
	}
}

/* Each engine is asked for a pinhole that ends soon, for an endpoint that is in use, or will be. */
static unsigned ask_for_pinholes(struct threads *all, unsigned number)
{
	uint32_t subscriber = (uint32_t)(atomic_load(&all->now_ns) / span_s(1).ns * SLIDE) + ACTIVE;
	unsigned opened = 0;

	for (unsigned e = 0; e < ENGINES; e++) {
		const struct pinhole_request r = {.inside = be32_of(SUBSCRIBERS + (subscriber + e) % SUBSCRIBER_MAX),
			.inside_port = be16_of((uint16_t)(1000 + number % INSIDE_PORTS)),
			.l4 = number % 2 ? L4_TCP : L4_UDP,
			.action = PINHOLE_OPEN,
			.lifetime_s = 1 + number % 3};
		int64_t asked = pinhole_post(all->arena, e, &r);
		struct pinhole_answer a;

		assert_true(asked > 0);
		while (!pinhole_answer(all->arena, e, (uint32_t)asked, &a))
			sched_yield();
		opened += a.result == PINHOLE_OK;
	}
	return opened;
}

/* As mgmtd does it between commits: the same configuration again without what has drained. */
static bool tend_tables(struct threads *all)
{
	snapshot_free_drained(all->arena);
	return snapshot_drain(all->arena, (uint32_t)(atomic_load(&all->now_ns) / span_s(1).ns)) &&
	       miniature_fill(all->arena, &all->told);
}

/* Another idle time, a pool that grows and shrinks, and another order of ports. */
static void tell_news(struct threads *all, unsigned number)
{
	struct config c = all->config;

	if (number && tend_tables(all))
		wait_acknowledged(all);
	c.pools[0].ranges[0].last = c.pools[0].ranges[0].first + number % 3;
	c.nat.udp_timeout_s = IDLE_S + number % 2;
	c.nat.ports = number % 2 ? PORTS_ORDERED : PORTS_SHUFFLED;
	assert_true(miniature_fill(all->arena, &c));
	wait_acknowledged(all);
	all->told = c;
}

/* ---- judging ---- */

static void print_violation(void *context, const struct check_violation *v)
{
	(void)context;
	print_error(
		"%s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text, v->fact[1].text);
}

static void check_exactly(const struct threads *all, struct check_counts *counts)
{
	assert_int_equal(check_arena(all->arena, CHECK_EXACT, print_violation, NULL, counts), 0);
}

static uint64_t sum_of(const struct threads *all, enum counter counter)
{
	uint64_t sum = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		sum += counter_get(&actor_of(all->arena, e)->counters[counter]);
	return sum;
}

static uint64_t verdicts_of(const struct threads *all, enum verdict v)
{
	uint64_t sum = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		sum += counter_get(&actor_of(all->arena, e)->verdicts[v]);
	return sum;
}

/* By the threads' own structs, after they have joined. */
static void drain(struct threads *all, struct engine_thread *thread)
{
	for (int round = 0; round < 40; round++) {
		atomic_fetch_add(&all->now_ns, span_s(3 * IDLE_S).ns);
		for (unsigned e = 0; e < ENGINES; e++) {
			thread[e].player.quiet = true;
			player_turn(&thread[e].player, (mono_t){atomic_load(&all->now_ns)});
		}
	}
}

/* With nothing in use, what is left is a table for each address that there is. */
static void check_tables(struct threads *all, struct engine_thread *thread)
{
	uint32_t tables = 0;

	assert_true(tend_tables(all));
	for (unsigned e = 0; e < ENGINES; e++)
		player_look(&thread[e].player);
	assert_false(tend_tables(all));
	for (uint32_t i = 0; (i = slab_next_live(all->arena, SLAB_port_table, i + 1));)
		tables++;
	assert_int_equal(tables, config_address_count(&all->told));
}

static void run(struct threads *all, struct engine_thread *thread)
{
	unsigned opened = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		assert_int_equal(pthread_create(&thread[e].thread, NULL, engine_run, &thread[e]), 0);
	for (unsigned i = 0; i < NEWS; i++) {
		mono_t until = {atomic_load(&all->now_ns) + TURNS * ENGINES / (NEWS + 1) * span_ms(TURN_MS).ns};

		while (atomic_load(&all->now_ns) < until.ns)
			sched_yield();
		tell_news(all, i);
		opened += ask_for_pinholes(all, i);
	}
	assert_true(opened > 0);
	while (atomic_load(&all->running))
		sched_yield();
	atomic_store(&all->end, true);
	for (unsigned e = 0; e < ENGINES; e++)
		pthread_join(thread[e].thread, NULL);
}

static void test_engines_as_threads(void **state)
{
	struct threads *all = calloc(1, sizeof *all);
	struct engine_thread *thread = calloc(ENGINES, sizeof *thread);
	struct check_counts counts;

	(void)state;
	appliance_config(&(struct appliance){.engines = ENGINES,
				 .sessions = 8192,
				 .subscribers = SUBSCRIBER_MAX,
				 .addresses = 2,
				 .ports = 3000,
				 .idle_s = IDLE_S,
				 .varied = true,
				 .fixed = true},
		&all->config);
	all->arena = miniature_open(&all->config, 1);
	assert_non_null(all->arena);
	atomic_store(&all->now_ns, span_s(BASE_S).ns);
	atomic_store(&all->running, ENGINES);
	for (unsigned e = 0; e < ENGINES; e++) {
		thread[e].all = all;
		player_start(&thread[e].player, all->arena, &all->wire, e, 100 + e, (mono_t){span_s(BASE_S).ns});
	}
	run(all, thread);

	check_exactly(all, &counts);
	assert_true(counts.sessions > 0 && counts.adoptions > 0 && counts.references > 0);
	assert_true(sum_of(all, COUNTER_sessions_ended) > counts.sessions);
	assert_true(counts.inbound > 0 && counts.filters > counts.mappings);
	assert_true(verdicts_of(all, VERDICT_fwd_in_new) > 0 && verdicts_of(all, VERDICT_fwd_out_adopted) > 0);
	assert_true(verdicts_of(all, VERDICT_fwd_hairpin) > 0);
	assert_true(verdicts_of(all, VERDICT_fwd_in_hit) > 0 && verdicts_of(all, VERDICT_fwd_in_adopted) > 0);

	assert_true(verdicts_of(all, VERDICT_fwd_in_error) > 0 && verdicts_of(all, VERDICT_fwd_out_error) > 0);
	assert_true(verdicts_of(all, VERDICT_held_fragment) > 0);

	drain(all, thread);
	check_tables(all, thread);
	check_exactly(all, &counts);
	assert_int_equal(counts.sessions + counts.adoptions + counts.mappings + counts.references, 0);
	assert_int_equal(
		counts.local_entries + counts.global_entries + counts.mapping_entries + counts.filter_entries, 0);
	assert_int_equal(counts.ports[PORTS_TCP] + counts.ports[PORTS_OTHER], 0);
	arena_close(all->arena);
	free(thread);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engines_as_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
