/* blocks: runs of ports that are one subscriber's alone.
 *
 * What       a block is an aligned power of two of ports of one NAT address, the same for TCP and all else. Its granules are
 *            labelled with the subscriber (port_table.block_of), its chunks are held by nobody's engine (CHUNK_BLOCK), and
 *            the subscriber lists it. Tables in plain order only.
 * Units      ports in host order; seconds of CLOCK_MONOTONIC.
 * Ownership  made and given back under the subscriber's lock. Listing is one word: engines read it without.
 * Calls      make, give back, settle: an engine that has the lock. The rest: anyone.
 * Errors     make: 0 when no run is free. give back: false while a port of it is taken.
 * Use        w = block_make(a, s, index, table, size, draw, now_s, &intent);
 *
 * Publish    intent -> labels, one by one -> chunks, one by one -> the word in the list (release) -> hints -> intent 0.
 * Retire     intent -> the word out of the list -> chunks, unless one is taken: then all back -> labels -> hints.
 * Taking     who takes a port of a block looks at the list again afterwards, and gives it back when the block is gone: either
 *            the taker sees that, or who retires sees the port taken (both are locked instructions).
 * Death      the subscriber stays locked. The successor finds the block in the intent: listed, it is completed; not listed,
 *            it is relisted if a port of it is taken, else given back. Each step may be repeated.
 */
#ifndef CORENAT_SHM_BLOCKS_H
#define CORENAT_SHM_BLOCKS_H

#include "shm/ports.h"
#include "shm/subscriber.h"

/* A block in one word; 0: none. */
struct block {
	uint32_t table; /* slab index */
	uint16_t first;
	uint32_t ports;
	uint32_t since_s; /* when it was given out */
};

enum { BLOCK_TABLE = 44, BLOCK_GRANULE = 34, BLOCK_SIZE = 31 };
_Static_assert(ARENA_PAGES_MAX * (ARENA_PAGE / sizeof(struct port_table)) < 1u << (64 - BLOCK_TABLE), "fits");

static inline uint64_t block_word(struct block b)
{
	uint64_t size = (uint64_t)__builtin_ctz(b.ports / GRANULE_PORTS);

	return (uint64_t)b.table << BLOCK_TABLE | (uint64_t)(b.first / GRANULE_PORTS) << BLOCK_GRANULE |
	       size << BLOCK_SIZE | (b.since_s & 0x7fffffffu);
}

static inline struct block block_of_word(uint64_t word)
{
	return (struct block){(uint32_t)(word >> BLOCK_TABLE),
		(uint16_t)((word >> BLOCK_GRANULE & (N_GRANULES - 1)) * GRANULE_PORTS),
		GRANULE_PORTS << (word >> BLOCK_SIZE & 7), (uint32_t)word & 0x7fffffffu};
}

static inline uint64_t block_listed(const struct subscriber *s, unsigned i)
{
	return atomic_load_explicit(&s->block[i], memory_order_acquire);
}

/* A new block of `ports` ports within [first, last] of the table, listed in a free place of the subscriber's; its word, or
 * 0: no run is free, or no place. `index` is the subscriber's. */
uint64_t block_make(struct arena *a, struct subscriber *s, uint32_t index, uint32_t table, uint32_t ports,
	uint16_t first, uint16_t last, uint32_t draw, uint32_t now_s, _Atomic uint64_t *intent);

/* Gives listed block i back; false: a port of it is taken. Ports that rest are not waited for. */
bool block_give_back(struct arena *a, struct subscriber *s, uint32_t index, unsigned i, _Atomic uint64_t *intent);

/* True while a port of it is taken, or rests. */
bool block_is_used(const struct arena *a, struct block b, uint8_t epoch, bool resting_too);

/* What a predecessor was in the middle of, its lock being held. */
void block_settle(struct arena *a, struct subscriber *s, uint32_t index, _Atomic uint64_t *intent);

/* Whose block a port is in; 0: nobody's. */
static inline uint32_t block_owner(const struct port_table *t, uint16_t port)
{
	return atomic_load_explicit(&t->block_of[port / GRANULE_PORTS], memory_order_acquire);
}

#endif
