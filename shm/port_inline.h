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
	uint16_t port; /* 0: nothing at first glance */
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

static inline uint32_t port_draw(uint64_t *random, uint32_t below)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*random >> 32) * below >> 32);
}

/* A bit of the word: by trial, so that none is likelier than others while many are set; then the first at or after a random
 * place. */
static inline unsigned port_pick(uint64_t *random, uint64_t word)
{
	enum { TRIALS = 4 };
	uint32_t at = 0;

	for (unsigned i = 0; i < TRIALS; i++) {
		at = port_draw(random, 64);
		if (word >> at & 1)
			return at;
	}
	uint64_t later = word & (UINT64_MAX << at);

	return (unsigned)__builtin_ctzll(later ? later : word);
}

/* Words `first`, `first` + `step` … of those 64. */
static inline uint64_t port_every(uint32_t first, uint32_t step)
{
	static const uint64_t comb[7] = {UINT64_MAX, 0x5555555555555555u, 0x1111111111111111u, 0x0101010101010101u,
		0x0001000100010001u, 0x0000000100000001u, 1};

	return comb[__builtin_ctz(step)] << first;
}

/* A chunk of the view, of a word among these, whose slot is among those of `slots`; -1: none. */
static inline int port_choose_in_view(
	const struct port_view *v, enum port_set set, uint64_t words, uint64_t slots, uint64_t *random)
{
	for (words &= v->some[set]; words;) {
		unsigned w = port_pick(random, words);
		uint64_t found = v->has[set][w] & slots;

		if (found)
			return (int)(w * 64 + port_pick(random, found));
		words &= ~(1ull << w);
	}
	return -1;
}

/* What choose does first, and mostly ends with. */
static inline int port_choose_first(const struct port_view *v, const struct port_rules *r, enum port_set set,
	const struct port_wish *w, uint64_t *random)
{
	const struct port_homes *h = &r->homes;

	if (w->low)
		return -1;
	if (!w->by_port || !h->by_port)
		return port_choose_in_view(v, set, UINT64_MAX, UINT64_MAX, random);
	uint32_t at = port_draw(random, h->words);
	uint64_t slots = port_homes_word(h, w->hash, at);

	return slots ? port_choose_in_view(v, set, port_every(at, h->words), slots, random) : -1;
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

static inline struct port_found port_peek(struct port_aim aim, const struct port_table *t, const struct port_rules *r,
	enum port_set set, const struct port_wish *w, uint8_t epoch)
{
	if (aim.chunk < 0)
		return (struct port_found){{0, 0}, 0};
	unsigned chunk = (unsigned)aim.chunk;
	uint32_t free = chunk_free(chunk_in_epoch(chunk_read(t, set, chunk), epoch)) & r->allowed[chunk];

	if (w->odd >= 0)
		free &= port_parity_mask(r, chunk, w->odd);
	if (!free)
		return (struct port_found){{0, 0}, 0};
	struct port_place p = {(uint16_t)chunk, (uint8_t)chunk_first(free, port_draw(&aim.random, CHUNK_PORTS))};
	return (struct port_found){p, port_of_place(&r->order, p)};
}

/* ---- taking ---- */

/* False when it is no longer to be had. Nothing may be barred. The intent is the caller's to end when that is all it tries. */
static inline bool port_take_found(struct port_view *v, struct port_table *t, const struct port_rules *r,
	enum port_set set, struct port_found found, uint8_t epoch, _Atomic uint64_t *intent)
{
	_Atomic uint64_t *cell = &t->chunk[set][found.place.chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_acquire);
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
