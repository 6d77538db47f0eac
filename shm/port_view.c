#include "shm/port_inline.h"

#include <string.h>

/* Where to look, in order. */
enum stage {
	STAGE_LOW,
	STAGE_HOME,
	STAGE_HOME_UNHELD,
	STAGE_HOME_OTHERS,
	STAGE_VIEW,
	STAGE_UNHELD,
	STAGE_UNHELD_DEALT,
};

enum {
	LOW_WORD = ORDER_CHUNKS / 64, /* of a bit for each chunk: the low ports' */
	TRIES = 4,                    /* of chunks that turn out to be of no use, at each stage */
	PROBES = 8,                   /* of others' chunks */
	WOKEN_PORTS = 1024,           /* at once, before they have rested */
	LOOK_AGAIN_MS = 20,           /* after nothing was free anywhere */
};

/* One search. */
struct search {
	struct port_view *v;
	struct port_table *t;
	const struct port_rules *r;
	const struct port_bar *bar;
	const struct port_wish *w;
	enum port_set set;
	uint8_t epoch;
	unsigned stages; /* bit: still to be looked at */
	int odd;
	uint64_t random;
	_Atomic uint64_t *intent;
	unsigned tries; /* of chunks that were of no use */
	uint32_t known; /* bit: that word of `home` has been asked for */
	bool some_rest; /* a look everywhere met resting ports */
	uint64_t *home; /* COLUMN_WORDS of them: the home slots of the flow */
};

/* ---- what the rules say of a chunk ---- */

/* The lines of one round of all slots are shifted by one against those of the round before. Alone, an engine has all,
 * if any are dealt. */
void port_deal(struct port_rules *r, uint32_t percent)
{
	uint32_t lines = r->order.slot_bits > 3 ? (1u << r->order.slot_bits) / 8 : 1;

	memset(r->dealt_to, 0, sizeof r->dealt_to);
	if (r->engines == 1 && percent)
		percent = 100;
	for (uint32_t at = 0; at < ORDER_CHUNKS / 8; at++) {
		uint32_t round = at / lines, line = round * lines + (at % lines + round) % lines;

		if ((at + 1) * percent / 100 == at * percent / 100)
			continue;
		r->dealt_to[line] = (uint8_t)(at * percent / 100 % r->engines + 1);
	}
	r->column_bits = chunk_column_bits(r->order.slot_bits);
	r->row_bits = ORDER_CHUNK_BITS - r->column_bits;
	memset(r->common, 0, sizeof r->common);
	memset(r->dealt, 0, sizeof r->dealt);
	for (unsigned chunk = 0; chunk < N_CHUNKS; chunk++) {
		unsigned bit = chunk_bit(r->column_bits, chunk);
		uint64_t *word = r->dealt_to[chunk / 8] ? &r->dealt[bit / 64] : &r->common[bit / 64];

		if (r->allowed[chunk])
			*word |= 1ull << bit % 64;
	}
}

static bool is_dealt_to(const struct port_rules *r, unsigned chunk)
{
	return r->dealt_to[chunk / 8] == r->engine + 1;
}

static uint32_t allowed_in(const struct port_rules *r, const struct port_bar *bar, unsigned chunk)
{
	return r->allowed[chunk] & (bar ? (uint32_t)~bar->mask(bar->context, chunk) : CHUNK_ALL);
}

static unsigned holder_of(const struct port_rules *r)
{
	return r->engine + 1;
}

/* This engine's to give from: held, or dealt to it and held by nobody. */
static bool is_own(const struct port_rules *r, uint64_t word, unsigned chunk)
{
	return chunk_holder(word) == holder_of(r) || (chunk_holder(word) == CHUNK_UNHELD && is_dealt_to(r, chunk));
}

/* ---- the view's bits ---- */

static unsigned column_of(const struct port_rules *r, unsigned chunk)
{
	return chunk & ((1u << r->column_bits) - 1);
}

