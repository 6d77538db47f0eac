/* lines: which cache lines of the arena an engine changes, and which of them another engine has changed, too.
 *
 * What       the arena is made read-only; a page's first write is caught, which keeps the page as it was. What differs afterwards was
 *            changed. So a look costs what was written, not what the arena is.
 * Units      cache lines.
 * Ownership  one arena at a time; the SIGSEGV handler is ours from lines_open to lines_close.
 * Calls      one thread.
 * Errors     false when memory or the kernel refuses; more than PAGES_MAX pages written between watch and look abort.
 * Use        lines_open(&l, a); for each engine: lines_watch(); work(); lines_look(&l, engine); then l.of_two; lines_close(&l);
 */
#ifndef CORENAT_TESTS_BENCH_LINES_H
#define CORENAT_TESTS_BENCH_LINES_H

#include "shm/arena.h"

struct lines {
	uint8_t *writer; /* of each line: the engine that changed it, + 1 */
	uint64_t bytes;  /* of the arena */
	uint64_t changed, of_two;
};

bool lines_open(struct lines *l, const struct arena *a);
void lines_close(struct lines *l);
/* Forgets who changed what. */
void lines_reset(struct lines *l);
bool lines_watch(void);
bool lines_look(struct lines *l, unsigned engine);

#endif
