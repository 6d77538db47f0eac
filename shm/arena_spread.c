#include "shm/arena_spread.h"

/* A region of one part for each engine, on the node of its CPU. */
static bool spread_parts(uint8_t *base, const struct arena_span *region, const struct arena_geometry *g,
	const struct config *c, const struct numa *numa, const char *sysfs)
{
	uint64_t bytes = region->bytes / g->engines;
	bool ok = true;

	for (uint32_t e = 0; e < g->engines; e++)
		ok &= numa_bind(base + region->offset + e * bytes, bytes, numa,
			numa_of_cpu(numa, sysfs, config_engine_cpu(c, e)));
	return ok;
}

static bool deal_pages(uint8_t *base, const struct arena_span *pages, const struct numa *numa)
{
	bool ok = true;

	for (uint64_t i = 0; i < pages->bytes / ARENA_PAGE; i++)
		ok &= numa_bind(base + pages->offset + i * ARENA_PAGE, ARENA_PAGE, numa, (unsigned)(i % numa->n));
	return ok;
}

uint32_t arena_spread(uint8_t *base, const struct arena_geometry *g, const struct arena_span span[N_ARENA_REGIONS],
	const struct config *c, const struct numa *numa, const char *sysfs)
{
	static const enum arena_region own[] = {ARENA_locals, ARENA_parts, ARENA_pinholes};

	if (numa->n < 2)
		return 1;
	bool ok = numa_interleave(base, span[ARENA_pages].offset, numa);
	for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++)
		ok &= spread_parts(base, &span[own[i]], g, c, numa, sysfs);
	ok &= deal_pages(base, &span[ARENA_pages], numa);
	return ok ? numa->n : 1;
}
