/* What the engine's core costs per packet, without any network: the real core over a private arena, fed from memory
 * (workload.h). A figure is the median over runs of the median over blocks.
 *
 * Prints a line for the meter and one for each measure; tests/bench/run makes rows of them. */
#include "common/args.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/bench/churn.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

enum { RUNS_MAX = 99, PORTS_PLANNED = 32768 /* in use of a NAT address */, AGING_TURNS = 20000 };

struct bench {
	struct workload w;
	struct config config;
	struct arena *arena;
	unsigned sessions, runs, blocks;
	unsigned addresses, statics; /* 0 addresses: as few as will do */
	const char *nat;             /* more of the document's object "nat" */
	mono_t from;                 /* when the measure in hand began */
};

#define OUT VERDICT_fwd_out_hit, VERDICT_fwd_out_hit
#define IN VERDICT_fwd_in_hit, VERDICT_fwd_in_hit
static const struct measure measures[] = {
	{"hit", make_outbound, through_core, BURST_USUAL, OUT},
	{"hit_burst_1", make_outbound, through_core, 1, OUT},
	{"hit_burst_2", make_outbound, through_core, 2, OUT},
	{"hit_burst_4", make_outbound, through_core, 4, OUT},
	{"hit_burst_8", make_outbound, through_core, 8, OUT},
	{"hit_burst_16", make_outbound, through_core, 16, OUT},
	{"hit_burst_64", make_outbound, through_core, 64, OUT},
	{"hit_with_loop", make_outbound, through_loop, BURST_USUAL, OUT},
	{"inbound", make_inbound, through_core, BURST_USUAL, IN},
	{"unknown", make_unknown, through_core, BURST_USUAL, VERDICT_drop_no_session, VERDICT_drop_no_session},
	{"half_unknown", make_half_unknown, through_core, BURST_USUAL, VERDICT_fwd_in_hit, VERDICT_drop_no_session},
};

/* On the clock that a profiler stamps its samples with. */
static double seconds(mono_t t)
{
	return (double)t.ns / 1e9;
}

enum { N_MEASURES = sizeof measures / sizeof measures[0] };

static void print(
	const struct bench *b, const char *name, double *cycles, unsigned runs, double instructions, const char *more)
{
	double middle = median(cycles, runs); /* and sorts them */

	printf("%s sessions=%u cycles=%.1f least=%.1f most=%.1f instructions=%.1f runs=%u from=%.6f to=%.6f%s\n", name,
		b->sessions, middle, cycles[0], cycles[runs - 1], instructions, runs, seconds(b->from),
		seconds(mono_now()), more);
	fflush(stdout);
}

/* All that are listed, run by run: what disturbs the machine for a while disturbs one run of each. */
static bool run_measures(struct bench *b, const char *list)
{
	static double cycles[N_MEASURES][RUNS_MAX];
	double instructions[N_MEASURES] = {0};

	b->from = mono_now();
	for (unsigned run = 0; run < b->runs; run++)
		for (unsigned i = 0; i < N_MEASURES; i++)
			if (is_listed(list, measures[i].name) &&
				!workload_run(&b->w, &measures[i], b->blocks, &cycles[i][run], &instructions[i]))
				return false;
	for (unsigned i = 0; i < N_MEASURES; i++)
		if (is_listed(list, measures[i].name))
			print(b, measures[i].name, cycles[i], b->runs,
				instructions[i] / ((double)b->runs * b->blocks * BLOCK), "");
	return true;
}

/* ---- creating ---- */

/* Every session once more, as often as there are runs; with a reply to each, both are counted. What is told is what the last
 * fifth took, whose tables are as full as they are planned. */
static bool run_create(struct bench *b, bool replies)
{
	double cycles[N_FILLED][RUNS_MAX], reply[RUNS_MAX];
	struct filling f = {0};
	char more[160];

	b->from = mono_now();
	for (unsigned run = 0; run < b->runs; run++) {
		workload_expire(&b->w);
		workload_rest(&b->w);
		meter_calibrate(&b->w.meter);
		if (!workload_fill(&b->w, replies, &f))
			return false;
		for (int i = 0; i < N_FILLED; i++)
			cycles[i][run] = f.create[i] + f.reply[i];
		reply[run] = f.reply[AT_LOAD];
	}
	snprintf(more, sizeof more, " refused=%u reply=%.1f while_filling=%.1f nearly_empty=%.1f core_ghz=%.3f",
		f.refused, median(reply, b->runs), median(cycles[THROUGHOUT], b->runs),
		median(cycles[NEARLY_EMPTY], b->runs), b->w.meter.core_ghz);
	print(b, replies ? "create_reply" : "create", cycles[AT_LOAD], b->runs, 0, more);
	return true;
}