static void set_has(struct port_view *v, const struct port_rules *r, enum port_set set, unsigned chunk, bool has)
{
	unsigned bit = chunk_bit(r->column_bits, chunk);
	uint64_t *word = &v->has[set][bit / 64], one = 1ull << bit % 64;

	if (has)
		v->empty_until_ns[set] = 0;
	if (has == !!(*word & one))
		return;
	*word ^= one;
	if (chunk >= ORDER_CHUNKS)
		return;
	unsigned column = column_of(r, chunk);
	bool some = port_rows(r, *word, column) != 0;

	word = &v->some[set][column / 64];
	one = 1ull << column % 64;
	*word = some ? *word | one : *word & ~one;
}

static void set_rests(struct port_view *v, enum port_set set, unsigned chunk, bool rests)
{
	uint64_t *word = &v->rests[set][chunk / 64], one = 1ull << chunk % 64;

	*word = rests ? *word | one : *word & ~one;
}

/* Whether something rests in a chunk as it is now. */
static bool has_resting(uint64_t word)
{
	return (chunk_free(word) | chunk_taken(word)) != CHUNK_ALL;
}

/* Notes what an own chunk has to offer; one that has nothing in use and is nobody's share goes back to all. */
static void note_own(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	unsigned chunk, uint64_t word)
{
	bool own = is_own(r, word, chunk);

	if (own && chunk_free(word) == CHUNK_ALL && !is_dealt_to(r, chunk) &&
		chunk_let_go(t, set, chunk, holder_of(r), (uint8_t)(word >> CHUNK_EPOCH))) {
		unsigned column = column_of(r, chunk);

		v->maybe[set][column / 64] |= 1ull << column % 64;
		own = false;
	}
	set_has(v, r, set, chunk, own && (chunk_free(word) & r->allowed[chunk]));
	set_rests(v, set, chunk, own && has_resting(word));
}

/* A chunk as found: hints are put right, and what an engine that no longer runs held and does not use is let go. */
static void view_chunk(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	unsigned chunk, uint8_t epoch)
{
	uint64_t word = chunk_in_epoch(chunk_read(t, set, chunk), epoch);
	unsigned holder = chunk_holder(word);

	if (holder != CHUNK_BLOCK && holder > r->engines && chunk_let_go(t, set, chunk, holder, epoch))
		word = 0;
	else if (holder == CHUNK_UNHELD && !chunk_is_noted(t, set, chunk))
		chunk_note(t, set, chunk, true);
	note_own(v, t, r, set, chunk, word);
}

/* Others may have let chunks go since they were found to have none. */
static void look_everywhere(struct port_view *v)
{
	memset(v->maybe, 0xff, sizeof v->maybe);
	memset(v->maybe_dealt, 0xff, sizeof v->maybe_dealt);
}

void port_view_make(
	struct port_view *v, struct port_table *t, uint32_t table, const struct port_rules *r, uint32_t now_s)
{
	uint32_t generation = atomic_load_explicit(&v->generation, memory_order_relaxed);

	memset((void *)v, 0, sizeof *v);
	atomic_store_explicit(&v->generation, generation, memory_order_relaxed);
	v->table = table;
	v->version = r->version;
	look_everywhere(v);
	for (int set = 0; set < N_PORT_SETS; set++) {
		v->luck[set] = PROBES;
		for (unsigned c = 0; c < N_CHUNKS; c++)
			view_chunk(v, t, r, set, c, port_epoch(r->hold_s, now_s));
	}
}

/* ---- choosing a chunk: nothing is changed but hints ---- */

static uint32_t draw(struct search *s, uint32_t below)
{
	return port_draw(&s->random, below);
}

static unsigned pick(struct search *s, uint64_t word)
{
	return port_pick(&s->random, word, 64);
}

/* Chunks nobody holds, of those `which` has bits of. */
static uint64_t unheld_in(const struct search *s, const uint64_t *which, unsigned w)
{
	return which[w] & atomic_load_explicit(&s->t->unheld[s->set][w], memory_order_relaxed);
}

