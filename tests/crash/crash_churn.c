/* crash_churn: engines as processes over one arena under random traffic; a random one is killed, again and again.
 *
 * Each kill comes at a random instant, or after a random number of single steps, or (most telling) a random number of
 * instructions after the victim has declared an intent. The others go on: each must come round its loop within a second
 * of processor time while the dead one holds whatever locks it held. Then the victim is started again and the checker
 * looks at the living arena; every so often all stand still and it judges exactly. At the end traffic stops, everything
 * idles out, and nothing may be left.
 *
 * Time is virtual: it passes with the turns that engines take, so that sessions end all the time. */
#include "common/args.h"
#include "common/clock.h"
#include "pe/miniature.h"
#include "shm/check.h"
#include "tests/crash/player.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ENGINES = 4,
	TURN_MS = 5, /* virtual: of one turn of any engine, so that the mix of packets does not depend on the machine */
	IDLE_S = 2,  /* virtual */
	CAPACITY = 16384,    /* sessions the arena is made for */
	BASE_S = 1000,       /* virtual time at the start */
	EXACT_EVERY = 50,    /* kills */
	STUCK_CPU_MS = 1000, /* an engine that does not come round its loop for so long has stopped */
	STUCK_S = 120,       /* or for so long on the clock: this machine may be busy */
	RESTART_US = 3000,   /* at most, a dead engine stays dead */
	STEPS_MAX = 2000,
	STEPS_HUNTED = 150,
	HUNT_TRIES = 40,
	HUNT_WAITS = 400,
	HUNT_US = 200,
};

/* Between the supervisor and its engines, beside the arena. */
struct board {
	struct wire wire;
	_Atomic uint64_t now_ns; /* virtual */
	_Atomic uint32_t stop;   /* number of the pause all shall come to; 0: run */
	_Atomic uint32_t stopped[ENGINES];
	_Atomic uint32_t quiet;
	_Atomic uint64_t turns[ENGINES];
};

struct watched {
	pid_t pid; /* 0: dead */
	uint64_t turns, forwarded;
	uint64_t cpu_ns; /* when turns last moved */
	mono_t moved;
};

struct churn {
	struct config config;
	struct arena *arena;
	struct board *board;
	struct watched engine[ENGINES];
	struct rnd rnd;
	unsigned seed, kills, killed;
	const char *death;
	uint64_t died_at[INTENT_PINHOLE + 1], died_locked, died_in_block;
	uint64_t looks, in_flight;
	uint64_t slowest_ms;
};

static const char *const step_name[] = {
	"none", "build", "mapping", "mapped", "insert", "end", "unmapping", "unmapped", "answered", "adopt", "pinhole"};
_Static_assert(sizeof step_name / sizeof step_name[0] == INTENT_PINHOLE + 1, "engine.h");

