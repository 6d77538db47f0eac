#include "shm/local_table.h"

struct local_table local_table_of(const struct arena *a, unsigned engine, enum dir dir)
{
	uint32_t n = a->header->geometry.local_buckets;
	struct local_bucket *all = arena_region(a, ARENA_locals);

	return (struct local_table){all + ((uint64_t)engine * N_DIRS + dir) * n, n};
}

local_place local_next(const struct local_table *t, uint64_t hash, unsigned *cursor)
{
	uint32_t tag = local_hash_tag(hash), first = local_first(t, hash);

	while (*cursor < 2 * LOCAL_ENTRIES) {
		uint32_t b = *cursor < LOCAL_ENTRIES ? first : local_other(t, first, tag);
		unsigned from = *cursor % LOCAL_ENTRIES, fits = local_match(t, b, tag) >> from;

		if (fits) {
			from += (unsigned)__builtin_ctz(fits);
			*cursor += (unsigned)__builtin_ctz(fits) + 1;
			return &t->bucket[b].entry[from];
		}
		*cursor += LOCAL_ENTRIES - from;
	}
	return NULL;
}

/* ---- a burst ---- */

_Static_assert(LOCAL_SEEN_BITS + LOCAL_TAG_BITS == 32, "the tag is the upper part of an entry's low half");

/* Compares the tags of found->bucket; what the first entry that fits names is fetched. */
static inline bool find_in_bucket(
	const uint8_t *sessions, const struct local_table *t, uint32_t tag, struct local_found *found)
{
	unsigned fits = local_match(t, found->bucket, tag);

	found->fits = fits;
	if (!fits)
		return false;
	found->place = &t->bucket[found->bucket].entry[__builtin_ctz(fits)];
	found->entry = atomic_load_explicit(found->place, memory_order_relaxed);
	found->session = (struct session *)(sessions + slab_offset(SLAB_session, local_index(found->entry)));
	__builtin_prefetch(found->session);
	return true;
}

void local_lookup_burst(const struct arena *a, const struct local_table *t, const uint64_t hash[],
	struct local_found found[], unsigned n)
{
	const struct local_table at = *t; /* stores to found[] may not be taken for changes to it */
	uint8_t *const sessions = a->pages;
	unsigned missed[LOCAL_BURST_MAX], n_missed = 0;

	assert(n <= LOCAL_BURST_MAX);
	for (unsigned i = 0; i < n; i++) {
		uint32_t tag = local_hash_tag(hash[i]);

		if (find_in_bucket(sessions, &at, tag, &found[i]))
			continue;
		found[i].bucket = local_other(&at, found[i].bucket, tag);
		found[i].session = NULL;
		__builtin_prefetch(&at.bucket[found[i].bucket]);
		missed[n_missed++] = i;
	}
	for (unsigned m = 0; m < n_missed; m++)
		find_in_bucket(sessions, &at, local_hash_tag(hash[missed[m]]), &found[missed[m]]);
}

/* ---- owner ---- */

static local_place make_room(struct local_table *t, uint32_t bucket, bool deeper);

/* Frees a place in `bucket` by moving one entry to its other bucket, or by `first` making room there. */
static local_place move_one(struct local_table *t, uint32_t bucket, bool first)
{
	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		local_place from = &t->bucket[bucket].entry[i];
		uint64_t e = atomic_load_explicit(from, memory_order_relaxed);
		uint32_t other = local_other(t, bucket, local_tag(e));

		if (other == bucket)
			continue;
		local_place to = first ? make_room(t, other, false) : local_empty(t, other);

		if (!to)
			continue;
		/* A deeper move may have come back through this bucket and changed the entry. */
		if (atomic_load_explicit(from, memory_order_relaxed) != e)
			return local_empty(t, bucket);
		atomic_store_explicit(to, e, memory_order_release);
		atomic_store_explicit(from, 0, memory_order_release);
		return from;
	}
	return NULL;
}

/* Another entry may have a bucket with room: only when none has is room made in theirs, `deeper` permitting. */
static local_place make_room(struct local_table *t, uint32_t bucket, bool deeper)
{
	local_fetch_others(t, bucket);
	local_place place = move_one(t, bucket, false);

	return place || !deeper ? place : move_one(t, bucket, true);
}

local_place local_make_place(struct local_table *t, uint64_t hash)
{
	uint32_t first = local_first(t, hash), other = local_other(t, first, local_hash_tag(hash));
	local_place place = local_empty(t, other);

	if (!place)
		place = make_room(t, first, true);
	if (!place)
		place = make_room(t, other, true);
	return place;
}

/* Clears entries of this bucket that stand in their other bucket as well. */
static void undo_half_move(struct local_table *t, uint32_t bucket)
{
	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		local_place place = &t->bucket[bucket].entry[i];
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);
		uint32_t other = local_other(t, bucket, local_tag(e));

		for (unsigned k = 0; e && other != bucket && k < LOCAL_ENTRIES; k++)
			if (atomic_load_explicit(&t->bucket[other].entry[k], memory_order_relaxed) == e)
				atomic_store_explicit(place, 0, memory_order_release);
	}
}

/* Moves start in the two buckets of the hash, or in those that entries there could move to (make_room). */
void local_repair(struct local_table *t, uint64_t hash)
{
	uint32_t first = local_first(t, hash);
	uint32_t pair[2] = {first, local_other(t, first, local_hash_tag(hash))};

	for (unsigned b = 0; b < 2; b++) {
		for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
			uint64_t e = atomic_load_explicit(&t->bucket[pair[b]].entry[i], memory_order_relaxed);

			undo_half_move(t, local_other(t, pair[b], local_tag(e)));
		}
		undo_half_move(t, pair[b]);
	}
}

local_place local_find(const struct local_table *t, uint64_t hash, uint32_t index)
{
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(t, hash, &cursor)))
		if (local_index(atomic_load_explicit(place, memory_order_relaxed)) == index)
			return place;
	return NULL;
}

bool local_remove(struct local_table *t, uint64_t hash, uint32_t index)
{
	local_place place;
	bool found = false;

	/* All of them: a predecessor killed in the middle of a move leaves two. */
	while ((place = local_find(t, hash, index))) {
		atomic_store_explicit(place, 0, memory_order_release);
		found = true;
	}
	return found;
}
