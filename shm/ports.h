/* ports: which ports of a NAT address are in use, and whose turn it is to give them out.
 *
 * What       two sets of ports per address: TCP, and everything else (UDP ports, ICMP query identifiers). 16 ports are a
 *            chunk, and a chunk is one word: which of its ports are taken, which rest after use, and which engine gives
 *            them out. A taken port has exactly one owner: the live mapping with that address and port.
 *            Chunks lie in the order of the table's basis (port_order.h); ports 0 to 1023 have chunks of their own
 *            behind these, in plain order.
 *            Where there is a bit for each chunk, those of a slot stand side by side: a column. With fewer than 64 slots there
 *            are 64 columns all the same, several to a slot. So what a slot has is one word to look at.
 * Units      ports in host order; hold-down in epochs: numbers that grow by one in each hold time.
 * Ownership  the table is an arena object made by mgmtd. Any engine changes a chunk, by compare-exchange. In steady state
 *            only its holder does: who holds a chunk has first choice of its ports, no more, so that nobody runs dry
 *            while ports are free, and nothing is lost when a holder dies.
 * Calls      engines, never blocking, no system call. used, is_taken: anyone.
 * Errors     take: -1 when nothing free is left under the mask. put: false when the port was not taken (count it).
 * Rest       a port put back in epoch e may be taken again from e + 2 on: after one hold time at least, two at most
 *            (RFC 6888 REQ-8). Of those that rest, the older half comes back first.
 * Atomicity  one change is one compare-exchange of one word, acquire-release: what a port's last owner did is seen. Taking is
 *            in the one order of all seq_cst operations besides: see snapshot.h, Tables.
 * Death      a taker that dies between taking and recording leaves the port to its intent (engine.h), written before. The
 *            bit in `unheld` is a hint and may be wrong; who looks the chunk up puts it right.
 * Blocks     64 ports are a granule; a subscriber's block is a power of two of them, aligned, in both sets alike. Its chunks
 *            are held by CHUNK_BLOCK, and only its subscriber's mappings take ports there (blocks.h).
 */
#ifndef CORENAT_SHM_PORTS_H
#define CORENAT_SHM_PORTS_H

#include "common/port_order.h"
#include "shm/session.h"

enum port_set { PORTS_TCP, PORTS_OTHER, N_PORT_SETS };

enum {
	LOW_PORTS = 1024,
	N_CHUNKS = ORDER_CHUNKS + LOW_PORTS / CHUNK_PORTS,
	CHUNK_WORDS = N_CHUNKS / 64, /* of a bit for each chunk; the last one is of the low ports */
	GRANULE_PORTS = 64,
	N_GRANULES = 65536 / GRANULE_PORTS,
	BLOCK_PORTS_MAX = 4096,
};
_Static_assert(N_CHUNKS % 64 == 0, "whole words");
_Static_assert(BLOCK_PORTS_MAX / GRANULE_PORTS == 64, "a block's bits lie in one word");

/* Holders of a chunk besides engines (number + 1). */
enum { CHUNK_UNHELD = 0, CHUNK_BLOCK = 255 };
_Static_assert(ENGINE_MAX + 1 < CHUNK_BLOCK, "holders fit one byte");

/* A chunk: taken, resting since this epoch, resting since the one before, the epoch, the holder. */
enum { CHUNK_RESTS = 16, CHUNK_RESTED = 32, CHUNK_EPOCH = 48, CHUNK_HOLDER = 56 };
#define CHUNK_ALL 0xffffu