static _Noreturn void give_up(struct churn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static _Noreturn void give_up(struct churn *c, const char *format, ...)
{
	va_list args;

	for (unsigned e = 0; e < ENGINES; e++)
		if (c->engine[e].pid)
			kill(c->engine[e].pid, SIGKILL);
	fprintf(stderr, "crash_churn: seed %u, kill %u, %s: ", c->seed, c->killed, c->death ? c->death : "-");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	arena_remove(c->config.arena.name);
	exit(1);
}

/* The time, and one turn of it passes. */
static mono_t virtual_turn(struct board *b)
{
	return (mono_t){atomic_fetch_add(&b->now_ns, span_ms(TURN_MS).ns)};
}

/* ---- an engine ---- */

static void stand_still(struct board *b, unsigned engine)
{
	uint32_t stop;

	while ((stop = atomic_load(&b->stop))) {
		atomic_store(&b->stopped[engine], stop);
		usleep(200);
	}
}

static _Noreturn void engine_run(struct churn *c, unsigned engine, uint64_t seed)
{
	static struct player p;
	struct arena_error err;
	struct arena *a;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	(void)!nice(5); /* the judge comes first */
	a = arena_open(&c->config, &err);
	if (!a || arena_claim(a, engine) != 0)
		_exit(3);
	player_start(&p, a, &c->board->wire, engine, seed, virtual_turn(c->board));
	for (;;) {
		stand_still(c->board, engine);
		p.quiet = atomic_load_explicit(&c->board->quiet, memory_order_relaxed);
		player_turn(&p, virtual_turn(c->board));
		atomic_store(&p.nat.actor->heartbeat_ns, mono_now().ns);
		atomic_fetch_add(&c->board->turns[engine], 1);
		if (rnd_one_in(&p.rnd, 4)) /* four engines, fewer processors */
			sched_yield();
	}
}

static void engine_start(struct churn *c, unsigned engine)
{
	uint64_t seed = rnd_next(&c->rnd);
	pid_t pid = fork();

	if (pid == 0)
		engine_run(c, engine, seed);
	if (pid < 0)
		give_up(c, "fork: %s", strerror(errno));
	c->engine[engine] =
		(struct watched){.pid = pid, .turns = atomic_load(&c->board->turns[engine]), .moved = mono_now()};
}

/* ---- nobody stops ---- */

static uint64_t cpu_ns(pid_t pid)
{
	struct timespec t = {0};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch_one(struct churn *c, unsigned engine)
{
	struct watched *w = &c->engine[engine];
	uint64_t turns = atomic_load(&c->board->turns[engine]), cpu = cpu_ns(w->pid);
	uint64_t cpu_ms = (cpu - w->cpu_ns) / 1000000, ms = mono_since(mono_now(), w->moved).ns / 1000000;
	int status;

	if (waitpid(w->pid, &status, WNOHANG) == w->pid)
		give_up(c, "engine %u ended by itself, status %#x", engine, (unsigned)status);
	if (turns != w->turns) {
		w->turns = turns;
		w->cpu_ns = cpu;
		w->moved = mono_now();
		return;
	}
	if (cpu_ms > c->slowest_ms)
		c->slowest_ms = cpu_ms;
	if (cpu_ms > STUCK_CPU_MS || ms > 1000 * STUCK_S)
		give_up(c, "engine %u has stopped: no turn for %llu ms, %llu ms of them on a processor", engine,
			(unsigned long long)ms, (unsigned long long)cpu_ms);
}

static void watch(struct churn *c)
{
	for (unsigned e = 0; e < ENGINES; e++)
		if (c->engine[e].pid)
			watch_one(c, e);
}

/* Until every living engine has come round its loop once more. */
static void wait_a_turn(struct churn *c)
{
	uint64_t from[ENGINES];

	for (unsigned e = 0; e < ENGINES; e++)
		from[e] = atomic_load(&c->board->turns[e]);
	for (unsigned e = 0; e < ENGINES; e++)
		while (c->engine[e].pid && atomic_load(&c->board->turns[e]) == from[e]) {
			watch(c);
			usleep(100);
		}
}

/* ---- judging ---- */

static void print_violation(void *context, const struct check_violation *v)
{
	(void)context;
	fprintf(stderr, "  %s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text,
		v->fact[1].text);
}

static void all_stop(struct churn *c, uint32_t number)
{
	atomic_store(&c->board->stop, number);
	for (unsigned e = 0; e < ENGINES; e++)
		while (atomic_load(&c->board->stopped[e]) != number) {
			watch(c);
			usleep(100);
		}
}

/* What a live check finds is said once more at rest: of a fault of the checker's nothing is left then. */
static void check(struct churn *c, enum check_mode mode, struct check_counts *counts)
{
	int64_t n = check_arena(c->arena, mode, print_violation, NULL, counts);

	if (n != 0 && mode == CHECK_LIVE) {
		fprintf(stderr, "  the live check finds %lld violations; at rest:\n", (long long)n);
		all_stop(c, ~0u);
		n += check_arena(c->arena, CHECK_EXACT, print_violation, NULL, counts);
	}
	if (n != 0)
		give_up(c, "%lld violations", (long long)n);
	c->looks += counts->looks;
	c->in_flight += counts->in_flight;
}

static void all_go(struct churn *c)
{
	atomic_store(&c->board->stop, 0);
	for (unsigned e = 0; e < ENGINES; e++)
		c->engine[e].moved = mono_now();
}

static void check_exactly(struct churn *c, struct check_counts *counts)
{
	all_stop(c, c->killed + 1);
	check(c, CHECK_EXACT, counts);
	all_go(c);
}

/* ---- killing ---- */

static enum intent_step intent_of(const struct churn *c, unsigned engine)
{
	return (enum intent_step)atomic_load(&actor_of(c->arena, engine)->intent.step);
}

static void wait_stopped(struct churn *c, unsigned engine)
{
	int status;

	if (waitpid(c->engine[engine].pid, &status, 0) != c->engine[engine].pid)
		give_up(c, "waitpid: %s", strerror(errno));
	if (!WIFSTOPPED(status))
		give_up(c, "engine %u ended while it was traced, status %#x", engine, (unsigned)status);
}

static bool changes_block(const struct churn *c, unsigned engine)
{
	return atomic_load(&actor_of(c->arena, engine)->intent.block) != 0;
}

/* Lets the victim run and stops it again, until it stands inside a change of shared structures. */
static void hunt(struct churn *c, unsigned engine)
{
	pid_t pid = c->engine[engine].pid;

	for (int tries = 0; tries < HUNT_TRIES && intent_of(c, engine) == INTENT_NONE && !changes_block(c, engine);
		tries++) {
		uint64_t turns = atomic_load(&c->board->turns[engine]);

		ptrace(PTRACE_CONT, pid, NULL, NULL);
		for (int wait = 0; wait < HUNT_WAITS && atomic_load(&c->board->turns[engine]) == turns; wait++)
			usleep(20); /* it runs when there is a processor for it */
		usleep(rnd_below(&c->rnd, HUNT_US));
		ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
		wait_stopped(c, engine);
	}
}

/* Stops the victim where it is and lets it go on instruction by instruction. */
static void step_to_death(struct churn *c, unsigned engine, bool hunted)
{
	pid_t pid = c->engine[engine].pid;

	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) != 0 ||
		ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
		give_up(c, "cannot trace engine %u: %s", engine, strerror(errno));
	wait_stopped(c, engine);
	if (hunted)
		hunt(c, engine);
	for (uint32_t steps = rnd_below(&c->rnd, hunted ? STEPS_HUNTED : STEPS_MAX); steps > 0; steps--) {
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		wait_stopped(c, engine);
	}
}

static unsigned locks_of(const struct churn *c, unsigned engine)
{
	const struct global_table tables[] = {
		global_sessions(c->arena, engine), global_mappings(c->arena, engine), global_filters(c->arena, engine)};
	unsigned held = 0;

	for (unsigned t = 0; t < sizeof tables / sizeof tables[0]; t++)
		for (uint32_t b = 0; b < tables[t].n; b++)
			held += atomic_load_explicit(&tables[t].bucket[b].lock, memory_order_relaxed) == engine + 1;
	return held;
}

static void note_death(struct churn *c, unsigned engine)
{
	static char text[128];
	const struct intent *in = &actor_of(c->arena, engine)->intent;
	enum intent_step step = intent_of(c, engine);
	unsigned locks = locks_of(c, engine);

	c->died_at[step]++;
	c->died_locked += locks > 0;
	c->died_in_block += changes_block(c, engine);
	snprintf(text, sizeof text, "engine %u died at %s of session %u, mapping %u, port %#llx, block %#llx, %u locks",
		engine, step_name[step], in->session, in->mapping, (unsigned long long)atomic_load(&in->port),
		(unsigned long long)atomic_load(&in->block), locks);
	c->death = text;
}

static void kill_one(struct churn *c)
{
	unsigned engine = rnd_below(&c->rnd, ENGINES), way = rnd_below(&c->rnd, 8);
	int status;

	usleep(rnd_below(&c->rnd, 2000));
	if (way > 0)
		step_to_death(c, engine, way > 1);
	kill(c->engine[engine].pid, SIGKILL);
	if (waitpid(c->engine[engine].pid, &status, 0) != c->engine[engine].pid || !WIFSIGNALED(status))
		give_up(c, "engine %u did not die of it, status %#x", engine, (unsigned)status);
	c->engine[engine].pid = 0;
	c->killed++;
	note_death(c, engine);
	usleep(rnd_below(&c->rnd, RESTART_US));
	if (rnd_one_in(&c->rnd, 2))
		wait_a_turn(c);
	engine_start(c, engine);
	wait_a_turn(c);
}

static void progress(const struct churn *c, const struct check_counts *counts)
{
	if (isatty(STDOUT_FILENO))
		printf("\r  %u of %u kills, %llu sessions, %llu adopted   ", c->killed, c->kills,
			(unsigned long long)counts->sessions, (unsigned long long)counts->adoptions);
	fflush(stdout);
}

/* ---- the end ---- */

static unsigned long long sum_of(const struct churn *c, enum counter counter)
{
	unsigned long long sum = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		sum += counter_get(&actor_of(c->arena, e)->counters[counter]);
	return sum;
}

static unsigned long long verdicts_of(const struct churn *c, enum verdict v)
{
	unsigned long long sum = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		sum += counter_get(&actor_of(c->arena, e)->verdicts[v]);
	return sum;
}

static unsigned long long turns_of(const struct churn *c)
{
	unsigned long long sum = 0;

	for (unsigned e = 0; e < ENGINES; e++)
		sum += atomic_load(&c->board->turns[e]);
	return sum;
}

static void drain(struct churn *c)
{
	struct check_counts counts;

	atomic_store(&c->board->quiet, 1);
	for (int round = 0; round < 12; round++) { /* each longer than anything lives */
		for (int pass = 0; pass < 3; pass++) {
			wait_a_turn(c);
			atomic_fetch_add(&c->board->now_ns, 3 * span_s(IDLE_S).ns);
		}
	}
	wait_a_turn(c);
	check_exactly(c, &counts);
	if (counts.sessions || counts.adoptions || counts.mappings || counts.references || counts.local_entries ||
		counts.global_entries || counts.mapping_entries || counts.filter_entries || counts.ports[PORTS_TCP] ||
		counts.ports[PORTS_OTHER] || counts.blocks || counts.granules)
		give_up(c,
			"%llu sessions, %llu adoptions, %llu mappings, %llu ports, %llu blocks are left after "
			"everything idled "
			"out",
			(unsigned long long)counts.sessions, (unsigned long long)counts.adoptions,
			(unsigned long long)counts.mappings,
			(unsigned long long)(counts.ports[PORTS_TCP] + counts.ports[PORTS_OTHER]),
			(unsigned long long)counts.blocks);
	for (unsigned e = 0; e < ENGINES; e++)
		if (counts.pages[e][SLAB_session] > 1)
			give_up(c, "engine %u keeps %u empty pages", e, counts.pages[e][SLAB_session]);
}

static void all_end(struct churn *c)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		kill(c->engine[e].pid, SIGKILL);
		waitpid(c->engine[e].pid, NULL, 0);
	}
}

