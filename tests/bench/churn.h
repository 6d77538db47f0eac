/* churn: what sessions cost that end, and that come and go.
 *
 * What       churn_end lets all sessions idle out and has them ended, turn by turn, as the engine's loop does it: at once
 *            while there are many, else a turn each millisecond. churn_run makes sessions, answers each once and lets
 *            them end, all at the same rate, so that as many end as are made: a turn after each burst.
 * Units      cycles per session. Simulated time passes as it would at that rate, whatever the machine takes: the share
 *            of the sweep that meets nothing to end is the one of that rate.
 * Ownership  the workload is the caller's, its flows in random order.
 * Calls      the workload's thread. churn_run changes what the engine knows of time-outs: nothing else may follow it.
 * Errors     false after one log line.
 */
#ifndef CORENAT_TESTS_BENCH_CHURN_H
#define CORENAT_TESTS_BENCH_CHURN_H

#include "tests/bench/workload.h"

struct churn {
	double cycles; /* of all it took, also turns in which little ends: the processor's time by the core's clock */
	double middle; /* the median over stretches in which some hundred sessions ended, or were made */
	double reply;  /* of churn_run: of the reply alone; a median, too */
	unsigned made, ended; /* in the measured part */
};

/* Ends `most` sessions, or all there are. */
bool churn_end(struct workload *w, unsigned most, struct churn *c);

/* All flows once; when it is the first time, once more before, so that as many end as come. */
bool churn_run(struct workload *w, bool first, struct churn *c);

#endif
