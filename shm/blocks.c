#include "shm/blocks.h"

enum { GRANULE_CHUNKS = GRANULE_PORTS / CHUNK_PORTS, HINT_WORDS = N_GRANULES / 64 };

static unsigned granules_of(struct block b)
{
	return b.ports / GRANULE_PORTS;
}

static unsigned first_granule(struct block b)
{
	return b.first / GRANULE_PORTS;
}

static unsigned end_granule(struct block b)
{
	return first_granule(b) + granules_of(b);
}

static uint32_t label_of(const struct port_table *t, unsigned granule)
{
	return atomic_load_explicit(&t->block_of[granule], memory_order_acquire);
}

/* ---- one granule; each piece may be repeated ---- */

/* A chunk passes to the block, whoever had first choice of it. False: a port of it is taken. */
static bool hold_chunk(struct port_table *t, enum port_set set, unsigned chunk)
{
	const uint64_t block = (uint64_t)CHUNK_BLOCK << CHUNK_HOLDER;
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed), word;

	do {
		if (chunk_holder(seen) == CHUNK_BLOCK)
			return true;
		if (chunk_taken(seen))
			return false;
		word = (seen & ~(0xffull << CHUNK_HOLDER)) | block;
	} while (!atomic_compare_exchange_weak_explicit(cell, &seen, word, memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, false);
	return true;
}

/* A port taken in it by now is about to be given back by a taker that came late. */
static void free_chunk(struct port_table *t, enum port_set set, unsigned chunk)
{
	_Atomic uint64_t *cell = &t->chunk[set][chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);

	do {
		if (chunk_holder(seen) != CHUNK_BLOCK)
			return;
	} while (!atomic_compare_exchange_weak_explicit(
		cell, &seen, seen & ~(0xffull << CHUNK_HOLDER), memory_order_acq_rel, memory_order_relaxed));
	chunk_note(t, set, chunk, true);
}

static bool hold_granule(struct port_table *t, unsigned granule)
{
	for (unsigned i = 0; i < N_PORT_SETS * GRANULE_CHUNKS; i++)
		if (!hold_chunk(t, i / GRANULE_CHUNKS,
			    block_chunk(granule * GRANULE_PORTS + i % GRANULE_CHUNKS * CHUNK_PORTS)))
			return false;
	return true;
}

static void free_granule(struct port_table *t, unsigned granule)
{
	for (unsigned i = 0; i < N_PORT_SETS * GRANULE_CHUNKS; i++)
		free_chunk(
			t, i / GRANULE_CHUNKS, block_chunk(granule * GRANULE_PORTS + i % GRANULE_CHUNKS * CHUNK_PORTS));
}

/* The hint comes after the label and goes before it, so that nobody else's label is without. */
static bool label(struct port_table *t, unsigned granule, uint32_t index)
{
	uint32_t nobody = 0;

	if (!atomic_compare_exchange_strong_explicit(
		    &t->block_of[granule], &nobody, index, memory_order_acq_rel, memory_order_relaxed))
		return false;
	atomic_fetch_or_explicit(&t->block[granule / 64], 1ull << granule % 64, memory_order_relaxed);
	return true;
}

static void unlabel(struct port_table *t, unsigned granule)
{
	atomic_fetch_and_explicit(&t->block[granule / 64], ~(1ull << granule % 64), memory_order_relaxed);
	atomic_store_explicit(&t->block_of[granule], 0, memory_order_release);
}

/* ---- runs ---- */

/* What there is of a run that is not listed goes. */
static void dissolve(struct port_table *t, struct block b, uint32_t index)
{
	for (unsigned g = first_granule(b); g < end_granule(b); g++)
		if (label_of(t, g) == index) {
			free_granule(t, g);
			unlabel(t, g);
		}
}

static bool claim(struct port_table *t, struct block b, uint32_t index)
{
	bool ok = true;

	for (unsigned g = first_granule(b); ok && g < end_granule(b); g++)
		ok = label(t, g, index);
	for (unsigned g = first_granule(b); ok && g < end_granule(b); g++)
		ok = hold_granule(t, g);
	if (!ok)
		dissolve(t, b, index);
	return ok;
}

static uint64_t read_chunk(const struct port_table *t, unsigned set, uint32_t port)
{
	return chunk_read(t, (enum port_set)set, block_chunk(port));
}

