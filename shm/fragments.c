#include "shm/fragments.h"

#include "shm/engine.h"

#include <string.h>
#include <xxhash.h>

/* ---- the sequence word ---- */

#define SEQ_BUSY 1u
_Static_assert(ACTOR_MAX <= 128, "an actor fits seven bits");

static bool seq_busy(uint64_t seq)
{
	return seq & SEQ_BUSY;
}

static unsigned seq_actor(uint64_t seq)
{
	return (unsigned)(seq >> 1 & 0x7f);
}

static uint64_t seq_claimed(uint64_t seq, unsigned actor)
{
	return ((seq >> 8) + 1) << 8 | (uint64_t)actor << 1 | SEQ_BUSY;
}

/* ---- entries ---- */

/* An entry as it was at one instant. */
struct seen {
	uint64_t seq, expires_ns;
	struct fragment f;
};

/* False while somebody writes it, or when somebody did meanwhile. */
static bool entry_read(const struct fragment_entry *e, struct seen *s)
{
	uint64_t word[sizeof s->f / 8];

	s->seq = atomic_load_explicit(&e->seq, memory_order_acquire);
	if (seq_busy(s->seq))
		return false;
	s->expires_ns = atomic_load_explicit(&e->expires_ns, memory_order_relaxed);
	for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
		word[i] = atomic_load_explicit(&e->word[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	memcpy(&s->f, word, sizeof word);
	return atomic_load_explicit(&e->seq, memory_order_relaxed) == s->seq;
}

/* Writes the entry if it is still as it was seen. */
static bool entry_write(
	struct fragment_entry *e, uint64_t seen, unsigned actor, const struct fragment *f, uint64_t expires_ns)
{
	uint64_t word[sizeof *f / 8], claimed = seq_claimed(seen, actor);

	if (!atomic_compare_exchange_strong_explicit(
		    &e->seq, &seen, claimed, memory_order_acquire, memory_order_relaxed))
		return false;
	atomic_thread_fence(memory_order_release);
	memcpy(word, f, sizeof word);
	atomic_store_explicit(&e->expires_ns, expires_ns, memory_order_relaxed);
	for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
		atomic_store_explicit(&e->word[i], word[i], memory_order_relaxed);
	atomic_store_explicit(&e->seq, claimed & ~(uint64_t)SEQ_BUSY, memory_order_release);
	return true;
}

static bool key_equal(const struct fragment_key *x, const struct fragment_key *y)
{
	return memcmp(x, y, sizeof *x) == 0;
}

static struct fragment_set *set_of(const struct fragments *t, const struct fragment_key *key)
{
	return &t->set[XXH3_64bits_withSeed(key, sizeof *key, t->seed) % t->n];
}

/* ---- which one is replaced ---- */

/* A place for a new entry, and how it looked. */
struct place {
	struct fragment_entry *entry; /* NULL: none */
	uint64_t seq, expires_ns;
};

static void prefer_older(struct place *p, struct fragment_entry *e, const struct seen *s)
{
	if (!p->entry || s->expires_ns < p->expires_ns)
		*p = (struct place){e, s->seq, s->expires_ns};
}

/* What has expired counts as never used, and so does what a dead predecessor left busy. An entry that somebody else is
 * writing is passed over. */
static struct place find_place(
	const struct fragments *t, struct fragment_set *set, const struct fragment_key *key, mono_t now)
{
	struct place any = {NULL, 0, 0}, own = {NULL, 0, 0};
	unsigned of_source = 0;

	for (unsigned i = 0; i < FRAGMENT_ENTRIES; i++) {
		struct fragment_entry *e = &set->entry[i];
		struct seen s;
		bool whole = entry_read(e, &s);

		if (!whole && !(seq_busy(s.seq) && seq_actor(s.seq) == t->actor))
			continue;
		if (!whole || mono_due(now, (mono_t){s.expires_ns})) {
			s.expires_ns = 0;
		} else if (key_equal(&s.f.key, key)) {
			return (struct place){e, s.seq, s.expires_ns};
		} else if (s.f.key.src.net == key->src.net && s.f.key.realm == key->realm) {
			of_source++;
			prefer_older(&own, e, &s);
		}
		prefer_older(&any, e, &s);
	}
	return of_source >= FRAGMENT_OF_SOURCE ? own : any;
}

/* ---- public ---- */

struct fragments fragments_of(const struct arena *a, unsigned actor)
{
	return (struct fragments){
		.set = arena_region(a, ARENA_fragments), .n = FRAGMENT_SETS, .actor = actor, .seed = a->header->seed};
}

bool fragments_put(struct fragments *t, const struct fragment *f, mono_t now, span_t lifetime)
{
	struct fragment_set *set = set_of(t, &f->key);

	for (unsigned tries = 0; tries < FRAGMENT_ENTRIES; tries++) {
		struct place p = find_place(t, set, &f->key, now);

		if (p.entry && entry_write(p.entry, p.seq, t->actor, f, mono_after(now, lifetime).ns))
			return true;
	}
	return false;
}

bool fragments_get(const struct fragments *t, const struct fragment_key *key, mono_t now, struct fragment *out)
{
	const struct fragment_set *set = set_of(t, key);
	uint64_t last = now.ns;

	for (unsigned i = 0; i < FRAGMENT_ENTRIES; i++) {
		struct seen s;

		if (!entry_read(&set->entry[i], &s) || s.expires_ns <= last || !key_equal(&s.f.key, key))
			continue;
		*out = s.f;
		last = s.expires_ns;
	}
	return last > now.ns;
}
