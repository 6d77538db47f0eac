#include "shm/global_inline.h"

static struct global_table table_of(const struct arena *a, enum arena_region region, uint32_t n, unsigned actor)
{
	return (struct global_table){
		.bucket = arena_region(a, region), .n = n, .actor = actor, .alone = a->header->geometry.engines == 1};
}

struct global_table global_sessions(const struct arena *a, unsigned actor)
{
	return table_of(a, ARENA_sessions, a->header->geometry.global_buckets, actor);
}

struct global_table global_mappings(const struct arena *a, unsigned actor)
{
	return table_of(a, ARENA_mappings, a->header->geometry.mapping_buckets, actor);
}

struct global_table global_filters(const struct arena *a, unsigned actor)
{
	return table_of(a, ARENA_filters, a->header->geometry.mapping_buckets, actor);
}

/* ---- locks ---- */

static bool bucket_lock(struct global_table *t, uint32_t bucket)
{
	for (int spin = 0; spin < GLOBAL_SPINS; spin++) {
		if (global_try(t, bucket))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

bool global_lock_pair(struct global_table *t, const struct global_pair *pair)
{
	if (!bucket_lock(t, pair->first))
		return false;
	if (pair->second == pair->first || bucket_lock(t, pair->second))
		return true;
	global_free(t, pair->first);
	return false;
}

void global_unlock(struct global_table *t, const struct global_pair *pair)
{
	global_free_pair(t, pair);
}

bool global_holds(const struct global_table *t, uint64_t hash)
{
	struct global_pair pair = global_pair_of(t, hash);
	uint64_t me = t->actor + 1;

	return atomic_load_explicit(&t->bucket[pair.first].lock, memory_order_acquire) == me &&
	       atomic_load_explicit(&t->bucket[pair.second].lock, memory_order_acquire) == me;
}

static bool bucket_held(const struct global_table *t, uint32_t bucket)
{
	return atomic_load_explicit(&t->bucket[bucket].lock, memory_order_acquire) == t->actor + 1;
}

/* Takes away what a move cut in half left twice: entries of this bucket that stand in their other bucket as well. */
static void undo_half_move(struct global_table *t, uint32_t bucket)
{
	for (unsigned i = 0; i < GLOBAL_ENTRIES; i++) {
		_Atomic uint64_t *place = &t->bucket[bucket].entry[i];
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);
		uint32_t other = global_other(t, bucket, (uint32_t)(e >> 32));

		if (!e || other == bucket || !bucket_held(t, other))
			continue;
		for (unsigned k = 0; k < GLOBAL_ENTRIES; k++)
			if (atomic_load_explicit(&t->bucket[other].entry[k], memory_order_relaxed) == e)
				atomic_store_explicit(place, 0, memory_order_relaxed);
	}
}

unsigned global_release_all(struct global_table *t)
{
	unsigned released = 0;

	for (uint32_t b = 0; b < t->n; b++)
		if (bucket_held(t, b))
			undo_half_move(t, b);
	for (uint32_t b = 0; b < t->n; b++) {
		if (!bucket_held(t, b))
			continue;
		global_free(t, b);
		released++;
	}
	return released;
}

/* ---- entries ---- */

static _Atomic uint64_t *place_of(const struct global_table *t, const struct global_pair *pair, unsigned cursor)
{
	uint32_t b = cursor < GLOBAL_ENTRIES ? pair->first : pair->second;

	return &t->bucket[b].entry[cursor % GLOBAL_ENTRIES];
}

static unsigned places(const struct global_pair *pair)
{
	return pair->first == pair->second ? GLOBAL_ENTRIES : 2 * GLOBAL_ENTRIES;
}

uint32_t global_next(const struct global_table *t, const struct global_pair *pair, unsigned *cursor)
{
	while (*cursor < places(pair)) {
		unsigned from = *cursor % GLOBAL_ENTRIES;
		uint32_t bucket = *cursor < GLOBAL_ENTRIES ? pair->first : pair->second;
		unsigned fits = global_match(t, bucket, pair->tag) >> from;

		if (fits) {
			*cursor += (unsigned)__builtin_ctz(fits) + 1;
			return (uint32_t)atomic_load_explicit(place_of(t, pair, *cursor - 1), memory_order_relaxed);
		}
		*cursor += GLOBAL_ENTRIES - from;
	}
	return 0;
}

static _Atomic uint64_t *empty_in(struct global_table *t, uint32_t bucket)
{
	unsigned empty = global_empty(t, bucket);

	return empty ? &t->bucket[bucket].entry[__builtin_ctz(empty)] : NULL;
}

static _Atomic uint64_t *make_room(struct global_table *t, uint32_t bucket, bool deeper);

/* Moves one entry of a locked, full bucket to its other bucket, if that can be locked at once and has room, or can be given
 * room `first`. */
static _Atomic uint64_t *move_one(struct global_table *t, uint32_t bucket, bool first)
{
	for (unsigned i = 0; i < GLOBAL_ENTRIES; i++) {
		_Atomic uint64_t *from = &t->bucket[bucket].entry[i], *to;
		uint64_t e = atomic_load_explicit(from, memory_order_relaxed);
		uint32_t other = global_other(t, bucket, (uint32_t)(e >> 32));

		if (!global_try(t, other)) /* the pair's own buckets too: they are full */
			continue;
		to = empty_in(t, other);
		if (!to && first)
			to = make_room(t, other, false);
		if (to) {
			atomic_store_explicit(to, e, memory_order_release);
			atomic_store_explicit(from, 0, memory_order_release);
		}
		global_free(t, other);
		if (to)
			return from;
	}
	return NULL;
}

/* Another entry may have a bucket with room: only when none has is room made in theirs, `deeper` permitting. */
static _Atomic uint64_t *make_room(struct global_table *t, uint32_t bucket, bool deeper)
{
	global_fetch_others(t, bucket);
	_Atomic uint64_t *place = move_one(t, bucket, false);

	return place || !deeper ? place : move_one(t, bucket, true);
}

bool global_insert(struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	_Atomic uint64_t *place;

	if (global_insert_at_once(t, pair, index))
		return true;
	place = make_room(t, pair->first, true);
	if (!place)
		place = make_room(t, pair->second, true);
	if (!place)
		return false;
	atomic_store_explicit(place, (uint64_t)pair->tag << 32 | index, memory_order_release);
	return true;
}

bool global_enter(struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	return global_enter_at_once(t, pair, index);
}

static bool remove_from(struct global_table *t, uint32_t bucket, uint32_t tag, uint32_t index)
{
	for (unsigned fits = global_match(t, bucket, tag); fits; fits &= fits - 1) {
		_Atomic uint64_t *place = &t->bucket[bucket].entry[__builtin_ctz(fits)];

		if (atomic_load_explicit(place, memory_order_relaxed) == ((uint64_t)tag << 32 | index)) {
			atomic_store_explicit(place, 0, memory_order_release);
			return true;
		}
	}
	return false;
}

bool global_remove(struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	return remove_from(t, pair->first, pair->tag, index) || remove_from(t, pair->second, pair->tag, index);
}
