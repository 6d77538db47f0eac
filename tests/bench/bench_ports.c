/* bench_ports: what creating a session costs by how many of the pool's ports are in use, and when it is refused though ports
 * are free.
 *
 * Fills a pool from empty to full with sessions that need a port each, several times; a figure is the median of the blocks of
 * 512 new flows met within half a percent of the fill.
 * Prints:  bench G8          creation at 99 % of the ports in use ÷ at 50 %; sessions fill their tables as they fill the ports
 *          bench G8.roomy    the same in tables planned for twice as many sessions: what ports alone make of it
 *          bench ports.fill_N, cycles per creation where N per cent of the ports are in use
 *          bench G8.refused  new flows refused in ten thousand, up to 99 % of the ports in use
 *          bench ports.resting, cycles per creation when the ports of a full pool have just been freed and half of them rest */
#include "common/args.h"
#include "common/log.h"
#include "tests/bench/workload.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ADDRESSES = 16,
	CAPACITY = ADDRESSES * PORTS_PER_ADDRESS,
	FLOWS = CAPACITY / 10 * 11, /* to go on when some are refused */
	ROOMY = 2,                  /* times as many sessions planned */
	PER_THOUSAND = 1000,
	WINDOW = 5, /* per thousand of the ports, either side */
	SAMPLES_MAX = 4096,
	REFUSED_UP_TO = 990,
	RESTING_BLOCKS = 40, /* too few to use a noticeable share of the ports */
};

/* Per thousand of the ports. */
static const unsigned fills[] = {5, 500, 800, 900, 950, 990, 997};
enum { N_FILLS = sizeof fills / sizeof fills[0], AT_50 = 1, AT_99 = 5 };

struct point {
	double cycles[SAMPLES_MAX];
	unsigned n;
};

struct bench {
	struct workload w;
	struct config config;
	struct point point[N_FILLS];
	uint64_t refused, tried; /* up to 99 % */
	unsigned first_refused;  /* per thousand in use then; the least of all runs */
	unsigned least_full;     /* per thousand in use at the end; the least of all runs */
};

static unsigned per_thousand(uint64_t used)
{
	return (unsigned)(used * PER_THOUSAND / CAPACITY);
}

static void note(struct bench *b, unsigned fill, unsigned refused)
{
	for (unsigned i = 0; i < N_FILLS; i++) {
		struct point *p = &b->point[i];

		if (fill + WINDOW >= fills[i] && fill < fills[i] + WINDOW && p->n < SAMPLES_MAX)
			p->cycles[p->n++] = b->w.meter.cycles / BLOCK;
	}
	if (fill < REFUSED_UP_TO) {
		b->tried += BLOCK;
		b->refused += refused;
	}
	if (refused && fill < b->first_refused)
		b->first_refused = fill;
}

static void fill_once(struct bench *b)
{
	uint64_t used = 0;
	unsigned at = 0;

	meter_calibrate(&b->w.meter);
	for (; at < b->w.n / BLOCK && used < CAPACITY; at++) {
		unsigned refused = create_block(&b->w, at);

		used += BLOCK - refused;
		note(b, per_thousand(used), refused);
	}
	if (per_thousand(used) < b->least_full)
		b->least_full = per_thousand(used);
}

/* The first flows after a full pool's sessions have ended. */
static double while_resting(struct bench *b, unsigned *refused)
{
	double cycles[RESTING_BLOCKS];

	meter_calibrate(&b->w.meter);
	for (unsigned at = 0; at < RESTING_BLOCKS; at++) {
		*refused += create_block(&b->w, at);
		cycles[at] = b->w.meter.cycles / BLOCK;
	}
	return median(cycles, RESTING_BLOCKS);
}

static void report_ratio(struct bench *b, const char *row, const char *goal, unsigned runs)
{
	double half = median(b->point[AT_50].cycles, b->point[AT_50].n);
	double full = median(b->point[AT_99].cycles, b->point[AT_99].n);

	printf("bench %s value=%.3f unit=ratio %s at_50=%.1f at_99=%.1f ports=%u runs=%u source=%s core_ghz=%.3f\n",
		row, half ? full / half : 0, goal, half, full, (unsigned)CAPACITY, runs, b->w.meter.source,
		b->w.meter.core_ghz);
}

static void report(struct bench *b, unsigned runs)
{
	for (unsigned i = 0; i < N_FILLS; i++)
		printf("bench ports.fill_%g value=%.1f unit=cycles blocks=%u source=%s\n", fills[i] / 10.0,
			median(b->point[i].cycles, b->point[i].n), b->point[i].n, b->w.meter.source);
	report_ratio(b, "G8", "goal=1.7", runs);
	printf("bench G8.refused value=%.2f unit=per_10000 goal=0 tried=%lu first_refused_at_percent=%.1f "
	       "full_at_least_percent=%.1f\n",
		b->tried ? 1e4 * (double)b->refused / (double)b->tried : 0, b->tried, b->first_refused / 10.0,
		b->least_full / 10.0);
}

static bool open_bench(struct bench *b, const char *pooling, unsigned times, struct arena **a)
{
	char nat[64];
	struct workload_plan plan = {FLOWS * times, ADDRESSES, 1, true, nat, 0};

	*b = (struct bench){.first_refused = PER_THOUSAND, .least_full = PER_THOUSAND};
	snprintf(nat, sizeof nat, "\"pooling\":\"%s\"", pooling);
	*a = workload_arena(&plan, &b->config);
	return *a && workload_open(&b->w, *a, &b->config, 0, 0, FLOWS);
}

/* The first time touches all memory, and is not counted. */
static void warm_up(struct bench *b)
{
	fill_once(b);
	workload_expire(&b->w);
	for (unsigned k = 0; k < N_FILLS; k++)
		b->point[k].n = 0;
}

static void print_resting(struct bench *b)
{
	unsigned refused = 0;
	double cycles = while_resting(b, &refused);

	printf("bench ports.resting value=%.1f unit=cycles tried=%u refused=%u hold_s=%u hold_percent=%u\n", cycles,
		(unsigned)RESTING_BLOCKS * BLOCK, refused, b->config.nat.hold_s, b->config.nat.hold_percent);
	workload_expire(&b->w);
}

static bool run(struct bench *b, const char *pooling, unsigned times, unsigned runs)
{
	struct arena *a = NULL;
	bool ok = open_bench(b, pooling, times, &a);

	if (ok) {
		warm_up(b);
		if (times == 1)
			print_resting(b);
		for (unsigned i = 0; i < runs; i++) {
			workload_rest(&b->w);
			fill_once(b);
			workload_expire(&b->w);
		}
		if (times == 1)
			report(b, runs);
		else
			report_ratio(b, "G8.roomy", "", runs);
	}
	workload_close(&b->w);
	arena_close(a);
	return ok;
}

int main(int argc, char **argv)
{
	static struct bench b;
	const char *pooling = "paired";
	unsigned cpu = 0, runs = 5;
	const struct arg args[] = {
		{"cpu", "N", "run on this CPU alone, 0", .number = &cpu, .max = CPU_SETSIZE - 1},
		{"runs", "N", "how often the pool is filled, 5", .number = &runs, .min = 1, .max = 99},
		{"pooling", "HOW", "nat.pooling, paired", .text = &pooling},
		{0},
	};
	int status = args_parse(argc, argv, "bench_ports", "creation by ports in use", args, NULL);

	if (status != ARGS_RUN)
		return status;
	log_open("bench_ports");
	pin_to(cpu);
	return run(&b, pooling, 1, runs) && run(&b, pooling, ROOMY, runs) ? 0 : 1;
}
