/* replay_report: what a replay says on standard output.
 *
 * What       a line for each event (shm/event.h) with the time it happened at, in that order; at the end what became of
 *            the packets, by verdict, and what was counted of sessions, ports and blocks; of both only what occurred.
 *                    1000.010000 block_given 100.64.0.2 198.51.100.0:2048-2111
 *                    1000.040000 refusal drop_block_limit 100.64.0.2:5003 203.0.113.2:53
 *                    packets 4
 *                    fwd_out_new 3
 * Units      seconds of the capture; sums over the engines.
 * Ownership  events are taken from their rings as mgmtd would.
 * Calls      main thread, between turns. Errors  none.
 */
#ifndef CORENAT_PE_REPLAY_REPORT_H
#define CORENAT_PE_REPLAY_REPORT_H

#include "shm/arena.h"

/* What an engine told since it was asked before. */
void replay_report_events(const struct arena *a, unsigned engine);
void replay_report_sums(const struct arena *a, uint64_t packets);

#endif
