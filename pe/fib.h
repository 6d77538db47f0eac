/* fib: an engine's private copy of the routes, as sorted intervals.
 *
 * What       longest-prefix match by binary search over the address spaces of all realms, one behind the other, cut
 *            where any prefix begins or ends.
 * Units      host-order addresses; realm << 32 | address is a place.
 * Ownership  the engine's. Calls: its thread. fib_load copies out of the arena. Errors: none.
 * Use        r = fib_find(&fib, realm, dst); if (r.kind == ROUTE_GATEWAY) ...
 */
#ifndef CORENAT_PE_FIB_H
#define CORENAT_PE_FIB_H

#include "shm/nexthop.h"

struct fib_interval {
	uint64_t first; /* place; up to the next interval's first - 1 */
	uint32_t route; /* index into set.route; FIB_NO_ROUTE */
};

enum { FIB_NO_ROUTE = ROUTES_MAX };

struct fib {
	uint32_t generation;
	uint32_t n;
	struct route_set set;
	struct fib_interval interval[2 * ROUTES_MAX + 1];
};

/* Takes the routes in force. */
void fib_load(struct fib *f, const struct nexthop *nh);
/* kind ROUTE_NONE when nothing matches. */
struct route fib_find(const struct fib *f, uint16_t realm, uint32_t address);

/* The interval that holds a place; f->n > 0. */
uint32_t fib_interval_of(const struct fib *f, uint64_t place);

/* The same, for who asks time and again: `near` is where the last answer was, any number at first. NULL: nothing matches. */
static inline const struct route *fib_find_near(const struct fib *f, uint16_t realm, uint32_t address, uint32_t *near)
{
	uint64_t place = (uint64_t)realm << 32 | address;
	uint32_t at = *near;

	if (!f->n)
		return NULL;
	if (at >= f->n || place < f->interval[at].first || (at + 1 < f->n && place >= f->interval[at + 1].first))
		*near = at = fib_interval_of(f, place);
	uint32_t route = f->interval[at].route;
	return route == FIB_NO_ROUTE ? NULL : &f->set.route[route];
}

#endif