/* Of the last fifth so many blocks under callgrind, which counts what creating executes. */
static bool count_create(struct bench *b)
{
	unsigned all = b->w.n / BLOCK, from = all - (b->blocks < all / 5 ? b->blocks : all / 5);

	workload_expire(&b->w);
	workload_rest(&b->w);
	for (unsigned i = 0; i < from; i++)
		create_block(&b->w, i);
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	for (unsigned i = from; i < all; i++)
		if (create_block(&b->w, i))
			return false;
	return true;
}

/* ---- ending, coming and going ---- */

static bool end_once(struct bench *b, struct churn *c)
{
	struct filling f;

	if (b->w.engine->nat.actor->slab[SLAB_session].used == 0) {
		workload_rest(&b->w);
		meter_calibrate(&b->w.meter);
		if (!workload_fill(&b->w, false, &f))
			return false;
	}
	return churn_end(&b->w, UINT32_MAX, c);
}

/* All sessions end, and are made again for the next run. */
static bool run_end(struct bench *b)
{
	double cycles[RUNS_MAX], middle[RUNS_MAX];
	struct churn c = {0};
	char more[80];

	b->from = mono_now();
	for (unsigned run = 0; run < b->runs; run++) {
		if (!end_once(b, &c))
			return false;
		cycles[run] = c.cycles;
		middle[run] = c.middle;
	}
	snprintf(more, sizeof more, " middle=%.1f ended=%u", median(middle, b->runs), c.ended);
	print(b, "end", cycles, b->runs, 0, more);
	return true;
}

static bool run_churn(struct bench *b)
{
	double cycles[RUNS_MAX], reply[RUNS_MAX];
	struct churn c = {0};
	char more[120];

	b->from = mono_now();
	for (unsigned run = 0; run < b->runs; run++) {
		if (!churn_run(&b->w, run == 0, &c))
			return false;
		cycles[run] = c.cycles;
		reply[run] = c.reply;
	}
	snprintf(more, sizeof more, " middle=%.1f reply=%.1f made=%u ended=%u", c.middle, median(reply, b->runs),
		c.made, c.ended);
	print(b, "churn", cycles, b->runs, 0, more);
	return true;
}

/* As count_create. */
static bool count_end(struct bench *b)
{
	struct churn c;

	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	if (!churn_end(&b->w, b->sessions / 4, &c))
		return false;
	printf("count_end ended=%u\n", c.ended);
	return true;
}

/* ---- aging ---- */

static double read_clock(unsigned times)
{
	double began = meter_cpu_us();

	for (unsigned i = 0; i < times; i++)
		meter_cpu_us();
	return meter_cpu_us() - began;
}

/* What the machine itself (timer ticks, the hypervisor) adds to the longest of 99 in 100 stretches that take so long and
 * touch no memory. */
static double machine_adds(double middle_us, double us[], unsigned turns)
{
	enum { READINGS = 10000 };
	unsigned times = (unsigned)(middle_us * READINGS / read_clock(READINGS));

	for (unsigned i = 0; i < turns; i++)
		us[i] = read_clock(times);
	double middle = median(us, turns);

	return us[turns * 99 / 100] - middle;
}

/* A turn each millisecond, as the engine's loop has them; `name` says what the sessions are doing meanwhile. In the processor's
 * time of this thread: the longest turn is to be the engine's and not the machine's. */
static void run_aging(struct bench *b, const char *name, unsigned turns)
{
	struct nat *n = &b->w.engine->nat;
	double *us = calloc(turns, sizeof *us), total = 0;
	uint32_t before = n->actor->slab[SLAB_session].used;
	uint64_t passes = counter_get(&n->actor->counters[COUNTER_sweeps]);

	if (!us)
		return;
	for (unsigned i = 0; i < turns; i++) {
		double began = meter_cpu_us();

		b->w.now.ns += 1000000;
		nat_housekeep(n, b->w.now);
		us[i] = meter_cpu_us() - began;
		total += us[i];
	}
	double middle = median(us, turns); /* and sorts them */
	printf("%s sessions=%u turns=%u middle=%.2f mean=%.2f p99=%.1f p999=%.1f longest=%.1f passes=%llu ended=%u",
		name, b->sessions, turns, middle, total / turns, us[turns * 99 / 100], us[turns - 1 - turns / 1000],
		us[turns - 1], (unsigned long long)(counter_get(&n->actor->counters[COUNTER_sweeps]) - passes),
		before - n->actor->slab[SLAB_session].used);
	printf(" machine=%.1f\n", machine_adds(middle, us, turns));
	free(us);
	fflush(stdout);
}

