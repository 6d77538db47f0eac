/* local_table: one engine's own table of sessions in one direction.
 *
 * What       maps a hash to session indexes: 64-byte buckets of eight entries, each one atomic word. Keys live only in
 *            the session; the caller compares them. Two buckets per key, the second derived from the first and the tag,
 *            so an entry can move without its key.
 * Units      last seen in whole seconds of the caller's clock, modulo 2^17 (36 h).
 * Ownership  the engine writes its own tables; anyone reads.
 * Calls      insert, remove, touch, sweep, lookup of a burst: owner. Lookup of one: anyone. None blocks or makes a
 *            system call.
 * Errors     insert: false when both buckets and every place their entries could move to are full.
 *
 * Entry      index:28 | class:4 | tag:15 | seen:17; zero is empty (index 0 names nothing).
 * Burst      local_begin with each hash, local_lookup_burst on all hashes of a burst, then for each the sessions of the
 *            entries left (local_fitting): whatever memory one lookup waits for is fetched while the others are worked on.
 * Publish    one store (release) of the entry, after the session is published.
 * Read       one load (acquire); compare the session's key; a reader in another engine checks the session's generation.
 * Move       the copy is stored in the other bucket before the original is overwritten: the owner never misses; a reader
 *            elsewhere may miss once.
 * Retire     one store of zero.
 * Death      each step is one store: whatever instant the owner dies, each entry is whole. A move cut in half leaves a
 *            duplicate, which the successor finds by the intent and takes away (local_repair).
 */
#ifndef CORENAT_SHM_LOCAL_TABLE_H
#define CORENAT_SHM_LOCAL_TABLE_H

#include "shm/session.h"
#include "shm/tags.h"

enum { LOCAL_ENTRIES = 8, LOCAL_SEEN_BITS = 17, LOCAL_TAG_BITS = 15, LOCAL_CLASS_BITS = 4, LOCAL_BURST_MAX = 64 };
#define LOCAL_SEEN_MASK ((1u << LOCAL_SEEN_BITS) - 1)

struct local_bucket {
	_Alignas(CACHE_LINE) _Atomic uint64_t entry[LOCAL_ENTRIES];
};

_Static_assert(sizeof(struct local_bucket) == CACHE_LINE, "no two engines write one line: each has its own buckets");

/* A process's view of a table; private memory. */
struct local_table {
	struct local_bucket *bucket;
	uint32_t n; /* buckets; any number */
};

/* Where an entry was found: the entry's word itself. NULL: not found. */
typedef _Atomic uint64_t *local_place;

struct local_table local_table_of(const struct arena *a, unsigned engine, enum dir dir);

static inline uint32_t local_index(uint64_t e)
{
	return (uint32_t)(e >> 36);
}

static inline unsigned local_class(uint64_t e)
{
	return (unsigned)(e >> 32) & ((1u << LOCAL_CLASS_BITS) - 1);
}

static inline uint32_t local_tag(uint64_t e)
{
	return (uint32_t)(e >> LOCAL_SEEN_BITS) & ((1u << LOCAL_TAG_BITS) - 1);
}

enum { LOCAL_IDLE_S = 100000 }; /* longer than any session may be idle, and far from coming round */

/* How much later another engine's reading of the clock may be than the reader's. */
enum { LOCAL_AHEAD_S = 60 };

/* Seconds since the entry was last touched, at `now_s`. */
static inline uint32_t local_idle_s(uint64_t e, uint32_t now_s)
{
	uint32_t ago = (now_s - (uint32_t)e) & ((1u << LOCAL_SEEN_BITS) - 1);

	return ago >= (1u << LOCAL_SEEN_BITS) - LOCAL_AHEAD_S ? 0 : ago;
}

/* Whether it was touched less than `limit` seconds before `ahead` - LOCAL_AHEAD_S, limit <= LOCAL_IDLE_S. */
static inline bool local_fresh(uint64_t e, uint32_t ahead, uint32_t limit)
{
	return ((ahead - (uint32_t)e) & LOCAL_SEEN_MASK) < limit + LOCAL_AHEAD_S;
}

