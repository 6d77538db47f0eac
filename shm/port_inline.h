/* port_inline: the steps of port_view.c that making a session is made of, to be inlined there (pe/nat_foresee.c,
 * pe/nat_make.c).
 *
 * What       the port that port_view_take would most likely find, in steps for who asks for many: aim fetches the word that
 *            peek reads; take_found takes what peek found. Units, ownership, calls, death: as in port_view.h.
 * Errors     as named. What is not the usual case is for the functions of port_view.c.
 */
#ifndef CORENAT_SHM_PORT_INLINE_H
#define CORENAT_SHM_PORT_INLINE_H

#include "shm/port_view.h"

struct port_aim {
	int chunk; /* -1: none */
	uint64_t random;
};

/* With its place: where the choice would begin, for who is going to take just that. */
struct port_found {
	struct port_place place;
	uint16_t port;       /* 0: nothing at first glance */
	uint64_t seen, word; /* its chunk, and that with the port taken; word 0: something is to be noted then */
};

/* The search of port_view_take, up to a chunk. */
struct port_aim port_aim_anew(const struct port_view *v, const struct port_table *t, const struct port_rules *r,
	enum port_set set, const struct port_wish *w, uint8_t epoch);
/* As port_take_found, of any own chunk. */
bool port_take_anew(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	struct port_found found, uint8_t epoch, _Atomic uint64_t *intent);
/* Makes the view say what it has to of a chunk as it is after a port of it was taken. */
void port_note_taken(struct port_view *v, const struct port_rules *r, enum port_set set, unsigned chunk, uint64_t word);

/* ---- choosing ---- */

static inline uint64_t port_step(uint64_t random)
{
	return random * 6364136223846793005u + 1442695040888963407u;
}

static inline uint32_t port_draw(uint64_t *random, uint32_t below)
{
	*random = port_step(*random);
	return (uint32_t)((*random >> 32) * below >> 32);
}

/* A bit of the word, whose bits are so many at most (a power of two): by trial, so that none is likelier than others while
 * most are set; else the nearest to another random place, before or behind by lot, so that a gap favours neither of its
 * neighbours alone. */
static inline unsigned port_pick(uint64_t *random, uint64_t word, unsigned width)
{
	uint64_t drawn = *random = port_step(*random);
	unsigned at = drawn >> 58 & (width - 1);

	if (word >> at & 1)
		return at;
	at = drawn >> 52 & (width - 1);
	uint64_t behind = word & UINT64_MAX << at, before = word & UINT64_MAX >> (63 - at);
	unsigned up = (unsigned)__builtin_ctzll(behind ? behind : word);
	unsigned down = 63 - (unsigned)__builtin_clzll(before ? before : word);

	return drawn >> 51 & 1 ? up : down;
}

/* Words of a bit for each column, and so of slots: as many as port_homes.words. */
static inline uint32_t port_column_words(const struct port_rules *r)
{
	return 1u << (r->column_bits - COLUMN_BITS_MIN);
}

/* The word in which a column's bits are, and of that word, those bits: by row. */
static inline unsigned port_column_word(const struct port_rules *r, unsigned column)
{
	return column << r->row_bits >> 6;
}

static inline uint64_t port_rows(const struct port_rules *r, uint64_t word, unsigned column)
{
	return word >> (column << r->row_bits & 63) & UINT64_MAX >> (64 - (1u << r->row_bits));
}

/* A chunk of the column among these rows. */
static inline int port_pick_row(const struct port_rules *r, unsigned column, uint64_t rows, uint64_t *random)
{
	return (int)(port_pick(random, rows, 1u << r->row_bits) << r->column_bits | column);
}

/* A chunk of the view in one of the columns `word` * 64 + bit; -1: none. */
static inline int port_choose_in_view(const struct port_view *v, const struct port_rules *r, enum port_set set,
	uint32_t word, uint64_t columns, uint64_t *random)
{
	columns &= v->some[set][word];
	if (!columns)
		return -1;
	unsigned column = word * 64 + port_pick(random, columns, 64);

	return port_pick_row(r, column, port_rows(r, v->has[set][port_column_word(r, column)], column), random);
}