/* Legend  [G] slab generation  [F] while free  [I] fixed once published  [A] atomic, any engine  [M] mgmtd (snapshot.h) */
struct port_table {
	_Atomic uint32_t generation;                   /*  0 [G] */
	uint32_t link;                                 /*  4 [F] */
	be32_t address;                                /*  8 [I] */
	_Atomic uint32_t drained;                      /* 12 [M] generation under which it was found empty for good */
	struct port_basis basis;                       /* 16 [I] */
	uint32_t reserved2[3];                         /* 52 */
	_Atomic uint64_t chunk[N_PORT_SETS][N_CHUNKS]; /* 64 [A] */
	_Atomic uint64_t
		unheld[N_PORT_SETS][CHUNK_WORDS + 7]; /* 66,624 [A] bit, in columns: the chunk has no holder; a hint */
	_Atomic uint64_t block[N_GRANULES / 64];      /* 67,776 [A] bit: the granule is labelled; a hint */
	_Atomic uint32_t block_of[N_GRANULES];        /* 67,904 [A] whose block it is in: the label; 0: none */
};
_Static_assert(sizeof(struct port_table) == 72000, "its row in SLAB_CLASSES");
_Static_assert(offsetof(struct port_table, chunk) == 64, "see map");
_Static_assert(offsetof(struct port_table, unheld) % CACHE_LINE == 0, "see map");

/* A column's number is so many low bits of those of its chunks, the row the others. */
enum { ORDER_CHUNK_BITS = 12, COLUMN_BITS_MIN = 6, COLUMN_WORDS = (1 << SLOT_BITS_MAX) / 64 };
_Static_assert(ORDER_CHUNKS == 1 << ORDER_CHUNK_BITS, "row and column");

static inline uint32_t chunk_column_bits(uint32_t slot_bits)
{
	return slot_bits > COLUMN_BITS_MIN ? slot_bits : COLUMN_BITS_MIN;
}

/* Where the bit of a chunk is, in columns. Low ports' chunks have theirs behind the others'. */
static inline unsigned chunk_bit(uint32_t column_bits, unsigned chunk)
{
	if (chunk >= ORDER_CHUNKS)
		return chunk;
	return (chunk << (ORDER_CHUNK_BITS - column_bits) | chunk >> column_bits) & (ORDER_CHUNKS - 1);
}

/* The other way round. */
static inline unsigned chunk_at_bit(uint32_t column_bits, unsigned bit)
{
	return chunk_bit(ORDER_CHUNK_BITS - column_bits, bit);
}

static inline struct port_table *port_table_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_port_table, index);
}

static inline enum port_set port_set_of(enum l4 l4)
{
	return l4 == L4_TCP ? PORTS_TCP : PORTS_OTHER;
}

/* Where a port lies. */
struct port_place {
	uint16_t chunk;
	uint8_t place;
};

static inline struct port_place port_place_of(const struct port_order *o, uint16_t port)
{
	uint32_t position = port < LOW_PORTS ? ORDER_CHUNKS * CHUNK_PORTS + port : port_position(o, port);

	return (struct port_place){(uint16_t)(position / CHUNK_PORTS), (uint8_t)(position % CHUNK_PORTS)};
}

static inline uint16_t port_of_place(const struct port_order *o, struct port_place p)
{
	uint32_t position = p.chunk * CHUNK_PORTS + p.place;

	return p.chunk < ORDER_CHUNKS ? port_at(o, position) : (uint16_t)(position - ORDER_CHUNKS * CHUNK_PORTS);
}

/* The intent word for a port being taken or put; never zero for a real port. */
static inline uint64_t port_name(uint32_t table, enum port_set set, uint16_t port)
{
	return (uint64_t)table << 32 | (uint32_t)set << 16 | port;
}

static inline unsigned chunk_holder(uint64_t word)
{
	return (unsigned)(word >> CHUNK_HOLDER);
}

static inline uint32_t chunk_taken(uint64_t word)
{
	return word & CHUNK_ALL;
}

/* The word as it is in that epoch: what has rested long enough is free. */
static inline uint64_t chunk_in_epoch(uint64_t word, uint8_t epoch)
{
	uint8_t passed = (uint8_t)(epoch - (uint8_t)(word >> CHUNK_EPOCH));
	uint64_t rests = word >> CHUNK_RESTS & CHUNK_ALL;

	if (passed == 0)
		return word;
	word &= CHUNK_ALL | 0xffull << CHUNK_HOLDER;
	if (passed == 1)
		word |= rests << CHUNK_RESTED;
	return word | (uint64_t)epoch << CHUNK_EPOCH;
}

