#include "shm/ports.h"

/* Bits of word `w` that stand for ports in [first, last]. */
static uint64_t word_mask(unsigned w, uint16_t first, uint16_t last)
{
	uint64_t mask = ~0ull;

	if (w == first / 64u)
		mask &= ~0ull << (first & 63);
	if (w == last / 64u)
		mask &= ~0ull >> (63 - (last & 63));
	return mask;
}

static unsigned first_from(uint64_t free, unsigned from)
{
	uint64_t later = free & (~0ull << from);

	return (unsigned)__builtin_ctzll(later ? later : free);
}

int ports_peek(const struct port_table *t, enum port_set set, uint16_t first, uint16_t last, uint32_t draw)
{
	uint32_t port = ports_start(first, last, draw);
	uint64_t taken = atomic_load_explicit(&t->bits[set][port / 64], memory_order_relaxed);
	uint64_t free = ~taken & word_mask(port / 64, first, last);

	return free ? (int)(port / 64 * 64 + first_from(free, port & 63)) : -1;
}

/* Takes a free bit of the word under the mask, the first at or after bit `from`, then the lowest. */
static int word_take(struct port_table *t, uint32_t table, enum port_set set, unsigned w, uint64_t mask, unsigned from,
	_Atomic uint64_t *intent)
{
	_Atomic uint64_t *word = &t->bits[set][w];
	uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

	for (;;) {
		uint64_t free = ~seen & mask;
		if (!free)
			return -1;
		unsigned bit = first_from(free, from);
		uint64_t one = 1ull << bit;

		atomic_store_explicit(intent, port_name(table, set, (uint16_t)(w * 64 + bit)), memory_order_release);
		if (atomic_compare_exchange_weak_explicit(
			    word, &seen, seen | one, memory_order_acq_rel, memory_order_relaxed))
			return (int)(w * 64 + bit);
	}
}

int ports_take(struct port_table *t, uint32_t table, enum port_set set, uint16_t first, uint16_t last, uint32_t start,
	_Atomic uint64_t *intent)
{
	unsigned lo = first / 64u, n = last / 64u - lo + 1;
	uint32_t port = ports_start(first, last, start);

	for (unsigned i = 0; i <= n; i++) {
		unsigned w = lo + (port / 64u - lo + i) % n;
		int got = word_take(t, table, set, w, word_mask(w, first, last), i == 0 ? port & 63 : 0, intent);

		if (got >= 0)
			return got;
	}
	atomic_store_explicit(intent, 0, memory_order_relaxed);
	return -1;
}

bool ports_put(struct port_table *t, enum port_set set, uint16_t port)
{
	uint64_t one = 1ull << (port & 63);
	uint64_t was = atomic_fetch_and_explicit(&t->bits[set][port / 64], ~one, memory_order_acq_rel);

	return was & one;
}

uint32_t ports_used(const struct port_table *t, enum port_set set)
{
	uint32_t n = 0;

	for (unsigned w = 0; w < PORT_WORDS; w++)
		n += (uint32_t)__builtin_popcountll(atomic_load_explicit(&t->bits[set][w], memory_order_relaxed));
	return n;
}

bool ports_is_set(const struct port_table *t, enum port_set set, uint16_t port)
{
	return atomic_load_explicit(&t->bits[set][port / 64], memory_order_acquire) >> (port & 63) & 1;
}
