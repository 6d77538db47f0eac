#include "shm/global_table.h"

static struct global_table table_of(const struct arena *a, enum arena_region region, uint32_t n, unsigned actor)
{
	return (struct global_table){arena_region(a, region), n, actor};
}

struct global_table global_sessions(const struct arena *a, unsigned actor)
{
	return table_of(a, ARENA_sessions, a->header->geometry.global_buckets, actor);
}

struct global_table global_mappings(const struct arena *a, unsigned actor)
{
	return table_of(a, ARENA_mappings, a->header->geometry.mapping_buckets, actor);
}

/* Independent halves of the hash choose the buckets; the tag mixes both. */
static struct global_pair pair_of(const struct global_table *t, uint64_t hash)
{
	uint32_t a = (uint32_t)((hash >> 32) * t->n >> 32);
	uint32_t b = (uint32_t)((hash & 0xffffffffu) * t->n >> 32);

	return (struct global_pair){
		.first = a < b ? a : b,
		.second = a < b ? b : a,
		.tag = (uint32_t)(hash * 0x9e3779b97f4a7c15u >> 32),
	};
}

/* ---- locks ---- */

static bool bucket_lock(struct global_table *t, uint32_t bucket)
{
	_Atomic uint64_t *lock = &t->bucket[bucket].lock;

	for (int spin = 0; spin < GLOBAL_SPINS; spin++) {
		uint64_t free = 0;

		if (atomic_load_explicit(lock, memory_order_relaxed) == 0 &&
			atomic_compare_exchange_weak_explicit(
				lock, &free, t->actor + 1, memory_order_acquire, memory_order_relaxed))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static void bucket_unlock(struct global_table *t, uint32_t bucket)
{
	atomic_store_explicit(&t->bucket[bucket].lock, 0, memory_order_release);
}

bool global_lock(struct global_table *t, uint64_t hash, struct global_pair *pair)
{
	*pair = pair_of(t, hash);
	if (!bucket_lock(t, pair->first))
		return false;
	if (pair->second == pair->first || bucket_lock(t, pair->second))
		return true;
	bucket_unlock(t, pair->first);
	return false;
}

void global_unlock(struct global_table *t, const struct global_pair *pair)
{
	if (pair->second != pair->first)
		bucket_unlock(t, pair->second);
	bucket_unlock(t, pair->first);
}

bool global_holds(const struct global_table *t, uint64_t hash)
{
	struct global_pair pair = pair_of(t, hash);
	uint64_t me = t->actor + 1;

	return atomic_load_explicit(&t->bucket[pair.first].lock, memory_order_acquire) == me &&
	       atomic_load_explicit(&t->bucket[pair.second].lock, memory_order_acquire) == me;
}

unsigned global_release_all(struct global_table *t)
{
	unsigned released = 0;

	for (uint32_t b = 0; b < t->n; b++) {
		if (atomic_load_explicit(&t->bucket[b].lock, memory_order_relaxed) != t->actor + 1)
			continue;
		bucket_unlock(t, b);
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
	for (; *cursor < places(pair); ++*cursor) {
		uint64_t e = atomic_load_explicit(place_of(t, pair, *cursor), memory_order_relaxed);

		if (e && (uint32_t)(e >> 32) == pair->tag) {
			++*cursor;
			return (uint32_t)e;
		}
	}
	return 0;
}

/* Into the emptier bucket, so that both choices keep their worth. */
bool global_insert(struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	_Atomic uint64_t *empty[2] = {NULL, NULL};
	unsigned room[2] = {0, 0};

	for (unsigned c = 0; c < places(pair); c++) {
		_Atomic uint64_t *place = place_of(t, pair, c);
		unsigned which = c >= GLOBAL_ENTRIES;

		if (atomic_load_explicit(place, memory_order_relaxed) == 0) {
			empty[which] = place;
			room[which]++;
		}
	}
	unsigned best = room[1] > room[0];

	if (!empty[best])
		return false;
	atomic_store_explicit(empty[best], (uint64_t)pair->tag << 32 | index, memory_order_release);
	return true;
}

bool global_remove(struct global_table *t, const struct global_pair *pair, uint32_t index)
{
	for (unsigned c = 0; c < places(pair); c++) {
		_Atomic uint64_t *place = place_of(t, pair, c);

		if (atomic_load_explicit(place, memory_order_relaxed) == ((uint64_t)pair->tag << 32 | index)) {
			atomic_store_explicit(place, 0, memory_order_release);
			return true;
		}
	}
	return false;
}
