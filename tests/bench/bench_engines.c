/* bench_engines: what more than one engine costs.
 *
 * With --together: two engines in threads on two CPUs. Each works on blocks of packets without pause, so that both compete for
 * what cores share (memory, the last cache, lines of the arena); figures are medians over blocks, so what the CPUs are taken
 * away for does not count.
 *   disjoint  each engine has subscribers of its own, half of its packets are their replies
 *   replies   one engine has all subscribers, the other receives all the replies, whose sessions it has adopted
 *   alone     one engine does both for its subscribers, the other does nothing
 *
 * Without: any number of engines in one thread, one after the other on each block, the same number of sessions shared out among
 * them. Cycles per packet; and, of the arena, how many cache lines a block of packets changed and how many of those another
 * engine had changed too: none, when no two engines write one line. */
#include "common/args.h"
#include "common/log.h"
#include "tests/bench/lines.h"
#include "tests/bench/workload.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>
#include <valgrind/valgrind.h>

enum { TOGETHER = 2, RUNS_MAX = 99, LINE_BLOCKS = 8 };

static const struct measure outbound = {
	"outbound", make_outbound, through_core, BURST_USUAL, VERDICT_fwd_out_hit, VERDICT_fwd_out_hit};
static const struct measure inbound = {
	"inbound", make_inbound, through_core, BURST_USUAL, VERDICT_fwd_in_hit, VERDICT_fwd_in_hit};

struct bench {
	struct arena *arena;
	struct config config;
	struct workload *w; /* of each engine */
	unsigned engines, sessions, runs, blocks;
	const char *what;
};

/* ---- set-up ---- */

static bool open_engines(struct bench *b, bool replies_to_0)
{
	struct workload_plan plan = {
		b->sessions * 2, b->sessions / 16384 + b->engines, b->engines, replies_to_0, NULL, 0};
	uint32_t each = b->sessions / b->engines;

	b->arena = workload_arena(&plan, &b->config);
	b->w = calloc(b->engines, sizeof *b->w);
	if (!b->arena || !b->w)
		return false;
	for (unsigned e = 0; e < b->engines; e++)
		if (!workload_open(&b->w[e], b->arena, &b->config, e, e * each / PER_SUBSCRIBER, each))
			return false;
	return true;
}

static void close_engines(struct bench *b)
{
	for (unsigned e = 0; b->w && e < b->engines; e++)
		workload_close(&b->w[e]);
	free(b->w);
	if (b->arena)
		arena_close(b->arena);
}

/* What an engine makes once, its view of each address's ports, is made by its first sessions. */
static bool warm(struct workload *w)
{
	struct filling f;
	bool good = workload_fill(w, false, &f);

	if (good)
		workload_expire(w);
	return good;
}

/* Creates all sessions of `w`; the flows that got none are forgotten, or those whose replies go elsewhere as well. */
static bool prepare(struct workload *w, bool home_only, struct filling *f)
{
	if (!workload_fill(w, false, f))
		return false;
	flows_forget_refused(w);
	if (home_only)
		flows_keep_home(w);
	if (w->live < BURST_USUAL) {
		log_error("engine %u: too few sessions whose replies come home: %u", w->engine->nat.engine, w->live);
		return false;
	}
	flows_shuffle(w);
	return true;
}

/* The receiver of the other's replies knows where they go. The first reply of each is adopted. */
static bool adopt_all(struct workload *receiver, const struct workload *owner, double *cycles)
{
	static const struct measure adopt = {
		"adopt", make_inbound, through_core, BURST_USUAL, VERDICT_fwd_in_adopted, VERDICT_fwd_in_adopted};
	double none = 0;

	if (receiver->n < owner->live)
		return false;
	memcpy(receiver->flow, owner->flow, owner->live * sizeof *owner->flow);
	receiver->live = owner->live;
	flows_shuffle(receiver);
	receiver->now = owner->now;
	return workload_run(receiver, &adopt, owner->live / BLOCK, cycles, &none);
}

/* ---- which lines ---- */

