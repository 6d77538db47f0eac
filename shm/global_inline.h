/* global_inline: the steps of global_table.c that making a session is made of, to be inlined there (pe/nat_make.c).
 *
 * What       the same locks and insertions at first try: contention, a full bucket and moves are for the functions of
 *            global_table.h, which begin with these. Units, ownership, calls, death: as there.
 * Errors     false: nothing was done.
 */
#ifndef CORENAT_SHM_GLOBAL_INLINE_H
#define CORENAT_SHM_GLOBAL_INLINE_H

#include "shm/global_table.h"

static inline bool global_try(const struct global_table *t, uint32_t bucket)
{
	_Atomic uint64_t *lock = &t->bucket[bucket].lock;
	uint64_t free = 0;

	if (atomic_load_explicit(lock, memory_order_relaxed) != 0)
		return false;
	if (t->alone) {
		atomic_store_explicit(lock, t->actor + 1, memory_order_relaxed);
		return true;
	}
	return atomic_compare_exchange_strong_explicit(
		lock, &free, t->actor + 1, memory_order_acquire, memory_order_relaxed);
}

static inline void global_free(const struct global_table *t, uint32_t bucket)
{
	atomic_store_explicit(&t->bucket[bucket].lock, 0, memory_order_release);
}

static inline void global_free_pair(const struct global_table *t, const struct global_pair *pair)
{
	if (pair->second != pair->first)
		global_free(t, pair->second);
	global_free(t, pair->first);
}

static inline bool global_try_pair(const struct global_table *t, const struct global_pair *pair)
{
	if (!global_try(t, pair->first))
		return false;
	if (pair->second == pair->first || global_try(t, pair->second))
		return true;
	global_free(t, pair->first);
	return false;
}

/* Empty places of a bucket, as a set of bits. No index is 0. */
static inline unsigned global_empty(const struct global_table *t, uint32_t bucket)
{
	return tags_match_low(&t->bucket[bucket].lock, 0, 0) >> 1;
}

/* Where the first half of the entries of a full bucket could go to, one of which mostly can: on its way into the cache.
 * Inlined come what may: gcc takes a function that only prefetches for one without effect, and drops the calls. */
__attribute__((always_inline)) static inline void global_fetch_others(const struct global_table *t, uint32_t bucket)
{
	for (unsigned i = 0; i < GLOBAL_ENTRIES / 2; i++) {
		uint64_t e = atomic_load_explicit(&t->bucket[bucket].entry[i], memory_order_relaxed);

		__builtin_prefetch(&t->bucket[global_other(t, bucket, (uint32_t)(e >> 32))], 1);
	}
}

/* For who is going to insert, with the pair in the cache: fetches what that needs when both buckets are full. */
__attribute__((always_inline)) static inline void global_fetch_room(
	const struct global_table *t, const struct global_pair *pair)
{
	if (!global_empty(t, pair->first) && !global_empty(t, pair->second))
		global_fetch_others(t, pair->first);
}

static inline void global_put(
	const struct global_table *t, uint32_t bucket, unsigned place, uint32_t tag, uint32_t index)
{
	atomic_store_explicit(&t->bucket[bucket].entry[place], (uint64_t)tag << 32 | index, memory_order_release);
}

/* What is in a pair's buckets: whether any tag fits, and the empty places. */
struct global_sight {
	bool none;
	unsigned first, second;
};

static inline struct global_sight global_look(const struct global_table *t, const struct global_pair *pair)
{
	return (struct global_sight){
		global_has_none(t, pair), global_empty(t, pair->first), global_empty(t, pair->second)};
}

/* Locks and looks. Who is alone looks first: nobody else changes anything, and buckets are read in halves that hold the lock,
 * for which they would have to wait until it is written. */
static inline bool global_try_and_look(
	const struct global_table *t, const struct global_pair *pair, struct global_sight *sight)
{
	if (t->alone) {
		*sight = global_look(t, pair);
		return global_try_pair(t, pair);
	}
	if (!global_try_pair(t, pair))
		return false;
	*sight = global_look(t, pair);
	return true;
}

/* Into the emptier bucket of a locked pair, so that both choices keep their worth. */
static inline bool global_insert_seen(
	const struct global_table *t, const struct global_pair *pair, const struct global_sight *sight, uint32_t index)
{
	bool in_second = __builtin_popcount(sight->second) > __builtin_popcount(sight->first);
	unsigned empty = in_second ? sight->second : sight->first;

	if (!empty)
		return false;
	global_put(t, in_second ? pair->second : pair->first, (unsigned)__builtin_ctz(empty), pair->tag, index);
	return true;
}

static inline bool global_insert_at_once(const struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	struct global_sight sight = {false, global_empty(t, pair->first), global_empty(t, pair->second)};

	return global_insert_seen(t, pair, &sight, index);
}

/* See global_enter; the order, global_try_and_look. */
static inline bool global_enter_at_once(const struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	unsigned empty = t->alone ? global_empty(t, pair->home) : 0;

	if (!global_try(t, pair->home))
		return false;
	if (!t->alone)
		empty = global_empty(t, pair->home);
	if (empty)
		global_put(t, pair->home, (unsigned)__builtin_ctz(empty), pair->tag, index);
	global_free(t, pair->home);
	return empty != 0;
}

#endif
