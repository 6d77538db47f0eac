/* crash_step: every operation on shared structures, killed after each of its instructions.
 *
 * For each scenario the operation runs under the stepper. Whenever an instruction has changed shared memory, the engine
 * is declared dead there: the others go on without it (in half of the cases), its successor takes over, everybody
 * works, the checker judges, everything idles out, and nothing may be left. Instructions that change nothing shared
 * leave the same state and are not judged twice. Then the operation goes on.
 *
 * Recovery can die as well: at some of the states (--deep N: every Nth; 1: all) the successor's start is itself stepped
 * and judged in the same way. */
#include "tests/crash/scenario.h"
#include "tests/crash/stepper.h"

#include "common/args.h"
#include "shm/shared_slab.h"
#include "shm/snapshot_internal.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY = 64, PORTS = 64 };

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

/* ---- judging one death ---- */

static const char *const step_name[] = {
	"none", "build", "mapping", "mapped", "insert", "end", "unmapping", "unmapped", "answered", "adopt", "pinhole"};
_Static_assert(sizeof step_name / sizeof step_name[0] == INTENT_PINHOLE + 1, "engine.h");

static void note_death(struct run *r)
{
	const struct intent *in = &actor_of(r->w->arena, r->scenario->dies)->intent;

	snprintf(r->w->death, sizeof r->w->death, "%s of session %u, mapping %u, port %#llx, block %#llx",
		step_name[atomic_load(&in->step)], in->session, in->mapping, (unsigned long long)atomic_load(&in->port),
		(unsigned long long)atomic_load(&in->block));
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
		struct subscribers v = subscribers_view(r->w->arena, ACTOR_MGMTD);

		shared_repair(r->w->arena, ACTOR_MGMTD);
		subscribers_settle(&v);
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

	if (r->scenario->meanwhile)
		r->scenario->meanwhile(w);
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

/* Private, long, and made anew by whoever comes next: not stepped through. Of a recovery, also what is only read, and what is
 * repeated from the start. */
#define COMPUTES                                                                                                       \
	(const void *)port_view_make, (const void *)snapshot_add_values, (const void *)snapshot_add_rules,             \
		(const void *)snapshot_add_statics, (const void *)snapshot_add_limits,                                 \
		(const void *)snapshot_add_subscribers, (const void *)snapshot_add_deterministic
static const void *const computes[] = {COMPUTES, NULL};

static void step_recovery(struct run *r)
{
	static const void *const over[] = {COMPUTES, (const void *)slab_attach, (const void *)slab_next_live,
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
		.block = s->block,
		.filtering = s->filtering,
		.fixed = s->fixed,
		.single = true,
	};
	struct run r = {.w = world_make(&look, s->name), .scenario = s, .pick = seed, .deep = deep};
	struct stepper stepper = {.operate = operate, .at = at_operation, .context = &r, .over = computes};
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

/* ---- all of them, as many at once as there are processors ---- */

enum { SCENARIOS_MAX = 256, JOBS_MAX = 64 };

static unsigned choose(const char *only, const struct scenario **chosen)
{
	const struct scenario *const lists[] = {scenarios_outbound, scenarios_inbound, scenarios_pages,
		scenarios_pinholes, scenarios_subscribers, scenarios_blocks};
	unsigned n = 0;

	for (unsigned l = 0; l < sizeof lists / sizeof lists[0]; l++)
		for (const struct scenario *s = lists[l]; s->name; s++)
			if ((!only || strcmp(only, s->name) == 0) && n < SCENARIOS_MAX)
				chosen[n++] = s;
	return n;
}

/* In a process of its own, since the stepper's tracer and its child take turns on one processor. */
static pid_t start_worker(
	const struct scenario *const *chosen, unsigned n, _Atomic unsigned *next, uint64_t seed, unsigned deep)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	for (unsigned i; (i = atomic_fetch_add(next, 1)) < n;)
		run_scenario(chosen[i], seed, deep);
	exit(0);
}

static bool ended_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_all(const struct scenario *const *chosen, unsigned n, uint64_t seed, unsigned deep, unsigned jobs)
{
	_Atomic unsigned *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t worker[JOBS_MAX];
	bool good = true;

	if (next == MAP_FAILED)
		return false;
	for (unsigned j = 0; j < jobs; j++)
		worker[j] = start_worker(chosen, n, next, seed, deep);
	for (unsigned j = 0; j < jobs; j++)
		good &= ended_well(worker[j]);
	return good;
}

int main(int argc, char **argv)
{
	unsigned seed = (unsigned)time(NULL), deep = 40, jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	const struct scenario *chosen[SCENARIOS_MAX];
	const char *only = NULL;
	const struct arg args[] = {
		{"seed", "N", "repeat a run", .number = &seed, .max = ~0u},
		{"deep", "N", "step the recovery of every Nth state; 0: of none", .number = &deep, .max = 1u << 20},
		{"only", "NAME", "this scenario alone", .text = &only},
		{"jobs", "N", "scenarios at once; else as many as processors", .number = &jobs, .min = 1,
			.max = JOBS_MAX},
		{0},
	};
	int status = args_parse(argc, argv, "crash_step", "every operation killed after each instruction", args, NULL);

	if (status != ARGS_RUN)
		return status;
	unsigned n = choose(only, chosen);

	if (!n) {
		fprintf(stderr, "crash_step: no scenario is named %s\n", only);
		return 2;
	}
	printf("crash_step: seed %u\n", seed);
	fflush(stdout);
	return run_all(chosen, n, seed, deep, jobs > JOBS_MAX ? JOBS_MAX : jobs) ? 0 : 1;
}
