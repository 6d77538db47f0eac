/* port_tools: ports of a table by hand, for tests that need some taken or given back.
 *
 * What       finds the place of a port in whatever order the table has.
 * Units      ports in host order.
 * Ownership  the arena is the test's.
 * Calls      the test's thread.
 * Errors     a table whose order cannot be told ends the test.
 * Use        port_hand_take(a, table, PORTS_TCP, 2000);
 */
#ifndef CORENAT_TESTS_PORT_TOOLS_H
#define CORENAT_TESTS_PORT_TOOLS_H

#include "shm/ports.h"
#include "tests/unit/rnd.h"

static inline struct port_order port_hand_order(const struct port_table *t)
{
	struct port_order o;

	assert_true(port_order_of(&o, &t->basis));
	return o;
}

static inline bool port_hand_take(struct arena *a, uint32_t table, enum port_set set, uint16_t port)
{
	struct port_table *t = port_table_at(a, table);
	struct port_order o = port_hand_order(t);
	_Atomic uint64_t intent = 0;

	return ports_take_one(t, table, &o, set, port, false, 0, &intent);
}

static inline bool port_hand_put(struct port_table *t, enum port_set set, uint16_t port)
{
	struct port_order o = port_hand_order(t);

	return ports_put(t, &o, set, port);
}

static inline uint32_t port_hand_used(const struct port_table *t)
{
	return ports_used(t, PORTS_TCP, 0).taken + ports_used(t, PORTS_OTHER, 0).taken;
}

#endif
