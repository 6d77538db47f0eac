/* miniature: the appliance without a kernel below it, for replay, tests and benchmarks.
 *
 * What       a private arena with the configuration in force, and one router on each side through which everything is
 *            reached: what mgmtd and the kernel provide to a live engine.
 * Units      none. Ownership  the caller closes the arena.
 * Calls      main thread, before the engines start; needs no privilege.
 * Errors     NULL after one log line.
 * Use        a = miniature_open(config, seed); engine_init(e, a, 0, io, seed, now);
 *            nat_configure(&e->nat); nat_load_routes(&e->nat);
 * Repeatable: the same configuration and seed give the same arena.
 */
#ifndef CORENAT_PE_MINIATURE_H
#define CORENAT_PE_MINIATURE_H

#include "shm/arena.h"

struct arena *miniature_open(const struct config *c, uint64_t seed);

/* The same for an arena that is there: puts the configuration in force, and the two routers. Again: a new generation. */
bool miniature_fill(struct arena *a, const struct config *c);

#endif
