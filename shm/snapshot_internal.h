/* snapshot_internal: what the files that compile a snapshot share; nobody else includes it.
 *
 * What       snapshot_tables.c puts addresses and their port tables in, snapshot_rules.c all the rest.
 * Units      as in snapshot.h.
 * Ownership  the snapshot is the caller's, zeroed before; private memory until committed.
 * Calls      snapshot_compile.
 * Errors     none: the configuration was checked.
 */
#ifndef CORENAT_SHM_SNAPSHOT_INTERNAL_H
#define CORENAT_SHM_SNAPSHOT_INTERNAL_H

#include "shm/snapshot.h"

/* Everything that is a plain number. */
void snapshot_add_values(struct snapshot *s, const struct config *c);
/* The subscribers of all realms, sorted. */
void snapshot_add_subscribers(struct snapshot *s, const struct config *c);
/* The rules multiplied out over their prefixes, and the one that matches what is left. */
void snapshot_add_rules(struct snapshot *s, const struct config *c);
/* How ports are computed, by pool. Needs the pools. */
void snapshot_add_deterministic(struct snapshot *s, const struct config *c);
/* Both arrays of static mappings, sorted. */
void snapshot_add_statics(struct snapshot *s, const struct config *c);
/* The groups of subscribers, and the one of those that are in none. Of snapshot_limits.c. */
void snapshot_add_limits(struct snapshot *s, const struct config *c);
/* Pools, their addresses and what leaves. Needs the rules and the statics. Of snapshot_tables.c. */
bool snapshot_add_pools(struct arena *a, const struct config *c, struct snapshot *s, struct config_error *err);
/* The slot that a generation is in. */
const struct snapshot *snapshot_slot(const struct arena *a, uint32_t generation);
/* True when a static mapping takes the whole address. Needs the arrays. */
bool snapshot_is_taken(const struct snapshot *s, uint32_t nat);

#endif