/* As port_choose_in_view: of chunks nobody holds and nobody is dealt. */
static int choose_unheld(struct search *s, uint32_t word, uint64_t slots)
{
	for (uint64_t columns = s->v->maybe[s->set][word] & slots; columns;) {
		unsigned at = pick(s, columns), column = word * 64 + at;
		uint64_t rows = port_rows(s->r, unheld_in(s, s->r->common, port_column_word(s->r, column)), column);

		if (rows)
			return port_pick_row(s->r, column, rows, &s->random);
		columns &= ~(1ull << at);
		s->v->maybe[s->set][word] &= ~(1ull << at);
	}
	return -1;
}

/* Of chunks nobody holds that are dealt, to other engines: any. */
static int choose_dealt(struct search *s)
{
	uint64_t *maybe = &s->v->maybe_dealt[s->set];

	while (*maybe) {
		unsigned w = pick(s, *maybe);
		uint64_t found = unheld_in(s, s->r->dealt, w);

		if (found)
			return (int)chunk_at_bit(s->r->column_bits, w * 64 + pick(s, found));
		*maybe &= ~(1ull << w);
	}
	return -1;
}

static inline uint64_t home_slots(struct search *s, uint32_t word)
{
	if (!(s->known >> word & 1)) {
		s->home[word] = port_homes_word(&s->r->homes, s->w->hash, word);
		s->known |= 1u << word;
	}
	return s->home[word];
}

/* In slots that are home, or in any: of the view, or of what nobody holds. */
static int choose_from(struct search *s, bool unheld, bool home)
{
	uint32_t words = port_column_words(s->r), start = words > 1 ? draw(s, words) : 0;

	for (uint32_t i = 0; i < words; i++) {
		uint32_t word = (start + i) & (words - 1);
		uint64_t slots = home ? home_slots(s, word) : UINT64_MAX;
		int chunk = unheld ? choose_unheld(s, word, slots)
				   : port_choose_in_view(s->v, s->r, s->set, word, slots, &s->random);

		if (chunk >= 0)
			return chunk;
	}
	return -1;
}

/* Those it holds may have none of the parity. */
static int choose_low(struct search *s)
{
	uint64_t held = s->v->has[s->set][LOW_WORD], unheld = unheld_in(s, s->r->common, LOW_WORD);
	uint64_t found = !held || (unheld && s->tries % 2) ? unheld : held;

	return found ? (int)(LOW_WORD * 64 + pick(s, found)) : -1;
}

static bool is_anybodys(const struct search *s, unsigned chunk)
{
	uint64_t word = chunk_in_epoch(chunk_read(s->t, s->set, chunk), s->epoch);

	return chunk_holder(word) != CHUNK_BLOCK && (chunk_free(word) & s->r->allowed[chunk]);
}

/* Others' chunks in home slots: a port there costs their holders a cache line, a reply that does not come home costs more.
 * The fuller the address, the less often there is one. */
static int choose_others(struct search *s)
{
	uint8_t *luck = &s->v->luck[s->set];

	if (*luck == 0 && draw(s, PROBES) != 0)
		return -1;
	for (unsigned i = 0; i < PROBES; i += 2) { /* two of a column */
		uint32_t word = draw(s, port_column_words(s->r)), row = draw(s, 1u << s->r->row_bits);
		uint64_t slots = home_slots(s, word);

		if (!slots)
			continue;
		unsigned chunk = row << s->r->column_bits | (word * 64 + pick(s, slots));

		if (!is_anybodys(s, chunk))
			chunk ^= 1u << s->r->column_bits;
		if (is_anybodys(s, chunk)) {
			*luck = PROBES;
			return (int)chunk;
		}
	}
	*luck -= *luck > 0;
	return -1;
}

static enum stage stage_of(const struct search *s)
{
	return (enum stage)__builtin_ctz(s->stages);
}