static void report(const struct churn *c)
{
	printf("%s  ok    %u kills; died at", isatty(STDOUT_FILENO) ? "\r" : "", c->killed);
	for (unsigned s = 0; s <= INTENT_PINHOLE; s++)
		printf(" %s %llu,", step_name[s], (unsigned long long)c->died_at[s]);
	printf(" holding locks %llu, changing a block %llu\n        %llu turns made %llu sessions on %llu mappings, "
	       "%llu adopted\n"
	       "        %llu sessions began outside, %llu answers adopted, %llu packets turned round\n        "
	       "%llu port blocks made, %llu returned\n        %llu looks of the checker; longest turn %llu ms of "
	       "processor time\n",
		(unsigned long long)c->died_locked, (unsigned long long)c->died_in_block, turns_of(c),
		sum_of(c, COUNTER_sessions_created), sum_of(c, COUNTER_mappings_created),
		sum_of(c, COUNTER_sessions_adopted), verdicts_of(c, VERDICT_fwd_in_new),
		verdicts_of(c, VERDICT_fwd_out_adopted), verdicts_of(c, VERDICT_fwd_hairpin),
		sum_of(c, COUNTER_blocks_made), sum_of(c, COUNTER_blocks_returned), (unsigned long long)c->looks,
		(unsigned long long)c->slowest_ms);
}

