/* collector: one thread that asks one engine for its counters and puts the answers on the board.
 *
 * What       every interval it requests; while the request is pending it looks in sleeps that grow from a quarter of a
 *            millisecond to 64 ms, else it sleeps until the next request is due. It never waits for an engine and
 *            never gives up on one: engines start late, die, restart.
 * Units      times are mono_t, passed in.
 * Ownership  start allocates thread and mailbox mapping, stop ends and frees them. The board outlives all collectors.
 * Calls      start and stop: the main thread. turn: the collector's thread, or a test with its own clock.
 * Errors     start: NULL and errno. A mailbox that cannot be opened is logged once per reason and tried again every
 *            interval.
 * Use        c = collector_start(board, "/corenat", 0, span_ms(1000)); ...; collector_stop(c);
 */
#ifndef CORENAT_AGGREGATOR_COLLECTOR_H
#define CORENAT_AGGREGATOR_COLLECTOR_H

#include "aggregator/board.h"

/* Legend  [I] fixed once made  [C] the collector's thread */
struct collector_state {
	struct board *board;    /* [I] */
	const char *arena_name; /* [I] */
	unsigned engine;        /* [I] */
	span_t interval;        /* [I] */
	struct mailbox *box;    /* [C] NULL: not open */
	int open_error;         /* [C] the last one logged; 0: none */
	bool pending;           /* [C] asked and not answered */
	mono_t due;             /* [C] next request */
	mono_t deadline;        /* [C] answer to the pending request is overdue from here on */
	mono_t reopen;          /* [C] when to look whether the segment was replaced */
	span_t nap;             /* [C] next sleep while a request is pending */
};

/* Does what there is to do now and returns when to be called again. */
mono_t collector_turn(struct collector_state *c, mono_t now);

struct collector;

struct collector *collector_start(struct board *board, const char *arena_name, unsigned engine, span_t interval);
void collector_stop(struct collector *c);

#endif
