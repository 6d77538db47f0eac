/* scenario: what crash_step kills an engine in.
 *
 * What       a world made ready, and one operation that is stepped: one row of a list.
 * Units      none. Ownership  constants.
 * Calls      crash_step. Errors  what cannot be made ready fails the run, by EXPECT.
 * Use        lists end with an empty row.
 */
#ifndef CORENAT_TESTS_SCENARIO_H
#define CORENAT_TESTS_SCENARIO_H

#include "tests/crash/world.h"

struct scenario {
	const char *name;
	unsigned dies;     /* the engine, or ACTOR_MGMTD */
	uint32_t sessions; /* tables are made for; 0: CAPACITY */
	uint16_t ports;    /* 0: PORTS */
	uint16_t block;    /* ports of a block; 0: no blocks */
	uint32_t stride;   /* judge one change in so many: for what touches whole pages; 0: each one */
	void (*prepare)(struct world *w);
	void (*operate)(struct world *w);
	void (*meanwhile)(struct world *w); /* NULL or what others do as soon as the dead one has been succeeded */
	enum behaviour filtering;
	bool fixed; /* with a static mapping, see FIXED_PORT */
};

extern const struct scenario scenarios_outbound[], scenarios_inbound[], scenarios_pages[], scenarios_pinholes[],
	scenarios_subscribers[], scenarios_blocks[];

#endif