static bool is_taken(const struct port_table *t, struct block b)
{
	for (uint32_t port = b.first; port < b.first + b.ports; port += CHUNK_PORTS)
		for (unsigned set = 0; set < N_PORT_SETS; set++)
			if (chunk_taken(read_chunk(t, set, port)))
				return true;
	return false;
}

/* All its granules are labelled and all its chunks held. */
static bool is_whole(const struct port_table *t, struct block b, uint32_t index)
{
	for (uint32_t port = b.first; port < b.first + b.ports; port += CHUNK_PORTS)
		for (unsigned set = 0; set < N_PORT_SETS; set++)
			if (block_owner(t, (uint16_t)port) != index ||
				chunk_holder(read_chunk(t, set, port)) != CHUNK_BLOCK)
				return false;
	return true;
}

bool block_is_used(const struct arena *a, struct block b, uint8_t epoch, bool resting_too)
{
	const struct port_table *t = port_table_at(a, b.table);

	for (uint32_t port = b.first; port < b.first + b.ports; port += CHUNK_PORTS)
		for (unsigned set = 0; set < N_PORT_SETS; set++) {
			uint64_t word = chunk_in_epoch(read_chunk(t, set, port), epoch);

			if (chunk_taken(word) || (resting_too && chunk_free(word) != CHUNK_ALL))
				return true;
		}
	return false;
}

/* ---- what is told of them ---- */

static void intend(struct subscribers *v, uint64_t word)
{
	atomic_store_explicit(&v->actor->intent.block, word, memory_order_release);
}

static void tell(const struct subscribers *v, const struct subscriber *s, struct block b, enum event_kind kind)
{
	struct event e = {.time_ns = v->now.ns,
		.inside = s->inside,
		.nat = port_table_at(v->arena, b.table)->address,
		.since_s = b.since_s,
		.realm = s->realm,
		.first = b.first,
		.ports = (uint16_t)b.ports,
		.kind = (uint8_t)kind};

	event_put(&v->events, &e);
}

/* ---- choosing a run ---- */

/* Runs that begin in a word of hints, as the bits of their first granules. */
static uint64_t free_runs(uint64_t used, unsigned granules)
{
	uint64_t free = ~used;

	for (unsigned k = 1; k < granules; k *= 2)
		free &= free >> k;
	return granules == 64 ? free & 1 : free & UINT64_MAX / ((1ull << granules) - 1);
}

/* Of those the ones that lie within the wish's ports. */
static uint64_t runs_within(const struct block_wish *w, unsigned word)
{
	uint32_t lo = ((uint32_t)w->first + w->ports - 1) / w->ports * (w->ports / GRANULE_PORTS);
	uint32_t hi = (w->last + 1u) / w->ports * (w->ports / GRANULE_PORTS), from = word * 64;
	uint64_t bits = UINT64_MAX;

	if (lo >= from + 64 || hi <= from)
		return 0;
	if (lo > from)
		bits &= UINT64_MAX << (lo - from);
	if (hi < from + 64)
		bits &= (1ull << (hi - from)) - 1;
	return bits;
}

/* Some port of each set can be given now; `rested`: and nothing rests. */
static bool suits(const struct port_table *t, struct block b, const struct block_wish *w, bool rested)
{
	unsigned useful = 0;

	for (uint32_t port = b.first; port < b.first + b.ports; port += CHUNK_PORTS) {
		unsigned chunk = block_chunk(port);
		uint32_t may = w->allowed ? w->allowed[chunk] : CHUNK_ALL;

		if (may && w->bar)
			may &= (uint32_t)~w->bar->mask(w->bar->context, chunk);
		for (unsigned set = 0; set < N_PORT_SETS; set++) {
			uint64_t word = chunk_in_epoch(chunk_read(t, (enum port_set)set, chunk), w->epoch);

			if (chunk_taken(word) || (rested && chunk_free(word) != CHUNK_ALL))
				return false;
			useful |= chunk_free(word) & may ? 1u << set : 0;
		}
	}
	return useful == (1u << N_PORT_SETS) - 1;
}

static bool overlaps(struct block x, struct block y)
{
	return x.table == y.table && x.first < y.first + y.ports && y.first < x.first + x.ports;
}

/* Never over another of its own: its label would be taken for this one's. */
static bool is_clear_of(const struct subscriber *s, struct block b)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (block_listed(s, i) && overlaps(block_of_word(block_listed(s, i)), b))
			return false;
	return true;
}

static unsigned free_place(const struct subscriber *s)
{
	unsigned i = 0;

	while (i < SUBSCRIBER_BLOCKS && block_listed(s, i))
		i++;
	return i;
}