static int choose_at(struct search *s, enum stage stage)
{
	switch (stage) {
	case STAGE_LOW:
		return choose_low(s);
	case STAGE_HOME:
		return choose_from(s, false, true);
	case STAGE_HOME_UNHELD:
		return choose_from(s, true, true);
	case STAGE_HOME_OTHERS:
		return choose_others(s);
	case STAGE_VIEW:
		return choose_from(s, false, false);
	case STAGE_UNHELD:
		return choose_from(s, true, false);
	default:
		return choose_dealt(s);
	}
}

/* In the order of the header, all but the last resort. */
static int choose(struct search *s)
{
	int chunk = -1;

	for (; s->stages; s->stages &= s->stages - 1) {
		chunk = choose_at(s, stage_of(s));
		if (chunk >= 0)
			break;
	}
	return chunk;
}

/* The stages of a search: all those that make sense. */
static void begin(struct search *s)
{
	s->tries = 0;
	s->stages = 1u << STAGE_VIEW | 1u << STAGE_UNHELD | 1u << STAGE_UNHELD_DEALT;
	if (s->w->low)
		s->stages |= 1u << STAGE_LOW;
	if (s->w->by_port && s->r->homes.by_port)
		s->stages |= 1u << STAGE_HOME | 1u << STAGE_HOME_UNHELD | 1u << STAGE_HOME_OTHERS;
}

/* ---- taking ---- */

static uint32_t mask_for(const struct search *s, unsigned chunk)
{
	uint32_t mask = allowed_in(s->r, s->bar, chunk);

	return s->odd < 0 ? mask : mask & port_parity_mask(s->r, chunk, s->odd);
}

static int take_under(struct search *s, unsigned chunk, uint32_t mask, unsigned from)
{
	struct port_place p = {(uint16_t)chunk, 0};
	uint64_t word;
	int place = chunk_take(s->t, s->v->table, &s->r->order, s->set, chunk, mask, from, holder_of(s->r), s->epoch,
		s->intent, &word);

	if (place < 0)
		word = chunk_in_epoch(chunk_read(s->t, s->set, chunk), s->epoch);
	if (is_own(s->r, word, chunk)) {
		set_has(s->v, s->r, s->set, chunk, chunk_free(word) & allowed_in(s->r, s->bar, chunk));
		if (has_resting(word))
			set_rests(s->v, s->set, chunk, true);
	}
	if (place < 0)
		return -1;
	p.place = (uint8_t)place;
	return port_of_place(&s->r->order, p);
}

static int take_in(struct search *s, unsigned chunk)
{
	return take_under(s, chunk, mask_for(s, chunk), draw(s, CHUNK_PORTS));
}

/* The port that was found when this choice was foreseen: in a chunk that is the engine's still. */
static int take_foreseen(struct search *s)
{
	if (!s->w->port)
		return -1;
	struct port_place p = port_place_of(&s->r->order, s->w->port);

	if (!is_own(s->r, chunk_read(s->t, s->set, p.chunk), p.chunk))
		return -1;
	return take_under(s, p.chunk, allowed_in(s->r, s->bar, p.chunk) & 1u << p.place, p.place);
}

/* A chunk that is not, or no longer, what the hints said of it. */
static bool is_gone(struct search *s, unsigned chunk)
{
	uint64_t word = chunk_read(s->t, s->set, chunk);

	if (stage_of(s) == STAGE_HOME_OTHERS || is_own(s->r, word, chunk))
		return false;
	set_has(s->v, s->r, s->set, chunk, false);
	if (chunk_holder(word) == CHUNK_UNHELD)
		return false;
	chunk_note(s->t, s->set, chunk, false);
	return true;
}

/* A chunk may have ports, but none that suit: after some such ones it is the next stage's turn. */
static int take_chosen(struct search *s)
{
	begin(s);
	while (s->stages) {
		int chunk = choose(s);

		if (chunk < 0)
			break;
		int port = is_gone(s, (unsigned)chunk) ? -1 : take_in(s, (unsigned)chunk);
		if (port >= 0)
			return port;
		if (++s->tries % TRIES == 0)
			s->stages &= s->stages - 1;
	}
	return -1;
}

