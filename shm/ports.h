/* ports: which ports of a NAT address are in use.
 *
 * What       two bitmaps of 65,536 bits per address: TCP, and everything else (UDP ports, ICMP query identifiers). A set
 *            bit has exactly one owner: the live mapping with that address and port, whichever engine's.
 * Units      ports in host order.
 * Ownership  the table is an arena object made by mgmtd; any engine takes and puts bits.
 * Calls      take, put: engines; no lock, no system call. used: anyone.
 * Errors     take: -1 when the range is full. put: false when the bit was not set (a bug: count it).
 * Atomicity  one bit is one fetch-or or fetch-and on its word; acquire-release, so what its last owner did is seen.
 * Death      a taker that dies between taking and recording leaves the bit to its intent (engine.h), written before.
 * Source     random start in the range: RFC 6056 §3.3.1, RFC 7857 §9.
 */
#ifndef CORENAT_SHM_PORTS_H
#define CORENAT_SHM_PORTS_H

#include "shm/session.h"

enum port_set { PORTS_TCP, PORTS_OTHER, N_PORT_SETS };
enum { PORT_WORDS = 65536 / 64 };

/* Legend  [G] slab generation  [F] while free  [I] fixed once published  [A] atomic, any engine */
struct port_table {
	_Atomic uint32_t generation;                    /*  0 [G] */
	uint32_t link;                                  /*  4 [F] */
	be32_t address;                                 /*  8 [I] */
	uint32_t reserved[13];                          /* 12 */
	_Atomic uint64_t bits[N_PORT_SETS][PORT_WORDS]; /* 64 [A] */
};
_Static_assert(sizeof(struct port_table) == 64 + 16384, "its row in SLAB_CLASSES");
_Static_assert(offsetof(struct port_table, bits) == 64, "see map");

static inline struct port_table *port_table_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_port_table, index);
}

static inline enum port_set port_set_of(enum l4 l4)
{
	return l4 == L4_TCP ? PORTS_TCP : PORTS_OTHER;
}

/* The intent word for a port being taken or put; never zero for a real port. */
static inline uint64_t port_name(uint32_t table, enum port_set set, uint16_t port)
{
	return (uint64_t)table << 32 | (uint32_t)set << 16 | port;
}

/* Takes a free port in [first, last], searching from `start` (any number) on. `intent` is set to the port's name before
 * its bit is touched and stays so. */
int ports_take(struct port_table *t, uint32_t table, enum port_set set, uint16_t first, uint16_t last, uint32_t start,
	_Atomic uint64_t *intent);
/* Where the search of that draw begins. */
static inline uint32_t ports_start(uint16_t first, uint16_t last, uint32_t draw)
{
	return first + draw % (last - first + 1u);
}

/* The port that take would find now; -1 when the first word has none. For who wants to be prepared. */
int ports_peek(const struct port_table *t, enum port_set set, uint16_t first, uint16_t last, uint32_t draw);
bool ports_put(struct port_table *t, enum port_set set, uint16_t port);
/* How many are taken: counts bits, since a count kept beside them could not be right after a death between the two. */
uint32_t ports_used(const struct port_table *t, enum port_set set);
/* Has what ports_is_set looks at fetched. */
__attribute__((always_inline)) static inline void ports_fetch(
	const struct port_table *t, enum port_set set, uint16_t port)
{
	__builtin_prefetch(&t->bits[set][port / 64]);
}
bool ports_is_set(const struct port_table *t, enum port_set set, uint16_t port);

#endif
