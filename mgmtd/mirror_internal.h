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

#include "common/config.h"
#include "mgmtd/mirror.h"
#include "mgmtd/netlink.h"

enum { MIRROR_LINKS_MAX = N_SIDES + VLAN_MAX };

/* One of our interfaces: that of a side, found by its name, or a VLAN's on the inside interface, found by its id. Once
 * known it keeps its place; a link that is not there has index 0. */
struct mirror_link {
	struct netlink_link is;
	enum side side;
	uint16_t realm; /* 0: the side's own; else the VLAN id */
	uint32_t seen;  /* reading of the kernel's links that saw it last */
};

struct mirror {
	struct nexthop *nh;
	unsigned engines;
	struct netlink *netlink;
	struct mirror_link link[MIRROR_LINKS_MAX]; /* the sides' first */
	unsigned n_links;
	bool lost; /* changes were lost: read everything again */
	bool routing_changed;
	bool table_full, too_many_routes, kernel_full; /* said so already */
	mono_t read_due, routes_due, refresh_due;
	uint32_t refresh_at; /* where the walk over known[] stands */
	/* Adjacencies that hold a neighbour, and which reading of the kernel's table saw each last. */
	uint32_t n_known;
	uint32_t known[ADJACENCY_MAX];
	uint32_t seen[ADJACENCY_MAX];
	uint32_t reading;
	uint32_t reading_links;
};

/* The one of our interfaces that has this index, or NULL. */
const struct mirror_link *mirror_link(const struct mirror *m, uint32_t index);

/* Reads the kernel's routes and publishes them if they differ from those in force. */
int mirror_read_routes(struct mirror *m);

#endif
