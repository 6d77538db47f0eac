/* board: what the aggregator knows: the last values of every engine, and their unified sum.
 *
 * What       collectors write what engines answered, the agent server reads copies. Values of kind SUM never go
 *            backwards here: an engine counts from zero again when the arena was made anew, and the board goes on from
 *            where it was.
 * Units      those of common/counters.h; times are mono_t.
 * Ownership  board_open allocates, board_close frees. A view is a plain copy of its reader's.
 * Calls      any thread; answered and missed by the collector of that engine. Locked for a copy only.
 * Errors     open: NULL and errno.
 * Use        board_answered(b, 0, &report, now); ...
 *            board_read(b, &view); board_unify(&view, &sum);
 */
#ifndef CORENAT_AGGREGATOR_BOARD_H
#define CORENAT_AGGREGATOR_BOARD_H

#include "shm/mailbox.h"

enum engine_state {
	ENGINE_NEVER,  /* not one answer yet */
	ENGINE_UP,     /* answered the last request */
	ENGINE_SILENT, /* did not in time; its values are the last ones known */
};

struct engine_view {
	enum engine_state state;
	mono_t answered;            /* meaningful unless ENGINE_NEVER */
	struct engine_report total; /* continued over restarts from zero */
};

struct board_view {
	unsigned n;
	struct engine_view engine[ENGINE_MAX];
};

struct board;

struct board *board_open(unsigned engines);
void board_close(struct board *b);

void board_answered(struct board *b, unsigned engine, const struct engine_report *report, mono_t now);
/* The answer is overdue. True when that is news: the engine was up. */
bool board_missed(struct board *b, unsigned engine);

void board_read(struct board *b, struct board_view *out);

/* Sum over the engines; time_ns is that of the newest. */
void board_unify(const struct board_view *view, struct engine_report *sum);

#endif
