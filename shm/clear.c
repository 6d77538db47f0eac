#include "shm/clear.h"

#include <errno.h>
#include <string.h>

enum { WORDS = sizeof(struct session_filter) / 8 };

/* ---- filters ---- */

bool filter_agrees(const struct session_filter *f, const struct session *s)
{
	unsigned differ = 0;

	differ |= f->inside.net != s->inside.net ? FILTER_INSIDE : 0;
	differ |= f->inside_port.net != s->inside_port.net ? FILTER_INSIDE_PORT : 0;
	differ |= f->nat.net != s->nat.net ? FILTER_NAT : 0;
	differ |= f->nat_port.net != s->nat_port.net ? FILTER_NAT_PORT : 0;
	differ |= f->remote.net != s->remote.net ? FILTER_REMOTE : 0;
	differ |= f->remote_port.net != s->remote_port.net ? FILTER_REMOTE_PORT : 0;
	differ |= f->l4 != s->l4 ? FILTER_L4 : 0;
	differ |= f->realm != s->realm ? FILTER_REALM : 0;
	return !(differ & f->fields);
}

bool filter_matches(const struct session_filter *f, const struct session *s)
{
	return session_has(s, SESSION_FLOW) && filter_agrees(f, s);
}

/* ---- mgmtd ---- */

struct clear_waits clear_waits(const struct arena *a, uint32_t number)
{
	struct clear_waits w = {0};

	for (unsigned e = 0; e < a->header->geometry.engines; e++) {
		const struct actor *actor = actor_of(a, e);

		if (clear_is_done(atomic_load_explicit(&actor->clear_done, memory_order_acquire), number))
			continue;
		if (arena_claimed(a, e))
			w.running |= 1ull << e;
		else if (actor->slab[SLAB_session].pages) /* nobody writes it now */
			w.stopped |= 1ull << e;
	}
	return w;
}

static bool place_is_free(const struct arena *a, uint32_t number)
{
	struct clear_waits w = {0};

	if (number > CLEAR_SLOTS)
		w = clear_waits(a, number - CLEAR_SLOTS);
	return !w.running && !w.stopped;
}

int64_t clear_post(struct arena *a, const struct session_filter *f, mono_t now)
{
	struct clear_ring *ring = clear_ring_of(a);
	uint32_t number = atomic_load_explicit(&ring->last, memory_order_relaxed) + 1;
	struct clear_slot *slot = &ring->slot[number % CLEAR_SLOTS];
	struct session_filter filter = *f;
	uint64_t word[WORDS];

	if (!f->fields)
		return -EINVAL;
	if (!place_is_free(a, number))
		return -EBUSY;
	filter.until = (uint32_t)(now.ns / 1000000000u);
	memcpy(word, &filter, sizeof word);
	atomic_store_explicit(&slot->number, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (unsigned i = 0; i < WORDS; i++)
		atomic_store_explicit(&slot->word[i], word[i], memory_order_relaxed);
	atomic_store_explicit(&slot->number, number, memory_order_release);
	atomic_store_explicit(&ring->last, number, memory_order_release);
	return number;
}

/* ---- engines ---- */

static bool read_slot(const struct clear_slot *slot, uint32_t number, struct session_filter *out)
{
	uint64_t word[WORDS];

	if (atomic_load_explicit(&slot->number, memory_order_acquire) != number)
		return false;
	for (unsigned i = 0; i < WORDS; i++)
		word[i] = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	memcpy(out, word, sizeof *out);
	return atomic_load_explicit(&slot->number, memory_order_relaxed) == number;
}

uint32_t clear_next(const struct clear_ring *ring, uint32_t done, struct session_filter *out)
{
	uint32_t last = atomic_load_explicit(&ring->last, memory_order_acquire);

	if (last - done > CLEAR_SLOTS)
		done = last - CLEAR_SLOTS;
	while (done != last) {
		done++;
		if (read_slot(&ring->slot[done % CLEAR_SLOTS], done, out))
			return done;
	}
	return 0;
}
