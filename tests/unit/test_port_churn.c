/* One owner at a time: many engines take and give back ports of one address, as threads and as processes, from half full to
 * full; whoever gets a port notes it in an array, where nobody may have noted it.
 *   test_port_churn [OPERATIONS]   of each of the two (1,000,000) */
#include "shm/shared_slab.h"
#include "tests/unit/port_rig.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	THREADS = 64,
	PROCESSES = 4,
	PORTS = 65536,
	USABLE = PORTS - LOW_PORTS,
	TURN = 1024,         /* operations between turns of housekeeping */
	TURN_MS = 20,        /* virtual */
	WAVE = 8,            /* times what an engine may hold: operations from half full to full and back */
	SUCCESSION = 200000, /* operations of an engine, about, until another begins in its place */
};

static uint64_t operations = UNDER_TSAN ? 100000 : 1000000;

/* What all see. */
struct board {
	_Atomic uint8_t owner[N_PORT_SETS][PORTS]; /* engine + 1 */
	_Atomic uint64_t now_ns;                   /* virtual */
	_Atomic uint64_t twice, not_taken;         /* what must never be */
	_Atomic uint64_t takes, puts, refusals;
};

struct engine {
	struct board *board;
	const struct rig *rig;
	struct port_table *table;
	_Atomic uint64_t *intent;
	unsigned number;
	enum port_set set;
	uint64_t operations;
	struct rnd rnd;
	uint16_t *held;
	uint32_t n_held, room;
	uint64_t takes, puts, refusals;
	pthread_t thread;
	pthread_barrier_t *pace; /* all begin each turn together; NULL: as they come */
};

static struct port_view *view_of(const struct engine *e)
{
	return &e->rig->view[e->number];
}

static mono_t now_of(const struct engine *e)
{
	return (mono_t){atomic_load_explicit(&e->board->now_ns, memory_order_relaxed)};
}

static uint32_t seconds(const struct engine *e)
{
	return (uint32_t)(now_of(e).ns / 1000000000u);
}

static void take(struct engine *e)
{
	struct rig_flow flow;
	struct port_wish w = rig_wish(e->rig, &e->rnd, &flow);

	w.odd = (int8_t)((int)rnd_below(&e->rnd, 3) - 1);
	int port =
		port_view_take(view_of(e), e->table, &e->rig->rules[e->number], NULL, e->set, &w, now_of(e), e->intent);

	if (port < 0) {
		e->refusals++;
		return;
	}
	if (atomic_exchange_explicit(&e->board->owner[e->set][port], (uint8_t)(e->number + 1), memory_order_relaxed))
		e->board->twice++;
	e->held[e->n_held++] = (uint16_t)port;
	e->takes++;
}

/* Now and then without the view, as by an engine that has none of this address. */
static void put(struct engine *e)
{
	uint32_t at = rnd_below(&e->rnd, e->n_held);
	uint16_t port = e->held[at];
	struct port_view *v = rnd_one_in(&e->rnd, 16) ? NULL : view_of(e);

	e->held[at] = e->held[--e->n_held];
	if (atomic_exchange_explicit(&e->board->owner[e->set][port], 0, memory_order_relaxed) != e->number + 1)
		e->board->twice++;
	if (!port_view_put(v, e->table, &e->rig->rules[e->number], e->set, port, rnd_one_in(&e->rnd, 4), seconds(e)))
		e->board->not_taken++;
	e->puts++;
}

/* As many as it wants of its share now: all want more than their share in the middle of a wave. */
static uint32_t wish_now(const struct engine *e, uint64_t at)
{
	uint64_t half = (uint64_t)e->room * WAVE / 2, phase = at % (2 * half),
		 up = phase < half ? phase : 2 * half - phase;

	return (uint32_t)(e->room * 2 / 5 + e->room * up * 3 / 5 / half);
}

/* Where all are in their waves together, however many processors each gets: by the time that they have made pass. */
static uint64_t wave_at(const struct engine *e)
{
	return (now_of(e).ns - e->rig->now.ns) / span_ms(TURN_MS).ns * TURN;
}

static void turn(struct engine *e)
{
	port_view_wake(view_of(e), e->table, &e->rig->rules[e->number], 32, seconds(e));
	atomic_fetch_add_explicit(&e->board->now_ns, span_ms(TURN_MS).ns / e->rig->is.engines, memory_order_relaxed);
}

static void churn(struct engine *e)
{
	for (uint64_t i = 0; i < e->operations; i++) {
		uint32_t wish = wish_now(e, wave_at(e) + i % TURN);

		if (i % TURN == 0) {
			if (e->pace)
				pthread_barrier_wait(e->pace);
			turn(e);
		}
		if (rnd_one_in(&e->rnd, SUCCESSION))
			port_view_make(view_of(e), e->table, RIG_TABLE, &e->rig->rules[e->number], seconds(e));
		if (e->n_held >= wish || (e->n_held >= wish - e->room / 32 && rnd_below(&e->rnd, 2)))
			put(e);
		else
			take(e);
	}
	e->board->takes += e->takes;
	e->board->puts += e->puts;
	e->board->refusals += e->refusals;
}