/* Which of its ports can be taken: neither taken nor resting. */
static inline uint32_t chunk_free(uint64_t word)
{
	return (uint32_t) ~(word | word >> CHUNK_RESTS | word >> CHUNK_RESTED) & CHUNK_ALL;
}

/* The first of these places at or after `from`, then the lowest; there is one. */
static inline unsigned chunk_first(uint32_t free, unsigned from)
{
	uint32_t later = free & (~0u << from);

	return (unsigned)__builtin_ctz(later ? later : free);
}

static inline uint64_t chunk_read(const struct port_table *t, enum port_set set, unsigned chunk)
{
	return atomic_load_explicit(&t->chunk[set][chunk], memory_order_acquire);
}

/* Ports of one address that may not be given besides those the rules do not allow. NULL stands for none. */
struct port_bar {
	uint16_t (*mask)(void *context, unsigned chunk); /* those of a chunk */
	void *context;
};

/* Takes a port of the chunk under the mask, the first at or after `from`, then the lowest. `holder`: CHUNK_BLOCK takes from
 * a block's chunk only, all others from none; an engine's number + 1 holds the chunk from then on when nobody did, 0 does
 * not. `*intent` names the port before it is touched and stays so. `*word`: the
 * chunk as it is then. The place, or -1. */
int chunk_take(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, unsigned chunk,
	uint32_t mask, unsigned from, unsigned holder, uint8_t epoch, _Atomic uint64_t *intent, uint64_t *word);

/* Gives a port back, to rest or at once; false when it was not taken. */
bool chunk_put(struct port_table *t, enum port_set set, struct port_place p, bool rest, uint8_t epoch, uint64_t *word);

/* Lets a chunk go that nobody uses: true when it has no holder now. */
bool chunk_let_go(struct port_table *t, enum port_set set, unsigned chunk, unsigned holder, uint8_t epoch);

/* What `unheld` says of a chunk. */
static inline bool chunk_is_noted(const struct port_table *t, enum port_set set, unsigned chunk)
{
	unsigned bit = chunk_bit(chunk_column_bits(t->basis.slot_bits), chunk);

	return atomic_load_explicit(&t->unheld[set][bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

/* Notes in `unheld` that the chunk has a holder, or none. */
void chunk_note(struct port_table *t, enum port_set set, unsigned chunk, bool unheld);

/* Takes one given port, whoever holds its chunk, unless it is another subscriber's block. */
bool ports_take_one(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, uint16_t port,
	bool in_block, uint8_t epoch, _Atomic uint64_t *intent);

/* Takes a port in [first, last] of a table in plain order, in a block or not, at random from `draw` on. `odd`: 0 even
 * ones only, 1 odd ones only, else any. -1: none. */
int ports_take_in(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, uint16_t first,
	uint16_t last, const uint16_t *allowed, const struct port_bar *bar, int odd, bool in_block, uint32_t draw,
	uint8_t epoch, _Atomic uint64_t *intent);

/* Gives a port back at once: for who settles what another left. */
bool ports_put(struct port_table *t, const struct port_order *o, enum port_set set, uint16_t port);

bool ports_is_taken(const struct port_table *t, const struct port_order *o, enum port_set set, uint16_t port);

/* True when nothing is in it: no port taken or resting, no block. */
bool ports_are_idle(const struct port_table *t, uint8_t epoch);

/* How many are taken, and how many rest: counted, since a count kept beside them could not be right after a death. */
struct port_use_count {
	uint32_t taken, resting;
};
struct port_use_count ports_used(const struct port_table *t, enum port_set set, uint8_t epoch);

#endif