static inline uint64_t local_entry(uint32_t index, unsigned class, uint32_t tag, uint32_t now_s)
{
	return (uint64_t)index << 36 | (uint64_t) class << 32 | (uint32_t)(tag << LOCAL_SEEN_BITS) |
	       (now_s & ((1u << LOCAL_SEEN_BITS) - 1));
}

/* The entry seen then, in class `class`; seen <= LOCAL_SEEN_MASK. */
static inline uint64_t local_seen(uint64_t e, unsigned class, uint32_t seen)
{
	const uint64_t kept = local_entry(UINT32_MAX, 0, UINT32_MAX, 0);

	return (e & kept) | (uint64_t) class << 32 | seen;
}

/* Never zero, so that an empty entry fits no tag. */
static inline uint32_t local_hash_tag(uint64_t hash)
{
	uint32_t tag = (uint32_t)hash & ((1u << LOCAL_TAG_BITS) - 1);

	return tag ? tag : 1;
}

/* The bucket to look in first. */
static inline uint32_t local_first(const struct local_table *t, uint64_t hash)
{
	return (uint32_t)((hash >> 32) * t->n >> 32);
}

/* The other bucket of an entry: an involution, so either leads to the other, whatever n is. */
static inline uint32_t local_other(const struct local_table *t, uint32_t bucket, uint32_t tag)
{
	uint32_t sum = (uint32_t)((uint64_t)(tag * 0x9e3779b1u) * t->n >> 32);

	return sum >= bucket ? sum - bucket : sum + t->n - bucket;
}

/* The entries of a bucket whose tag fits, as a set of bits: no branch to guess wrong. */
static inline unsigned local_match(const struct local_table *t, uint32_t bucket, uint32_t tag)
{
	return tags_match_low(t->bucket[bucket].entry, LOCAL_SEEN_BITS, tag);
}

/* Inlined come what may: gcc takes a function that only prefetches for one without effect, and drops the calls. */
__attribute__((always_inline)) static inline void local_prefetch(const struct local_table *t, uint64_t hash)
{
	__builtin_prefetch(&t->bucket[local_first(t, hash)]);
}

/* Walks the entries whose tag fits: start with cursor 0; each call returns the next place, or NULL. The first eight
 * cursors are the first bucket, the next eight the other one. */
local_place local_next(const struct local_table *t, uint64_t hash, unsigned *cursor);

/* What a burst's lookup leaves of each hash: entries whose tag fits, of the first bucket if it has any, else of the
 * other one. Nearly always these are the wanted entry or, for a key that is not there, none. */
struct local_found {
	struct session *session; /* of the first of them, on its way into the cache; NULL: none fits */
	local_place place;       /* where that one is, */
	uint64_t entry;          /* and what it was */
	uint32_t bucket;
	uint32_t fits; /* a bit for each entry of the bucket that is left to compare */
};

/* A burst's lookup begins: the bucket is on its way into the cache. */
__attribute__((always_inline)) static inline void local_begin(
	const struct local_table *t, uint64_t hash, struct local_found *found)
{
	found->bucket = local_first(t, hash);
	__builtin_prefetch(&t->bucket[found->bucket]);
}

/* Owner: looks up n hashes that have begun, n <= LOCAL_BURST_MAX. A key that is in none of the entries left may still be
 * in the other bucket, where a stranger's tag fitted in the first one: once in 4,000 lookups; local_next finds it. */
void local_lookup_burst(const struct arena *a, const struct local_table *t, const uint64_t hash[],
	struct local_found found[], unsigned n);

/* The next entry left, for the caller to compare keys with; NULL: none. */
static inline local_place local_fitting(const struct local_table *t, struct local_found *f)
{
	if (!f->fits)
		return NULL;
	local_place place = &t->bucket[f->bucket].entry[__builtin_ctz(f->fits)];

	f->fits &= f->fits - 1;
	return place;
}