/* A block of one engine's. To look at lines it is sent twice: what a session's first packet finds out (its next hop) is written
 * once. */
static bool one_block(struct workload *w, const struct measure *m, struct lines *l, bool look)
{
	uint32_t at = w->at;
	bool good = true;

	if (look) {
		stretch(w, m);
		w->at = at;
		w->now.ns += span_s(2).ns; /* so that stamps change */
		good = lines_watch();
	}
	stretch(w, m);
	if (look)
		good = lines_look(l, w->engine->nat.engine) && good;
	return !astray(w, m, true) && good;
}

/* ---- two at once ---- */

struct worker {
	struct workload *w;
	const struct measure *measure[2]; /* block by block in turn; both NULL: rests */
	unsigned cpu, blocks;
	pthread_barrier_t *start;
	_Atomic unsigned *at_work; /* who still measures: until then, all go on */
	double *cycles[2];
	bool good;
};

static void *work(void *arg)
{
	struct worker *me = arg;

	pin_to(me->cpu);
	if (me->w) { /* it counts the thread that opens it */
		meter_close(&me->w->meter);
		meter_open(&me->w->meter);
	}
	pthread_barrier_wait(me->start);
	if (!me->measure[0]) {
		atomic_fetch_sub(me->at_work, 1);
		return NULL;
	}
	me->good = true;
	for (unsigned i = 0; me->good && (i < me->blocks || atomic_load(me->at_work)); i++) {
		const struct measure *m = me->measure[i % 2];

		stretch(me->w, m);
		me->good = !astray(me->w, m, true);
		if (i < me->blocks)
			me->cycles[i % 2][i / 2] = me->w->meter.cycles / BLOCK;
		if (i + 1 == me->blocks)
			atomic_fetch_sub(me->at_work, 1);
	}
	if (!me->good)
		atomic_store(me->at_work, 0);
	return NULL;
}

/* The mean of both kinds of blocks' medians, for each worker. */
static bool run_workers(struct worker worker[TOGETHER], unsigned blocks, double out[TOGETHER])
{
	_Atomic unsigned at_work = TOGETHER;
	pthread_barrier_t start;
	pthread_t thread[TOGETHER];
	bool good = true;

	pthread_barrier_init(&start, NULL, TOGETHER);
	for (unsigned i = 0; i < TOGETHER; i++) {
		struct worker *w = &worker[i];

		w->blocks = blocks & ~1u;
		w->start = &start;
		w->at_work = &at_work;
		for (int k = 0; k < 2; k++)
			w->cycles[k] = calloc(blocks, sizeof **w->cycles);
		pthread_create(&thread[i], NULL, work, w);
	}
	for (unsigned i = 0; i < TOGETHER; i++) {
		struct worker *w = &worker[i];

		pthread_join(thread[i], NULL);
		good &= w->good || !w->measure[0];
		out[i] = (median(w->cycles[0], w->blocks / 2) + median(w->cycles[1], w->blocks / 2)) / 2;
		for (int k = 0; k < 2; k++)
			free(w->cycles[k]);
	}
	pthread_barrier_destroy(&start);
	return good;
}

/* One engine, on either CPU, and two take turns; what is told is the median of the runs' ratios. */
static bool compare(struct bench *b, struct worker two[TOGETHER], const char *name)
{
	struct worker rests = {.cpu = 0}, alone = {.w = &b->w[0], .measure = {&outbound, &inbound}};
	double ratio[RUNS_MAX], one[RUNS_MAX], cycles[TOGETHER][RUNS_MAX], of[TOGETHER];

	for (unsigned run = 0; run < b->runs; run++) {
		one[run] = 0;
		for (unsigned cpu = 0; cpu < TOGETHER; cpu++) {
			struct worker pair[TOGETHER] = {alone, rests};

			pair[0].cpu = cpu;
			pair[1].cpu = !cpu;
			if (!run_workers(pair, b->blocks, of))
				return false;
			one[run] += of[0] / TOGETHER;
		}
		if (!run_workers(two, b->blocks, of))
			return false;
		for (int i = 0; i < TOGETHER; i++)
			cycles[i][run] = of[i];
		/* Where replies cross they do so both ways: each engine does half of either work. */
		ratio[run] = TOGETHER * one[run] / ((of[0] + of[1]) / TOGETHER);
	}
	double middle = median(ratio, b->runs);
	printf("%s source=%s ratio=%.3f least=%.3f most=%.3f alone=%.1f first=%.1f second=%.1f sessions=%u runs=%u\n",
		name, b->w[0].meter.source, middle, ratio[0], ratio[b->runs - 1], median(one, b->runs),
		median(cycles[0], b->runs), median(cycles[1], b->runs), b->sessions, b->runs);
	return true;
}

