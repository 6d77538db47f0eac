/* mirror_internal: what the files of the mirror share; nobody else includes it.
 *
 * What       the mirror's own memory, and building a set of routes.
 * Units      as in mirror.h.
 * Ownership  as in mirror.h.
 * Calls      the mirror's thread.
 * Errors     0 or -errno.
 */
#ifndef CORENAT_MGMTD_MIRROR_INTERNAL_H
#define CORENAT_MGMTD_MIRROR_INTERNAL_H

#include "mgmtd/mirror.h"
#include "mgmtd/netlink.h"

struct mirror {
	struct nexthop *nh;
	unsigned engines;
	struct netlink *netlink;
	struct netlink_link link[N_SIDES]; /* index 0: not there; the name stays */
	bool lost;                         /* changes were lost: read everything again */
	bool routing_changed;
	bool table_full, too_many_routes, kernel_full; /* said so already */
	mono_t read_due, routes_due, refresh_due;
	uint32_t refresh_at; /* where the walk over known[] stands */
	/* Adjacencies that hold a neighbour, and which reading of the kernel's table saw each last. */
	uint32_t n_known;
	uint32_t known[ADJACENCY_MAX];
	uint32_t seen[ADJACENCY_MAX];
	uint32_t reading;
};

/* The side whose interface has this index; N_SIDES when it is none of ours. */
enum side mirror_side(const struct mirror *m, uint32_t index);

/* Reads the kernel's routes and publishes them if they differ from those in force. */
int mirror_read_routes(struct mirror *m);

#endif
