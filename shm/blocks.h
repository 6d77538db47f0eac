/* blocks: runs of ports that are one subscriber's alone.
 *
 * What       a block is an aligned power of two of ports of one NAT address, the same for TCP and all else. Its granules are
 *            labelled with the subscriber (port_table.block_of), its chunks are held by CHUNK_BLOCK, and the subscriber
 *            lists it. Tables in plain order only.
 * Units      ports in host order; seconds of CLOCK_MONOTONIC.
 * Ownership  made and given back under the subscriber's lock. Listing is one word: engines read it without.
 * Calls      make, give back, settle: an engine that has the lock (mgmtd too, but for make). The rest: anyone.
 * Errors     make: 0 when no run is free. give back: false while a port of it is taken.
 * Use        w = block_make(v, s, index, &wish);
 *
 * Publish    intent -> granule by granule the label, and its hint -> chunks, one by one -> the word in the list (release)
 *            -> its event -> intent 0.
 * Retire     intent -> the word out of the list -> no port may be taken, else the word goes back -> its event -> granule by
 *            granule its chunks, its hint, its label -> intent 0. From the first chunk on there is no way back.
 * Taking     who takes a port of a block looks at the list again afterwards, and gives it back when the block is gone: either
 *            the taker sees that, or who retires sees the port taken (both are locked instructions). A taker that comes
 *            late takes nothing where no block is (chunk_take), and for a moment only where another's is by then.
 * Events     who has a block is told before the block can be the next one's, so that in the order of time one holder
 *            follows the other (event.h).
 * Death      the subscriber stays locked. The successor finds the block in the intent: listed, it is complete; not listed but
 *            whole, it is relisted if a port of it is taken; else what there is of it goes. Each step may be repeated. The
 *            event that tells the outcome is put (again): a block that is given and returned has one name, of who, where
 *            and since when, and to be told twice that it was given, or returned, is to know it. Given after returned
 *            means that it was relisted. One that was being made and never listed was nobody's: nothing is told.
 * Rest       what rests in a chunk goes on resting whoever has it next.
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
_Static_assert(ARENA_PAGES_MAX *(ARENA_PAGE / sizeof(struct port_table)) < 1u << (63 - BLOCK_TABLE), "fits");
/* Of an intent's word: it is being given back, and was listed. */
#define BLOCK_RETURNING (1ull << 63)

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

static inline uint16_t block_last(struct block b)
{
	return (uint16_t)(b.first + b.ports - 1);
}

static inline uint64_t block_listed(const struct subscriber *s, unsigned i)
{
	return atomic_load_explicit(&s->block[i], memory_order_acquire);
}

/* Whether the subscriber lists a block that a port lies in. */
static inline bool block_covers(const struct subscriber *s, uint32_t table, uint16_t port)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(s, i);
		struct block b = block_of_word(word);

		if (word && b.table == table && port >= b.first && port <= block_last(b))
			return true;
	}
	return false;
}

/* What is wanted: whole blocks within [first, last] that have a port that may be given. */
struct block_wish {
	uint32_t table;
	uint32_t ports; /* power of two, GRANULE_PORTS to BLOCK_PORTS_MAX */
	uint16_t first, last;
	const uint16_t *allowed; /* by chunk, as in struct port_rules; NULL: all */
	const struct port_bar *bar;
	uint32_t draw; /* random */
	uint8_t epoch; /* of ports that rest */
	uint32_t now_s;
};

/* A new block at random, listed in a free place of the subscriber's; its word, or 0: no run is free, or no place. One in
 * which ports rest only when there is no other. `index` is the subscriber's. */
uint64_t block_make(struct subscribers *v, struct subscriber *s, uint32_t index, const struct block_wish *w);

/* Gives listed block i back; false: a port of it is taken. Ports that rest are not waited for. */
bool block_give_back(struct subscribers *v, struct subscriber *s, uint32_t index, unsigned i);

/* True while a port of it is taken, or rests. */
bool block_is_used(const struct arena *a, struct block b, uint8_t epoch, bool resting_too);

/* What a predecessor was in the middle of, its lock being held. */
void block_settle(struct subscribers *v, struct subscriber *s, uint32_t index);

/* Whose block a port is in; 0: nobody's. */
static inline uint32_t block_owner(const struct port_table *t, uint16_t port)
{
	return atomic_load_explicit(&t->block_of[port / GRANULE_PORTS], memory_order_acquire);
}

/* The chunk of a port of a table in plain order. */
static inline unsigned block_chunk(uint32_t port)
{
	return port < LOW_PORTS ? ORDER_CHUNKS + port / CHUNK_PORTS : port / CHUNK_PORTS;
}

#endif