/* What choose does first, and mostly ends with. */
static inline int port_choose_first(const struct port_view *v, const struct port_rules *r, enum port_set set,
	const struct port_wish *w, uint64_t *random)
{
	const struct port_homes *h = &r->homes;
	uint32_t words = port_column_words(r), word = words > 1 ? port_draw(random, words) : 0;

	if (w->low)
		return -1;
	return port_choose_in_view(
		v, r, set, word, w->by_port && h->by_port ? port_homes_word(h, w->hash, word) : UINT64_MAX, random);
}

static inline struct port_aim port_aim(const struct port_view *v, const struct port_table *t,
	const struct port_rules *r, enum port_set set, const struct port_wish *w, uint8_t epoch)
{
	struct port_aim aim = {.random = w->draw};

	aim.chunk = port_choose_first(v, r, set, w, &aim.random);
	if (aim.chunk < 0)
		aim = port_aim_anew(v, t, r, set, w, epoch);
	if (aim.chunk >= 0)
		__builtin_prefetch(&t->chunk[set][aim.chunk], 1);
	return aim;
}

/* The places of a chunk whose ports are odd, or even. */
static inline uint32_t port_parity_mask(const struct port_rules *r, unsigned chunk, int parity)
{
	struct port_place first = {(uint16_t)chunk, 0};
	uint32_t odd = r->order.odd;

	if (chunk >= ORDER_CHUNKS)
		odd = 0xaaaa;
	else if (port_of_place(&r->order, first) & 1)
		odd = ~odd;
	return parity ? odd : ~odd;
}

/* `barred`: places of the chunk that may not be given. */
static inline struct port_found port_peek(struct port_aim aim, const struct port_table *t, const struct port_rules *r,
	enum port_set set, const struct port_wish *w, uint8_t epoch, uint32_t barred)
{
	struct port_found found = {.port = 0};

	if (aim.chunk < 0)
		return found;
	unsigned chunk = (unsigned)aim.chunk;
	uint64_t seen = chunk_read(t, set, chunk), word = chunk_in_epoch(seen, epoch);
	uint32_t of_all = chunk_free(word), allowed = of_all & r->allowed[chunk] & ~barred, free = allowed;

	if (w->odd >= 0)
		free &= port_parity_mask(r, chunk, w->odd);
	if (!free)
		return found;
	uint32_t one = 1u << chunk_first(free, port_draw(&aim.random, CHUNK_PORTS));

	found.place = (struct port_place){(uint16_t)chunk, (uint8_t)__builtin_ctz(one)};
	found.port = port_of_place(&r->order, found.place);
	found.seen = seen;
	if (chunk_holder(word) == r->engine + 1 && (allowed & ~one) && (of_all | chunk_taken(word)) == CHUNK_ALL)
		found.word = word | one;
	return found;
}

/* ---- taking ---- */

/* False when it is no longer to be had. Nothing may be barred. The intent is the caller's to end when that is all it tries. */
static inline bool port_take_found(struct port_view *v, struct port_table *t, const struct port_rules *r,
	enum port_set set, struct port_found found, uint8_t epoch, _Atomic uint64_t *intent)
{
	_Atomic uint64_t *cell = &t->chunk[set][found.place.chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_acquire);

	if (seen == found.seen && found.word) { /* as it was */
		atomic_store_explicit(intent, port_name(v->table, set, found.port), memory_order_release);
		return atomic_compare_exchange_strong_explicit(
			cell, &seen, found.word, memory_order_seq_cst, memory_order_relaxed);
	}
	uint64_t word = chunk_in_epoch(seen, epoch), one = 1ull << found.place.place;

	if (chunk_holder(word) != r->engine + 1 || !(chunk_free(word) & one & r->allowed[found.place.chunk]))
		return port_take_anew(v, t, r, set, found, epoch, intent);
	atomic_store_explicit(intent, port_name(v->table, set, found.port), memory_order_release);
	word |= one;
	if (!atomic_compare_exchange_strong_explicit(cell, &seen, word, memory_order_acq_rel, memory_order_relaxed))
		return false;
	uint32_t free = chunk_free(word);
	if (!(free & r->allowed[found.place.chunk]) || (free | chunk_taken(word)) != CHUNK_ALL)
		port_note_taken(v, r, set, found.place.chunk, word);
	return true;
}

#endif
