/* replay: captures through the engines, in virtual time.
 *
 * What       reads what arrived inside and outside from two pcap files in the order of their time stamps, lets each
 *            packet reach the engine that the interface's RSS would choose, and writes what the appliance would have
 *            sent to two pcap files. The same core as live; time is the capture's. Prints events and sums
 *            (replay_report.h). The configuration may change on the way (replay_changes.h).
 * Units      nanoseconds of the capture. Ownership  a private arena, gone at the end.
 * Calls      main thread; needs no privilege. Errors  false after one log line.
 * Repeatable: same files, configuration and seed give the same bytes.
 */
#ifndef CORENAT_PE_REPLAY_H
#define CORENAT_PE_REPLAY_H

#include "common/config.h"

struct replay_params {
	const char *read[N_SIDES];  /* NULL: nothing arrives there */
	const char *write[N_SIDES]; /* NULL: not written */
	const char *changes;        /* a list (replay_changes.h); NULL: the configuration stays */
	uint64_t seed;
};

bool replay_run(const struct config *c, const struct replay_params *params);

#endif