static void engine_init(struct engine *e, struct board *b, const struct rig *r, struct port_table *t,
	_Atomic uint64_t *intent, unsigned number)
{
	unsigned engines = r->is.engines, per_set = engines / N_PORT_SETS;

	*e = (struct engine){.board = b,
		.rig = r,
		.table = t,
		.intent = intent,
		.number = number,
		.set = (enum port_set)(number % N_PORT_SETS),
		.operations = operations / engines,
		.rnd = {operations + number + 1},
		.room = USABLE / per_set * 5 / 4};
	e->held = malloc(e->room * sizeof *e->held);
	assert_non_null(e->held);
}

static struct rig *open_rig(unsigned engines, struct board **board)
{
	*board = mmap(NULL, sizeof **board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(*board != MAP_FAILED);
	struct rig *r = rig_open(&(struct rig_setup){.engines = engines,
		.table_len = 128,
		.first = LOW_PORTS,
		.last = PORTS - 1,
		.own_share = 50,
		.hold_s = 1,
		.hold_percent = 5});

	(*board)->now_ns = r->now.ns;
	return r;
}

/* The table says of every port what the array says, and afterwards, with all of them given back, that none is taken. */
static void judge(const struct rig *r, struct board *b, struct port_table *t)
{
	const struct port_order *o = &r->rules[0].order;
	uint64_t held = 0;

	assert_int_equal(b->twice, 0);
	assert_int_equal(b->not_taken, 0);
	for (unsigned set = 0; set < N_PORT_SETS; set++)
		for (uint32_t port = 0; port < PORTS; port++) {
			bool owned = b->owner[set][port] != 0;

			held += owned;
			assert_int_equal(ports_is_taken(t, o, set, (uint16_t)port), owned);
		}
	assert_int_equal(b->takes - b->puts, held);
	for (unsigned set = 0; set < N_PORT_SETS; set++) {
		for (uint32_t port = 0; port < PORTS; port++)
			if (b->owner[set][port])
				assert_true(ports_put(t, o, set, (uint16_t)port));
		assert_int_equal(ports_used(t, set, 0).taken, 0);
	}
	assert_true(b->refusals > 0 || operations < 500000);
	print_message("%u engines: %llu taken, %llu given back, %llu refused; %llu of %u held at the end\n",
		r->is.engines, (unsigned long long)b->takes, (unsigned long long)b->puts,
		(unsigned long long)b->refusals, (unsigned long long)held, N_PORT_SETS * USABLE);
}

/* ---- threads ---- */

static void *thread_run(void *context)
{
	churn(context);
	return NULL;
}

/* Each has little to do: one after the other they would not all want more than their share at a time. */
static void test_threads(void **state)
{
	static struct engine e[THREADS];
	static _Atomic uint64_t intent[THREADS];
	pthread_barrier_t pace;
	struct board *b;
	struct rig *r = open_rig(THREADS, &b);

	pthread_barrier_init(&pace, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		engine_init(&e[i], b, r, r->table, &intent[i], i);
		e[i].pace = &pace;
		assert_int_equal(pthread_create(&e[i].thread, NULL, thread_run, &e[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(e[i].thread, NULL);
		free(e[i].held);
	}
	pthread_barrier_destroy(&pace);
	judge(r, b, r->table);
	munmap(b, sizeof *b);
	rig_close(r);
}

/* ---- processes ---- */

static void build_like(void *object, void *context)
{
	const struct port_table *like = context;
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->basis = like->basis;
	memset((void *)t->unheld, 0xff, sizeof t->unheld);
}

static _Noreturn void process_run(
	struct board *b, const struct rig *r, struct arena *a, uint32_t table, unsigned number)
{
	struct engine e;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	engine_init(&e, b, r, port_table_at(a, table), &actor_of(a, number)->intent.port, number);
	churn(&e);
	_exit(0);
}

static void test_processes(void **state)
{
	struct board *b;
	struct rig *r = open_rig(PROCESSES, &b);
	struct arena *a = tiny_arena(&(struct arena_geometry){.engines = PROCESSES,
		.sessions = 1,
		.pages = 2,
		.local_buckets = 1,
		.global_buckets = 1,
		.mapping_buckets = 1,
		.subscribers = 1,
		.subscriber_buckets = 1,
		.part_buckets = 1});
	uint32_t table = shared_make(a, 0, SLAB_port_table, build_like, r->table);
	pid_t pid[PROCESSES];

	assert_true(table != 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			process_run(b, r, a, table, i);
		assert_true(pid[i] > 0);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	judge(r, b, port_table_at(a, table));
	arena_close(a);
	munmap(b, sizeof *b);
	rig_close(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_processes),
	};

	if (argc > 1)
		operations = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