static bool disjoint(struct bench *b)
{
	struct worker two[TOGETHER] = {
		{.measure = {&outbound, &inbound}, .cpu = 0}, {.measure = {&outbound, &inbound}, .cpu = 1}};

	struct filling f;

	if (!open_engines(b, false))
		return false;
	two[0].w = &b->w[0];
	two[1].w = &b->w[1];
	return prepare(&b->w[0], true, &f) && prepare(&b->w[1], true, &f) && compare(b, two, "disjoint");
}

/* Of the same sessions: what their owner changes for packets to the outside, and the other engine for the replies, which here keep
 * sessions alive, so that there is something to write (RFC 4787 REQ-6b). */
static bool replies_lines(const struct bench *b, struct workload *owner, struct workload *receiver)
{
	uint32_t *refresh = &receiver->engine->nat.config.udp_inbound_refresh, usual = *refresh;
	struct lines l;
	bool good = lines_open(&l, b->arena);

	*refresh = true;
	memcpy(receiver->flow, owner->flow, owner->live * sizeof *owner->flow);
	receiver->now = owner->now;
	for (unsigned i = 0; good && i < LINE_BLOCKS; i++) {
		owner->at = receiver->at = i * BLOCK;
		good = one_block(owner, &outbound, &l, true) && one_block(receiver, &inbound, &l, true);
	}
	if (good)
		printf("replies_lines lines_changed=%.3f lines_of_two=%lu packets=%u\n",
			(double)l.changed / (2 * LINE_BLOCKS * BLOCK), l.of_two, 2 * LINE_BLOCKS * BLOCK);
	lines_close(&l);
	*refresh = usual;
	flows_shuffle(owner);
	flows_shuffle(receiver);
	return good;
}

/* Engine 0 receives all replies: its own subscribers' are the comparison, engine 1's are what is measured. */
static bool replies_elsewhere(struct bench *b)
{
	static struct workload receiver;
	struct worker two[TOGETHER] = {{.w = &receiver, .measure = {&inbound, &inbound}, .cpu = 0},
		{.measure = {&outbound, &outbound}, .cpu = 1}};
	double adopted = 0;
	struct filling f;

	if (!open_engines(b, true) || !prepare(&b->w[0], true, &f) || !prepare(&b->w[1], false, &f))
		return false;
	two[1].w = &b->w[1];
	receiver = b->w[0]; /* the same engine, with the other one's flows */
	receiver.flow = calloc(receiver.n, sizeof *receiver.flow);
	receiver.feed.block = &receiver.block;
	bool good = receiver.flow && adopt_all(&receiver, &b->w[1], &adopted) &&
		    replies_lines(b, &b->w[1], &receiver) && compare(b, two, "replies");
	if (good)
		printf("adopt cycles=%.1f sessions=%u\n", adopted, b->sessions / 2);
	free(receiver.flow);
	return good;
}

/* ---- any number, in turn ---- */

/* A session's first reply finds out more than those after it, which are measured. */
static bool reply_to_all(struct workload *w)
{
	double cycles, instructions = 0;
	uint32_t at = w->at;

	w->at = 0;
	bool good = w->live < BLOCK || workload_run(w, &inbound, w->live / BLOCK, &cycles, &instructions);
	w->at = at;
	return good;
}