/* ---- main ---- */

static char arena_name[ARENA_NAME_SIZE]; /* for the handler */

static void interrupted(int sig)
{
	(void)sig;
	shm_unlink(arena_name);
	_exit(130);
}

static void churn_open(struct churn *c)
{
	struct arena_error err;

	snprintf(arena_name, sizeof arena_name, "/corenat-churn-%d", getpid());
	appliance_config(&(struct appliance){.engines = ENGINES,
				 .sessions = CAPACITY,
				 .addresses = 2,
				 .ports = 6016,
				 .idle_s = IDLE_S,
				 .varied = true,
				 .mixed = true,
				 .fixed = true,
				 .name = arena_name},
		&c->config);
	c->board = mmap(NULL, sizeof *c->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	c->arena = arena_open(&c->config, &err);
	if (!c->arena || c->board == MAP_FAILED)
		give_up(c, "%s", err.text);
	if (!miniature_fill(c->arena, &c->config))
		give_up(c, "no configuration");
	atomic_store(&c->board->now_ns, span_s(BASE_S).ns);
	for (unsigned e = 0; e < ENGINES; e++)
		engine_start(c, e);
}

int main(int argc, char **argv)
{
	static struct churn c = {.kills = 1000};
	struct check_counts counts = {0};
	const struct arg args[] = {
		{"kills", "N", "how many", .number = &c.kills, .min = 1, .max = 1u << 30},
		{"seed", "N", "repeat the order of things, not their instants", .number = &c.seed, .max = ~0u},
		{0},
	};

	c.seed = (unsigned)mono_now().ns;
	int status = args_parse(argc, argv, "crash_churn", "engines killed under traffic", args, NULL);

	if (status != ARGS_RUN)
		return status;
	printf("crash_churn: seed %u\n", c.seed);
	fflush(stdout);
	c.rnd = (struct rnd){c.seed};
	churn_open(&c);
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	wait_a_turn(&c);
	while (c.killed < c.kills) {
		kill_one(&c);
		check(&c, CHECK_LIVE, &counts);
		watch(&c);
		if (c.killed % EXACT_EVERY == 0)
			check_exactly(&c, &counts);
		progress(&c, &counts);
	}
	drain(&c);
	all_end(&c);
	report(&c);
	arena_close(c.arena);
	return arena_remove(c.config.arena.name) != 0;
}