/* Owner: marks the entry seen now, in class `class`; a store only when it changes something. */
static inline void local_touch(local_place place, unsigned class, uint32_t now_s)
{
	uint64_t e = atomic_load_explicit(place, memory_order_relaxed),
		 seen = local_seen(e, class, now_s & LOCAL_SEEN_MASK);

	if (seen != e)
		atomic_store_explicit(place, seen, memory_order_release);
}

/* Not the owner: marks an entry that still names the session as seen at `seen_s`. The owner's own marks, plain stores, may
 * undo it: use it only for what may be lost. */
static inline void local_mark(local_place place, uint32_t index, uint32_t seen_s)
{
	uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

	if (local_index(e) == index)
		atomic_compare_exchange_strong_explicit(place, &e,
			local_entry(index, local_class(e), local_tag(e), seen_s), memory_order_release,
			memory_order_relaxed);
}

/* The empty entries of a bucket, as a set of bits. No tag is 0. */
static inline unsigned local_room(const struct local_table *t, uint32_t bucket)
{
	return tags_match_low(t->bucket[bucket].entry, LOCAL_SEEN_BITS, 0);
}

/* Where the first half of the entries of a full bucket could go to, one of which mostly can: on its way into the cache.
 * Inlined as local_prefetch. */
__attribute__((always_inline)) static inline void local_fetch_others(const struct local_table *t, uint32_t bucket)
{
	for (unsigned i = 0; i < LOCAL_ENTRIES / 2; i++) {
		uint64_t e = atomic_load_explicit(&t->bucket[bucket].entry[i], memory_order_relaxed);

		__builtin_prefetch(&t->bucket[local_other(t, bucket, local_tag(e))]);
	}
}

/* For who is going to insert a hash whose first bucket is in the cache: fetches the other one if the first is full. Then,
 * with that one in the cache as well: what insert needs when both are full. */
__attribute__((always_inline)) static inline void local_fetch_other(const struct local_table *t, uint64_t hash)
{
	uint32_t first = local_first(t, hash);

	if (!local_room(t, first))
		__builtin_prefetch(&t->bucket[local_other(t, first, local_hash_tag(hash))]);
}

__attribute__((always_inline)) static inline void local_fetch_room(const struct local_table *t, uint64_t hash)
{
	uint32_t first = local_first(t, hash);

	if (!local_room(t, first) && !local_room(t, local_other(t, first, local_hash_tag(hash))))
		local_fetch_others(t, first);
}

/* An empty entry of the bucket; NULL: it is full. */
static inline local_place local_empty(struct local_table *t, uint32_t bucket)
{
	unsigned empty = local_room(t, bucket);

	return empty ? &t->bucket[bucket].entry[__builtin_ctz(empty)] : NULL;
}

/* An empty entry for a hash whose first bucket is full, if need be by moving others; NULL: there is none. */
local_place local_make_place(struct local_table *t, uint64_t hash);

/* Into an empty entry of one of the hash's buckets. */
static inline void local_fill(local_place place, uint64_t hash, uint32_t index, unsigned class, uint32_t now_s)
{
	atomic_store_explicit(place, local_entry(index, class, local_hash_tag(hash), now_s), memory_order_release);
}

/* Where it was put; NULL when there is no room. */
static inline local_place local_insert(
	struct local_table *t, uint64_t hash, uint32_t index, unsigned class, uint32_t now_s)
{
	local_place place = local_empty(t, local_first(t, hash));

	if (!place)
		place = local_make_place(t, hash);
	if (place)
		local_fill(place, hash, index, class, now_s);
	return place;
}

/* The place of exactly this session, or NULL. */
local_place local_find(const struct local_table *t, uint64_t hash, uint32_t index);
/* However often it is there: a predecessor killed in the middle of a move leaves two. */
bool local_remove(struct local_table *t, uint64_t hash, uint32_t index);

/* Owner: the entry is nobody's. */
static inline void local_clear(local_place place)
{
	atomic_store_explicit(place, 0, memory_order_release);
}

/* Owner's successor: takes away what an insert of this hash, cut in the middle of a move, left twice. */
void local_repair(struct local_table *t, uint64_t hash);

#endif
