#include "shm/blocks.h"

enum { GRANULE_CHUNKS = GRANULE_PORTS / CHUNK_PORTS };

static unsigned granules_of(struct block b)
{
	return b.ports / GRANULE_PORTS;
}

static unsigned first_granule(struct block b)
{
	return b.first / GRANULE_PORTS;
}

/* The chunk of a granule's port: of a table in plain order. */
static unsigned chunk_at(unsigned granule, unsigned i)
{
	unsigned port = granule * GRANULE_PORTS + i * CHUNK_PORTS;

	return port < LOW_PORTS ? ORDER_CHUNKS + port / CHUNK_PORTS : port / CHUNK_PORTS;
}

static uint64_t granule_bits(struct block b)
{
	unsigned n = granules_of(b);

	return (n == 64 ? UINT64_MAX : (1ull << n) - 1) << first_granule(b) % 64;
}

/* ---- pieces; each may be repeated ---- */

/* Chunks nobody uses pass to the block. False: somebody uses one. */
static bool hold_chunk(struct port_table *t, enum port_set set, unsigned chunk)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	do {
		if (chunk_holder(seen) == CHUNK_BLOCK)
			return true;
		if (chunk_holder(seen) != CHUNK_UNHELD || chunk_taken(seen))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		cell, &seen, (uint64_t)CHUNK_BLOCK << CHUNK_HOLDER, memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, false);
	return true;
}

/* False: a port of it is taken. */
static bool free_chunk(struct port_table *t, enum port_set set, unsigned chunk)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	do {
		if (chunk_holder(seen) != CHUNK_BLOCK)
			return true;
		if (chunk_taken(seen))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(cell, &seen, 0, memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, true);
	return true;
}

/* Takes a chunk back that was freed a moment ago, whoever has begun to take a port of it. */
static bool keep_chunk(struct port_table *t, enum port_set set, unsigned chunk)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	do {
		if (chunk_holder(seen) != CHUNK_UNHELD)
			return true;
	} while (!atomic_compare_exchange_weak_explicit(cell, &seen, seen | (uint64_t)CHUNK_BLOCK << CHUNK_HOLDER,
		memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, false);
	return true;
}

/* With all chunks of the granules that are the subscriber's; false when it failed with one of them. */
static bool each_chunk(struct port_table *t, struct block b, uint32_t index,
	bool (*what)(struct port_table *, enum port_set, unsigned))
{
	bool ok = true;

	for (unsigned g = first_granule(b); g < first_granule(b) + granules_of(b); g++)
		for (unsigned i = 0; i < N_PORT_SETS * GRANULE_CHUNKS; i++)
			if (t->block_of[g] == index)
				ok &= what(t, i / GRANULE_CHUNKS, chunk_at(g, i % GRANULE_CHUNKS));
	return ok;
}

/* Labels the granules that nobody has. False: somebody else has one. */
static bool label(struct port_table *t, struct block b, uint32_t index)
{
	for (unsigned g = first_granule(b); g < first_granule(b) + granules_of(b); g++) {
		uint32_t nobody = 0;

		if (!atomic_compare_exchange_strong_explicit(
			    &t->block_of[g], &nobody, index, memory_order_acq_rel, memory_order_relaxed) &&
			nobody != index)
			return false;
	}
	return true;
}

static void unlabel(struct port_table *t, struct block b, uint32_t index)
{
	for (unsigned g = first_granule(b); g < first_granule(b) + granules_of(b); g++) {
		uint32_t mine = index;

		atomic_compare_exchange_strong_explicit(
			&t->block_of[g], &mine, 0, memory_order_acq_rel, memory_order_relaxed);
	}
}

static void hint(struct port_table *t, struct block b, bool used)
{
	_Atomic uint64_t *word = &t->block[first_granule(b) / 64];

	if (used)
		atomic_fetch_or_explicit(word, granule_bits(b), memory_order_relaxed);
	else
		atomic_fetch_and_explicit(word, ~granule_bits(b), memory_order_relaxed);
}

/* A run that is not listed is nobody's any more; false: a port of it is taken. */
static bool dissolve(struct port_table *t, struct block b, uint32_t index)
{
	if (!each_chunk(t, b, index, free_chunk))
		return false;
	unlabel(t, b, index);
	hint(t, b, false);
	return true;
}