/* ---- set-up ---- */

static bool open_bench(struct bench *b)
{
	uint32_t addresses = b->addresses ? b->addresses : b->sessions / PORTS_PLANNED + 1;
	struct workload_plan plan = {b->sessions, addresses, 1, true, b->nat, b->statics};

	b->arena = workload_arena(&plan, &b->config);
	if (!b->arena || !workload_open(&b->w, b->arena, &b->config, 0, 0, b->sessions))
		return false;
	printf("meter source=%s tsc_ghz=%.3f core_ghz=%.3f memory=\"%s\" bytes_per_session=%.1f\n", b->w.meter.source,
		b->w.meter.tsc_ghz, b->w.meter.core_ghz, b->arena->backing, (double)b->arena->bytes / b->sessions);
	return true;
}

/* Only when it is asked for by name. */
static bool is_named(const char *list, const char *name)
{
	return list && is_listed(list, name);
}

/* Each session's first reply notes its next hop: what is measured are those after it (the first: create_reply). */
static bool reply_to_all(struct bench *b)
{
	double cycles, instructions = 0;

	return workload_run(&b->w, &reply_measure, b->w.live / BLOCK, &cycles, &instructions);
}

static bool run_all(struct bench *b, const char *list)
{
	struct filling first;
	mono_t from = mono_now();

	if (!workload_fill(&b->w, false, &first)) /* touches all memory for the first time */
		return false;
	printf("fill sessions=%u cycles=%.1f from=%.6f to=%.6f\n", b->sessions, first.create[THROUGHOUT], seconds(from),
		seconds(mono_now()));
	if (is_named(list, "count_create"))
		return count_create(b);
	if (is_named(list, "count_end"))
		return count_end(b);
	if (is_named(list, "end") && !run_end(b))
		return false;
	if (is_named(list, "churn"))
		return run_churn(b);
	if ((is_listed(list, "create") && !run_create(b, false)) ||
		(is_listed(list, "create_reply") && !run_create(b, true)))
		return false;
	flows_forget_refused(&b->w);
	flows_shuffle(&b->w);
	if (!ports_note(&b->w))
		return false;
	if ((is_listed(list, "inbound") || is_listed(list, "half_unknown")) && !reply_to_all(b))
		return false;
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	if (!run_measures(b, list))
		return false;
	if (is_named(list, "aging"))
		run_aging(b, "aging", AGING_TURNS);
	if (is_named(list, "ending")) {
		b->w.now.ns += span_s(b->config.nat.udp_timeout_s + 1).ns;
		run_aging(b, "ending", AGING_TURNS);
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct bench b = {.sessions = 1 << 20, .runs = 5, .blocks = 512};
	static const char *list;
	static unsigned cpu;
	const struct arg args[] = {
		{"sessions", "N", "how many, 1048576", .number = &b.sessions, .min = 4096, .max = 1u << 26},
		{"measure", "LIST", "some of them: create,hit,…", .text = &list},
		{"runs", "N", "of each measure, 5", .number = &b.runs, .min = 1, .max = RUNS_MAX},
		{"blocks", "N", "of 512 packets in a run, 512", .number = &b.blocks, .min = 1, .max = BLOCKS_MAX},
		{"addresses", "N", "of the pool, as few as will do", .number = &b.addresses, .min = 1, .max = 4096},
		{"statics", "N", "static mappings, 0", .number = &b.statics, .min = 0, .max = CONFIG_STATICS_MAX},
		{"nat", "JSON", "more of the configuration's object nat", .text = &b.nat},
		{"cpu", "N", "run on this CPU alone, 0", .number = &cpu, .max = CPU_SETSIZE - 1},
		{0},
	};
	int status = args_parse(argc, argv, "bench_engine", "cycles per packet of the NAT core", args, NULL);
	bool ok;

	if (status != ARGS_RUN)
		return status;
	log_open("bench_engine");
	pin_to(cpu);
	ok = open_bench(&b) && run_all(&b, list);
	workload_close(&b.w);
	arena_close(b.arena);
	return ok ? 0 : 1;
}
