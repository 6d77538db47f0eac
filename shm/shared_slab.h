/* shared_slab: the allocator for objects that are not spread evenly over engines (port tables).
 *
 * What       slabs of a pseudo actor that any process may use, one lock for each class. An object is taken, built and
 *            published as one step under the lock, so there is never one that is taken and not yet alive.
 * Units      slab indexes (slab.h).
 * Ownership  the pages belong to ACTOR_SHARED; whoever holds the class's lock acts for it.
 * Calls      any process, slow paths only: the lock spins for a bounded time and asks the kernel who is alive.
 * Errors     make: 0 when no page is left, or when the lock stayed held by the living. drop: false in the latter case.
 *
 * Death      a holder that died is recognised by its claim being gone (arena.h); the next one takes the lock over and
 *            rebuilds the free lists from the pages (slab_attach): half-built objects are free again.
 */
#ifndef CORENAT_SHM_SHARED_SLAB_H
#define CORENAT_SHM_SHARED_SLAB_H

#include "shm/engine.h"

typedef void (*shared_build)(void *object, void *context);

/* `actor` is the caller: an engine, or ACTOR_MGMTD. */
uint32_t shared_make(struct arena *a, unsigned actor, enum slab_class c, shared_build build, void *context);
bool shared_drop(struct arena *a, unsigned actor, enum slab_class c, uint32_t index);

/* First call of a starting actor that uses the allocator: finishes what its predecessor died in. */
void shared_repair(struct arena *a, unsigned actor);

#endif