/* ---- making ---- */

struct making {
	struct subscribers *v;
	struct port_table *t;
	const struct subscriber *s;
	uint32_t index;
	const struct block_wish *w;
};

static uint64_t make_in_word(const struct making *m, unsigned word, bool rested)
{
	const struct block_wish *w = m->w;
	uint64_t used = atomic_load_explicit(&m->t->block[word], memory_order_relaxed), found;
	uint64_t later = UINT64_MAX << (w->draw >> 8 & 63);

	for (found = free_runs(used, w->ports / GRANULE_PORTS) & runs_within(w, word); found;) {
		unsigned at = (unsigned)__builtin_ctzll(found & later ? found & later : found);
		struct block b = {w->table, (uint16_t)((word * 64 + at) * GRANULE_PORTS), w->ports, w->now_s};

		found &= ~(1ull << at);
		if (!is_clear_of(m->s, b) || !suits(m->t, b, w, rested))
			continue;
		intend(m->v, block_word(b));
		if (claim(m->t, b, m->index))
			return block_word(b);
	}
	return 0;
}

static uint64_t make_anywhere(const struct making *m, bool rested)
{
	uint64_t made = 0;

	for (unsigned i = 0; !made && i < HINT_WORDS; i++)
		made = make_in_word(m, (m->w->draw + i) % HINT_WORDS, rested);
	return made;
}

uint64_t block_make(struct subscribers *v, struct subscriber *s, uint32_t index, const struct block_wish *w)
{
	const struct making m = {v, port_table_at(v->arena, w->table), s, index, w};
	unsigned place = free_place(s);
	uint64_t made = 0;

	assert(w->ports >= GRANULE_PORTS && w->ports <= BLOCK_PORTS_MAX && (w->ports & (w->ports - 1)) == 0);
	if (place < SUBSCRIBER_BLOCKS)
		made = make_anywhere(&m, true);
	if (place < SUBSCRIBER_BLOCKS && !made)
		made = make_anywhere(&m, false);
	if (made) {
		atomic_store_explicit(&s->block_used_s[place], w->now_s, memory_order_relaxed);
		atomic_store_explicit(&s->block[place], made, memory_order_release);
		tell(v, s, block_of_word(made), EVENT_block_given);
	}
	intend(v, 0);
	return made;
}

/* ---- giving back ---- */

bool block_give_back(struct subscribers *v, struct subscriber *s, uint32_t index, unsigned i)
{
	uint64_t word = block_listed(s, i);
	struct block b = block_of_word(word);
	struct port_table *t = port_table_at(v->arena, b.table);

	intend(v, word | BLOCK_RETURNING);
	atomic_exchange_explicit(&s->block[i], 0, memory_order_seq_cst);
	bool taken = is_taken(t, b);

	if (taken) {
		atomic_store_explicit(&s->block[i], word, memory_order_release);
	} else {
		tell(v, s, b, EVENT_block_returned);
		dissolve(t, b, index);
	}
	intend(v, 0);
	return !taken;
}

/* ---- after a death ---- */

static bool is_listed(const struct subscriber *s, uint64_t word)
{
	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		if (block_listed(s, i) == word)
			return true;
	return false;
}

/* Not listed: relisted when it must be, else there is nothing left of it. */
static bool settle_unlisted(struct subscribers *v, struct subscriber *s, uint32_t index, uint64_t word, bool returning)
{
	struct block b = block_of_word(word);
	struct port_table *t = port_table_at(v->arena, b.table);
	unsigned place = free_place(s);

	if (place < SUBSCRIBER_BLOCKS && is_whole(t, b, index) && is_taken(t, b)) {
		atomic_store_explicit(&s->block[place], word, memory_order_release);
		return true;
	}
	if (returning)
		tell(v, s, b, EVENT_block_returned);
	dissolve(t, b, index);
	return false;
}

void block_settle(struct subscribers *v, struct subscriber *s, uint32_t index)
{
	uint64_t intent = atomic_load_explicit(&v->actor->intent.block, memory_order_acquire);
	uint64_t word = intent & ~BLOCK_RETURNING;
	struct block b = block_of_word(word);

	if (word && b.ports <= BLOCK_PORTS_MAX && slab_valid(v->arena, SLAB_port_table, b.table) &&
		(is_listed(s, word) || settle_unlisted(v, s, index, word, intent & BLOCK_RETURNING)))
		tell(v, s, b, EVENT_block_given);
	intend(v, 0);
}
