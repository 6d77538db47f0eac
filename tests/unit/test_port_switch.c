/* Engines as threads that take and give back a few ports while their order changes as fast as all can follow, and what has
 * drained is freed: nobody is given what another has, whichever table it is from.
 *   test_port_switch [CHANGES]   (1,000) */
#include "pe/miniature.h"
#include "shm/port_view.h"
#include "tests/crash/traffic.h"
#include "tests/unit/port_tools.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { ENGINES = 4, FIRST_PORT = 2000, PORTS = 24, STEPS = 64, BUSY_CHANGES = 5 };

static unsigned changes = UNDER_TSAN ? 60 : 1000;

struct world {
	struct config config;
	struct arena *arena;
	_Atomic uint8_t owner[PORTS];
	_Atomic uint64_t twice, lost, takes, put_back;
	_Atomic bool quiet, end; /* quiet: everything is given back, so that tables drain */
};

struct engine {
	pthread_t thread;
	struct world *w;
	unsigned number;
	struct snapshot config;
	struct port_order order[N_PORT_ORDERS];
	bool has[PORTS];
	struct rnd rnd;
};

static const struct snapshot_address *address_of(const struct engine *e)
{
	return &e->config.addresses[0];
}

static const struct port_order *order_of(const struct engine *e, uint32_t table)
{
	return &e->order[!port_basis_equal(&port_table_at(e->w->arena, table)->basis, &e->config.basis[0])];
}

static bool is_taken(const struct engine *e, uint32_t table, uint16_t port)
{
	return ports_is_taken(port_table_at(e->w->arena, table), order_of(e, table), PORTS_TCP, port);
}

/* As live.c does it. */
static void look(struct engine *e)
{
	struct world *w = e->w;

	if (!snapshot_news(w->arena, e->config.generation) || !snapshot_read(w->arena, &e->config))
		return;
	for (unsigned o = 0; o < N_PORT_ORDERS; o++)
		assert_true(port_order_of(&e->order[o], &e->config.basis[o]));
	atomic_store_explicit(&actor_of(w->arena, e->number)->config_ack, e->config.generation, memory_order_release);
}

/* As nat_take_port() does it. */
static void take(struct engine *e, unsigned i)
{
	struct world *w = e->w;
	const struct snapshot_address *a = address_of(e);
	uint16_t port = (uint16_t)(FIRST_PORT + i);
	_Atomic uint64_t *intent = &actor_of(w->arena, e->number)->intent.port;

	for (unsigned k = 0; k < SNAPSHOT_OLDER_MAX && a->older[k]; k++)
		if (is_taken(e, a->older[k], port))
			return;
	if (!ports_take_one(port_table_at(w->arena, a->ports), a->ports, order_of(e, a->ports), PORTS_TCP, port, false,
		    0, intent))
		return;
	if (snapshot_port_stays(w->arena, e->config.generation, a->address, a->ports)) {
		w->twice += atomic_exchange(&w->owner[i], (uint8_t)(e->number + 1)) != 0;
		w->takes++;
		e->has[i] = true;
	} else {
		ports_put(port_table_at(w->arena, a->ports), order_of(e, a->ports), PORTS_TCP, port);
		w->put_back++;
	}
	atomic_store_explicit(intent, 0, memory_order_release);
}

/* As nat_free_port() does it: from the table it is taken in, among those that are named. */
static void put(struct engine *e, unsigned i)
{
	const struct snapshot_address *a = address_of(e);
	uint16_t port = (uint16_t)(FIRST_PORT + i);
	uint32_t table = is_taken(e, a->ports, port) ? a->ports : 0;

	for (unsigned k = 0; !table && k < SNAPSHOT_OLDER_MAX && a->older[k]; k++)
		table = is_taken(e, a->older[k], port) ? a->older[k] : 0;
	e->w->twice += atomic_exchange(&e->w->owner[i], 0) != e->number + 1;
	e->has[i] = false;
	if (!table || !ports_put(port_table_at(e->w->arena, table), order_of(e, table), PORTS_TCP, port))
		e->w->lost++;
}

static void *engine_run(void *context)
{
	struct engine *e = context;

	while (!atomic_load(&e->w->end)) {
		look(e);
		for (unsigned step = 0; step < STEPS; step++) {
			unsigned i = rnd_below(&e->rnd, PORTS);

			if (e->has[i])
				put(e, i);
			else if (!atomic_load_explicit(&e->w->quiet, memory_order_relaxed))
				take(e, i);
		}
		if (rnd_one_in(&e->rnd, 4))
			sched_yield();
	}
	look(e);
	for (unsigned i = 0; i < PORTS; i++)
		if (e->has[i])
			put(e, i);
	return NULL;
}

/* A private arena has no claims to look at. */
static void wait_settled(const struct world *w)
{
	for (unsigned e = 0; e < ENGINES; e++)
		while (atomic_load(&actor_of(w->arena, e)->config_ack) !=
			atomic_load(&w->arena->header->config_generation))
			sched_yield();
}

static uint32_t tables_in(const struct world *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; (i = slab_next_live(w->arena, SLAB_port_table, i + 1));)
		n++;
	return n;
}

/* As mgmtd does it: in the end one table is left. */
static unsigned tend(struct world *w)
{
	unsigned freed = snapshot_free_drained(w->arena);

	if (snapshot_drain(w->arena, 0)) {
		assert_true(miniature_fill(w->arena, &w->config));
		wait_settled(w);
		freed += snapshot_free_drained(w->arena);
	}
	return freed;
}

static unsigned switch_orders(struct world *w)
{
	unsigned freed = 0;

	for (unsigned i = 1; i <= changes; i++) {
		atomic_store(&w->quiet, i % BUSY_CHANGES == 0);
		w->config.nat.ports = i % 2 ? PORTS_ORDERED : PORTS_SHUFFLED;
		assert_true(miniature_fill(w->arena, &w->config));
		wait_settled(w);
		while (atomic_load(&w->quiet) && tables_in(w) > 1) {
			freed += tend(w);
			sched_yield();
		}
	}
	return freed;
}

static void test_orders_change_under_engines(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct engine *e = calloc(ENGINES, sizeof *e);

	(void)state;
	appliance_config(
		&(struct appliance){
			.engines = ENGINES, .sessions = 1024, .subscribers = 16, .addresses = 1, .ports = 64},
		&w->config);
	w->arena = miniature_open(&w->config, 1);
	assert_non_null(w->arena);
	for (unsigned i = 0; i < ENGINES; i++) {
		e[i].w = w;
		e[i].number = i;
		e[i].rnd = (struct rnd){i + 1};
		assert_int_equal(pthread_create(&e[i].thread, NULL, engine_run, &e[i]), 0);
	}
	unsigned freed = switch_orders(w);

	atomic_store(&w->end, true);
	for (unsigned i = 0; i < ENGINES; i++)
		pthread_join(e[i].thread, NULL);
	assert_int_equal(w->twice, 0);
	assert_int_equal(w->lost, 0);
	for (uint32_t i = 0; (i = slab_next_live(w->arena, SLAB_port_table, i + 1));)
		assert_int_equal(port_hand_used(port_table_at(w->arena, i)), 0);
	assert_int_equal(freed, changes / BUSY_CHANGES);
	assert_true(w->takes > changes);
	print_message("%u changes of order: %llu taken, %llu put back at once, %u tables freed\n", changes,
		(unsigned long long)w->takes, (unsigned long long)w->put_back, freed);
	arena_close(w->arena);
	free(e);
	free(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_orders_change_under_engines)};

	if (argc > 1)
		changes = (unsigned)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