static void relist(struct port_table *t, struct subscriber *s, uint32_t index, unsigned place, uint64_t word)
{
	each_chunk(t, block_of_word(word), index, keep_chunk);
	atomic_store_explicit(&s->block[place], word, memory_order_release);
}

/* ---- making ---- */

static bool claim(struct port_table *t, struct block b, uint32_t index)
{
	if (label(t, b, index) && each_chunk(t, b, index, hold_chunk))
		return true;
	dissolve(t, b, index);
	return false;
}

static unsigned free_place(const struct subscriber *s)
{
	unsigned i = 0;

	while (i < SUBSCRIBER_BLOCKS && block_listed(s, i))
		i++;
	return i;
}

uint64_t block_make(struct arena *a, struct subscriber *s, uint32_t index, uint32_t table, uint32_t ports,
	uint16_t first, uint16_t last, uint32_t draw, uint32_t now_s, _Atomic uint64_t *intent)
{
	struct port_table *t = port_table_at(a, table);
	uint32_t lo = (first + ports - 1) / ports, hi = (last + 1u) / ports; /* whole blocks only */
	unsigned place = free_place(s);

	for (uint32_t i = 0; place < SUBSCRIBER_BLOCKS && i < (hi > lo ? hi - lo : 0); i++) {
		uint32_t at = lo + (draw + i) % (hi - lo);
		struct block b = {table, (uint16_t)(at * ports), ports, now_s};

		if (atomic_load_explicit(&t->block[first_granule(b) / 64], memory_order_relaxed) & granule_bits(b))
			continue;
		atomic_store_explicit(intent, block_word(b), memory_order_release);
		if (!claim(t, b, index))
			continue;
		atomic_store_explicit(&s->block_used_s[place], now_s, memory_order_relaxed);
		atomic_store_explicit(&s->block[place], block_word(b), memory_order_release);
		hint(t, b, true);
		atomic_store_explicit(intent, 0, memory_order_release);
		return block_word(b);
	}
	atomic_store_explicit(intent, 0, memory_order_release);
	return 0;
}

/* ---- giving back ---- */

bool block_is_used(const struct arena *a, struct block b, uint8_t epoch, bool resting_too)
{
	const struct port_table *t = port_table_at(a, b.table);

	for (unsigned g = first_granule(b); g < first_granule(b) + granules_of(b); g++)
		for (unsigned i = 0; i < N_PORT_SETS * GRANULE_CHUNKS; i++) {
			uint64_t word = chunk_in_epoch(
				chunk_read(t, i / GRANULE_CHUNKS, chunk_at(g, i % GRANULE_CHUNKS)), epoch);

			if (chunk_taken(word) || (resting_too && chunk_free(word) != CHUNK_ALL))
				return true;
		}
	return false;
}

bool block_give_back(struct arena *a, struct subscriber *s, uint32_t index, unsigned i, _Atomic uint64_t *intent)
{
	uint64_t word = block_listed(s, i);
	struct block b = block_of_word(word);
	struct port_table *t = port_table_at(a, b.table);

	atomic_store_explicit(intent, word, memory_order_release);
	atomic_exchange_explicit(&s->block[i], 0, memory_order_seq_cst);
	bool gone = dissolve(t, b, index);

	if (!gone)
		relist(t, s, index, i, word);
	atomic_store_explicit(intent, 0, memory_order_release);
	return gone;
}

/* ---- after a death ---- */

static bool is_listed(const struct subscriber *s, uint64_t word)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (block_listed(s, i) == word)
			return true;
	return false;
}

void block_settle(struct arena *a, struct subscriber *s, uint32_t index, _Atomic uint64_t *intent)
{
	uint64_t word = atomic_load_explicit(intent, memory_order_acquire);
	struct block b = block_of_word(word);
	unsigned place = free_place(s);

	if (!word || !slab_valid(a, SLAB_port_table, b.table))
		return;
	struct port_table *t = port_table_at(a, b.table);

	if (is_listed(s, word)) {
		each_chunk(t, b, index, keep_chunk);
		hint(t, b, true);
	} else if (!dissolve(t, b, index) && place < SUBSCRIBER_BLOCKS) {
		relist(t, s, index, place, word);
	}
	atomic_store_explicit(intent, 0, memory_order_release);
}
