/* port_rig: port tables and engines' views of them, without an arena: what the tests of ports share.
 *
 * What       one table in private memory, rules of as many engines as wanted, and their views.
 * Units      as in port_view.h.
 * Ownership  the test frees what rig_open gave.
 * Calls      any thread may use the view of one engine.
 * Errors     a failed check ends the test.
 * Use        struct rig *r = rig_open(&setup); port = rig_take(r, engine, PORTS_TCP, &wish, &intent);
 */
#ifndef CORENAT_TESTS_PORT_RIG_H
#define CORENAT_TESTS_PORT_RIG_H

#include "shm/port_view.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

struct rig_setup {
	unsigned engines;
	uint32_t table_len; /* of the RSS table, engines in turn; 0: ports do not matter */
	uint16_t first, last;
	uint32_t own_share; /* percent */
	uint32_t hold_s, hold_percent;
	uint64_t key_seed; /* 0: the customary key */
	bool low;          /* ports below 1024 may be given to those that wish */
};

struct rig {
	struct rig_setup is;
	struct rss rss;
	struct steering steering;
	struct port_table *table;
	struct port_rules *rules; /* of each engine */
	struct port_view *view;
	mono_t now;
};

enum { RIG_TABLE = 77 }; /* any slab index: it only names the table in the intent */

struct rig *rig_open(const struct rig_setup *setup);
void rig_close(struct rig *r);

/* A wish for a random flow, whose replies are hashed with its ports; `home` is told which engine a port brings it to. */
struct rig_flow {
	be32_t remote, nat;
	be16_t port;
};
struct port_wish rig_wish(const struct rig *r, struct rnd *rnd, struct rig_flow *flow);
unsigned rig_home(const struct rig *r, const struct rig_flow *flow, uint16_t port);

int rig_take(struct rig *r, unsigned engine, enum port_set set, const struct port_wish *w, _Atomic uint64_t *intent);
bool rig_put(struct rig *r, unsigned engine, enum port_set set, uint16_t port, bool rest);
/* A turn of housekeeping long enough to look at everything. */
void rig_wake(struct rig *r, unsigned engine);
/* What the table says is taken and rests. */
struct port_use_count rig_used(const struct rig *r, enum port_set set);

#endif
