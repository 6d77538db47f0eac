/* arena_spread: an arena's regions over the machine's memory nodes. Contract: numa.h, arena.h. */
#ifndef CORENAT_SHM_ARENA_SPREAD_H
#define CORENAT_SHM_ARENA_SPREAD_H

#include "shm/arena.h"
#include "shm/numa.h"

/* To be done before the memory at `base` is touched. The engines' CPUs are the configuration's, whose nodes `sysfs` knows. Returns how
 * many nodes pages are dealt to in turn: 1 when there is one, or the kernel refuses. */
uint32_t arena_spread(uint8_t *base, const struct arena_geometry *g, const struct arena_span span[N_ARENA_REGIONS],
	const struct config *c, const struct numa *numa, const char *sysfs);

#endif
