/* meter: counts what a stretch of code costs this thread.
 *
 * What       cycles and instructions in user space from perf_event where the machine has it. Elsewhere (most virtual
 *            machines) cycles are time-stamp counter ticks times the measured ratio of core clock to counter clock,
 *            and instructions are left to callgrind, which a stretch switches on and off by itself.
 * Units      cycles of the core's clock.
 * Ownership  struct meter is the caller's; meter_close frees its descriptors.
 * Calls      the thread that called meter_open.
 * Errors     none: what is not there is said by `source` and by instructions being 0.
 * Use        meter_open(&m); meter_begin(&m); work(); meter_end(&m); m.cycles, m.instructions
 */
#ifndef CORENAT_TESTS_BENCH_METER_H
#define CORENAT_TESTS_BENCH_METER_H

#include <stdbool.h>
#include <stdint.h>

struct meter {
	int fd[2];          /* perf_event of cycles and instructions; -1: not available */
	double tsc_ghz;     /* of the time-stamp counter */
	double core_ghz;    /* of the core while it works */
	const char *source; /* "perf" or "tsc" */
	uint64_t began[2];
	double began_us;
	double cycles, instructions; /* of the last stretch */
	double us; /* the processor's time of this thread, when `timed`: what others take is not in it */
	bool timed;
};

void meter_open(struct meter *m);
void meter_close(struct meter *m);
void meter_begin(struct meter *m);
void meter_end(struct meter *m);

/* Core clock against counter clock again: turbo frequencies wander, so do it before each run. */
void meter_calibrate(struct meter *m);

/* The processor's time of this thread, microseconds. */
double meter_cpu_us(void);

/* The middle value; sorts v[0..n). */
double median(double *v, unsigned n);

#endif
