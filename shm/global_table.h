/* global_table: sessions, mappings or filters that any engine may need to find.
 *
 * What       buckets of a lock and seven entries; two buckets per key, both locked while the key's fate is decided, so
 *            that insert_unique, lookup-and-reference and remove-if-unreferenced are each one atomic step for that key.
 *            The second bucket follows from the first and the tag, as in local_table.h: entries can be moved.
 * Units      none.
 * Ownership  arena; any engine writes, under the bucket locks.
 * Calls      engines. Locking spins a bounded number of turns and never sleeps.
 * Errors     global_lock: false when a lock stayed held (its holder may be dead): refuse the packet, never wait.
 *            global_insert: false when both buckets are full and no entry of theirs can move.
 *
 * Entry      tag:32 | index:32; zero is empty. One store each.
 * Lock       the bucket's word holds its holder + 1. Both buckets are locked in ascending order: no deadlock.
 *            In an arena for one engine nobody contends, and a lock is a plain store, which a successor finds all the same.
 * Recipe     lock (acquire) ... find / insert / remove ... unlock (release). Objects are published before insertion.
 * Enter      a key that cannot be there, nor be entered by anybody else, needs no look at its other bucket: it is stored
 *            under the lock of its home bucket alone, since who looks for it holds both locks (global_enter).
 * Move       to make room, an entry of a locked bucket is copied to its other bucket, which is locked by one try (no
 *            waiting out of order), and then cleared: who looks for that key needs the lock of the bucket it leaves.
 * Price      no lock-free reader: this table is met once per session and engine, never per packet.
 * Death      the locks stay held by the dead; the successor releases them (global_release_all) after settling its
 *            intent. Entries are single words: each is in or not; of a move cut in half, which leaves an entry in both
 *            of its buckets, both still locked, the successor takes one away.
 */
#ifndef CORENAT_SHM_GLOBAL_TABLE_H
#define CORENAT_SHM_GLOBAL_TABLE_H

#include "shm/session.h"
#include "shm/tags.h"

enum { GLOBAL_ENTRIES = 7, GLOBAL_SPINS = 2000 };

struct global_bucket {
	_Alignas(CACHE_LINE) _Atomic uint64_t lock; /* [A] actor + 1; 0: free */
	_Atomic uint64_t entry[GLOBAL_ENTRIES];     /* [L] under the lock */
};

/* A process's view; private memory. */
struct global_table {
	struct global_bucket *bucket;
	uint32_t n;
	unsigned actor; /* who locks */
	bool alone;     /* no other engine is there, ever: locks are plain stores, for whoever comes after a death */
};

/* The two buckets of a key, locked; first may equal second. */
struct global_pair {
	uint32_t first, second;
	uint32_t tag;
	uint32_t home; /* the one that the hash names first: first or second */
};

struct global_table global_sessions(const struct arena *a, unsigned actor);
struct global_table global_mappings(const struct arena *a, unsigned actor);
struct global_table global_filters(const struct arena *a, unsigned actor);

/* The other bucket of an entry: an involution (local_table.h). */
static inline uint32_t global_other(const struct global_table *t, uint32_t bucket, uint32_t tag)
{
	uint32_t sum = (uint32_t)((uint64_t)(tag * 0x9e3779b1u) * t->n >> 32);

	return sum >= bucket ? sum - bucket : sum + t->n - bucket;
}

/* Where a key's entry may be, and its tag. Locks nothing. */
static inline struct global_pair global_pair_of(const struct global_table *t, uint64_t hash)
{
	uint32_t tag = (uint32_t)hash;
	uint32_t a = (uint32_t)((hash >> 32) * t->n >> 32), b = global_other(t, a, tag);

	return (struct global_pair){.first = a < b ? a : b, .second = a < b ? b : a, .tag = tag, .home = a};
}

/* Which entries of a bucket have the tag, as a set of bits. Word 0 is the lock, and an entry that is empty names nothing:
 * its tag is 0. */
static inline unsigned global_match(const struct global_table *t, uint32_t bucket, uint32_t tag)
{
	const struct global_bucket *b = &t->bucket[bucket];
	unsigned fits = tags_match_high(&b->lock, tag) & ~1u;

	if (fits)
		fits &= ~tags_match_low(&b->lock, 0, 0);
	return fits >> 1;
}
_Static_assert(offsetof(struct global_bucket, entry) == 8 && GLOBAL_ENTRIES == TAGS_WORDS - 1, "one word before them");

/* False when surely no entry of the key is there: without the locks, for those who mostly find nothing. An entry that moves is
 * in its new bucket before it leaves the old one: looking at the first bucket again after the second misses none,
 * whichever way it goes. */
static inline bool global_may_have(const struct global_table *t, const struct global_pair *p)
{
	return global_match(t, p->first, p->tag) || global_match(t, p->second, p->tag) ||
	       (!t->alone && global_match(t, p->first, p->tag));
}

bool global_lock_pair(struct global_table *t, const struct global_pair *pair);

static inline bool global_lock(struct global_table *t, uint64_t hash, struct global_pair *pair)
{
	*pair = global_pair_of(t, hash);
	return global_lock_pair(t, pair);
}

void global_unlock(struct global_table *t, const struct global_pair *pair);

/* Enters a key that nobody else can be entering, or hold, into its home bucket, of which alone the lock is taken: who looks
 * for the key needs both locks. False: full or locked; lock the pair. */
bool global_enter(struct global_table *t, const struct global_pair *pair, uint32_t index);

/* With the pair locked. */

/* True when no tag fits: there is nothing to walk. */
static inline bool global_has_none(const struct global_table *t, const struct global_pair *pair)
{
	return (global_match(t, pair->first, pair->tag) | global_match(t, pair->second, pair->tag)) == 0;
}

/* Walks indexes whose tag fits, from cursor 0; 0 at the end. The caller compares keys. */
uint32_t global_next(const struct global_table *t, const struct global_pair *pair, unsigned *cursor);
bool global_insert(struct global_table *t, const struct global_pair *pair, uint32_t index);
bool global_remove(struct global_table *t, const struct global_pair *pair, uint32_t index);

/* True when the buckets of `hash` are locked by this table's actor: after a crash, what the predecessor held. */
bool global_holds(const struct global_table *t, uint64_t hash);
/* Releases every lock the actor's predecessor held; returns how many. */
unsigned global_release_all(struct global_table *t);

#endif