/* The chunks that the wish allows: those of the low ports come last. */
static uint32_t chunks_for(const struct search *s)
{
	return s->w->low ? N_CHUNKS : ORDER_CHUNKS;
}

/* Whoever holds it. Blocks are their subscribers'. When this comes to nothing, all but a few chunks are wholly taken: those are
 * passed by at a glance. */
static int take_anywhere(struct search *s)
{
	uint32_t n = chunks_for(s), chunk = draw(s, n);

	for (uint32_t i = 0; i < n; i++, chunk = chunk + 1 < n ? chunk + 1 : 0) {
		uint64_t word = atomic_load_explicit(&s->t->chunk[s->set][chunk], memory_order_relaxed);

		if (chunk_taken(word) == CHUNK_ALL)
			continue;
		word = chunk_in_epoch(word, s->epoch);
		if (chunk_holder(word) == CHUNK_BLOCK)
			continue;
		s->some_rest |= has_resting(word);
		if (!(chunk_free(word) & s->r->allowed[chunk]))
			continue;
		int port = take_in(s, chunk);
		if (port >= 0)
			return port;
	}
	return -1;
}

/* More rest than may: some of those that rest are woken, the older half first. Many at once, since finding out that
 * nothing else is free takes a look at everything. How many. */
static uint32_t wake_early(struct search *s, unsigned half, uint32_t excess)
{
	uint32_t n = chunks_for(s), start = draw(s, n), woken = 0;

	for (uint32_t i = 0; i < n && woken < excess; i++) {
		uint32_t chunk = (start + i) % n;
		_Atomic uint64_t *cell = &s->t->chunk[s->set][chunk];
		uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);
		uint64_t word = chunk_in_epoch(seen, s->epoch), rest = word >> half & s->r->allowed[chunk];

		if (!rest || chunk_holder(word) == CHUNK_BLOCK ||
			!atomic_compare_exchange_strong_explicit(
				cell, &seen, word & ~(rest << half), memory_order_acq_rel, memory_order_relaxed))
			continue;
		woken += (uint32_t)__builtin_popcountll(rest);
		if (is_own(s->r, word, chunk))
			set_has(s->v, s->r, s->set, chunk, true);
	}
	return woken;
}

/* How many more rest than may, as far as is worth while at once. */
static uint32_t rest_in_excess(const struct search *s)
{
	struct port_use_count n = ports_used(s->t, s->set, s->epoch);
	uint32_t may = (uint32_t)((uint64_t)s->r->hold_percent * (n.taken + n.resting) / 100);
	uint32_t excess = n.resting > may ? n.resting - may : 0;

	return excess < WOKEN_PORTS ? excess : WOKEN_PORTS;
}

/* When nothing is free, and more rests than may. */
static int take_resting(struct search *s)
{
	uint32_t excess = s->some_rest ? rest_in_excess(s) : 0;

	if (!excess || !(wake_early(s, CHUNK_RESTED, excess) || wake_early(s, CHUNK_RESTS, excess)))
		return -1;
	return take_anywhere(s);
}

int port_view_take(struct port_view *v, struct port_table *t, const struct port_rules *r, const struct port_bar *bar,
	enum port_set set, const struct port_wish *w, mono_t now, _Atomic uint64_t *intent)
{
	uint64_t home[COLUMN_WORDS];
	struct search s = {v, t, r, bar, w, set, port_epoch(r->hold_s, (uint32_t)(now.ns / 1000000000u)), 0, w->odd,
		w->draw, intent, 0, 0, false, home};
	int port = take_foreseen(&s);

	if (port < 0)
		port = take_chosen(&s);
	if (port < 0 && s.odd >= 0) {
		s.odd = -1;
		port = take_chosen(&s);
	}
	if (port >= 0)
		return port;
	if (!port_view_was_empty(v, set, now)) {
		port = take_anywhere(&s);
		if (port < 0)
			port = take_resting(&s);
		if (port < 0)
			v->empty_until_ns[set] = mono_after(now, span_ms(LOOK_AGAIN_MS)).ns;
	}
	if (port < 0)
		atomic_store_explicit(intent, 0, memory_order_relaxed);
	return port;
}