static bool in_turn(struct bench *b, const struct measure *m, struct lines *l)
{
	double *cycles = calloc((size_t)b->engines * b->blocks, sizeof *cycles);
	bool good = cycles;
	unsigned n = 0;

	lines_reset(l);
	for (unsigned e = 0; good && m == &inbound && e < b->engines; e++)
		good = reply_to_all(&b->w[e]);
	for (unsigned e = 0; good && e < b->engines; e++) {
		meter_calibrate(&b->w[e].meter);
		for (unsigned i = 0; good && i < b->blocks; i++, n++) {
			/* Not under callgrind, where it takes long. */
			good = one_block(&b->w[e], m, l, i == 0 && !RUNNING_ON_VALGRIND);
			cycles[n] = b->w[e].meter.cycles / BLOCK;
		}
	}
	if (good)
		printf("%s engines=%u sessions=%u cycles=%.1f lines_changed=%.3f lines_of_two=%lu packets=%u\n",
			m->name, b->engines, b->sessions, median(cycles, n), (double)l->changed / (b->engines * BLOCK),
			l->of_two, n * BLOCK);
	free(cycles);
	return good;
}

static bool one_thread(struct bench *b)
{
	double create[ENGINE_MAX], home[ENGINE_MAX];
	struct lines l = {0};
	bool creating = b->what && is_listed(b->what, "create");
	bool good = open_engines(b, false) && lines_open(&l, b->arena);

	for (unsigned e = 0; good && e < b->engines; e++)
		good = warm(&b->w[e]);
	if (creating) {
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
	}
	for (unsigned e = 0; good && e < b->engines; e++) {
		const struct actor *actor = b->w[e].engine->nat.actor;
		struct filling f;

		good = prepare(&b->w[e], !creating, &f);
		create[e] = f.create[THROUGHOUT];
		home[e] = 100.0 * (double)counter_get(&actor->counters[COUNTER_replies_home]) /
			  (double)(counter_get(&actor->counters[COUNTER_sessions_created]) + !f.created);
	}
	if (good)
		printf("create engines=%u sessions=%u cycles=%.1f replies_home_percent=%.2f packets=%u\n", b->engines,
			b->sessions, median(create, b->engines), median(home, b->engines), b->sessions);
	if (!creating) {
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
	}
	good = good && (!is_listed(b->what, outbound.name) || in_turn(b, &outbound, &l)) &&
	       (!is_listed(b->what, inbound.name) || in_turn(b, &inbound, &l));
	lines_close(&l);
	return good;
}

int main(int argc, char **argv)
{
	static struct bench b = {.sessions = 1 << 18, .runs = 5, .blocks = 200, .engines = TOGETHER};
	bool together = false, good;
	const struct arg args[] = {
		{"together", NULL, "two engines in threads, on CPUs 0 and 1", .flag = &together},
		{"engines", "N", "in one thread, 2", .number = &b.engines, .min = 1, .max = ENGINE_MAX},
		{"sessions", "N", "of all, 262144", .number = &b.sessions, .min = 4096, .max = 1u << 26},
		{"measure", "LIST", "create, outbound, inbound", .text = &b.what},
		{"runs", "N", "5", .number = &b.runs, .min = 1, .max = RUNS_MAX},
		{"blocks", "N", "of 512 packets in a run, 200", .number = &b.blocks, .min = 1, .max = BLOCKS_MAX},
		{0},
	};
	int status = args_parse(argc, argv, "bench_engines", "what more than one engine costs", args, NULL);

	if (status != ARGS_RUN)
		return status;
	log_open("bench_engines");
	if (!together) {
		pin_to(0);
		good = one_thread(&b);
		close_engines(&b);
		return good ? 0 : 1;
	}
	b.engines = TOGETHER;
	good = disjoint(&b);
	close_engines(&b);
	b.w = NULL;
	b.arena = NULL;
	good = good && replies_elsewhere(&b);
	close_engines(&b);
	return good ? 0 : 1;
}
