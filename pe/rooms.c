#include "pe/rooms.h"

#include <string.h>

static bool has_bit(const uint64_t *words, uint32_t index)
{
	return words[index / 64] >> index % 64 & 1;
}

static void set_bit(uint64_t *words, uint32_t index)
{
	words[index / 64] |= 1ull << index % 64;
}

static void clear_bit(uint64_t *words, uint32_t index)
{
	words[index / 64] &= ~(1ull << index % 64);
}

/* For blocks a glance is all there is. */
static bool is_looked_at(unsigned kind)
{
	return kind < ROOM_BLOCKS;
}

void rooms_init(struct rooms *r)
{
	memset(r, 0, sizeof *r);
	for (unsigned kind = 0; kind < N_ROOMS; kind++) {
		memset(r->of[kind].open, 0xff, sizeof r->of[kind].open);
		if (is_looked_at(kind))
			memset(r->of[kind].unseen, 0xff, sizeof r->of[kind].unseen);
	}
}

void rooms_open(struct rooms *r, unsigned kind, uint32_t index)
{
	set_bit(r->of[kind].open, index);
}

void rooms_unsee(struct rooms *r, unsigned kind, uint32_t index)
{
	set_bit(r->of[kind].unseen, index);
}

/* ---- the way round a pool ---- */

static struct room_bits *room_of(const struct room_walk *w)
{
	return &w->rooms->of[w->kind];
}

static struct room_again *again_of(const struct room_walk *w)
{
	return &w->rooms->again[w->pool][w->kind];
}

/* The first index in [from, end) that is open, or also one that is unseen; else `end`. */
static uint32_t first_of(const struct room_bits *r, uint32_t from, uint32_t end, bool unseen_too)
{
	uint64_t mask = UINT64_MAX << from % 64;

	for (uint32_t i = from / 64; i * 64 < end; i++, mask = UINT64_MAX) {
		uint64_t found = (r->open[i] | (unseen_too ? r->unseen[i] : 0)) & mask;

		if (found) {
			uint32_t index = i * 64 + (uint32_t)__builtin_ctzll(found);

			return index < end ? index : end;
		}
	}
	return end;
}

/* The first place from `at` on, and round; `usable`: none. */
static uint32_t next_place(const struct room_walk *w, uint32_t at, bool unseen_too)
{
	const struct room_bits *r = room_of(w);
	uint32_t end = w->first + w->usable, index = first_of(r, w->first + at, end, unseen_too);

	if (index < end)
		return index - w->first;
	index = first_of(r, w->first, w->first + at, unseen_too);
	return index < w->first + at ? index - w->first : w->usable;
}

/* ---- again ---- */

static span_t pause_of(const struct room_walk *w)
{
	uint64_t each = (uint64_t)ROOMS_PAUSE_US * w->n_pools, lap = ROOMS_LAP_MS * 1000u / w->usable;

	return span_us(each > lap ? each : lap);
}

static bool is_closed(const struct room_walk *w, uint32_t place)
{
	const struct room_bits *r = room_of(w);

	return !has_bit(r->open, w->first + place) && !has_bit(r->unseen, w->first + place);
}

static bool is_due(const struct room_walk *w, mono_t again)
{
	return mono_due(w->now, again);
}

static bool try_at(const struct room_walk *w, uint32_t place, bool look)
{
	struct room_bits *r = room_of(w);
	struct room_again *a = again_of(w);
	uint32_t index = w->first + place;
	enum room_answer answer = w->take(w->context, index, look);

	if (answer == ROOM_NONE) {
		clear_bit(r->open, index);
		w->rooms->closed = true;
		if (look)
			clear_bit(r->unseen, index);
		if (a->pick.ns == 0)
			a->pick = a->next = mono_after(w->now, pause_of(w));
	} else if (answer == ROOM_TAKEN) {
		set_bit(r->open, index);
		if (look && is_looked_at(w->kind))
			set_bit(r->unseen, index);
	}
	return answer == ROOM_TAKEN;
}

bool rooms_walk(const struct room_walk *w)
{
	struct room_again *a = again_of(w);
	uint32_t looks = 0, at = w->pick;

	if (is_closed(w, at) && is_due(w, a->pick)) {
		a->pick = mono_after(w->now, pause_of(w));
		looks++;
		if (try_at(w, at, true))
			return true;
	}
	for (unsigned i = 0; i < ROOMS_GLANCES; i++, at = (at + 1) % w->usable) {
		at = next_place(w, at, looks < ROOMS_LOOKS);
		if (at == w->usable)
			break;
		bool look = looks < ROOMS_LOOKS && has_bit(room_of(w)->unseen, w->first + at);

		looks += look;
		if (try_at(w, at, look))
			return true;
	}
	if (looks == ROOMS_LOOKS || !is_due(w, a->next))
		return false;
	a->next = mono_after(w->now, pause_of(w));
	at = a->at = (a->at + 1) % w->usable;
	return try_at(w, at, true);
}

uint32_t rooms_next_open(const struct room_walk *w)
{
	if (!is_closed(w, w->pick) || is_due(w, again_of(w)->pick))
		return w->pick;
	uint32_t at = next_place(w, w->pick, false);

	return at < w->usable ? at : w->pick;
}