struct port_aim port_aim_anew(const struct port_view *v, const struct port_table *t, const struct port_rules *r,
	enum port_set set, const struct port_wish *w, uint8_t epoch)
{
	uint64_t home[COLUMN_WORDS];
	struct search s = {(struct port_view *)v, (struct port_table *)t, r, NULL, w, set, epoch, 0, w->odd, w->draw,
		NULL, 0, 0, false, home};

	begin(&s);
	int chunk = choose(&s);

	return (struct port_aim){chunk, s.random};
}

/* What the view says of a chunk as it is after a port of it was taken. */
void port_note_taken(struct port_view *v, const struct port_rules *r, enum port_set set, unsigned chunk, uint64_t word)
{
	set_has(v, r, set, chunk, chunk_free(word) & r->allowed[chunk]);
	if (has_resting(word))
		set_rests(v, set, chunk, true);
}

bool port_take_anew(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	struct port_found found, uint8_t epoch, _Atomic uint64_t *intent)
{
	_Atomic uint64_t *cell = &t->chunk[set][found.place.chunk];
	uint64_t seen = atomic_load_explicit(cell, memory_order_acquire), one = 1ull << found.place.place;
	uint64_t word = chunk_in_epoch(seen, epoch);

	if (!is_own(r, seen, found.place.chunk) || !(chunk_free(word) & one & r->allowed[found.place.chunk]))
		return false;
	bool held = chunk_holder(word) != CHUNK_UNHELD;
	word |= held ? one : one | (uint64_t)holder_of(r) << CHUNK_HOLDER;
	atomic_store_explicit(intent, port_name(v->table, set, found.port), memory_order_release);
	if (!atomic_compare_exchange_strong_explicit(cell, &seen, word, memory_order_seq_cst, memory_order_relaxed))
		return false;
	if (!held)
		chunk_note(t, set, found.place.chunk, false);
	port_note_taken(v, r, set, found.place.chunk, word);
	return true;
}

bool port_view_take_one(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	uint16_t port, uint32_t now_s, _Atomic uint64_t *intent)
{
	struct port_found found = {.place = port_place_of(&r->order, port), .port = port};

	return port && port_take_anew(v, t, r, set, found, port_epoch(r->hold_s, now_s), intent);
}

/* ---- giving back ---- */

bool port_view_put(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	uint16_t port, bool rest, uint32_t now_s)
{
	struct port_place p = port_place_of(&r->order, port);
	uint64_t word;

	if (!chunk_put(t, set, p, rest && r->hold_s, port_epoch(r->hold_s, now_s), &word))
		return false;
	if (!v)
		return true;
	v->empty_until_ns[set] = 0;
	if (is_own(r, word, p.chunk))
		note_own(v, t, r, set, p.chunk, word);
	return true;
}

static void wake_chunk(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	unsigned chunk, uint8_t epoch)
{
	uint64_t word = chunk_in_epoch(chunk_read(t, set, chunk), epoch);

	if (has_resting(word) && chunk_holder(word) == holder_of(r))
		return;
	note_own(v, t, r, set, chunk, word);
}

void port_view_wake(
	struct port_view *v, struct port_table *t, const struct port_rules *r, unsigned words, uint32_t now_s)
{
	enum { ALL_WORDS = N_PORT_SETS * CHUNK_WORDS };
	uint8_t epoch = port_epoch(r->hold_s, now_s);

	for (unsigned i = 0; i < words; i++) {
		unsigned set = v->rest_at / CHUNK_WORDS, w = v->rest_at % CHUNK_WORDS;

		for (uint64_t rests = v->rests[set][w]; rests; rests &= rests - 1)
			wake_chunk(v, t, r, set, w * 64 + (unsigned)__builtin_ctzll(rests), epoch);
		if (++v->rest_at < ALL_WORDS)
			continue;
		v->rest_at = 0;
		look_everywhere(v);
		return;
	}
}
