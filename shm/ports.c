#include "shm/ports.h"

/* ---- one chunk ---- */

int chunk_take(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, unsigned chunk,
	uint32_t mask, unsigned from, unsigned holder, uint8_t epoch, _Atomic uint64_t *intent, uint64_t *word)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	for (;;) {
		*word = chunk_in_epoch(seen, epoch);
		if ((chunk_holder(*word) == CHUNK_BLOCK) != (holder == CHUNK_BLOCK))
			return -1; /* looked at here: a chunk may pass to a block, or from one, at any moment */
		uint32_t free = chunk_free(*word) & mask;
		if (!free)
			return -1;
		struct port_place p = {(uint16_t)chunk, (uint8_t)chunk_first(free, from)};

		*word |= 1ull << p.place;
		if (holder && chunk_holder(*word) == CHUNK_UNHELD)
			*word |= (uint64_t)holder << CHUNK_HOLDER;
		atomic_store_explicit(intent, port_name(table, set, port_of_place(o, p)), memory_order_release);
		if (atomic_compare_exchange_weak_explicit(
			    cell, &seen, *word, memory_order_seq_cst, memory_order_relaxed)) {
			if (chunk_holder(seen) != chunk_holder(*word))
				chunk_note(t, set, chunk, false);
			return p.place;
		}
	}
}

bool chunk_put(struct port_table *t, enum port_set set, struct port_place p, bool rest, uint8_t epoch, uint64_t *word)
{
	_Atomic uint64_t *cell = &t->chunk[set][p.chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed), one = 1ull << p.place;

	do {
		if (!(seen & one))
			return false;
		*word = chunk_in_epoch(seen, epoch) & ~one;
		if (rest)
			*word |= one << CHUNK_RESTS;
	} while (
		!atomic_compare_exchange_weak_explicit(cell, &seen, *word, memory_order_acq_rel, memory_order_relaxed));
	return true;
}

bool chunk_let_go(struct port_table *t, enum port_set set, unsigned chunk, unsigned holder, uint8_t epoch)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	do {
		if (chunk_holder(seen) != holder || chunk_free(chunk_in_epoch(seen, epoch)) != CHUNK_ALL)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(cell, &seen, 0, memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, true);
	return true;
}

void chunk_note(struct port_table *t, enum port_set set, unsigned chunk, bool unheld)
{
	unsigned bit = chunk_bit(chunk_column_bits(t->basis.slot_bits), chunk);
	_Atomic uint64_t *word = &t->unheld[set][bit / 64];
	uint64_t one = 1ull << bit % 64;

	if (unheld)
		atomic_fetch_or_explicit(word, one, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(word, ~one, memory_order_relaxed);
}

/* ---- given ports, and ranges ---- */

bool ports_take_one(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, uint16_t port,
	bool in_block, uint8_t epoch, _Atomic uint64_t *intent)
{
	struct port_place p = port_place_of(o, port);
	uint64_t word;

	if (chunk_take(t, table, o, set, p.chunk, 1u << p.place, 0, in_block ? CHUNK_BLOCK : 0, epoch, intent, &word) >=
		0)
		return true;
	atomic_store_explicit(intent, 0, memory_order_relaxed);
	return false;
}

/* Which of a chunk's ports lie in [first, last]; its own first one being `at`. */
static uint32_t in_range(uint32_t at, uint16_t first, uint16_t last)
{
	uint32_t mask = CHUNK_ALL;

	if (at < first)
		mask &= CHUNK_ALL << (first - at);
	if (at + CHUNK_PORTS - 1 > last)
		mask &= CHUNK_ALL >> (at + CHUNK_PORTS - 1 - last);
	return mask;
}

int ports_take_in(struct port_table *t, uint32_t table, const struct port_order *o, enum port_set set, uint16_t first,
	uint16_t last, const uint16_t *allowed, const struct port_bar *bar, int odd, bool in_block, uint32_t draw,
	uint8_t epoch, _Atomic uint64_t *intent)
{
	static const uint32_t parity[2] = {0x5555, 0xaaaa};
	uint32_t lo = first / CHUNK_PORTS, n = last / CHUNK_PORTS - lo + 1, start = draw % n;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (lo + (start + i) % n) * CHUNK_PORTS;
		struct port_place p = port_place_of(o, (uint16_t)at);
		uint32_t mask = in_range(at, first, last);
		uint64_t word;

		if (allowed)
			mask &= allowed[p.chunk];
		if (bar && mask)
			mask &= (uint32_t)~bar->mask(bar->context, p.chunk);
		if (odd == 0 || odd == 1)
			mask &= parity[odd];
		if (!mask)
			continue;
		int place = chunk_take(t, table, o, set, p.chunk, mask, draw >> 16 & 15, in_block ? CHUNK_BLOCK : 0,
			epoch, intent, &word);
		if (place >= 0)
			return (int)at + place;
	}
	atomic_store_explicit(intent, 0, memory_order_relaxed);
	return -1;
}

bool ports_put(struct port_table *t, const struct port_order *o, enum port_set set, uint16_t port)
{
	struct port_place p = port_place_of(o, port);
	uint64_t word = chunk_read(t, set, p.chunk);

	return chunk_put(t, set, p, false, (uint8_t)(word >> CHUNK_EPOCH), &word);
}

bool ports_is_taken(const struct port_table *t, const struct port_order *o, enum port_set set, uint16_t port)
{
	struct port_place p = port_place_of(o, port);

	return chunk_read(t, set, p.chunk) >> p.place & 1;
}

bool ports_are_idle(const struct port_table *t, uint8_t epoch)
{
	for (unsigned i = 0; i < N_PORT_SETS * N_CHUNKS; i++) {
		uint64_t word = chunk_in_epoch(chunk_read(t, i / N_CHUNKS, i % N_CHUNKS), epoch);

		if (chunk_free(word) != CHUNK_ALL || chunk_holder(word) == CHUNK_BLOCK)
			return false;
	}
	for (unsigned g = 0; g < N_GRANULES; g++)
		if (atomic_load_explicit(&t->block_of[g], memory_order_acquire))
			return false;
	return true;
}

struct port_use_count ports_used(const struct port_table *t, enum port_set set, uint8_t epoch)
{
	struct port_use_count n = {0, 0};

	for (unsigned c = 0; c < N_CHUNKS; c++) {
		uint64_t word = chunk_in_epoch(atomic_load_explicit(&t->chunk[set][c], memory_order_relaxed), epoch);

		n.taken += (uint32_t)__builtin_popcount(chunk_taken(word));
		n.resting += CHUNK_PORTS - (uint32_t)__builtin_popcount(chunk_taken(word)) -
			     (uint32_t)__builtin_popcount(chunk_free(word));
	}
	return n;
}
